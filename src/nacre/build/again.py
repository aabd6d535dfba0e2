# SPDX-License-Identifier: Apache-2.0
"""A release's source, found again: the commit that its provenance names, in a place of its own."""

import hashlib
import subprocess
from pathlib import Path

from nacre.build.provenance import Provenance
from nacre.errors import BuildError

__all__ = ["checked_out", "project"]

_RECIPE = "nacre.toml"
_PATIENCE = 600
_TAIL = 1000


def checked_out(repository: str, commit: str, folder: Path) -> None:
    """Bring a commit into an empty folder.

    Args:
        repository: ``https://…``, ``ssh://…``, ``file://…`` or a folder.
        commit: Hex.
        folder: Where to.

    Raises:
        BuildError: ``source-unreachable``.
    """
    for words in (
        ("clone", "--quiet", "--no-checkout", "--", repository, str(folder)),
        ("-C", str(folder), "-c", "advice.detachedHead=false", "checkout", "--quiet", commit),
    ):
        try:
            done = subprocess.run(  # noqa: S603
                ["git", "-c", "core.hooksPath=/dev/null", *words],  # noqa: S607
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=_PATIENCE,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            problem = getattr(error, "strerror", None) or str(error)
            raise BuildError("source-unreachable", what=repository, actual=problem) from None
        if done.returncode != 0:
            raise BuildError("source-unreachable", what=repository, actual=done.stderr.strip()[-_TAIL:])


def project(folder: Path, provenance: Provenance) -> Path:
    """Find the folder of a source whose ``nacre.toml`` is the one that was built.

    Raises:
        BuildError: ``source-other``: no ``nacre.toml`` is that one.
    """
    for path in sorted(folder.rglob(_RECIPE)):
        plain = path.is_file() and not path.is_symlink()
        if plain and hashlib.sha256(path.read_bytes()).digest() == provenance.recipe:
            return path.parent
    raise BuildError("source-other", expected=provenance.recipe.hex())
