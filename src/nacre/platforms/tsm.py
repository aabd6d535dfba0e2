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
import threading
from pathlib import Path
from typing import Final

import msgspec

from nacre.errors import EnclaveError

__all__ = ["SNP", "TDX", "Report", "Reports", "asked", "provider", "read", "unreachable", "write"]

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
    """One report and what the host added, if that was asked for."""

    outblob: bytes
    auxblob: bytes


def provider(directory: str) -> str | None:
    """Return who makes reports here (``TDX``, ``SNP``), or None where nobody does."""
    try:
        entry = _Entry(directory)
        try:
            return entry.word("provider")
        finally:
            entry.remove()
    except OSError:
        return None


class Reports:
    """Reports of one provider, by one directory that is kept from one to the next. Threads take turns."""

    def __init__(self, directory: str, *, by: str) -> None:
        """Say where and who; a directory is made for the first report.

        Args:
            directory: The directory of reports.
            by: The provider that has to make them.
        """
        self._directory = directory
        self._by = by
        self._turn = threading.Lock()
        self._entry: _Entry | None = None

    def ask(self, data: bytes, *, auxiliary: bool = False) -> Report:
        """Ask for a report.

        Args:
            data: 64 bytes that it commits to.
            auxiliary: Whether to read what the host adds, too.

        Raises:
            EnclaveError: ``device-size``, ``device-provider``, ``device-contended`` after a few attempts,
                ``device-unreachable``, ``device-answer``.
        """
        if len(data) != DATA_SIZE:
            raise EnclaveError("device-size", what="report data", expected=DATA_SIZE, actual=len(data))
        with self._turn:
            for _ in range(ATTEMPTS):
                found = self._attempt(data, auxiliary=auxiliary)
                if found is not None:
                    return found
        raise EnclaveError("device-contended", what=self._directory, actual=ATTEMPTS)

    def close(self) -> None:
        """Remove the directory; another question would make one again."""
        with self._turn:
            self._drop()

    def _attempt(self, data: bytes, *, auxiliary: bool) -> Report | None:
        """Ask once, and say None if it is worth another time; whatever went wrong, the directory goes."""
        kept = self._entry is not None
        found = None
        try:
            if self._entry is None:
                self._entry = _Entry(self._directory)
                self._entry.insist_on(self._by)
            found = self._entry.ask(data, auxiliary=auxiliary)
        except OSError as error:
            # Somebody removed the one that was kept: the next is new.
            if error.errno not in _BUSY and not (kept and error.errno == errno.ENOENT):
                raise unreachable(self._directory, error) from None
        finally:
            if found is None:
                self._drop()
        return found

    def _drop(self) -> None:
        entry, self._entry = self._entry, None
        if entry is not None:
            entry.remove()


class _Entry:
    """A directory of our own."""

    def __init__(self, directory: str) -> None:
        self._path = Path(directory, f"nacre-{os.getpid()}-{secrets.token_hex(8)}")
        self._path.mkdir()
        self._seen: int | None = None

    def remove(self) -> None:
        # Gone with the one who made it, if that is gone.
        with contextlib.suppress(OSError):
            self._path.rmdir()

    def insist_on(self, maker: str) -> None:
        there = self.word("provider")
        if there != maker:
            raise EnclaveError("device-provider", what=_WHAT, expected=maker, actual=there)

    def ask(self, data: bytes, *, auxiliary: bool) -> Report | None:
        """Write, read, and say None if somebody else wrote in between, or since the last report."""
        before = self._generation() if self._seen is None else self._seen
        write(self._path / "inblob", data)
        found = Report(read(self._path / "outblob"), self._auxiliary() if auxiliary else b"")
        self._seen = self._generation()
        return found if self._seen == before + 1 else None

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
