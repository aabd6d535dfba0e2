# SPDX-License-Identifier: Apache-2.0
"""Container images: the same content is the same folder, and other people's tools take it for an image."""

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from nacre.build import cpio, oci, oci_read
from nacre.build.oci import Settings
from nacre.errors import BuildError

SETTINGS = Settings(
    entry=("/usr/bin/worm", "--all"),
    environment={"B": "2", "A": "1"},
    user="1000:1000",
    folder="/app",
)
BASE = (
    cpio.file("usr/bin/worm", b"#!/bin/sh\n", program=True),
    cpio.link("bin", "usr/bin"),
    cpio.folder("tmp"),
)
APP = (cpio.file("app/main.py", b"print(1)\n"), cpio.file("app/naïve/data", b"d" * 1000))
FILES = {
    "app": "folder",
    "app/main.py": "file",
    "app/naïve": "folder",
    "app/naïve/data": "file",
    "bin": "link",
    "tmp": "folder",
    "usr": "folder",
    "usr/bin": "folder",
    "usr/bin/worm": "program",
}


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def run(*words: str | Path, folder: Path) -> bytes:
    # A policy of its own: whether images have to be signed is not what is tested.
    environment = {"HOME": str(folder), "PATH": os.environ["PATH"], "TMPDIR": str(folder)}
    return subprocess.run(words, check=True, cwd=folder, env=environment, stdout=subprocess.PIPE).stdout


@pytest.fixture
def image(tmp_path: Path) -> Path:
    oci.write(tmp_path / "image", [BASE, APP], SETTINGS, name="worm")
    return tmp_path / "image"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(one.relative_to(folder)): one.read_bytes() for one in folder.rglob("*") if one.is_file()}


def test_what_is_written_is_read(image: Path, tmp_path: Path) -> None:
    found = oci_read.read(image, scratch=tmp_path)
    assert found.settings == SETTINGS
    assert {member.entry.path: member.entry.kind for member in found.members} == FILES
    data = {member.entry.path: b"".join(member.content) for member in found.members}
    assert data["app/naïve/data"] == b"d" * 1000
    assert found.left_out == ()


def test_the_same_content_is_the_same_folder(image: Path, tmp_path: Path) -> None:
    digest = oci.write(tmp_path / "again", [reversed(BASE), reversed(APP)], SETTINGS, name="worm")
    assert contents(tmp_path / "again") == contents(image)
    assert digest == oci_read.read(image, scratch=tmp_path).digest
    oci.write(tmp_path / "other", [BASE, (*APP, cpio.file("app/x", b""))], SETTINGS, name="worm")
    # The base is the same blob in both.
    assert len(contents(image).keys() & contents(tmp_path / "other").keys()) == 3


def test_blobs_are_named_by_their_digests_and_nothing_else_is_there(image: Path) -> None:
    found = contents(image)
    blobs = {name: data for name, data in found.items() if name.startswith("blobs/")}
    assert len(blobs) == 4
    assert found.keys() - blobs.keys() == {"oci-layout", "index.json"}
    for name, data in blobs.items():
        assert name == f"blobs/sha256/{hashlib.sha256(data).hexdigest()}"


def test_an_image_without_settings_or_name(tmp_path: Path) -> None:
    oci.write(tmp_path / "image", [BASE], Settings(architecture="arm64"))
    with pytest.raises(BuildError, match="0 images for amd64"):
        oci_read.read(tmp_path / "image", scratch=tmp_path)
    found = oci_read.read(tmp_path / "image", scratch=tmp_path, architecture="arm64")
    assert found.settings == Settings(architecture="arm64")


def test_a_folder_that_is_in_use_is_left_alone(image: Path) -> None:
    before = contents(image)
    with pytest.raises(BuildError) as caught:
        oci.write(image, [BASE], SETTINGS)
    assert (caught.value.code, contents(image)) == ("oci-folder", before)


def test_what_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BuildError) as caught:
        oci.write(tmp_path / "file", [BASE], SETTINGS)
    assert caught.value.code == "oci-folder"


def test_what_was_interrupted_is_no_image(tmp_path: Path) -> None:
    twice = (cpio.file("a", b""), cpio.file("a", b""))
    with pytest.raises(BuildError, match="twice"):
        oci.write(tmp_path / "image", [BASE, twice], SETTINGS)
    with pytest.raises(BuildError) as caught:
        oci_read.read(tmp_path / "image", scratch=tmp_path)
    assert caught.value.code == "oci-folder"


def test_skopeo_takes_it_for_an_image(image: Path, tmp_path: Path) -> None:
    skopeo = tool("skopeo")
    shown = json.loads(run(skopeo, "inspect", "--config", f"oci:{image}:worm", folder=tmp_path))
    assert shown["config"] == {
        "User": "1000:1000",
        "Env": ["A=1", "B=2"],
        "Entrypoint": ["/usr/bin/worm", "--all"],
        "WorkingDir": "/app",
    }
    assert (shown["architecture"], shown["os"]) == ("amd64", "linux")
    digest = oci_read.read(image, scratch=tmp_path).digest
    assert json.loads(run(skopeo, "inspect", f"oci:{image}:worm", folder=tmp_path))["Digest"] == digest


def test_what_skopeo_packs_is_read_as_the_same_files(image: Path, tmp_path: Path) -> None:
    skopeo = tool("skopeo")
    copy = (skopeo, "--insecure-policy", "copy", "--quiet", "--dest-compress")
    run(*copy, f"oci:{image}:worm", f"oci:{tmp_path / 'packed'}:worm", folder=tmp_path)
    ours, theirs = [oci_read.read(one, scratch=tmp_path) for one in (image, tmp_path / "packed")]
    assert ours.digest != theirs.digest
    assert ours.settings == theirs.settings
    assert [member.entry for member in ours.members] == [member.entry for member in theirs.members]
    assert [b"".join(one.content) for one in ours.members] == [
        b"".join(one.content) for one in theirs.members
    ]


def test_what_umoci_changes_is_read_as_changed(image: Path, tmp_path: Path) -> None:
    umoci = tool("umoci")
    run(umoci, "unpack", "--rootless", "--image", f"{image}:worm", "bundle", folder=tmp_path)
    root = tmp_path / "bundle" / "rootfs"
    assert (root / "usr" / "bin" / "worm").stat().st_mode & 0o777 == 0o755
    assert (root / "bin").readlink() == Path("usr/bin")
    (root / "app" / "main.py").write_bytes(b"print(2)\n")
    shutil.rmtree(root / "app" / "naïve")
    (root / "bin").unlink()
    (root / "new").write_bytes(b"new")
    (root / "twin").hardlink_to(root / "new")
    run(umoci, "repack", "--image", f"{image}:changed", "bundle", folder=tmp_path)
    found = oci_read.read(image, scratch=tmp_path, name="changed")
    assert {member.entry.path: b"".join(member.content) for member in found.members} == {
        "app": b"",
        "app/main.py": b"print(2)\n",
        "tmp": b"",
        "usr": b"",
        "usr/bin": b"",
        "usr/bin/worm": b"#!/bin/sh\n",
        "new": b"new",
        "twin": b"new",
    }
