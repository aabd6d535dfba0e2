# SPDX-License-Identifier: Apache-2.0
"""Parts of Python's standard library that no enclave has a use for."""

from typing import Final

__all__ = ["UNUSED", "unused"]

#: Names of folders and files, wherever they lie in it.
UNUSED: Final = frozenset(
    {
        *("test", "tests", "idlelib", "tkinter", "turtledemo", "turtle.py", "ensurepip", "lib2to3"),
        *("pydoc_data", "sitecustomize.py", "EXTERNALLY-MANAGED", "venv", "distutils", "__pycache__"),
    }
)
_EXTENSIONS: Final = (
    *("_test", "_ctypes_test", "_xx", "xx", "_tkinter", "_curses", "_dbm", "_gdbm", "nis", "ossaudiodev"),
    *("audioop", "readline"),
)


def unused(path: str) -> bool:
    """Tell whether a file, by its path in the library or in an image, is of such a part."""
    parts = path.split("/")
    extension = "lib-dynload" in parts[:-1] and parts[-1].startswith(_EXTENSIONS)
    return extension or not UNUSED.isdisjoint(parts) or any(part.startswith("config-") for part in parts)
