# SPDX-License-Identifier: Apache-2.0
"""An image of dstack's, as its releases are: a folder whose ``metadata.json`` names what a TD starts with.

What dstack calls the image's hash is the SHA-256 of ``sha256sum.txt``, which lists the files. That says
nothing if the list is not of these files, so each that is measured is compared with it.

Not proven here:
    A whole release of dstack's: the reader is tried on one that the tests make. To prove it: give
    ``nacre measure`` the folder of a release, and compare with ``dstack-mr measure`` and with evidence of a
    machine that it starts.

Source: Dstack-TEE/meta-dstack, ``mkimage.sh``; Dstack-TEE/dstack, ``dstack-mr/cli/src/main.rs``.
"""

import hashlib
import re
from pathlib import Path
from typing import Annotated, Final

import msgspec

from nacre.errors import BuildError, MalformedEvidence
from nacre.trust import json

__all__ = ["METADATA", "Image", "read"]

METADATA: Final = "metadata.json"
_SUMS: Final = "sha256sum.txt"
_LINE: Final = re.compile(r"([0-9a-f]{64}) [ *](?:\./)?([^/]\S*)")
_MAX_DOCUMENT: Final = 1 << 20

_Name = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9._-]*\Z")]


class _Metadata(msgspec.Struct, frozen=True):
    """``metadata.json``, as far as registers depend on it."""

    bios: _Name
    kernel: _Name
    initrd: _Name
    cmdline: str


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """What a TD starts with.

    Attributes:
        firmware: The file.
        kernel: The file.
        initrd: The file.
        command_line: What the kernel is told.
        digest: What dstack calls the image's hash, 32 bytes.
        size: Bytes of the list that it is the hash of.
    """

    firmware: Path
    kernel: Path
    initrd: Path
    command_line: str
    digest: bytes
    size: int


def read(folder: Path) -> Image:
    """Read a release.

    Raises:
        BuildError: ``dstack-image``: a file is missing, malformed, or not the one in the list.
    """
    sums = _bytes(folder / _SUMS)
    listed = _listed(sums)
    try:
        about = json.decode(_bytes(folder / METADATA), _Metadata, what=METADATA, limit=_MAX_DOCUMENT)
    except MalformedEvidence as error:
        raise _wrong(METADATA, str(error)) from None
    for name in (METADATA, about.bios, about.kernel, about.initrd):
        try:
            with (folder / name).open("rb") as stream:
                found = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise _wrong(name, error.strerror or str(error)) from None
        if listed.get(name) != found:
            raise _wrong(name, f"its SHA-256 is {found}, in {_SUMS} it is {listed.get(name, 'not listed')}")
    return Image(
        firmware=folder / about.bios,
        kernel=folder / about.kernel,
        initrd=folder / about.initrd,
        command_line=about.cmdline,
        digest=hashlib.sha256(sums).digest(),
        size=len(sums),
    )


def _listed(sums: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in sums.decode(errors="replace").splitlines():
        match = _LINE.fullmatch(line)
        if match is None or match[2] in found:
            raise _wrong(_SUMS, f"the line {line[:80]!r}")
        found[match[2]] = match[1]
    return found


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(_MAX_DOCUMENT)
    except OSError as error:
        raise _wrong(path.name, error.strerror or str(error)) from None


def _wrong(name: str, actual: str) -> BuildError:
    return BuildError("dstack-image", file=name, actual=actual)
