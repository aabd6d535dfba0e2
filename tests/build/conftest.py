# SPDX-License-Identifier: Apache-2.0
"""A key that signs the archives of the tests, made once for each worker."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.build.debian.archive import Archive, Key


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
