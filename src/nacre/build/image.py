# SPDX-License-Identifier: Apache-2.0
"""An image from locked inputs: what boots, for each target, and the registers that each will show.

Everything is made in memory and placed at once; whoever looks into the folder sees a whole image or none.
"""

import hashlib
import importlib.metadata
import io
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from nacre.build import base, gramine, kernel_cache, layout, npm, outputs, wheels
from nacre.build.app import App, Recipe
from nacre.build.assemble import Layers, Parts, assemble, files_of, firmware_of, kernel_of, source_of
from nacre.build.cpio import Member, file, write
from nacre.build.gramine import Enclave, Gramine
from nacre.build.kernels import Ready
from nacre.build.lock import Lock, recipe_digest
from nacre.build.means import Means
from nacre.build.parallel import threads
from nacre.build.recipe import Target
from nacre.build.registers import confidential
from nacre.build.releases import Variant
from nacre.build.tree import Tree
from nacre.errors import BuildError
from nacre.platforms.measuring import Measurement
from nacre.platforms.nitro import eif_write

__all__ = ["COMMAND_LINE", "Image", "build", "insist_on_lock", "origin", "parts_of"]

#: What every target's kernel is told: a console, and to end when something is wrong.
COMMAND_LINE = "console=ttyS0 panic=-1 reboot=k random.trust_cpu=on quiet"

#: Returns the agent's configuration, as it is to lie in the image: of the application, for a target, with the
#: digest of all else in the image, and the folder in which the application starts in a container image.
Configure = Callable[[App, Target, str, str | None], bytes]


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """What was built.

    Attributes:
        recipe: Of what.
        lock: From what.
        kernel: What boots.
        layers: The files, for each way of configuring the agent.
        files: What is to be written: name in the output folder to content.
        variants: By platform, the registers that it can show.
        enclave: For SGX, the folder that Gramine runs.
        inside: For an application that is of a container image, the folder in which it starts there.
    """

    recipe: Recipe
    lock: Lock
    kernel: Ready
    layers: Layers
    files: Mapping[str, bytes]
    variants: Mapping[str, tuple[Variant, ...]]
    enclave: Enclave | None = None
    inside: str | None = None


def origin(recipe: Recipe, lock: Lock, *, agent: str, runtime: Gramine | None = None, author: int = 0) -> str:
    """Return the SHA-256, hex, of everything that an image depends on.

    Raises:
        BuildError: ``tree-…``: a file of the application cannot be read.
    """
    version = importlib.metadata.version("nacre")  # of what builds; the lock names another's perhaps
    whole = hashlib.sha256(msgspec.json.encode((version, recipe.app, recipe.build), order="sorted"))
    further = [Tree.only(recipe.folder / source).digest for _, source in sorted(recipe.build.files.items())]
    if recipe.build.kernel not in ("debian", "nacre"):
        further.append(Tree.read(recipe.folder / recipe.build.kernel).digest)
    tree = b"" if lock.base else source_of(recipe).digest
    # A version that is being worked on does not change its number.
    further.append(Tree.read(Path(__file__).parent).digest)
    others = (b"" if runtime is None else runtime.digest, str(author).encode(), *further)
    for part in (bytes.fromhex(agent), bytes.fromhex(lock.digest), tree, *others):
        whole.update(part)
    return whole.hexdigest()


class _Initrd(NamedTuple):
    """Both parts of a first file system."""

    platform: bytes
    application: bytes

    @property
    def whole(self) -> bytes:
        """Both, as a kernel unpacks them one after the other."""
        return self.platform + self.application


def insist_on_lock(recipe: Recipe, lock: Lock, *, agent: str) -> None:
    """Refuse a lock that was made for something else.

    Args:
        recipe: What is to be built.
        lock: The lock.
        agent: The digest of the agent's code here, hex.

    Raises:
        BuildError: ``lock-stale``: ``nacre.toml`` or a file that it names has changed; ``lock-agent``: this
            Nacre puts another agent into images.
    """
    if lock.recipe != recipe_digest(recipe.build, recipe.folder):
        raise BuildError("lock-stale")
    if lock.agent != agent:
        raise BuildError("lock-agent", expected=lock.nacre)


def parts_of(lock: Lock, means: Means) -> Parts:
    """Get the content of every locked input.

    Raises:
        BuildError: ``input-…``, ``download-…``, ``wheels-…``, ``kernel-unbuilt``, ``base-…``, ``oci-…``.
    """
    debs = {one: means.deb(one) for one in lock.packages if one.use != "source"}
    found = {one: wheels.fetch(one, python=lock.python, inputs=means.inputs) for one in lock.wheels}
    for module in lock.modules:
        npm.fetch(module, inputs=means.inputs, download=means.download)
    kernel = None if lock.kernel is None else kernel_cache.locked(lock.kernel, inputs=means.inputs)
    image = None
    if lock.base is not None:
        if means.image is not None:
            digest = f"sha256:{lock.base.sha256}"
            base.keep(means.image, name=lock.base.name, digest=digest, inputs=means.inputs)
        image = base.read(lock.base, inputs=means.inputs)
    return Parts(debs, found, npm.members(lock.modules, inputs=means.inputs), kernel, image)


def build(
    recipe: Recipe, lock: Lock, parts: Parts, *, configure: Configure, runtime: Gramine | None = None
) -> Image:
    """Build an image.

    Args:
        recipe: Of what.
        lock: What it is made from.
        parts: The content of that.
        configure: Returns the agent's configuration.
        runtime: The Gramine that runs an image for SGX; no lock has it.

    Raises:
        BuildError: Names what cannot be used; ``gramine-needed``.
    """
    recipe = base.applied(recipe, parts.image)
    kernel = kernel_of(recipe, parts)
    layers = assemble(recipe, parts, files_of(parts.debs), kernel, python=lock.python)
    line = " ".join(filter(None, (COMMAND_LINE, recipe.build.command_line)))
    platform = _archive(layers.platform)
    initrds: dict[bytes, _Initrd] = {}
    files: dict[str, bytes] = {outputs.KERNEL: kernel.image, outputs.COMMAND_LINE: line.encode()}
    variants: dict[str, tuple[Variant, ...]] = {}
    enclave, within = None, parts.image.folder if parts.image else None
    for target in recipe.build.targets:
        told = configure(recipe.app, target, layers.digest, within)
        if target == "sgx":
            inside = (*layers.platform, *layers.application, file(layout.CONFIGURATION[1:], told))
            enclave, variants[target] = _enclave(recipe, inside, runtime)
            continue
        if told not in initrds:
            over = [*layers.application, file(layout.CONFIGURATION[1:], told)]
            initrds[told] = _Initrd(platform, _archive(over))
        made = _Made(recipe, lock, parts, kernel, initrds[told], line)
        found, variants[_PLATFORMS[target]] = _WRITERS[target](made)
        files.update(found)
    return Image(
        recipe=recipe,
        lock=lock,
        kernel=kernel,
        layers=layers,
        files=files,
        variants=variants,
        enclave=enclave,
        inside=within,
    )


def _enclave(
    recipe: Recipe, inside: Iterable[Member], runtime: Gramine | None
) -> tuple[Enclave, tuple[Variant, ...]]:
    if runtime is None:
        raise BuildError("gramine-needed")
    enclave = gramine.build(recipe.app, inside, gramine=runtime)
    # MRENCLAVE covers the product's number and version: a release that states it need not state them.
    register = "mrenclave"
    steps = enclave.measurement.of(register)
    shown = Measurement({register: enclave.measurement.registers[register]}, steps)
    return enclave, (Variant(f"with the Gramine {runtime.digest.hex()}", shown),)


class _Made(NamedTuple):
    """What a target's files are made of."""

    recipe: Recipe
    lock: Lock
    parts: Parts
    kernel: Ready
    initrd: _Initrd
    line: str


def _eif(made: _Made) -> tuple[Mapping[str, bytes], tuple[Variant, ...]]:
    resources = made.recipe.app.resources
    about = eif_write.Metadata(
        name=made.recipe.app.name,
        version=made.recipe.app.version,
        tool_version=made.lock.nacre,
        kernel=made.kernel.version,
        custom={"lock": made.lock.digest},
    )
    image = eif_write.assemble(
        eif_write.Parts(
            kernel=made.kernel.image,
            command_line=made.line.encode(),
            ramdisks=(made.initrd.platform, made.initrd.application),
            metadata=about.encode(),
            memory=resources.memory << 20,
            cpus=resources.cpus,
        ),
        together=threads,
    )
    return {outputs.EIF: b"".join(image.chunks)}, (Variant("", image.measurement),)


def _guest(target: Literal["snp", "tdx"], made: _Made) -> tuple[Mapping[str, bytes], tuple[Variant, ...]]:
    firmware = firmware_of(made.parts.debs, target)
    found = confidential(
        target,
        firmware=firmware,
        kernel=made.kernel.image,
        initrd=made.initrd.whole,
        command_line=made.line,
        resources=made.recipe.app.resources,
    )
    return {outputs.FIRMWARE[target]: firmware, outputs.INITRD: made.initrd.whole}, found


_WRITERS: Mapping[Target, Callable[[_Made], tuple[Mapping[str, bytes], tuple[Variant, ...]]]] = {
    "nitro": _eif,
    "qemu": _eif,
    "snp": partial(_guest, "snp"),
    "tdx": partial(_guest, "tdx"),
}
#: Whose registers a target shows: a simulated machine is one of Nitro's kind.
_PLATFORMS: Mapping[Target, str] = {
    "nitro": "nitro",
    "qemu": "nitro",
    "snp": "snp",
    "tdx": "tdx",
}


def _archive(members: Iterable[Member]) -> bytes:
    stream = io.BytesIO()
    write(stream, members)
    return stream.getvalue()
