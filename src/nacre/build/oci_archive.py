# SPDX-License-Identifier: Apache-2.0
"""Container images as one file, which ``docker save``, ``podman save`` and ``skopeo copy`` write.

Such a tar archive is an OCI image layout, or has Docker's older form: a list of images in ``manifest.json``,
each with its configuration and its layers. From the latter the layout is made that it would have.

Not proven here:
    Docker and Podman themselves: archives are those of buildah and skopeo, and of the tests in every variant
    of the description. To prove it: give ``nacre measure`` what ``docker save`` writes, and compare
    ``config`` with the image's ID.

Source: OCI Image Format Specification 1.1, ``image-layout.md``; moby/moby, ``image/spec/spec.md``.
"""

import contextlib
import hashlib
import posixpath
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from nacre.build import tar_read
from nacre.build.oci_records import (
    BLOBS,
    CONFIG,
    INDEX,
    INDEX_FILE,
    LAYER,
    LAYOUT_FILE,
    MANIFEST,
    NAME,
    VERSION,
    Descriptor,
    Index,
    Layout,
    Manifest,
)
from nacre.errors import BuildError, MalformedEvidence
from nacre.trust import json

__all__ = ["blob", "opened"]

_LIST: Final = "manifest.json"
_BLOB: Final = re.compile(rf"{BLOBS}/[0-9a-f]{{64}}")
_GZIP: Final = b"\x1f\x8b"
_CHUNK: Final = 1 << 20
_MAX_DOCUMENT: Final = 1 << 22
_MAX_LINKS: Final = 4


class _Saved(msgspec.Struct, frozen=True, rename="pascal"):
    """One image in ``manifest.json``."""

    config: str
    layers: tuple[str, ...]
    repo_tags: tuple[str, ...] | None = None


def blob(folder: Path, digest: str) -> Path:
    """Return where a layout has the blob of a digest, ``sha256:…``."""
    return folder / BLOBS / digest.removeprefix("sha256:")


@contextlib.contextmanager
def opened(source: Path) -> Iterator[Path]:
    """Offer an image as a folder (OCI image layout), whatever it is now.

    Args:
        source: A folder, which is offered as it is, or an archive.

    Raises:
        BuildError: ``oci-archive``: it is none of a container image, or cannot be read; ``layer-malformed``.
    """
    if source.is_dir():
        yield source
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / BLOBS).mkdir(parents=True)
        try:
            with source.open("rb") as stream:
                _unpack(stream, folder, str(source))
        except OSError as error:
            raise _wrong(str(source), error.strerror or str(error)) from None
        yield folder


def _unpack(stream: BinaryIO, folder: Path, source: str) -> None:
    size = stream.seek(0, 2)
    stream.seek(0)
    if stream.read(len(_GZIP)) == _GZIP:
        raise _wrong(source, "it is packed with gzip; unpack it first")
    found: dict[str, tar_read.Entry] = {}
    for entry in tar_read.entries(stream, size):
        name = posixpath.normpath(entry.name)
        if name in found and entry.kind != "folder":
            raise _wrong(source, f"{name} is in it twice")
        found[name] = entry
    if LAYOUT_FILE in found and INDEX_FILE in found:
        for name, entry in found.items():
            if entry.kind == "file" and (name in (LAYOUT_FILE, INDEX_FILE) or _BLOB.fullmatch(name)):
                _copied(stream, entry, folder / name)
    elif _LIST in found:
        _saved(stream, found, folder, source)
    else:
        raise _wrong(source, f"neither {LAYOUT_FILE} nor {_LIST} is in it")


def _saved(stream: BinaryIO, found: Mapping[str, tar_read.Entry], folder: Path, source: str) -> None:
    """Make the layout of images in Docker's older form."""
    data = _document(stream, _entry(found, _LIST, source))
    try:
        images = json.decode(data, tuple[_Saved, ...], what=_LIST, limit=_MAX_DOCUMENT)
    except MalformedEvidence as error:
        raise _wrong(source, str(error)) from None
    manifests = []
    for image in images:
        config = _placed(stream, _entry(found, image.config, source), folder, CONFIG)
        layers = [_placed(stream, _entry(found, name, source), folder, LAYER) for name in image.layers]
        manifest = Manifest(schema_version=VERSION, media_type=MANIFEST, config=config, layers=tuple(layers))
        whole = msgspec.json.encode(manifest)
        digest = hashlib.sha256(whole).hexdigest()
        (folder / BLOBS / digest).write_bytes(whole)
        described = Descriptor(media_type=MANIFEST, digest=f"sha256:{digest}", size=len(whole))
        manifests += [
            msgspec.structs.replace(described, annotations={NAME: tag} if tag else None)
            for tag in image.repo_tags or ("",)
        ]
    index = Index(schema_version=VERSION, media_type=INDEX, manifests=tuple(manifests))
    (folder / INDEX_FILE).write_bytes(msgspec.json.encode(index))
    (folder / LAYOUT_FILE).write_bytes(msgspec.json.encode(Layout("1.0.0")))


def _placed(stream: BinaryIO, entry: tar_read.Entry, folder: Path, kind: str) -> Descriptor:
    partial = folder / "partial"
    digest, start = _copied(stream, entry, partial)
    partial.replace(folder / BLOBS / digest)
    packed = kind == LAYER and start.startswith(_GZIP)
    return Descriptor(
        media_type=f"{kind}+gzip" if packed else kind, digest=f"sha256:{digest}", size=entry.size
    )


def _entry(found: Mapping[str, tar_read.Entry], name: str, source: str) -> tar_read.Entry:
    """Find a file, also by a link: a layer that is there twice is there once."""
    place = posixpath.normpath(name)
    for _ in range(_MAX_LINKS):
        entry = found.get(place)
        if entry is None or entry.kind not in ("file", "link"):
            break
        if entry.kind == "file":
            return entry
        place = posixpath.normpath(posixpath.join(posixpath.dirname(place), entry.target))
    raise _wrong(source, f"{name[:80]} is not in it")


def _copied(stream: BinaryIO, entry: tar_read.Entry, target: Path) -> tuple[str, bytes]:
    """Write a file of an archive; return its SHA-256, hex, and how it begins."""
    digest, start, left = hashlib.sha256(), b"", entry.size
    stream.seek(entry.start)
    with target.open("wb") as out:
        while left and (piece := stream.read(min(left, _CHUNK))):
            start = start or piece[:16]
            digest.update(piece)
            out.write(piece)
            left -= len(piece)
    return digest.hexdigest(), start


def _document(stream: BinaryIO, entry: tar_read.Entry) -> bytes:
    stream.seek(entry.start)
    return stream.read(min(entry.size, _MAX_DOCUMENT + 1))


def _wrong(source: str, actual: str) -> BuildError:
    return BuildError("oci-archive", file=source, actual=actual)
