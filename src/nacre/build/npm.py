# SPDX-License-Identifier: Apache-2.0
"""npm's packages: those of a ``package-lock.json``, by the digest that stands there. No script of any is run.

A package that has to be compiled or to run something when it is installed is refused: what it would do
there, it would do where nobody looks.

Source: npm, ``package-lock.json``, lockfileVersion 2 and 3.
"""

import base64
import hashlib
import os
import posixpath
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

import msgspec

from nacre.appraisal.documents import read_bytes
from nacre.build import packed
from nacre.build.app import Recipe
from nacre.build.cpio import Member, file
from nacre.build.download import Download
from nacre.build.inputs import Inputs
from nacre.build.layout import APP
from nacre.build.lock import Module
from nacre.errors import BuildError, ConfigurationError

__all__ = ["fetch", "lock", "members"]

_WHAT = "package-lock.json"
_MAX_LOCK, _MAX_ARCHIVE, _MAX_PLAIN = 1 << 26, 1 << 28, 1 << 30
_PATIENCE = 30
_REGISTRY = "NPM_CONFIG_REGISTRY"
_ARCHIVE = re.compile(r"(?:[\w@%+~-][\w@%+.~-]*/)*[\w@%+~-][\w@%+.~-]*\.tgz", re.ASCII)


class _Listed(msgspec.Struct, frozen=True):
    """What is used of an entry in the file; npm writes much more."""

    name: str = ""
    version: str = ""
    resolved: str = ""
    integrity: str = ""
    dev: bool = False
    link: bool = False
    scripts: bool = msgspec.field(name="hasInstallScript", default=False)
    os: tuple[str, ...] = ()
    cpu: tuple[str, ...] = ()


class _File(msgspec.Struct, frozen=True):
    version: int = msgspec.field(name="lockfileVersion")
    packages: dict[str, _Listed] = {}


def lock(recipe: Recipe, *, inputs: Inputs, download: Download) -> tuple[Module, ...]:
    """Fetch what a ``package-lock.json`` names, but for what only development needs.

    Raises:
        ConfigurationError: The file cannot be read.
        BuildError: ``npm-script``, ``npm-integrity``, ``npm-source``; ``download-…``.
    """
    name = recipe.build.package_lock
    if not name:
        return ()
    data = read_bytes(recipe.folder / name, what=_WHAT, limit=_MAX_LOCK)
    try:
        listed = msgspec.json.decode(data, type=_File)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError("config-syntax", what=_WHAT, file=name, actual=str(error)) from None
    if listed.version not in (2, 3):
        raise ConfigurationError(
            "config-syntax", what=_WHAT, file=name, actual="lockfileVersion is not 2 or 3"
        )
    return tuple(
        [
            _locked(place, one, inputs, download)
            for place, one in sorted(listed.packages.items())
            if place and not one.dev and _fits(one.os, "linux") and _fits(one.cpu, "x64")
        ]
    )


def members(modules: Sequence[Module], *, inputs: Inputs) -> tuple[Member, ...]:
    """List the files of modules as they lie in the image.

    Raises:
        BuildError: ``input-missing``, ``input-damaged``, ``package-malformed``.
    """
    return tuple([member for module in modules for member in _files(module, inputs.read(module.input))])


def fetch(module: Module, *, inputs: Inputs, download: Download) -> bytes:
    """Return a module's archive, from what is kept or from the registry that npm is configured for.

    Raises:
        BuildError: ``input-missing``, ``input-changed``, ``download-…``.
    """
    urls = (f"{base}/{module.path}" for base in _registries())
    return inputs.fetch(module.input, urls, download=download)


def _locked(place: str, one: _Listed, inputs: Inputs, download: Download) -> Module:
    name = place.rpartition("node_modules/")[2]
    if not place.startswith("node_modules/") or place != posixpath.normpath(place) or one.link:
        raise BuildError("npm-source", what=name, actual=place)
    if one.scripts:
        raise BuildError("npm-script", what=name)
    # npm may be told to leave addresses out, and a package to be installed under another's name.
    real = one.name or name
    path = _path(one.resolved) if one.resolved else _usual(real, one.version)
    if path is None:
        raise BuildError("npm-source", what=name, actual=one.resolved or "nothing")
    data = download.get(f"{_registry()}/{path}", limit=_MAX_ARCHIVE)
    digest = base64.b64encode(hashlib.sha512(data).digest()).decode()
    if one.integrity != f"sha512-{digest}":
        raise BuildError("npm-integrity", what=name, expected=one.integrity or "sha512-…")
    kept = inputs.keep(name, data)
    return Module(
        name=name,
        version=one.version,
        sha256=kept.sha256,
        size=kept.size,
        place=place,
        integrity=one.integrity,
        path=path,
    )


def _usual(name: str, version: str) -> str | None:
    """Return where registries have a version of a package; None if there can be no such."""
    path = f"{name}/-/{name.rpartition('/')[2]}-{version}.tgz"
    return path if _ARCHIVE.fullmatch(path) else None


def _path(url: str) -> str | None:
    """Return where an archive is at a registry; None if the address is of something else."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    path = parts.path.lstrip("/")
    return path if parts.scheme == "https" and _ARCHIVE.fullmatch(path) else None


def _registries() -> Iterator[str]:
    """Ask for the registry only when it is needed: a machine without one may have the archive."""
    yield _registry()


def _registry() -> str:
    """Return the registry that npm is configured for."""
    if given := os.environ.get(_REGISTRY) or os.environ.get(_REGISTRY.lower()):
        return given.rstrip("/")
    npm = shutil.which("npm")
    if npm is None:
        raise BuildError("npm-registry")
    try:
        done = subprocess.run(  # noqa: S603 (our own command line)
            [npm, "config", "get", "registry"], capture_output=True, check=False, timeout=_PATIENCE
        )
        found = done.stdout.decode().strip().rstrip("/")
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        raise BuildError("npm-registry") from None
    if done.returncode != 0 or not found.startswith(("https://", "http://")):
        raise BuildError("npm-registry")
    return found


def _files(module: Module, data: bytes) -> Iterator[Member]:
    archive = packed.plain(data, "gz", what=module.name, limit=_MAX_PLAIN)
    for entry in packed.files(archive, what=module.name):
        if entry.kind == "folder":
            continue
        # All lies in one folder, whose name npm does not care about.
        _, _, path = entry.path.partition("/")
        if entry.kind != "file" or not path:
            raise BuildError("package-malformed", what=module.name, actual=f"{entry.path} is a {entry.kind}")
        yield file(f"{APP[1:]}/{module.place}/{path}", entry.content, program=entry.program)


def _fits(listed: Sequence[str], mine: str) -> bool:
    """Tell whether a package is for this system: what it names, or all but what it names with a ``!``."""
    refused = {one[1:] for one in listed if one.startswith("!")}
    wanted = {one for one in listed if not one.startswith("!")}
    return mine not in refused and (not wanted or mine in wanted)
