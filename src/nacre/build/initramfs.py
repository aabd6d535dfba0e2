# SPDX-License-Identifier: Apache-2.0
"""The first file system of an enclave: Python, Nacre's agent as ``/init``, and the application.

Interpreter, libraries and dependencies are those of the system that builds, by their content: two builds on
one system are the same bytes, builds on two systems are not. There is no shell and no other program.
"""

import importlib.metadata
import posixpath
import site
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import nacre
from nacre.build.bytecode import compiled
from nacre.build.cpio import Member, file, folder, link, members, write
from nacre.build.elf import closure
from nacre.build.layout import APP, CONFIGURATION, MODULES
from nacre.build.rootfs import GROUPS, USERS
from nacre.build.stdlib import UNUSED, unused
from nacre.build.tree import LEFT_OUT, Entry, Tree
from nacre.errors import BuildError

__all__ = ["build", "contents"]

_INIT = b"""#!/usr/bin/python3 -IB
from nacre.enclave.boot.init import main

main()
"""
_NAME = f"python{sys.version_info.major}.{sys.version_info.minor}"
_STDLIB = f"usr/lib/{_NAME}"
#: Parts of the standard library that no enclave has a use for, or that tell how the interpreter was built.
_UNUSED = LEFT_OUT | UNUSED | {"site-packages", "dist-packages"}
_UNUSED_PREFIX = "_sysconfigdata_"
#: What the agent imports; of cffi only the part that runs.
_DEPENDENCIES = {"cryptography": "", "cffi": "_cffi_backend", "h11": "", "msgspec": ""}
_IMPORTS = """
import sys
import nacre.enclave.agent.running, nacre.enclave.boot.init, nacre.enclave.boot.nsm
import nacre.platforms.nitro.device, nacre.platforms.snp.device, nacre.platforms.tdx.device
import encodings.idna
print(*sys.modules)
"""
_INSTALLERS = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"}


def build(
    stream: BinaryIO, tree: Tree, *, configuration: bytes, modules: Iterable[tuple[str, bytes]] = ()
) -> None:
    """Write an image.

    Args:
        stream: Where to.
        tree: The application's files.
        configuration: The agent's, as ``Config.encode`` writes it.
        modules: Name and content of kernel modules, in the order in which they have to be loaded.

    Raises:
        BuildError: As ``contents`` and ``cpio.write`` raise.
    """
    write(stream, contents(tree, configuration=configuration, modules=modules))


def contents(
    tree: Tree, *, configuration: bytes, modules: Iterable[tuple[str, bytes]] = ()
) -> tuple[Member, ...]:
    """List what is in an image.

    Raises:
        BuildError: ``image-dependency``: a distribution is not installed; ``elf-library``: a shared library
            is not here; ``tree-…``: a file cannot be read.
    """
    python, on_host = _python()
    loaded = [
        file(f"{MODULES[1:]}/{number:02}-{name}", content) for number, (name, content) in enumerate(modules)
    ]
    return (
        file("init", _INIT, program=True),
        file(CONFIGURATION[1:], configuration),
        file("etc/passwd", USERS),
        file("etc/group", GROUPS),
        *(folder(name) for name in ("dev", "proc", "run", "sys", "tmp")),
        *loaded,
        *python,
        *_libraries(on_host),
        *members(tree, below=APP[1:]),
    )


def _python() -> tuple[list[Member], list[Path]]:
    """List interpreter, standard library, Nacre and dependencies; and where on this system their code is."""
    interpreter = Path(sys.base_prefix) / "bin" / _NAME
    placed = {f"usr/bin/{_NAME}": interpreter.resolve()}
    stdlib = Tree.read(
        sysconfig.get_path("stdlib", vars={"installed_base": sys.base_prefix}), left_out=_UNUSED
    )
    # Where the interpreter looks for them; Debian's has its own place, the last of the list.
    packages = site.getsitepackages(["/usr"])[-1].lstrip("/")
    for name, part in _DEPENDENCIES.items():
        placed.update(_distribution(name, part, packages))
    whole = [
        *_placed(placed),
        link("usr/bin/python3", _NAME),
        *(one for one in members(stdlib, below=_STDLIB) if not _unused(one.entry.path)),
        *members(Tree.read(Path(nacre.__file__).parent), below=f"{packages}/nacre"),
    ]
    libraries = [
        stdlib.folder / posixpath.relpath(one.entry.path, _STDLIB)
        for one in whole
        if one.entry.path.startswith(f"{_STDLIB}/lib-dynload/")
    ]
    return [*whole, *_compiled(whole)], [*placed.values(), *libraries]


def _compiled(python: Iterable[Member]) -> Iterator[Member]:
    """Compile what the agent imports; other modules are compiled when an application asks for them."""
    # What is imported is asked of a process that has imported nothing else.
    listed = subprocess.run(  # noqa: S603 (this interpreter)
        [sys.executable, "-IBX", "utf8", "-c", _IMPORTS], env={}, check=True, capture_output=True, text=True
    ).stdout.split()
    wanted = {f"{name.replace('.', '/')}{end}" for name in listed for end in (".py", "/__init__.py")}
    for one in python:
        path = one.entry.path
        parts = path.removeprefix(f"{_STDLIB}/").split("/")
        if parts[0] in ("usr", "site-packages", "dist-packages"):
            parts = path.partition("-packages/")[2].split("/")
        if "/".join(parts) in wanted and (made := compiled(path, b"".join(one.content))) is not None:
            yield file(*made)


def _unused(path: str) -> bool:
    return unused(path) or any(part.startswith(_UNUSED_PREFIX) for part in path.split("/"))


def _distribution(name: str, part: str, below: str) -> Iterator[tuple[str, Path]]:
    try:
        files = importlib.metadata.files(name) or []
    except importlib.metadata.PackageNotFoundError:
        raise BuildError("image-dependency", what=name) from None
    for one in files:
        path = one.as_posix()
        left = path.startswith(("..", "/")) or one.name in _INSTALLERS or not LEFT_OUT.isdisjoint(one.parts)
        if not left and path.startswith(part):
            yield f"{below}/{path}", Path(str(one.locate())).resolve()


def _libraries(paths: Iterable[Path]) -> Iterator[Member]:
    found = closure(paths)
    # The loader looks in few places without being told to; where the C library is, is one of them.
    place = next((str(path.parent) for name, path in found.items() if name.startswith("libc.so")), "/usr/lib")
    yield from _placed(
        {
            (name if "/" in name else f"{place}/{name}").lstrip("/"): path.resolve()
            for name, path in found.items()
        }
    )


def _placed(paths: Mapping[str, Path]) -> Iterator[Member]:
    """Place single files of this system; like trees they are read piece by piece when they are written."""
    for path, source in paths.items():
        tree = Tree.only(source)
        (entry,) = tree.entries
        placed = Entry(path=path, kind=entry.kind, size=entry.size, digest=entry.digest)
        yield Member(placed, tree.content(entry))
