# SPDX-License-Identifier: Apache-2.0
"""``nacre logs``: what an instance's agent and application wrote."""

import time
from collections.abc import Sequence

import click
import msgspec

from nacre.cli import terminal
from nacre.enclave.instances import Instances
from nacre.errors import EnclaveError

__all__ = ["Line", "command"]

_POLL = 0.1


class Line(msgspec.Struct, frozen=True):
    """One line, as ``--json`` writes it: one object a line.

    Attributes:
        at: When it was written, RFC 3339; empty where the line does not say it.
        who: ``agent`` or ``app``; empty likewise.
        text: The rest.
    """

    at: str
    who: str
    text: str


@click.command("logs")
@click.argument("instance", metavar="ID")
@click.option("--follow", "-f", is_flag=True, help="Go on until the instance ends.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON, one object a line.")
def command(instance: str, *, follow: bool, as_json: bool) -> None:
    """Show what the agent and the application of an instance wrote; ID may be its first digits."""
    instances = Instances.of_user()
    found = instances.find(instance)
    try:
        with instances.log(found.id).open(encoding="utf-8", errors="replace") as log:
            while True:
                # Looked at first: what was written before the end is read after it.
                over = not follow or found.state not in ("starting", "running")
                _show(log.read().splitlines(), as_json=as_json)
                if over:
                    return
                time.sleep(_POLL)
                try:
                    found = instances.read(found.id)
                except EnclaveError:  # stopped, its folder gone
                    follow = False
    except FileNotFoundError:
        return


def _show(lines: Sequence[str], *, as_json: bool) -> None:
    if not as_json:
        terminal.out(map(terminal.clean, lines))
        return
    for line in lines:
        head, colon, text = line.partition(": ")
        at, space, who = head.partition(" ")
        whole = bool(colon and space and who in ("agent", "app"))
        terminal.json(msgspec.json.encode(Line(at, who, text) if whole else Line("", "", line)))
