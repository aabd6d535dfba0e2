# SPDX-License-Identifier: Apache-2.0
"""The first thing that is wrong is reported, and nothing counts on a signature that nobody checked."""

from collections.abc import Callable

import pytest

from nacre.checks import Check, Status, skipped
from nacre.errors import ConfigurationError, MalformedEvidence, VerificationError
from nacre.platforms.trail import Trail
from nacre.trust.memo import Memo
from nacre.trust.signatures import Signatures


class _Key:
    """A key under which everything holds but the word ``bad``."""

    algorithm = b"test"

    def holds(self, signature: bytes, message: bytes) -> bool:
        del message
        return signature != b"bad"


def _expect(signatures: Signatures, check: str, signature: bytes = b"good") -> None:
    signatures.expect(_Key(), signature, b"message", check=check, what=f"the {check}")


def _ids(checks: tuple[Check, ...]) -> list[str]:
    return [check.id for check in checks]


def test_a_good_way_leaves_its_checks() -> None:
    signatures = Signatures()
    with Trail(signatures) as trail:
        trail.begin("first")
        trail.passed()
        trail.add(skipped("second", "not-reached"))
        trail.begin("third")
        trail.passed()
        _expect(signatures, "third")
        signatures.settle()
    assert [(check.id, check.status) for check in trail.checks] == [
        ("first", Status.PASS),
        ("second", Status.SKIPPED),
        ("third", Status.PASS),
    ]


Steps = Callable[[Trail, Signatures], None]


def _go(steps: Steps, signatures: Signatures) -> None:
    with Trail(signatures) as trail:
        steps(trail, signatures)


def _failure(steps: Steps, memo: Memo | None = None) -> VerificationError:
    with pytest.raises(VerificationError) as caught:
        _go(steps, Signatures(memo))
    return caught.value


def _malformed() -> MalformedEvidence:
    return MalformedEvidence("truncated", what="a thing", expected=2, actual=1, offset=0)


def test_what_is_malformed_is_a_failure_of_its_step() -> None:
    def steps(trail: Trail, _: Signatures) -> None:
        trail.begin("first")
        trail.passed()
        trail.begin("second")
        raise _malformed()

    error = _failure(steps)
    assert (error.check, error.code) == ("second", "truncated")
    assert error.context["what"] == "a thing"
    assert _ids(error.trail) == ["first"]


def test_a_failure_keeps_the_check_that_it_names() -> None:
    def steps(trail: Trail, _: Signatures) -> None:
        trail.begin("first")
        trail.passed()
        raise VerificationError("qe-report-data", check="elsewhere", expected=b"", actual=b"")

    error = _failure(steps)
    assert error.check == "elsewhere"
    assert _ids(error.trail) == ["first"]


def test_an_earlier_signature_that_does_not_hold_is_reported_first() -> None:
    def steps(trail: Trail, signatures: Signatures) -> None:
        trail.begin("first")
        trail.passed()
        trail.begin("second")
        _expect(signatures, "second", b"bad")
        trail.passed()
        trail.begin("third")
        _expect(signatures, "third")
        trail.passed()
        raise _malformed()

    error = _failure(steps)
    assert (error.check, error.code) == ("second", "signature-invalid")
    assert "the second" in str(error)
    # Neither the step itself nor any later one counts.
    assert _ids(error.trail) == ["first"]


def test_the_first_of_several_signatures() -> None:
    def steps(trail: Trail, signatures: Signatures) -> None:
        for check in ("first", "second", "third"):
            trail.begin(check)
            _expect(signatures, check, b"good" if check == "first" else b"bad")
            trail.passed()
        signatures.settle()

    error = _failure(steps)
    assert error.check == "second"
    assert _ids(error.trail) == ["first"]


def test_a_check_that_did_not_pass_is_no_end() -> None:
    """A step may be skipped for one reason and fail for another."""

    def steps(trail: Trail, _: Signatures) -> None:
        trail.add(skipped("revocation", "endorsement-missing", role="pck_crl"))
        trail.begin("revocation")
        raise VerificationError("certificate-revoked", check="revocation", subject="x", serial="1")

    assert _ids(_failure(steps).trail) == ["revocation"]


def test_nothing_is_learned_on_a_way_that_fails() -> None:
    def steps(trail: Trail, signatures: Signatures) -> None:
        trail.begin("first")
        _expect(signatures, "first", b"bad")
        signatures.learn(b"key", "value")
        raise _malformed()

    memo = Memo()
    _failure(steps, memo)
    assert len(memo) == 0


@pytest.mark.parametrize(
    "error", [TypeError("ours"), ConfigurationError("anchor-unknown"), KeyboardInterrupt()]
)
def test_other_errors_pass_through(error: BaseException) -> None:
    def steps(trail: Trail, signatures: Signatures) -> None:
        trail.begin("first")
        _expect(signatures, "first", b"bad")
        raise error

    with pytest.raises(type(error)) as caught:
        _go(steps, Signatures())
    assert caught.value is error
