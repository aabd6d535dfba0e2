# SPDX-License-Identifier: Apache-2.0
"""Before a simulated process runs: its registers, its release, its root, and what the agent is told."""

import sys
import time
from pathlib import Path

import msgspec

import nacre
from nacre.appraisal.release import Release
from nacre.build.app import App
from nacre.build.tree import Tree
from nacre.enclave.agent.config import Config, Limits
from nacre.enclave.instances import Instance, Instances, Options, runtime_folder
from nacre.enclave.launch import launcher
from nacre.errors import EnclaveError
from nacre.platforms.device import DevicePaths
from nacre.platforms.simulation import Root
from nacre.trust import pem

__all__ = ["Places", "create", "planned", "software", "told", "write_trust"]


#: Seconds that an app may take to end.
_GRACE = 5.0


class Places(msgspec.Struct, frozen=True):
    """Where an instance's sockets are. The application sees one of the folders.

    Attributes:
        runtime: The folder around the others.
    """

    runtime: Path

    @classmethod
    def make(cls, instance: Instance) -> "Places":
        """Make an instance's folders."""
        places = cls(Path(instance.runtime))
        for folder in (places.app, places.outside, places.device):
            folder.mkdir(mode=0o700)
        return places

    @property
    def app(self) -> Path:
        """The application's own sockets."""
        return self.runtime / "app"

    @property
    def outside(self) -> Path:
        """The agent's public socket, and the way out."""
        return self.runtime / "outside"

    @property
    def device(self) -> Path:
        """The emulated device."""
        return self.runtime / "device"

    @property
    def public(self) -> Path:
        """The agent's public socket."""
        return self.outside / "public.sock"

    @property
    def uplink(self) -> Path:
        """What the agent's egress goes out by."""
        return self.outside / "uplink.sock"

    @property
    def config(self) -> Path:
        """The agent's configuration."""
        return self.runtime / "agent.json"


def planned(
    source: Path,
    *,
    platform: str,
    how: str = "process",
    options: Options = Options(),  # noqa: B008 (frozen)
    at: int | None = None,
) -> tuple[Instance, App]:
    """Return an instance that has no folder yet, and its application.

    Args:
        source: The folder of `nacre.toml`.
        platform: The platform, simulated or real.
        how: The launcher.
        options: What the launcher is told.
        at: Now, Unix seconds.

    Raises:
        ConfigurationError: `nacre.toml` cannot be used.
        EnclaveError: `launcher-unknown`, `base-unbuilt`.
    """
    app = App.load(source)
    if not (app.entry or options.image):
        raise EnclaveError("base-unbuilt", what=app.name)
    instance = Instance(
        id="",
        app=app.name,
        version=app.version,
        platform=platform,
        launcher=how,
        mode=launcher.find(how).MODE,
        options=options,
        source=str(source.resolve()),
        created=int(time.time()) if at is None else at,
        release="",
        runtime="",
    )
    return instance, app


def create(
    instances: Instances,
    source: Path,
    *,
    platform: str,
    how: str = "process",
    options: Options = Options(),  # noqa: B008 (frozen)
    at: int | None = None,
) -> Instance:
    """Measure an application and make its instance, with `release.toml` in its folder; nothing runs yet.

    Args:
        instances: Those of this user.
        source: As for `planned`, like the rest.
        platform: The platform, simulated or real.
        how: The launcher.
        options: What the launcher is told.
        at: Now, Unix seconds.

    Raises:
        ConfigurationError, EnclaveError: As `planned` raises; `simulated-platform`, `instance-folder`; the
            launcher's.
        BuildError: The application's files cannot be measured.
    """
    instance, app = planned(source, platform=platform, how=how, options=options, at=at)
    found = launcher.find(how)
    tree = Tree.read(source / app.source)
    instance = msgspec.structs.replace(instance, id=instances.new_id(), runtime=str(runtime_folder()))
    folder = instances.folder(instance.id)
    try:
        # Whoever is killed while making an image leaves something that nacre stop knows.
        instances.write(instance)
        found.insist(instance)
        text = found.release(instance, app, tree, folder)
        (folder / "release.toml").write_text(text, encoding="utf-8")
        instance = msgspec.structs.replace(instance, release=Release.parse(text).fingerprint.hex())
        instances.write(instance)
    except BaseException:
        instances.remove(instance)
        raise
    return instance


def write_trust(folder: Path, platform: str, root: Root) -> None:
    """Write the root's certificates, no keys, and a policy that accepts what runs here as simulated."""
    names = [f"root-{number}.pem" for number in range(len(root.certificates))]
    for name, der in zip(names, root.certificates, strict=True):
        (folder / name).write_bytes(pem.armour(der) + b"\n")
    listed = ", ".join(f'"{name}"' for name in names)
    (folder / "policy.toml").write_text(
        "# What one simulated process is accepted by. No hardware stands behind it.\n"
        f'releases = ["release.toml"]\n\n[anchors.{platform}]\ngenuine = false\nsimulated = [{listed}]\n',
        encoding="utf-8",
    )


def told(
    instance: Instance,
    app: App,
    places: Places,
    *,
    devices: DevicePaths,
    endorsements: Path,
    directory: Path | None = None,
    sockets: Path | None = None,
    confine: tuple[str, ...] = (),
    user: int | None = None,
) -> Config:
    """Return what the agent in a sandbox is told.

    Args:
        instance: What is started.
        app: Its application.
        places: Where its sockets are.
        devices: Where the hardware is.
        endorsements: The folder with the vendor's documents.
        directory: Where the application's files are inside, if not where they are here.
        sockets: The folder of the application's sockets inside, likewise.
        confine: What is put before the application's command line.
        user: The user that the application runs as, if the agent changes it.
    """
    sockets = sockets or places.app
    return Config(
        app=app,
        app_directory=str(directory or Path(instance.source) / app.source),
        public=f"unix:{places.public}",
        socket=str(sockets / "agent.sock"),
        dstack_socket=str(sockets / "dstack.sock"),
        egress_socket=str(sockets / "egress.sock") if app.egress else None,
        uplink=f"unix:{places.uplink}" if app.egress else None,
        release=instance.release,
        mode="simulated",
        devices=devices,
        limits=Limits(grace=_GRACE),
        endorsements=str(endorsements),
        confine=confine,
        app_user=user,
    )


def software() -> list[Path]:
    """List what the agent's Python needs that is not under `/usr`."""
    wanted = (Path(sys.prefix), Path(sys.base_prefix), Path(nacre.__file__).parent)
    return [path for path in dict.fromkeys(wanted) if not path.is_relative_to("/usr")]
