# SPDX-License-Identifier: Apache-2.0
"""A folder of AMD's documents for a fleet, filled once, read without a network.

::

    Milan/vcek-cert_chain          ASK and ARK, PEM, as AMD serves them
    Milan/vcek-crl                 the revocation list, DER
    Milan/<hwid>/bl04-tee00-snp24-ucode219    the VCEK of a chip at a TCB, DER

The folder is a base like any other: ``file:`` and its path. Whoever fills it trusts nobody, and neither does
whoever reads it: everything in it is signed.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from nacre.endorsers.facts import MAX_DOCUMENT
from nacre.endorsers.fetch import Response
from nacre.errors import ConfigurationError, EndorsementsUnavailable
from nacre.platforms.base import Source
from nacre.platforms.snp.products import PRODUCTS

__all__ = ["SCHEME", "StoreFetcher", "documents", "is_store", "put", "store_folder"]

#: How the base of a store begins.
SCHEME: Final = "file:"

_PARTS = 4
_MAX_LISTED = 100_000
_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")


def store_folder(base: str) -> Path | None:
    """Return the folder that a base names; None if it names a server.

    Raises:
        ConfigurationError: ``url-unusable``, for a path that is not absolute.
    """
    if not base.startswith(SCHEME):
        return None
    parts = urlsplit(base)
    path = Path(unquote(parts.path))
    if parts.netloc not in ("", "localhost") or not path.is_absolute() or parts.query:
        raise ConfigurationError("url-unusable", actual=base)
    return path


class StoreFetcher:
    """Gets documents from a store."""

    def __init__(self, base: str, folder: Path) -> None:
        """Read below a folder, which URLs call ``base``."""
        self._base = base
        self._folder = folder

    def get(self, url: str) -> Response:
        """Read one file.

        Raises:
            EndorsementsUnavailable: ``endorser-not-found``, ``endorser-too-large``, or if it cannot be read
                ``endorser-unreachable``.
        """
        parts = urlsplit(url.removeprefix(self._base))
        path = self._folder / _file(parts.path, parts.query)
        try:
            with path.open("rb") as file:
                data = file.read(MAX_DOCUMENT + 1)
        except FileNotFoundError:
            raise EndorsementsUnavailable("endorser-not-found", url=str(path), actual=404) from None
        except OSError as error:
            said = error.strerror or type(error).__name__
            raise EndorsementsUnavailable("endorser-unreachable", host=str(path), actual=said) from None
        if len(data) > MAX_DOCUMENT:
            raise EndorsementsUnavailable(
                "endorser-too-large", url=str(path), expected=MAX_DOCUMENT, actual=len(data)
            )
        return Response(data, {})


def is_store(folder: Path) -> bool:
    """Tell whether a folder looks like a store."""
    return any((folder / line).is_dir() for line in PRODUCTS)


def documents(folder: Path) -> Iterator[tuple[str, bytes]]:
    """List the documents of a store with their names, in order; what is too large is cut.

    Raises:
        ConfigurationError: ``file-unreadable``, or there are absurdly many.
    """
    try:
        found = sorted(path for line in PRODUCTS for path in (folder / line).rglob("*") if path.is_file())
        if len(found) > _MAX_LISTED:
            raise ConfigurationError("bundle-unusable", detail=f"more than {_MAX_LISTED} documents")
        for path in found:
            with path.open("rb") as file:
                yield path.relative_to(folder).as_posix(), file.read(MAX_DOCUMENT)
    except OSError as error:
        said = error.strerror or type(error).__name__
        raise ConfigurationError("file-unreadable", path=str(folder), actual=said) from None


def put(folder: Path, source: Source, document: bytes) -> Path:
    """Write a document where a store has it; a file is replaced as a whole.

    Raises:
        ConfigurationError: ``file-unwritable``.
    """
    parts = urlsplit(source.path)
    path = folder / _file(parts.path, parts.query)
    temporary = path.with_name(f".new-{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(document)
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        said = error.strerror or type(error).__name__
        raise ConfigurationError("file-unwritable", path=str(path), actual=said) from None
    return path


def _file(path: str, query: str) -> Path:
    """Lay a path of AMD's service out as a file: product line, chip, levels."""
    parts = path.strip("/").split("/")
    if len(parts) != _PARTS or not all(part and _NAME.issuperset(part) for part in parts):
        raise ConfigurationError("url-unusable", actual=path)
    kind, _, line, name = parts
    if not query:
        return Path(line, f"{kind}-{name}")
    levels = [f"{level.removesuffix('SPL')}{value}" for level, value in parse_qsl(query)]
    if not all(_NAME.issuperset(level) for level in levels):
        raise ConfigurationError("url-unusable", actual=query)
    return Path(line, name, "-".join(levels))
