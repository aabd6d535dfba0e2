# SPDX-License-Identifier: Apache-2.0
"""Container images as a folder (OCI image layout): the same content is the same folder, to the byte.

Layers are not compressed, so that what is hashed is what is unpacked; no time is stated anywhere.

Source: OCI Image Format Specification 1.1: ``image-layout.md``, ``layer.md``.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from nacre.build import tar
from nacre.build.cpio import Member
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
    Config,
    Descriptor,
    Index,
    Layout,
    Manifest,
    Platform,
    Process,
    RootFs,
)
from nacre.errors import BuildError

__all__ = ["Architecture", "Settings", "write"]

Architecture = Literal["amd64", "arm64"]

_OS = "linux"
_PARTIAL = "partial"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How a container of an image is started.

    Attributes:
        entry: The command and its arguments.
        environment: Its variables.
        user: Name or number, with a group after a colon or without; empty: the runtime's choice, root.
        folder: Where it is started; empty: ``/``.
        architecture: The processor's, in the words of container tools.
    """

    entry: tuple[str, ...] = ()
    environment: Mapping[str, str] = {}
    user: str = ""
    folder: str = ""
    architecture: Architecture = "amd64"


def write(folder: Path, layers: Sequence[Iterable[Member]], settings: Settings, *, name: str = "") -> str:
    """Write an image into a folder of its own.

    Args:
        folder: Made if it is not there; has to be empty.
        layers: The lowest first.
        settings: How a container of it is started.
        name: By which tools find the image in the folder.

    Returns:
        The digest of the image's manifest, ``sha256:…``.

    Raises:
        BuildError: ``oci-folder``; as ``tar.write``.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise BuildError("oci-folder", file=str(folder), actual="it is not empty")
        (folder / BLOBS).mkdir(parents=True)
        image = _image(folder, layers, settings)
        platform = Platform(settings.architecture, _OS)
        named = {NAME: name} if name else None
        entry = msgspec.structs.replace(image, platform=platform, annotations=named)
        index = Index(schema_version=VERSION, media_type=INDEX, manifests=(entry,))
        (folder / INDEX_FILE).write_bytes(msgspec.json.encode(index))
        # Last, so that what was interrupted is no image.
        (folder / LAYOUT_FILE).write_bytes(msgspec.json.encode(Layout("1.0.0")))
    except OSError as error:
        raise BuildError("oci-folder", file=str(folder), actual=error.strerror or str(error)) from None
    return entry.digest


def _image(folder: Path, layers: Sequence[Iterable[Member]], settings: Settings) -> Descriptor:
    described = tuple([_layer(folder, layer) for layer in layers])
    process = Process(
        user=settings.user or None,
        env=tuple([f"{key}={value}" for key, value in sorted(settings.environment.items())]) or None,
        entrypoint=settings.entry or None,
        working_dir=settings.folder or None,
    )
    config = Config(
        architecture=settings.architecture,
        os=_OS,
        config=process,
        rootfs=RootFs("layers", tuple([layer.digest for layer in described])),
    )
    manifest = Manifest(
        schema_version=VERSION,
        media_type=MANIFEST,
        config=_document(folder, CONFIG, config),
        layers=described,
    )
    return _document(folder, MANIFEST, manifest)


def _layer(folder: Path, content: Iterable[Member]) -> Descriptor:
    partial = folder / BLOBS / _PARTIAL
    with partial.open("w+b") as stream:
        tar.write(stream, content)
        size = stream.tell()
        stream.seek(0)
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    partial.rename(folder / BLOBS / digest)
    return Descriptor(media_type=LAYER, digest=f"sha256:{digest}", size=size)


def _document(folder: Path, kind: str, document: Config | Manifest) -> Descriptor:
    data = msgspec.json.encode(document)
    digest = hashlib.sha256(data).hexdigest()
    (folder / BLOBS / digest).write_bytes(data)
    return Descriptor(media_type=kind, digest=f"sha256:{digest}", size=len(data))
