# SPDX-License-Identifier: Apache-2.0
"""Container images that applications are of: any form of them, and only the one that is named."""

import gzip
import hashlib
import io
import itertools
import json
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import pytest

from nacre.build import base, cpio, oci, oci_archive
from nacre.build.app import App, Recipe
from nacre.build.inputs import Inputs
from nacre.build.lock import Base
from nacre.build.oci import Settings
from nacre.errors import BuildError, ConfigurationError

SETTINGS = Settings(entry=("/bin/app", "-v"), environment={"A": "1", "B": "2"}, folder="/srv")
LOWER = (cpio.file("bin/app", b"program" * 1000, program=True), cpio.link("lib", "/usr/lib"))
UPPER = (cpio.file("srv/data", b"data"), cpio.file("dev/hidden", b"nobody sees this"))


#: Name to content, or to a link's target and type.
Files = Mapping[str, bytes | tuple[str, bytes]]


def archive(path: Path, files: Files) -> Path:
    """Write a tar archive."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as out:
        for name, content in files.items():
            one = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                one.size = len(content)
                out.addfile(one, io.BytesIO(content))
            else:
                one.linkname, one.type = content[0], content[1]
                out.addfile(one)
    return path


class World:
    """One image, in any form that tools write."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.layout = folder / "layout"
        self.digest = oci.write(self.layout, [LOWER, UPPER], SETTINGS, name="app:1")
        manifest = json.loads(self.blob(self.digest))
        self.config = manifest["config"]["digest"]
        self.layers = [layer["digest"] for layer in manifest["layers"]]
        self.inputs = Inputs(folder / "inputs")
        self.written = 0

    def blob(self, digest: str) -> bytes:
        return oci_archive.blob(self.layout, digest).read_bytes()

    def oci_archive(self) -> Path:
        files = {path.relative_to(self.layout).as_posix(): path for path in self.layout.rglob("*")}
        read = {f"./{name}": path.read_bytes() for name, path in files.items() if path.is_file()}
        return archive(self.folder / "oci.tar", read)

    def saved(self, changed: "Files | None" = None, *, packed: bool = False) -> Path:
        config = f"{self.config.removeprefix('sha256:')}.json"
        pack: Callable[[bytes], bytes] = gzip.compress if packed else bytes
        files: dict[str, bytes | tuple[str, bytes]] = {
            config: self.blob(self.config),
            "one.tar": pack(self.blob(self.layers[0])),
            "2/real.tar": pack(self.blob(self.layers[1])),
            "two/layer.tar": ("../2/real.tar", tarfile.SYMTYPE),
        }
        listed = [{"Config": config, "RepoTags": ["app:1"], "Layers": ["one.tar", "two/layer.tar"]}]
        self.written += 1
        place = self.folder / f"saved{self.written}.tar"
        return archive(place, {**files, "manifest.json": json.dumps(listed).encode(), **(changed or {})})


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def _content(found: base.Found) -> dict[str, bytes]:
    return {one.entry.path: b"".join(one.content) for one in found.members}


@pytest.mark.parametrize(
    ("form", "named"),
    # Docker's older form has no manifest: there the configuration names the image.
    [
        *itertools.product(["folder", "oci"], ["manifest", "config"]),
        ("saved", "config"),
        ("packed", "config"),
    ],
)
def test_every_form_is_the_same_image(world: World, form: str, named: str) -> None:
    sources: dict[str, Callable[[], Path]] = {
        "folder": lambda: world.layout,
        "oci": world.oci_archive,
        "saved": world.saved,
        "packed": lambda: world.saved(packed=True),
    }
    digest = world.digest if named == "manifest" else world.config
    locked = base.keep(sources[form](), name="app", digest=digest, inputs=world.inputs)
    found = base.read(locked, inputs=world.inputs)
    assert found.settings == SETTINGS
    assert found.folder == "/srv"
    assert _content(found) == {
        "image/dev": b"",
        "image/proc": b"",
        "image/run": b"",
        "image/sys": b"",
        "image/tmp": b"",
        "image/bin": b"",
        "image/bin/app": b"program" * 1000,
        "image/lib": b"/usr/lib",
        "image/srv": b"",
        "image/srv/data": b"data",
    }
    kinds = {one.entry.path: one.entry.kind for one in found.members}
    assert (kinds["image/bin/app"], kinds["image/srv/data"]) == ("program", "file")


def test_an_index_names_its_image(world: World) -> None:
    index = json.loads((world.layout / "index.json").read_bytes())
    elsewhere = {**index["manifests"][0], "digest": f"sha256:{'7' * 64}"}
    elsewhere["platform"] = {"architecture": "arm64", "os": "linux"}
    index["manifests"].append(elsewhere)  # nobody brought it
    whole = json.dumps(index).encode()
    digest = f"sha256:{hashlib.sha256(whole).hexdigest()}"
    oci_archive.blob(world.layout, digest).write_bytes(whole)
    kind = "application/vnd.oci.image.index.v1+json"
    outer = {
        "schemaVersion": 2,
        "manifests": [{"mediaType": kind, "digest": digest, "size": len(whole)}],
    }
    (world.layout / "index.json").write_text(json.dumps(outer))
    locked = base.keep(world.layout, name="", digest=digest, inputs=world.inputs)
    assert locked.sha256 == world.digest.removeprefix("sha256:")


def test_another_image_is_not_taken(world: World) -> None:
    for source in (world.layout, world.oci_archive(), world.saved()):
        with pytest.raises(BuildError) as caught:
            base.keep(source, name="app", digest=f"sha256:{'0' * 64}", inputs=world.inputs)
        assert caught.value.code == "oci-choice"


def test_a_changed_layer_is_found_out(world: World) -> None:
    source = world.saved()
    data = source.read_bytes()
    source.write_bytes(data.replace(b"programprogram", b"programPROGRAM", 1))
    with pytest.raises(BuildError) as caught:
        base.keep(source, name="app", digest=world.config, inputs=world.inputs)
    assert caught.value.code == "oci-blob"


def test_archives_that_are_none(world: World) -> None:
    nothing = world.folder / "nothing.tar"
    config = {"Config": "../../etc/passwd", "Layers": []}
    for source in (
        archive(nothing, {"a": b"b"}),
        world.saved({"manifest.json": b"{}"}),
        world.saved({"manifest.json": json.dumps([config]).encode()}),
        world.saved({"two/layer.tar": ("layer.tar", tarfile.SYMTYPE)}),
        world.saved({"two/layer.tar": ("elsewhere", tarfile.LNKTYPE)}),
        world.folder / "absent.tar",
    ):
        with pytest.raises(BuildError) as caught:
            base.keep(source, name="app", digest=world.config, inputs=world.inputs)
        assert caught.value.code == "oci-archive"
    packed = world.folder / "packed.tar.gz"
    packed.write_bytes(gzip.compress(world.saved().read_bytes()))
    twice = world.folder / "twice.tar"
    with tarfile.open(twice, "w") as out:
        for _ in range(2):
            out.addfile(tarfile.TarInfo("manifest.json"))
    for source, words in ((packed, "gzip"), (twice, "twice")):
        with pytest.raises(BuildError, match=words):
            base.keep(source, name="app", digest=world.config, inputs=world.inputs)


def test_what_is_kept_is_enough_and_what_is_missing_is_named(world: World, tmp_path: Path) -> None:
    (tmp_path / "nacre.toml").write_text(f'name = "a"\nversion = "1"\n[build]\nfrom = "app@{world.digest}"\n')
    recipe = Recipe.load(tmp_path)
    with pytest.raises(BuildError) as caught:
        base.wanted(recipe, source=None, inputs=world.inputs)
    assert caught.value.code == "base-missing"
    locked = base.wanted(recipe, source=world.layout, inputs=world.inputs)
    assert locked == base.wanted(recipe, source=None, inputs=world.inputs)
    assert locked is not None
    assert (locked.name, locked.sha256) == ("app", world.digest.removeprefix("sha256:"))
    with pytest.raises(BuildError) as caught:
        base.read(locked, inputs=Inputs(tmp_path / "elsewhere"))
    assert caught.value.code == "base-missing"
    with pytest.raises(BuildError):
        base.read(msgspec.structs.replace(locked, size=locked.size + 1), inputs=world.inputs)


def test_setuid_is_dropped_and_said(world: World) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as out:
        one = tarfile.TarInfo("su")
        one.mode = 0o4755
        out.addfile(one)
    layer = stream.getvalue()
    image = json.loads(world.blob(world.config))
    image["rootfs"]["diff_ids"] = [f"sha256:{hashlib.sha256(layer).hexdigest()}"]
    config = json.dumps(image).encode()
    listed = [{"Config": "c.json", "Layers": ["l.tar"]}]
    source = archive(
        world.folder / "setuid.tar",
        {"c.json": config, "l.tar": layer, "manifest.json": json.dumps(listed).encode()},
    )
    digest = f"sha256:{hashlib.sha256(config).hexdigest()}"
    locked = base.keep(source, name="app", digest=digest, inputs=world.inputs)
    assert locked.left_out == ("su: setuid",)
    (su,) = [one for one in base.read(locked, inputs=world.inputs).members if "su" in one.entry.path]
    assert su.entry.kind == "program"


def test_no_file_takes_the_place_of_the_machine_s_folders(world: World) -> None:
    place = world.folder / "other"
    digest = oci.write(place, [[cpio.link("proc", "/elsewhere")]], SETTINGS)
    locked = base.keep(place, name="", digest=digest, inputs=world.inputs)
    with pytest.raises(BuildError) as caught:
        base.read(locked, inputs=world.inputs)
    assert caught.value.code == "base-place"


def _recipe(app: App) -> Recipe:
    return Recipe(app=app, build=msgspec.convert({"from": f"sha256:{'1' * 64}"}, _BUILD), folder=Path())


_BUILD = Recipe.__annotations__["build"]


def test_what_is_started() -> None:
    found = base.Found(SETTINGS, ())
    app = App(name="a", version="1")
    assert base.applied(_recipe(app), None).app is app
    started = base.applied(_recipe(app), found).app
    assert (started.entry, started.environment) == (("/bin/app", "-v"), {"A": "1", "B": "2"})
    said = App(name="a", version="1", entry=("/other",), environment={"B": "3"})
    started = base.applied(_recipe(said), found).app
    assert (started.entry, started.environment) == (("/other",), {"A": "1", "B": "3"})
    assert base.Found(Settings(), ()).folder == "/"
    for settings, code in (
        (Settings(), "base-entry"),
        (Settings(entry=("/a", "")), "base-entry"),
        (Settings(entry=("/a",), environment={"NACRE_SOCKET": "/x"}), "base-variable"),
        (Settings(entry=("/a",), environment={"a b": "/x"}), "base-variable"),
    ):
        with pytest.raises(BuildError) as caught:
            base.applied(_recipe(app), base.Found(settings, ()))
        assert caught.value.code == code


@pytest.mark.parametrize(
    ("key", "lines"),
    [
        ("from", ['from = "debian:12"']),
        ("from", ['from = "debian@sha256:12"']),
        ("from", ['from = ""']),
        ("packages", ['packages = ["curl"]']),
        ("requirements", ['requirements = "requirements.txt"']),
        ("package_lock", ['package_lock = "package-lock.json"']),
        ("shell", ["shell = true"]),
        ("runtime", ['runtime = "node"']),
        ("targets", ['targets = ["sgx"]']),
        ("files", ['[build.files]\n"a" = "b"']),
    ],
)
def test_recipes_that_cannot_be(tmp_path: Path, key: str, lines: list[str]) -> None:
    stated = [] if key == "from" else [f'from = "debian@sha256:{"1" * 64}"']
    text = "\n".join(['name = "a"', 'version = "1"', "[build]", *stated, *lines])
    (tmp_path / "nacre.toml").write_text(text)
    with pytest.raises(ConfigurationError, match=key):
        Recipe.load(tmp_path)


def test_the_template_is_a_recipe(repository: Path) -> None:
    recipe = Recipe.load(repository / "examples" / "images" / "docker")
    assert recipe.build.base == f"app@sha256:{'0' * 64}"
    assert recipe.app.entry == ()


def test_a_source_beside_a_container_image_is_refused(tmp_path: Path) -> None:
    text = f'name = "a"\nversion = "1"\nsource = "src"\n[build]\nfrom = "sha256:{"1" * 64}"\n'
    (tmp_path / "nacre.toml").write_text(text)
    with pytest.raises(ConfigurationError, match="source"):
        Recipe.load(tmp_path)


def test_a_lock_s_name_is_a_name() -> None:
    for name in ("a b", "-x", "a" * 300):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({"name": name, "sha256": "0" * 64, "size": 1}, Base)
