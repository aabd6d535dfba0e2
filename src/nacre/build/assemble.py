# SPDX-License-Identifier: Apache-2.0
"""From locked inputs to an image's two layers and its kernel."""

import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from nacre.build import bytecode_of_image, kernels, rootfs, wheels
from nacre.build.app import Recipe
from nacre.build.base import Found
from nacre.build.cpio import LARGEST, Member, members
from nacre.build.debian import deb
from nacre.build.kernel import Kernel
from nacre.build.kernels import Ready
from nacre.build.layout import APP
from nacre.build.libraries import bytes_of
from nacre.build.lock import Deb, Wheel
from nacre.build.rootfs import Files
from nacre.build.tree import Tree
from nacre.errors import BuildError

__all__ = ["Layers", "Parts", "assemble", "files_of", "firmware_of", "kernel_of", "source_of"]

_DOMAIN = b"nacre-image/v1\0"
_FIRMWARE = {
    "snp": ("usr/share/ovmf/OVMF.amdsev.fd", "usr/share/ovmf/OVMF.fd"),
    "tdx": (
        "usr/share/ovmf/OVMF.inteltdx.ms.fd",
        "usr/share/ovmf/OVMF.inteltdx.fd",
        "usr/share/ovmf/OVMF.fd",
    ),
}


class Parts(NamedTuple):
    """The content of every input.

    Attributes:
        debs: Each package and its bytes.
        wheels: Each wheel and its bytes.
        modules: npm's packages, as they lie in the image.
        kernel: The kernel that was built for it, if one was.
        image: The container image that the application is of, if it is.
    """

    debs: Mapping[Deb, bytes]
    wheels: Mapping[Wheel, bytes]
    modules: tuple[Member, ...]
    kernel: Ready | None = None
    image: Found | None = None


class Layers(NamedTuple):
    """An image's files.

    Attributes:
        platform: The same for every application that needs the same libraries of it.
        application: What lies over it, but for what the agent is told.
    """

    platform: tuple[Member, ...]
    application: tuple[Member, ...]

    @property
    def digest(self) -> str:
        """SHA-256 over the files of both, hex: what the agent calls its release, being part of it itself."""
        whole = hashlib.sha256(_DOMAIN)
        for member in sorted((*self.platform, *self.application), key=lambda one: one.entry.path.encode()):
            whole.update(hashlib.sha256(msgspec.json.encode(member.entry)).digest())
        return whole.hexdigest()


def files_of(debs: Mapping[Deb, bytes]) -> Files:
    """Sort the files of packages by how they are used.

    Raises:
        BuildError: ``package-…``.
    """
    whole: dict[str, tuple[Member, ...]] = {}
    others: dict[str, tuple[str, Member]] = {}
    for package, data in debs.items():
        found = tuple(deb.read(data, what=package.name))
        if package.use in ("python", "whole"):
            whole[package.name] = found
        elif package.use == "libraries":
            others.update({member.entry.path: (package.name, member) for member in found})
    return Files(whole, others)


def assemble(recipe: Recipe, parts: Parts, files: Files, kernel: Ready, *, python: str) -> Layers:
    """Put together what is in an image.

    Args:
        recipe: What it is an image of.
        parts: The inputs' contents.
        files: Of the packages.
        kernel: The kernel, with its modules.
        python: Python's version.

    Raises:
        BuildError: Names the input that cannot be used.
    """
    unpacked = {
        use: [
            member
            for wheel, data in parts.wheels.items()
            if wheel.use == use
            for member in wheels.read(data, what=wheel.file, below=below)
        ]
        for use, below in (
            ("agent", rootfs.AGENT_PLACE),
            ("app", f"usr/local/lib/python{python}/dist-packages"),
        )
    }
    platform = rootfs.platform(files, python=python, wheels=unpacked["agent"], modules=kernel.modules)
    if parts.image is None:
        tree = [*members(source_of(recipe), below=APP[1:]), *parts.modules]
        tree += _further(recipe)
        application = rootfs.application(
            files,
            python=python,
            tree=tree,
            wheels=unpacked["app"],
            below=platform,
        )
    else:
        application = parts.image.members
    if recipe.build.bytecode:
        # Whatever Python a container image has, it is not the one of the agent.
        ours = () if parts.image else application
        compiled = bytecode_of_image.compiled(platform, ours, python=python)
        lower = {member.entry.path for member in platform}
        platform += tuple([made for source, made in compiled if source in lower])
        application += tuple([made for source, made in compiled if source not in lower])
    return Layers(platform, application)


def source_of(recipe: Recipe) -> Tree:
    """Read the application's own files.

    Raises:
        BuildError: ``tree-…``; ``image-size``: one is larger than an image can have.
    """
    return Tree.read(recipe.folder / recipe.app.source, largest=LARGEST)


def kernel_of(recipe: Recipe, parts: Parts) -> Ready:
    """Return the kernel of a recipe: that was built, of a package, or of a folder.

    Raises:
        BuildError: ``kernel-…``, ``package-…``.
    """
    if parts.kernel is not None:
        kernels.insist(parts.kernel.config, targets=recipe.build.targets)
        return parts.kernel
    if recipe.build.kernel != "debian":
        return _ready(Kernel.find(recipe.folder / recipe.build.kernel), recipe)
    data = next((data for package, data in parts.debs.items() if package.use == "kernel"), b"")
    with tempfile.TemporaryDirectory() as folder:
        for member in deb.read(data, what="the kernel"):
            if member.entry.kind == "link" or not member.entry.path.startswith(("boot/", "usr/lib/modules/")):
                continue
            path = Path(folder) / member.entry.path
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(bytes_of(member))
            except OSError as error:
                actual = f"{member.entry.path}: {error.strerror}"
                raise BuildError("package-malformed", what="the kernel", actual=actual) from None
        return _ready(Kernel.find(folder), recipe)


def firmware_of(debs: Mapping[Deb, bytes], target: str) -> bytes:
    """Return the firmware of confidential guests of a kind.

    Raises:
        BuildError: ``firmware-missing``.
    """
    found = {
        member.entry.path: member
        for package, data in debs.items()
        if package.use == "firmware"
        for member in deb.read(data, what=package.name)
        if member.entry.kind != "link"
    }
    for path in _FIRMWARE[target]:
        if path in found:
            return bytes_of(found[path])
    raise BuildError("firmware-missing", what=target)


def _ready(kernel: Kernel, recipe: Recipe) -> Ready:
    version = kernel.modules.name
    path = kernel.image.with_name(f"config-{version}")
    try:
        config = path.read_text(encoding="utf-8")
        image = kernel.image.read_bytes()
    except (OSError, UnicodeDecodeError) as error:
        actual = getattr(error, "strerror", None) or str(error)
        raise BuildError("tree-unreadable", file=path.name, actual=actual) from None
    kernels.insist(config, targets=recipe.build.targets)
    wanted = kernels.modules(config, targets=recipe.build.targets)
    return Ready(version=version, image=image, config=config, modules=kernel.load(wanted))


def _further(recipe: Recipe) -> Iterator[Member]:
    for path, source in recipe.build.files.items():
        tree = Tree.only(recipe.folder / source)
        (entry,) = tree.entries
        if entry.kind not in ("file", "program"):
            raise BuildError("recipe-file", file=source, actual=entry.kind)
        yield Member(
            type(entry)(path=path, kind=entry.kind, size=entry.size, digest=entry.digest), tree.content(entry)
        )
