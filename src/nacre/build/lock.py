# SPDX-License-Identifier: Apache-2.0
"""``nacre.lock``: every input of an image by its digest. It names no mirror, no index and no path.

Whoever has the files, from wherever, builds the same bytes; whoever has others notices.
"""

import hashlib
import math
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec

from nacre.appraisal.documents import read_bytes
from nacre.build.debian.index import Snapshot
from nacre.build.inputs import Input
from nacre.build.recipe import Build
from nacre.errors import BuildError, ConfigurationError, MalformedEvidence
from nacre.trust import json

__all__ = ["FILE", "Base", "Deb", "Kernel", "Lock", "Module", "Wheel", "insist_on_newer", "recipe_digest"]

FILE = "nacre.lock"

_WHAT = "lock"
_FORMAT: Final = "nacre-lock/v1"
_MAX_SIZE = 1 << 24


# Digests are names of files, paths and versions parts of addresses and of pip's requirements: a lock may be
# of somebody else, so none of them can be anything but that.
_Sha256 = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]
_Size = Annotated[int, msgspec.Meta(ge=0, le=1 << 34)]
_Name = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9@][A-Za-z0-9@/+._-]*\Z")]
_Version = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9.+~:!_-]*\Z")]
_Path = Annotated[str, msgspec.Meta(pattern=r"\A(?!.*\.\.)[A-Za-z0-9@][A-Za-z0-9@/+.:~%_-]*\Z")]
_WheelFile = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9+.!_-]*\.whl\Z")]
_Integrity = Annotated[str, msgspec.Meta(pattern=r"\Asha512-[A-Za-z0-9+/]{86}==\Z")]
_Place = Annotated[str, msgspec.Meta(pattern=r"\A(?!.*\.\.)node_modules/[A-Za-z0-9@_][A-Za-z0-9@/+.~_-]*\Z")]
_Reference = Annotated[str, msgspec.Meta(pattern=r"\A([A-Za-z0-9][A-Za-z0-9._/:-]*)?\Z", max_length=257)]
_Python = Annotated[str, msgspec.Meta(pattern=r"\A3\.[0-9]{1,2}\Z")]


class _Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What every input has."""

    name: _Name
    version: _Version
    sha256: _Sha256
    size: _Size

    @property
    def input(self) -> Input:
        """The file that is asked for."""
        return Input(name=f"{self.name} {self.version}", sha256=self.sha256, size=self.size)


class Deb(_Record, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A package of Debian's.

    Attributes:
        name: The package.
        version: Of it.
        sha256: Of the ``.deb``, hex.
        size: Bytes.
        source: The source package.
        path: Where a mirror has it.
        use: ``whole``: all its files but documentation; ``libraries``: shared libraries that others need;
            ``python``, ``kernel``, ``firmware``: what the image needs of these; ``source``: the kernel is
            built from it.
    """

    source: _Name
    path: _Path
    use: Literal["firmware", "kernel", "libraries", "python", "source", "whole"]


class Wheel(_Record, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A package for Python.

    Attributes:
        name: The distribution.
        version: Of it.
        sha256: Of the wheel, hex.
        size: Bytes.
        file: The wheel's name.
        use: Whether the agent needs it, or the application.
    """

    file: _WheelFile
    use: Literal["agent", "app"]


class Module(_Record, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A package of npm's.

    Attributes:
        name: The package.
        version: Of it.
        sha256: Of the archive, hex.
        size: Bytes.
        place: Where it lies, ``node_modules/…``.
        integrity: As ``package-lock.json`` has it.
        path: Of the archive at a registry.
    """

    place: _Place
    integrity: _Integrity
    path: _Path


class Kernel(_Record, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A kernel that ``nacre kernel`` built from a locked source.

    Attributes:
        name: ``linux``.
        version: The kernel's.
        sha256: Of the image, hex.
        size: Bytes.
        config: SHA-256 of its configuration, hex.
        config_size: Bytes.
        tools: The versions of the compiler and the linker; others make other bytes.
    """

    config: _Sha256
    config_size: _Size
    tools: str

    @property
    def configuration(self) -> Input:
        """The file with its configuration."""
        return Input(
            name=f"the configuration of {self.input.name}", sha256=self.config, size=self.config_size
        )


class Base(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A container image with the application's files.

    Attributes:
        name: What people call it.
        sha256: Of its manifest, hex, from which everything else follows.
        size: Of that, bytes.
        left_out: What is not taken over: the path, and what it is or has.
    """

    name: _Reference = ""
    sha256: _Sha256
    size: _Size
    left_out: tuple[str, ...] = ()


class Lock(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """All inputs.

    Attributes:
        format: ``nacre-lock/v1``.
        recipe: SHA-256 of the table ``[build]`` and of the files it names, hex.
        agent: SHA-256 of the agent's code, hex.
        nacre: The version of Nacre that it is of.
        python: The version of Python in the image, as ``3.11``.
        snapshots: The states of Debian's suites that packages are of.
        packages: Debian's, by name.
        wheels: Python's, by use and name.
        modules: npm's, by place.
        kernel: The kernel that is built from one of the packages, if it is.
        base: The container image that the application is of, if it is.
        left_out: Packages that others depend on and that no file of the image is of.
    """

    format: Literal["nacre-lock/v1"] = _FORMAT
    recipe: _Sha256
    agent: _Sha256
    nacre: _Version
    python: _Python
    snapshots: tuple[Snapshot, ...]
    packages: tuple[Deb, ...]
    wheels: tuple[Wheel, ...]
    modules: tuple[Module, ...] = ()
    kernel: Kernel | None = None
    base: Base | None = None
    left_out: tuple[str, ...] = ()

    @classmethod
    def load(cls, folder: Path) -> "Lock":
        """Read the lock in a folder.

        Raises:
            BuildError: ``lock-missing``.
            ConfigurationError: ``config-unreadable``, ``config-too-large``, ``config-syntax``.
        """
        path = folder / FILE
        if not path.exists():
            raise BuildError("lock-missing", file=str(path))
        data = read_bytes(path, what=_WHAT, limit=_MAX_SIZE)
        try:
            return json.decode(data, cls, what=_WHAT, limit=_MAX_SIZE)
        except MalformedEvidence as error:
            raise ConfigurationError("config-syntax", what=_WHAT, file=str(path), actual=str(error)) from None

    def encode(self) -> bytes:
        """Return what ``load`` reads: indented, so that a change of it can be read."""
        # The format is stated although it is the default.
        members = {"format": self.format, **msgspec.to_builtins(self)}
        return msgspec.json.format(msgspec.json.encode(members), indent=2) + b"\n"

    @property
    def digest(self) -> str:
        """SHA-256 of the lock as it is written, hex."""
        return hashlib.sha256(self.encode()).hexdigest()


def insist_on_newer(old: Lock, new: Lock) -> None:
    """Refuse a lock of older states of suites than another's: an index that was replaced is signed as well.

    Raises:
        BuildError: ``index-older``.
    """
    before = {one.suite: one.date for one in old.snapshots}
    for one in new.snapshots:
        known = before.get(one.suite, "")
        if _moment(one.date) < _moment(known):
            raise BuildError("index-older", what=one.suite, expected=known, actual=one.date)


def _moment(date: str) -> float:
    """Return the time that an index states; the beginning of time where it states none."""
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError, OverflowError):
        return -math.inf


def recipe_digest(build: Build, folder: Path) -> str:
    """Return the digest of what a lock is made for.

    Args:
        build: The table ``[build]``.
        folder: Where the files are that it names.

    Raises:
        ConfigurationError: One of them cannot be read.
    """
    whole = hashlib.sha256(msgspec.json.encode(build, order="sorted"))
    for name in (build.requirements, build.package_lock):
        data = read_bytes(folder / name, what="requirements", limit=_MAX_SIZE) if name else b""
        whole.update(hashlib.sha256(data).digest())
    return whole.hexdigest()
