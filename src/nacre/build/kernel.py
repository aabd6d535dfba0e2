# SPDX-License-Identifier: Apache-2.0
"""A Linux kernel as a distribution packs it: the image and its modules. Nacre ships none."""

import lzma
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from nacre.errors import BuildError

__all__ = ["Kernel"]

_DEPENDS = re.compile(rb"\0depends=([a-z0-9_,-]*)\0")
_ENDINGS = (".ko", ".ko.xz")


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
            BuildError: ``kernel-module``.
        """
        files = {
            _name(path): path for path in sorted(self.modules.rglob("*.ko*")) if path.name.endswith(_ENDINGS)
        }
        ordered: dict[str, bytes] = {}
        for name in names:
            for found, content in self._with_needs(name, files):
                ordered.setdefault(found, content)
        return tuple((f"{name}.ko", content) for name, content in ordered.items())

    def _with_needs(self, name: str, files: dict[str, Path]) -> Iterator[tuple[str, bytes]]:
        path = files.get(name)
        if path is None:
            if name in self._builtin():
                return
            raise BuildError("kernel-module", what=name, file=str(self.image))
        try:
            content = path.read_bytes()
            content = lzma.decompress(content) if path.suffix == ".xz" else content
        except (OSError, lzma.LZMAError) as error:
            raise BuildError("tree-unreadable", file=str(path), actual=str(error)) from None
        needed = _DEPENDS.search(content)
        for one in needed[1].decode().split(",") if needed else ():
            if one:
                yield from self._with_needs(one.replace("-", "_"), files)
        yield name, content

    def _builtin(self) -> set[str]:
        try:
            listed = (self.modules / "modules.builtin").read_text().splitlines()
        except (OSError, UnicodeDecodeError):
            return set()
        return {_name(Path(line)) for line in listed}


def _name(path: Path) -> str:
    return path.name.partition(".")[0].replace("-", "_")
