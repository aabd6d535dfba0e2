# SPDX-License-Identifier: Apache-2.0
"""The disk and the TPM of a measured boot, without the boot."""

import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from nacre.enclave.launch.vm_measured import Measured
from nacre.errors import EnclaveError

_IMAGE = b"MZ image" * 1000


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose path leaves room for a socket's name, and has a comma."""
    for program in ("swtpm", "mformat"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed; .ci/run installs it")
    path = Path(tempfile.mkdtemp(prefix="nacre,"))
    yield path
    shutil.rmtree(path)


def _instead(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, script: str) -> None:
    """Put another program in the place of one that is installed."""
    programs = folder / "programs"
    programs.mkdir()
    (programs / name).write_text(f"#!/bin/sh\n{script}\n")
    (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=":")


def test_the_image_is_what_firmware_finds(folder: Path) -> None:
    measured = Measured(_IMAGE, directory=folder)
    read = ["mcopy", "-i", str(folder / "disk.img"), "::/EFI/BOOT/BOOTX64.EFI", "-"]
    assert subprocess.run(read, capture_output=True, check=True).stdout == _IMAGE
    assert sorted(path.name for path in folder.iterdir()) == ["disk.img", "tpm", "variables.fd"]
    assert measured.memory >= 512


def test_the_tpm_is_there_while_it_is_needed(folder: Path) -> None:
    measured = Measured(_IMAGE, directory=folder)
    with measured:
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(str(folder / "tpm.sock"))
        listed = measured.options()
    assert f"socket,id=tpm,path={str(folder).replace(',', ',,')}/tpm.sock" in listed
    assert not (folder / "tpm.sock").exists()


@pytest.mark.parametrize("name", ["swtpm_setup", "mcopy"])
def test_what_is_missing_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda one: None if one == name else which(one))
    with pytest.raises(EnclaveError) as caught:
        Measured(_IMAGE, directory=folder)
    assert (caught.value.code, caught.value.context["what"]) == ("vm-missing", name)


def test_a_tpm_that_does_not_start(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The set-up runs the program too, and otherwise.
    script = f"case $* in *path=tpm.sock) echo broken >&2; exit 1;; esac; exec {shutil.which('swtpm')} $*"
    _instead(folder, monkeypatch, "swtpm", script)
    with pytest.raises(EnclaveError) as caught, Measured(_IMAGE, directory=folder):
        pass
    assert caught.value.code == "vm-failed"
    assert caught.value.context["actual"] == "swtpm: broken"


def test_a_tool_that_fails(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _instead(folder, monkeypatch, "mcopy", "echo no room >&2; exit 1")
    with pytest.raises(EnclaveError) as caught:
        Measured(_IMAGE, directory=folder)
    assert (caught.value.code, caught.value.context["actual"]) == ("vm-failed", "mcopy: no room")


def test_a_folder_that_is_used(folder: Path) -> None:
    Measured(_IMAGE, directory=folder)
    with pytest.raises(EnclaveError) as caught:
        Measured(_IMAGE, directory=folder)
    assert caught.value.code == "vm-failed"
