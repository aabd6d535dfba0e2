# SPDX-License-Identifier: Apache-2.0
"""A build's folder is whole or not there, and nobody else's files are lost for it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nacre.build.folder import replace, sums, unchanged
from nacre.errors import BuildError

_ONE, _OTHER = "1" * 64, "2" * 64


def _write(folder: Path) -> None:
    (folder / "image").write_bytes(b"new")
    (folder / "oci").mkdir()
    (folder / "oci" / "blob").write_bytes(b"blob")


def _full(folder: Path) -> None:
    (folder / "image").write_bytes(b"half")
    raise OSError(28, "No space left on device")


def _large(folder: Path) -> None:
    (folder / "image").write_bytes(bytes(1 << 20))


def _code(folder: Path) -> str:
    with pytest.raises(BuildError) as caught:
        replace(folder, _write, origin=_OTHER)
    assert str(folder) in str(caught.value)
    return caught.value.code


def test_what_has_not_changed_is_recognised(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "dist"
    assert not unchanged(folder, _ONE)
    found = replace(folder, _write, origin=_ONE)
    assert found.keys() == {"image", "oci/blob"}
    assert found == sums(folder)
    assert unchanged(folder, _ONE)
    assert not unchanged(folder, _OTHER)
    (folder / "image").write_bytes(b"changed")
    assert not unchanged(folder, _ONE)
    replace(folder, _write, origin=_OTHER)
    assert unchanged(folder, _OTHER)
    (folder / "further").write_bytes(b"")
    assert not unchanged(folder, _OTHER)
    assert [one.name for one in folder.parent.iterdir()] == ["dist"]


def test_the_old_stays_where_the_new_fails(tmp_path: Path) -> None:
    folder = tmp_path / "dist"
    replace(folder, _write, origin=_ONE)
    with pytest.raises(BuildError) as caught:
        replace(folder, _full, origin=_OTHER)
    assert caught.value.code == "output-unwritable"
    assert "No space left" in str(caught.value)
    assert unchanged(folder, _ONE)
    assert [one.name for one in tmp_path.iterdir()] == ["dist"]


def test_the_old_stays_where_the_builder_is_killed(tmp_path: Path) -> None:
    folder = tmp_path / "dist"
    replace(folder, _write, origin=_ONE)
    program = (
        "import os, sys\nfrom pathlib import Path\nfrom nacre.build.folder import replace\n"
        "def write(folder):\n    (folder / 'image').write_bytes(b'half')\n    os.kill(os.getpid(), 9)\n"
        f"replace(Path(sys.argv[1]), write, origin='{_OTHER}')\n"
    )
    assert subprocess.run([sys.executable, "-c", program, str(folder)], check=False).returncode == -9
    assert unchanged(folder, _ONE)
    replace(folder, _write, origin=_OTHER)
    assert unchanged(folder, _OTHER)


def test_the_old_comes_back_where_the_new_cannot_be_placed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "dist"
    replace(folder, _write, origin=_ONE)
    calls: list[object] = []
    move = os.replace

    def second_fails(source: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) == 2:
            raise OSError(5, "Input/output error")
        move(source, target)

    monkeypatch.setattr(os, "replace", second_fails)
    assert _code(folder) == "output-unwritable"
    assert unchanged(folder, _ONE)
    assert [one.name for one in tmp_path.iterdir()] == ["dist"]


def test_nothing_of_others_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "dist"
    folder.mkdir()
    replace(folder, _write, origin=_ONE)  # an empty folder is nobody's
    (folder / "notes.txt").write_text("mine")
    assert _code(folder) == "output-foreign"
    assert (folder / "notes.txt").read_text() == "mine"
    for name, content in (("isos", f"{'0' * 64}  debian.iso\n"), ("none", ""), ("binary", "\0")):
        other = tmp_path / name
        other.mkdir()
        (other / "SHA256SUMS").write_text(content)
        (other / "debian.iso").write_bytes(b"iso")
        assert _code(other) == "output-foreign"
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "file").write_text("")
    assert _code(tmp_path / "plain") == "output-foreign"
    (tmp_path / "file").write_text("")
    assert _code(tmp_path / "file") == "output-unwritable"
    assert _code(tmp_path / "file" / "dist") == "output-unwritable"


def test_a_link_to_the_folder_stays_one(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "dist"
    link.symlink_to("real")
    replace(link, _write, origin=_ONE)
    replace(link, _write, origin=_OTHER)
    assert link.is_symlink()
    assert unchanged(tmp_path / "real", _OTHER)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a small disk")
def test_a_full_disk_is_named(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["/bin/mount", "-t", "tmpfs", "-o", "size=64k", "none", str(disk)], check=False)
    if mounted.returncode != 0:
        pytest.skip("a small disk cannot be mounted here")
    try:
        folder = disk / "dist"
        replace(folder, _write, origin=_ONE)
        with pytest.raises(BuildError) as caught:
            replace(folder, _large, origin=_OTHER)
        assert caught.value.code == "output-unwritable"
        assert unchanged(folder, _ONE)
    finally:
        subprocess.run(["/bin/umount", str(disk)], check=True)
