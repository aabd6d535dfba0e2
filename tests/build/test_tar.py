# SPDX-License-Identifier: Apache-2.0
"""Tar archives: ours have one form, and of others' only what all readers understand alike is read."""

import contextlib
import io
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nacre.build import cpio, tar, tar_read
from nacre.build.cpio import Member
from nacre.errors import BuildError

Form = Literal[0, 1, 2]
LONG = "/".join(["a-folder-with-a-long-name"] * 12)
MEMBERS = (
    cpio.file("usr/bin/tool", b"#!", program=True),
    cpio.file("empty", b""),
    cpio.file("block", b"b" * 512),
    cpio.folder("var"),
    cpio.link("usr/tool", "bin/tool"),
    cpio.file(f"{LONG}/file", b"deep"),
    cpio.link("long", LONG),
    cpio.file("naïve", b"1"),
)


def written(*members: Member) -> bytes:
    stream = io.BytesIO()
    tar.write(stream, members)
    return stream.getvalue()


def read(data: bytes) -> list[tar_read.Entry]:
    return list(tar_read.entries(io.BytesIO(data), len(data)))


def info(name: str, kind: bytes = tarfile.REGTYPE, **fields: object) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.type = kind
    for field, value in fields.items():
        setattr(header, field, value)
    return header


def archive(*headers: tarfile.TarInfo, form: Form = tarfile.PAX_FORMAT, end: bytes = bytes(1024)) -> bytes:
    whole = b""
    for header in headers:
        whole += header.tobuf(form, "utf-8", "surrogateescape") + bytes(-(-header.size // 512) * 512)
    return whole + end


def patched(block: bytes, position: int, value: bytes) -> bytes:
    """Change a header and repair its checksum."""
    changed = block[:position] + value + block[position + len(value) :]
    total = sum(changed[:148]) + 8 * 32 + sum(changed[156:512])
    return changed[:148] + b"%06o\0 " % total + changed[156:]


def code(data: bytes) -> str:
    with pytest.raises(BuildError) as caught:
        read(data)
    return caught.value.code


def test_what_is_written_is_read() -> None:
    data = written(*MEMBERS)
    found = {entry.name: entry for entry in read(data)}
    assert list(found) == sorted(found, key=str.encode)
    for member in MEMBERS:
        entry = found[member.entry.path]
        if member.entry.kind in {"file", "program"}:
            assert data[entry.start : entry.start + entry.size] == b"".join(member.content)
            assert entry.mode == (0o755 if member.entry.kind == "program" else 0o644)
        else:
            assert (entry.kind, entry.target) == (member.entry.kind, member.entry.target)
    assert found["usr/bin"].kind == "folder"


def test_the_standard_library_and_gnu_tar_read_it(tmp_path: Path) -> None:
    data = written(*MEMBERS)
    with tarfile.open(fileobj=io.BytesIO(data)) as opened:
        for one in opened:
            assert (one.uid, one.gid, one.uname, one.gname, one.mtime) == (0, 0, "", "", 0)
    (tmp_path / "layer.tar").write_bytes(data)
    command = ["tar", "--extract", "--no-same-owner", "--file", "layer.tar"]
    subprocess.run(command, check=True, cwd=tmp_path)
    assert (tmp_path / "usr" / "tool").read_bytes() == b"#!"
    assert (tmp_path / LONG / "file").read_bytes() == b"deep"


def test_the_order_of_entries_is_not_the_callers() -> None:
    assert written(*MEMBERS) == written(*reversed(MEMBERS))


def test_a_file_that_grew_is_noticed() -> None:
    grown = Member(cpio.file("a", b"1").entry, (b"12",))
    with pytest.raises(BuildError) as caught:
        written(grown)
    assert caught.value.code == "tree-changed"


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_names_of_both_kinds(form: Form) -> None:
    target = "t" * 300
    data = archive(info(f"{LONG}/x", size=3), info("l", tarfile.SYMTYPE, linkname=target), form=form)
    assert [(one.name, one.size, one.target) for one in read(data)] == [
        (f"{LONG}/x", 3, ""),
        ("l", 0, target),
    ]


def test_a_name_in_two_parts() -> None:
    name = "/".join(["part"] * 40)
    assert [one.name for one in read(archive(info(name), form=tarfile.USTAR_FORMAT))] == [name]


def test_the_oldest_form() -> None:
    block = patched(archive(info("old"), end=b"")[:512], 257, bytes(8))
    assert [one.name for one in read(block + bytes(1024))] == ["old"]


def test_kinds_modes_and_attributes() -> None:
    headers = (
        info("d", tarfile.DIRTYPE, mode=0o1777),
        info("h", tarfile.LNKTYPE, linkname="f"),
        info("c", tarfile.CHRTYPE),
        info("b", tarfile.BLKTYPE),
        info("p", tarfile.FIFOTYPE),
        info("s", mode=0o4755, pax_headers={"SCHILY.xattr.path": "x", "mtime": "1.5"}),
    )
    found = read(archive(*headers))
    assert [one.kind for one in found] == [
        *("folder", "hard link", "character device", "block device", "pipe", "file")
    ]
    assert (found[0].mode, found[1].target, found[5].mode) == (0o1777, "f", 0o4755)
    assert (found[5].name, found[5].attributes) == ("s", ("path",))


def test_a_size_beyond_octal_is_read_and_missed() -> None:
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        header = info("huge", size=1 << 36).tobuf(form, "utf-8", "strict")
        with pytest.raises(BuildError, match="68719476736 bytes of content"):
            read(header)


def test_comments_for_all_are_passed_over() -> None:
    comment = tarfile.TarInfo.create_pax_global_header({"comment": "of a commit"})
    assert [one.name for one in read(comment + archive(info("a")))] == ["a"]


def test_an_archive_may_end_without_zeros() -> None:
    assert len(read(archive(info("a"), end=b""))) == 1
    assert read(b"") == []


def _pax(**records: str) -> bytes:
    """Return an extended header alone."""
    return info("x", pax_headers=records).tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")[:-512]


def _refused() -> Iterator[tuple[str, bytes]]:
    plain = archive(info("a"), end=b"")
    yield "cut", plain[:-1]
    yield "cut in the padding", archive(info("a", size=1), end=b"")[:-1]
    yield "bytes after the end", plain + bytes(1024) + b"x" * 512
    yield "checksum", plain[:148] + b"0000000\0" + plain[156:]
    yield "checksum no number", plain[:148] + b"zzzzzzz\0" + plain[156:]
    yield "magic", patched(plain, 257, b"ustar\x0001")
    yield "sparse", patched(plain, 156, b"S")
    yield "unknown type", patched(plain, 156, b"V")
    yield "negative size", patched(plain, 124, b"\xff" * 12)
    yield "size no octal", patched(plain, 124, b"00000000009\0")
    yield "folder with content", patched(archive(info("d", tarfile.DIRTYPE)), 124, b"00000000001\0")
    yield "file with a folder's name", patched(plain, 0, b"a/")
    yield "name no UTF-8", patched(plain, 0, b"\xff")
    yield "name after its end", patched(plain, 0, b"a\0b")
    yield "two extended headers", _pax(path="b") + _pax(path="c") + plain
    yield "nothing extended", _pax(path="b")
    yield "sparse of pax", _pax(**{"GNU.sparse.major": "1"}) + plain
    yield "binary names", _pax(hdrcharset="BINARY") + plain
    yield "name for all", tarfile.TarInfo.create_pax_global_header({"path": "b"}) + plain
    yield "size no number", _pax(size="-1") + plain
    yield "size too long", _pax(size="9" * 19) + plain
    yield "record longer than its header", _changed_records(b"9 a=b\n") + plain
    yield "record without a line's end", _changed_records(b"6 a=bc") + plain
    yield "record without a value", _changed_records(b"5 ab\n") + plain
    yield "record twice", _changed_records(b"6 a=b\n6 a=c\n") + plain
    yield "record of no bytes", _changed_records(b"0 a=b\n") + plain
    large = info("x", tarfile.XHDTYPE, size=(1 << 20) + 1)
    yield "extended header too large", archive(large, end=b"") + plain


def _changed_records(records: bytes) -> bytes:
    header = info("x", tarfile.XHDTYPE, size=len(records))
    return header.tobuf(tarfile.USTAR_FORMAT, "utf-8", "strict") + records + bytes(-len(records) % 512)


@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in _refused()])
def test_what_readers_would_understand_differently_is_refused(data: bytes) -> None:
    assert code(data) == "layer-malformed"


def test_a_stream_that_is_shorter_than_it_is_said_to_be() -> None:
    with pytest.raises(BuildError):
        list(tar_read.entries(io.BytesIO(bytes(100)), 512))


@settings(max_examples=300)
@given(st.integers(0, 4095), st.integers(1, 255))
def test_no_foreign_exception(position: int, change: int) -> None:
    data = bytearray(written(*MEMBERS))
    data[position] ^= change
    with contextlib.suppress(BuildError):
        read(bytes(data))
