# SPDX-License-Identifier: Apache-2.0
"""What inputs are got with: mirrors, the folder where they are kept, and who is told how far it is."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from nacre.build.debian.sources import Mirror
from nacre.build.download import Download
from nacre.build.inputs import Inputs
from nacre.build.lock import Deb

__all__ = ["Means"]


class Means(NamedTuple):
    """How inputs are got.

    Attributes:
        mirrors: Of Debian.
        inputs: Where files are kept.
        download: Gets files.
        progress: Takes what is being done, in words.
        image: Where the container image is, if somebody said.
    """

    mirrors: tuple[Mirror, ...]
    inputs: Inputs
    download: Download
    progress: Callable[[str], None] = lambda _: None
    image: Path | None = None

    def deb(self, package: Deb) -> bytes:
        """Return a package's bytes, from what is kept or from any mirror.

        Raises:
            BuildError: ``input-…``, ``download-…``.
        """
        bases = dict.fromkeys(mirror.url for mirror in self.mirrors)
        urls = [f"{base}/{package.path}" for base in bases]
        return self.inputs.fetch(package.input, urls, download=self.download)
