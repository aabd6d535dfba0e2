# SPDX-License-Identifier: Apache-2.0
"""``nacre stop``: end instances, and forget them."""

from collections.abc import Sequence

import click

from nacre.cli import terminal
from nacre.enclave.instances import Instances, end

__all__ = ["command"]


@click.command("stop")
@click.argument("instance", metavar="ID...", nargs=-1)
@click.option("--all", "every", is_flag=True, help="All of this user.")
def command(instance: Sequence[str], *, every: bool) -> None:
    """End the instances named by ID or its first digits, application first; their logs go with them.

    What ended by itself or was lost is tidied up likewise.
    """
    if bool(instance) == every:
        raise click.UsageError("name one ID or more, or say --all", click.get_current_context())
    instances = Instances.of_user()
    chosen = instances.every() if every else tuple(map(instances.find, dict.fromkeys(instance)))
    for one in dict.fromkeys(chosen):
        if not end(one):
            terminal.note([f"note: {one.id} did not end when asked; killed"])
        instances.remove(one)
        terminal.out([one.id])
