# SPDX-License-Identifier: Apache-2.0
"""``nacre measure`` of what others built: container images, and releases of dstack's."""

import hashlib
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import vector_roots
from tests.platforms.tdx.linux import linux

from nacre import cli
from nacre.build import cpio, dstack_image, oci
from nacre.build.oci import Settings
from nacre.cli.exits import Exit
from nacre.errors import BuildError

Shell = Callable[..., tuple[int, str, str]]


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    """Run ``nacre measure``: exit status, what it wrote, what it said."""

    def run(*words: str | Path) -> tuple[int, str, str]:
        status = cli.main(["measure", *map(str, words)])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def _image(place: Path, content: bytes, *more: str) -> str:
    layer = [cpio.file("a", b"1"), cpio.file("b/c", content), *(cpio.file(name, b"") for name in more)]
    return oci.write(place, [layer], Settings(entry=("/a",)))


def test_container_images(shell: Shell, tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    digest = _image(one, b"2")
    _image(other, b"3")
    status, said, _ = shell(one)
    shown = dict(line.split() for line in said.splitlines())
    assert (status, list(shown)) == (Exit.ACCEPTED, ["manifest", "config", "files"])
    assert f"sha256:{shown['manifest']}" == digest
    packed = tmp_path / "one.tar"
    with tarfile.open(packed, "w") as out:
        out.add(one, arcname=".")
    assert shell(packed)[1] == said
    status, said, _ = shell("--diff", packed, other)
    assert status == Exit.REJECTED
    assert "manifest differs: first in configuration" in said
    assert "files differs: first in b/c (file)" in said
    assert shell("--diff", one, packed)[0] == Exit.ACCEPTED
    _image(tmp_path / "third", b"2", "b/b")
    assert "b/b (file), of files" in shell("--diff", one, tmp_path / "third")[1]
    assert "b/c (file)" in shell(one, "--explain")[1]
    assert shell(one, "--tee", "tdx")[0] == Exit.USAGE


def test_archives_of_something_else(shell: Shell, tmp_path: Path) -> None:
    other = tmp_path / "other.tar"
    with tarfile.open(other, "w") as out:
        out.addfile(tarfile.TarInfo("a"))
    status, _, said = shell(other)
    assert status not in (Exit.ACCEPTED, Exit.REJECTED)
    assert "is no archive of a container image" in said


class Release:
    """A release of dstack's in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.about = {"bios": "ovmf.fd", "kernel": "bzImage", "initrd": "i.gz", "cmdline": "quiet", "x": [1]}
        root = next(root for root in vector_roots() if (root / "measure" / "tdx").is_dir())
        folder.mkdir()
        (folder / "ovmf.fd").write_bytes((root / "measure" / "tdx" / "fw-64k.fd").read_bytes())
        (folder / "bzImage").write_bytes(linux())
        (folder / "i.gz").write_bytes(b"initrd")
        self.list()

    def list(self, form: str = "{}  ./{}\n") -> None:
        (self.folder / "metadata.json").write_text(json.dumps(self.about))
        files = sorted(path for path in self.folder.iterdir() if path.name != "sha256sum.txt")
        sums = [form.format(hashlib.sha256(path.read_bytes()).hexdigest(), path.name) for path in files]
        (self.folder / "sha256sum.txt").write_text("".join(sums))


@pytest.fixture
def release(tmp_path: Path) -> Release:
    return Release(tmp_path / "dstack-0.5")


def test_a_release_of_dstack(shell: Shell, release: Release) -> None:
    folder, machine = release.folder, ("--qemu", "9.2", "--memory", "2048")
    parts = ("--firmware", folder / "ovmf.fd", "--kernel", folder / "bzImage", "--initrd", folder / "i.gz")
    status, said, _ = shell(folder, *machine)
    digest = hashlib.sha256((folder / "sha256sum.txt").read_bytes()).hexdigest()
    assert status == Exit.ACCEPTED
    shown = {line.split()[0]: line.split()[1] for line in said.splitlines()}
    assert shown.pop("os_image_hash") == digest
    described = shell("--tee", "tdx", *machine, *parts, "--cmdline", "quiet")[1]
    assert shown == {line.split()[0]: line.split()[1] for line in described.splitlines()}
    assert shell(folder)[0] == Exit.USAGE
    assert shell(folder, *machine, "--tee", "snp")[0] == Exit.USAGE
    release.list("{} *{}\n")
    assert shell(folder, *machine)[0] == Exit.ACCEPTED


def test_a_release_that_is_not_what_it_lists(release: Release) -> None:
    def refused(words: str) -> None:
        with pytest.raises(BuildError, match=words) as caught:
            dstack_image.read(release.folder)
        assert caught.value.code == "dstack-image"

    (release.folder / "bzImage").write_bytes(linux() + b"\0")
    refused("bzImage of .* its SHA-256 is")
    (release.folder / "bzImage").unlink()
    refused("bzImage of .* No such file")
    release.list()
    release.about["kernel"] = "../bzImage"
    release.list()
    refused("metadata.json")
    release.about["kernel"] = "sha256sum.txt"
    release.list()
    refused("not listed")
    release.list("{} {}\n")
    refused("sha256sum.txt of .* the line")
    release.list("{0}  {1}\n{0}  {1}\n")
    refused("sha256sum.txt of .* the line")
    (release.folder / "sha256sum.txt").unlink()
    refused("sha256sum.txt")
