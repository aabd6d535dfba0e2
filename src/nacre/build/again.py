# SPDX-License-Identifier: Apache-2.0
"""A release's source, found again: the commit that its provenance names, in a place of its own."""

import hashlib
import os
import subprocess
from pathlib import Path

from nacre.build.lock import Lock
from nacre.build.provenance import Provenance
from nacre.errors import BuildError, NacreError

__all__ = ["checked_out", "project"]

_RECIPE = "nacre.toml"
_PATIENCE = 600
_TAIL = 1000
#: The commit's bytes, whatever this user's Git makes of line ends; no program that a repository names.
_PLAIN = (
    *("-c", "core.hooksPath=/dev/null", "-c", "core.autocrlf=false", "-c", "core.symlinks=true"),
    *("-c", "protocol.ext.allow=never", "-c", "advice.detachedHead=false"),
)


def checked_out(repository: str, commit: str, folder: Path) -> None:
    """Bring a commit into an empty folder.

    Args:
        repository: ``https://…``, ``ssh://…``, ``file://…`` or a folder.
        commit: Hex.
        folder: Where to.

    Raises:
        BuildError: ``source-unreachable``.
    """
    # Who runs this from a hook of Git's has another repository's folder in the environment.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    for words in (
        ("clone", "--quiet", "--no-checkout", "--", repository, str(folder)),
        ("-C", str(folder), "checkout", "--quiet", commit, "--"),
    ):
        try:
            done = subprocess.run(  # noqa: S603 (our own command line)
                ["git", *_PLAIN, *words],  # noqa: S607 (the one that the user has)
                env={**kept, "GIT_TERMINAL_PROMPT": "0"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
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
    """Find the folder of a source whose ``nacre.toml`` is the one that was built; of several, with its lock.

    Raises:
        BuildError: ``source-other``: no ``nacre.toml`` is that one.
    """
    found = [
        path.parent
        for path in sorted(folder.rglob(_RECIPE))
        if path.is_file()
        and not path.is_symlink()
        and hashlib.sha256(path.read_bytes()).digest() == provenance.recipe
    ]
    if not found:
        raise BuildError("source-other", expected=provenance.recipe.hex())
    return next((one for one in found if _locked(one) == provenance.lock.hex()), found[0])


def _locked(folder: Path) -> str:
    try:
        return Lock.load(folder).digest
    except NacreError:
        return ""
