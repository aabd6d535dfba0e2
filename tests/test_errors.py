# SPDX-License-Identifier: Apache-2.0
"""The tree of errors."""

import re

import pytest

from nacre import errors, reasons

_TREE = [getattr(errors, name) for name in errors.__all__]
_LEAVES = [kind for kind in _TREE if kind is not errors.NacreError]


def _make(kind: type[errors.NacreError], code: str) -> errors.NacreError:
    if kind is errors.VerificationError:
        return errors.VerificationError(code, check="evidence")
    if kind is errors.AppraisalError:
        return errors.AppraisalError(code, result=None)  # type: ignore[arg-type]  # only carried
    return kind(code)


@pytest.mark.parametrize("kind", _LEAVES)
def test_one_root(kind: type[errors.NacreError]) -> None:
    assert kind.__bases__ == (errors.NacreError,)


def test_the_drawing_shows_the_tree() -> None:
    drawn = re.findall(r"^    (?:[├└]── )?(\w+)", errors.__doc__ or "", re.MULTILINE)
    assert sorted(drawn) == sorted(errors.__all__)


@pytest.mark.parametrize("kind", _LEAVES)
def test_every_error_can_be_shown(kind: type[errors.NacreError]) -> None:
    for code in reasons.reasons():
        error = _make(kind, code)
        assert error.code == code
        assert str(error)
        assert isinstance(error.hint, str)


def test_an_error_says_what_was_got_and_expected() -> None:
    error = errors.MalformedEvidence("signature-size", expected=96, actual=95)
    assert str(error) == "a raw signature of 96 bytes was expected, got 95"
    assert error.context == {"expected": 96, "actual": 95}


def test_a_hint_is_apart_from_the_message() -> None:
    error = errors.VerificationError("signature-invalid", check="evidence", what="the quote")
    assert error.hint
    assert error.hint not in str(error)
    assert error.check == "evidence"
    assert error.trail == ()


def test_an_unlisted_code_is_its_own_message() -> None:
    error = errors.NacreError("acme-odd")
    assert str(error) == "acme-odd"
    assert error.hint == ""


def test_a_refusal_carries_its_result() -> None:
    sentinel = object()
    error = errors.AppraisalError("not-reached", result=sentinel)  # type: ignore[arg-type]  # only carried
    assert error.result is sentinel
