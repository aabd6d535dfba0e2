# SPDX-License-Identifier: Apache-2.0
"""Container images of others, as the files that a container of them would see.

An image is named by a digest: of an index, of its manifest, or of its configuration, which is what Docker
calls an image's identifier. Every blob has to have its digest, and every layer, unpacked, the one that the
configuration states. Owners, times and permissions are not taken over; devices, pipes, setuid and extended
attributes are left out, and named.

Source: OCI Image Format Specification 1.1: ``image-layout.md``, ``manifest.md``, ``layer.md``.
"""

import hashlib
import os
import re
import stat
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final, TypeVar

import msgspec

from nacre.build.cpio import Member
from nacre.build.layers import Layers
from nacre.build.oci import Architecture, Settings
from nacre.build.oci_records import (
    BLOBS,
    INDEX,
    INDEX_FILE,
    LAYER,
    LAYOUT_FILE,
    MANIFEST,
    NAME,
    Config,
    Descriptor,
    Index,
    Layout,
    Manifest,
)
from nacre.errors import BuildError, MalformedEvidence
from nacre.trust import json

__all__ = ["Image", "read", "read_manifest"]

_DOCKER: Final = "application/vnd.docker"
_INDEXES: Final = {INDEX, f"{_DOCKER}.distribution.manifest.list.v2+json"}
_MANIFESTS: Final = {MANIFEST, f"{_DOCKER}.distribution.manifest.v2+json"}
_PLAIN: Final = {LAYER, f"{_DOCKER}.image.rootfs.diff.tar"}
_GZIP: Final = {f"{LAYER}+gzip", f"{_DOCKER}.image.rootfs.diff.tar.gzip"}
_ZSTD: Final = f"{LAYER}+zstd"
_DIGEST: Final = re.compile(r"sha256:([0-9a-f]{64})")
_MAX_DOCUMENT: Final = 1 << 22
#: Indexes inside each other.
_MAX_DEPTH: Final = 3
_MAX_SIZE: Final = 1 << 34
_CHUNK: Final = 1 << 20
_GZIP_WINDOW: Final = 31

_Shape = TypeVar("_Shape")


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """An image.

    Attributes:
        manifest: What everything follows from; its digest is the image's.
        blobs: What it is made of beside the manifest: the configuration and the layers.
        layers: The digests of the layers, unpacked, the lowest first.
        settings: How a container of it is started.
        members: Its files; contents are read when they are gone through, so folder and scratch have to stay.
        left_out: What has no place in an image of ours: the path, and what it is or has.
    """

    manifest: Descriptor
    blobs: tuple[Descriptor, ...]
    layers: tuple[str, ...]
    settings: Settings
    members: tuple[Member, ...]
    left_out: tuple[str, ...]

    @property
    def digest(self) -> str:
        """The manifest's, ``sha256:…``."""
        return self.manifest.digest


def read(
    folder: Path,
    *,
    scratch: Path,
    architecture: Architecture = "amd64",
    name: str = "",
    digest: str = "",
    limit: int = _MAX_SIZE,
) -> Image:
    """Read an image from a folder (OCI image layout).

    Args:
        folder: With ``oci-layout``, ``index.json`` and ``blobs``.
        scratch: A folder for layers that have to be unpacked first.
        architecture: Which one, where there are images of several.
        name: Which one, where there are several (``org.opencontainers.image.ref.name``).
        digest: Which one, ``sha256:…``, of any of its documents; for sure, as a name is not.
        limit: The most bytes of all layers, unpacked.

    Raises:
        BuildError: ``oci-folder``, ``oci-document``, ``oci-blob``, ``oci-choice``, ``oci-compression``,
            ``oci-size``; ``layer-malformed``, ``layer-entry``, ``image-path``.
    """
    try:
        layout = _decode((folder / LAYOUT_FILE).read_bytes(), Layout, LAYOUT_FILE)
        if layout.image_layout_version != "1.0.0":
            raise _wrong(LAYOUT_FILE, f"version {layout.image_layout_version[:32]}")
        index = _decode((folder / INDEX_FILE).read_bytes(), Index, INDEX_FILE)
        blobs = _Blobs(lambda one: folder / BLOBS / one, scratch, limit)
        return blobs.image(blobs.choice(index, architecture, name, digest), architecture)
    except OSError as error:
        raise BuildError("oci-folder", file=str(folder), actual=error.strerror or str(error)) from None


def read_manifest(
    manifest: Descriptor,
    *,
    place: Callable[[str], Path],
    scratch: Path,
    architecture: Architecture = "amd64",
    limit: int = _MAX_SIZE,
) -> Image:
    """Read an image whose blobs are kept somewhere by their SHA-256.

    Args:
        manifest: Which one.
        place: Returns where the blob of a digest, hex, is.
        scratch: As for ``read``, like the rest.
        architecture: What it has to run on.
        limit: The most bytes of all layers, unpacked.

    Raises:
        BuildError: As ``read`` raises.
    """
    try:
        return _Blobs(place, scratch, limit).image(manifest, architecture)
    except OSError as error:
        where = str(error.filename or manifest.digest)
        raise BuildError("oci-folder", file=where, actual=error.strerror or str(error)) from None


class _Blobs:
    def __init__(self, place: Callable[[str], Path], scratch: Path, limit: int) -> None:
        self._place = place
        self._scratch = scratch
        self._left = limit

    def choice(self, index: Index, architecture: Architecture, name: str, digest: str) -> Descriptor:
        # One image may have several names.
        images = {
            one.digest: one for one in self._candidates(index, name, digest) if _runs_on(one, architecture)
        }
        found = list(images.values())
        if len(found) != 1:
            names = sorted({(one.annotations or {}).get(NAME, one.digest) for one in found})
            raise BuildError("oci-choice", actual=len(found), expected=architecture, what=", ".join(names))
        return found[0]

    def image(self, descriptor: Descriptor, architecture: Architecture) -> Image:
        manifest = self._document(descriptor, Manifest)
        config = self._document(manifest.config, Config)
        if (config.architecture, config.os) != (architecture, "linux"):
            raise _wrong("configuration", f"it is for {config.os} on {config.architecture}")
        if config.rootfs.type != "layers" or len(config.rootfs.diff_ids) != len(manifest.layers):
            raise _wrong("configuration", "it does not list the manifest's layers")
        layers = Layers()
        for packed, digest in zip(manifest.layers, config.rootfs.diff_ids, strict=True):
            layers.add(self._layer(packed, digest))
        return Image(
            manifest=descriptor,
            blobs=(manifest.config, *manifest.layers),
            layers=config.rootfs.diff_ids,
            settings=_settings(config, architecture),
            members=layers.members,
            left_out=layers.left_out,
        )

    def _candidates(self, index: Index, name: str, digest: str) -> Iterator[Descriptor]:
        for one in index.manifests:
            if not name or (one.annotations or {}).get(NAME) == name:
                yield from self._manifests(one, digest, _MAX_DEPTH)

    def _manifests(self, descriptor: Descriptor, digest: str, depth: int) -> Iterator[Descriptor]:
        """List the manifests with a digest, or below an index with it, or of a configuration with it."""
        wanted = "" if descriptor.digest == digest else digest
        if descriptor.media_type in _MANIFESTS:
            if not wanted or self._document(descriptor, Manifest).config.digest == wanted:
                yield descriptor
        elif descriptor.media_type in _INDEXES and depth:
            for one in self._document(descriptor, Index).manifests:
                # An index may name images of other platforms that nobody brought here.
                if not wanted or self._place(_hex(one.digest)).exists():
                    yield from self._manifests(one, wanted, depth - 1)

    def _document(self, descriptor: Descriptor, shape: type[_Shape]) -> _Shape:
        if descriptor.size > _MAX_DOCUMENT:
            raise _wrong(descriptor.digest, f"{descriptor.size} bytes")
        with self._blob(descriptor) as stream:
            data = stream.read(_MAX_DOCUMENT)
        _insist(hashlib.sha256(data).hexdigest(), descriptor.digest)
        return _decode(data, shape, descriptor.digest)

    def _blob(self, descriptor: Descriptor) -> BinaryIO:
        """Open a blob of the size that is stated; its digest is the caller's to check."""
        path = self._place(_hex(descriptor.digest))
        # What lies here under the blob's name may be a link or a pipe: neither is followed or waited for.
        opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        stream = open(opened, "rb")  # noqa: PTH123, SIM115 (an open descriptor; the caller closes it)
        status = os.fstat(opened)
        if not stat.S_ISREG(status.st_mode) or status.st_size != descriptor.size:
            stream.close()
            raise BuildError("oci-blob", what=descriptor.digest, actual=f"{status.st_size} bytes")
        return stream

    def _layer(self, descriptor: Descriptor, digest: str) -> Path:
        """Return the file of a layer, unpacked, as which it has the digest that is stated."""
        plain = self._place(_hex(descriptor.digest))
        if descriptor.media_type == _ZSTD:
            raise BuildError("oci-compression", actual="zstd")
        if descriptor.media_type not in _PLAIN | _GZIP:
            raise BuildError("oci-compression", actual=descriptor.media_type[:80])
        packed, unpacked = hashlib.sha256(), hashlib.sha256()
        compressed = descriptor.media_type in _GZIP
        target = self._scratch / _hex(digest) if compressed else Path(os.devnull)
        with self._blob(descriptor) as stream, target.open("wb") as out:
            pieces = _hashed(stream, packed)
            for piece in _gunzipped(pieces, descriptor.digest) if compressed else pieces:
                self._left -= len(piece)
                if self._left < 0:
                    raise BuildError("oci-size", what=descriptor.digest)
                unpacked.update(piece)
                out.write(piece)
        _insist(packed.hexdigest(), descriptor.digest)
        _insist(unpacked.hexdigest(), digest)
        return target if compressed else plain


def _hashed(stream: BinaryIO, digest: "hashlib._Hash") -> Iterator[bytes]:
    while piece := stream.read(_CHUNK):
        digest.update(piece)
        yield piece


def _gunzipped(pieces: Iterator[bytes], what: str) -> Iterator[bytes]:
    """Unpack gzip, also of several members, and nothing after it."""
    engine = zlib.decompressobj(_GZIP_WINDOW)
    try:
        for piece in pieces:
            waiting = piece
            while waiting:
                if engine.eof:
                    engine = zlib.decompressobj(_GZIP_WINDOW)
                yield engine.decompress(waiting, _CHUNK)
                waiting = engine.unused_data if engine.eof else engine.unconsumed_tail
    except zlib.error as error:
        raise BuildError("oci-blob", what=what, actual=str(error)) from None
    if not engine.eof:
        raise BuildError("oci-blob", what=what, actual="a gzip stream that ends early")


def _runs_on(descriptor: Descriptor, architecture: str) -> bool:
    platform = descriptor.platform
    return platform is None or (platform.architecture, platform.os) == (architecture, "linux")


def _settings(config: Config, architecture: Architecture) -> Settings:
    process = config.config
    if process is None:
        return Settings(architecture=architecture)
    variables = [variable.partition("=") for variable in process.env or ()]
    if not all(key and equals for key, equals, _ in variables):
        raise _wrong("configuration", "a variable of its environment has no value")
    return Settings(
        entry=(*(process.entrypoint or ()), *(process.cmd or ())),
        environment={key: value for key, _, value in variables},
        user=process.user or "",
        folder=process.working_dir or "",
        architecture=architecture,
    )


def _decode(data: bytes, shape: type[_Shape], what: str) -> _Shape:
    try:
        return json.decode(data, shape, what=what, limit=_MAX_DOCUMENT)
    except MalformedEvidence as error:
        raise _wrong(what, str(error)) from None


def _hex(digest: str) -> str:
    found = _DIGEST.fullmatch(digest)
    if not found:
        raise _wrong(digest[:80], "it is no SHA-256")
    return found[1]


def _insist(found: str, stated: str) -> None:
    if f"sha256:{found}" != stated:
        raise BuildError("oci-blob", what=stated, actual=f"sha256:{found}")


def _wrong(what: str, actual: str) -> BuildError:
    return BuildError("oci-document", what=what, actual=actual)
