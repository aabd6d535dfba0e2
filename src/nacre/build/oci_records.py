# SPDX-License-Identifier: Apache-2.0
"""The documents of a container image, as they are in its files.

Source: OCI Image Format Specification 1.1: ``descriptor.md``, ``image-index.md``, ``manifest.md`` and
``config.md``.
"""

from typing import Final

import msgspec

__all__ = [
    "BLOBS",
    "CONFIG",
    "INDEX",
    "INDEX_FILE",
    "LAYER",
    "LAYOUT_FILE",
    "MANIFEST",
    "NAME",
    "VERSION",
    "Config",
    "Descriptor",
    "Index",
    "Layout",
    "Manifest",
    "Platform",
    "Process",
    "RootFs",
]

LAYOUT_FILE: Final = "oci-layout"
INDEX_FILE: Final = "index.json"
BLOBS: Final = "blobs/sha256"
INDEX: Final = "application/vnd.oci.image.index.v1+json"
MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
CONFIG: Final = "application/vnd.oci.image.config.v1+json"
LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
#: The annotation with an image's name.
NAME: Final = "org.opencontainers.image.ref.name"
#: Of manifests and indexes.
VERSION: Final = 2


class Layout(msgspec.Struct, frozen=True, rename="camel"):
    """``oci-layout``."""

    image_layout_version: str


class Platform(msgspec.Struct, frozen=True):
    """What an image runs on."""

    architecture: str
    os: str


class Descriptor(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One blob: its kind, its digest as ``sha256:…`` and its bytes."""

    media_type: str
    digest: str
    size: int
    platform: Platform | None = None
    annotations: dict[str, str] | None = None


class Manifest(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One image."""

    schema_version: int
    media_type: str = ""
    config: Descriptor
    layers: tuple[Descriptor, ...]


class Index(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Several images, or the same for several platforms."""

    schema_version: int
    media_type: str = ""
    manifests: tuple[Descriptor, ...]


class Process(msgspec.Struct, frozen=True, kw_only=True, rename="pascal", omit_defaults=True):
    """What is started."""

    user: str | None = None
    env: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    working_dir: str | None = None


class RootFs(msgspec.Struct, frozen=True):
    """The digests of the layers, unpacked."""

    type: str
    diff_ids: tuple[str, ...]


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """An image's configuration."""

    architecture: str
    os: str
    config: Process | None = None
    rootfs: RootFs
