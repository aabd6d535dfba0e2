# SPDX-License-Identifier: Apache-2.0
"""A suite's signed index: which packages there are, with their digests.

Its signature is checked by ``gpgv``, which comes with every Debian; nothing of an index is used before that.

Source: Debian's repository format, ``InRelease`` and ``Packages``.
"""

import hashlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from nacre.build import packed
from nacre.build.debian.sources import Mirror
from nacre.build.download import Download
from nacre.errors import BuildError

__all__ = ["Package", "Snapshot", "packages", "snapshot"]

_ARCHITECTURE = "amd64"
_LIST = f"main/binary-{_ARCHITECTURE}/Packages.xz"
_MAX_RELEASE, _MAX_LIST, _MAX_PLAIN = 1 << 22, 1 << 26, 1 << 29
_HASH = re.compile(r"^ (?P<sha256>[0-9a-f]{64}) +[0-9]+ (?P<path>\S+)$", re.MULTILINE)
# Paths and digests go into addresses and names of files.
_PATH = re.compile(r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9/+.:~%_-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SIZE = re.compile(r"[0-9]{1,12}")
_PATIENCE = 60


class Package(msgspec.Struct, frozen=True, kw_only=True):
    """What an index says of one package.

    Attributes:
        name: The package.
        version: Of it.
        architecture: ``amd64`` or ``all``.
        source: The source package's name.
        essential: Whether Debian counts it as part of every system.
        depends: The fields Pre-Depends and Depends, each clause as written there.
        provides: Virtual packages, with the version in parentheses if there is one.
        path: Where a mirror has it.
        size: Bytes.
        sha256: Hex.
    """

    name: str
    version: str
    architecture: str
    source: str
    essential: bool
    depends: tuple[str, ...]
    provides: tuple[str, ...]
    path: str
    size: int
    sha256: str


class Snapshot(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which state of a suite packages are of.

    Attributes:
        suite: The suite.
        date: As its index has it.
        sha256: Of its signed index as served, hex.
    """

    suite: str
    date: str
    sha256: str


def snapshot(mirror: Mirror, *, download: Download) -> tuple[Snapshot, str]:
    """Return a suite's state, and the text of its index that was signed.

    Raises:
        BuildError: ``download-…``; ``index-unsigned``: nobody in the keyring signed it; ``index-tool``.
    """
    signed = download.get(f"{mirror.url}/dists/{mirror.suite}/InRelease", limit=_MAX_RELEASE)
    text = _verified(signed, mirror)
    fields = dict(line.partition(": ")[::2] for line in text.split("\n") if not line.startswith(" "))
    if mirror.suite not in (fields.get("Codename"), fields.get("Suite")):
        # A mirror may serve another suite's index, correctly signed.
        raise BuildError("index-other", expected=mirror.suite, actual=fields.get("Codename", "none"))
    digest = hashlib.sha256(signed).hexdigest()
    return Snapshot(suite=mirror.suite, date=fields.get("Date", ""), sha256=digest), text


def packages(mirror: Mirror, text: str, *, download: Download) -> Iterator[Package]:
    """List a suite's packages.

    Args:
        mirror: Who serves it.
        text: Of its index, as ``snapshot`` returned it.
        download: Gets files.

    Raises:
        BuildError: ``download-…``, ``index-malformed``; ``index-changed``: the list is not the signed one.
    """
    _, _, hashes = text.partition("\nSHA256:\n")
    listed = next((match for match in _HASH.finditer(hashes) if match["path"] == _LIST), None)
    if listed is None:
        raise BuildError("index-malformed", what=mirror.suite)
    # By its digest, if possible: between two requests a mirror may have been renewed.
    base = f"{mirror.url}/dists/{mirror.suite}"
    by_hash = f"{base}/{_LIST.rpartition('/')[0]}/by-hash/SHA256/{listed['sha256']}"
    failure: BuildError | None = None
    for url in (by_hash, f"{base}/{_LIST}"):
        try:
            data = download.get(url, limit=_MAX_LIST)
        except BuildError as error:
            failure = error
            continue
        if hashlib.sha256(data).hexdigest() == listed["sha256"]:
            return read(_unpacked(data, mirror.suite), what=mirror.suite)
        failure = BuildError("index-changed", what=mirror.suite, expected=listed["sha256"])
    raise failure or BuildError("index-malformed", what=mirror.suite)


def read(text: str, *, what: str) -> Iterator[Package]:
    """Read a list of packages.

    Raises:
        BuildError: ``index-malformed``.
    """
    for paragraph in text.split("\n\n"):
        if not paragraph.strip():
            continue
        fields = dict(line.partition(": ")[::2] for line in paragraph.split("\n") if line[:1].strip())
        try:
            found = Package(
                name=fields["Package"],
                version=fields["Version"],
                architecture=fields["Architecture"],
                source=fields.get("Source", fields["Package"]).partition(" ")[0],
                essential=fields.get("Essential") == "yes",
                depends=tuple(_clauses([fields.get("Pre-Depends", ""), fields.get("Depends", "")])),
                provides=tuple(_clauses([fields.get("Provides", "")])),
                path=_matching(_PATH, fields["Filename"]),
                size=int(_matching(_SIZE, fields["Size"])),
                sha256=_matching(_SHA256, fields["SHA256"]),
            )
        except (KeyError, ValueError):
            raise BuildError("index-malformed", what=what) from None
        yield found


def _matching(pattern: re.Pattern[str], text: str) -> str:
    if not pattern.fullmatch(text):
        raise ValueError(text)
    return text


def _clauses(fields: Iterable[str]) -> Iterator[str]:
    for field in fields:
        yield from (clause.strip() for clause in field.split(",") if clause.strip())


def _unpacked(data: bytes, what: str) -> str:
    try:
        return packed.plain(data, "xz", what=what, limit=_MAX_PLAIN).decode()
    except (BuildError, UnicodeDecodeError):
        raise BuildError("index-malformed", what=what) from None


def _verified(signed: bytes, mirror: Mirror) -> str:
    gpgv = shutil.which("gpgv")
    if gpgv is None:
        raise BuildError("index-tool", what="gpgv")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "InRelease"
        file.write_bytes(signed)
        line = [gpgv, "--keyring", mirror.keyring, "--output", "-", str(file)]
        try:
            done = subprocess.run(line, capture_output=True, check=False, timeout=_PATIENCE)  # noqa: S603 (our own command line)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise BuildError("index-unsigned", what=mirror.suite, actual=str(error)) from None
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise BuildError("index-unsigned", what=mirror.suite, actual=said[-1] if said else "no reason given")
    try:
        return done.stdout.decode()
    except UnicodeDecodeError:
        raise BuildError("index-malformed", what=mirror.suite) from None
