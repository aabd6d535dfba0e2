# SPDX-License-Identifier: Apache-2.0
"""What of a launcher's needs is on this machine, and starting it only if all is."""

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from nacre.errors import EnclaveError

__all__ = ["absent", "knows_object", "run", "spawn"]

_PATIENCE = 60.0


def absent(*, programs: Mapping[str, str], devices: Mapping[Path, str]) -> tuple[str, ...]:
    """Say which programs and devices are not here.

    Args:
        programs: Names, and what each belongs to.
        devices: Paths, and what makes each appear.
    """
    no_programs = [
        f"the program {name} ({belongs})" for name, belongs in programs.items() if not shutil.which(name)
    ]
    no_devices = [f"{path} ({comes})" for path, comes in devices.items() if not path.exists()]
    return (*no_programs, *no_devices)


def knows_object(qemu: str, name: str) -> bool:
    """Tell whether a QEMU was built with a kind of object."""
    program = shutil.which(qemu)
    if program is None:
        return False
    listed = subprocess.run([program, "-object", "help"], capture_output=True, check=False, timeout=_PATIENCE)  # noqa: S603 (our own command line)
    return name.encode() in listed.stdout.split()


def spawn(command: Sequence[str], *, missing: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start a program that runs as long as the enclave does; what it complains about is in its ``stderr``.

    Raises:
        EnclaveError: ``launch-missing``, ``launch-failed``.
    """
    _refuse(command, missing)
    try:
        return subprocess.Popen(  # noqa: S603 (our own command line)
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
    except OSError as error:
        raise EnclaveError("launch-failed", what=command[0], actual=error.strerror or "an error") from None


def run(command: Sequence[str], *, missing: Sequence[str]) -> bytes:
    """Run a program to its end and return what it printed.

    Raises:
        EnclaveError: ``launch-missing``, ``launch-failed``.
    """
    _refuse(command, missing)
    try:
        done = subprocess.run(  # noqa: S603 (our own command line)
            command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=_PATIENCE
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        actual = getattr(error, "strerror", None) or f"no end within {_PATIENCE:.0f} seconds"
        raise EnclaveError("launch-failed", what=command[0], actual=actual) from None
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip() or f"status {done.returncode}"
        raise EnclaveError("launch-failed", what=command[0], actual=said)
    return done.stdout


def _refuse(command: Sequence[str], missing: Sequence[str]) -> None:
    if missing:
        raise EnclaveError("launch-missing", what=command[0], actual="; ".join(missing))
