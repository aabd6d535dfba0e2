# SPDX-License-Identifier: Apache-2.0
"""From an application to its lock and its image, over a signed archive; and everybody who lies on the way."""

import hashlib
import shutil
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from tests.build.debian.archive import KERNEL, Archive, Key, deb, entry
from tests.build.recipes import TOOL, World, application, ask_only, requirements, ways_of

from nacre.build import agent
from nacre.build.image import Image, build, insist_on_lock, parts_of
from nacre.build.lock import Lock
from nacre.build.means import Means
from nacre.build.resolve import resolve
from nacre.errors import BuildError


@pytest.fixture(scope="module")
def resolved(key: Key, tmp_path_factory: pytest.TempPathFactory) -> World:
    """Resolve once, with pip, which asks nobody but a folder."""
    return World.make(tmp_path_factory.mktemp("world"), key)


@pytest.fixture
def world(resolved: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A copy of it in ``tmp_path``, to be spoiled."""
    shutil.copytree(resolved.folder, tmp_path, dirs_exist_ok=True)
    ask_only(tmp_path / "wheels", monkeypatch)
    return World(tmp_path, resolved.lock, tmp_path / "wheels" / "requirements.txt")


def _means(world: World, inputs: str = "inputs", *, offline: bool = False) -> Means:
    key = Key(Path(), world.folder.parent / "none")
    return ways_of(Archive(world.folder / "mirror", key), world.folder / inputs, offline=offline)


def _built(world: World, lock: Lock, means: Means, app: str = "app") -> Image:
    recipe = application(world.folder / app, build=TOOL)
    insist_on_lock(recipe, lock, agent=agent.digest())
    return build(recipe, lock, parts_of(lock, means), configure=lambda *_: b"{}\n")


def _code(world: World, lock: Lock, means: Means) -> str:
    with pytest.raises(BuildError) as caught:
        _built(world, lock, means)
    assert str(caught.value)
    return caught.value.code


class Attack(NamedTuple):
    """An archive to be spoiled; nothing is asked of pip."""

    archive: Archive
    means: Means
    folder: Path

    def resolved(self, folder: Path, build: str) -> Lock:
        """Publish, and resolve an application in a folder."""
        self.archive.publish()
        nothing = self.folder / "nothing.txt"
        nothing.write_text("# nothing\n")
        return resolve(application(folder, build=build), self.means, requirements=nothing)

    def refused(self, build: str = TOOL) -> tuple[str, str]:
        """Return the code and the words of the refusal."""
        with pytest.raises(BuildError) as caught:
            self.resolved(self.folder / "app", build)
        return caught.value.code, str(caught.value)


@pytest.fixture
def attack(archive: Archive, tmp_path: Path) -> Attack:
    """An archive to be spoiled."""
    return Attack(archive, ways_of(archive, tmp_path / "attacked"), tmp_path)


def test_a_lock_names_what_files_are_of_and_nothing_else(resolved: World) -> None:
    lock = resolved.lock
    assert [(one.name, one.use) for one in lock.packages] == [
        ("libpython3.11-minimal", "python"),
        ("libpython3.11-stdlib", "python"),
        (f"linux-image-{KERNEL}", "kernel"),
        ("python3.11-minimal", "python"),
        ("tool", "whole"),
    ]
    assert lock.left_out == ("libc6",)
    assert [(one.name, one.use) for one in lock.wheels] == [
        ("cryptography", "agent"),
        ("h11", "agent"),
        ("msgspec", "agent"),
    ]
    assert [one.suite for one in lock.snapshots] == ["bookworm", "bookworm-updates"]
    text = (resolved.folder / "app" / "nacre.lock").read_text()
    assert str(resolved.folder) not in text
    assert "http" not in text
    assert Lock.load(resolved.folder / "app") == lock


def test_an_image_has_what_was_asked_for(world: World) -> None:
    image = _built(world, world.lock, _means(world, offline=True))
    lower = {one.entry.path for one in image.layers.platform}
    upper = {one.entry.path for one in image.layers.application}
    agents = "usr/lib/python3/dist-packages"
    assert {"init", "usr/bin/python3.11", "usr/lib/python3.11/os.py"} <= lower
    assert {f"{agents}/nacre/__init__.py", f"{agents}/h11/__init__.py"} <= lower
    assert upper == {"app", "app/main.py", "app/deep", "app/deep/data", "usr/bin/tool"}
    assert set(image.files) == {"kernel", "cmdline", "nitro.eif"}


def test_the_same_inputs_give_the_same_image_anywhere(world: World) -> None:
    one = _built(world, world.lock, _means(world))
    other = _built(world, world.lock, _means(world, "others"), app="elsewhere/app")
    assert one.files == other.files


def test_what_is_kept_is_enough_and_what_is_missing_is_named(world: World) -> None:
    for path in (world.folder / "mirror").rglob("*.deb"):
        path.unlink()
    assert _built(world, world.lock, _means(world)).files
    assert _code(world, world.lock, _means(world, "nowhere", offline=True)) == "input-missing"
    assert _code(world, world.lock, _means(world, "nowhere")) == "download-failed"


def test_a_changed_package_on_the_mirror_is_not_the_locked_one(world: World) -> None:
    path = world.folder / "mirror" / "pool" / "tool_1_amd64.deb"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert _code(world, world.lock, _means(world, "new")) == "input-changed"
    path.write_bytes(content + b"\n")
    assert _code(world, world.lock, _means(world, "new")) == "download-large"


@pytest.mark.parametrize("name", ["tool", "h11"])
def test_a_damaged_input_is_fetched_again_or_named(world: World, name: str) -> None:
    digest = next(one.sha256 for one in (*world.lock.packages, *world.lock.wheels) if one.name == name)
    path = world.folder / "inputs" / digest[:2] / digest
    path.write_bytes(b"damaged")
    assert _code(world, world.lock, _means(world, offline=True)) == "input-damaged"
    path.write_bytes(b"damaged")
    assert _built(world, world.lock, _means(world)).files
    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest


def test_a_lock_that_lies_is_found_out(world: World) -> None:
    tool = next(one for one in world.lock.packages if one.name == "tool")
    others = tuple(one for one in world.lock.packages if one is not tool)
    for lie, code in (
        (msgspec.structs.replace(tool, sha256="0" * 64), "input-changed"),
        (msgspec.structs.replace(tool, size=tool.size + 1), "input-size"),
        (msgspec.structs.replace(tool, size=tool.size - 1), "input-size"),
    ):
        lying = msgspec.structs.replace(world.lock, packages=(*others, lie))
        assert _code(world, lying, _means(world)) == code
    kept = tuple(one for one in world.lock.packages if one.use != "kernel")
    lying = msgspec.structs.replace(world.lock, packages=kept)
    assert _code(world, lying, _means(world)) == "package-malformed"
    python = next(one for one in world.lock.packages if one.name == "python3.11-minimal")
    kept = tuple(one for one in world.lock.packages if one is not python)
    lying = msgspec.structs.replace(world.lock, packages=kept)
    assert _code(world, lying, _means(world)) == "lock-incomplete"


def test_a_lock_is_of_one_recipe_and_one_agent(world: World) -> None:
    recipe = application(world.folder / "app", build=TOOL)
    changed = application(world.folder / "changed", build='packages = ["tool", "libc6"]\n')
    for one, lock, digest, code in (
        (changed, world.lock, world.lock.agent, "lock-stale"),
        (recipe, msgspec.structs.replace(world.lock, recipe="0" * 64), world.lock.agent, "lock-stale"),
        (recipe, world.lock, "0" * 64, "lock-agent"),
    ):
        with pytest.raises(BuildError) as caught:
            insist_on_lock(one, lock, agent=digest)
        assert caught.value.code == code


def test_requirements_of_the_application_are_part_of_its_lock(world: World, attack: Attack) -> None:
    text = requirements(world.folder / "wheels", "colour").read_text()
    folder = world.folder / "coloured"
    folder.mkdir()
    (folder / "needs.txt").write_text(text)
    recipe = application(folder, build='requirements = "needs.txt"\n')
    lock = attack.resolved(folder, 'requirements = "needs.txt"\n')
    assert [(one.name, one.use) for one in lock.wheels] == [("colour", "app")]
    image = build(recipe, lock, parts_of(lock, attack.means), configure=lambda *_: b"{}\n")
    paths = {one.entry.path for one in image.layers.application}
    assert "usr/local/lib/python3.11/dist-packages/colour/__init__.py" in paths
    (folder / "needs.txt").write_text(text + "\n")
    with pytest.raises(BuildError) as caught:
        insist_on_lock(recipe, lock, agent=agent.digest())
    assert caught.value.code == "lock-stale"


@pytest.mark.parametrize("depends", ["nothing-real", "libc6 (>= 3)"])
def test_what_the_archive_does_not_have_is_named(attack: Attack, depends: str) -> None:
    attack.archive.depends["tool"] = depends
    code, words = attack.refused()
    assert code == "package-depends"
    assert depends in words
    assert attack.refused('packages = ["none"]\n')[0] == "package-unknown"


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("./etc/nacre/boot.d/first", "image-ours"),
        ("./usr/lib/nacre/modules/99-evil.ko", "image-ours"),
        ("./image/dev", "image-ours"),
        ("./usr/lib/python3/dist-packages/nacre/evil.so", "image-ours"),
        ("./init", "image-twice"),
        ("./usr/bin/python3.11", "image-twice"),
        ("./app/main.py", "image-twice"),
        ("./init/below", "image-parent"),
        ("./usr/lib", "image-twice"),
        ("./sys", "image-twice"),
    ],
)
def test_no_package_takes_the_agent_s_place(attack: Attack, path: str, code: str) -> None:
    attack.archive.packages["tool"] = deb([entry(path, b"evil")])
    assert attack.refused()[0] == code


def test_a_kernel_without_what_a_target_needs_is_refused(attack: Attack) -> None:
    code, words = attack.refused('targets = ["nitro"]\n')
    assert code == "kernel-option"
    assert "CONFIG_VIRTIO_MMIO" in words
    assert "nitro" in words


@pytest.mark.parametrize(
    ("paths", "code"),
    [
        (["./boot/vmlinuz-1", "./boot/vmlinuz-1/below"], "package-malformed"),
        (["./boot/vmlinuz-1/below", "./boot/vmlinuz-1"], "package-malformed"),
        (["./boot/vmlinuz-1", "./lib/modules/1/x"], "tree-unreadable"),
        (["./boot/vmlinuz-1"], "kernel-missing"),
        ([], "kernel-missing"),
    ],
)
def test_a_package_that_is_no_kernel_is_refused(attack: Attack, paths: list[str], code: str) -> None:
    attack.archive.packages[f"linux-image-{KERNEL}"] = deb([entry(path, b"MZ") for path in paths])
    assert attack.refused()[0] == code


def test_firmware_that_nobody_has_is_missed(attack: Attack) -> None:
    code, words = attack.refused('targets = ["snp"]\n')
    assert code == "package-unknown"
    assert "ovmf" in words


def test_a_suite_that_no_mirror_has_is_missed(attack: Attack) -> None:
    assert attack.refused('suite = "sid"\n')[0] == "download-failed"
    assert attack._replace(means=attack.means._replace(mirrors=())).refused()[0] == "mirror-missing"
