# SPDX-License-Identifier: Apache-2.0
"""Pseudo-files whose reads and writes are answered by code, as a kernel's are: a small FUSE server.

It speaks the kernel's protocol itself, on one thread. A file is read as it is at its first read after being
opened; a write takes effect at once, or when the file is closed where the tree says so (configfs).

Source: Linux, ``include/uapi/linux/fuse.h``, protocol 7.31.
"""

import ctypes
import errno
import os
import select
import stat
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from struct import Struct
from typing import ClassVar, Final, Protocol, Self

from nacre.errors import EnclaveError

__all__ = ["Mount", "Names", "Tree"]

#: A path below the mount: its names.
Names = tuple[str, ...]

_DEVICE = "/dev/fuse"
_MS_NOSUID_NODEV_NOEXEC: Final = 2 | 4 | 8
_MNT_DETACH: Final = 2
_MAX_WRITE: Final = 1 << 16
_BUFFER: Final = _MAX_WRITE + (1 << 12)
_DIRECT_IO: Final = 1
_ROOT: Final = 1

_IN = Struct("=IIQQIIII")
_OUT = Struct("=IiQ")
_INIT = Struct("=IIIIHHIIHH32x")
_ATTR = Struct("=QQQ24x12xIIIIIII")
_ENTRY = Struct("=QQQQII")
_ATTR_HEAD = Struct("=QII")
_OPEN = Struct("=QII")
_TRANSFER = Struct("=QQI")
_DIRENT = Struct("=QQII")
_WRITE_HEAD: Final = 40
#: What the kernel says on a connection whose mount is gone.
_UNMOUNTED: Final = frozenset({errno.ENODEV, errno.EPERM, errno.ECONNABORTED, errno.EBADF})

_LIBC = ctypes.CDLL(None, use_errno=True)


class Tree(Protocol):
    """What a mount shows. Every method raises ``OSError`` with the number that a caller is to see."""

    #: Whether a write takes effect when its file is closed.
    deferred: ClassVar[bool]

    def mode(self, names: Names) -> int | None:
        """Return a node's type and permissions, or None where there is none."""

    def names(self, names: Names) -> tuple[str, ...]:
        """List a directory."""

    def read(self, names: Names) -> bytes:
        """Return a file's content."""

    def write(self, names: Names, data: bytes) -> None:
        """Take what was written."""

    def mkdir(self, names: Names) -> None:
        """Make a directory."""

    def rmdir(self, names: Names) -> None:
        """Remove one."""


class _Open:
    """An open file or directory."""

    def __init__(self, names: Names) -> None:
        self.names = names
        self.content: bytes | None = None
        self.written = bytearray()
        self.dirty = False


class Mount:
    """A tree, mounted while the block lasts."""

    def __init__(self, directory: Path, tree: Tree) -> None:
        """Remember what goes where; the directory is made if need be."""
        self._directory = directory
        self._tree = tree
        self._node = -1
        self._wake = -1
        self._paths: dict[int, Names] = {_ROOT: ()}
        self._numbers: dict[Names, int] = {(): _ROOT}
        self._open: dict[int, _Open] = {}
        self._next = _ROOT + 1
        self._thread = threading.Thread(target=self._serve, name="fuse", daemon=True)

    def __enter__(self) -> Self:
        """Mount.

        Raises:
            EnclaveError: ``emulator-mount``.
        """
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._node = os.open(_DEVICE, os.O_RDWR | os.O_CLOEXEC)
            self._mount()
        except OSError as error:
            if self._node >= 0:
                os.close(self._node)
            raise EnclaveError(
                "emulator-mount", what=str(self._directory), actual=error.strerror or str(error)
            ) from None
        self._wake = os.eventfd(0, os.EFD_CLOEXEC)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Unmount, whoever still has a file open."""
        _LIBC.umount2(os.fsencode(self._directory), _MNT_DETACH)
        os.eventfd_write(self._wake, 1)
        self._thread.join()
        os.close(self._node)
        os.close(self._wake)

    def _mount(self) -> None:
        options = f"fd={self._node},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()},allow_other"
        made = _LIBC.mount(
            b"nacre", os.fsencode(self._directory), b"fuse", _MS_NOSUID_NODEV_NOEXEC, options.encode()
        )
        if made != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    def _serve(self) -> None:
        poll = select.poll()
        poll.register(self._node, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        while True:
            ready = dict(poll.poll())
            if self._wake in ready or ready.get(self._node, 0) & (select.POLLERR | select.POLLHUP):
                return
            try:
                self._one(os.read(self._node, _BUFFER))
            except OSError as error:
                if error.errno in _UNMOUNTED:
                    return
                if error.errno not in (errno.EINTR, errno.EAGAIN, errno.ENOENT):
                    raise

    def _one(self, message: bytes) -> None:
        _, code, unique, number, *_ = _IN.unpack_from(message)
        if code in _SILENT:
            return
        operation = _OPERATIONS.get(code)
        failure, body = -errno.ENOSYS, b""
        if operation is not None:
            try:
                failure, body = 0, operation(self, number, message[_IN.size :])
            except OSError as error:
                failure = -(error.errno or errno.EIO)
            except Exception:  # noqa: BLE001 (a fault of ours is an error of the device, not its end)
                failure = -errno.EIO
        os.write(self._node, _OUT.pack(_OUT.size + len(body), failure, unique) + body)

    def _names(self, number: int, name: bytes = b"") -> Names:
        names = self._paths[number]
        return (*names, os.fsdecode(name.rstrip(b"\0"))) if name else names

    def _number(self, names: Names) -> int:
        if names not in self._numbers:
            self._numbers[names] = self._next
            self._paths[self._next] = names
            self._next += 1
        return self._numbers[names]

    def _attributes(self, names: Names) -> bytes:
        mode = self._tree.mode(names)
        if mode is None:
            raise OSError(errno.ENOENT, "")
        links = 2 if stat.S_ISDIR(mode) else 1
        return _ATTR.pack(self._number(names), 0, 0, mode, links, os.getuid(), os.getgid(), 0, 4096, 0)

    def _entry(self, names: Names) -> bytes:
        attributes = self._attributes(names)
        return _ENTRY.pack(self._number(names), 0, 0, 0, 0, 0) + attributes

    def _init(self, _: int, body: bytes) -> bytes:
        readahead = int.from_bytes(body[8:12], "little")
        return _INIT.pack(7, 31, readahead, 0, 16, 12, _MAX_WRITE, 1, 0, 0)

    def _lookup(self, number: int, body: bytes) -> bytes:
        return self._entry(self._names(number, body))

    def _getattr(self, number: int, _: bytes) -> bytes:
        return _ATTR_HEAD.pack(0, 0, 0) + self._attributes(self._names(number))

    def _mkdir(self, number: int, body: bytes) -> bytes:
        names = self._names(number, body[8:])
        self._tree.mkdir(names)
        return self._entry(names)

    def _rmdir(self, number: int, body: bytes) -> bytes:
        names = self._names(number, body)
        self._tree.rmdir(names)
        for gone in [path for path in self._numbers if path[: len(names)] == names]:
            del self._paths[self._numbers.pop(gone)]
        return b""

    def _opened(self, number: int, _: bytes) -> bytes:
        handle = self._next
        self._next += 1
        self._open[handle] = _Open(self._names(number))
        return _OPEN.pack(handle, _DIRECT_IO, 0)

    def _read(self, _: int, body: bytes) -> bytes:
        handle, offset, size = _TRANSFER.unpack_from(body)
        opened = self._open[handle]
        # Who keeps a file open (gVisor does) begins anew at its beginning, as in sysfs.
        if opened.content is None or (offset == 0 and not self._tree.deferred):
            opened.content = self._tree.read(opened.names)
        return opened.content[offset : offset + size]

    def _write(self, _: int, body: bytes) -> bytes:
        handle, _offset, size = _TRANSFER.unpack_from(body)
        opened, data = self._open[handle], body[_WRITE_HEAD : _WRITE_HEAD + size]
        if self._tree.deferred:
            opened.written += data
            opened.dirty = True
        else:
            self._tree.write(opened.names, data)
        return int(size).to_bytes(8, "little")

    def _flush(self, _: int, body: bytes) -> bytes:
        opened = self._open[int.from_bytes(body[:8], "little")]
        if opened.dirty:
            opened.dirty = False
            self._tree.write(opened.names, bytes(opened.written))
            opened.written.clear()
        return b""

    def _release(self, _: int, body: bytes) -> bytes:
        self._open.pop(int.from_bytes(body[:8], "little"), None)
        return b""

    def _readdir(self, number: int, body: bytes) -> bytes:
        _, offset, size = _TRANSFER.unpack_from(body)
        names = self._names(number)
        found = b""
        for place, name in enumerate((".", "..", *self._tree.names(names))):
            if place < offset:
                continue
            raw = os.fsencode(name)
            kind = stat.S_IFMT(self._tree.mode(names if place < 2 else (*names, name)) or 0) >> 12  # noqa: PLR2004
            entry = _DIRENT.pack(0xFFFFFFFF, place + 1, len(raw), kind) + raw
            entry += bytes(-len(entry) % 8)
            if len(found) + len(entry) > size:
                break
            found += entry
        return found

    def _nothing(self, _: int, __: bytes) -> bytes:
        return b""

    def _statfs(self, _: int, __: bytes) -> bytes:
        return bytes(80)


#: FORGET, INTERRUPT, BATCH_FORGET have no answer.
_SILENT = frozenset({2, 36, 42})
_OPERATIONS: Mapping[int, Callable[[Mount, int, bytes], bytes]] = {
    1: Mount._lookup,  # noqa: SLF001 (this file's own)
    3: Mount._getattr,  # noqa: SLF001
    4: Mount._getattr,  # noqa: SLF001 (SETATTR: a truncation before a write changes nothing)
    9: Mount._mkdir,  # noqa: SLF001
    11: Mount._rmdir,  # noqa: SLF001
    14: Mount._opened,  # noqa: SLF001
    15: Mount._read,  # noqa: SLF001
    16: Mount._write,  # noqa: SLF001
    17: Mount._statfs,  # noqa: SLF001
    18: Mount._release,  # noqa: SLF001
    25: Mount._flush,  # noqa: SLF001
    26: Mount._init,  # noqa: SLF001
    27: Mount._opened,  # noqa: SLF001
    28: Mount._readdir,  # noqa: SLF001
    29: Mount._release,  # noqa: SLF001
    38: Mount._nothing,  # noqa: SLF001 (DESTROY)
}
