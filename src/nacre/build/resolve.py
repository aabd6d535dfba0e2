# SPDX-License-Identifier: Apache-2.0
"""From ``nacre.toml`` to ``nacre.lock``: which files, of which digests, an image is made from."""

import importlib.metadata
import re
from collections.abc import Sequence

import msgspec

from nacre.build import agent, npm, rootfs, wheels
from nacre.build.app import Recipe
from nacre.build.assemble import Parts, assemble, files_of, firmware_of, kernel_of
from nacre.build.debian.closure import Pool
from nacre.build.debian.index import Package, Snapshot, packages, snapshot
from nacre.build.debian.sources import Mirror
from nacre.build.download import Download
from nacre.build.inputs import Input, Inputs
from nacre.build.lock import Deb, Lock, Wheel, recipe_digest
from nacre.errors import BuildError

__all__ = ["fetched", "resolve"]

_PYTHON = re.compile(r"python(3\.\d+)-minimal")
_LIBC = re.compile(r"2\.(\d+)")
_KERNEL = re.compile(r"linux-image-[0-9][\w.+-]*-cloud-amd64")
_FIRMWARE = {"snp": "ovmf-amdsev", "tdx": "ovmf-inteltdx"}


class _Archive:
    """Debian's packages: those of the suite with its updates, and those of other suites by themselves."""

    def __init__(self, mirrors: Sequence[Mirror], *, download: Download) -> None:
        self._mirrors = mirrors
        self._download = download
        self._pools: dict[str, Pool] = {}
        self.snapshots: dict[str, Snapshot] = {}

    def pool(self, suite: str) -> Pool:
        """Return a suite with its updates."""
        if suite not in self._pools:
            found: list[Package] = []
            for mirror in of_suite(self._mirrors, suite):
                state, text = snapshot(mirror, download=self._download)
                self.snapshots[mirror.suite] = state
                found += packages(mirror, text, download=self._download)
            self._pools[suite] = Pool(found)
        return self._pools[suite]


def of_suite(mirrors: Sequence[Mirror], suite: str) -> list[Mirror]:
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


def resolve(recipe: Recipe, *, mirrors: Sequence[Mirror], inputs: Inputs, download: Download) -> Lock:
    """Choose every input of an image, and fetch them: only what files are taken of is locked.

    Args:
        recipe: What is to be built.
        mirrors: Of Debian.
        inputs: Where files are kept.
        download: Gets files.

    Raises:
        BuildError, ConfigurationError: Name what cannot be found or used.
    """
    build = recipe.build
    archive = _Archive(mirrors, download=download)
    pool = archive.pool(build.suite)
    python = _python(pool)
    wanted = [*rootfs.python_packages(python), *build.packages]
    wanted += ["nodejs"] if build.runtime == "node" else []
    wanted += ["busybox-static"] if build.shell else []
    whole = {name: "python" if name in rootfs.python_packages(python) else "whole" for name in wanted}
    chosen = [_deb(package, whole.get(package.name, "libraries")) for package in pool.closure(wanted)]
    chosen += _kernel(recipe, archive)
    chosen += _firmware(recipe, archive)
    debs = {
        package: fetched(package, mirrors=mirrors, inputs=inputs, download=download) for package in chosen
    }
    found = _wheels(recipe, python, _libc(pool), inputs)
    modules = npm.lock(recipe, inputs=inputs, download=download)
    parts = Parts(
        debs,
        {wheel: inputs.read(_input(wheel)) for wheel in found},
        npm.members(modules, inputs=inputs),
    )
    files = files_of(debs)
    kernel = kernel_of(debs, recipe)
    for target in set(build.targets) & set(_FIRMWARE):
        firmware_of(debs, target)
    layers = assemble(recipe, parts, files, kernel, python=python)
    used = rootfs.contributors([*layers.platform, *layers.application], files)
    kept = [one for one in chosen if one.name in used or one.use in ("firmware", "kernel")]
    return Lock(
        recipe=recipe_digest(build, recipe.folder),
        agent=agent.digest(),
        nacre=importlib.metadata.version("nacre"),
        python=python,
        snapshots=tuple([archive.snapshots[name] for name in sorted(archive.snapshots)]),
        packages=tuple(sorted(kept, key=lambda one: (one.name, one.use))),
        wheels=tuple(sorted(found, key=lambda one: (one.use, one.name))),
        modules=modules,
        left_out=tuple(sorted({one.name for one in chosen} - {one.name for one in kept})),
    )


def fetched(package: Deb, *, mirrors: Sequence[Mirror], inputs: Inputs, download: Download) -> bytes:
    """Return a package's bytes, from what is kept or from any mirror.

    Raises:
        BuildError: ``input-…``, ``download-…``.
    """
    bases = dict.fromkeys(mirror.url for mirror in mirrors)
    return inputs.fetch(package.input, [f"{base}/{package.path}" for base in bases], download=download)


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
    if recipe.build.kernel != "debian":
        return []
    pool = archive.pool(recipe.build.kernel_suite or recipe.build.suite)
    for clause in pool.get("linux-image-cloud-amd64").depends:
        match = _KERNEL.match(clause)
        if match:
            return [_deb(pool.get(match[0]), "kernel")]
    raise BuildError("package-unknown", what="linux-image-cloud-amd64")


def _firmware(recipe: Recipe, archive: _Archive) -> list[Deb]:
    suite = recipe.build.firmware_suite or recipe.build.suite
    found: dict[str, Deb] = {}
    for target, name in _FIRMWARE.items():
        if target in recipe.build.targets:
            pool = archive.pool(suite)
            package = pool.get(name if pool.has(name) else "ovmf")
            found[package.name] = _deb(package, "firmware")
    return list(found.values())


def _wheels(recipe: Recipe, python: str, libc: int, inputs: Inputs) -> list[Wheel]:
    found = [
        *wheels.download(
            agent.REQUIREMENTS, python=python, libc=libc, inputs=inputs, use="agent", only=rootfs.AGENT_WHEELS
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
