# SPDX-License-Identifier: Apache-2.0
"""``nacre rebuild``: a release is what its source makes, or what differs is named."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from tests.build.recipes import World

from nacre import cli
from nacre.build import provenance, rebuilds
from nacre.cli.exits import Exit
from nacre.trust.jwk import read_keys

_WHO = ("-c", "user.name=Tester", "-c", "user.email=tester@example.org", "-c", "commit.gpgsign=false")


def _git(folder: Path, *words: str) -> str:
    line = ["git", *_WHO, *words]
    return subprocess.run(line, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def _committed(folder: Path) -> str:
    _git(folder, "add", "--all")
    _git(folder, "commit", "--quiet", "--message", "new")
    return _git(folder, "rev-parse", "HEAD")


class Released:
    """A release with its source in a repository of Git's."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.source = world.folder / "source"
        (self.source / "deep").mkdir(parents=True)
        (world.folder / "app").rename(self.source / "deep" / "app")
        self.app = self.source / "deep" / "app"
        _git(self.source, "init", "--quiet", "--initial-branch=main")
        self.commit = _committed(self.source)
        self.folder = world.folder / "released"
        self.build(self.folder)

    def build(self, folder: Path) -> None:
        """Build what is in the source now."""
        inputs = str(self.world.folder / "inputs")
        words = ["build", str(self.app), "--offline", "--inputs", inputs, "-o", str(folder)]
        assert cli.main(words) == Exit.ACCEPTED

    def again(self, *more: str | Path, source: Path | str | None = None) -> int:
        """Rebuild the release."""
        words = ["rebuild", str(self.folder), "--offline", "--inputs", str(self.world.folder / "inputs")]
        return cli.main([*words, "--source", str(source or self.source), *map(str, more)])


@pytest.fixture
def released(world: World, monkeypatch: pytest.MonkeyPatch) -> Released:
    """A release with its source."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    return Released(world)


def test_a_release_is_what_its_commit_makes(
    released: Released, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = provenance.read((released.folder / "provenance.json").read_bytes(), pinned=None)
    assert made.commit == released.commit
    (released.app / "src" / "main.py").write_text("print('later')\n")
    _committed(released.source)
    monkeypatch.setenv("GIT_DIR", "/nowhere")  # as in a hook
    key = Ed25519PrivateKey.generate()
    folder = released.world.folder
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "key.pem").write_bytes(pem)
    capsys.readouterr()
    words = ("--key", folder / "key.pem", "--statement", folder / "statement.json")
    assert released.again(*words) == Exit.ACCEPTED
    assert "IDENTICAL" in capsys.readouterr().out
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    said = rebuilds.read((folder / "statement.json").read_bytes(), pinned=read_keys(public))
    assert (said.release, said.commit, said.result, said.difference) == (
        *("demo/1.0", released.commit, "identical", ""),
    )
    unwritable = ("--key", folder / "key.pem", "--statement", folder / "none" / "statement.json")
    assert released.again(*unwritable) == Exit.INTERNAL
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda app: (app / "src/main.py").write_text("print('hellp')\n"),
            "main.py: differs from byte 11",
        ),
        (
            lambda app: (app / "src/main.py").chmod(0o755),
            "main.py: a program was released, a file was",
        ),
        (lambda app: (app / "src/more").write_text(""), "/app/more: is not in the rebuilt image"),
        (lambda app: (app / "src/deep/data").unlink(), "/app/deep/data: is not in the released image"),
    ],
)
def test_one_changed_byte_is_named(
    released: Released, capsys: pytest.CaptureFixture[str], change: Callable[[Path], object], words: str
) -> None:
    told = (released.folder / "provenance.json").read_bytes()
    change(released.app)
    released.build(released.folder)
    (released.folder / "provenance.json").write_bytes(told)  # as a liar would
    capsys.readouterr()
    assert released.again("--json") == Exit.REJECTED
    said = json.loads(capsys.readouterr().out)
    assert said["identical"] is False
    first = said["differences"][0]
    assert first["file"] == "nitro.eif"
    assert words in f"{first['where']}: {first['what']}"
    assert released.again() == Exit.REJECTED
    assert words in capsys.readouterr().out


def test_what_cannot_be_rebuilt_is_named(
    released: Released, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def refused(source: Path | str | None = None) -> str:
        capsys.readouterr()
        assert released.again(source=source) in (Exit.INTERNAL, Exit.MALFORMED, Exit.USAGE)
        said = capsys.readouterr().err
        assert "internal error" not in said
        return said

    assert "cannot be checked out" in refused(tmp_path / "nowhere")
    assert "cannot be checked out" in refused("ext::sh -c 'touch pwned' %S")
    assert not Path("pwned").exists()
    other = tmp_path / "other"
    other.mkdir()
    _git(other, "init", "--quiet")
    (other / "file").write_text("")
    _committed(other)
    assert "cannot be checked out" in refused(other)
    told = (released.folder / "provenance.json").read_text()
    commit = _committed_without(released)
    (released.folder / "provenance.json").write_text(told.replace(released.commit, commit))
    assert "no nacre.toml in the source" in refused()
    for commit in ("f" * 40, "--upload-pack=touch", "main"):
        (released.folder / "provenance.json").write_text(told.replace(released.commit, commit))
        assert refused()
    for text in ("", "{}", "[" * 100):
        (released.folder / "provenance.json").write_text(text)
        assert refused()
    (released.folder / "provenance.json").unlink()
    assert "provenance" in refused()


def _committed_without(released: Released) -> str:
    (released.app / "nacre.toml").unlink()
    return _committed(released.source)


def test_a_source_that_is_not_committed_is_not_named(
    released: Released, capsys: pytest.CaptureFixture[str]
) -> None:
    def commit() -> str:
        released.build(released.folder)
        return provenance.read((released.folder / "provenance.json").read_bytes(), pinned=None).commit

    (released.source / ".gitignore").write_text("__pycache__\nnew.py\nother\n")
    (released.app / "src" / "__pycache__").mkdir()
    (released.app / "src" / "__pycache__" / "main.pyc").write_bytes(b"")
    (released.app / "other").write_text("no part of the image")
    head = _committed(released.source)
    assert commit() == head
    (released.app / "src" / "new.py").write_text("")
    assert commit() == ""
    capsys.readouterr()
    assert released.again() == Exit.INTERNAL
    assert "which commit" in capsys.readouterr().err
    (released.source / ".gitignore").unlink()
    _committed(released.source)
    released.build(released.folder)  # nothing of the image has changed, but what is known of it
    assert released.again() == Exit.ACCEPTED
