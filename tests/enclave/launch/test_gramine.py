# SPDX-License-Identifier: Apache-2.0
"""What ``nacre build`` made for SGX is run in its folder, by its name and nothing else."""

from pathlib import Path

import msgspec
import pytest

from nacre.build.app import App
from nacre.enclave.launch import gramine
from nacre.errors import EnclaveError

_APP = App(name="worm", version="1", entry=("python3", "worm.py"))


def test_the_command() -> None:
    found = gramine.command(_APP, directory=Path("/run/a b"))
    assert found == ("env", "--chdir=/run/a b", "gramine-sgx", "worm")


@pytest.mark.parametrize("name", ["", "-x", "../x", "a\nb"])
def test_a_name_that_is_more_than_a_name_is_refused(name: str) -> None:
    app = msgspec.structs.replace(_APP, name=name)
    with pytest.raises(EnclaveError) as caught:
        gramine.command(app, directory=Path("/run"))
    assert caught.value.code == "launch-word"


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    program, device = gramine.missing(devices={tmp_path / "gone": "of nobody"})
    assert "gramine-sgx" in program
    assert device == f"{tmp_path / 'gone'} (of nobody)"
