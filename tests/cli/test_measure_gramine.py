# SPDX-License-Identifier: Apache-2.0
"""``nacre measure`` of an image for SGX: the manifest, and the Gramine that runs it."""

import json
from pathlib import Path

import pytest
from tests.platforms.sgx.gramines import constants, library

from nacre import cli
from nacre.build import cpio, gramine, outputs
from nacre.build.app import App
from nacre.build.gramine import Gramine
from nacre.cli.exits import Exit

APP = App(name="worm", version="1", entry=("python3",))
RUNTIME = Gramine(libos=b"system calls", library=library(), constants=constants())


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """Where a Gramine is installed."""
    folder = tmp_path / "prefix" / "lib" / "gramine" / "sgx"
    folder.mkdir(parents=True)
    (folder / "libpal.so").write_bytes(RUNTIME.library)
    (folder.parent / "libsysdb.so").write_bytes(RUNTIME.libos)
    (folder.parent / "_graminelibos_offsets.py").write_bytes(RUNTIME.constants)
    return tmp_path / "prefix"


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """What a build wrote."""
    enclave = gramine.build(APP, [cpio.file("usr/bin/python3", b"#!", program=True)], gramine=RUNTIME)
    (tmp_path / "dist" / outputs.GRAMINE).mkdir(parents=True)
    gramine.place(enclave, tmp_path / "dist" / outputs.GRAMINE)
    return tmp_path / "dist"


def test_a_folder_of_a_build_and_its_manifest(
    built: Path, prefix: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = []
    manifest = built / outputs.GRAMINE / "worm.manifest.sgx"
    for words in ([str(built), "--tee", "sgx"], [str(manifest)]):
        assert cli.main(["measure", *words, "--gramine", str(prefix), "--json"]) == Exit.ACCEPTED
        said.append(json.loads(capsys.readouterr().out)["registers"])
    assert said[0] == said[1]
    assert said[0].keys() == {"mrenclave", "isvprodid", "isvsvn"}


def test_what_differs_is_named(built: Path, prefix: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = built / outputs.GRAMINE / "worm.manifest.sgx"
    other = built / "other.manifest.sgx"
    other.write_bytes(manifest.read_bytes().replace(b"strict", b"allow_all_but_log"))
    words = ["measure", "--diff", str(manifest), str(other), "--gramine", str(prefix)]
    assert cli.main(words) == Exit.REJECTED
    assert "manifest" in capsys.readouterr().out


def test_a_folder_without_an_image(tmp_path: Path, prefix: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["measure", str(tmp_path), "--tee", "sgx", "--gramine", str(prefix)]) == Exit.USAGE
    assert "there is no file" in capsys.readouterr().err


def test_a_folder_without_a_gramine(tmp_path: Path, built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["measure", str(built), "--tee", "sgx", "--gramine", str(tmp_path)]
    assert cli.main(words) not in {Exit.ACCEPTED, Exit.REJECTED}
    assert "libsysdb.so" in capsys.readouterr().err
