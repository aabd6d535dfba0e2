# SPDX-License-Identifier: Apache-2.0
"""``nacre test``: an application's invariants under a hostile host."""

import secrets
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from nacre.cli import terminal
from nacre.cli.exits import Exit

if TYPE_CHECKING:
    from nacre.testing.hostile import Report

__all__ = ["command"]

_ROUNDS = 40


@click.command("test")
@click.argument("app", type=click.Path(file_okay=False, path_type=Path))
@click.option("--hostile-host", is_flag=True, required=True, help="Run it under a host that misbehaves.")
@click.option("--seed", type=click.IntRange(0), help="Draw the plan that this seed stands for; else any.")
@click.option(
    "--rounds", type=click.IntRange(1, 100_000), default=_ROUNDS, show_default=True, help="How many calls."
)
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
def command(app: Path, *, hostile_host: bool, seed: int | None, rounds: int, as_json: bool) -> int:
    """Call the invariants of APP, a folder, while its simulated host misbehaves.

    The host loses, delays, cuts and repeats messages, stops and kills the enclave, gives it an old disk, runs
    two clones and moves the clock. What has to hold nevertheless says the class Invariants in
    APP/invariants.py: it is made with send(method, path, body), which returns status and body or raises
    OSError, and its public methods are called in any order with arguments drawn by their annotations (int,
    str, bytes, Mapping[str, int] with keys from the attribute names). A method that finds a broken promise
    raises AssertionError. A value of the app's environment that begins with {data} is on the disk that the
    host rolls back.

    Exits 0 if every invariant held, 10 if one broke, 11 if no call was answered. The same seed draws the
    same plan.
    """
    from nacre.testing.hostile import run  # noqa: PLC0415 (the enclave's rooms are slow to import)

    del hostile_host
    report = run(app, seed=secrets.randbelow(1 << 32) if seed is None else seed, rounds=rounds)
    if as_json:
        terminal.json(msgspec.json.encode(report))
    else:
        terminal.out(_lines(report, app, terminal.style(sys.stdout)))
    if report.broken:
        return Exit.REJECTED
    return Exit.ACCEPTED if report.held else Exit.INCOMPLETE


def _lines(report: "Report", app: Path, style: terminal.Style) -> Iterator[str]:
    yield style.paint(f"{terminal.clean(report.app)} under a hostile host, seed {report.seed}", "bold")
    for event in report.events:
        yield f"{event.round:>5}  {event.kind:<12}  {terminal.clean(event.words)}"
    for kind, why in report.not_tried.items():
        yield style.paint(f"not tried: {kind}: {terminal.clean(why)}", "yellow")
    yield f"calls that held: {report.held}; that got no answer: {report.unanswered}"
    broken = report.broken
    if broken:
        given = ", ".join(
            f"{name}={msgspec.json.encode(value).decode()}" for name, value in broken.call.arguments.items()
        )
        yield style.paint(
            terminal.clean(f"broken in round {broken.round}: {broken.call.method}({given})"), "bold", "red"
        )
        yield f"    {terminal.clean(broken.words)}"
    elif report.held:
        yield style.paint(f"every invariant held for {report.rounds} rounds", "bold", "green")
    else:
        yield style.paint("no call was answered, so nothing was tested", "bold", "red")
    words = ["nacre", "test", str(app), "--hostile-host", "--seed", str(report.seed)]
    words += ["--rounds", str(report.rounds)]
    yield style.paint(f"again: {terminal.clean(shlex.join(words))}", "dim")
