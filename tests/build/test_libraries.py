# SPDX-License-Identifier: Apache-2.0
"""Which libraries files need, with every link on the way; and what is no program although it says so."""

from struct import pack

import pytest

from nacre.build.cpio import Member, file, link
from nacre.build.elf import read
from nacre.build.libraries import destination, needed
from nacre.build.rootfs import Files, application, contributors
from nacre.errors import BuildError

_SYSTEM = "usr/lib/x86_64-linux-gnu"


def elf(*libraries: str, interpreter: str = "", runpath: str = "") -> bytes:
    """Return a program that needs these libraries, and nothing more of one."""
    texts, places = b"\0", {}
    for text in (*libraries, interpreter, runpath):
        places[text] = len(texts)
        texts += text.encode() + b"\0"
    pairs = [(1, places[name]) for name in libraries] + ([(29, places[runpath])] if runpath else [])
    count = 2 + bool(interpreter)
    strings = 64 + 56 * count
    dynamic = strings + len(texts)
    section = b"".join(pack("<qQ", tag, value) for tag, value in [*pairs, (5, strings), (0, 0)])
    segments = [(1, 0, dynamic + len(section)), (2, dynamic, len(section))]
    if interpreter:
        segments.append((3, strings + places[interpreter], len(interpreter) + 1))
    head = (
        b"\x7fELF\x02\x01\x01"
        + bytes(9)
        + pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, 64, 0, 0, 64, 56, count, 0, 0, 0)
    )
    table = b"".join(pack("<IIQQQQQQ", kind, 4, at, at, at, size, size, 1) for kind, at, size in segments)
    return head + table + texts + section


def _placed(*members: Member) -> dict[str, Member]:
    return {one.entry.path: one for one in members}


def test_links_on_the_way_to_a_library_come_along() -> None:
    available = _placed(
        link(f"{_SYSTEM}/liba.so.1", "liba.so.1.2"),
        file(f"{_SYSTEM}/liba.so.1.2", elf("libb.so")),
        link(f"{_SYSTEM}/libb.so", "/lib/deep/libb.so"),
        file("usr/lib/deep/libb.so", elf()),
        file(f"{_SYSTEM}/unused.so", elf()),
        file("usr/lib64/ld.so", elf()),
        file("app/own/libc.so", elf()),
    )
    program = file(
        "app/program", elf("liba.so.1", "libc.so", interpreter="/lib64/ld.so", runpath="$ORIGIN/own")
    )
    assert needed([program], available) == (
        *("app/own/libc.so", "usr/lib/deep/libb.so", f"{_SYSTEM}/liba.so.1", f"{_SYSTEM}/liba.so.1.2"),
        *(f"{_SYSTEM}/libb.so", "usr/lib64/ld.so"),
    )
    assert needed([file("app/text", b"liba.so.1"), file("app/empty", b"")], available) == ()


def test_a_library_that_is_not_there_is_named() -> None:
    circle = _placed(link(f"{_SYSTEM}/liba.so", "libb.so"), link(f"{_SYSTEM}/libb.so", "liba.so"))
    for available in ({}, circle):
        with pytest.raises(BuildError) as caught:
            needed([file("app/program", elf("liba.so"))], available)
        assert caught.value.code == "elf-library"
        assert "app/program" in str(caught.value)
        assert "liba.so" in str(caught.value)


def test_any_damage_to_a_program_is_refused_or_means_nothing() -> None:
    sound = elf("liba.so", interpreter="/lib64/ld.so", runpath="/x")
    assert read(sound, file="it") is not None
    for length in range(len(sound)):
        try:
            read(sound[:length], file="it")
        except BuildError as error:
            assert error.code == "elf-malformed"  # noqa: PT017
    for at in range(len(sound)):
        for value in (0, 0xFF, sound[at] ^ 0x80):
            try:
                read(sound[:at] + bytes([value]) + sound[at + 1 :], file="it")
            except BuildError as error:
                assert error.code == "elf-malformed"  # noqa: PT017


def test_a_path_is_followed_through_links() -> None:
    placed = _placed(
        link("lib", "usr/lib"),
        link("usr/lib/a", "../share/./b//c"),
        link("usr/share/b", "/opt/b"),
        link("up", "../../../etc"),
        link("one", "other"),
        link("other", "one"),
        file("usr/lib/file", b""),
    )
    for path, expected in (
        ("lib/file", "usr/lib/file"),
        ("lib/a/x", "opt/b/c/x"),
        ("up/passwd", "etc/passwd"),
        ("one", ""),
        ("none/../lib", "usr/lib"),
    ):
        assert destination(path, placed) == expected


def test_links_are_kept_if_they_lead_somewhere() -> None:
    tool = (
        file("usr/share/deep/inner/file", b"1"),
        link("usr/share/short", "deep"),
        link("usr/share/through", "short/inner/file"),
        link("usr/share/dead", "none"),
        link("usr/share/out", "/proc/mounts"),
        file("usr/share/doc/tool/copyright", b""),
    )
    files = Files({"tool": tool, "idle": (file("usr/share/man/x", b""),)}, {})
    tree = [file("app/real/data", b"2"), link("app/folder", "real"), link("app/data", "folder/data")]
    found = application(files, python="3.11", tree=tree, wheels=(), below=())
    assert {one.entry.path for one in found} == {
        *("app/real/data", "app/folder", "app/data", "usr/share/deep/inner/file", "usr/share/short"),
        "usr/share/through",
    }
    assert contributors(found, files) == {"tool"}


def test_certificates_are_one_file_in_order() -> None:
    folder = "usr/share/ca-certificates/mozilla"
    files = Files({"ca-certificates": (file(f"{folder}/b.crt", b"b\n"), file(f"{folder}/a.crt", b"a\n"))}, {})
    found = _placed(*application(files, python="3.11", tree=(), wheels=(), below=()))
    assert b"".join(found["etc/ssl/certs/ca-certificates.crt"].content) == b"a\nb\n"


def test_what_both_layers_have_alike_is_there_once() -> None:
    below = (file("usr/a", b"1"), link("lib", "usr/lib"))
    files = Files({}, {})
    found = application(
        files, python="3.11", tree=[file("usr/a", b"1"), file("b", b"")], wheels=(), below=below
    )
    assert [one.entry.path for one in found] == ["b"]
    for tree, code in (
        ([file("usr/a", b"2")], "image-twice"),
        ([file("lib/x", b"")], "image-parent"),
        ([file("usr/a/x", b"")], "image-parent"),
        ([file("a\nb", b"")], "image-path"),
        ([file("a/../b", b"")], "image-path"),
        ([file("etc/nacre/boot.d/x", b"")], "image-ours"),
    ):
        with pytest.raises(BuildError) as caught:
            application(files, python="3.11", tree=tree, wheels=(), below=below)
        assert caught.value.code == code
