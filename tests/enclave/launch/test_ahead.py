# SPDX-License-Identifier: Apache-2.0
"""Bytecode is there before a sandbox keeps it from being written."""

import os
import subprocess
import sys
from importlib.util import cache_from_source
from pathlib import Path

import pytest

from nacre.enclave.launch.ahead import compile_ahead


@pytest.fixture
def package(tmp_path: Path) -> Path:
    for name in ("enclave/agent/one.py", "platforms/two.py", "platforms/deep/three.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("value = 1\n")
    return tmp_path


@pytest.fixture(autouse=True)
def allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)


def _cached(package: Path, name: str) -> Path:
    return Path(cache_from_source(str(package / name)))


def test_what_only_an_agent_loads_is_compiled(package: Path) -> None:
    compile_ahead(package)
    assert _cached(package, "enclave/agent/one.py").is_file()
    assert _cached(package, "platforms/two.py").is_file()
    assert not _cached(package, "platforms/deep/three.py").exists()


def test_python_takes_it_and_it_follows_the_source(package: Path) -> None:
    source = package / "enclave/agent/one.py"
    compile_ahead(package)
    source.write_text("value = 22\n")
    os.utime(source, (1_800_000_000, 1_800_000_000))  # seconds are all that is compared
    compile_ahead(package)
    made = _cached(package, "enclave/agent/one.py")
    before = made.read_bytes()
    program = f"import sys; sys.path.insert(0, {str(source.parent)!r}); import one; print(one.value)"
    said = subprocess.run([sys.executable, "-IBv", "-c", program], check=True, capture_output=True, text=True)
    assert said.stdout == "22\n"
    assert f"# {made} matches {source}" in said.stderr
    assert made.read_bytes() == before


def test_nothing_is_written_where_python_must_not(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    compile_ahead(package)
    assert not _cached(package, "platforms/two.py").exists()


def test_what_cannot_be_compiled_or_written_keeps_nobody_from_starting(
    package: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (package / "platforms/two.py").write_text("value =\n")
    (package / "enclave/agent/__pycache__").write_text("in the way")
    compile_ahead(package)
    compile_ahead(package / "nowhere")
    assert capfd.readouterr() == ("", "")
