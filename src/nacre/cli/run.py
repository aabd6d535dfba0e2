# SPDX-License-Identifier: Apache-2.0
"""``nacre run``: an application in a simulated enclave on this machine."""

import asyncio
import shlex
import subprocess
import sys
import time
from pathlib import Path

import click
import msgspec

from nacre.cli import terminal
from nacre.enclave.instances import Instance, Instances, Options
from nacre.enclave.launch.faults import knobs
from nacre.enclave.launch.launcher import HARDWARE, NAMES, find
from nacre.enclave.launch.prepare import create, planned
from nacre.enclave.launch.supervise import supervise, tail
from nacre.errors import EnclaveError, NacreError

__all__ = ["Planned", "Started", "command"]

_POLL, _MORE = 0.05, 60.0


class Started(msgspec.Struct, frozen=True):
    """What ``--json`` writes once the instance answers.

    Attributes:
        id: What ``nacre stop`` and ``nacre logs`` call it.
        app: The application's name.
        version: Its version.
        platform: The platform, simulated or real.
        launcher: What started it.
        mode: ``simulated``: no hardware stands behind it; or ``genuine``.
        url: Where it answers.
        limits: What the launcher does not protect from, or prove.
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
    limits: str
    release: str
    policy: str


class Planned(msgspec.Struct, frozen=True):
    """What ``--dry-run --json`` writes.

    Attributes:
        launcher: What would start it.
        platform: The platform.
        command: The command line.
        missing: What is not on this machine, in words.
    """

    launcher: str
    platform: str
    command: tuple[str, ...]
    missing: tuple[str, ...]


@click.command("run")
@click.argument("app", metavar="APP", type=click.Path(file_okay=False))
@click.option("--tee", type=click.Choice(("nitro", "sgx", "snp", "tdx")), required=True, help="The TEE.")
@click.option(
    "--launcher",
    type=click.Choice(NAMES),
    default=NAMES[0],
    show_default=True,
    help="What runs it; see above.",
)
@click.option(
    "--kernel",
    metavar="FILE|FOLDER",
    default="",
    help="For vm: a kernel, or the folder that its package was unpacked to; else $NACRE_KERNEL, else /boot.",
)
@click.option(
    "--image",
    metavar="FOLDER",
    default="",
    help="For nitro, gramine, tdx, snp and, if you like, vm: what nacre build wrote.",
)
@click.option(
    "--fault",
    "faults",
    metavar="NAME=VALUE",
    multiple=True,
    help="Something wrong with the simulated hardware; repeatable. help lists what there is.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    help="The port of 127.0.0.1 to answer at; any free one, if left out.",
)
@click.option("--dry-run", is_flag=True, help="Of hardware: print the command line and start nothing.")
@click.option("--detach", "-d", is_flag=True, help="Return as soon as it answers; nacre stop ends it.")
@click.option("--json", "as_json", is_flag=True, help="Say where it answers as JSON.")
def command(
    app: str,
    *,
    tee: str,
    launcher: str,
    kernel: str,
    image: str,
    faults: tuple[str, ...],
    port: int,
    dry_run: bool,
    detach: bool,
    as_json: bool,
) -> int:
    """Run the application in the folder APP in an enclave, simulated or real, until Ctrl-C.

    The application has no network but the hosts that nacre.toml declares, and no files but
    its own. Of a simulated enclave the evidence is correctly signed by a development root, and nothing keeps
    whoever runs this out of its memory.

    The launcher process: agent and application are processes of this machine in a sandbox. Registers are
    stand-ins, computed from the application's files.

    The launcher gvisor: the same, but their system calls are answered by gVisor (runsc), a kernel in user
    space, and the machine's kernel sees few of them. For root.

    The launcher vm: QEMU emulates a machine that boots a kernel and the agent, or an image that nacre build
    wrote. Registers are measured from what boots; nitro only.

    The launchers nitro, gramine (for sgx), tdx and snp start an image that nacre build wrote, on hardware.
    What vouches for it there is the vendor, and the policy beside it accepts nothing simulated.
    """
    if "help" in faults:
        _list(tee, as_json=as_json)
        return 0
    instances = Instances.of_user()
    options = Options(kernel=_absolute(kernel), image=_absolute(image), faults=faults)
    if dry_run:
        _show(app, tee, launcher, options, as_json=as_json)
        return 0
    instance = create(instances, Path(app), platform=tee, how=launcher, options=options)
    if not detach:
        return asyncio.run(_attached(instances, instance, port, as_json=as_json))
    _say(instances, _detached(instances, instance, port), as_json=as_json, detached=True)
    return 0


def _absolute(path: str) -> str:
    """Return a path as a supervisor in another folder finds it."""
    return str(Path(path).absolute()) if path else ""


def _show(app: str, platform: str, launcher: str, options: Options, *, as_json: bool) -> None:
    """Print what would be started on hardware, which need not be here."""
    if launcher not in HARDWARE:
        problem = f"--dry-run goes with --launcher {', '.join(HARDWARE)}"
        raise click.UsageError(problem, click.get_current_context())
    instance, loaded = planned(Path(app), platform=platform, how=launcher, options=options)
    from nacre.enclave.launch import hardware  # noqa: PLC0415 (rarely needed)

    found = Planned(
        launcher=launcher,
        platform=platform,
        command=hardware.command(instance, loaded, Path(f"{loaded.name}.log")),
        missing=hardware.missing(instance),
    )
    if as_json:
        terminal.json(msgspec.json.encode(found))
        return
    terminal.out([shlex.join(found.command)])
    terminal.note([f"missing on this machine: {one}" for one in found.missing])


def _list(platform: str, *, as_json: bool) -> None:
    """List what can be wrong with a platform's simulated hardware."""
    listed = knobs(platform)
    if as_json:
        terminal.json(msgspec.json.encode(listed))
        return
    for knob in listed:
        terminal.out([f"{knob.name}: {knob.text}", f"    {knob.values}"])


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
    # The supervisor itself gives up in time; this is for one that hangs.
    deadline = time.monotonic() + find(instance.launcher).PATIENCE + _MORE
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
    launcher = find(instance.launcher)
    started = Started(
        id=instance.id,
        app=instance.app,
        version=instance.version,
        platform=instance.platform,
        launcher=instance.launcher,
        mode=instance.mode,
        url=instance.url,
        limits=launcher.limits(),
        release=instance.release,
        policy=str(folder / "policy.toml"),
    )
    if as_json:
        terminal.json(msgspec.json.encode(started))
        return
    style = terminal.style(sys.stdout)
    title = f"{started.app} {started.version} on {started.platform} ({started.launcher})"
    terminal.out(
        [
            f"{style.paint(instance.mode.upper(), 'bold', 'yellow')}  {terminal.clean(title)}",
            f"  not proven   {started.limits}",
            f"  answers at   {started.url}",
            f"  verify with  nacre verify {started.url} --policy {terminal.clean(started.policy)}",
            f"  end with     {f'nacre stop {started.id}' if detached else 'Ctrl-C'}",
        ]
    )
