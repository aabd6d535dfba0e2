# SPDX-License-Identifier: Apache-2.0
"""Small files that survive crashes, full disks and each other.

A file is replaced as a whole: written beside, synced, renamed. It begins with the SHA-256 of its content,
so that damage is noticed. Writers of one folder take turns by a lock; readers never wait. POSIX only.
"""

import contextlib
import hashlib
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

__all__ = ["TEMPORARY", "locked", "private_folder", "read_sealed", "replace_sealed"]

#: How names of files begin that are being written; one that stays was left by a crash.
TEMPORARY = ".new-"

_LOCK = ".lock"
_PATIENCE = 5.0
_POLL = 0.02
_DIGEST_SIZE = 32
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def private_folder(path: Path) -> bool:
    """Make a folder for this user alone; tell whether it is one.

    Raises:
        OSError: It cannot be made.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = path.stat()
    return found.st_uid == os.geteuid() and not found.st_mode & _OTHERS_WRITE


@contextlib.contextmanager
def locked(folder: Path, *, patience: float = _PATIENCE) -> Iterator[None]:
    """Hold a folder's lock; it ends with the process, however that ends.

    Raises:
        OSError: It cannot be locked, or another process holds the lock for ``patience`` seconds
            (TimeoutError).
    """
    import fcntl  # noqa: PLC0415 (not everywhere)

    handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        end = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise TimeoutError("locked by another process") from None
                time.sleep(_POLL)
        yield
    finally:
        os.close(handle)


def read_sealed(path: Path, *, limit: int) -> bytes | None:
    """Read what ``replace_sealed`` wrote; None if there is no such file.

    Raises:
        ValueError: The file is damaged, larger than ``limit`` bytes, or no regular file.
        OSError: It cannot be read.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    with os.fdopen(handle, "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_size > limit:
            raise ValueError("not a file of ours")
        data = file.read(limit)
    digest, content = data[:_DIGEST_SIZE], data[_DIGEST_SIZE:]
    if hashlib.sha256(content).digest() != digest:
        raise ValueError("damaged")
    return content


def replace_sealed(path: Path, content: bytes) -> None:
    """Replace a file durably: after a crash there is the old one or the new one, whole.

    Raises:
        OSError: It could not be written; the old one is still there.
    """
    temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{os.urandom(8).hex()}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(hashlib.sha256(content).digest() + content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
