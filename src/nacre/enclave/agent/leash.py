# SPDX-License-Identifier: Apache-2.0
"""``python -IS leash.py COMMAND…``: run an app so that it ends with its agent, even one that was killed.

Standard input is a pipe whose other end only the agent holds. A watcher in the app's process group waits for
its end: then there is no agent any more, and the watcher kills the group, itself with it. Processes that the
app put into a group of their own (``setsid``) are out of its reach.

The kernel does as much, and more, where the agent is the first process of its PID namespace, and a sandbox
around the app ends with its parent: neither needs a leash.

The command gets standard input from nowhere, no further descriptor, no child, and the environment that was
given to this program. The standard library alone is imported, for this runs before each start of an app.
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

__all__ = ["held"]

_NOT_STARTED = 127
_ASKED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
#: What Python ignores, and the app does not.
_IGNORED = (signal.SIGPIPE, signal.SIGXFSZ)


@contextlib.contextmanager
def held(*, needed: bool) -> Iterator[tuple[tuple[str, ...], int]]:
    """Hold the leash of one process while the block lasts.

    Returns:
        What goes before its command, and its standard input; nothing, and ``subprocess.DEVNULL``, if no leash
        is needed.
    """
    if not needed:
        yield (), subprocess.DEVNULL
        return
    reading, writing = os.pipe()
    try:
        yield (sys.executable, "-IS", __file__), reading
    finally:
        os.close(writing)
        os.close(reading)


def _main(command: list[str]) -> int:
    agent = os.dup(0)
    nowhere = os.open(os.devnull, os.O_RDWR)
    between = os.fork()
    if between == 0:
        # Its parent ends at once: the app is not to find a child that it does not know.
        if os.fork() == 0:
            _watch(agent, nowhere)
        os._exit(0)
    os.waitpid(between, 0)
    os.dup2(nowhere, 0)
    for number in _IGNORED:
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvpe(command[0], command, _environment())  # noqa: S606 (running it is what this is for)
    except OSError as error:
        sys.stderr.write(f"{command[0]} cannot be started: {error.strerror}\n")
        return _NOT_STARTED


def _watch(agent: int, nowhere: int) -> NoReturn:
    """Wait until nobody holds the leash, and kill the group; who asks the group to end does not mean this."""
    for number in _ASKED:
        signal.signal(number, signal.SIG_IGN)
    for standard in range(3):
        os.dup2(nowhere, standard)
    while os.read(agent, 1):
        pass
    os.killpg(0, signal.SIGKILL)
    os._exit(0)


def _environment() -> dict[bytes, bytes]:
    """Return the environment as it was given; Python may have added a locale of its own to it."""
    pairs = (entry.partition(b"=") for entry in Path("/proc/self/environ").read_bytes().split(b"\0"))
    return {name: value for name, _, value in pairs if name}


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
