# SPDX-License-Identifier: Apache-2.0
"""A mirror that lies about its index is found out before anything of it is used."""

import lzma
import shutil
import tempfile
from pathlib import Path

import pytest
from tests.build.debian.archive import Archive, Key

from nacre.build.debian.index import Package, packages, read, snapshot
from nacre.build.debian.sources import Mirror
from nacre.build.download import Download
from nacre.errors import BuildError


def _mirror(archive: Archive, suite: str = "bookworm") -> Mirror:
    return Mirror(archive.url, suite, str(archive.key.keyring))


def _listed(archive: Archive) -> list[Package]:
    _, text = snapshot(_mirror(archive), download=Download())
    return list(packages(_mirror(archive), text, download=Download()))


def _refused(archive: Archive) -> str:
    with pytest.raises(BuildError) as caught:
        _listed(archive)
    assert "bookworm" in str(caught.value)
    return caught.value.code


def _index(archive: Archive) -> Path:
    return archive.folder / "dists/bookworm/InRelease"


def test_packages_are_those_of_the_signed_list(archive: Archive) -> None:
    found = {package.name: package for package in _listed(archive)}
    assert found.keys() == archive.packages.keys()
    assert found["libc6"].version == "2.36-9+deb12u1"
    assert found["libpython3.11-stdlib"].depends == ("libpython3.11-minimal", "nothing-real | libc6")
    state, _ = snapshot(_mirror(archive), download=Download())
    assert (state.suite, state.date) == ("bookworm", "Wed, 25 Nov 2026 00:00:00 UTC")


def test_a_list_is_taken_by_its_digest_first(archive: Archive) -> None:
    lists = archive.folder / "dists/bookworm/main/binary-amd64"
    _, text = snapshot(_mirror(archive), download=Download())
    digest = text.rpartition(" main/")[0].split()[-2]
    (lists / "by-hash/SHA256").mkdir(parents=True)
    (lists / "Packages.xz").rename(lists / "by-hash/SHA256" / digest)
    assert len(_listed(archive)) == len(archive.packages)


def test_an_index_has_to_be_signed(archive: Archive) -> None:
    signed = _index(archive).read_bytes()
    for changed in (
        signed.replace(b"Date: Wed", b"Date: Tue"),
        signed[: signed.index(b"-----BEGIN PGP SIGNATURE")],
        signed[:-40],
        b"Codename: bookworm\n",
        b"",
        b"\xff" * 100,
    ):
        _index(archive).write_bytes(changed)
        assert _refused(archive) == "index-unsigned"


def test_what_stands_outside_the_signature_is_nobody_s(archive: Archive) -> None:
    signed = _index(archive).read_bytes()
    _index(archive).write_bytes(b"Codename: bookworm\nSHA256:\n evil\n\n" + signed)
    assert len(_listed(archive)) == len(archive.packages)
    _index(archive).write_bytes(signed + b"\nCodename: other\n")
    state, text = snapshot(_mirror(archive), download=Download())
    assert state.suite == "bookworm"
    assert "other" not in text


def test_another_key_signs_for_nobody(archive: Archive) -> None:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        other = Key.make(Path(folder) / "key")
        Archive(archive.folder, other).publish("bookworm")
        assert _refused(archive) == "index-unsigned"
        other.end()


def test_a_keyring_that_is_not_there_is_nobody_s(archive: Archive, tmp_path: Path) -> None:
    mirror = Mirror(archive.url, "bookworm", str(tmp_path / "none.gpg"))
    with pytest.raises(BuildError) as caught:
        snapshot(mirror, download=Download())
    assert caught.value.code == "index-unsigned"


def test_another_suite_s_index_is_not_this_one_s(archive: Archive) -> None:
    archive.publish("bookworm", codename="sid")
    with pytest.raises(BuildError) as caught:
        _listed(archive)
    assert caught.value.code == "index-other"
    assert "sid" in str(caught.value)


def test_a_changed_list_is_not_the_signed_one(archive: Archive) -> None:
    file = archive.folder / "dists/bookworm/main/binary-amd64/Packages.xz"
    file.write_bytes(lzma.compress(lzma.decompress(file.read_bytes()).replace(b"libc6", b"evil6")))
    assert _refused(archive) == "index-changed"
    file.unlink()
    with pytest.raises(BuildError) as caught:
        _listed(archive)
    assert caught.value.code == "download-failed"


def test_a_list_that_nobody_names_is_missed(archive: Archive) -> None:
    text = "Codename: bookworm\n"
    _index(archive).write_bytes(archive.key.run("--clearsign", stdin=text.encode()))
    assert _refused(archive) == "index-malformed"


def test_without_gpgv_nothing_is_believed(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert shutil.which("gpgv") is None
    with pytest.raises(BuildError) as caught:
        _listed(archive)
    assert caught.value.code == "index-tool"


@pytest.mark.parametrize(
    "change",
    [
        ("Package: a\n", ""),
        ("Size: 1", "Size: -1"),
        ("Size: 1", "Size: many"),
        ("Filename: pool/a.deb", "Filename: ../../etc/passwd"),
        ("Filename: pool/a.deb", "Filename: //elsewhere/a.deb"),
        ("Filename: pool/a.deb", "Filename: pool/a b.deb"),
        (f"SHA256: {'0' * 64}", f"SHA256: {'0' * 63}"),
        (f"SHA256: {'0' * 64}", "SHA256: ../../evil"),
    ],
)
def test_what_goes_into_addresses_and_names_is_nothing_else(change: tuple[str, str]) -> None:
    text = (
        "Package: a\nVersion: 1\nArchitecture: all\nFilename: pool/a.deb\nSize: 1\n"
        f"Description: a\u2028Filename: pool/other.deb\nSHA256: {'0' * 64}\n"
    )
    (sound,) = read(text, what="it")
    assert (sound.path, sound.size, sound.source) == ("pool/a.deb", 1, "a")
    with pytest.raises(BuildError) as caught:
        list(read(text.replace(*change), what="it"))
    assert caught.value.code == "index-malformed"
