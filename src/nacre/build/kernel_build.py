# SPDX-License-Identifier: Apache-2.0
"""A minimal kernel, built from Debian's source with what the targets need and nothing else.

Nothing is a module, so nothing can be loaded later. The same source, configuration and tools give the same
bytes in any folder, for any user, at any time; another compiler gives others, so its version is told.

Source: Linux, ``Documentation/kbuild/reproducible-builds.rst``.
"""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec

from nacre.build import kernels
from nacre.build.debian import deb
from nacre.build.kernels import Ready
from nacre.build.libraries import bytes_of
from nacre.build.recipe import Target
from nacre.errors import BuildError

__all__ = ["Made", "fragments", "make", "tools"]

_FOLDER = Path(__file__).with_name("kernelconfig")
_PROGRAMS = ("gcc", "ld", "make", "bison", "flex", "bc", "tar", "xz")
_ENVIRONMENT = {
    "KBUILD_BUILD_HOST": "nacre",
    "KBUILD_BUILD_TIMESTAMP": "1970-01-01",
    "KBUILD_BUILD_USER": "nacre",
    "KBUILD_BUILD_VERSION": "1",
    "LC_ALL": "C",
    "SOURCE_DATE_EPOCH": "0",
    "TZ": "UTC",
}
_WANTED = re.compile(r"^(CONFIG_\w+)=([yn])$", re.MULTILINE)
_VERSION = re.compile(r"^# Linux/x86 (\S+) Kernel Configuration$", re.MULTILINE)
_TAIL = 4000


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """A kernel that was built.

    Attributes:
        ready: It.
        tools: The versions of compiler and linker that made it.
    """

    ready: Ready
    tools: str


def fragments(targets: Iterable[Target]) -> str:
    """Return what is asked of a kernel for targets, as configuration."""
    names = ["base", *sorted(target for target in targets if target != "sgx")]
    return "".join((_FOLDER / f"{name}.config").read_text(encoding="utf-8") for name in names)


def tools() -> str:
    """Return the versions of the compiler and the linker.

    Raises:
        BuildError: ``kernel-tools``: names what is not installed.
    """
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    if missing:
        raise BuildError("kernel-tools", what=", ".join(missing))
    said = [
        subprocess.run([name, "--version"], capture_output=True, text=True, check=False).stdout  # noqa: S603 (our own command line)
        for name in ("gcc", "ld")
    ]
    return "; ".join(text.partition("\n")[0] for text in said)


def make(
    source: bytes,
    *,
    targets: Sequence[Target],
    progress: Callable[[str], None] = lambda _: None,
    jobs: int | None = None,
) -> Made:
    """Build a kernel; it takes minutes.

    Args:
        source: Debian's package ``linux-source-…``.
        targets: What it is for.
        progress: Takes what is being done, in words.
        jobs: How many compilers run at once; one for each processor by default.

    Raises:
        BuildError: ``kernel-tools``, ``kernel-failed``, ``package-…``; ``kernel-option``: the source has no
            such option, or it depends on something that is not asked for.
    """
    version_of_tools = tools()
    try:
        with tempfile.TemporaryDirectory() as name:
            ready = _made(source, Path(name), targets=targets, progress=progress, jobs=jobs)
    except OSError as error:
        raise BuildError("kernel-failed", actual=f"{error.filename}: {error.strerror}") from None
    return Made(ready=ready, tools=version_of_tools)


def _made(
    source: bytes,
    folder: Path,
    *,
    targets: Sequence[Target],
    progress: Callable[[str], None],
    jobs: int | None,
) -> Ready:
    progress("unpacking the source")
    tree = _unpacked(source, folder)
    asked = fragments(targets)
    (folder / "asked.config").write_text(asked, encoding="utf-8")
    built = folder / "built"
    built.mkdir()
    line = ["make", "--silent", f"O={built}", "ARCH=x86"]
    environment = {**_ENVIRONMENT, "PATH": os.environ.get("PATH", os.defpath)}
    configured = {**environment, "KCONFIG_ALLCONFIG": str(folder / "asked.config")}
    progress("configuring")
    _run([*line, "allnoconfig"], tree, configured)
    config = (built / ".config").read_text(encoding="utf-8", errors="replace")
    version = _VERSION.search(config)
    if version is None:
        raise BuildError("kernel-failed", actual="its configuration names no version")
    _insist(asked, config)
    kernels.insist(config, targets=targets)
    progress("compiling")
    _run([*line, f"-j{jobs or os.cpu_count() or 1}", "bzImage"], tree, environment)
    return Ready(version=version[1], image=(built / "arch/x86/boot/bzImage").read_bytes(), config=config)


def _insist(asked: str, config: str) -> None:
    """Refuse a configuration in which something that was asked for is not as asked."""
    known = kernels.options(config)
    last = dict(_WANTED.findall(asked))
    for option, value in last.items():
        actual = known.get(option.removeprefix("CONFIG_"), "n")
        if actual != value:
            raise BuildError(
                "kernel-option", what="this source", expected=f"{option}={value}", why=f"it stays {actual}"
            )


def _unpacked(source: bytes, folder: Path) -> Path:
    archives = [one for one in deb.read(source, what="linux-source") if one.entry.path.endswith(".tar.xz")]
    if len(archives) != 1:
        raise BuildError(
            "package-malformed", what="linux-source", actual=f"it has {len(archives)} archives, not one"
        )
    place = folder / "source"
    place.mkdir()
    done = subprocess.run(
        ["tar", "--extract", "--xz", "--no-same-owner"],  # noqa: S607 (the one that the user has)
        cwd=place,
        env={"PATH": os.environ.get("PATH", os.defpath)},  # none of this user's options of tar's
        input=bytes_of(archives[0]),
        capture_output=True,
        check=False,
    )
    found = list(place.iterdir())
    if done.returncode != 0 or len(found) != 1:
        raise BuildError("package-malformed", what="linux-source", actual="tar cannot unpack it")
    return found[0]


def _run(line: Sequence[str], folder: Path, environment: dict[str, str]) -> None:
    try:
        done = subprocess.run(  # noqa: S603 (our own command line)
            line, cwd=folder, env=environment, capture_output=True, text=True, errors="replace", check=False
        )
    except OSError as error:
        raise BuildError("kernel-failed", actual=error.strerror or "an error") from None
    if done.returncode != 0:
        raise BuildError("kernel-failed", actual=done.stderr.strip()[-_TAIL:] or f"status {done.returncode}")
