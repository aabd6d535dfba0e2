# SPDX-License-Identifier: Apache-2.0
"""Container images of others: read if every digest holds, refused where one does not."""

import gzip
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nacre.build import cpio, oci, oci_read
from nacre.build.oci import Settings
from nacre.errors import BuildError

LAYER = "application/vnd.oci.image.layer.v1.tar"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


class Folder:
    """An image whose documents can be changed, with all digests above them following."""

    def __init__(self, path: Path) -> None:
        self.path = path
        oci.write(path, [[cpio.file("a", b"1" * 5000)]], Settings(entry=("/a",)), name="one")
        self.index = json.loads((path / "index.json").read_bytes())
        self.manifest = self.document(self.index["manifests"][0])
        self.config = self.document(self.manifest["config"])

    def document(self, descriptor: dict[str, Any]) -> Any:  # noqa: ANN401
        return json.loads(self.blob(descriptor).read_bytes())

    def blob(self, descriptor: dict[str, Any]) -> Path:
        return self.path / "blobs" / "sha256" / str(descriptor["digest"]).removeprefix("sha256:")

    def put(self, data: bytes, **more: object) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        (self.path / "blobs" / "sha256" / digest).write_bytes(data)
        return {"digest": f"sha256:{digest}", "size": len(data), **more}

    def save(self) -> None:
        self.manifest["config"] |= self.put(json.dumps(self.config).encode())
        self.index["manifests"][0] |= self.put(json.dumps(self.manifest).encode())
        (self.path / "index.json").write_text(json.dumps(self.index))

    def pack(self, packed: bytes) -> None:
        """Replace the layer by this gzip of it."""
        self.manifest["layers"] = [self.put(packed, mediaType=f"{LAYER}+gzip")]

    @property
    def layer(self) -> bytes:
        return self.blob(self.manifest["layers"][0]).read_bytes()

    def read(self, **options: Any) -> oci_read.Image:  # noqa: ANN401
        scratch = self.path.parent / "scratch"
        scratch.mkdir(exist_ok=True)
        return oci_read.read(self.path, scratch=scratch, **options)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "image")


def data(image: oci_read.Image) -> dict[str, bytes]:
    return {member.entry.path: b"".join(member.content) for member in image.members}


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_gzip_of_one_member_or_several(folder: Folder, parts: int) -> None:
    plain = folder.layer
    size = -(-len(plain) // parts)
    folder.pack(b"".join(gzip.compress(plain[at : at + size]) for at in range(0, len(plain), size)))
    folder.save()
    assert data(folder.read()) == {"a": b"1" * 5000}


def test_words_of_docker(folder: Folder) -> None:
    folder.index["manifests"][0]["mediaType"] = "application/vnd.docker.distribution.manifest.v2+json"
    folder.manifest["layers"][0]["mediaType"] = "application/vnd.docker.image.rootfs.diff.tar"
    folder.config["config"] = {"Entrypoint": None, "Cmd": ["/a"], "Env": ["A=b=c", "D="], "Labels": None}
    folder.save()
    found = folder.read().settings
    assert (found.entry, found.environment) == (("/a",), {"A": "b=c", "D": ""})


def test_an_image_of_several_platforms(folder: Folder) -> None:
    folder.save()
    ours = folder.index["manifests"][0] | {
        "platform": {"architecture": "amd64", "os": "linux", "variant": "v1"}
    }
    others = [ours | {"platform": {"architecture": one, "os": "linux"}} for one in ("arm64", "unknown")]
    inner = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [*others, ours]}).encode()
    folder.index["manifests"] = [folder.put(inner, mediaType=INDEX)]
    (folder.path / "index.json").write_text(json.dumps(folder.index))
    assert folder.read().digest == ours["digest"]


def test_an_index_inside_itself_ends(folder: Folder) -> None:
    outer = folder.put(b'{"schemaVersion":2,"manifests":[]}', mediaType=INDEX)
    for _ in range(10):
        outer = folder.put(json.dumps({"schemaVersion": 2, "manifests": [outer]}).encode(), mediaType=INDEX)
    folder.index["manifests"] = [outer]
    (folder.path / "index.json").write_text(json.dumps(folder.index))
    with pytest.raises(BuildError) as caught:
        folder.read()
    assert caught.value.code == "oci-choice"


def test_one_of_several_has_to_be_named(folder: Folder) -> None:
    folder.save()
    one = folder.index["manifests"][0]
    other = folder.put(json.dumps(folder.manifest | {"annotations": {}}).encode(), mediaType=MANIFEST)
    named = other | {"annotations": {"org.opencontainers.image.ref.name": "two"}}
    folder.index["manifests"] = [one, named, one]
    (folder.path / "index.json").write_text(json.dumps(folder.index))
    with pytest.raises(BuildError, match="one, two"):
        folder.read()
    assert folder.read(name="two").digest == other["digest"]
    with pytest.raises(BuildError, match="0 images"):
        folder.read(name="three")


def test_an_image_without_a_process(folder: Folder) -> None:
    del folder.config["config"]
    folder.save()
    assert folder.read().settings == Settings()


def _diff_id(folder: Folder) -> None:
    folder.config["rootfs"]["diff_ids"] = ["sha256:" + "0" * 64]


def _packed_diff_id(folder: Folder) -> None:
    folder.pack(gzip.compress(folder.layer + b"\0"))


def _more_layers(folder: Folder) -> None:
    folder.config["rootfs"]["diff_ids"] *= 2


def _no_layers(folder: Folder) -> None:
    folder.config["rootfs"]["type"] = "else"


def _other_system(folder: Folder) -> None:
    folder.config["os"] = "windows"


def _variable(folder: Folder) -> None:
    folder.config["config"]["Env"] = ["A"]


def _zstd(folder: Folder) -> None:
    folder.manifest["layers"][0]["mediaType"] = f"{LAYER}+zstd"


def _foreign(folder: Folder) -> None:
    folder.manifest["layers"][0]["mediaType"] = "application/vnd.oci.image.layer.nondistributable.v1.tar"


def _no_gzip(folder: Folder) -> None:
    folder.pack(folder.layer)


def _cut_gzip(folder: Folder) -> None:
    folder.pack(gzip.compress(folder.layer)[:-1])


def _more_after_gzip(folder: Folder) -> None:
    folder.pack(gzip.compress(folder.layer) + bytes(10))


def _empty_gzip(folder: Folder) -> None:
    folder.pack(b"")


def _shape(folder: Folder) -> None:
    folder.manifest["layers"] = {}


def _huge_document(folder: Folder) -> None:
    folder.manifest["config"]["size"] = 1 << 30
    folder.save = lambda: None  # type: ignore[method-assign]
    folder.index["manifests"][0] |= folder.put(json.dumps(folder.manifest).encode())
    (folder.path / "index.json").write_text(json.dumps(folder.index))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (_diff_id, "oci-blob"),
        (_packed_diff_id, "oci-blob"),
        (_more_layers, "oci-document"),
        (_no_layers, "oci-document"),
        (_other_system, "oci-document"),
        (_variable, "oci-document"),
        (_zstd, "oci-compression"),
        (_foreign, "oci-compression"),
        (_no_gzip, "oci-blob"),
        (_cut_gzip, "oci-blob"),
        (_more_after_gzip, "oci-blob"),
        (_empty_gzip, "oci-blob"),
        (_shape, "oci-document"),
        (_huge_document, "oci-document"),
    ],
)
def test_documents_that_lie(folder: Folder, change: Callable[[Folder], None], code: str) -> None:
    change(folder)
    folder.save()
    with pytest.raises(BuildError) as caught:
        folder.read()
    assert caught.value.code == code


@pytest.mark.parametrize(
    "digest", ["sha256:../../../../etc/passwd", "sha512:" + "0" * 128, "sha256:" + "A" * 64]
)
def test_a_digest_is_no_path(folder: Folder, digest: str) -> None:
    folder.index["manifests"][0]["digest"] = digest
    (folder.path / "index.json").write_text(json.dumps(folder.index))
    with pytest.raises(BuildError) as caught:
        folder.read()
    assert caught.value.code == "oci-document"


@pytest.mark.parametrize("which", ["manifest", "config", "layer"])
def test_a_changed_blob(folder: Folder, which: str) -> None:
    manifest = folder.index["manifests"][0]
    blobs = {"manifest": manifest, "config": folder.manifest["config"], "layer": folder.manifest["layers"][0]}
    blob = folder.blob(blobs[which])
    content = blob.read_bytes()
    blob.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(BuildError) as caught:
        folder.read()
    assert caught.value.code == "oci-blob"
    blob.write_bytes(content + b" ")
    with pytest.raises(BuildError) as caught:
        folder.read()
    assert caught.value.code == "oci-blob"


@pytest.mark.parametrize(
    "make", [os.mkfifo, lambda path: path.symlink_to("/etc/passwd"), lambda path: path.mkdir()]
)
def test_a_blob_that_is_no_file(folder: Folder, make: Callable[[Path], None]) -> None:
    blob = folder.blob(folder.manifest["layers"][0])
    blob.unlink()
    make(blob)
    with pytest.raises(BuildError) as caught:
        folder.read()
    assert caught.value.code in {"oci-blob", "oci-folder"}


def test_small_layers_that_unpack_to_much(folder: Folder) -> None:
    large = cpio.file("zeros", bytes(1 << 22))
    oci.write(folder.path.parent / "large", [[large]], Settings())
    other = next(
        one for one in (folder.path.parent / "large/blobs/sha256").iterdir() if one.stat().st_size > 1 << 20
    )
    folder.pack(gzip.compress(other.read_bytes()))
    folder.config["rootfs"]["diff_ids"] = [f"sha256:{other.name}"]
    folder.save()
    assert len(data(folder.read())["zeros"]) == 1 << 22
    with pytest.raises(BuildError) as caught:
        folder.read(limit=1 << 22)
    assert caught.value.code == "oci-size"


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("oci-layout", b'{"imageLayoutVersion":"2.0.0"}', "oci-document"),
        ("oci-layout", b"[]", "oci-document"),
        ("index.json", b"{", "oci-document"),
        ("index.json", b'{"schemaVersion":2,"manifests":[],"manifests":[]}', "oci-document"),
        ("index.json", b'{"schemaVersion":2,"manifests":[]}', "oci-choice"),
    ],
)
def test_what_is_no_image(folder: Folder, name: str, content: bytes, code: str) -> None:
    (folder.path / name).write_bytes(content)
    with pytest.raises(BuildError) as caught:
        folder.read()
    assert caught.value.code == code


def test_what_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(BuildError) as caught:
        oci_read.read(tmp_path / "nothing", scratch=tmp_path)
    assert caught.value.code == "oci-folder"
