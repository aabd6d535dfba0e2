# SPDX-License-Identifier: Apache-2.0
"""``nacre verify URL`` of enclaves that run here, on every platform, and of what is none."""

import json
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from nacre.cli.exits import Exit
from nacre.cli.live import base_of
from nacre.enclave import envelope
from nacre.enclave.instances import Instances, end

Run = Callable[..., subprocess.CompletedProcess[str]]

_NEEDS = pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")


@pytest.fixture
def ours(tmp_path: Path) -> Iterator[Mapping[str, str]]:
    folders = {f"NACRE_{name.upper()}_DIR": str(tmp_path / name) for name in ("state", "data")}
    yield folders
    instances = Instances.of_user(folders)
    for instance in instances.every():
        end(instance)
        instances.remove(instance)


def _statuses(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    return {check["id"]: check["status"] for check in json.loads(done.stdout)["checks"]}


@_NEEDS
@pytest.mark.parametrize("platform", ["nitro", "sgx", "snp", "tdx"])
def test_enclave_that_runs_is_verified_but_for_the_channel(
    nacre: Run, ours: Mapping[str, str], repository: Path, platform: str
) -> None:
    done = nacre("run", repository / "examples" / "worm", "--tee", platform, "-d", "--json", env=ours)
    assert done.returncode == 0, done.stderr
    started = json.loads(done.stdout)
    words = ("verify", started["url"], "--policy", started["policy"], "--json")
    done = nacre(*words)
    assert done.returncode == Exit.INCOMPLETE, done.stderr
    assert json.loads(done.stdout)["origin"] == "simulated"
    statuses = _statuses(done)
    assert statuses.pop("channel") == "skipped"
    assert statuses.pop("agent.events") == ("pass" if platform == "tdx" else "skipped")
    assert (statuses["binding"], statuses["executables"], statuses["freshness"]) == ("pass", "pass", "pass")
    assert set(statuses.values()) <= {"pass", "not-applicable"}
    if platform != "nitro":
        return
    trusting = nacre("verify", started["url"], "--root", Path(started["policy"]).with_name("root-0.pem"))
    assert trusting.returncode == Exit.INCOMPLETE
    assert "SIMULATED" in trusting.stdout.upper()
    both = nacre(*words, "--root", Path(started["policy"]).with_name("root-0.pem"))
    assert both.returncode == Exit.USAGE
    # Without the policy nobody vouches for it.
    assert nacre("verify", started["url"], "--offline").returncode == Exit.REJECTED
    assert nacre(*words, "--identity", started["policy"], "--nonce", "00" * 32).returncode == Exit.USAGE
    nacre("stop", "--all", env=ours)
    assert nacre("verify", started["url"]).returncode == Exit.UNAVAILABLE


class _Elsewhere(BaseHTTPRequestHandler):
    answer = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.answer)))
        self.end_headers()
        self.wfile.write(self.answer)

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("answer", [b"", b"<html>", b'{"v": "nacre-evidence/v2"}'])
def test_what_is_no_enclave_is_malformed(nacre: Run, answer: bytes) -> None:
    handler = type("_Answers", (_Elsewhere,), {"answer": answer})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        done = nacre("verify", f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
    assert done.returncode == Exit.MALFORMED, done.stderr


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("http://127.0.0.1:80", "http://127.0.0.1:80"),
        ("https://enclave.example/", "https://enclave.example"),
        (f"https://enclave.example{envelope.PATH}", "https://enclave.example"),
        (f"https://enclave.example{envelope.PATH}?nonce=00", None),
        ("https://enclave.example/quote.bin", None),
        ("https://enclave.example?x", None),
    ],
)
def test_which_urls_name_an_enclave(url: str, base: str | None) -> None:
    assert base_of(url) == base
