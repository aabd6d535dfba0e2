# SPDX-License-Identifier: Apache-2.0
"""``nacre test``: an application's invariants under a hostile host."""

import secrets
import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from nacre.cli import terminal
from nacre.cli.exits import Exit

if TYPE_CHECKING:
    from nacre.testing.hostile import Call, Kind, Only, Report, Step

__all__ = ["command"]

_ROUNDS = 40
_SHORTER = 20
_QUIET = "quiet"
_HOW = {"held": ("held", "green"), "unanswered": ("no answer", "yellow"), "broken": ("BROKEN", "red")}


def _listed(context: click.Context, _: click.Parameter, wanted: bool) -> None:  # noqa: FBT001 (click's)
    """Say what the host can do."""
    if wanted and not context.resilient_parsing:
        from nacre.testing.hostile.faults import FAULTS  # noqa: PLC0415 (only where it is asked for)

        terminal.out(f"{kind:<15} {sort.words}" for kind, sort in FAULTS.items())
        context.exit()


@click.command("test")
@click.argument("app", type=click.Path(file_okay=False, path_type=Path))
@click.option("--hostile-host", is_flag=True, required=True, help="Run it under a host that misbehaves.")
@click.option(
    "--tee",
    type=click.Choice(("nitro", "sgx", "snp", "tdx")),
    default="nitro",
    show_default=True,
    help="The TEE to simulate.",
)
@click.option("--seed", type=click.IntRange(0), help="Draw the plan that this seed stands for; else any.")
@click.option(
    "--rounds", type=click.IntRange(1, 100_000), default=_ROUNDS, show_default=True, help="How many calls."
)
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="NAME",
    help="Have the host do this and nothing else; repeatable.",
)
@click.option(
    "--list-faults",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_listed,
    help="Say what the host can do, and end.",
)
@click.option("--only", metavar="ROUNDS", help="Run these rounds of the plan only: 3,7:quiet,9.")
@click.option(
    "--shorter",
    type=click.IntRange(0, 1000),
    default=_SHORTER,
    show_default=True,
    help="After a failure, how many shorter sequences to try.",
)
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
def command(
    app: Path,
    *,
    hostile_host: bool,
    tee: str,
    seed: int | None,
    rounds: int,
    faults: tuple[str, ...],
    only: str | None,
    shorter: int,
    as_json: bool,
) -> int:
    """Call the invariants of APP, a folder, while its simulated host misbehaves.

    The host loses, delays, cuts, repeats and reorders messages, stops and kills the enclave, gives it an old
    disk, runs two clones, moves the clock, and lies about what other hosts answer. What has to hold
    nevertheless says the class Invariants in APP/invariants.py: it is made with send(method, path, body),
    which returns status and body or raises OSError, and its public methods are called in any order with
    arguments drawn by their annotations (int, str, bytes, Mapping[str, int] with keys from the attribute
    names). A method that finds a broken promise raises AssertionError. A value of the app's environment that
    begins with {data} is on the disk that the host rolls back. The attribute world says what the hosts that
    egress names would honestly answer.

    Exits 0 if every invariant held, 10 if one broke, 11 if nothing was tested: no call was answered, no fault
    was applied, or one given by --fault was not. The same seed draws the same plan.
    """
    from nacre.testing.hostile import FAULTS, run, shorten  # noqa: PLC0415 (the enclave's rooms are slow)

    del hostile_host
    style = terminal.style(sys.stdout)
    seed = secrets.randbelow(1 << 32) if seed is None else seed
    if not as_json:
        terminal.out([style.paint(f"{app.name} on {tee} under a hostile host, seed {seed}", "bold")])
    report = run(
        app,
        seed=seed,
        rounds=rounds,
        platform=tee,
        faults=_known(faults, FAULTS),
        only=_rounds(only),
        tell=lambda step: None if as_json else terminal.out(_step(step, style)),
    )
    if report.broken and shorter:
        terminal.note(["looking for a shorter sequence that breaks it"])
        report = shorten(app, report, tries=shorter)
    if as_json:
        terminal.json(msgspec.json.encode(report))
    else:
        terminal.out(_lines(report, app, style))
    return {"held": Exit.ACCEPTED, "broken": Exit.REJECTED, "incomplete": Exit.INCOMPLETE}[report.verdict]


def _known(names: tuple[str, ...], faults: "Mapping[Kind, object]") -> "tuple[Kind, ...]":
    by_name: dict[str, Kind] = {kind: kind for kind in faults}
    for name in names:
        if name not in by_name:
            problem = f"{name} is none of {', '.join(by_name)}"
            raise click.BadParameter(problem, param_hint="--fault")
    return tuple(by_name[name] for name in dict.fromkeys(names))


def _rounds(text: str | None) -> "Only | None":
    if text is None:
        return None
    only = {}
    for word in text.split(","):
        number, _, how = word.partition(":")
        if not (number.isascii() and number.isdigit()) or how not in ("", _QUIET):
            problem = f"{word!r} is no round: 7 or 7:{_QUIET}"
            raise click.BadParameter(problem, param_hint="--only")
        only[int(number)] = how != _QUIET
    return only


def _step(step: "Step", style: terminal.Style) -> Iterator[str]:
    how, colour = _HOW[step.how]
    start = f"{step.round.number:>5}  {terminal.clean(step.round.call.method):<16}  "
    events = [f"{event.kind}: {terminal.clean(event.words)}" for event in step.events]
    first, *others = events or [""]
    yield f"{start}{style.paint(f'{how:<9}', colour)}  {first}".rstrip()
    for other in others:
        yield f"{'':>36}{other}"


def _lines(report: "Report", app: Path, style: terminal.Style) -> Iterator[str]:
    applied = ", ".join(f"{kind} {count}" for kind, count in report.applied.items())
    yield f"faults applied: {applied or 'none'}"
    reasons = dict.fromkeys(report.not_tried.values())
    for why in reasons:
        kinds = ", ".join(kind for kind, given in report.not_tried.items() if given == why)
        yield style.paint(f"not tried: {kinds}: {terminal.clean(why)}", "yellow")
    yield f"calls that held: {report.held}; that got no answer: {report.unanswered}"
    if report.broken:
        yield from _broken(report, style)
    elif report.verdict == "held":
        yield style.paint("every invariant held", "bold", "green")
    else:
        yield style.paint(f"INCOMPLETE: {_lacking(report)}", "bold", "red")
    words = ["nacre", "test", str(app), "--hostile-host", "--tee", report.platform]
    words += ["--seed", str(report.seed), "--rounds", str(report.rounds)]
    for kind in report.faults:
        words += ["--fault", kind]
    if report.only is not None:
        listed = (f"{number}" if fault else f"{number}:{_QUIET}" for number, fault in report.only.items())
        words += ["--only", ",".join(listed)]
    yield style.paint(f"again: {terminal.clean(shlex.join(words))}", "dim")


def _broken(report: "Report", style: terminal.Style) -> Iterator[str]:
    broken = report.broken
    if broken is None:
        return
    words = f"broken in round {broken.round}: {_call(broken.call)}"
    yield style.paint(terminal.clean(words), "bold", "red")
    yield f"    {terminal.clean(broken.words)}"
    if report.shortest:
        yield f"the shortest sequence found that breaks it, in {report.tries} tries:"
        for turn in report.shortest:
            fault = turn.fault
            amount = f" {fault.amount}" if fault.amount else ""
            yield f"{turn.number:>5}  {fault.kind}{amount}; {terminal.clean(_call(turn.call))}"


def _call(call: "Call") -> str:
    given = (f"{name}={msgspec.json.encode(value).decode()}" for name, value in call.arguments.items())
    return f"{call.method}({', '.join(given)})"


def _lacking(report: "Report") -> str:
    if not report.held:
        return "no call was answered, so nothing was tested"
    if not report.applied:
        return "no fault was applied, so nothing was tested"
    missing = [kind for kind in report.faults if kind not in report.applied]
    return f"never applied: {', '.join(missing)}"
