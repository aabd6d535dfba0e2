# SPDX-License-Identifier: Apache-2.0
"""``nacre conformance``: test vectors against this verifier, and against others."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import msgspec

from nacre.cli import terminal
from nacre.cli.about import package_version
from nacre.cli.exits import Exit
from nacre.cli.failure import report as tell
from nacre.testing import conformance, hermetic
from nacre.testing.conformance import Outcome, Report
from nacre.testing.judging import Ending, judge
from nacre.testing.peer import Peer

__all__ = ["command"]

_COLUMNS = ("cases", "agree", "disagree")
_MOST_SHOWN = 96


class Summary(msgspec.Struct, frozen=True):
    """What ``--json`` writes."""

    agrees: bool
    agree: int
    disagree: int
    unreadable: int
    unsupported: int
    outcomes: tuple[Outcome, ...]


@click.group("conformance")
def command() -> None:
    """Run test vectors and compare every outcome."""


@command.command("case")
def case() -> int:
    """Answer one question, JSON from stdin, on stdout: the hermetic contract.

    The question holds platform, evidence, collateral by role, anchor, time and policy; the answer verdict,
    crypto, code, tcb_status, advisory_ids, claims and checks. Nothing else is looked at: no network, no
    clock, no file, no cache. Exits 0 if the evidence is accepted, 10 if it is rejected, 20 if it or the
    question asks for something that is not verified here, 30 if it or the question is malformed, 1 after an
    internal error; there is an answer in each case.
    """
    judged = hermetic.answer(sys.stdin.buffer.read(hermetic.LIMIT + 1))
    if judged.ending is Ending.INTERNAL:
        tell(f"internal error: {judged.why}", "this is a bug of nacre. Nothing was accepted")
    terminal.json(hermetic.encode_answer(judged.answer))
    return judged.ending


@command.command("capabilities")
def capabilities() -> None:
    """Tell, as JSON, what a question can ask: platforms, versions, roles, policy, claims, exit statuses."""
    from nacre.testing.capabilities import capabilities as told  # noqa: PLC0415 (schemas are slow to import)

    encoded = msgspec.json.encode(told(version=package_version("nacre")))
    terminal.json(msgspec.json.format(encoded, indent=2))


@command.command("run")
@click.argument("directory", type=click.Path(path_type=Path))
@click.option(
    "--with",
    "peer",
    metavar="COMMAND",
    help="Ask this program instead: it gets each question as `nacre conformance case` does.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=60.0,
    show_default=True,
    help="Seconds that COMMAND may take for one case.",
)
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
def run(directory: Path, *, peer: str | None, timeout: float, as_json: bool) -> int:
    """Run every case.json below DIRECTORY.

    Exits 0 only if at least one case ran and every case of a platform that is verified here came out as it
    says: verdict, crypto, TCB status, advisories and claims, wherever it says so. Exits 10 if not. What a
    program given by --with does not answer is not compared, and where it exits 20 nothing is.
    """
    with _progress() as progress:
        ask = judge if peer is None else Peer(peer, seconds=timeout)
        report = conformance.run(directory, ask=ask, progress=progress)
    if as_json:
        summary = Summary(
            agrees=report.agrees,
            agree=report.count("agree"),
            disagree=report.count("disagree"),
            unreadable=report.count("unreadable"),
            unsupported=report.count("unsupported"),
            outcomes=report.outcomes,
        )
        terminal.json(msgspec.json.encode(summary))
    else:
        terminal.out(_lines(report, terminal.style(sys.stdout)))
    return Exit.ACCEPTED if report.agrees else Exit.REJECTED


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """Show a bar on terminals; nobody else waits for one."""
    if not sys.stderr.isatty():
        yield lambda _done, _all: None
        return
    from rich.console import Console  # noqa: PLC0415 (slow to import)
    from rich.progress import Progress  # noqa: PLC0415

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("cases", total=None)
        yield lambda done, every: bar.update(task, completed=done, total=every)


def _lines(report: Report, style: terminal.Style) -> Iterator[str]:
    yield from _disagreements(report, style)
    yield from _table(report, style)
    skipped = Counter(outcome.tee for outcome in report.outcomes if outcome.status == "unsupported")
    if skipped:
        kinds = ", ".join(f"{tee} {count}" for tee, count in sorted(skipped.items()))
        yield f"not run, nobody here verifies them: {skipped.total()} ({terminal.clean(kinds)})"
    unread = sum(outcome.unread for outcome in report.outcomes)
    if unread:
        yield f"claims not compared, none told or the evidence refused unread, as it had to be: {unread}"
    ran = report.count("agree") + report.count("disagree") + report.count("unreadable")
    if report.agrees:
        yield style.paint(f"all {ran} cases that were run agree", "bold", "green")
    elif ran == 0:
        yield style.paint("no case was run", "bold", "red")
    else:
        bad = ran - report.count("agree")
        yield style.paint(f"{bad} of {ran} cases disagree", "bold", "red")


def _disagreements(report: Report, style: terminal.Style) -> Iterator[str]:
    for outcome in report.outcomes:
        if outcome.status not in ("disagree", "unreadable"):
            continue
        mark = style.paint("✗" if style.unicode else "x", "red")
        yield f"{mark} {terminal.clean(f'{outcome.group}/{outcome.case}')}"
        for difference in outcome.differences:
            expected, actual = _short(difference.expected), _short(difference.actual)
            yield f"    {difference.what}: expected {expected}, got {actual}"
        if outcome.why:
            yield f"    {style.paint(terminal.clean(outcome.why), 'dim')}"
        yield ""


def _table(report: Report, style: terminal.Style) -> Iterator[str]:
    groups: dict[str, Counter[str]] = {}
    for outcome in report.outcomes:
        if outcome.status != "unsupported":
            groups.setdefault(outcome.group, Counter())[outcome.status] += 1
    if not groups:
        return
    column = max(map(len, groups))
    yield style.paint(f"{'':<{column}}  " + "  ".join(f"{name:>8}" for name in _COLUMNS), "dim")
    for group, counts in sorted(groups.items()):
        bad = counts.total() - counts["agree"]
        shown = f"{bad:>8}"
        yield (
            f"{terminal.clean(group):<{column}}  {counts.total():>8}  {counts['agree']:>8}  "
            f"{style.paint(shown, 'red') if bad else shown}"
        )


def _short(value: object) -> str:
    text = terminal.clean(msgspec.json.encode(value).decode())
    return text if len(text) <= _MOST_SHOWN else text[:_MOST_SHOWN] + "…"
