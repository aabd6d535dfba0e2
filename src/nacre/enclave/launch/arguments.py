# SPDX-License-Identifier: Apache-2.0
"""What may stand on another program's command line, and how it is written there.

No shell is ever between us and the program, so quotes and spaces mean nothing. What is left: a word that
begins with a dash is taken for an option, a comma ends one of QEMU's, and a line break forges a log.
"""

import base64
import os
from pathlib import Path

from nacre.errors import EnclaveError

__all__ = ["base64_of", "number", "qemu_value", "word"]


def word(value: str | Path, *, what: str, option: bool = False) -> str:
    """Return a word as it stands alone on a command line.

    Args:
        value: A path or a name.
        what: What it is, for the error.
        option: It may begin with a dash: it is ours, and nobody's path.

    Raises:
        EnclaveError: ``launch-word``: it is empty, begins with a dash, has control characters, or is no text.
    """
    text = os.fspath(value)
    if not text:
        raise EnclaveError("launch-word", what=what, expected="it is empty", actual=text)
    if text.startswith("-") and not option:
        raise EnclaveError("launch-word", what=what, expected="it begins with a dash", actual=text)
    if not text.isprintable():
        raise EnclaveError("launch-word", what=what, expected="not all of it can be printed", actual=text)
    return text


def qemu_value(value: str | Path, *, what: str) -> str:
    """Return a value among QEMU's options ``name=value,…``: its commas doubled.

    Raises:
        EnclaveError: As ``word`` raises.
    """
    return word(value, what=what).replace(",", ",,")


def number(value: int, *, what: str, least: int, most: int) -> str:
    """Return a number in decimal.

    Raises:
        EnclaveError: ``launch-number``: it is not between `least` and `most`.
    """
    if not least <= value <= most:
        raise EnclaveError("launch-number", what=what, expected=f"{least} to {most}", actual=value)
    return str(value)


def base64_of(value: bytes, *, what: str, size: int) -> str:
    """Return bytes as QEMU reads them.

    Raises:
        EnclaveError: ``launch-size``: they are not `size` many.
    """
    if len(value) != size:
        raise EnclaveError("launch-size", what=what, expected=size, actual=len(value))
    return base64.b64encode(value).decode()
