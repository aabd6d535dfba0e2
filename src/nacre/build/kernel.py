# SPDX-License-Identifier: Apache-2.0
"""A Linux kernel as a distribution packs it: the image and its modules. Nacre ships none."""

import gzip
import lzma
import os
import re
import zlib
from collections.abc import Callable, Iterable, Mapping
from io import BufferedIOBase
from pathlib import Path

import msgspec

from nacre.errors import BuildError

__all__ = ["Kernel"]

#: Every module has such a line, an empty one where it needs no other.
_DEPENDS = re.compile(rb"\0depends=([A-Za-z0-9_,-]*)\0")
_ELF = b"\x7fELF"
_ENDINGS = (".ko", ".ko.gz", ".ko.xz", ".ko.zst")
_OPENED: Mapping[str, Callable[[Path], BufferedIOBase]] = {
    ".ko": lambda path: path.open("rb"),
    ".gz": gzip.GzipFile,
    ".xz": lzma.LZMAFile,
}
#: Bytes of a module; the largest have 10 MiB.
_MAX_MODULE = 1 << 26


class Kernel(msgspec.Struct, frozen=True, kw_only=True):
    """A kernel.

    Attributes:
        image: The file that a machine boots.
        modules: The folder of its modules (``lib/modules/VERSION``).
    """

    image: Path
    modules: Path

    @classmethod
    def find(cls, folder: str | Path | None = None) -> "Kernel":
        """Find the kernel in a folder into which one kernel's package was unpacked (``dpkg-deb -x``).

        Without a folder it is the one that ``$NACRE_KERNEL`` names.

        Raises:
            BuildError: ``kernel-missing``: there is none, or there are several.
        """
        root = Path(folder or os.environ.get("NACRE_KERNEL") or "(no folder)")
        images = sorted(root.glob("boot/vmlinuz-*"))
        if len(images) == 1:
            version = images[0].name.removeprefix("vmlinuz-")
            for modules in (root / "lib/modules" / version, root / "usr/lib/modules" / version):
                if modules.is_dir():
                    return cls(image=images[0], modules=modules)
        raise BuildError("kernel-missing", file=str(root), actual=len(images))

    def load(self, names: Iterable[str]) -> tuple[tuple[str, bytes], ...]:
        """Read modules and those they need, in the order in which they have to be loaded.

        What is not there as a module is taken to be part of the kernel if the package says so.

        Raises:
            BuildError: ``kernel-module``: there is none of that name; ``kernel-module-twice``,
                ``kernel-module-cycle``, ``kernel-module-damaged``, ``kernel-module-packed``;
                ``tree-unreadable``.
        """
        files: dict[str, list[Path]] = {}
        for path in sorted(self.modules.rglob("*.ko*")):
            if path.name.endswith(_ENDINGS):
                files.setdefault(_name(path), []).append(path)
        ordered: dict[str, bytes] = {}
        for name in names:
            self._add(name.replace("-", "_"), files, ordered, ())
        return tuple((f"{name}.ko", content) for name, content in ordered.items())

    def _add(
        self, name: str, files: Mapping[str, list[Path]], ordered: dict[str, bytes], above: tuple[str, ...]
    ) -> None:
        """Add a module behind those that it needs."""
        if name in ordered:
            return
        if name in above:
            raise BuildError("kernel-module-cycle", what=name, actual=above)
        found = files.get(name)
        if found is None:
            if name not in self._builtin():
                raise BuildError("kernel-module", what=name, file=str(self.image))
            return
        if len(found) > 1:
            raise BuildError("kernel-module-twice", what=name, actual=tuple(map(str, found)))
        content = _unpacked(found[0])
        needed = _DEPENDS.search(content)
        if not content.startswith(_ELF) or needed is None:
            raise BuildError("kernel-module-damaged", file=str(found[0]))
        for one in needed[1].decode().split(","):
            if one:
                self._add(one.replace("-", "_"), files, ordered, (*above, name))
        ordered[name] = content

    def _builtin(self) -> set[str]:
        try:
            listed = (self.modules / "modules.builtin").read_text().splitlines()
        except (OSError, UnicodeDecodeError):
            return set()
        return {_name(Path(line)) for line in listed}


def _unpacked(path: Path) -> bytes:
    opened = _OPENED.get(path.suffix)
    if opened is None:
        raise BuildError("kernel-module-packed", file=str(path), expected=tuple(_OPENED))
    try:
        with opened(path) as stream:
            content = stream.read(_MAX_MODULE + 1)
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise BuildError("tree-unreadable", file=str(path), actual=str(error)) from None
    if len(content) > _MAX_MODULE:
        raise BuildError("kernel-module-damaged", file=str(path))
    return content


def _name(path: Path) -> str:
    return path.name.partition(".")[0].replace("-", "_")
