# SPDX-License-Identifier: Apache-2.0
"""Compiled ahead: what an agent loads in a sandbox in which no bytecode can be written.

An installer compiles a package; nobody does that for sources in which one works, and every start of an agent
would take twice as long.
"""

import compileall
import sys
from pathlib import Path

import nacre

__all__ = ["compile_ahead"]

#: What an agent loads and hardly anybody outside does, so that Python itself seldom compiles it.
_FOLDERS = ("enclave/agent", "platforms")


def compile_ahead(package: Path = Path(nacre.__file__).parent) -> None:
    """Write the bytecode that is missing or old; where that is forbidden or fails, starts stay slow."""
    if sys.dont_write_bytecode:
        return
    for folder in _FOLDERS:
        compileall.compile_dir(package / folder, maxlevels=0, quiet=2)
