# SPDX-License-Identifier: Apache-2.0
"""What is in a package, and what no package may bring."""

import gzip
import lzma
import tarfile

import pytest
from tests.build.debian import archive
from tests.build.debian.archive import ar, entry

from nacre.build.debian import deb
from nacre.build.packed import plain
from nacre.errors import BuildError

_FORMAT = ("debian-binary", b"2.0\n")


def _refused(data: bytes) -> tuple[str, str]:
    with pytest.raises(BuildError) as caught:
        list(deb.read(data, what="it"))
    assert "it" in str(caught.value)
    return caught.value.code, str(caught.value)


def test_files_lie_where_a_merged_system_has_them() -> None:
    found = deb.read(
        archive.deb(
            [
                entry("./", type=tarfile.DIRTYPE),
                entry("./bin/", type=tarfile.DIRTYPE),
                entry("./bin/su", b"run", mode=0o4755),
                entry("./lib/x.so", b"\x7fELF"),
                entry("./usr/lib/one", b"content"),
                entry("./usr/lib/two", type=tarfile.LNKTYPE, linkname="./usr/lib/one"),
                entry("./usr/lib/x", type=tarfile.SYMTYPE, linkname="/etc/x"),
            ]
        ),
        what="it",
    )
    assert [(one.entry.path, one.entry.kind, b"".join(one.content)) for one in found] == [
        ("usr/bin/su", "program", b"run"),
        ("usr/lib/x.so", "file", b"\x7fELF"),
        ("usr/lib/one", "file", b"content"),
        ("usr/lib/two", "file", b"content"),
        ("usr/lib/x", "link", b"/etc/x"),
    ]


@pytest.mark.parametrize(
    "pack", [("data.tar", bytes), ("data.tar.gz", gzip.compress), ("data.tar.xz/", lzma.compress)]
)
def test_every_kind_of_packing_is_read(pack: tuple[str, object]) -> None:
    name, function = pack
    assert callable(function)
    content = function(archive.data([entry("./a", b"1")]))
    assert [one.entry.path for one in deb.read(ar(_FORMAT, (name, content)), what="it")] == ["a"]


@pytest.mark.parametrize(
    "path", ["../../etc/cron.d/x", "/etc/x", "./a/../../b", "./a//b", "./a/./b", "./a\nb", ".."]
)
def test_a_path_that_is_none_is_refused(path: str) -> None:
    code, words = _refused(archive.deb([entry(path, b"x")]))
    assert code == "package-malformed"
    assert ascii(path.removeprefix("./"))[1:-1] in words


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_a_device_or_pipe_is_refused(kind: bytes) -> None:
    code, words = _refused(archive.deb([entry("./dev/null", type=kind)]))
    assert code == "package-kind"
    assert "dev/null" in words


def test_a_hard_link_has_to_lead_to_a_file_before_it() -> None:
    for target in ("./b", "./../b", "./link"):
        entries = [entry("./link", type=tarfile.SYMTYPE, linkname="b")]
        entries.append(entry("./a", type=tarfile.LNKTYPE, linkname=target))
        assert _refused(archive.deb(entries))[0] == "package-malformed"


def test_nothing_is_missing_and_nothing_stands_behind() -> None:
    content = archive.data([entry("./a", b"1" * 1000), entry("./b", b"2" * 1000)])
    for packed in (
        lzma.compress(content)[:-8],
        lzma.compress(content) + b"more",
        lzma.compress(content) + lzma.compress(b""),
        lzma.compress(content, format=lzma.FORMAT_ALONE),
        lzma.compress(content[:1500]),
        b"",
    ):
        assert _refused(ar(_FORMAT, ("data.tar.xz", packed)))[0] == "package-malformed"
    packed = gzip.compress(content)
    for changed in (packed[:-1], packed + packed, packed[:-8] + bytes(8)):
        assert _refused(ar(_FORMAT, ("data.tar.gz", changed)))[0] == "package-malformed"


def test_only_one_archive_of_ar_is_a_package() -> None:
    sound = archive.deb([entry("./a", b"1")])
    content = ("data.tar", archive.data([]))
    for data in (
        *(b"", sound[8:], sound[:-1], sound[:100], sound.replace(b"`\n", b"``", 1)),
        *(ar(content), ar(_FORMAT), ar(("debian-binary", b"3.0\n"), content), ar(_FORMAT, content, content)),
        *(sound.replace(b"4         `", b"-4        `", 1), sound.replace(b"4         `", b"9999999999`", 1)),
        sound.replace(b"4         `", b"0_4       `", 1),
    ):
        assert _refused(data)[0] == "package-malformed"


def test_what_this_python_cannot_unpack_is_named() -> None:
    code, words = _refused(ar(_FORMAT, ("data.tar.zst", b"")))
    assert code == "package-compression"
    assert "zst" in words


def test_a_bomb_is_no_more_than_its_limit() -> None:
    for form, bomb in (("xz", lzma.compress(bytes(1 << 22))), ("gz", gzip.compress(bytes(1 << 22)))):
        with pytest.raises(BuildError) as caught:
            plain(bomb, "xz" if form == "xz" else "gz", what="it", limit=1 << 20)
        assert caught.value.code == "package-malformed"
        assert str(1 << 20) in str(caught.value)
