# SPDX-License-Identifier: Apache-2.0
"""From shell to verdict little is loaded: what a command line does not use costs it nothing."""

import subprocess
import sys
from collections.abc import Callable

import pytest

_SLOW = {
    *("asyncio", "click", "concurrent.futures", "dataclasses", "email", "http.client", "importlib.metadata"),
    *("json", "logging", "rich", "ssl", "subprocess", "tempfile", "urllib.request"),
    *("cryptography.x509", "cryptography.hazmat.backends.openssl.backend"),
    *("nacre.cli.group", "nacre.endorsers.collector", "nacre.endorsers.http", "nacre.appraisal.report"),
}


def _loaded(words: list[str]) -> set[str]:
    ran = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "nacre", *words],
        capture_output=True,
        check=True,
        text=True,
    )
    return {line.rpartition("|")[2].strip() for line in ran.stderr.splitlines() if "import time:" in line}


@pytest.mark.parametrize("platform", ["sgx", "tdx", "nitro"])
def test_what_verify_loads(recorded: Callable[..., list[str]], platform: str) -> None:
    loaded = _loaded(recorded(platform))
    # What coverage and other tools of this environment load by themselves is not ours.
    bare = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "pass"], capture_output=True, check=True, text=True
    )
    theirs = {line.rpartition("|")[2].strip() for line in bare.stderr.splitlines()}
    assert "nacre.cli.verifying" in loaded
    assert (loaded - theirs) & _SLOW == set()
    if platform != "nitro":
        assert "nacre.platforms.nitro" not in loaded


def test_toml_is_read_where_there_is_some(recorded: Callable[..., list[str]]) -> None:
    words = recorded("tdx")
    assert "tomllib" in _loaded(words)
    assert "tomllib" not in _loaded(["version"])
