# SPDX-License-Identifier: Apache-2.0
"""What of Nacre is in an image: the agent, the client for applications, and what those import. No more.

What is imported is read from the sources, so it does not depend on what this machine would have run.
"""

import ast
import functools
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import nacre
from nacre.build.cpio import Member, file
from nacre.errors import BuildError

__all__ = ["REQUIREMENTS", "digest", "members"]

#: What the agent imports of others, with the hashes of every file of it; a file of pip's.
REQUIREMENTS = Path(__file__).with_name("agent.txt")

_ROOTS = (
    "nacre.enclave.agent.__main__",
    "nacre.enclave.boot.init",
    "nacre.enclave.client",
    # Found by name, for the platform that the machine is of.
    *(f"nacre.platforms.{name}.device" for name in ("nitro", "sgx", "snp", "tdx")),
)
_OTHER_FILES = {"nacre": ("reasons.json",), "nacre.enclave": ("openapi.json",)}


def members(*, below: str) -> tuple[Member, ...]:
    """Return the modules and what they read, at a place in the image."""
    files = _files()
    return tuple([file(f"{below}/{path}", content) for path, content in sorted(files.items())])


def digest() -> str:
    """Return the SHA-256 of all of it, hex: images of different code differ."""
    whole = hashlib.sha256()
    for path, content in sorted(_files().items()):
        whole.update(hashlib.sha256(path.encode()).digest() + hashlib.sha256(content).digest())
    return whole.hexdigest()


@functools.cache
def _files() -> Mapping[str, bytes]:
    root = Path(nacre.__file__).parent.parent
    found: dict[str, bytes] = {}
    waiting = list(_ROOTS)
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        parent = name.rpartition(".")[0]
        if parent:
            waiting.append(parent)
        path = _path(root, name)
        if path is None:  # a name in a module
            continue
        try:
            content = path.read_bytes()
            others = {other: path.with_name(other).read_bytes() for other in _OTHER_FILES.get(name, ())}
        except OSError as error:
            raise BuildError("tree-unreadable", file=str(path), actual=error.strerror or "an error") from None
        place = path.relative_to(root)
        found[place.as_posix()] = content
        found.update({place.with_name(other).as_posix(): data for other, data in others.items()})
        waiting += _imported(content)
    return found


def _path(root: Path, name: str) -> Path | None:
    base = root.joinpath(*name.split("."))
    for path in (base / "__init__.py", base.with_suffix(".py")):
        if path.is_file():
            return path
    return None


def _imported(source: bytes) -> Iterator[str]:
    """List what of Nacre a module imports, wherever in it, but for type checkers."""
    waiting: list[ast.AST] = [ast.parse(source)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            waiting += node.orelse
            continue
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "nacre":
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "nacre")
        waiting += ast.iter_child_nodes(node)
