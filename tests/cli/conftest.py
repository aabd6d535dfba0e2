# SPDX-License-Identifier: Apache-2.0
"""The command as users meet it: a process of its own."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from tests.build.debian.archive import Key
from tests.build.recipes import World, ask_only

from nacre.enclave.instances import Instances, end

_MOMENTS = {
    "sgx": "2025-08-30T05:09:00Z",
    "tdx": "2026-02-14T00:17:00Z",
    "snp": "2025-09-20T09:10:50Z",
    "nitro": "2025-12-25T16:04:20Z",
}
_KEPT = ("PATH", "PYTHON", "LANG", "COV")


@pytest.fixture
def nacre(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command with nothing of this user's around it."""
    ours = {
        "HOME": str(tmp_path),
        "NACRE_CACHE_DIR": str(tmp_path / "cache"),
        "NACRE_PCS_URL": "http://127.0.0.1:9",  # nothing listens there
        "NACRE_KDS_URL": "http://127.0.0.1:9",
        "PYTHONUTF8": "1",
    }

    def run(
        *words: str | Path,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        timeout: float = 60,
    ) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if name.startswith(_KEPT)}
        done = subprocess.run(
            [sys.executable, "-m", "nacre", *map(str, words)],
            input=stdin,
            capture_output=True,
            check=False,
            env=kept | ours | dict(env or {}),
            cwd=cwd,
            timeout=timeout,
        )
        return subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
        )

    return run


@pytest.fixture
def ours(tmp_path: Path) -> Iterator[Mapping[str, str]]:
    """What names this test's own instances; whatever is left of them is ended."""
    folders = {f"NACRE_{name.upper()}_DIR": str(tmp_path / name) for name in ("state", "data")}
    yield folders
    instances = Instances.of_user(folders)
    for instance in instances.every():
        end(instance)
        instances.remove(instance)


@pytest.fixture(scope="session")
def examples(repository: Path) -> Path:
    """The recorded evidence with its policies."""
    return repository / "examples" / "verify"


@pytest.fixture(scope="session")
def recorded(examples: Path) -> Callable[..., list[str]]:
    """Return the words that verify one recorded evidence, or another file of its folder."""

    def words(platform: str, evidence: str = "") -> list[str]:
        folder = examples / platform
        name = evidence or {"snp": "report.bin", "nitro": "document.cbor"}.get(platform, "quote.bin")
        said = ["verify", str(folder / name), "--policy", str(folder / "policy.toml")]
        if platform != "nitro":
            said += ["--endorsements", str(folder / "endorsements")]
        return [*said, "--offline", "--at", _MOMENTS[platform]]

    return words


@pytest.fixture(scope="session")
def resolved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, Key]]:
    """An application with its lock, and who signed the archive that its inputs are of."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        key = Key.make(Path(folder) / "key")
        yield World.make(tmp_path_factory.mktemp("world"), key), key
        key.end()


@pytest.fixture
def world(resolved: tuple[World, Key], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A copy of it in ``tmp_path``, to be spoiled."""
    shutil.copytree(resolved[0].folder, tmp_path, dirs_exist_ok=True)
    ask_only(tmp_path / "wheels", monkeypatch)
    return World(tmp_path, resolved[0].lock, tmp_path / "wheels" / "requirements.txt")
