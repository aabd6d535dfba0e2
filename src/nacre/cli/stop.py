# SPDX-License-Identifier: Apache-2.0
"""``nacre stop``: end instances, and forget them."""

from collections.abc import Sequence

import click
import msgspec

from nacre.cli import terminal
from nacre.enclave.instances import Instances, end

__all__ = ["Stopped", "command"]


class Stopped(msgspec.Struct, frozen=True):
    """One instance that was ended, as ``--json`` writes it.

    Attributes:
        id: Its id.
        asked: Whether it ended as asked, or before; else it was killed.
    """

    id: str
    asked: bool


@click.command("stop")
@click.argument("instance", metavar="ID...", nargs=-1)
@click.option("--all", "every", is_flag=True, help="All of this user.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
def command(instance: Sequence[str], *, every: bool, as_json: bool) -> None:
    """End the instances named by ID or its first digits, application first; their logs go with them.

    What ended by itself or was lost is tidied up likewise.
    """
    if bool(instance) == every:
        raise click.UsageError("name one ID or more, or say --all", click.get_current_context())
    instances = Instances.of_user()
    chosen = instances.every() if every else tuple(map(instances.find, dict.fromkeys(instance)))
    stopped = []
    for one in dict.fromkeys(chosen):
        stopped.append(Stopped(one.id, end(one)))
        instances.remove(one)
        if not as_json:
            terminal.out([one.id])
        if not stopped[-1].asked:
            terminal.note([f"note: {one.id} did not end when asked; killed"])
    if as_json:
        terminal.json(msgspec.json.encode(stopped))
