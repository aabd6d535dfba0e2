# SPDX-License-Identifier: Apache-2.0
"""From ``nacre.toml`` to ``nacre.lock``: which files, of which digests, an image is made from."""

import importlib.metadata
import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from nacre.build import agent, base, kernel_cache, npm, rootfs, wheels
from nacre.build.app import Recipe
from nacre.build.assemble import Parts, assemble, files_of, firmware_of, kernel_of
from nacre.build.debian.closure import Pool
from nacre.build.debian.index import Package, Snapshot, packages, snapshot
from nacre.build.debian.sources import Mirror
from nacre.build.inputs import Input, Inputs
from nacre.build.kernels import Ready
from nacre.build.lock import Deb, Kernel, Lock, Wheel, recipe_digest
from nacre.build.means import Means
from nacre.errors import BuildError

__all__ = ["kernel", "resolve", "with_agent"]

_PYTHON = re.compile(r"python(3\.\d+)-minimal")
_LIBC = re.compile(r"2\.(\d+)")
#: By ``kernel`` in the recipe: the package that names the newest, that one's name, and its use.
_KERNELS = {
    "debian": ("linux-image-cloud-amd64", re.compile(r"linux-image-[0-9][\w.+-]*-cloud-amd64"), "kernel"),
    "nacre": ("linux-source", re.compile(r"linux-source-[0-9.]+"), "source"),
}
_FIRMWARE = {"snp": "ovmf-amdsev", "tdx": "ovmf-inteltdx"}


class _Archive:
    """Debian's packages: those of the suite with its updates, and those of other suites by themselves."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._pools: dict[str, Pool] = {}
        self.snapshots: dict[str, Snapshot] = {}

    def pool(self, suite: str) -> Pool:
        """Return a suite with its updates."""
        if suite not in self._pools:
            found: list[Package] = []
            for mirror in _of_suite(self._means.mirrors, suite):
                state, text = snapshot(mirror, download=self._means.download)
                self.snapshots[mirror.suite] = state
                found += packages(mirror, text, download=self._means.download)
            self._pools[suite] = Pool(found)
        return self._pools[suite]


def _of_suite(mirrors: Sequence[Mirror], suite: str) -> list[Mirror]:
    """Return who serves a suite and its updates: a mirror of one suite is taken to have the others too.

    Raises:
        BuildError: ``mirror-missing``.
    """
    wanted = {suite, f"{suite}-updates", f"{suite}-security"}
    found = [mirror for mirror in mirrors if mirror.suite in wanted]
    if not any(mirror.suite == suite for mirror in found):
        others = [mirror for mirror in mirrors if "-security" not in mirror.suite]
        if not others:
            raise BuildError("mirror-missing", what=suite)
        found.insert(0, msgspec.structs.replace(others[0], suite=suite))
    return found


def resolve(recipe: Recipe, means: Means, *, requirements: Path = agent.REQUIREMENTS) -> Lock:
    """Choose every input of an image, and fetch them: only what files are taken of is locked.

    Args:
        recipe: What is to be built.
        means: How inputs are got.
        requirements: What the agent imports of others.

    Raises:
        BuildError, ConfigurationError: Name what cannot be found or used.
    """
    image = base.wanted(recipe, source=means.image, inputs=means.inputs)
    archive = _Archive(means)
    pool = archive.pool(recipe.build.suite)
    python = _python(pool)
    chosen = [*_packages(recipe, pool, python), *_kernel(recipe, archive), *_firmware(recipe, archive)]
    debs = {one: means.deb(one) for one in chosen if one.use != "source"}
    found = _wheels(recipe, requirements, python=python, libc=_libc(pool), inputs=means.inputs)
    modules = npm.lock(recipe, inputs=means.inputs, download=means.download)
    built = _built(recipe, chosen, means)
    parts = Parts(
        debs,
        {wheel: means.inputs.read(_input(wheel)) for wheel in found},
        npm.members(modules, inputs=means.inputs),
        built and built[1],
        base.read(image, inputs=means.inputs) if image else None,
    )
    base.applied(recipe, parts.image)
    files = files_of(debs)
    for target in set(recipe.build.targets) & set(_FIRMWARE):
        firmware_of(debs, target)
    layers = assemble(recipe, parts, files, kernel_of(recipe, parts), python=python)
    used = rootfs.contributors([*layers.platform, *layers.application], files)
    kept = [one for one in chosen if one.name in used or one.use in ("firmware", "kernel", "source")]
    return Lock(
        recipe=recipe_digest(recipe.build, recipe.folder),
        agent=agent.digest(),
        nacre=importlib.metadata.version("nacre"),
        python=python,
        snapshots=tuple([archive.snapshots[name] for name in sorted(archive.snapshots)]),
        packages=tuple(sorted(kept, key=lambda one: (one.name, one.use))),
        wheels=tuple(sorted(found, key=lambda one: (one.use, one.name))),
        modules=modules,
        kernel=built and built[0],
        base=image,
        left_out=tuple(sorted({one.name for one in chosen} - {one.name for one in kept})),
    )


def with_agent(lock: Lock, recipe: Recipe) -> Lock:
    """Return a lock of the same inputs with the agent of this Nacre.

    Raises:
        BuildError: ``lock-stale``: it was made for something else.
    """
    if lock.recipe != recipe_digest(recipe.build, recipe.folder):
        raise BuildError("lock-stale")
    version = importlib.metadata.version("nacre")
    return msgspec.structs.replace(lock, agent=agent.digest(), nacre=version)


def kernel(recipe: Recipe, means: Means) -> Kernel | None:
    """Return the kernel that is built for a recipe, and build it, if nobody did here before.

    Returns:
        None, if its kernel comes from a package or a folder.

    Raises:
        BuildError: As ``resolve`` and ``kernel_build.make`` raise.
    """
    built = _built(recipe, _kernel(recipe, _Archive(means)), means)
    return built and built[0]


def _packages(recipe: Recipe, pool: Pool, python: str) -> list[Deb]:
    """List what the image's files are taken from, and all that it depends on."""
    own = rootfs.python_packages(python)
    wanted = [*own, *recipe.build.packages]
    wanted += ["nodejs"] if recipe.build.runtime == "node" else []
    wanted += ["busybox-static"] if recipe.build.shell else []
    uses = {name: "python" if name in own else "whole" for name in wanted}
    closure = pool.closure(wanted)
    if recipe.build.runtime == "node":
        # Debian keeps parts of Node's own library in packages of their own.
        uses |= {one.name: "whole" for one in closure if one.name.startswith("node-")}
    return [_deb(package, uses.get(package.name, "libraries")) for package in closure]


def _built(recipe: Recipe, chosen: Sequence[Deb], means: Means) -> tuple[Kernel, Ready] | None:
    """Return the kernel that is built from a package, if one is a kernel's source."""
    source = next((one for one in chosen if one.use == "source"), None)
    if source is None:
        return None
    return kernel_cache.built(
        source,
        lambda: means.deb(source),
        targets=recipe.build.targets,
        inputs=means.inputs,
        progress=means.progress,
    )


def _python(pool: Pool) -> str:
    for clause in pool.get("python3-minimal").depends:
        match = _PYTHON.match(clause)
        if match:
            return match[1]
    raise BuildError("package-unknown", what="python3-minimal")


def _libc(pool: Pool) -> int:
    match = _LIBC.match(pool.get("libc6").version)
    if match is None:
        raise BuildError("package-unknown", what="libc6")
    return int(match[1])


def _kernel(recipe: Recipe, archive: _Archive) -> list[Deb]:
    """Return the package that the kernel is in, or its source."""
    named = _KERNELS.get(recipe.build.kernel)
    if named is None:
        return []
    name, pattern, use = named
    pool = archive.pool(recipe.build.kernel_suite or recipe.build.suite)
    for clause in pool.get(name).depends:
        match = pattern.match(clause)
        if match:
            return [_deb(pool.get(match[0]), use)]
    raise BuildError("package-unknown", what=name)


def _firmware(recipe: Recipe, archive: _Archive) -> list[Deb]:
    suite = recipe.build.firmware_suite or recipe.build.suite
    found: dict[str, Deb] = {}
    for target, name in _FIRMWARE.items():
        if target in recipe.build.targets:
            pool = archive.pool(suite)
            package = pool.get(name if pool.has(name) else "ovmf")
            found[package.name] = _deb(package, "firmware")
    return list(found.values())


def _wheels(recipe: Recipe, agents: Path, *, python: str, libc: int, inputs: Inputs) -> list[Wheel]:
    found = [
        *wheels.download(
            agents, python=python, libc=libc, inputs=inputs, use="agent", only=rootfs.AGENT_WHEELS
        )
    ]
    if recipe.build.requirements:
        file = recipe.folder / recipe.build.requirements
        found += wheels.download(file, python=python, libc=libc, inputs=inputs, use="app")
    return found


def _deb(package: Package, use: str) -> Deb:
    return msgspec.convert(
        {
            "name": package.name,
            "version": package.version,
            "sha256": package.sha256,
            "size": package.size,
            "source": package.source,
            "path": package.path,
            "use": use,
        },
        Deb,
    )


def _input(wheel: Wheel) -> Input:
    return Input(name=wheel.file, sha256=wheel.sha256, size=wheel.size)
