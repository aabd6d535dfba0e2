# SPDX-License-Identifier: Apache-2.0
"""``nacre ps``: the enclaves of this user."""

import click
import msgspec

from nacre.cli import terminal
from nacre.enclave.instances import Instance, Instances

__all__ = ["Listed", "command"]

_COLUMNS = ("ID", "APP", "TEE", "LAUNCHER", "STATE", "URL")


class Listed(msgspec.Struct, frozen=True):
    """One instance, as ``--json`` writes it.

    Attributes:
        id: Its id.
        app: The application's name.
        version: Its version.
        platform: The platform, simulated or real.
        launcher: What started it.
        mode: ``simulated`` or ``genuine``.
        state: ``starting``, ``running``, ``ended`` or ``lost``.
        url: Where it answers; empty unless it runs.
        created: When it was made, Unix seconds.
        release: The fingerprint of its release, hex.
        ended: Its exit status, if it ended.
    """

    id: str
    app: str
    version: str
    platform: str
    launcher: str
    mode: str
    state: str
    url: str
    created: int
    release: str
    ended: int | None


@click.command("ps")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
def command(*, as_json: bool) -> None:
    """List the enclaves of this user: those that run, and those that ended by themselves.

    An instance is lost if its supervisor was killed; nacre stop tidies up after it.
    """
    listed = tuple(_listed(instance) for instance in Instances.of_user().every())
    if as_json:
        terminal.json(msgspec.json.encode(listed))
        return
    if not listed:
        terminal.note(["no instances; nacre run APP --tee nitro starts one"])
        return
    rows = [_COLUMNS, *(_row(one) for one in listed)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    for row in rows:
        cells = [f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)]
        terminal.out(["  ".join(cells).rstrip()])


def _listed(instance: Instance) -> Listed:
    state = instance.state
    return Listed(
        id=instance.id,
        app=instance.app,
        version=instance.version,
        platform=instance.platform,
        launcher=instance.launcher,
        mode=instance.mode,
        state=state,
        url=instance.url if state == "running" else "",
        created=instance.created,
        release=instance.release,
        ended=instance.ended,
    )


def _row(one: Listed) -> tuple[str, ...]:
    state = one.state if one.ended is None else f"ended ({one.ended})"
    title = terminal.clean(f"{one.app} {one.version}")
    platform = f"{one.platform} (simulated)" if one.mode == "simulated" else one.platform
    return one.id, title, platform, one.launcher, state, one.url or "-"
