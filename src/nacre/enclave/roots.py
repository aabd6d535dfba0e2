# SPDX-License-Identifier: Apache-2.0
"""The development roots of this user: what simulated hardware signs under, kept from run to run.

Each family of platforms has one file with its keys, for this user alone. Only running something makes a
root; to verify, one takes a root that is there. Whoever can read such a file can forge simulated evidence,
and nothing else: no policy takes it for genuine.
"""

import contextlib
import fcntl
import hashlib
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from nacre.errors import EnclaveError
from nacre.platforms.simulation import Root, simulator

__all__ = ["FAMILIES", "data_folder", "development_root", "existing_root", "existing_roots", "reset"]

#: Family to the platforms that share its root.
FAMILIES: Final[Mapping[str, tuple[str, ...]]] = {
    "dcap": ("sgx", "tdx"),
    "nitro": ("nitro",),
    "snp": ("snp",),
}

_VERSION = "nacre-development-root/v1"
_FOLDER = "roots"
_FOLDER_MODE = 0o700
_FILE_MODE = 0o600
_OTHERS = 0o077
_MAX_SIZE = 1 << 20


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is in a file; ``sha256`` is that of ``root`` as it is written."""

    v: str
    sha256: str
    root: msgspec.Raw


def data_folder(environment: Mapping[str, str] = os.environ, *, system: str = sys.platform) -> Path:
    """Return where the data of this user are: ``$NACRE_DATA_DIR``, else below ``$XDG_DATA_HOME``.

    Args:
        environment: The environment.
        system: The system, as ``sys.platform`` names it; macOS has a place of its own.

    Raises:
        EnclaveError: ``root-no-home``.
    """
    if given := environment.get("NACRE_DATA_DIR"):
        return Path(given)
    base = Path(environment.get("XDG_DATA_HOME") or "")
    if not base.is_absolute():  # the specification has relative ones ignored
        try:
            home = Path.home()
        except RuntimeError:
            raise EnclaveError("root-no-home") from None
        base = home / ("Library/Application Support" if system == "darwin" else ".local/share")
    return base / "nacre"


def development_root(family: str, *, directory: Path | None = None, at: int) -> Root:
    """Return the development root of a family, made now if there is none; that of SNP takes seconds.

    However many ask at once, one root is made.

    Args:
        family: ``dcap``, ``nitro`` or ``snp``: ``FAMILY`` of a platform's ``simulate.py``.
        directory: The folder of the user's data, if not that of ``data_folder``.
        at: Now, Unix seconds.

    Raises:
        EnclaveError: ``root-family``, ``root-no-home``, ``root-folder``, ``root-exposed`` or
            ``root-damaged``: a root that is there but can not be used is never replaced.
    """
    path = _path(family, directory)
    with _told(path.parent):
        path.parent.parent.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        path.parent.mkdir(mode=_FOLDER_MODE, exist_ok=True)
        found = _read(path, family)
        if found is None:
            with _locked(path.parent):
                found = _read(path, family)
                if found is None:
                    found = simulator(FAMILIES[family][0]).create_root(at=at)
                    _write(path, found)
    return found


def existing_root(family: str, *, directory: Path | None = None) -> Root | None:
    """Return the development root of a family, or None if there is none: for those who verify.

    Args:
        family: As for ``development_root``.
        directory: As for ``development_root``.

    Raises:
        EnclaveError: As for ``development_root``.
    """
    path = _path(family, directory)
    with _told(path.parent):
        return _read(path, family)


def existing_roots(*, directory: Path | None = None) -> tuple[Root, ...]:
    """Return all development roots that there are, by family.

    Args:
        directory: As for ``development_root``.

    Raises:
        EnclaveError: As for ``development_root``.
    """
    found = [existing_root(family, directory=directory) for family in FAMILIES]
    return tuple(root for root in found if root is not None)


def reset(family: str, *, directory: Path | None = None) -> bool:
    """Forget a development root, a damaged one too; what it signed verifies only where it was exported to.

    Args:
        family: As for ``development_root``.
        directory: As for ``development_root``.

    Returns:
        Whether there was one.

    Raises:
        EnclaveError: ``root-family``, ``root-no-home`` or ``root-folder``.
    """
    path = _path(family, directory)
    with _told(path.parent):
        try:
            with _locked(path.parent):
                path.unlink()
        except FileNotFoundError:
            return False
    return True


def _path(family: str, directory: Path | None) -> Path:
    if family not in FAMILIES:
        raise EnclaveError("root-family", what=family, expected=tuple(FAMILIES))
    return (data_folder() if directory is None else directory) / _FOLDER / f"{family}.json"


def _read(path: Path, family: str) -> Root | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        for what, status in ((path, os.fstat(descriptor)), (path.parent, path.parent.stat())):
            if status.st_mode & _OTHERS:
                raise EnclaveError("root-exposed", what=str(what), actual=f"{status.st_mode & 0o777:o}")
        data = file.read(_MAX_SIZE)
    try:
        return _decode(data, family)
    except ValueError as error:
        raise EnclaveError("root-damaged", what=str(path), family=family, actual=str(error)) from None


def _decode(data: bytes, family: str) -> Root:
    file = msgspec.json.decode(data, type=_File)
    if file.v != _VERSION:
        raise ValueError("another version of Nacre wrote it")
    if hashlib.sha256(file.root).hexdigest() != file.sha256:
        raise ValueError("its SHA-256 is another")
    root = msgspec.json.decode(file.root, type=Root)
    if root.family != family:
        raise ValueError("it is the root of another family")
    return root


def _write(path: Path, root: Root) -> None:
    """Write a file so that it is there whole or not at all; the folder is locked."""
    text = msgspec.json.encode(root)
    made = _File(_VERSION, hashlib.sha256(text).hexdigest(), msgspec.Raw(text))
    # What was left by one who died while writing.
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with os.fdopen(os.open(new, flags, _FILE_MODE), "wb") as file:
        file.write(msgspec.json.encode(made) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other processes, and threads, from changing what is in a folder."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _told(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        actual = error.strerror or str(error)
        raise EnclaveError("root-folder", what=str(error.filename or folder), actual=actual) from None
