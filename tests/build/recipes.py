# SPDX-License-Identifier: Apache-2.0
"""An application, and small wheels for the agent and for it: everything that a lock is made of."""

import hashlib
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.build.debian.archive import Archive, Key

from nacre.build.app import Recipe
from nacre.build.debian.sources import Mirror
from nacre.build.download import Download
from nacre.build.inputs import Inputs
from nacre.build.lock import Lock
from nacre.build.means import Means
from nacre.build.resolve import resolve

#: A package that an application needs.
TOOL = 'packages = ["tool"]\n'
_NAMES = ("cryptography", "h11", "msgspec")


def wheel(name: str, files: Mapping[str, bytes] | None = None) -> tuple[str, bytes]:
    """Return a wheel's name and content."""
    stream = io.BytesIO()
    whole = {f"{name}/__init__.py": f"name = {name!r}\n".encode()} if files is None else files
    about = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in whole.items():
            archive.writestr(zipfile.ZipInfo(path), content)
        archive.writestr(
            zipfile.ZipInfo(f"{about}/METADATA"), f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
        )
        archive.writestr(zipfile.ZipInfo(f"{about}/WHEEL"), "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(zipfile.ZipInfo(f"{about}/RECORD"), "")
    return f"{name}-1.0-py3-none-any.whl", stream.getvalue()


def requirements(folder: Path, *names: str) -> Path:
    """Write wheels into a folder, and a file that requires them."""
    folder.mkdir(exist_ok=True)
    lines = ["# what is needed"]
    for name in names or _NAMES:
        file, content = wheel(name)
        (folder / file).write_bytes(content)
        lines += [
            f"{name}==1.0 \\",
            f"    --hash=sha256:{hashlib.sha256(content).hexdigest()}",
            "    # via a friend",
        ]
    listed = folder / "requirements.txt"
    listed.write_text("\n".join(lines) + "\n")
    return listed


def application(folder: Path, *, build: str = "", source: Mapping[str, bytes] | None = None) -> Recipe:
    """Write an application into a folder."""
    (folder / "src").mkdir(parents=True, exist_ok=True)
    for name, content in (source or {"main.py": b"print('hello')\n", "deep/data": b"\0" * 10}).items():
        file = folder / "src" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    (folder / "nacre.toml").write_text(
        'name = "demo"\nversion = "1.0"\nentry = ["python3", "main.py"]\nsource = "src"\n'
        f"[build]\nbytecode = false\n{build}"
    )
    return Recipe.load(folder)


def ask_only(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Let pip ask nobody but a folder."""
    patch.setenv("PIP_NO_INDEX", "1")
    patch.setenv("PIP_FIND_LINKS", str(folder))
    patch.setenv("PIP_CONFIG_FILE", "/dev/null")


def ways_of(archive: Archive, inputs: Path, *, offline: bool = False) -> Means:
    """Return how inputs are got from an archive."""
    suites = ("bookworm", "bookworm-updates")
    mirrors = tuple([Mirror(archive.url, name, str(archive.key.keyring)) for name in suites])
    return Means(mirrors, Inputs(inputs, offline=offline), Download())


class World(NamedTuple):
    """An application in the folder ``app`` with its lock, and everything that it was made from."""

    folder: Path
    lock: Lock
    agents: Path

    @classmethod
    def make(cls, folder: Path, key: Key) -> "World":
        """Resolve once, with pip, which asks nobody but a folder."""
        archive = Archive(folder / "mirror", key)
        archive.publish()
        agents = requirements(folder / "wheels")
        recipe = application(folder / "app", build=TOOL)
        with pytest.MonkeyPatch.context() as patch:
            ask_only(folder / "wheels", patch)
            lock = resolve(recipe, ways_of(archive, folder / "inputs"), requirements=agents)
        (folder / "app" / "nacre.lock").write_bytes(lock.encode())
        return cls(folder, lock, agents)
