# SPDX-License-Identifier: Apache-2.0
"""What an enclave's image is made of, and the agent's share of it.

The first file system of the example application, as ``nacre.build.initramfs`` writes it, counted file by
file, bytecode included and nothing compressed. The agent's own are Nacre's modules and ``/init``; what it
imports of others is counted apart, and so is Python, which the application needs as well. Where
``$NACRE_KERNEL`` names a kernel, as for ``nacre run --launcher vm``, its modules are in the image too.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator

from benchmarks.cases import ROOT
from benchmarks.rounds import Budget, Measured, Row, serve

from nacre.build.app import App
from nacre.build.cpio import Member
from nacre.build.initramfs import contents
from nacre.build.kernel import Kernel
from nacre.build.layout import APP, MODULES
from nacre.build.tree import Tree

NOTHING = Budget(rounds=0, pieces=0, processes=0)

_SECTION = "Image"
_CASE = "examples/worm"
_APP = ROOT / "examples" / "worm"
_MIB = 1 << 20

# What ``nacre run --launcher vm`` puts into the image proper.
_NEEDED = ("virtio_pci", "vmw_vsock_virtio_transport")
_AGENT, _IMPORTED, _PYTHON = "the agent", "what it imports of others", "Python and its libraries"
_APPLICATION, _MODULES = "the application", "the kernel's modules"
_OTHERS = ("cryptography", "cffi", "_cffi_backend", "h11", "msgspec")


def measure(_: Budget) -> Measured:
    """Make the image and count."""
    app = App.load(_APP)
    modules = Kernel.find().load(_NEEDED) if os.environ.get("NACRE_KERNEL") else ()
    sizes = _sizes(contents(Tree.read(_APP / app.source), configuration=b"", modules=modules))
    whole = sum(sizes.values())
    return Measured(list(_rows(sizes, whole)))


def _sizes(image: Iterable[Member]) -> Counter[str]:
    sizes: Counter[str] = Counter()
    for member in image:
        sizes[_part(member.entry.path)] += member.entry.size
    return sizes


def _part(path: str) -> str:
    package = path.partition("-packages/")[2]
    if package.startswith("nacre/") or path == "init":
        return _AGENT
    if package.startswith(_OTHERS):
        return _IMPORTED
    if path.startswith(APP[1:] + "/"):
        return _APPLICATION
    return _MODULES if path.startswith(MODULES[1:] + "/") else _PYTHON


def _rows(sizes: Counter[str], whole: int) -> Iterator[Row]:
    yield _row("agent's share of the image, %", 100 * sizes[_AGENT] / whole, "%")
    yield _row(
        "the same with what it imports of others, %", 100 * (sizes[_AGENT] + sizes[_IMPORTED]) / whole, "%"
    )
    yield _row("the whole image, MiB", whole / _MIB, "MiB")
    for part in (_AGENT, _IMPORTED, _PYTHON, _APPLICATION, _MODULES):
        if sizes[part]:
            yield _row(f"{part}, MiB", sizes[part] / _MIB, "MiB")


def _row(what: str, value: float, unit: str) -> Row:
    return Row(_SECTION, _CASE, what, value, value, value, 1, unit)


if __name__ == "__main__":
    serve(measure, NOTHING, NOTHING)
