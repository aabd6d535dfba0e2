# SPDX-License-Identifier: Apache-2.0
"""Python compiled ahead of time: an enclave that cannot keep a cache would compile at every start.

The same source gives the same bytes: what the compiler shares between constants, which depends on what ran
before in its process, is not written down (marshal's second version).
"""

import importlib.util
import marshal
import posixpath
import sys

__all__ = ["compiled"]

_UNCHECKED_HASH = (1).to_bytes(4, "little")
_VERSION = 2


def compiled(path: str, source: bytes) -> tuple[str, bytes] | None:
    """Compile a module of an image.

    Args:
        path: Where it is in the image, relative to its root.
        source: Its text.

    Returns:
        Path and content of the compiled file, or None if the source is not of this version of Python.
    """
    try:
        code = compile(source, f"/{path}", "exec", dont_inherit=True, optimize=0)
    except (SyntaxError, ValueError):
        return None
    folder, name = posixpath.split(path)
    cached = posixpath.join(folder, "__pycache__", f"{name[:-3]}.{sys.implementation.cache_tag}.pyc")
    head = importlib.util.MAGIC_NUMBER + _UNCHECKED_HASH + importlib.util.source_hash(source)
    return cached, head + marshal.dumps(code, _VERSION)
