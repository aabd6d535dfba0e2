# SPDX-License-Identifier: Apache-2.0
"""The sandbox of a simulated run that is a process of this machine: what bubblewrap is told.

It keeps the inside from the network and the machine's files, and the application from the agent and the
device. It does not keep the machine out: whoever runs it reads its memory.
"""

from collections.abc import Sequence
from pathlib import Path

from nacre.build.layout import USER

__all__ = ["confine", "sandbox"]

_LINKS = ("/bin", "/lib", "/lib64")


def sandbox(
    command: Sequence[str], *, readable: Sequence[Path], writable: Sequence[Path], info: int = -1
) -> tuple[str, ...]:
    """Return the command line that runs `command` without network and with few files.

    Args:
        command: The program inside and its arguments; it is the first process there.
        readable: What the inside reads at the same path, beside the system's libraries under `/usr`.
        writable: What it also changes: the folder of its sockets.
        info: A descriptor to which bubblewrap writes, in JSON, the number of the first process.
    """
    line = ["bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL"]
    # Not the inside's root, even if it is ours: the kernel lets only others have a user namespace below.
    line += ["--unshare-user", "--uid", str(USER), "--gid", str(USER), "--as-pid-1"]
    if info >= 0:
        line += ["--info-fd", str(info)]
    line += ["--ro-bind", "/usr", "/usr", "--proc", "/proc", *_view(readable, writable)]
    return (*line, "--chdir", "/", "--", *command)


def confine(*, readable: Sequence[Path], writable: Sequence[Path], directory: Path) -> tuple[str, ...]:
    """Return what is put before an application's command line within the sandbox.

    Afterwards it sees its own files and the folder of its own sockets. The agent's processes are listed in
    its `/proc`, but belong to a user namespace above: their memory and files stay closed, and no signal
    reaches them.

    Args:
        readable: What the application reads at the same path.
        writable: What it also changes.
        directory: Where it starts.
    """
    # When asked to end, the application does, not the sandbox around it: that would cut it short.
    line = ["env", "--ignore-signal=TERM", "bwrap", "--die-with-parent", "--cap-drop", "ALL"]
    line += ["--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts"]
    line += ["--ro-bind", "/usr", "/usr", "--ro-bind", "/proc", "/proc", *_view(readable, writable)]
    return (*line, "--chdir", str(directory), "--", "env", "--default-signal=TERM")


def _view(readable: Sequence[Path], writable: Sequence[Path]) -> list[str]:
    line = ["--dev", "/dev", "--tmpfs", "/tmp"]  # noqa: S108 (the inside's own)
    for path in _LINKS:
        line += ["--ro-bind-try", path, path]
    for path in map(str, readable):
        line += ["--ro-bind", path, path]
    for path in map(str, writable):
        line += ["--bind", path, path]
    return [*line, "--remount-ro", "/"]
