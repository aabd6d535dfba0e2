# SPDX-License-Identifier: Apache-2.0
"""Python's packages: found by pip for the image's Python, unpacked by nobody but us, run by nobody.

Only wheels, and only with hashes: a source distribution would run its own code while it is built.

Source: the binary distribution format of Python's packaging specifications.
"""

import io
import os
import posixpath
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Literal

from nacre.build.cpio import Member, file
from nacre.build.inputs import Input, Inputs
from nacre.build.lock import Wheel
from nacre.errors import BuildError

__all__ = ["download", "fetch", "read"]

_Use = Literal["agent", "app"]

#: The C library of the oldest and of the newest platform tag that is taken: 2.17 is of 2014.
_OLDEST_LIBC = 17
_INSTALLER = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"}
_MAX_PLAIN = 1 << 31
_TAIL = 2000


def download(
    requirements: Path,
    *,
    python: str,
    libc: int,
    inputs: Inputs,
    use: _Use,
    only: AbstractSet[str] = frozenset(),
) -> tuple[Wheel, ...]:
    """Have pip find the wheels that a file of requirements names, and keep them.

    Args:
        requirements: The file; each requirement has its hashes.
        python: The image's version of Python, ``3.11``.
        libc: The minor version of its C library, glibc.
        inputs: Where they are kept.
        use: ``agent`` or ``app``.
        only: Names of distributions, normalised; all if empty.

    Raises:
        BuildError: ``wheels-tool``: there is no pip; ``wheels-failed``, with pip's words.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
            *("--no-deps", "--require-hashes", "--only-binary=:all:", "--implementation", "cp"),
            *("--python-version", python, "--requirement", os.fspath(requirements), "--dest", folder),
        ]
        for minor in range(libc, _OLDEST_LIBC - 1, -1):
            command += ["--platform", f"manylinux_2_{minor}_x86_64"]
        command += ["--platform", "manylinux2014_x86_64"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode != 0:
            said = done.stderr.strip()
            code = "wheels-tool" if "No module named pip" in said else "wheels-failed"
            raise BuildError(code, file=requirements.name, actual=said[-_TAIL:])
        found = []
        for path in sorted(Path(folder).iterdir()):
            name, version, *_ = path.name.split("-")
            if only and name.lower().replace("_", "-") not in only:
                continue
            kept = inputs.keep(path.name, path.read_bytes())
            found.append(
                Wheel(
                    name=name.lower().replace("_", "-"),
                    version=version,
                    sha256=kept.sha256,
                    size=kept.size,
                    file=path.name,
                    use=use,
                )
            )
    return tuple(found)


def fetch(wheel: Wheel, *, python: str, inputs: Inputs) -> bytes:
    """Return a wheel's bytes, from what is kept or by pip.

    Raises:
        BuildError: ``input-missing``, ``wheels-failed``, ``wheels-tool``.
    """
    wanted = Input(name=wheel.file, sha256=wheel.sha256, size=wheel.size)
    if not inputs.has(wanted) and not inputs.offline:
        with tempfile.TemporaryDirectory() as folder:
            line = Path(folder) / "wheel.txt"
            line.write_text(f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}\n")
            libc = max((int(tag) for tag in _libc(wheel.file)), default=_OLDEST_LIBC)
            download(line, python=python, libc=libc, inputs=inputs, use=wheel.use)
    return inputs.read(wanted)


def read(data: bytes, *, what: str, below: str) -> Iterator[Member]:
    """List a wheel's files as they lie below a folder of the image.

    Commands that it would install are left out: nothing in an image is started by name but the application.

    Raises:
        BuildError: ``package-malformed``.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > _MAX_PLAIN:
                raise BuildError("package-malformed", what=what)
            for entry in sorted(archive.infolist(), key=lambda one: one.filename):
                place = _placed(entry.filename)
                if place is not None and not entry.is_dir():
                    program = bool(entry.external_attr >> 16 & 0o100) and ".so" not in place
                    yield file(f"{below}/{place}", archive.read(entry), program=program)
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, RuntimeError):
        raise BuildError("package-malformed", what=what) from None


def _placed(name: str) -> str | None:
    if name != posixpath.normpath(name.rstrip("/")) + "/" * name.endswith("/") or name.startswith(
        ("/", "..")
    ):
        raise ValueError(name)
    first, _, rest = name.partition("/")
    if first.endswith(".data"):
        kind, _, rest = rest.partition("/")
        return rest if kind in ("purelib", "platlib") else None
    if first.endswith(".dist-info") and rest in _INSTALLER:
        return None
    return name


def _libc(file_name: str) -> Iterator[str]:
    for tag in file_name.removesuffix(".whl").rpartition("-")[2].split("."):
        if tag.startswith("manylinux_2_"):
            yield tag.split("_")[2]
