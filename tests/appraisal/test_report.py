# SPDX-License-Identifier: Apache-2.0
"""Results as JSON: stable, complete, and readable by other programs."""

import hashlib
import json
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nacre import reasons
from nacre.appraisal.report import SCHEMA, Report, report, to_json
from nacre.appraisal.result import NOT_PROVEN, UNPROTECTED, Foreign, Result
from nacre.appraisal.verdict import Verdict
from nacre.checks import Check, Later, Status, Value, failed, passed, skipped
from nacre.errors import MalformedEvidence
from nacre.trust.anchors import Origin

MakeResult = Callable[..., Result]


def test_a_verified_result(make_result: MakeResult) -> None:
    document = json.loads(to_json(make_result()))
    assert list(document) == [
        "schema",
        "verdict",
        "origin",
        "platform",
        "at",
        "evidence",
        "policy",
        "release",
        "checks",
        "claims",
        "error",
        "foreign",
        "physical",
        "not_proven",
    ]
    assert document["schema"] == SCHEMA == "nacre-result/v1"
    assert document["verdict"] == "VERIFIED"
    assert document["origin"] == "genuine"
    assert document["at"] == "2026-11-18T11:06:40Z"
    assert document["evidence"] == hashlib.sha256(b"evidence").hexdigest()
    assert (document["policy"], document["release"], document["platform"]) == ("policy-1", "worm-1", "acme")
    assert document["error"] is None
    assert document["foreign"] is None
    assert document["physical"] == {"checked": [], "unchecked": [], "not_proven": NOT_PROVEN}
    assert document["not_proven"] == [NOT_PROVEN]
    assert document["claims"] == {
        "registers": {"code": "c0dec0de", "boot": "00000000"},
        "committed": {"data": "00" * 64, "nonce": "6e" * 32, "public_key": None},
        "debug": False,
        "issued_at": "2026-11-18T11:06:35Z",
        "valid_until": "2026-11-18T13:53:20Z",
        "identity": {"chip": "0102", "model": "A1", "shared": False},
    }


def test_what_another_system_proved_and_left_open(make_result: MakeResult) -> None:
    foreign = Foreign(
        system="acme",
        layout="acme/key",
        unprotected=("replay", "diversion"),
        facts={"image": b"\xab\xcd", "made_by": b"kms"},
        described={"key": b"\x01", "name": "worm"},
    )
    result = msgspec.structs.replace(make_result(), foreign=foreign)
    document = json.loads(to_json(result))
    assert document["foreign"] == {
        "system": "acme",
        "layout": "acme/key",
        "unprotected": ["replay", "diversion"],
        "facts": {"image": "abcd", "made_by": "kms"},
        "described": {"key": "01", "name": "worm"},
    }
    assert document["not_proven"] == [NOT_PROVEN, UNPROTECTED["replay"], UNPROTECTED["diversion"]]
    unnamed = msgspec.structs.replace(result, foreign=Foreign(system="acme"))
    assert json.loads(to_json(unnamed))["foreign"]["layout"] is None


def test_what_was_asked_of_the_machine(make_result: MakeResult) -> None:
    asked = msgspec.structs.replace(
        make_result(passed("acme.chip"), skipped("acme.fuse", "not-reached")),
        levers=("acme.room", "acme.chip", "acme.fuse"),
        limit="who feeds the coyote",
    )
    assert json.loads(to_json(asked))["physical"] == {
        "checked": ["acme.chip"],
        "unchecked": ["acme.room", "acme.fuse"],
        "not_proven": "who feeds the coyote",
    }


def test_a_check_says_all_that_is_known(make_result: MakeResult) -> None:
    mismatch = failed(
        "executables",
        "executables-mismatch",
        release="r",
        registers=("code",),
        expected=("code 00",),
        actual=("code 01",),
    )
    document = report(make_result(mismatch))
    shown = next(check for check in document.checks if check.id == "executables")
    assert shown.title == reasons.check_text("executables").title
    assert shown.status is Status.FAIL
    assert shown.reason == "executables-mismatch"
    assert shown.claim == "executables"
    assert (shown.expected, shown.actual) == (["code 00"], ["code 01"])
    assert shown.explanation == reasons.explain(mismatch)
    assert shown.hint == reasons.reason("executables-mismatch").hint
    passing = next(check for check in document.checks if check.id == "revocation")
    assert (passing.reason, passing.hint, passing.expected, passing.actual) == (None, None, None, None)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (b"\x00\xff", "00ff"),
        (b"", ""),
        (("a", "b"), ["a", "b"]),
        (3, 3),
        (True, True),
        (None, None),
        ("text", "text"),
        (Later(str, 7), "7"),
    ],
)
def test_values(make_result: MakeResult, value: Value, shown: object) -> None:
    result = make_result(
        failed("binding", "binding-mismatch", expected=value, actual=value, purpose="evidence")
    )
    check = next(check for check in json.loads(to_json(result))["checks"] if check["id"] == "binding")
    assert check["expected"] == shown
    assert check["actual"] == shown


def test_a_result_without_claims(make_result: MakeResult) -> None:
    error = MalformedEvidence("truncated", what="quote", expected=4, actual=2, offset=0)
    document = json.loads(to_json(make_result(verified=False, error=error, platform="", release=None)))
    for member in ("claims", "origin", "platform", "release"):
        assert document[member] is None
    assert document["error"] == {"code": "truncated", "message": str(error), "hint": error.hint}


def test_an_error_without_a_hint(make_result: MakeResult) -> None:
    error = MalformedEvidence("no-such-code")
    assert json.loads(to_json(make_result(error=error)))["error"]["hint"] is None


def test_times_that_no_calendar_has(make_result: MakeResult) -> None:
    result = msgspec.structs.replace(make_result(), at=1 << 62)
    assert json.loads(to_json(result))["at"] == f"second {1 << 62}"


def test_dates_and_keys_that_are_not_known(make_result: MakeResult) -> None:
    result = make_result()
    claims = result.claims
    assert claims is not None
    committed = msgspec.structs.replace(claims.committed, nonce=None, public_key=b"key")
    claims = msgspec.structs.replace(claims, issued_at=None, valid_until=None, committed=committed)
    shown = report(msgspec.structs.replace(result, claims=claims)).claims
    assert shown is not None
    assert (shown.issued_at, shown.valid_until) == (None, None)
    assert (shown.committed.nonce, shown.committed.public_key) == (None, b"key".hex())


def test_indentation(make_result: MakeResult) -> None:
    result = make_result()
    assert b"\n" not in to_json(result, indent=0)
    assert b'\n    "schema"' in to_json(result, indent=4)
    assert json.loads(to_json(result)) == json.loads(to_json(result, indent=0))


def test_it_is_the_same_every_time_and_can_be_read_back(make_result: MakeResult) -> None:
    result = make_result(skipped("binding", "binding-not-given"), origin=Origin.SIMULATED)
    assert to_json(result) == to_json(result)
    assert msgspec.json.decode(to_json(result), type=Report) == report(result)


@given(st.text(st.characters(codec="utf-8"), max_size=40), st.sampled_from(Status), st.binary(max_size=8))
def test_every_check_can_be_shown(text: str, status: Status, data: bytes) -> None:
    check = Check(text or "x", status, text, {"expected": text, "actual": data})
    result = Result(
        verdict=Verdict.REJECTED,
        platform=text,
        origin=None,
        checks=(check,),
        claims=None,
        policy=text,
        release=text,
        at=0,
        raw=data,
    )
    assert json.loads(to_json(result))["checks"][0]["actual"] == data.hex()
