# SPDX-License-Identifier: Apache-2.0
"""What an image is made from, kept by its SHA-256: mirrors drop old files, a build needs them for years.

A file is in the folder only under the digest of its content, and it is hashed again whenever it is read.
"""

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

import msgspec

from nacre.build.download import Download
from nacre.endorsers.cache import default_folder
from nacre.errors import BuildError

__all__ = ["Input", "Inputs"]


class Input(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file that goes into an image.

    Attributes:
        name: What errors call it.
        sha256: Of its content, hex.
        size: Bytes.
    """

    name: str
    sha256: str
    size: int


class Inputs:
    """A folder of files by digest. Processes may share one."""

    def __init__(self, folder: Path | None = None, *, offline: bool = False) -> None:
        """Choose the folder; below the user's cache by default.

        Args:
            folder: Where files are kept; made when the first one comes.
            offline: Never use the network.
        """
        base = folder or default_folder()
        if base is None:
            raise BuildError("inputs-no-folder")
        self._folder = base if folder is not None else base / "inputs"
        self.offline = offline

    def path(self, wanted: Input) -> Path:
        """Return where a file is, or would be."""
        return self._folder / wanted.sha256[:2] / wanted.sha256

    def read(self, wanted: Input) -> bytes:
        """Return a file's content.

        Raises:
            BuildError: ``input-missing``; ``input-damaged``: it is not what its name says, and was removed;
                ``input-size``: it is, and has another size than was asked for.
        """
        path = self.path(wanted)
        try:
            data = path.read_bytes()
        except OSError:
            raise BuildError("input-missing", what=wanted.name, expected=wanted.sha256) from None
        if hashlib.sha256(data).hexdigest() != wanted.sha256:
            with contextlib.suppress(OSError):
                path.unlink()
            raise BuildError("input-damaged", what=wanted.name, expected=wanted.sha256)
        return _sized(data, wanted)

    def note(self, kind: str, key: str) -> Path:
        """Return where something small is written down about what is kept here."""
        return self._folder / kind / key

    def write_note(self, path: Path, data: bytes) -> None:
        """Write it, whole or not at all.

        Raises:
            BuildError: ``inputs-unwritable``.
        """
        self._placed(path, data)

    def keep(self, name: str, data: bytes) -> Input:
        """Keep a file and return what it is called from now on."""
        found = Input(name=name, sha256=hashlib.sha256(data).hexdigest(), size=len(data))
        try:
            self.read(found)
        except BuildError:  # not there, or damaged
            self._placed(self.path(found), data)
        return found

    def fetch(self, wanted: Input, urls: Iterable[str], *, download: Download) -> bytes:
        """Return a file, from the folder or from the first address that has it.

        Raises:
            BuildError: As ``read`` raises, if offline; ``input-changed``: an address serves something else;
                ``input-size``; ``download-…``.
        """
        try:
            return self.read(wanted)
        except BuildError as error:
            if self.offline or error.code == "input-size":
                raise
            here = error
        failure: BuildError | None = None
        for url in urls:
            try:
                data = download.get(url, limit=wanted.size)
            except BuildError as error:
                failure = failure or error
                continue
            found = hashlib.sha256(data).hexdigest()
            if found == wanted.sha256:
                self.keep(wanted.name, data)
                return _sized(data, wanted)
            failure = BuildError("input-changed", what=wanted.name, expected=wanted.sha256, actual=found)
        raise failure or here

    def _placed(self, path: Path, data: bytes) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
            os.close(handle)
            try:
                Path(temporary).write_bytes(data)
                Path(temporary).replace(path)
            finally:
                with contextlib.suppress(OSError):
                    Path(temporary).unlink()
        except OSError as error:
            raise BuildError(
                "inputs-unwritable", file=str(path), actual=error.strerror or "an error"
            ) from None


def _sized(data: bytes, wanted: Input) -> bytes:
    """Return content of a known digest; whoever states another size of it states something false."""
    if len(data) != wanted.size:
        raise BuildError("input-size", what=wanted.name, expected=wanted.size, actual=len(data))
    return data
