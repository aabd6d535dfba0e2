# SPDX-License-Identifier: Apache-2.0
"""Python compiled ahead of time by the interpreter in the image, so that nothing of this machine's gets in.

It is run from a folder, by the image's own loader and libraries. The compiled files name no time: their
sources are part of the same measured image, so nobody has to compare them.
"""

import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from nacre.build import bytecode
from nacre.build.cpio import Member, file
from nacre.build.libraries import bytes_of, destination
from nacre.errors import BuildError

__all__ = ["compiled"]

_LOADER = "usr/lib64/ld-linux-x86-64.so.2"
_LIBRARIES = "usr/lib/x86_64-linux-gnu"
_PATIENCE = 600
_TAIL = 2000
# Behind the source of ``bytecode``, which needs nothing of Nacre: reads names, writes what they compile to.
_DRIVER = """
for line in sys.stdin:
    path = line.rstrip("\\n")
    with open(path, "rb") as stream:
        made = compiled(path, stream.read())
    if made is not None:
        with open(path + "c", "wb") as stream:
            stream.write(made[1])
print(sys.implementation.cache_tag)
"""


def compiled(
    platform: Iterable[Member], application: Iterable[Member], *, python: str
) -> list[tuple[str, Member]]:
    """Compile all modules of an image.

    Args:
        platform: The files of the layer that the interpreter is in; nothing else is in its reach.
        application: The files of the other: read, and never run or loaded here.
        python: The version of its Python.

    Returns:
        The path of each module, and the file with what it compiles to.

    Raises:
        BuildError: ``bytecode-failed``: the image's interpreter does not run here.
    """
    with tempfile.TemporaryDirectory() as name:
        runs, sources = Path(name) / "runs", Path(name) / "sources"
        sources.mkdir()
        modules = [
            member
            for member in (*platform, *application)
            if member.entry.kind in ("file", "program")
            and member.entry.path.startswith(("usr/", "app/"))
            and member.entry.path.endswith(".py")
        ]
        try:
            _place(runs, platform)
            for member in modules:
                _write(sources / member.entry.path, bytes_of(member))
        except OSError as error:
            raise BuildError("bytecode-failed", actual=error.strerror or "an error") from None
        names = sorted(member.entry.path for member in modules)
        tag = _run(runs, sources, python, names)
        found = []
        for module in names:
            made = sources / f"{module}c"
            if made.exists():
                parent, _, base = module.rpartition("/")
                cached = f"{parent}/__pycache__/{base.removesuffix('.py')}.{tag}.pyc"
                found.append((module, file(cached, made.read_bytes())))
    return found


def _place(folder: Path, members: Iterable[Member]) -> None:
    """Write what the interpreter needs to run, and what it can load."""
    placed = {member.entry.path: member for member in members}
    for path, member in placed.items():
        content = _file(member, placed)
        if content is not None and path.startswith("usr/"):
            _write(folder / path, content)


def _write(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    file.chmod(0o700)


def _file(member: Member, placed: Mapping[str, Member]) -> bytes | None:
    """Return a file's content; of a link, that of the file it leads to: no link is made on this machine."""
    found = placed.get(destination(member.entry.path, placed))
    return bytes_of(found) if found is not None and found.entry.kind in ("file", "program") else None


def _run(folder: Path, sources: Path, python: str, modules: list[str]) -> str:
    command = [
        *(str(folder / _LOADER), "--inhibit-cache", "--library-path", str(folder / _LIBRARIES)),
        *(
            str(folder / f"usr/bin/python{python}"),
            "-SBX",
            "utf8",
            "-c",
            Path(bytecode.__file__).read_text() + _DRIVER,
        ),
    ]
    environment = {"PYTHONHOME": str(folder / "usr"), "PYTHONHASHSEED": "0"}
    try:
        done = subprocess.run(  # noqa: S603 (what the image is made of)
            command,
            cwd=sources,
            env=environment,
            input="".join(f"{module}\n" for module in modules),
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
            timeout=_PATIENCE,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError("bytecode-failed", actual=getattr(error, "strerror", None) or str(error)) from None
    if done.returncode != 0:
        said = done.stderr.strip()[-_TAIL:]
        raise BuildError("bytecode-failed", actual=said or f"status {done.returncode}")
    return done.stdout.strip()
