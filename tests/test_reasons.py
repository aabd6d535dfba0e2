# SPDX-License-Identifier: Apache-2.0
"""One table of words: every code that is used stands in it, and nothing else does."""

import ast
import string
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from nacre import errors, reasons
from nacre.checks import Check, Status, failed, passed

_SOURCE = Path(__file__).parents[1] / "src" / "nacre"
_ERRORS = frozenset(name for name in errors.__all__ if issubclass(getattr(errors, name), errors.NacreError))
#: Position of the check and of the reason among the arguments of what makes a check.
_CHECKS = dict.fromkeys(("passed", "failed", "skipped", "warned"), (0, 1)) | {"Check": (0, 2)}
_CLAIMS = {
    *("configuration", "executables", "file-system", "hardware", "instance-identity"),
    *("runtime-opaque", "sourced-data", "storage-opaque"),
}


class _Use(NamedTuple):
    """One place in the source that names a check or a reason."""

    where: str
    check: str | None
    reason: str | None
    given: frozenset[str] | None  # the values that the words may name; None if they cannot be told


def _text(node: ast.expr | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _argument(call: ast.Call, position: int, keyword: str) -> ast.expr | None:
    if len(call.args) > position:
        return call.args[position]
    return next((item.value for item in call.keywords if item.arg == keyword), None)


def _uses() -> Iterator[_Use]:
    for path in sorted(_SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            where = f"{path.relative_to(_SOURCE)}:{node.lineno}"
            keywords = [item.arg for item in node.keywords]
            given = None if None in keywords else frozenset(word for word in keywords if word)
            if name in _ERRORS and node.args:
                yield _Use(where, _text(_argument(node, 1, "check")), _text(node.args[0]), given)
            elif name in _CHECKS:
                check, reason = _CHECKS[name]
                checked = _text(_argument(node, check, "check"))
                yield _Use(
                    where,
                    checked,
                    _text(_argument(node, reason, "reason")),
                    given if name != "Check" else None,
                )


_USES = tuple(_uses())
_LITERALS = frozenset(
    node.value
    for path in _SOURCE.rglob("*.py")
    for node in ast.walk(ast.parse(path.read_text()))
    if isinstance(node, ast.Constant) and isinstance(node.value, str)
)


def _fields(text: str) -> set[str]:
    return {name.partition(".")[0] for _, name, _, _ in string.Formatter().parse(text) if name}


def test_every_reason_used_is_explained() -> None:
    assert [use for use in _USES if use.reason and use.reason not in reasons.reasons()] == []


def test_every_check_used_is_explained() -> None:
    assert [use for use in _USES if use.check and use.check not in reasons.checks()] == []


def test_nothing_unused_is_explained() -> None:
    assert sorted((reasons.reasons().keys() | reasons.checks().keys()) - _LITERALS) == []


def test_words_find_their_values() -> None:
    missing = {
        use.where: sorted(needed - use.given)
        for use in _USES
        if use.reason and use.given is not None and (words := reasons.reasons().get(use.reason))
        if (needed := _fields(words.text + words.hint)) - use.given
    }
    assert missing == {}


@pytest.mark.parametrize("code", sorted(reasons.reasons()))
def test_reasons_are_sentences(code: str) -> None:
    reason = reasons.reason(code)
    for words in (reason.text, reason.hint):
        reasons.render(words, {})
        assert words == words.strip()
        assert not words.endswith(".")
    assert reason.text
    assert code == code.lower()
    assert " " not in code


@pytest.mark.parametrize("check", sorted(reasons.checks()))
def test_checks_are_described(check: str) -> None:
    words = reasons.check_text(check)
    assert words.title
    assert words.passes
    assert not words.title.endswith(".")
    assert not words.passes.endswith(".")
    assert words.claim in _CLAIMS


def test_what_others_use_explains_itself() -> None:
    assert reasons.reason("acme-odd").text == "acme-odd"
    assert reasons.check_text("acme.check").title == "acme.check"


def test_values_are_written_for_people() -> None:
    context = {"a": b"\x01\xff", "b": b"", "c": ("x", "y"), "d": (), "e": 7, "f": None, "at": 0}
    text = "{a} {b} {c} {d} {e} {f} {gone} {at:time}"
    assert reasons.render(text, context) == "01ff (empty) x, y (none) 7 None ? 1970-01-01T00:00:00Z"


@pytest.mark.parametrize("at", [10**30, -(10**30)])
def test_times_beyond_the_calendar_are_told_in_seconds(at: int) -> None:
    assert reasons.render("{at:time}", {"at": at}) == f"second {at}"


def test_a_format_that_does_not_fit_is_ignored() -> None:
    assert reasons.render("{at:time}", {"at": "soon"}) == "soon"


def test_a_check_explains_itself() -> None:
    assert reasons.explain(failed("evidence", "signature-invalid", what="the quote")) == (
        "the signature of the quote does not hold"
    )
    assert reasons.explain(passed("evidence")) == reasons.check_text("evidence").passes
    assert reasons.explain(Check("evidence", Status.WAIVED)) == reasons.check_text("evidence").title
