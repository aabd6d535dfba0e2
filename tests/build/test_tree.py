# SPDX-License-Identifier: Apache-2.0
"""An application's files: the same digest wherever they lie, and nothing odd among them."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from nacre.build.tree import Tree, _entry
from nacre.errors import BuildError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "app"
    (folder / "src" / "deep").mkdir(parents=True)
    (folder / "src" / "main.py").write_text("print('hello')\n")
    (folder / "src" / "deep" / "data").write_bytes(bytes(range(256)))
    (folder / "run").write_text("#!/bin/sh\n")
    (folder / "run").chmod(0o700)
    (folder / "start").symlink_to("src/main.py")
    (folder / "src" / "deep" / "up").symlink_to("../../run")
    (folder / "empty").mkdir()
    return folder


def _refused(folder: Path) -> tuple[str, str]:
    with pytest.raises(BuildError) as caught:
        Tree.read(folder)
    assert str(caught.value)
    return caught.value.code, str(caught.value.context["file"])


def test_entries_are_in_the_order_of_their_bytes(folder: Path) -> None:
    (folder / "ä").write_text("")
    (folder / "Z").write_text("")
    (folder / "src.txt").write_text("")
    tree = Tree.read(folder)
    assert [(entry.path, entry.kind) for entry in tree.entries] == [
        ("Z", "file"),
        ("empty", "folder"),
        ("run", "program"),
        ("src", "folder"),
        ("src.txt", "file"),
        ("src/deep", "folder"),
        ("src/deep/data", "file"),
        ("src/deep/up", "link"),
        ("src/main.py", "file"),
        ("start", "link"),
        ("ä", "file"),
    ]
    assert tree.size == 15 + 256 + 10 + len("src/main.py") + len("../../run")


def test_digest_is_known(tmp_path: Path) -> None:
    import hashlib

    (tmp_path / "a").write_text("content")
    expected = hashlib.sha256(b"nacre-tree/v1\0f\0\0\0\x01a" + hashlib.sha256(b"content").digest())
    assert Tree.read(tmp_path).digest == expected.digest()
    empty = tmp_path / "none"
    empty.mkdir()
    assert Tree.read(empty).digest == hashlib.sha256(b"nacre-tree/v1\0").digest()


def test_what_differs_between_checkouts_is_not_measured(folder: Path, tmp_path: Path) -> None:
    before = Tree.read(folder).digest
    other = tmp_path / "elsewhere"
    folder.rename(other)
    os.utime(other / "run", (1, 1))
    (other / "run").chmod(0o4755)
    (other / "src" / "main.py").chmod(0o600)
    (other / "src" / "deep").chmod(0o700)
    for left_out in ("__pycache__", ".git", "src/__pycache__", "src/.hg"):
        (other / left_out).mkdir()
        (other / left_out / "x\n").write_text("not looked at")
    (other / "empty" / ".git").write_text("gitdir: elsewhere")
    link = tmp_path / "link"
    link.symlink_to(other)
    assert Tree.read(other).digest == Tree.read(link).digest == Tree.read(f"{other}/.").digest == before


def _edit(folder: Path) -> None:
    (folder / "src" / "main.py").write_text("print('hellO')\n")


def _rename(folder: Path) -> None:
    (folder / "src" / "main.py").rename(folder / "src" / "main2.py")
    (folder / "start").unlink()
    (folder / "start").symlink_to("src/main2.py")


def _make_runnable(folder: Path) -> None:
    (folder / "src" / "main.py").chmod(0o744)


def _add_folder(folder: Path) -> None:
    (folder / "src" / "new").mkdir()


def _turn_link_into_its_target(folder: Path) -> None:
    (folder / "start").unlink()
    (folder / "start").write_text("src/main.py")


def _lead_elsewhere(folder: Path) -> None:
    (folder / "start").unlink()
    (folder / "start").symlink_to("./src/main.py")


@pytest.mark.parametrize(
    "change", [_edit, _rename, _make_runnable, _add_folder, _turn_link_into_its_target, _lead_elsewhere]
)
def test_every_change_changes_the_digest(folder: Path, change: Callable[[Path], None]) -> None:
    before = Tree.read(folder).digest
    change(folder)
    assert Tree.read(folder).digest != before


@pytest.mark.parametrize(
    "target",
    [
        "/etc/passwd",  # elsewhere
        "../secret",  # beside the folder
        "../app/run",  # out and in again by the folder's name
        "src/../../app/run",
        "nothing",  # to nothing
        "loop",  # to itself
        "src/__pycache__/main.pyc",  # to what is left out
    ],
)
def test_links_that_leave_are_refused(folder: Path, tmp_path: Path, target: str) -> None:
    (tmp_path / "secret").write_text("a password")
    (folder / "src" / "__pycache__").mkdir()
    (folder / "src" / "__pycache__" / "main.pyc").write_text("")
    (folder / "loop").symlink_to(target)
    assert _refused(folder) == ("tree-link", "loop")


def test_a_chain_of_links_cannot_leave_either(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("a password")
    (folder / "src" / "inner").symlink_to("../empty")  # fine
    Tree.read(folder)
    (folder / "chain").symlink_to("src/inner/../../secret")  # by words inside, by links outside
    assert _refused(folder) == ("tree-link", "chain")


def test_links_to_folders_are_kept_and_not_followed(folder: Path) -> None:
    (folder / "same").symlink_to(".")
    (folder / "src" / "back").symlink_to("..")
    entries = {entry.path: entry for entry in Tree.read(folder).entries}
    assert entries["same"].target == "."
    assert entries["src/back"].target == ".."
    assert "same/run" not in entries


@pytest.mark.parametrize(
    "name", [b"new\nline", b"\x1b[31mred", b"latin-\xe9", b"tab\t", b"right\xe2\x80\xaeleft"]
)
def test_odd_names_are_refused(folder: Path, name: bytes) -> None:
    Path(os.fsdecode(os.fsencode(folder / "src") + b"/" + name)).write_text("")
    code, file = _refused(folder)
    assert code == "tree-name"
    file.encode()  # can be shown


def test_odd_targets_are_refused(folder: Path) -> None:
    os.symlink(b"x\xff", os.fsencode(folder / "odd"))  # noqa: PTH211
    assert _refused(folder) == ("tree-name", "odd")


def test_pipes_and_sockets_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(folder / "src" / "pipe")
    assert _refused(folder) == ("tree-kind", "src/pipe")
    (folder / "src" / "pipe").unlink()
    monkeypatch.chdir(folder)  # a socket's path has to be short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("sock")
        assert _refused(folder) == ("tree-kind", "sock")


def test_devices_are_refused() -> None:
    with pytest.raises(BuildError) as caught:
        _entry(Path("/dev"), "null")
    assert caught.value.code == "tree-kind"
    assert caught.value.context["actual"] == "a device"


def test_what_cannot_be_read_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(BuildError) as caught:
        Tree.read(tmp_path / "missing")
    assert caught.value.code == "tree-unreadable"
    with pytest.raises(BuildError) as caught:
        Tree.read(folder / "run")
    assert caught.value.code == "tree-unreadable"
    if os.geteuid() == 0:
        pytest.skip("root reads everything")
    (folder / "src" / "main.py").chmod(0)
    assert _refused(folder) == ("tree-unreadable", "src/main.py")


def test_sparse_files_are_read_in_pieces(folder: Path) -> None:
    with (folder / "huge").open("wb") as file:
        file.truncate(96 << 20)
    tree = Tree.read(folder)
    (entry,) = [entry for entry in tree.entries if entry.path == "huge"]
    assert entry.size == 96 << 20
    assert max(len(piece) for piece in tree.content(entry)) <= 1 << 20


def test_a_file_that_changed_since_is_noticed(folder: Path) -> None:
    tree = Tree.read(folder)
    (entry,) = [entry for entry in tree.entries if entry.path == "src/main.py"]
    assert b"".join(tree.content(entry)) == b"print('hello')\n"
    _edit(folder)
    with pytest.raises(BuildError) as caught:
        b"".join(tree.content(entry))
    assert caught.value.code == "tree-changed"


@pytest.mark.parametrize("become", ["pipe", "link", "nothing"])
def test_a_file_that_became_something_else_is_neither_followed_nor_waited_for(
    folder: Path, tmp_path: Path, become: str
) -> None:
    tree = Tree.read(folder)
    (entry,) = [entry for entry in tree.entries if entry.path == "run"]
    (folder / "run").unlink()
    if become == "pipe":
        os.mkfifo(folder / "run")
    elif become == "link":
        (tmp_path / "same").write_text("#!/bin/sh\n")
        (folder / "run").symlink_to(tmp_path / "same")
    with pytest.raises(BuildError) as caught:
        b"".join(tree.content(entry))
    assert caught.value.code == {"pipe": "tree-changed"}.get(become, "tree-unreadable")
