# SPDX-License-Identifier: Apache-2.0
"""Stand-in registers: the same for the same, others for anything else."""

from pathlib import Path

import msgspec
import pytest

from nacre.appraisal.release import Release
from nacre.build.app import App
from nacre.build.tree import Tree
from nacre.enclave.launch.measure import registers, release_text
from nacre.errors import EnclaveError

_PLATFORMS = ("nitro", "sgx", "snp", "tdx")
_APP = App(name="app", version="1.0", entry=("/bin/true",), environment={"A": "1", "B": "2"})


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    (tmp_path / "main.py").write_text("print()")
    return Tree.read(tmp_path)


@pytest.mark.parametrize("platform", _PLATFORMS)
def test_another_byte_makes_other_registers(platform: str, tree: Tree, tmp_path: Path) -> None:
    first = registers(platform, _APP, tree)
    again = msgspec.structs.replace(_APP, environment={"B": "2", "A": "1"})
    assert registers(platform, again, Tree.read(tmp_path)) == first
    assert len(set(first.values())) == len(first)
    others = [
        registers(platform, _APP, tree, version="0"),
        registers(platform, msgspec.structs.replace(_APP, raw_report_data=True), tree),
    ]
    (tmp_path / "main.py").write_text("print(1)")
    others.append(registers(platform, _APP, Tree.read(tmp_path)))
    for other in others:
        assert not set(other.values()) & set(first.values())


def test_platforms_share_no_value(tree: Tree) -> None:
    values = [value[:16] for platform in _PLATFORMS for value in registers(platform, _APP, tree).values()]
    assert len(set(values)) == len(values)


def test_release_says_what_was_measured(tree: Tree) -> None:
    measured = {platform: registers(platform, _APP, tree) for platform in _PLATFORMS}
    release = Release.parse(release_text(_APP, measured))
    assert (release.id, release.version, release.profile) == ("app/1.0", "1.0", "")
    assert not release.raw_report_data
    for platform, values in measured.items():
        (variant,) = release.variants[platform]
        assert dict(variant.equal) == values
        assert variant.anything == (("rtmr3",) if platform == "tdx" else ())


@pytest.mark.parametrize("version", ['"', "\\", "a\nb\x7f\x00", "é😀", "v" * 300])
def test_odd_versions_are_text_and_nothing_else(version: str, tree: Tree) -> None:
    app = App(name="app", version=version, entry=("x",), profile="isolated", raw_report_data=True)
    release = Release.parse(release_text(app, {"nitro": registers("nitro", app, tree)}))
    assert release.version == version[:128]
    assert (release.id, release.profile, release.raw_report_data) == ("app", "isolated", True)


def test_platform_without_simulation_is_refused(tree: Tree) -> None:
    with pytest.raises(EnclaveError) as caught:
        registers("sev", _APP, tree)
    assert caught.value.code == "simulated-platform"
