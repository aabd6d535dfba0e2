# SPDX-License-Identifier: Apache-2.0
"""The sandbox of a simulated run where bubblewrap is not installed: what ``bare.py`` is told."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from nacre.build.layout import USER
from nacre.enclave.launch import bare
from nacre.errors import EnclaveError

__all__ = ["confine", "insist", "sandbox"]

_PATIENCE = 20.0


def sandbox(
    command: Sequence[str], *, readable: Sequence[Path], writable: Sequence[Path], info: int = -1
) -> tuple[str, ...]:
    """Return the command line that runs `command` without network and with few files.

    Args:
        command: The program inside and its arguments; it is the first process there.
        readable: What the inside reads at the same path, beside the system's libraries under `/usr`.
        writable: What it also changes: the folder of its sockets.
        info: A descriptor to which the number of the first process is written, in JSON.
    """
    room = bare.Room(
        user=USER,
        readable=tuple(map(str, readable)),
        writable=tuple(map(str, writable)),
        info=info,
    )
    return (*_line(room), *command)


def confine(*, readable: Sequence[Path], writable: Sequence[Path], directory: Path) -> tuple[str, ...]:
    """Return what is put before an application's command line within the sandbox.

    Afterwards it sees its own files, the folder of its own sockets, and no process but its own.

    Args:
        readable: What the application reads at the same path.
        writable: What it also changes.
        directory: Where it starts.
    """
    room = bare.Room(
        user=USER,
        readable=tuple(map(str, readable)),
        writable=tuple(map(str, writable)),
        directory=str(directory),
        network=True,
        first=False,
    )
    return _line(room)


def insist() -> None:
    """Try it.

    Raises:
        EnclaveError: ``sandbox-missing``: this machine does not allow it.
    """
    line = sandbox(["/usr/bin/env", "true"], readable=[], writable=[])
    done = subprocess.run(line, capture_output=True, check=False, timeout=_PATIENCE)  # noqa: S603 (ours)
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip() or f"status {done.returncode}"
        raise EnclaveError("sandbox-missing", actual=said)


def _line(room: bare.Room) -> tuple[str, ...]:
    return (sys.executable, "-IS", bare.__file__, room.encode())
