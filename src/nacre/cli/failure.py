# SPDX-License-Identifier: Apache-2.0
"""How a command ends: every error as ``error:`` and ``hint:`` lines and an exit status, never a traceback."""

import sys
from collections.abc import Callable

from nacre import errors
from nacre.cli import terminal
from nacre.cli.exits import Exit

__all__ = ["exit_of", "guarded", "report"]

_STATUS: tuple[tuple[type[errors.NacreError], Exit], ...] = (
    (errors.MalformedEvidence, Exit.MALFORMED),
    (errors.UnsupportedEvidence, Exit.UNSUPPORTED),
    (errors.VerificationError, Exit.REJECTED),
    (errors.EndorsementsUnavailable, Exit.UNAVAILABLE),
    (errors.ConfigurationError, Exit.USAGE),
)


def exit_of(error: errors.NacreError) -> Exit:
    """Return the exit status of an error."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), Exit.INTERNAL)


def report(message: str, hint: str = "") -> None:
    """Tell on stderr what went wrong and, if known, what helps."""
    style = terminal.style(sys.stderr)
    lines = [f"{style.paint('error:', 'red', 'bold')} {terminal.clean(message)}"]
    if hint:
        lines.append(f"{style.paint('hint:', 'cyan')} {terminal.clean(hint)}")
    terminal.note(lines)


def guarded(work: Callable[[], int], *, debug: bool = False) -> int:
    """Run a command and turn whatever it raises into words and an exit status."""
    try:
        return int(work())
    except errors.NacreError as error:
        report(str(error), error.hint)
        return exit_of(error)
    except KeyboardInterrupt:
        report("interrupted")
        return Exit.INTERRUPTED
    except Exception as error:
        if debug:
            raise
        report(
            f"internal error: {type(error).__name__}: {error}",
            "this is a bug of nacre; `nacre --debug …` shows where. Nothing was accepted",
        )
        return Exit.INTERNAL
