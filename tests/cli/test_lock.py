# SPDX-License-Identifier: Apache-2.0
"""``nacre lock`` over a signed archive, and ``nacre kernel`` before anything is compiled."""

import functools
import json
from pathlib import Path

import pytest
from tests.build.debian.archive import Archive, Key
from tests.build.recipes import World

from nacre import cli
from nacre.build.resolve import resolve
from nacre.cli import lock
from nacre.cli.exits import Exit


def _words(world: World, key: Key, *more: str) -> list[str]:
    mirror = (world.folder / "mirror").as_uri() + "/"
    ways = ["--mirror", mirror, "--keyring", str(key.keyring), "--inputs", str(world.folder / "inputs")]
    return ["lock", str(world.folder / "app"), *ways, *more]


@pytest.fixture
def key(resolved: tuple[World, Key]) -> Key:
    """Who signed the archive."""
    return resolved[1]


@pytest.fixture
def own(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """The command takes the wheels of the tests for the agent's: the real ones are a registry's."""
    monkeypatch.setattr(lock, "resolve", functools.partial(resolve, requirements=world.agents))
    return world


def test_a_lock_is_written_and_checked(own: World, key: Key, capsys: pytest.CaptureFixture[str]) -> None:
    path = own.folder / "app" / "nacre.lock"
    before = path.read_bytes()
    path.unlink()
    assert cli.main(_words(own, key, "--json")) == Exit.ACCEPTED
    assert path.read_bytes() == before
    assert json.loads(capsys.readouterr().out) == json.loads(before)
    assert cli.main(_words(own, key, "--check")) == Exit.ACCEPTED
    archive = Archive(own.folder / "mirror", key)
    archive.versions["tool"] = "2.0-1"
    archive.publish()
    assert cli.main(_words(own, key, "--check")) == Exit.INTERNAL
    assert path.read_bytes() == before
    assert "is not what nacre lock would write" in capsys.readouterr().err
    assert cli.main(_words(own, key)) == Exit.ACCEPTED
    said = capsys.readouterr().out
    assert "tool  1.0-1 → 2.0-1" in said
    assert "5 packages, 3 wheels" in said
    assert [one.name for one in path.parent.iterdir() if "lock" in one.name] == ["nacre.lock"]
    assert cli.main(["lock", str(own.folder / "app"), "--agent", "--check"]) == Exit.ACCEPTED


def test_an_archive_of_nobody_s_is_not_believed(
    own: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.gpg").write_bytes(b"")
    assert cli.main(_words(own, Key(tmp_path, tmp_path / "empty.gpg"))) == Exit.INTERNAL
    assert "not signed by anybody" in capsys.readouterr().err


def test_an_index_of_yesterday_is_not_gone_back_to(
    own: World, key: Key, capsys: pytest.CaptureFixture[str]
) -> None:
    path = own.folder / "app" / "nacre.lock"
    before = path.read_bytes()
    Archive(own.folder / "mirror", key).publish(at="Tue, 24 Nov 2026 23:59:59 UTC")
    assert cli.main(_words(own, key)) == Exit.INTERNAL
    assert path.read_bytes() == before
    assert "of a newer one" in capsys.readouterr().err


def test_a_lock_that_cannot_be_written_is_named(
    own: World, key: Key, capsys: pytest.CaptureFixture[str]
) -> None:
    path = own.folder / "app" / "nacre.lock"
    path.unlink()
    path.mkdir()
    assert cli.main(_words(own, key)) in (Exit.INTERNAL, Exit.USAGE)
    said = capsys.readouterr().err
    assert "nacre.lock" in said
    assert "internal error" not in said


def test_a_kernel_is_only_built_where_it_is_asked_for(
    world: World, key: Key, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["kernel", *_words(world, key)[1:]]
    assert cli.main(words) == Exit.INTERNAL
    assert 'kernel = "debian"' in capsys.readouterr().err
    assert cli.main([*words, "--show-config"]) == Exit.ACCEPTED
    shown = capsys.readouterr().out
    assert "CONFIG_VSOCKETS=y" in shown
    assert "CONFIG_MODULES=n" in shown
    toml = world.folder / "app" / "nacre.toml"
    toml.write_text(toml.read_text() + 'kernel = "nacre"\n')
    assert cli.main(words) == Exit.INTERNAL
    assert "linux-source" in capsys.readouterr().err
