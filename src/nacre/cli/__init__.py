# SPDX-License-Identifier: Apache-2.0
"""The command ``nacre``: one module per command, no logic; what is slow to import waits for its use."""

import gc
import os
import sys
from collections.abc import Sequence

__all__ = ["main"]

_COMPLETING = "_NACRE_COMPLETE"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit status (:class:`nacre.cli.exits.Exit`)."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = words[:1] == ["--debug"]
    collecting = gc.isenabled()
    # Modules are no garbage: looking for some while they load takes a twentieth of the start.
    gc.disable()
    try:
        from nacre.cli.failure import guarded  # noqa: PLC0415

        return guarded(lambda: _run(words[debug:]), debug=debug)
    finally:
        if collecting:
            gc.enable()


def _run(words: list[str]) -> int:
    if words[:1] == ["verify"] and _COMPLETING not in os.environ:
        from nacre.cli import quick, verifying  # noqa: PLC0415

        request = quick.parse(words[1:])
        if request is not None:
            return verifying.run(request)
    from nacre.cli import group  # noqa: PLC0415

    # From here on commands may work for long.
    gc.enable()
    return group.run(words)
