# SPDX-License-Identifier: Apache-2.0
"""Linux's interface for reports of trusted security modules: a directory in configfs for each report.

Whoever makes a directory there gets files in it: ``inblob`` takes what the report is to commit to,
``outblob`` is the report, ``auxblob`` what the host adds, ``provider`` who makes it, and ``generation``
counts the writes, so that it shows whether another writer came between.

Source: Linux, ``Documentation/ABI/testing/configfs-tsm-report``.
"""

import contextlib
import ctypes
import errno
import fcntl
import os
import secrets
from pathlib import Path
from typing import Final

import msgspec

from nacre.errors import EnclaveError

__all__ = ["SNP", "TDX", "Report", "asked", "provider", "read", "report", "unreachable", "write"]

#: What the kernel calls the maker of reports in a guest of TDX, and of SEV-SNP.
TDX: Final = "tdx_guest"
SNP: Final = "sev_guest"
#: Tries until a report comes that nobody disturbed.
ATTEMPTS: Final = 5
#: Bytes of what a report commits to.
DATA_SIZE: Final = 64
_MAX_FILE: Final = 1 << 20
_MAX_WORD: Final = 256
_WHAT = "report directory"
#: What the kernel says where somebody else was faster.
_BUSY = frozenset({errno.EBUSY, errno.EAGAIN, errno.EINTR})


class Report(msgspec.Struct, frozen=True):
    """One report and what came with it."""

    outblob: bytes
    auxblob: bytes


def provider(directory: str) -> str | None:
    """Return who makes reports here (``TDX``, ``SNP``), or None where nobody does."""
    try:
        with _Entry(directory) as entry:
            return entry.word("provider")
    except OSError:
        return None


def report(directory: str, data: bytes, *, by: str) -> Report:
    """Ask for a report.

    Args:
        directory: The directory of reports.
        data: 64 bytes that it commits to.
        by: The provider that has to make it.

    Raises:
        EnclaveError: ``device-size``, ``device-provider``, ``device-contended`` after a few attempts,
            ``device-unreachable``, ``device-answer``.
    """
    if len(data) != DATA_SIZE:
        raise EnclaveError("device-size", what="report data", expected=DATA_SIZE, actual=len(data))
    for _ in range(ATTEMPTS):
        try:
            with _Entry(directory) as entry:
                found = entry.ask(data, by=by)
        except OSError as error:
            if error.errno in _BUSY:
                continue
            raise unreachable(directory, error) from None
        if found is not None:
            return found
    raise EnclaveError("device-contended", what=directory, actual=ATTEMPTS)


class _Entry:
    """A directory of our own for one report; goes with the block, whatever happens in it."""

    def __init__(self, directory: str) -> None:
        self._path = Path(directory, f"nacre-{os.getpid()}-{secrets.token_hex(8)}")

    def __enter__(self) -> "_Entry":  # noqa: PYI034 (private)
        self._path.mkdir()
        return self

    def __exit__(self, *_: object) -> None:
        # Gone with the one who made it, if that is gone.
        with contextlib.suppress(OSError):
            self._path.rmdir()

    def ask(self, data: bytes, *, by: str) -> Report | None:
        """Write, read, and say None if somebody else wrote in between."""
        there = self.word("provider")
        if there != by:
            raise EnclaveError("device-provider", what=_WHAT, expected=by, actual=there)
        before = self._generation()
        write(self._path / "inblob", data)
        found = Report(read(self._path / "outblob"), self._auxiliary())
        return found if self._generation() == before + 1 else None

    def word(self, name: str) -> str:
        raw = read(self._path / name, limit=_MAX_WORD)
        return raw.decode("ascii", "replace").strip()

    def _generation(self) -> int:
        word = self.word("generation")
        if not word.isascii() or not word.isdecimal():
            raise EnclaveError("device-answer", what=_WHAT, actual=f"generation {word[:32]!r}")
        return int(word)

    def _auxiliary(self) -> bytes:
        try:
            return read(self._path / "auxblob")
        except FileNotFoundError:  # a provider that adds nothing
            return b""


def read(path: Path, *, limit: int = _MAX_FILE) -> bytes:
    """Read a pseudo-file in one go.

    Raises:
        EnclaveError: ``device-answer`` where there is more than ``limit`` bytes of it.
        OSError: It cannot be read.
    """
    node = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        found = bytearray()
        while some := os.read(node, min(limit + 1 - len(found), 1 << 16)):
            found += some
            if len(found) > limit:
                raise EnclaveError("device-answer", what=path.name, actual=f"more than {limit} bytes")
        return bytes(found)
    finally:
        os.close(node)


def write(path: Path, data: bytes) -> None:
    """Write a pseudo-file in one go: a second write would be another value.

    Raises:
        EnclaveError: ``device-answer`` where only a part was taken.
        OSError: It cannot be written.
    """
    node = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        taken = os.write(node, data)
    finally:
        os.close(node)
    if taken != len(data):
        raise EnclaveError("device-answer", what=path.name, actual=f"{taken} of {len(data)} bytes taken")


def asked(path: str, request: int, message: bytearray) -> None:
    """Make one ioctl whose argument is ``message``, changed in place.

    Raises:
        OSError: The device refuses.
    """
    node = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        argument = (ctypes.c_char * len(message)).from_buffer(message)
        fcntl.ioctl(node, request, argument, True)  # noqa: FBT003 (fcntl knows no keywords)
    finally:
        os.close(node)


def unreachable(path: str, error: OSError) -> EnclaveError:
    """Return the error that says why a device cannot be reached."""
    words = error.strerror or str(error) or type(error).__name__
    return EnclaveError("device-unreachable", actual=f"{path}: {words}")
