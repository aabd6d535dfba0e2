# SPDX-License-Identifier: Apache-2.0
"""The folder that a build writes: whole or not at all, and recognised when nothing has changed since.

Beside the files is a list of their digests, ``SHA256SUMS``, whose first line says what they were made from.
"""

import contextlib
import hashlib
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from nacre.build.outputs import SUMS
from nacre.errors import BuildError

__all__ = ["replace", "stated", "sums", "unchanged"]

_MARK = "# nacre build "


def unchanged(folder: Path, origin: str) -> bool:
    """Tell whether a folder holds, undamaged, what is made from this origin.

    Args:
        folder: Where an earlier build wrote.
        origin: What tells everything that an image depends on; one line.
    """
    try:
        return _listed(folder) == (origin, sums(folder))
    except (OSError, ValueError):
        return False


def stated(folder: Path) -> Mapping[str, str]:
    """Return what a folder's list says that ``sums`` would return; nothing is hashed.

    Raises:
        OSError, ValueError: There is no such list.
    """
    return _listed(folder)[1]


def sums(folder: Path) -> Mapping[str, str]:
    """Return the SHA-256, hex, of every file in a folder, by its path there; the list itself is left out.

    Raises:
        OSError: One cannot be read.
    """
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name != SUMS:
            with path.open("rb") as stream:
                found[name] = hashlib.file_digest(stream, "sha256").hexdigest()
    return found


def replace(folder: Path, write: Callable[[Path], None], *, origin: str) -> Mapping[str, str]:
    """Put a new folder in the place of an old one; if anything fails the old one stays as it is.

    Args:
        folder: The place. What is there is replaced only if a build wrote all of it, or if it is empty.
        write: Writes the files into the folder that it is given.
        origin: As for ``unchanged``.

    Returns:
        What ``sums`` returns.

    Raises:
        BuildError: ``output-foreign``: there is something else; ``output-unwritable``; what ``write`` raises.
    """
    folder = folder.resolve()  # a link to it stays
    _insist_on_own(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    except OSError as error:
        raise _unwritable(folder, error) from None
    try:
        write(made)
        found = sums(made)
        lines = [_MARK + origin, *(f"{digest}  {name}" for name, digest in found.items())]
        (made / SUMS).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        made.chmod(0o755)
        _exchange(made, folder)
    except OSError as error:
        raise _unwritable(folder, error) from None
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(made)
    return found


def _exchange(made: Path, folder: Path) -> None:
    """Put a folder in the place of another, which comes back if that fails."""
    if not folder.exists():
        made.replace(folder)
        return
    old = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    try:
        folder.replace(old)  # over an empty folder
        try:
            made.replace(folder)
        except OSError:
            old.replace(folder)
            raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


def _insist_on_own(folder: Path) -> None:
    """Refuse to remove what nobody can make again."""
    try:
        if not folder.exists() or not any(folder.iterdir()):
            return
        _, listed = _listed(folder)
        foreign = sorted(sums(folder).keys() - listed.keys())
    except OSError as error:
        if not isinstance(error, FileNotFoundError):
            raise _unwritable(folder, error) from None
        foreign = [""]
    except ValueError:
        foreign = [SUMS]
    if foreign:
        raise BuildError("output-foreign", file=str(folder / foreign[0]))


def _listed(folder: Path) -> tuple[str, Mapping[str, str]]:
    """Return the origin and the digests that a build wrote down.

    Raises:
        OSError: There is no list.
        ValueError: It is of something else.
    """
    first, *lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    if not first.startswith(_MARK):
        raise ValueError(first)
    found = {}
    for line in lines:
        digest, name = line.split("  ", 1)
        found[name] = digest
    return first.removeprefix(_MARK), found


def _unwritable(folder: Path, error: OSError) -> BuildError:
    return BuildError("output-unwritable", file=str(folder), actual=error.strerror or "an error")
