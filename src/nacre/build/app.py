# SPDX-License-Identifier: Apache-2.0
"""``nacre.toml``: what an application is, as its developer writes it and as it is measured.

The file is part of the image, so whoever changes a line of it changes the registers.
"""

import re
from pathlib import Path
from typing import Literal

import msgspec

from nacre.appraisal.documents import Document, read_text
from nacre.build.recipe import Build

__all__ = ["App", "Recipe", "Resources"]

_WHAT = "application"
_FILE = "nacre.toml"
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?")
_HOST = re.compile(r"(?=.{1,253}:)[a-z0-9-]+(\.[a-z0-9-]+)*:(?P<port>[1-9][0-9]{0,4})")
_LAST_PORT = 65535
_LEAST_MACHINE = 512


class Resources(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an enclave is given.

    Attributes:
        memory: MiB.
        cpus: Virtual processors.
    """

    memory: int = 256
    cpus: int = 1

    @property
    def machine(self) -> int:
        """MiB of a machine: it unpacks its image in memory, where it lies twice meanwhile.

        Whoever starts one and whoever predicts its registers, which depend on it, have to agree.
        """
        return max(self.memory, _LEAST_MACHINE)


class App(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An application.

    Attributes:
        name: Lower-case letters, digits and dashes, at most 64.
        version: Text.
        entry: The command and its arguments; run in the source folder. An image built from a container image
            starts what that says, if this is left out.
        source: The folder with the application's files, below the folder of ``nacre.toml``.
        environment: Variables of the application's process; it gets no others but those of the agent
            (``NACRE_SOCKET``, where the agent listens; ``NACRE_LISTEN``, where the application should).
        port: The TCP port on which the application listens inside; absent: the Unix socket
            ``NACRE_LISTEN``.
        egress: Hosts that it may reach through the agent, ``host:port``; none by default.
        restart: What happens when its process ends: ``never`` leaves the agent answering, ``on-failure``
            and ``always`` start it again, ``halt`` ends the enclave.
        raw_report_data: Whether the application may choose all 64 bytes that evidence commits to. Every
            other binding of such a release is worth less: a caller could ask for another purpose's digest.
        profile: ``isolated``: no egress, no input but through the attested channel.
        resources: What an enclave is given.
    """

    name: str
    version: str
    entry: tuple[str, ...] = ()
    source: str = "."
    environment: dict[str, str] = {}
    port: int | None = None
    egress: tuple[str, ...] = ()
    restart: Literal["never", "on-failure", "always", "halt"] = "never"
    raw_report_data: bool = False
    profile: Literal["standard", "isolated"] = "standard"
    resources: Resources = Resources()

    @classmethod
    def load(cls, path: str | Path) -> "App":
        """Read ``nacre.toml``, or the one in a folder.

        Raises:
            ConfigurationError: Names the file and the key.
        """
        return Recipe.load(path).app


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """``nacre.toml``, whole.

    Attributes:
        app: What runs.
        build: What else an image is made of; no part of what the application is told about itself.
        folder: Where ``nacre.toml`` is.
    """

    app: App
    build: Build
    folder: Path

    @classmethod
    def load(cls, path: str | Path) -> "Recipe":
        """Read ``nacre.toml``, or the one in a folder.

        Raises:
            ConfigurationError: Names the file and the key.
        """
        file = Path(path)
        file = file / _FILE if file.is_dir() else file
        document = Document.parse(read_text(file, what=_WHAT), what=_WHAT, file=str(file))
        table = document.table.pop("build", {})
        if not isinstance(table, dict):
            raise document.wrong("build", "has to be a table")
        below = document.below("build", table)
        build = below.convert(Build)
        for key, problem in build.faults():
            raise below.wrong(key, problem)
        app = document.convert(App)
        for key, problem in _faults(app, whole=build.base is msgspec.UNSET):
            raise document.wrong(key, problem)
        if _leads_out(file.parent, app.source):
            raise document.wrong(
                "source", f"{app.source!r} is a link that leads out of the folder of {_FILE}"
            )
        for key, name in build.paths():
            if _leads_out(file.parent, name):
                raise below.wrong(key, f"{name!r} is behind a link that leads out of the folder of {_FILE}")
        return cls(app=app, build=build, folder=file.parent)


def _leads_out(folder: Path, path: str) -> bool:
    """Tell whether a link on the way leads elsewhere: what is there is no part of the source."""
    try:
        return not (folder / path).resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # a circle
        return True


def _faults(app: App, *, whole: bool) -> list[tuple[str, str]]:
    """List the keys whose values cannot be, and why."""
    faults = []
    if not _NAME.fullmatch(app.name):
        faults.append(("name", "has to be lower-case letters, digits and dashes, at most 64"))
    if not all(app.entry) or (whole and not app.entry):
        faults.append(("entry", "has to be a command and its arguments"))
    source = Path(app.source)
    if source.is_absolute() or ".." in source.parts:
        faults.append(("source", f"{app.source!r} is not below the folder of {_FILE}"))
    if not whole and source != Path():
        faults.append(("source", "the application is in the container image that build.from names"))
    faults += [
        ("environment", f"{name!r} is not a variable's name")
        for name in app.environment
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) or name.startswith("NACRE_")
    ]
    if app.port is not None and not 0 < app.port <= _LAST_PORT:
        faults.append(("port", f"{app.port} is not a TCP port"))
    for host in app.egress:
        found = _HOST.fullmatch(host)
        if not found or int(found["port"]) > _LAST_PORT:
            faults.append(("egress", f"{host!r} is not host:port, in lower case"))
    if app.profile == "isolated" and app.egress:
        faults.append(("egress", "an isolated application reaches nobody"))
    if app.resources.memory < 1 or app.resources.cpus < 1:
        faults.append(("resources", "have to be at least 1"))
    return faults
