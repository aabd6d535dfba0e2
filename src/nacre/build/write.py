# SPDX-License-Identifier: Apache-2.0
"""Everything that a build leaves behind, in a folder that is still empty."""

from pathlib import Path

from nacre.appraisal.release import Release
from nacre.build import oci, outputs
from nacre.build.image import Image
from nacre.build.releases import release_text

__all__ = ["write"]

_ABOUT = "The registers of an image, computed from its bytes by nacre build."


def write(image: Image, folder: Path) -> None:
    """Write an image and what is said of it.

    Raises:
        BuildError: As ``oci.write`` raises.
        OSError: The folder cannot be written.
    """
    for name, content in image.files.items():
        (folder / name).write_bytes(content)
    (folder / outputs.LOCK).write_bytes(image.lock.encode())
    app = image.recipe.app
    text = release_text(app, image.variants, about=_ABOUT)
    Release.parse(text)  # what nobody could read is no release
    (folder / outputs.RELEASE).write_text(text, encoding="utf-8")
    settings = oci.Settings(entry=app.entry, environment=app.environment, folder="/app", user="1000:1000")
    oci.write(
        folder / outputs.OCI,
        (image.layers.platform, image.layers.application),
        settings,
        name=f"{app.name}:{app.version}",
    )
