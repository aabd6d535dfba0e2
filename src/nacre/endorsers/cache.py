# SPDX-License-Identifier: Apache-2.0
"""Endorsements kept on disk, by URL, with the versions that came before.

Nothing in the cache is trusted: documents are signed and judged each time they are used, and a damaged
entry is one that is not there. A disk that cannot be written costs time, never an answer. Earlier versions
stay, since comparing them shows which newer collateral turned a good status bad.
"""

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from nacre.endorsers.facts import Facts
from nacre.endorsers.files import TEMPORARY, locked, private_folder, read_sealed, replace_sealed
from nacre.endorsers.notices import Notice, log
from nacre.errors import ConfigurationError

__all__ = ["MAX_VERSIONS", "Cache", "Entry", "Version", "default_folder"]

#: How many versions of one document are kept.
MAX_VERSIONS = 5
#: How many documents are kept, and how many bytes in all.
MAX_ENTRIES = 256
MAX_BYTES = 64 << 20

_FORMAT = "nacre-cache/v1"
_MAX_ENTRY = 16 << 20
_SUFFIX = ".entry"
_ABANDONED = 3600

_Change = Callable[[tuple["Version", ...]], tuple["Version", ...]]


class Version(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One version of a document.

    Attributes:
        first_fetched: When it was first served, Unix seconds.
        fetched: When it was last served.
        document: The bytes, as served.
        chain: Its issuer chain, PEM, if one came with it.
        facts: What it says about itself.
    """

    first_fetched: int
    fetched: int
    document: bytes
    chain: bytes | None
    facts: Facts

    def same(self, other: "Version") -> bool:
        """Tell whether two versions are the same bytes."""
        return self.document == other.document and self.chain == other.chain

    def digest(self, url: str) -> bytes:
        """Return what tells these bytes, served under ``url``, from all others: 32 bytes."""
        state = hashlib.sha256()
        for part in (url.encode(), self.document, self.chain or b""):
            state.update(len(part).to_bytes(8, "big") + part)
        return state.digest()


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All versions of a document, newest first; none if the last one was dropped."""

    format: str
    url: str
    versions: tuple[Version, ...]


def default_folder() -> Path | None:
    """Where the cache lives: ``$NACRE_CACHE_DIR``, else ``nacre`` below the user's cache directory (XDG).

    Returns:
        The folder, or None if this user has no home or the system is none of POSIX.
    """
    if os.name != "posix":
        return None
    named = os.environ.get("NACRE_CACHE_DIR")
    if named:
        return Path(named)
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if base.is_absolute():
        return base / "nacre"
    try:
        return Path.home() / ".cache" / "nacre"
    except RuntimeError:
        return None


class Cache:
    """Endorsements by URL. Threads and processes may share one folder."""

    def __init__(self, folder: Path | None, *, notice: Notice = log) -> None:
        """Keep documents below ``folder``; without one, or while it fails, in memory.

        Args:
            folder: Where to keep them; made when something is stored.
            notice: Takes what goes wrong.
        """
        self._folder = None if folder is None else folder / "endorsements"
        self._notice = notice
        self._memory: dict[str, Entry] = {}

    def versions(self, url: str) -> tuple[Version, ...]:
        """Return the versions of a document, newest first; none if there is no readable entry."""
        entry = self._memory.get(url)
        if entry is None and self._folder is not None:
            entry = self._read(self._path(self._folder, url))
        return entry.versions if entry is not None and entry.url == url else ()

    def store(self, url: str, version: Version) -> None:
        """Add a version in front; the same bytes again only renew the date."""
        self._change(url, lambda versions: _added(versions, version))

    def drop(self, url: str, version: Version) -> None:
        """Remove a version, by its bytes; the others stay."""
        self._change(url, lambda versions: tuple([kept for kept in versions if not kept.same(version)]))

    def _change(self, url: str, change: _Change) -> None:
        folder = self._folder
        if folder is not None:
            try:
                if private_folder(folder):
                    with locked(folder):
                        entry = Entry(_FORMAT, url, change(self.versions(url)))
                        replace_sealed(self._path(folder, url), msgspec.json.encode(entry))
                        self._memory.pop(url, None)
                        self._sweep(folder)
                    return
                self._notice(ConfigurationError("cache-unsafe", path=str(folder)))
            except OSError as error:
                self._notice(_unusable(folder, error))
        # Even without a version left it stands before what is on a disk that cannot be written.
        versions = change(self.versions(url))
        if len(self._memory) >= MAX_ENTRIES:
            self._memory.clear()
        self._memory[url] = Entry(_FORMAT, url, versions)

    def entries(self) -> Iterator[Entry]:
        """List everything that is cached, in the order of URLs."""
        found = dict(self._memory)
        if self._folder is not None:
            for path, _ in self._files(self._folder):
                entry = self._read(path)
                if entry is not None:
                    found.setdefault(entry.url, entry)
        for url in sorted(found):
            if found[url].versions:
                yield found[url]

    def clear(self) -> None:
        """Forget every document; the rollback guard forgets nothing."""
        self._memory.clear()
        if self._folder is not None:
            for path, _ in self._files(self._folder):
                with contextlib.suppress(OSError):
                    path.unlink()

    def _path(self, folder: Path, url: str) -> Path:
        return folder / (hashlib.sha256(url.encode()).hexdigest() + _SUFFIX)

    def _read(self, path: Path) -> Entry | None:
        try:
            content = read_sealed(path, limit=_MAX_ENTRY)
            if content is None:
                return None
            entry = msgspec.json.decode(content, type=Entry)
        except OSError as error:
            self._notice(_unusable(path, error))
            return None
        except ValueError:
            self._notice(ConfigurationError("cache-corrupt", path=str(path)))
            return None
        return entry if entry.format == _FORMAT else None

    def _files(self, folder: Path) -> list[tuple[Path, os.stat_result]]:
        found = []
        try:
            for path in folder.iterdir():
                if path.suffix == _SUFFIX or path.name.startswith(TEMPORARY):
                    with contextlib.suppress(FileNotFoundError):
                        found.append((path, path.lstat()))
        except FileNotFoundError:
            return []
        except OSError as error:
            self._notice(_unusable(folder, error))
        return found

    def _sweep(self, folder: Path) -> None:
        """Keep the newest entries within bounds and drop what crashed writers left."""
        entries, size = 0, 0
        for path, found in sorted(self._files(folder), key=lambda file: file[1].st_mtime, reverse=True):
            if path.name.startswith(TEMPORARY):
                surplus = time.time() - found.st_mtime > _ABANDONED
            else:
                entries, size = entries + 1, size + found.st_size
                surplus = entries > MAX_ENTRIES or size > MAX_BYTES
            if surplus:
                path.unlink(missing_ok=True)


def _added(versions: tuple[Version, ...], new: Version) -> tuple[Version, ...]:
    if versions and versions[0].same(new):
        new = msgspec.structs.replace(new, first_fetched=versions[0].first_fetched)
        versions = versions[1:]
    return (new, *versions)[:MAX_VERSIONS]


def _unusable(path: Path, error: OSError) -> ConfigurationError:
    said = error.strerror or str(error) or type(error).__name__
    return ConfigurationError("cache-unusable", path=str(path), actual=said)
