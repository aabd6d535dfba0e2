# SPDX-License-Identifier: Apache-2.0
"""What a build says of its source: a commit only if the files are the commit's, and never a password."""

import subprocess
from pathlib import Path

import pytest

from nacre.build.write import Source


def git(folder: Path, *words: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.com")
    command = ("git", *identity, *words)
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """An application in a folder of a repository."""
    git(tmp_path, "init", "--quiet")
    folder = tmp_path / "apps" / "worm"
    folder.mkdir(parents=True)
    (folder / "worm.py").write_text("print(1)\n")
    git(tmp_path, "add", "--all")
    git(tmp_path, "commit", "--quiet", "--message", "worm")
    return folder


@pytest.mark.parametrize(
    ("remote", "repository"),
    [
        ("https://example.com/worm.git", "https://example.com/worm.git"),
        ("https://user:secret@example.com/a@b.git", "https://example.com/a@b.git"),
        ("ssh://git@example.com/worm.git", "ssh://git@example.com/worm.git"),
        ("../worm", ""),
    ],
)
def test_the_repository_without_whoever_may_write_to_it(app: Path, remote: str, repository: str) -> None:
    git(app, "remote", "add", "origin", remote)
    assert Source.of(app, output=app / "dist") == Source(repository, git(app, "rev-parse", "HEAD"))


def test_what_a_build_writes_is_no_change_of_the_source(app: Path) -> None:
    (app / "dist").mkdir()
    (app / "dist" / "kernel").touch()
    assert Source.of(app, output=app / "dist").commit == git(app, "rev-parse", "HEAD")
    assert Source.of(app, output=app / "other") == Source("", "")
    assert Source.of(app, output=app) == Source("", "")


def test_files_that_are_no_commits(app: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    (app.parent / "beside").touch()
    assert Source.of(app, output=app / "dist").commit
    (app / "worm.py").write_text("print(2)\n")
    assert Source.of(app, output=app / "dist") == Source("", "")
    nowhere = tmp_path_factory.mktemp("nowhere")
    assert Source.of(nowhere, output=nowhere / "dist") == Source("", "")
    assert Source.of(nowhere / "nothing", output=nowhere) == Source("", "")
