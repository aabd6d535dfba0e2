# SPDX-License-Identifier: Apache-2.0
"""``nacre build``: the same bytes from anybody, anywhere, at any time."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from tests.build.recipes import World

from nacre import cli
from nacre.build.folder import sums
from nacre.cli.exits import Exit

_FAKETIME = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))), None)


def _words(world: World, *more: str | Path, app: str = "app") -> list[str]:
    return [
        "build",
        str(world.folder / app),
        "--offline",
        "--inputs",
        str(world.folder / "inputs"),
        *map(str, more),
    ]


def _outputs(folder: Path) -> Mapping[str, str]:
    return {name: digest for name, digest in sums(folder).items() if name != "provenance.json"}


def _run(world: World, app: Path, umask: int, env: Mapping[str, str]) -> None:
    words = [
        sys.executable,
        "-m",
        "nacre",
        "build",
        str(app),
        "--offline",
        "--inputs",
        str(world.folder / "inputs"),
    ]
    kept = {name: value for name, value in os.environ.items() if name.startswith(("PATH", "COV"))}
    subprocess.run(words, env=kept | dict(env), check=True, umask=umask, capture_output=True)


def test_the_same_application_gives_the_same_bytes_anywhere(world: World) -> None:
    (world.folder / "far" / "away").mkdir(parents=True)
    app, other = world.folder / "app", world.folder / "far" / "away" / "ünother"
    (app / "src" / "run.sh").write_text("#!/bin/sh\n")
    (app / "src" / "run.sh").chmod(0o755)
    for number in range(30):
        (app / "src" / f"{number}.txt").write_text(str(number))
    (app / "src" / "link").symlink_to("deep/data")
    for path in sorted((app / "src").rglob("*"), reverse=True):  # another order of creation
        place = other / path.relative_to(app)
        if not path.is_dir() or path.is_symlink():
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place, follow_symlinks=False)
    (other / "src" / "run.sh").chmod(0o700)
    for name in ("nacre.toml", "nacre.lock"):
        shutil.copyfile(app / name, other / name)
        os.utime(other / name, (0, 0))
    _run(world, app, 0o022, {"TZ": "UTC", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "1", "HOME": "/"})
    clock = {"LD_PRELOAD": str(_FAKETIME), "FAKETIME": "@2031-05-06 07:08:09"} if _FAKETIME else {}
    strange = {
        "TZ": "Asia/Tokyo",
        "LC_ALL": "C",
        "PYTHONHASHSEED": "2",
        "HOME": str(other),
        "SOURCE_DATE_EPOCH": "99",
    }
    _run(world, other, 0o077, strange | clock)
    found = _outputs(app / "dist")
    assert found == _outputs(other / "dist")
    assert {
        "kernel",
        "nitro.eif",
        "release.toml",
        "release.corim",
        "nacre.lock",
        "sbom.cdx.json",
    } <= found.keys()
    assert json.loads((app / "dist/provenance.json").read_bytes()) == json.loads(
        (other / "dist/provenance.json").read_bytes()
    )
    for path in (app / "dist").rglob("*"):
        assert str(world.folder).encode() not in (path.read_bytes() if path.is_file() else b"")


def test_what_has_not_changed_is_left_alone(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    dist = world.folder / "app" / "dist"
    assert cli.main(_words(world)) == Exit.ACCEPTED
    before = {path: path.stat() for path in (dist, *dist.rglob("*"))}
    shutil.rmtree(world.folder / "inputs")  # nobody looks at them
    capsys.readouterr()
    assert cli.main(_words(world, "--json")) == Exit.ACCEPTED
    said = json.loads(capsys.readouterr().out)
    assert said["unchanged"] is True
    assert said["files"] == sums(dist)
    assert {path: path.stat().st_ino for path in before} == {path: one.st_ino for path, one in before.items()}
    assert cli.main(_words(world)) == Exit.ACCEPTED
    assert "nothing has changed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (lambda app: (app / "src/main.py").write_text("print('hellp')\n"), False),
        (lambda app: (app / "src/main.py").chmod(0o755), False),
        (lambda app: (app / "src/main.py").rename(app / "src/other.py"), False),
        (lambda app: (app / "nacre.toml").write_text((app / "nacre.toml").read_text() + "# more\n"), None),
        (lambda app: (app / "dist/nitro.eif").write_bytes(b""), True),
    ],
)
def test_whatever_changes_is_built(
    world: World, capsys: pytest.CaptureFixture[str], change: Callable[[Path], object], *, same: bool | None
) -> None:
    assert cli.main(_words(world)) == Exit.ACCEPTED
    before = sums(world.folder / "app" / "dist")
    change(world.folder / "app")
    capsys.readouterr()
    assert cli.main(_words(world, "--json")) == Exit.ACCEPTED
    said = json.loads(capsys.readouterr().out)
    assert said["unchanged"] is (same is None)
    assert (said["files"] == before) is (same is not False)


def _sparse(app: Path) -> None:
    with (app / "src" / "large").open("wb") as file:
        file.truncate(5 << 30)


def _elsewhere(app: Path) -> None:
    (app / "src").rename(app / "other")
    (app / "src").symlink_to("/etc")


def _mine(app: Path) -> None:
    (app / "dist").mkdir()
    (app / "dist" / "mine").write_text("")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda app: (app / "src/out").symlink_to("/etc/passwd"), "out leads to /etc/passwd"),
        (lambda app: (app / "src/up").symlink_to("../nacre.toml"), "up leads to ../nacre.toml"),
        (lambda app: (app / "src/a\nb").write_text(""), "not printable"),
        (lambda app: os.mkfifo(app / "src/pipe"), "pipe is a pipe"),
        (_sparse, "large has 5368709120 bytes"),
        (lambda app: (app / "nacre.lock").unlink(), "nacre.lock is not there"),
        (lambda app: (app / "nacre.lock").write_text("{"), "nacre.lock"),
        (
            lambda app: (app / "nacre.toml").write_text((app / "nacre.toml").read_text() + "shell = true\n"),
            "another nacre.toml",
        ),
        (
            lambda app: (app / "src/x.so").write_bytes(b"\x7fELF\x02\x01\x01" + b"\xff" * 100),
            "x.so is not a sound program",
        ),
        (lambda app: (app / "src/x.so").write_bytes(b"\x7fELF\x02\x01\x01"), "x.so is not a sound program"),
        (_mine, "no build wrote it"),
        (_elsewhere, "leads out"),
    ],
)
def test_what_cannot_be_built_is_named(
    world: World, capsys: pytest.CaptureFixture[str], spoil: Callable[[Path], object], words: str
) -> None:
    app = world.folder / "app"
    spoil(app)
    assert cli.main(_words(world)) in (Exit.INTERNAL, Exit.USAGE)
    said = capsys.readouterr().err
    assert words in said
    assert "internal error" not in said
    assert not (app / "dist" / "SHA256SUMS").exists()


def test_an_output_is_not_part_of_the_next_image(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    app = world.folder / "app"
    assert cli.main(_words(world, "-o", app / "src" / "dist")) == Exit.INTERNAL
    assert "the next image" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ('files = {"init" = "src/main.py"}', "no place"),
        ('files = {"usr/lib/python3.11/x.py" = "src/main.py"}', "no place"),
        ('files = {"lib64/x" = "src/main.py"}', "no place"),
        ('files = {"etc/nacre/boot.d/x" = "src/main.py"}', "no place"),
        ('files = {"../x" = "src/main.py"}', "no place"),
        ('files = {"etc/x" = "../other"}', "not below"),
        ('files = {"etc/x" = "/etc/passwd"}', "not below"),
        ('files = {"etc/x" = "out/passwd"}', "leads out"),
        ('requirements = "out/passwd"', "leads out"),
        ('kernel = "out"', "leads out"),
        ("targets = []", "at least one"),
        ('targets = ["moon"]', "targets"),
        ('command_line = "a\\nb"', "printable"),
        ('packages = ["Bad_Name"]', "not a package"),
        ('suite = "../sid"', "not a suite"),
        ("unknown = 1", "unknown"),
    ],
)
def test_a_recipe_that_reaches_elsewhere_is_refused(
    world: World, capsys: pytest.CaptureFixture[str], table: str, words: str
) -> None:
    app = world.folder / "app"
    (app / "out").symlink_to("/etc")
    head, _, _ = (app / "nacre.toml").read_text().partition("[build]")
    (app / "nacre.toml").write_text(f"{head}[build]\n{table}\n")
    assert cli.main(_words(world)) == Exit.USAGE
    assert words in capsys.readouterr().err
