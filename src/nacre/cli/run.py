# SPDX-License-Identifier: Apache-2.0
"""``nacre run``: an application in a simulated enclave on this machine."""

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import click
import msgspec

from nacre.cli import terminal
from nacre.enclave.instances import Instance, Instances
from nacre.enclave.launch.prepare import create
from nacre.enclave.launch.supervise import supervise, tail
from nacre.errors import EnclaveError, NacreError

__all__ = ["Started", "command"]

_POLL, _PATIENCE = 0.05, 60.0


class Started(msgspec.Struct, frozen=True):
    """What ``--json`` writes once the instance answers.

    Attributes:
        id: What ``nacre stop`` and ``nacre logs`` call it.
        app: The application's name.
        version: Its version.
        platform: The platform that is simulated.
        launcher: What started it.
        mode: ``simulated``: no hardware stands behind it.
        url: Where it answers.
        release: The fingerprint of its release, hex.
        policy: The file with a policy that accepts it.
    """

    id: str
    app: str
    version: str
    platform: str
    launcher: str
    mode: str
    url: str
    release: str
    policy: str


@click.command("run")
@click.argument("app", metavar="APP", type=click.Path(file_okay=False))
@click.option(
    "--tee", type=click.Choice(("nitro", "sgx", "snp", "tdx")), required=True, help="The TEE to simulate."
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    help="The port of 127.0.0.1 to answer at; any free one, if left out.",
)
@click.option("--detach", "-d", is_flag=True, help="Return as soon as it answers; nacre stop ends it.")
@click.option("--json", "as_json", is_flag=True, help="Say where it answers as JSON.")
def command(app: str, *, tee: str, port: int, detach: bool, as_json: bool) -> int:
    """Run the application in the folder APP in a simulated enclave until Ctrl-C.

    The agent and the application are processes of this machine in a sandbox: no network but the hosts that
    nacre.toml declares, no files but the application's own. The evidence is correctly signed by a development
    root, and nothing keeps whoever runs this out of its memory.
    """
    instances = Instances.of_user()
    instance = create(instances, Path(app), platform=tee)
    if not detach:
        return asyncio.run(_attached(instances, instance, port, as_json=as_json))
    _say(instances, _detached(instances, instance, port), as_json=as_json, detached=True)
    return 0


async def _attached(instances: Instances, instance: Instance, port: int, *, as_json: bool) -> int:
    log = instances.log(instance.id)
    log.touch(mode=0o600)
    with log.open(encoding="utf-8", errors="replace") as reading:

        async def follow() -> None:
            while True:
                terminal.note(map(terminal.clean, reading.read().splitlines()))
                await asyncio.sleep(_POLL)

        following: list[asyncio.Task[None]] = []

        def ready(running: Instance) -> None:
            _say(instances, running, as_json=as_json, detached=False)
            following.append(asyncio.get_running_loop().create_task(follow()))

        try:
            return await supervise(instances, instance, port=port, ready=ready)
        except NacreError:
            # Its words are the error's; nobody has to look for them in a log.
            instances.remove(instance)
            raise
        finally:
            for task in following:
                task.cancel()
            terminal.note(map(terminal.clean, reading.read().splitlines()))


def _detached(instances: Instances, instance: Instance, port: int) -> Instance:
    """Start a supervisor of its own session, and wait until the instance answers."""
    log = instances.log(instance.id)
    with log.open("ab") as said:
        process = subprocess.Popen(  # noqa: S603 (our own command line)
            [sys.executable, "-m", "nacre.enclave.launch", instance.id, str(port)],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
    deadline = time.monotonic() + _PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        instance = instances.read(instance.id)
        if instance.port:
            return instance
        time.sleep(_POLL)
    words = tail(log)
    process.kill()
    instances.remove(instance)
    raise EnclaveError("run-failed", actual=words or f"status {process.poll()}")


def _say(instances: Instances, instance: Instance, *, as_json: bool, detached: bool) -> None:
    folder = instances.folder(instance.id)
    started = Started(
        id=instance.id,
        app=instance.app,
        version=instance.version,
        platform=instance.platform,
        launcher=instance.launcher,
        mode="simulated",
        url=instance.url,
        release=instance.release,
        policy=str(folder / "policy.toml"),
    )
    if as_json:
        terminal.json(msgspec.json.encode(started))
        return
    style = terminal.style(sys.stdout)
    title = f"{started.app} {started.version} on {started.platform}"
    terminal.out(
        [
            f"{style.paint('SIMULATED', 'bold', 'yellow')}  {terminal.clean(title)}",
            f"  answers at   {started.url}",
            f"  verify with  nacre verify {started.url} --policy {terminal.clean(started.policy)}",
            f"  end with     {f'nacre stop {started.id}' if detached else 'Ctrl-C'}",
        ]
    )
