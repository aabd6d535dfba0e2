# SPDX-License-Identifier: Apache-2.0
"""The container image that an application's files are of: found where somebody says, kept, and read again.

``nacre.toml`` names it by a digest, so whoever has the bytes has the image; no registry is asked and no
daemon runs. What is kept are its blobs, each by its SHA-256 as every other input.
"""

import re
import tempfile
from pathlib import Path
from typing import Final

import msgspec

from nacre.build import oci_archive, oci_read
from nacre.build.app import Recipe
from nacre.build.cpio import Member, file, folder, link
from nacre.build.inputs import Input, Inputs
from nacre.build.layout import ROOT, SHARED
from nacre.build.libraries import bytes_of
from nacre.build.lock import Base
from nacre.build.oci import Settings
from nacre.build.oci_records import MANIFEST, Descriptor
from nacre.build.recipe import digest_of
from nacre.errors import BuildError

__all__ = ["Found", "applied", "keep", "read", "wanted"]

#: The most bytes of an image whose files lie in an enclave's memory.
_LARGEST: Final = 1 << 33
_NOTES: Final = "image"
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Found(msgspec.Struct, frozen=True):
    """A container image, whole in memory.

    Attributes:
        settings: How a container of it is started.
        members: Its files, where they lie in an image of ours.
    """

    settings: Settings
    members: tuple[Member, ...]

    @property
    def folder(self) -> str:
        """Where its process starts, as it sees it."""
        return self.settings.folder or "/"


def wanted(recipe: Recipe, *, source: Path | None, inputs: Inputs) -> Base | None:
    """Return the image that a recipe names, if it names one, to be locked.

    Args:
        recipe: What is to be built.
        source: Where the image is: a folder (OCI image layout) or an archive; None if it is kept already.
        inputs: Where it is kept from now on.

    Raises:
        BuildError: ``base-missing``; as ``oci_archive.opened`` and ``oci_read.read`` raise.
    """
    name = recipe.build.base
    if name is msgspec.UNSET:
        return None
    digest = digest_of(name) or ""
    if source is not None:
        return keep(source, name=name.rpartition("@")[0], digest=digest, inputs=inputs)
    note = inputs.note(_NOTES, digest.removeprefix("sha256:"))
    try:
        return msgspec.json.decode(note.read_bytes(), type=Base)
    except (OSError, msgspec.MsgspecError):
        raise BuildError("base-missing", what=name) from None


def keep(source: Path, *, name: str, digest: str, inputs: Inputs) -> Base:
    """Keep an image's blobs.

    Args:
        source: A folder or an archive.
        name: What people call it; may be empty.
        digest: Which of its images: the digest of one of its documents.
        inputs: Where it is kept.

    Raises:
        BuildError: As ``oci_archive.opened`` and ``oci_read.read`` raise.
    """
    with tempfile.TemporaryDirectory() as scratch, oci_archive.opened(source) as place:
        image = oci_read.read(place, scratch=Path(scratch), digest=digest, limit=_LARGEST)
        for blob in (image.manifest, *image.blobs):
            path = oci_archive.blob(place, blob.digest)
            inputs.keep(f"{name or 'the container image'}: {blob.digest}", path.read_bytes())
    manifest = image.manifest
    base = Base(
        name=name,
        sha256=manifest.digest.removeprefix("sha256:"),
        size=manifest.size,
        left_out=image.left_out,
    )
    inputs.write_note(inputs.note(_NOTES, digest.removeprefix("sha256:")), msgspec.json.encode(base))
    return base


def read(base: Base, *, inputs: Inputs) -> Found:
    """Read a locked image from where its blobs are kept.

    Raises:
        BuildError: ``base-missing``; as ``oci_read.read_manifest`` raises.
    """
    descriptor = Descriptor(media_type=MANIFEST, digest=f"sha256:{base.sha256}", size=base.size)

    def place(digest: str) -> Path:
        path = inputs.path(Input(name=base.name, sha256=digest, size=0))
        if not path.exists():
            raise BuildError("base-missing", what=f"{base.name}@{descriptor.digest}".lstrip("@"))
        return path

    with tempfile.TemporaryDirectory() as scratch:
        image = oci_read.read_manifest(descriptor, place=place, scratch=Path(scratch), limit=_LARGEST)
        moved = tuple([_moved(member) for member in image.members])
    there = {member.entry.path: member.entry.kind for member in moved}
    for name in SHARED:
        path = f"{ROOT[1:]}/{name}"
        if there.setdefault(path, "folder") != "folder":
            raise BuildError("base-place", file=f"/{name}", actual=there[path])
    places = [f"{ROOT[1:]}/{name}" for name in SHARED]
    # What lies in these folders nobody would see.
    hidden = tuple([f"{path}/" for path in places])
    seen = [one for one in moved if one.entry.path not in places and not one.entry.path.startswith(hidden)]
    return Found(image.settings, (*map(folder, places), *seen))


def applied(recipe: Recipe, found: Found | None) -> Recipe:
    """Return a recipe whose application is started as its container image says, where it says nothing itself.

    Raises:
        BuildError: ``base-entry``: nobody says what is started; ``base-variable``.
    """
    if found is None:
        return recipe
    app, settings = recipe.app, found.settings
    entry = app.entry or settings.entry
    if not entry or not all(entry):
        raise BuildError("base-entry")
    environment = {**settings.environment, **app.environment}
    for name in environment:
        if not _VARIABLE.fullmatch(name) or name.startswith("NACRE_"):
            raise BuildError("base-variable", what=ascii(name[:80]))
    app = msgspec.structs.replace(app, entry=entry, environment=dict(sorted(environment.items())))
    return msgspec.structs.replace(recipe, app=app)


def _moved(member: Member) -> Member:
    """Return a file below the application's root, with its content, which is gone from the disk soon."""
    path = f"{ROOT[1:]}/{member.entry.path}"
    if member.entry.kind == "folder":
        return folder(path)
    if member.entry.kind == "link":
        return link(path, member.entry.target)
    return file(path, bytes_of(member), program=member.entry.kind == "program")
