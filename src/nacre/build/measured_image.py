# SPDX-License-Identifier: Apache-2.0
"""A container image as a measurement: no hardware shows its digests, but two images are compared by them."""

import hashlib
import tempfile
from pathlib import Path
from struct import Struct

from nacre.build import oci_archive, oci_read
from nacre.platforms.measuring import Measurement, Part

__all__ = ["measured"]

_LENGTH = Struct(">I")


def measured(source: Path) -> Measurement:
    """Return the digests of a container image.

    Args:
        source: A folder (OCI image layout), or an archive that tools write.

    Returns:
        ``manifest`` and ``config``, each of which names the image, and ``files``, over the files that a
        container of it sees; in its steps the first file in which two images differ is found.

    Raises:
        BuildError: As ``oci_archive.opened`` and ``oci_read.read`` raise.
    """
    with tempfile.TemporaryDirectory() as scratch, oci_archive.opened(source) as folder:
        image = oci_read.read(folder, scratch=Path(scratch))
    config, *layers = image.blobs
    parts = [
        Part(register="manifest", label=label, input="manifest", size=one.size, digest=_raw(one.digest))
        for label, one in [
            ("configuration", config),
            *[(f"layer {at}", one) for at, one in enumerate(layers)],
        ]
    ]
    files = hashlib.sha256()
    for member in sorted(image.members, key=lambda one: one.entry.path.encode()):
        entry, path = member.entry, member.entry.path.encode()
        files.update(_LENGTH.pack(len(path)) + path + entry.kind.encode() + entry.digest)
        label = f"{entry.path} ({entry.kind})"
        parts.append(
            Part(register="files", label=label, input="files", size=entry.size, digest=files.digest())
        )
    registers = {"manifest": _raw(image.digest), "config": _raw(config.digest), "files": files.digest()}
    return Measurement(registers, tuple(parts))


def _raw(digest: str) -> bytes:
    return bytes.fromhex(digest.removeprefix("sha256:"))
