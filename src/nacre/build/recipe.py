# SPDX-License-Identifier: Apache-2.0
"""The table ``[build]`` of ``nacre.toml``: what an image is made of beside the application's own files.

It is read strictly: a key that nobody knows is an error, also where nothing is built.
"""

import posixpath
import re
from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec

__all__ = ["TARGETS", "Build", "Target", "digest_of"]

Target = Literal["nitro", "qemu", "sgx", "snp", "tdx"]
#: Everything that an image can be built for; ``qemu`` is a simulated machine.
TARGETS: tuple[Target, ...] = ("nitro", "qemu", "sgx", "snp", "tdx")

_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+")
_IMAGE = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9._/:-]{0,255}@)?(sha256:[0-9a-f]{64})")
_SUITE = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
#: What the agent answers for; files of an application never replace these.
_OURS = re.compile(
    r"(app|bin|dev|etc/(group|nacre|passwd)|image|init|lib|lib64|proc|run|sbin|sys|tmp"
    r"|usr/lib/(nacre|python3[^/]*))(/.*)?"
)


class Build(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an image is made of.

    Attributes:
        targets: What it is for.
        base: ``from``: a container image with the application's files, as ``name@sha256:…``; the digest says
            which, the name is for people. The application sees its files and no others.
        suite: The Debian release that packages come from, by code name; its updates are taken as well.
        runtime: What the application is written in. Python is in every image, for the agent.
        packages: Debian packages whose files the application needs. What they depend on comes along only as
            far as shared libraries need it: whoever needs more of it names it.
        requirements: A file of pip's, below the folder of ``nacre.toml``; each line has its hashes.
        package_lock: A ``package-lock.json`` of npm's; scripts of packages are never run.
        files: Further files: path in the image to path below the folder of ``nacre.toml``.
        kernel: ``debian``, the suite's kernel for clouds; ``nacre``, as ``nacre kernel`` builds it; or
            the path of a kernel's package, unpacked, below the folder of ``nacre.toml``.
        kernel_suite: The suite that the kernel or its source is of, if another.
        firmware_suite: The suite that firmware is of, if another.
        command_line: What is added to the kernel's command line.
        shell: Whether the image has a shell and basic commands.
        bytecode: Whether Python's modules are compiled, by the interpreter in the image, which has to run
            where the image is built.
    """

    targets: tuple[Target, ...] = ("qemu",)
    # Not written where it is unset: locks are of recipes as they are written.
    base: str | msgspec.UnsetType = msgspec.field(name="from", default=msgspec.UNSET)
    suite: str = "bookworm"
    runtime: Literal["native", "node", "python"] = "python"
    packages: tuple[str, ...] = ()
    requirements: str = ""
    package_lock: str = ""
    files: dict[str, str] = {}
    kernel: str = "debian"
    kernel_suite: str = ""
    firmware_suite: str = ""
    command_line: Annotated[str, msgspec.Meta(max_length=1024)] = ""
    shell: bool = False
    bytecode: bool = True

    def faults(self) -> Iterator[tuple[str, str]]:
        """List the keys whose values cannot be, and why."""
        if not self.targets or len(set(self.targets)) != len(self.targets):
            yield "targets", "have to be different, and at least one"
        for key, suite in (
            ("suite", self.suite),
            ("kernel_suite", self.kernel_suite or self.suite),
            ("firmware_suite", self.firmware_suite or self.suite),
        ):
            if not _SUITE.fullmatch(suite):
                yield key, f"{suite!r} is not a suite of Debian"
        yield from (
            ("packages", f"{name!r} is not a package's name")
            for name in self.packages
            if not _PACKAGE.fullmatch(name)
        )
        # A line break would be the end of the line for some boot loaders and a space for others.
        if not self.command_line.isascii() or not self.command_line.isprintable():
            yield "command_line", "has to be printable ASCII"
        if self.base is not msgspec.UNSET:
            yield from self._not_from(self.base)
        yield from self._misplaced()

    def _not_from(self, base: str) -> Iterator[tuple[str, str]]:
        """List what cannot be of an image whose application is of a container image."""
        if digest_of(base) is None:
            yield "from", f"{base!r} says no digest: name@sha256:…, as nacre measure shows it"
        for key in ("packages", "requirements", "package_lock", "shell", "files"):
            if getattr(self, key):
                yield key, "has to be in the container image that from names"
        if self.runtime != "python":
            yield "runtime", "has to be in the container image that from names"
        if "sgx" in self.targets:
            yield "targets", "sgx: Gramine has one root for the application and the agent"

    def paths(self) -> Iterator[tuple[str, str]]:
        """List what is read below the folder of ``nacre.toml``: the key that names it, and its path there."""
        yield from (("files", source) for source in self.files.values())
        if self.kernel not in ("debian", "nacre"):
            yield "kernel", self.kernel
        if self.requirements:
            yield "requirements", self.requirements
        if self.package_lock:
            yield "package_lock", self.package_lock

    def _misplaced(self) -> Iterator[tuple[str, str]]:
        for key, path in self.paths():
            if not _inside(path):
                yield key, f"{path!r} is not below the folder of nacre.toml"
        for path in self.files:
            if not _inside(path) or _OURS.fullmatch(path):
                yield "files", f"{path!r} is no place for a file of the application"


def digest_of(base: str) -> str | None:
    """Return the digest, ``sha256:…``, in the name of a container image; None if there is none."""
    found = _IMAGE.fullmatch(base)
    return found and found[1]


def _inside(path: str) -> bool:
    return (
        path.isprintable()
        and path == posixpath.normpath(path)
        and not posixpath.isabs(path)
        and path.split("/", maxsplit=1)[0] not in ("", ".", "..")
    )
