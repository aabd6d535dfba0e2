# SPDX-License-Identifier: Apache-2.0
"""Layers on top of each other: what removes, what replaces, and what leads nowhere."""

import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from nacre.build.layers import Layers
from nacre.errors import BuildError

File = tuple[str, bytes]


def header(name: str, kind: bytes, target: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type, found.linkname, found.mode = kind, target, mode
    return found


def folder(name: str) -> tarfile.TarInfo:
    return header(name, tarfile.DIRTYPE)


def link(name: str, target: str) -> tarfile.TarInfo:
    return header(name, tarfile.SYMTYPE, target)


def hard(name: str, target: str) -> tarfile.TarInfo:
    return header(name, tarfile.LNKTYPE, target)


def layer(path: Path, entries: Sequence[tarfile.TarInfo | File | str]) -> Path:
    """Write an archive; a name alone is an empty file."""
    with path.open("wb") as stream:
        for entry in entries:
            if isinstance(entry, str):
                entry = (entry, b"")  # noqa: PLW2901
            content = b""
            if isinstance(entry, tuple):
                name, content = entry
                entry = tarfile.TarInfo(name)  # noqa: PLW2901
                entry.size = len(content)
            stream.write(entry.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape"))
            stream.write(content + bytes(-len(content) % 512))
        stream.write(bytes(1024))
    return path


def together(tmp_path: Path, *layers: Sequence[tarfile.TarInfo | File | str]) -> Layers:
    found = Layers()
    for number, entries in enumerate(layers):
        found.add(layer(tmp_path / f"{number}.tar", entries))
    return found


def names(found: Layers) -> set[str]:
    return {member.entry.path for member in found.members}


LOWER = (folder("d"), "d/a", folder("d/e"), "d/e/x", "f", link("l", "d"))


@pytest.mark.parametrize(
    ("upper", "expected"),
    [
        ([], {"d", "d/a", "d/e", "d/e/x", "f", "l"}),
        (["d/.wh.a"], {"d", "d/e", "d/e/x", "f", "l"}),
        ([".wh.d"], {"f", "l"}),
        ([".wh.l", ".wh.nothing"], {"d", "d/a", "d/e", "d/e/x", "f"}),
        (["d/.wh..wh..opq"], {"d", "f", "l"}),
        (["d/new", "d/.wh..wh..opq"], {"d", "d/new", "f", "l"}),
        ([".wh..wh..opq", "only"], {"only"}),
        ([folder("d"), "d/.wh.e", folder("d/e"), "d/e/y"], {"d", "d/a", "d/e", "d/e/y", "f", "l"}),
        (["d"], {"d", "f", "l"}),
        ([link("d", "f")], {"d", "f", "l"}),
        ([folder("d")], {"d", "d/a", "d/e", "d/e/x", "f", "l"}),
        ([folder("f"), "f/x"], {"d", "d/a", "d/e", "d/e/x", "f", "f/x", "l"}),
        ([folder("./"), "./g"], {"d", "d/a", "d/e", "d/e/x", "f", "g", "l"}),
        ([folder(".")], {"d", "d/a", "d/e", "d/e/x", "f", "l"}),
    ],
)
def test_what_is_left(tmp_path: Path, upper: list[tarfile.TarInfo | File | str], expected: set[str]) -> None:
    assert names(together(tmp_path, LOWER, upper)) == expected


def test_contents_are_those_on_top(tmp_path: Path) -> None:
    found = together(tmp_path, [("a", b"1"), ("b", b"1")], [("a", b"22")])
    assert {member.entry.path: b"".join(member.content) for member in found.members} == {
        "a": b"22",
        "b": b"1",
    }


def test_hard_links_are_files_of_their_own(tmp_path: Path) -> None:
    found = together(tmp_path, [("a", b"1")], [("b", b"2"), hard("c", "b"), hard("d", "./a")], [("a", b"3")])
    data = {member.entry.path: b"".join(member.content) for member in found.members}
    assert data == {"a": b"3", "b": b"2", "c": b"2", "d": b"1"}


@pytest.mark.parametrize(
    ("upper", "code"),
    [
        ([("../a", b"")], "image-path"),
        (["/a"], "image-path"),
        (["d/../../a"], "image-path"),
        (["d//a"], "image-path"),
        (["a\nb"], "image-path"),
        (["././a"], "image-path"),
        ([".wh..."], "image-path"),
        (["d/.wh..."], "image-path"),
        ([".wh."], "image-path"),
        (["d/.wh."], "image-path"),
        (["d/.wh.."], "image-path"),
        ([".wh.d/x"], "layer-entry"),
        ([".wh..wh.plnk"], "layer-entry"),
        (["./"], "layer-malformed"),
        ([link("./", "d")], "layer-entry"),
        (["new", "new"], "layer-entry"),
        ([folder("new"), folder("new")], "layer-entry"),
        (["new", "./new"], "layer-entry"),
        (["l/through"], "layer-entry"),
        (["f/below"], "layer-entry"),
        (["new", "new/below"], "layer-entry"),
        ([hard("h", "missing")], "layer-entry"),
        ([hard("h", "../f")], "image-path"),
        ([hard("h", "/f")], "image-path"),
        ([hard("h", "d")], "layer-entry"),
        ([hard("h", "l")], "layer-entry"),
        ([hard("h", "./")], "layer-entry"),
        ([hard("h", "h")], "layer-entry"),
        ([hard("h", "f"), ".wh.f"], "layer-entry"),
        ([hard("h", "late"), "late"], "layer-entry"),
    ],
)
def test_what_leads_elsewhere_or_could_mean_two_things(
    tmp_path: Path, upper: list[tarfile.TarInfo | File | str], code: str
) -> None:
    with pytest.raises(BuildError) as caught:
        together(tmp_path, LOWER, upper)
    assert caught.value.code == code


def test_what_has_no_place_is_named(tmp_path: Path) -> None:
    sudo = header("sudo", tarfile.REGTYPE, mode=0o6755)
    ping = header("ping", tarfile.REGTYPE)
    ping.pax_headers = {"SCHILY.xattr.security.capability": "x"}
    lower = [header("null", tarfile.CHRTYPE), header("pipe", tarfile.FIFOTYPE), sudo, ping]
    found = together(tmp_path, lower, [".wh.pipe"])
    assert found.left_out == ("null: character device", "sudo: setuid, setgid", "ping: security.capability")
    assert names(found) == {"sudo", "ping"}
    assert {member.entry.kind for member in found.members} == {"program", "file"}


def test_a_layer_that_changes_meanwhile_is_noticed(tmp_path: Path) -> None:
    found = together(tmp_path, [("a", b"1")])
    (tmp_path / "0.tar").write_bytes(layer(tmp_path / "other.tar", [("a", b"2")]).read_bytes())
    with pytest.raises(BuildError) as caught:
        b"".join(found.members[0].content)
    assert caught.value.code == "tree-changed"
    (tmp_path / "0.tar").unlink()
    with pytest.raises(BuildError) as caught:
        b"".join(found.members[0].content)
    assert caught.value.code == "tree-unreadable"
