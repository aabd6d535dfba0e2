# SPDX-License-Identifier: Apache-2.0
"""The sandbox of a simulated run that is a process of this machine: what bubblewrap is told.

It keeps the inside from the network and the machine's files. It does not keep the machine out: whoever runs
it reads its memory.
"""

from collections.abc import Sequence
from pathlib import Path

__all__ = ["sandbox"]

_LINKS = ("/bin", "/lib", "/lib64")


def sandbox(command: Sequence[str], *, readable: Sequence[Path], writable: Sequence[Path]) -> tuple[str, ...]:
    """Return the command line that runs `command` without network and with few files.

    Args:
        command: The program inside and its arguments.
        readable: What the inside reads at the same path, beside the system's libraries under `/usr`.
        writable: What it also changes: the folder of its sockets.
    """
    line = ["bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL"]
    line += ["--ro-bind", "/usr", "/usr", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]  # noqa: S108 -- the inside's own
    for path in _LINKS:
        line += ["--ro-bind-try", path, path]
    for path in map(str, readable):
        line += ["--ro-bind", path, path]
    for path in map(str, writable):
        line += ["--bind", path, path]
    return (*line, "--chdir", "/", "--", *command)
