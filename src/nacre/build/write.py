# SPDX-License-Identifier: Apache-2.0
"""Everything that a build leaves behind, in a folder that is still empty."""

import hashlib
import re
import subprocess
from pathlib import Path
from typing import Final, NamedTuple

from nacre.appraisal.reference.convert import write_as
from nacre.appraisal.release import Release
from nacre.build import components, gramine, oci, outputs, provenance
from nacre.build.accounts import accounts
from nacre.build.folder import sums
from nacre.build.image import Image
from nacre.build.layout import APP, ROOT, USER
from nacre.build.releases import release_text
from nacre.build.rootfs import AGENT_PLACE
from nacre.build.tree import LEFT_OUT

__all__ = ["Source", "write"]

_ABOUT: Final = "The registers of an image, computed from its bytes by nacre build."
_BUILDER: Final = "urn:uuid:0c6f2ef2-8c0e-4b3c-9a5b-0d6b7a0f7c11"
#: What puts an application into the container image that it is of.
_CONFINE: Final = f"/{AGENT_PLACE}/nacre/enclave/boot/confine.py"
_PATIENCE: Final = 30
_PAGES: Final = ("https://", "ssh://")


class Source(NamedTuple):
    """Where an application's files come from.

    Attributes:
        repository: Empty if nobody said.
        commit: Of Git's, hex; empty if there is none, or if the files are not the commit's.
    """

    repository: str
    commit: str

    @classmethod
    def of(cls, folder: Path, *, output: Path, files: Path | None = None) -> "Source":
        """Ask Git, before anything is written.

        Args:
            folder: The application's.
            output: Where the image is going to be: what lies there is no part of the source.
            files: What all of goes into the image, even what Git ignores.
        """
        here, there = folder.resolve(), output.resolve()
        inside = there.is_relative_to(here) and there != here
        own = [f":(exclude,literal){there.relative_to(here).as_posix()}"] if inside else []
        if _git(folder, "status", "--porcelain", "--", ".", *own) != "":
            return cls("", "")
        ignored = _git(files, "status", "--porcelain", "--ignored", "--", ".") if files else ""
        for line in (ignored or "").splitlines():
            if line.startswith("!!") and LEFT_OUT.isdisjoint(line[3:].strip('"').split("/")):
                return cls("", "")
        commit = _git(folder, "rev-parse", "HEAD") or ""
        # Whoever can read the provenance is not to learn the builder's password.
        repository = re.sub("^https://[^/]*@", "https://", _git(folder, "remote", "get-url", "origin") or "")
        return cls(repository if commit and repository.startswith(_PAGES) else "", commit)


def write(image: Image, folder: Path, *, source: Source) -> None:
    """Write an image and what is said of it.

    Args:
        image: The image.
        folder: Empty.
        source: Where the application's files come from.

    Raises:
        BuildError: As ``oci.write`` and ``provenance.statement`` raise.
        ConfigurationError: Its registers make no release.
        OSError: The folder cannot be written.
    """
    app = image.recipe.app
    for name, content in image.files.items():
        (folder / name).write_bytes(content)
    (folder / outputs.LOCK).write_bytes(image.lock.encode())
    text = release_text(app, image.variants, about=_ABOUT)
    (folder / outputs.RELEASE).write_text(text, encoding="utf-8")
    document, _ = write_as(Release.parse(text), "corim")
    (folder / outputs.CORIM).write_bytes(document)
    layers = (image.layers.platform, image.layers.application)
    oci.write(folder / outputs.OCI, layers, _settings(image), name=f"{app.name}:{app.version}")
    if image.enclave is not None:
        (folder / outputs.GRAMINE).mkdir()
        gramine.place(image.enclave, folder / outputs.GRAMINE)
    for name, content in accounts(image).items():
        (folder / name).write_bytes(content)
    (folder / outputs.PROVENANCE).write_bytes(_provenance(image, folder, source))


def _settings(image: Image) -> oci.Settings:
    """Say how a container of an image's files starts the application, without an agent."""
    app = image.recipe.app
    if image.inside is None:
        return oci.Settings(entry=app.entry, environment=app.environment, folder=APP, user=f"{USER}:{USER}")
    inside = ("/usr/bin/python3", "-ISB", _CONFINE, "--inside", ROOT, image.inside, str(USER))
    return oci.Settings(entry=(*inside, *app.entry), environment=app.environment)


def _provenance(image: Image, folder: Path, source: Source) -> bytes:
    """Say how all that lies in a folder was made."""
    materials = [
        provenance.Material(name=f"{one.name} {one.version}", uri=one.purl, sha256=bytes.fromhex(one.sha256))
        for one in components.of_lock(image.lock)
    ]
    recipe = (image.recipe.folder / "nacre.toml").read_bytes()
    return provenance.statement(
        provenance.Provenance(
            outputs={name: bytes.fromhex(digest) for name, digest in sums(folder).items()},
            recipe=hashlib.sha256(recipe).digest(),
            lock=bytes.fromhex(image.lock.digest),
            targets=image.recipe.build.targets,
            materials=tuple(materials),
            repository=source.repository,
            commit=source.commit,
            builder=_BUILDER,
            version=image.lock.nacre,
        )
    )


def _git(folder: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603 (our own command line)
            ["git", *words],  # noqa: S607 (the one that the user has)
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
