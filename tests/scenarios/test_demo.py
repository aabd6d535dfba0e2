# SPDX-License-Identifier: Apache-2.0
"""What `make demo` shows, and that its evidence is what it is said to be."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_EXAMPLES = _ROOT / "examples"
_CASES = re.findall(
    r"^\| `verify/(\w+)` \| `([^`]+)` \|$", (_EXAMPLES / "README.md").read_text(), re.MULTILINE
)


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")
def test_the_demo_accepts_what_is_genuine_and_refuses_what_is_not() -> None:
    ran = subprocess.run(
        [sys.executable, str(_EXAMPLES / "demo.py")],
        capture_output=True,
        check=False,
        text=True,
        encoding="utf-8",
    )
    said = ran.stdout
    assert ran.returncode == 0, said + ran.stderr
    assert said.count("\nWARNING  GENUINE ") == len(_CASES) == 4
    assert said.count("\nINCOMPLETE  SIMULATED ") == 3  # one application, three simulated TEEs
    # Another source, an old answer, old firmware.
    assert said.count("\nREJECTED  ") == len(_CASES) + said.count("\nREJECTED  SIMULATED ") == len(_CASES) + 3


@pytest.mark.parametrize(("platform", "case"), _CASES)
def test_examples_are_copies_of_vectors(platform: str, case: str) -> None:
    folder = _ROOT / "tests" / "vectors" / case
    originals = {path.read_bytes() for path in folder.iterdir()}
    copies = [
        path for path in (_EXAMPLES / "verify" / platform).rglob("*") if path.suffix not in {".toml", ""}
    ]
    changed = [path for path in copies if path.read_bytes() not in originals]
    assert [path.stem for path in changed] == ["tampered"]


@pytest.mark.parametrize(("platform", "case"), _CASES)
def test_twins_differ_in_one_bit(platform: str, case: str) -> None:
    del case
    folder = _EXAMPLES / "verify" / platform
    (tampered,) = folder.glob("tampered.*")
    (genuine,) = [path for path in folder.glob(f"*{tampered.suffix}") if path != tampered]
    different = int.from_bytes(genuine.read_bytes(), "big") ^ int.from_bytes(tampered.read_bytes(), "big")
    assert different.bit_count() == 1
