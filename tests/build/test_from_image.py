# SPDX-License-Identifier: Apache-2.0
"""From a container image to an enclave's: locked by digest, the agent around it, the same bytes each time."""

import json
import shutil
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from tests.build.debian.archive import Archive
from tests.build.recipes import ways_of

from nacre.build import cpio, layout, oci, oci_read, outputs
from nacre.build.app import Recipe
from nacre.build.image import Image, build, origin, parts_of
from nacre.build.lock import Lock
from nacre.build.means import Means
from nacre.build.oci import Settings
from nacre.build.resolve import resolve
from nacre.build.write import Source, write
from nacre.enclave.agent.config import Config
from nacre.enclave.configure import configuration
from nacre.enclave.instances import Options
from nacre.enclave.launch.prepare import planned
from nacre.errors import BuildError, EnclaveError
from nacre.platforms.nitro import eif

SETTINGS = Settings(entry=("/bin/app",), environment={"A": "1"}, folder="/srv")
FILES = (
    cpio.file("bin/app", b"program", program=True),
    # Each of these would clash with what an image of ours has at this place.
    cpio.file("init", b"another"),
    cpio.file("etc/passwd", b"nobody"),
    cpio.file("usr/lib/python3.11/os.py", b"not ours"),
    cpio.folder("srv"),
)
_WHOLE = {one.entry.path for one in cpio.arranged(FILES)}


class Made(NamedTuple):
    """An application that is of a container image."""

    folder: Path
    means: Means
    image: Path

    def recipe(self, digest: str, more: str = "") -> Recipe:
        (self.folder / "nacre.toml").write_text(
            f'name = "demo"\nversion = "1.0"\n{more}'
            f'[build]\nfrom = "tools/app:1@{digest}"\nbytecode = false\n'
        )
        return Recipe.load(self.folder)

    def locked(self, recipe: Recipe, *, image: bool = True) -> Lock:
        nothing = self.folder / "nothing.txt"
        nothing.write_text("# nothing\n")
        means = self.means._replace(image=self.image) if image else self.means
        lock = resolve(recipe, means, requirements=nothing)
        (self.folder / "nacre.lock").write_bytes(lock.encode())
        return Lock.load(self.folder)

    def built(self, recipe: Recipe, lock: Lock, means: Means | None = None) -> Image:
        return build(recipe, lock, parts_of(lock, means or self.means), configure=configuration)


@pytest.fixture
def made(archive: Archive, tmp_path: Path) -> Made:
    archive.publish()
    folder = tmp_path / "app"
    folder.mkdir()
    return Made(folder, ways_of(archive, tmp_path / "inputs"), tmp_path / "image")


def _told(image: Image) -> Config:
    """Return what the agent is told."""
    parsed = eif.parse(image.files[outputs.EIF])
    for archive in cpio.archives(bytes(parsed.read(parsed.of(eif.RAMDISK)[1]))):
        for member in cpio.read(archive):
            if member.entry.path == layout.CONFIGURATION[1:]:
                return msgspec.json.decode(b"".join(member.content), type=Config)
    raise AssertionError


def test_an_image_around_a_container_image(made: Made) -> None:
    digest = oci.write(made.image, [FILES], SETTINGS)
    recipe = made.recipe(digest)
    lock = made.locked(recipe)
    assert lock.base is not None
    assert (lock.base.name, f"sha256:{lock.base.sha256}") == ("tools/app:1", digest)
    shutil.rmtree(made.image)  # its blobs are kept
    image = made.built(recipe, lock)
    lower = {one.entry.path for one in image.layers.platform}
    upper = {one.entry.path for one in image.layers.application}
    assert {"init", "etc/passwd", "usr/lib/python3.11/os.py"} <= lower
    assert upper == {f"image/{name}" for name in (*layout.SHARED, *_WHOLE)}
    told = _told(image)
    assert (told.app_root, told.app_directory, told.app_user) == (layout.ROOT, "/srv", layout.USER)
    assert (told.app.entry, told.app.environment) == (("/bin/app",), {"A": "1"})
    assert made.built(recipe, lock).files == image.files


def test_what_nacre_toml_says_counts(made: Made) -> None:
    digest = oci.write(made.image, [FILES], SETTINGS)
    recipe = made.recipe(digest, 'entry = ["/bin/app", "-v"]\nenvironment = { A = "2" }\n')
    told = _told(made.built(recipe, made.locked(recipe)))
    assert (told.app.entry, told.app.environment) == (("/bin/app", "-v"), {"A": "2"})


def test_all_of_it_is_written_down(made: Made, tmp_path: Path) -> None:
    digest = oci.write(made.image, [FILES], SETTINGS)
    recipe = made.recipe(digest)
    image = made.built(recipe, made.locked(recipe))
    place = tmp_path / "dist"
    place.mkdir()
    write(image, place, source=Source("", ""))
    bill = json.loads((place / outputs.SBOM).read_bytes())
    (container,) = [one for one in bill["components"] if one["type"] == "container"]
    assert container["purl"] == f"pkg:oci/app@sha256%3A{digest.removeprefix('sha256:')}"
    assert (container["name"], container["version"]) == ("tools/app", "1")
    assert digest.removeprefix("sha256:") in (place / outputs.PROVENANCE).read_text()
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    settings = oci_read.read(place / outputs.OCI, scratch=scratch).settings
    assert settings.entry[3:] == ("--inside", "/image", "/srv", "1000", "/bin/app")
    names = {one.entry.path for one in image.layers.platform}
    assert settings.entry[2].removeprefix("/") in names


def test_another_image_is_another_build(made: Made) -> None:
    digest = oci.write(made.image, [FILES], SETTINGS)
    recipe = made.recipe(digest)
    lock = made.locked(recipe)
    assert made.locked(recipe, image=False) == lock  # what is kept is enough to lock again
    shutil.rmtree(made.image)
    other = oci.write(made.image, [[*FILES, cpio.file("more", b"")]], SETTINGS)
    with pytest.raises(BuildError) as caught:  # what --from names is not what is locked
        parts_of(lock, made.means._replace(image=made.image))
    assert caught.value.code == "oci-choice"
    second = made.recipe(other)
    assert made.locked(second) != lock
    assert origin(recipe, lock, agent="00") != origin(second, Lock.load(made.folder), agent="00")
    assert made.built(recipe, lock).files != made.built(second, Lock.load(made.folder)).files


def test_what_nobody_has_is_missed(made: Made, tmp_path: Path, archive: Archive) -> None:
    digest = oci.write(made.image, [FILES], SETTINGS)
    recipe = made.recipe(digest)
    with pytest.raises(BuildError) as caught:
        made.locked(recipe, image=False)
    assert caught.value.code == "base-missing"
    lock = made.locked(recipe)
    with pytest.raises(BuildError) as caught:
        parts_of(lock, ways_of(archive, tmp_path / "elsewhere"))
    assert caught.value.code == "base-missing"
    name = digest.removeprefix("sha256:")
    path = tmp_path / "inputs" / name[:2] / name
    path.write_bytes(path.read_bytes()[:-1] + b" ")
    with pytest.raises(BuildError) as caught:
        parts_of(lock, made.means)
    assert caught.value.code == "oci-blob"


def test_nothing_runs_before_it_is_built(made: Made) -> None:
    made.recipe(f"sha256:{'1' * 64}")
    with pytest.raises(EnclaveError) as caught:
        planned(made.folder, platform="nitro", how="process", options=Options())
    assert caught.value.code == "base-unbuilt"
    instance, app = planned(made.folder, platform="nitro", how="vm", options=Options(image="dist"))
    assert (instance.app, app.entry) == ("demo", ())
