# SPDX-License-Identifier: Apache-2.0
"""A Result as people read it: the verdict and whose hardware first, then every check, then the limits."""

from collections.abc import Iterator, Mapping

from nacre import platforms, reasons
from nacre.appraisal.release import fact_text
from nacre.appraisal.result import Foreign, Result
from nacre.appraisal.verdict import Verdict
from nacre.checks import Check, Status
from nacre.cli.terminal import Style, clean, wrap
from nacre.trust.anchors import Origin

__all__ = ["check_lines", "headline", "indented", "result_lines"]

_COLOURS = {
    Verdict.VERIFIED: "green",
    Verdict.WARNING: "yellow",
    Verdict.INCOMPLETE: "yellow",
    Verdict.REJECTED: "red",
}
# Status: mark, its form for terminals without Unicode, colour.
_MARKS = {
    Status.PASS: ("✓", "+", "green"),
    Status.FAIL: ("✗", "x", "red"),
    Status.ERROR: ("✗", "x", "red"),
    Status.WARN: ("!", "!", "yellow"),
    Status.WAIVED: ("!", "!", "yellow"),
    Status.SKIPPED: ("–", "-", "yellow"),
    Status.NOT_APPLICABLE: ("–", "-", "dim"),
}
_PROBLEMS = (Status.FAIL, Status.ERROR, Status.WARN, Status.WAIVED, Status.SKIPPED)
_NOT_REACHED = "not-reached"


def headline(result: Result, *, accepted: bool, style: Style) -> str:
    """Say in one line what the verdict is and what kind of hardware, if any, stands behind it."""
    title = platforms.get(result.platform).title if result.platform else ""
    subject = f"{title} evidence" if title else "evidence of an unknown kind"
    if result.origin is None:
        subject += ", whose origin was not established"
    else:
        # SIMULATED and PRIVATE must catch the eye as much as the verdict does.
        colour = () if result.origin is Origin.GENUINE else ("yellow",)
        subject = f"{style.paint(result.origin.value.upper(), 'bold', *colour)} {subject}"
    if accepted and result.verdict is not Verdict.VERIFIED:
        subject += f" (accepted: the policy accepts {result.verdict})"
    return f"{style.paint(result.verdict.value, 'bold', _COLOURS[result.verdict])}  {subject}"


def result_lines(
    result: Result, *, accepted: bool, as_of: bool, verbose: bool, style: Style, columns: int
) -> Iterator[str]:
    """Write a Result.

    Args:
        result: What was found.
        accepted: Whether the policy accepts its verdict.
        as_of: Whether it was judged at another time than now, which has to be said.
        verbose: Also write expected and actual values, specifications, registers and identity.
        style: What the terminal shows.
        columns: How wide it is.
    """
    yield headline(result, accepted=accepted, style=style)
    yield from _circumstances(result, as_of=as_of, style=style, columns=columns)
    yield ""
    reached = [check for check in result.checks if check.reason != _NOT_REACHED]
    column = min(max((len(_title(check)) for check in reached), default=0), columns * 2 // 5)
    for check in result.checks if verbose else reached:
        yield from check_lines(check, column, verbose=verbose, style=style, columns=columns)
    if not verbose:
        yield from _not_reached(result, style, columns)
    if result.error is not None and not any(check.reason == result.error.code for check in result.checks):
        yield from indented(
            str(result.error), style.paint("✗ " if style.unicode else "x ", "red"), 2, columns
        )
    if result.foreign is not None:
        yield from _foreign(result.foreign, style, columns)
    if verbose and result.claims is not None:
        yield from _values("registers", result.claims.registers, style, columns)
        yield from _values("identity", result.claims.identity, style, columns)
    if verbose:
        yield from _values("physical", _physical(result), style, columns)
    yield ""
    for limit in result.not_proven:
        yield from indented(f"Not proven: {limit}.", "", 0, columns, paint=style)


def _foreign(foreign: Foreign, style: Style, columns: int) -> Iterator[str]:
    """Show what another system's evidence proved, and what its envelope merely says."""
    proved = {name: fact_text(value) for name, value in foreign.facts.items()}
    yield from _values(f"{foreign.system}, by the evidence", proved, style, columns)
    yield from _values(f"{foreign.system}, by its own word", foreign.described, style, columns)


def _physical(result: Result) -> dict[str, str]:
    """Say of each check about the machine itself what came of it, or that nobody asked."""
    physical = result.physical
    outcomes = {check.id: check.status.value for check in result.checks if check.id in physical.checked}
    return outcomes | dict.fromkeys(physical.unchecked, "not checked")


def _circumstances(result: Result, *, as_of: bool, style: Style, columns: int) -> Iterator[str]:
    rows = []
    bad = next((check for check in result.checks if check.status in (Status.FAIL, Status.ERROR)), None)
    if bad is not None:
        rows.append(("because", f"{_title(bad)}: {reasons.explain(bad)}"))
    if as_of:
        rows.append(("judged", reasons.render("as of {at:time}, not now", {"at": result.at})))
    waived = [_title(check) for check in result.checks if check.status is Status.WAIVED]
    if waived:
        rows.append(("given up", f"{'; '.join(waived)} (by the policy, see below)"))
    if result.release:
        rows.append(("release", result.release))
    if result.policy:
        rows.append(("policy", result.policy))
    if result.foreign is not None:
        rows.append(("system", result.foreign.system))
        rows.append(("layout", result.foreign.layout or "none"))
    rows.append(("evidence", f"SHA-256 {result.evidence.hex()}"))
    for name, value in rows:
        yield from indented(clean(value), f"  {style.paint(f'{name:<8}', 'dim')}  ", 12, columns)


def _not_reached(result: Result, style: Style, columns: int) -> Iterator[str]:
    """Say in one sentence what an early failure left unchecked."""
    titles = [_title(check) for check in result.checks if check.reason == _NOT_REACHED]
    if titles:
        mark, plain, colour = _MARKS[Status.SKIPPED]
        lead = f"  {style.paint(mark if style.unicode else plain, colour)} "
        text = (
            f"{len(titles)} further checks were not reached, since an earlier one failed: {'; '.join(titles)}"
        )
        yield from indented(text, lead, 4, columns)


def _title(check: Check) -> str:
    return clean(reasons.check_text(check.id).title)


def check_lines(check: Check, column: int, *, verbose: bool, style: Style, columns: int) -> Iterator[str]:
    """Write a check: its title, padded to ``column``, what was found, and what helps."""
    mark, plain, colour = _MARKS[check.status]
    lead = f"  {style.paint(mark if style.unicode else plain, colour)} {_title(check):<{column}}  "
    indent = column + 6
    if len(_title(check)) > column:
        yield lead.rstrip()
        lead = " " * indent
    text = clean(reasons.explain(check))
    if check.reason and check.status in _PROBLEMS:
        text += f" [{check.reason}]"
    yield from indented(text, lead, indent, columns)
    hint = clean(reasons.render(reasons.reason(check.reason).hint, check.context)) if check.reason else ""
    if hint and check.status in _PROBLEMS:
        arrow = "→ " if style.unicode else "> "
        yield from indented(hint, " " * indent + style.paint(arrow, "cyan"), indent + 2, columns)
    if verbose:
        yield from _particulars(check, indent, style, columns)


def _particulars(check: Check, indent: int, style: Style, columns: int) -> Iterator[str]:
    spec = (check.reason and reasons.reason(check.reason).spec) or reasons.check_text(check.id).spec
    rows = {"check": check.id, "spec": spec}
    for name in ("expected", "actual"):
        if name in check.context:
            rows[name] = reasons.render(f"{{{name}}}", check.context)
    for name, value in rows.items():
        if value:
            lead = " " * indent + style.paint(f"{name:<8} ", "dim")
            yield from indented(clean(value), lead, indent + 9, columns)


def _values(
    title: str, values: Mapping[str, bytes | str | bool], style: Style, columns: int
) -> Iterator[str]:
    if not values:
        return
    yield ""
    yield style.paint(title, "bold")
    column = max(map(len, values))
    for name, value in values.items():
        shown = value.hex() if isinstance(value, bytes) else str(value)
        yield from indented(clean(shown), f"  {clean(name):<{column}}  ", column + 4, columns)


def indented(text: str, lead: str, indent: int, columns: int, *, paint: Style | None = None) -> Iterator[str]:
    """Write text after ``lead``, further lines under its beginning."""
    for line in wrap(text, max(columns - indent, 20)):
        yield lead + (paint.paint(line, "dim") if paint else line)
        lead = " " * indent
