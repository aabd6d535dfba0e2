# SPDX-License-Identifier: Apache-2.0
"""Folders short enough for Unix sockets, and configurations."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from nacre.build.app import App
from nacre.enclave.agent.config import Config, Limits

Configure = Callable[..., Config]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose path leaves room for a socket's name."""
    path = Path(tempfile.mkdtemp(prefix="nacre-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def configure(folder: Path) -> Configure:
    """Make a configuration; further members go before these."""

    def make(*entry: str, app: dict[str, object] | None = None, **others: object) -> Config:
        whole = {"name": "app", "version": "1", "entry": entry or ("/bin/true",), **(app or {})}
        config = {
            "app": msgspec.convert(whole, App),
            "app_directory": str(folder),
            "public": f"unix:{folder}/public.sock",
            "socket": f"{folder}/agent.sock",
            "release": "ab" * 32,
            "mode": "simulated",
            "limits": Limits(patience=1.0, answer=5.0, grace=1.0),
            **others,
        }
        return Config(**config)  # type: ignore[arg-type]

    return make
