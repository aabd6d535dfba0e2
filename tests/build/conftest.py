# SPDX-License-Identifier: Apache-2.0
"""A key that signs the archives of the tests, made once for each worker."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.build.debian.archive import Archive, Key

from nacre.build.debian.sources import Mirror
from nacre.build.download import Download
from nacre.build.inputs import Inputs
from nacre.build.means import Means


@pytest.fixture(scope="session")
def key() -> Iterator[Key]:
    """Who signs the archive; the folder's path is short, as GnuPG needs it."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        key = Key.make(Path(folder) / "key")
        yield key
        key.end()


@pytest.fixture
def archive(tmp_path: Path, key: Key) -> Archive:
    """A mirror in a folder, published."""
    made = Archive(tmp_path / "mirror", key)
    made.publish()
    return made


@pytest.fixture
def means(archive: Archive, tmp_path: Path) -> Callable[..., Means]:
    """Return how inputs are got from that mirror."""

    def ways(*, offline: bool = False, inputs: Path = tmp_path / "inputs") -> Means:
        suites = ("bookworm", "bookworm-updates")
        mirrors = tuple([Mirror(archive.url, name, str(archive.key.keyring)) for name in suites])
        return Means(mirrors, Inputs(inputs, offline=offline), Download())

    return ways
