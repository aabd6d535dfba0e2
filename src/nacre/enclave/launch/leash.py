# SPDX-License-Identifier: Apache-2.0
"""``python -IS leash.py COMMAND…``: a program that the kernel ends with the thread that started it."""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

__all__ = ["leashed"]

_DEATH_SIGNAL = 1
_NOT_STARTED = 127


def leashed(command: Sequence[str]) -> tuple[str, ...]:
    """Return the command line that runs another one so."""
    return (sys.executable, "-IS", __file__, *command)


def _main(command: list[str]) -> int:
    ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        os.execvp(command[0], command)  # noqa: S606 (running it is what this is for)
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        return _NOT_STARTED


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
