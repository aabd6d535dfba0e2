# SPDX-License-Identifier: Apache-2.0
"""Archives for a kernel: one form for one content, and read by other programs too."""

import contextlib
import io
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nacre.build.cpio import Member, file, folder, link, members, read, write
from nacre.build.tree import Entry, Tree
from nacre.errors import BuildError

_ALL = (
    file("init", b"#!/usr/bin/python3\n", program=True),
    folder("etc"),
    file("etc/hostname", b"enclave"),
    link("bin", "usr/bin"),
    folder("usr/bin"),
    file("empty", b""),
)


def _archive(*content: Member) -> bytes:
    stream = io.BytesIO()
    write(stream, content)
    return stream.getvalue()


def _plain(content: tuple[Member, ...]) -> list[tuple[str, str, bytes]]:
    return [(one.entry.path, one.entry.kind, b"".join(one.content)) for one in content]


def test_bytes_are_known() -> None:
    header = "070701" + "00000001000081A40000000000000000000000010000000000000003" + "00000000" * 4
    trailer = "070701" + "0" * 32 + "00000001" + "0" * 48 + "0000000B" + "00000000"
    assert _archive(file("a", b"xyz")) == (
        (header + "00000002" + "00000000").encode() + b"a\0xyz\0" + trailer.encode() + b"TRAILER!!!\0\0\0\0"
    )


def test_order_of_adding_does_not_matter() -> None:
    assert _archive(*_ALL) == _archive(*reversed(_ALL))
    assert len(_archive(*_ALL)) % 4 == 0


def test_what_is_written_is_read() -> None:
    assert _plain(read(_archive(*_ALL))) == [
        ("bin", "link", b"usr/bin"),
        ("empty", "file", b""),
        ("etc", "folder", b""),
        ("etc/hostname", "file", b"enclave"),
        ("init", "program", b"#!/usr/bin/python3\n"),
        ("usr", "folder", b""),  # added
        ("usr/bin", "folder", b""),
    ]


def test_another_program_unpacks_it(tmp_path: Path) -> None:
    cpio = shutil.which("cpio")
    if cpio is None:
        pytest.skip("cpio is not installed")
    subprocess.run([cpio, "-i", "--quiet"], input=_archive(*_ALL), cwd=tmp_path, check=True)
    assert (tmp_path / "etc" / "hostname").read_bytes() == b"enclave"
    assert (tmp_path / "bin").readlink() == Path("usr/bin")
    assert os.access(tmp_path / "init", os.X_OK)


def test_a_tree_goes_in_whole(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "run").write_text("#!")
    (tmp_path / "deep" / "run").chmod(0o700)
    (tmp_path / "again").symlink_to("deep/run")
    tree = Tree.read(tmp_path)
    assert _plain(read(_archive(*members(tree, below="app")))) == [
        ("app", "folder", b""),
        ("app/again", "link", b"deep/run"),
        ("app/deep", "folder", b""),
        ("app/deep/run", "program", b"#!"),
    ]
    (tmp_path / "deep" / "run").write_text("#?")
    with pytest.raises(BuildError) as caught:
        _archive(*members(tree, below="app"))
    assert caught.value.code == "tree-changed"


@pytest.mark.parametrize(
    "path", ["", ".", "/etc", "..", "../x", "a/../b", "a//b", "./a", "a/", "a\nb", "TRAILER!!!", "x" * 4096]
)
def test_paths_that_are_none_are_refused(path: str) -> None:
    with pytest.raises(BuildError) as caught:
        _archive(file(path, b""))
    assert caught.value.code == "image-path"
    assert str(caught.value)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ((file("a", b"1"), file("a", b"2")), "image-twice"),
        ((file("a", b"1"), file("a/b", b"2")), "image-parent"),
        ((link("a", "b"), file("a/b/c", b"2")), "image-parent"),
        ((Member(Entry(path="a", kind="file", size=1 << 32), ()),), "image-size"),
        ((Member(Entry(path="a", kind="file", size=2), (b"x",)),), "tree-changed"),
    ],
)
def test_contents_that_cannot_be_are_refused(content: tuple[Member, ...], code: str) -> None:
    with pytest.raises(BuildError) as caught:
        _archive(*content)
    assert caught.value.code == code
    assert str(caught.value)


def _refused(data: bytes) -> None:
    with pytest.raises(BuildError) as caught:
        read(data)
    assert caught.value.code == "image-malformed"


def _read(data: bytes) -> tuple[Member, ...] | None:
    """Read, or refuse with the one reason there is."""
    with contextlib.suppress(BuildError):
        return read(data)
    _refused(data)
    return None


def test_every_changed_byte_is_noticed_or_content() -> None:
    data = _archive(*_ALL)
    whole = _plain(read(data))
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 1
        seen = _read(bytes(changed))
        if seen is not None:
            assert _plain(seen) != whole
            assert _archive(*seen) == changed


def test_cut_and_longer_archives_are_refused() -> None:
    data = _archive(*_ALL)
    for length in range(len(data)):
        _refused(data[:length])
    _refused(data + bytes(4))
    _refused(data + data)


def test_other_spellings_are_refused() -> None:
    data = _archive(file("a", b"1"), file("b", b"2"))
    one, two = data[:116], data[116:232]
    _refused(two + one + data[232:])  # another order
    _refused(data[232:].join((one, b"")) + data[232:])  # after the end
    _refused(_archive(folder("a"), file("a/b", b""))[116:])  # no folder
    _refused(_archive(link("a", "b")).replace(b"b\0\0\0", b"\xff\0\0\0"))
    _refused(data.replace(b"81A4", b"81a4"))
    _refused(data.replace(b"81A4", b"89A4"))  # set-user-id
    _refused(b"070702" + data[6:])


_NAMES = st.from_regex(r"[a-z]{1,3}(/[a-z]{1,3}){0,2}", fullmatch=True)


@given(st.dictionaries(_NAMES, st.binary(max_size=9), max_size=5))
def test_any_files_come_back(contents: dict[str, bytes]) -> None:
    content = [file(f"{path}.x", content) for path, content in contents.items()]
    read_again = {path: data for path, kind, data in _plain(read(_archive(*content))) if kind == "file"}
    assert read_again == {f"{path}.x": data for path, data in contents.items()}


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    found = _read(data)
    assert found is None or _archive(*found) == data
