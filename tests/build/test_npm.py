# SPDX-License-Identifier: Apache-2.0
"""npm's packages by the digests of package-lock.json; what would run a script is refused."""

import base64
import gzip
import hashlib
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.build.debian.archive import data, entry
from tests.build.recipes import application

from nacre.build import npm
from nacre.build.download import Download
from nacre.build.inputs import Inputs
from nacre.build.lock import Module
from nacre.errors import BuildError, ConfigurationError

_PLACE = "node_modules/left"
_URL = "https://registry.example/left/-/left-1.0.0.tgz"


def _archive(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    return gzip.compress(
        data(entries or (entry("package/index.js", b"js"), entry("package/bin/x", b"", mode=0o755)))
    )


def _integrity(content: bytes) -> str:
    return f"sha512-{base64.b64encode(hashlib.sha512(content).digest()).decode()}"


class Registry:
    """A registry in a folder, and an application that needs one of its packages."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.inputs = Inputs(folder / "inputs")
        self.content = _archive()

    def locked(self, change: Mapping[str, Any] | None = None, *, place: str = _PLACE) -> tuple[Module, ...]:
        """Lock the package, as its entry says after a change."""
        served = self.folder / "registry/left/-/left-1.0.0.tgz"
        served.parent.mkdir(parents=True, exist_ok=True)
        served.write_bytes(self.content)
        listed = {
            "version": "1.0.0",
            "resolved": _URL,
            "integrity": _integrity(self.content),
            **(change or {}),
        }
        packages = {"": {"name": "demo"}, place: listed}
        return self.of({"lockfileVersion": 3, "packages": packages})

    def of(self, written: object) -> tuple[Module, ...]:
        """Lock what a package-lock.json says."""
        app = self.folder / "app"
        app.mkdir(exist_ok=True)
        (app / "package-lock.json").write_text(written if isinstance(written, str) else json.dumps(written))
        recipe = application(app, build='package_lock = "package-lock.json"\n')
        return npm.lock(recipe, inputs=self.inputs, download=Download())

    def code(self, change: Mapping[str, Any], *, place: str = _PLACE) -> str:
        """Return the code of the refusal."""
        with pytest.raises(BuildError) as caught:
            self.locked(change, place=place)
        assert str(caught.value)
        return caught.value.code


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """A registry in a folder."""
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", (tmp_path / "registry").as_uri() + "/")
    return Registry(tmp_path)


def test_a_module_lies_where_npm_would_put_it(registry: Registry) -> None:
    modules = registry.locked()
    assert [(one.name, one.version, one.place, one.path) for one in modules] == [
        ("left", "1.0.0", _PLACE, "left/-/left-1.0.0.tgz")
    ]
    found = npm.members(modules, inputs=registry.inputs)
    assert [(one.entry.path, one.entry.kind) for one in found] == [
        ("app/node_modules/left/index.js", "file"),
        ("app/node_modules/left/bin/x", "program"),
    ]


def test_addresses_may_be_left_out(registry: Registry) -> None:
    (found,) = registry.locked({"resolved": ""})
    assert found.path == "left/-/left-1.0.0.tgz"
    (found,) = registry.locked({"resolved": "", "name": "left"}, place="node_modules/right")
    assert (found.name, found.place, found.path) == ("right", "node_modules/right", "left/-/left-1.0.0.tgz")


def test_what_other_systems_and_development_need_is_left_out(registry: Registry) -> None:
    for change in ({"dev": True}, {"os": ["darwin"]}, {"os": ["!linux"]}, {"cpu": ["arm64"]}):
        assert registry.locked(change) == ()
    for change in ({"os": ["linux", "darwin"]}, {"cpu": ["!arm64"]}):
        assert len(registry.locked(change)) == 1


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"hasInstallScript": True}, "npm-script"),
        ({"integrity": ""}, "npm-integrity"),
        ({"integrity": _integrity(b"other")}, "npm-integrity"),
        ({"integrity": "sha1-AAAA"}, "npm-integrity"),
        ({"link": True}, "npm-source"),
        ({"resolved": "git+ssh://git@example.org/left.git#0123"}, "npm-source"),
        ({"resolved": "http://registry.example/left.tgz"}, "npm-source"),
        ({"resolved": "file:../left.tgz"}, "npm-source"),
        ({"resolved": "https://registry.example/../../etc/left.tgz"}, "npm-source"),
        ({"resolved": "https://["}, "npm-source"),
        ({"resolved": "", "version": "1 0"}, "npm-source"),
        ({"resolved": "https://registry.example/none/-/none-1.0.0.tgz"}, "download-failed"),
    ],
)
def test_what_is_not_a_registry_s_or_runs_a_script_is_refused(
    registry: Registry, change: Mapping[str, Any], code: str
) -> None:
    assert registry.code(change) == code


@pytest.mark.parametrize(
    "place", ["node_modules/../../etc", "../left", "packages/left", "/node_modules/left"]
)
def test_a_place_outside_of_node_modules_is_refused(registry: Registry, place: str) -> None:
    assert registry.code({}, place=place) == "npm-source"


@pytest.mark.parametrize(
    "one",
    [
        entry("package/../../../x", b""),
        entry("/etc/x", b""),
        entry("package/a", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        entry("package/a", type=tarfile.CHRTYPE),
        entry("a", b""),
        entry("package/a\nb", b""),
    ],
)
def test_an_archive_that_leads_out_is_refused(registry: Registry, one: tuple[tarfile.TarInfo, bytes]) -> None:
    registry.content = _archive(one)
    modules = registry.locked()
    with pytest.raises(BuildError) as caught:
        npm.members(modules, inputs=registry.inputs)
    assert caught.value.code == "package-malformed"


def test_what_npm_did_not_write_is_refused(registry: Registry) -> None:
    for written in ("", "[]", "{", '{"lockfileVersion": "3"}', {"lockfileVersion": 1, "packages": {}}):
        with pytest.raises(ConfigurationError) as caught:
            registry.of(written)
        assert caught.value.code == "config-syntax"


def test_a_locked_module_is_fetched_by_its_digest(registry: Registry, tmp_path: Path) -> None:
    (module,) = registry.locked()
    assert npm.fetch(module, inputs=Inputs(tmp_path / "new"), download=Download()) == registry.content
    (tmp_path / "registry/left/-/left-1.0.0.tgz").write_bytes(registry.content[:-1] + b"x")
    for offline, code in ((False, "input-changed"), (True, "input-missing")):
        with pytest.raises(BuildError) as caught:
            npm.fetch(module, inputs=Inputs(tmp_path / "newer", offline=offline), download=Download())
        assert caught.value.code == code


def test_without_a_registry_nothing_is_asked(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NPM_CONFIG_REGISTRY")
    monkeypatch.delenv("npm_config_registry", raising=False)
    monkeypatch.setenv("PATH", "")
    assert registry.code({}) == "npm-registry"
