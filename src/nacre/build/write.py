# SPDX-License-Identifier: Apache-2.0
"""Everything that a build leaves behind, in a folder that is still empty."""

import hashlib
import subprocess
from pathlib import Path
from typing import Final

from nacre.appraisal.reference.convert import write_as
from nacre.appraisal.release import Release
from nacre.build import components, gramine, oci, outputs, provenance
from nacre.build.accounts import accounts
from nacre.build.folder import sums
from nacre.build.image import Image
from nacre.build.layout import APP, USER
from nacre.build.releases import release_text

__all__ = ["write"]

_ABOUT: Final = "The registers of an image, computed from its bytes by nacre build."
_BUILDER: Final = "urn:uuid:0c6f2ef2-8c0e-4b3c-9a5b-0d6b7a0f7c11"
_PATIENCE: Final = 30
_PAGES: Final = ("https://", "ssh://")


def write(image: Image, folder: Path) -> None:
    """Write an image and what is said of it.

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
    settings = oci.Settings(entry=app.entry, environment=app.environment, folder=APP, user=f"{USER}:{USER}")
    layers = (image.layers.platform, image.layers.application)
    oci.write(folder / outputs.OCI, layers, settings, name=f"{app.name}:{app.version}")
    if image.enclave is not None:
        (folder / outputs.GRAMINE).mkdir()
        gramine.place(image.enclave, folder / outputs.GRAMINE)
    for name, content in accounts(image).items():
        (folder / name).write_bytes(content)
    (folder / outputs.PROVENANCE).write_bytes(_provenance(image, folder))


def _provenance(image: Image, folder: Path) -> bytes:
    """Say how all that lies in a folder was made."""
    materials = [
        provenance.Material(name=f"{one.name} {one.version}", uri=one.purl, sha256=bytes.fromhex(one.sha256))
        for one in components.of_lock(image.lock)
    ]
    recipe = (image.recipe.folder / "nacre.toml").read_bytes()
    repository, commit = _source(image.recipe.folder)
    return provenance.statement(
        provenance.Provenance(
            outputs={name: bytes.fromhex(digest) for name, digest in sums(folder).items()},
            recipe=hashlib.sha256(recipe).digest(),
            lock=bytes.fromhex(image.lock.digest),
            targets=image.recipe.build.targets,
            materials=tuple(materials),
            repository=repository,
            commit=commit,
            builder=_BUILDER,
            version=image.lock.nacre,
        )
    )


def _source(folder: Path) -> tuple[str, str]:
    """Return the repository and the commit of a source; empty where there is none, or where files differ."""
    if _git(folder, "status", "--porcelain", "--", ".") != "":
        return "", ""
    commit = _git(folder, "rev-parse", "HEAD") or ""
    repository = _git(folder, "remote", "get-url", "origin") or ""
    return repository if commit and repository.startswith(_PAGES) else "", commit


def _git(folder: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603
            ["git", *words],  # noqa: S607
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
