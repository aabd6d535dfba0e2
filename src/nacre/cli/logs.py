# SPDX-License-Identifier: Apache-2.0
"""``nacre logs``: what an instance's agent and application wrote."""

import time

import click

from nacre.cli import terminal
from nacre.enclave.instances import Instances
from nacre.errors import EnclaveError

__all__ = ["command"]

_POLL = 0.1


@click.command("logs")
@click.argument("instance", metavar="ID")
@click.option("--follow", "-f", is_flag=True, help="Go on until the instance ends.")
def command(instance: str, *, follow: bool) -> None:
    """Show what the agent and the application of an instance wrote; ID may be its first digits."""
    instances = Instances.of_user()
    found = instances.find(instance)
    try:
        with instances.log(found.id).open(encoding="utf-8", errors="replace") as log:
            while True:
                # Looked at first: what was written before the end is read after it.
                over = not follow or found.state not in ("starting", "running")
                terminal.out(map(terminal.clean, log.read().splitlines()))
                if over:
                    return
                time.sleep(_POLL)
                try:
                    found = instances.read(found.id)
                except EnclaveError:  # stopped, its folder gone
                    follow = False
    except FileNotFoundError:
        return
