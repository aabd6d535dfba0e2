# SPDX-License-Identifier: Apache-2.0
"""Python compiled ahead of time by the interpreter in the image, so that nothing of this machine's gets in.

It is run from a folder, by the image's own loader and libraries. The compiled files name no time: their
sources are part of the same measured image, so nobody has to compare them.
"""

import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from nacre.build.cpio import Member, file
from nacre.build.libraries import bytes_of, leads_to
from nacre.errors import BuildError

__all__ = ["compiled"]

_LOADER = "usr/lib64/ld-linux-x86-64.so.2"
_LIBRARIES = "usr/lib/x86_64-linux-gnu"
_MAX_LINKS = 16
_PATIENCE = 600
_TAIL = 2000
# Reads names and writes what they compile to; the second version of marshal does not write down what the
# compiler shares between constants, which depends on what ran before.
_PROGRAM = """
import importlib.util, marshal, sys
head = importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little")
for line in sys.stdin:
    path = line.rstrip("\\n")
    with open(path, "rb") as stream:
        source = stream.read()
    try:
        code = compile(source, "/" + path, "exec", dont_inherit=True, optimize=0)
    except (SyntaxError, ValueError):
        continue
    with open(path + "c", "wb") as stream:
        stream.write(head + importlib.util.source_hash(source) + marshal.dumps(code, 2))
print(sys.implementation.cache_tag)
"""


def compiled(members: Iterable[Member], *, python: str) -> list[tuple[str, Member]]:
    """Compile all modules of an image.

    Args:
        members: The image's files.
        python: The version of its Python.

    Returns:
        The path of each module, and the file with what it compiles to.

    Raises:
        BuildError: ``bytecode-failed``: the image's interpreter does not run here.
    """
    placed = {member.entry.path: member for member in members}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        modules = []
        for path, member in placed.items():
            content = _file(member, placed)
            if content is None or not path.startswith(("usr/", "app/")):
                continue
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            target.chmod(0o700)
            if target.suffix == ".py" and member.entry.kind != "link":
                modules.append(path)
        tag = _run(folder, python, sorted(modules))
        found = []
        for module in sorted(modules):
            made = folder / f"{module}c"
            if made.exists():
                parent, _, base = module.rpartition("/")
                cached = f"{parent}/__pycache__/{base.removesuffix('.py')}.{tag}.pyc"
                found.append((module, file(cached, made.read_bytes())))
    return found


def _file(member: Member, placed: Mapping[str, Member]) -> bytes | None:
    """Return a file's content; of a link, that of the file it leads to: no link is made on this machine."""
    for _ in range(_MAX_LINKS):
        if member.entry.kind in ("file", "program"):
            return bytes_of(member)
        found = placed.get(leads_to(member)) if member.entry.kind == "link" else None
        if found is None:
            return None
        member = found
    return None


def _run(folder: Path, python: str, modules: list[str]) -> str:
    command = [
        *(str(folder / _LOADER), "--library-path", str(folder / _LIBRARIES)),
        *(str(folder / f"usr/bin/python{python}"), "-SBX", "utf8", "-c", _PROGRAM),
    ]
    environment = {"PYTHONHOME": str(folder / "usr"), "PYTHONHASHSEED": "0"}
    try:
        done = subprocess.run(  # noqa: S603 (what the image is made of)
            command,
            cwd=folder,
            env=environment,
            input="".join(f"{module}\n" for module in modules),
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError("bytecode-failed", actual=getattr(error, "strerror", None) or str(error)) from None
    if done.returncode != 0:
        raise BuildError("bytecode-failed", actual=done.stderr.strip()[-_TAIL:])
    return done.stdout.strip()
