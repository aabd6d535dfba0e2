# SPDX-License-Identifier: Apache-2.0
"""Python's packages: found by pip for the image's Python, unpacked by nobody but us, run by nobody.

Only wheels, and only with hashes: a source distribution would run its own code while it is built. pip builds
one nevertheless where a line is an address or a folder, so such lines never reach it.

Source: the binary distribution format of Python's packaging specifications; pip, "Requirements File Format".
"""

import io
import lzma
import re
import struct
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Final, Literal

from nacre.appraisal.documents import read_text
from nacre.build.cpio import Member, file
from nacre.build.inputs import Input, Inputs
from nacre.build.lock import Wheel
from nacre.errors import BuildError

__all__ = ["download", "fetch", "read"]

_Use = Literal["agent", "app"]

#: The C library of the oldest and of the newest platform tag that is taken: 2.17 is of 2014.
_OLDEST_LIBC: Final = 17
_REQUIRED: Final = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9._-]*(\[[A-Za-z0-9,._ -]+\])?\s*==\s*[A-Za-z0-9][A-Za-z0-9.!+_-]*"
    r"\s*(;((?!\s-)[^;#@\\])*?)?(\s+--hash=sha(256|384|512):[0-9a-f]+)+"
)
_FILE: Final = re.compile(
    r"(?P<name>[A-Za-z0-9_.]+)-(?P<version>[A-Za-z0-9.!+_]+)(-[A-Za-z0-9._]+){3,4}\.whl"
)
_INSTALLER: Final = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"}
_MAX_PLAIN: Final = 1 << 31
_TAIL: Final = 2000
#: What zipfile lets through beside its own errors.
_DAMAGE: Final = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(OSError, EOFError, ValueError, RuntimeError, IndexError),
)


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
        requirements: The file; each requirement has its version and its hashes.
        python: The image's version of Python, ``3.11``.
        libc: The minor version of its C library, glibc.
        inputs: Where they are kept.
        use: ``agent`` or ``app``.
        only: Names of distributions, normalised; all if empty.

    Raises:
        BuildError: ``wheels-line``; ``wheels-tool``: there is no pip; ``wheels-failed``, with pip's words.
        ConfigurationError: The file cannot be read.
    """
    lines = list(_required(read_text(requirements, what="requirements"), requirements.name))
    if not lines:
        return ()
    return _downloaded(lines, requirements.name, python=python, libc=libc, inputs=inputs, use=use, only=only)


def fetch(wheel: Wheel, *, python: str, inputs: Inputs) -> bytes:
    """Return a wheel's bytes, from what is kept or by pip.

    Raises:
        BuildError: ``input-missing``, ``input-damaged``, ``input-size``; ``wheels-failed``, ``wheels-tool``.
    """
    wanted = Input(name=wheel.file, sha256=wheel.sha256, size=wheel.size)
    try:
        return inputs.read(wanted)
    except BuildError:
        if inputs.offline:
            raise
    line = f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}"
    libc = max((int(tag) for tag in _libc(wheel.file)), default=_OLDEST_LIBC)
    _downloaded([line], wheel.file, python=python, libc=libc, inputs=inputs, use=wheel.use)
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
                raise BuildError("package-malformed", what=what, actual="too much is packed in it")
            for entry in sorted(archive.infolist(), key=lambda one: one.filename):
                place = _placed(entry.filename)
                if place is not None and not entry.is_dir():
                    program = bool(entry.external_attr >> 16 & 0o100) and ".so" not in place
                    yield file(f"{below}/{place}", archive.read(entry), program=program)
    except _DAMAGE as error:
        raise BuildError("package-malformed", what=what, actual=str(error)) from None


def _required(text: str, name: str) -> Iterator[str]:
    """List requirements, each on one line; nothing but requirements may be in the file."""
    plain = re.sub(r"(^|[ \t])#.*$", "", text, flags=re.MULTILINE)
    for line in re.sub(r"\\[ \t]*\r?\n", " ", plain).splitlines():
        wanted = line.strip()
        if wanted and not _REQUIRED.fullmatch(wanted):
            raise BuildError("wheels-line", file=name, actual=ascii(wanted[:80]))
        if wanted:
            yield wanted


def _downloaded(
    lines: Iterable[str],
    name: str,
    *,
    python: str,
    libc: int,
    inputs: Inputs,
    use: _Use,
    only: AbstractSet[str] = frozenset(),
) -> tuple[Wheel, ...]:
    with tempfile.TemporaryDirectory() as place:
        listed, folder = Path(place) / "requirements.txt", Path(place) / "wheels"
        listed.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        folder.mkdir()
        command = [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
            *("--no-deps", "--require-hashes", "--only-binary=:all:", "--implementation", "cp"),
            *("--python-version", python, "--requirement", str(listed), "--dest", str(folder)),
        ]
        for minor in range(libc, _OLDEST_LIBC - 1, -1):
            command += ["--platform", f"manylinux_2_{minor}_x86_64"]
        command += ["--platform", "manylinux2014_x86_64"]
        done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603 (our own command line)
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip()
            code = "wheels-tool" if "No module named pip" in said else "wheels-failed"
            raise BuildError(code, file=name, actual=said[-_TAIL:])
        found = [_wheel(path, inputs, use) for path in sorted(folder.iterdir())]
    return tuple([one for one in found if not only or one.name in only])


def _wheel(path: Path, inputs: Inputs, use: _Use) -> Wheel:
    match = _FILE.fullmatch(path.name)
    if match is None:
        raise BuildError("package-malformed", what=path.name, actual="it is not named as a wheel is")
    kept = inputs.keep(path.name, path.read_bytes())
    return Wheel(
        name=match["name"].lower().replace("_", "-"),
        version=match["version"],
        sha256=kept.sha256,
        size=kept.size,
        file=path.name,
        use=use,
    )


def _placed(name: str) -> str | None:
    """Return where a file of a wheel lies; None if nowhere."""
    if not {"", ".", ".."}.isdisjoint(name.removesuffix("/").split("/")):
        raise ValueError(ascii(name[:80]))
    first, _, rest = name.partition("/")
    if first.endswith(".data"):
        kind, _, rest = rest.partition("/")
        return rest if rest and kind in ("purelib", "platlib") else None
    if first.endswith(".dist-info") and rest in _INSTALLER:
        return None
    # What somebody else compiled: the image's own interpreter does that.
    return None if "__pycache__" in name.split("/") else name


def _libc(file_name: str) -> Iterator[str]:
    for tag in file_name.removesuffix(".whl").rpartition("-")[2].split("."):
        if match := re.match(r"manylinux_2_([0-9]{1,3})_", tag):
            yield match[1]
