# SPDX-License-Identifier: Apache-2.0
"""AMD's documents on the command line: fetched once for a fleet, packed, shown, used without a network."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nacre import platforms
from nacre.cli.exits import Exit
from nacre.trust import pem

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    Run = Callable[..., subprocess.CompletedProcess[str]]

CASES = ("snp/confidential-milan-v3-05b743-crl", "snp/confidential-milan-v3-14fd2b-crl")
POLICY = """
id = "fleet"
accept = "WARNING"
platforms = ["snp"]
unsafe_waive = ["freshness", "binding", "executables"]
[snp]
accept_advisories = ["any"]
"""


def _documents(folder: Path) -> dict[str, bytes]:
    """Return what AMD would serve for a case, by path."""
    platform = platforms.get("snp")
    chain = b"\n".join(pem.armour((folder / f"{name}.der").read_bytes()) for name in ("ask", "ark")) + b"\n"
    found = {
        "vek": (folder / "vcek.der").read_bytes(),
        "ask": chain,
        "crl": (folder / "crl.der").read_bytes(),
    }
    evidence = platform.parse((folder / "report.bin").read_bytes())
    return {source.path: found[source.role] for source in platform.sources(evidence)}


@pytest.fixture
def reports(vectors: Path) -> list[Path]:
    return [vectors / name / "report.bin" for name in CASES]


@pytest.fixture
def amd(reports: list[Path]) -> Iterator[dict[str, str]]:
    """AMD's service, and the environment that names it."""
    documents = {path: body for report in reports for path, body in _documents(report.parent).items()}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = documents.get(self.path, b"")
            self.send_response(200 if body else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield {"NACRE_KDS_URL": f"http://127.0.0.1:{running.server_port}"}
        running.shutdown()
        thread.join()


def test_a_store_for_a_fleet(nacre: "Run", amd: dict[str, str], reports: list[Path], tmp_path: Path) -> None:
    store, policy = tmp_path / "store", tmp_path / "policy.toml"
    policy.write_text(POLICY)
    fetched = nacre("endorsements", "fetch", *reports, "--store", store, env=amd)
    assert fetched.returncode == Exit.ACCEPTED, fetched.stderr
    assert fetched.stdout.startswith("AMD SEV-SNP, not verified\n")
    shown = nacre("endorsements", "show", store, "--json")
    kinds = {one["role"]: one["kind"] for one in json.loads(shown.stdout)}
    assert len(kinds) == 4
    assert kinds["Milan/vcek-cert_chain"] == "chain of 2 certificates"
    assert kinds["Milan/vcek-crl"] == "revocation list"
    assert 'certificate "SEV-VCEK"' in kinds.values()
    assert "Milan/vcek-crl" in nacre("endorsements", "show", store).stdout
    # No network, an empty cache: the store alone.
    words = ("--offline", "--at", "2025-11-07T18:19:33Z", "-p", policy)
    for report in reports:
        ran = nacre(
            *("verify", report, *words),
            env={"NACRE_KDS_URL": f"file://{store}", "NACRE_CACHE_DIR": str(tmp_path / "another")},
        )
        assert ran.returncode == Exit.ACCEPTED, ran.stdout


def test_a_bundle_of_one_report(
    nacre: "Run", amd: dict[str, str], reports: list[Path], tmp_path: Path
) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(POLICY)
    packed = nacre("endorsements", "pack", reports[0], "-o", tmp_path / "bundle.json", env=amd)
    assert packed.returncode == Exit.ACCEPTED, packed.stderr
    ran = nacre(
        *("verify", reports[0], "-e", tmp_path / "bundle.json", "--offline", "-p", policy),
        *("--at", "2025-11-07T18:19:33Z"),
    )
    assert ran.returncode == Exit.ACCEPTED, ran.stdout


def test_one_chip_that_amd_does_not_know(
    nacre: "Run", amd: dict[str, str], reports: list[Path], vectors: Path
) -> None:
    stranger = vectors / "snp/syn-format-v5-genoa/report.bin"
    ran = nacre("endorsements", "fetch", stranger, reports[0], "--json", env=amd)
    assert ran.returncode == Exit.UNAVAILABLE
    assert "knows no vek" in ran.stderr
    assert [one["role"] for one in json.loads(ran.stdout)] == ["ask", "crl", "vek"]
    assert nacre("endorsements", "fetch", stranger, env=amd).returncode == Exit.UNAVAILABLE


def test_a_store_is_of_amd_alone(nacre: "Run", examples: Path, tmp_path: Path) -> None:
    ran = nacre(
        *("endorsements", "fetch", examples / "nitro" / "document.cbor", "--store", tmp_path / "store")
    )
    assert ran.returncode == Exit.ACCEPTED  # needs nothing, so nothing is laid out
    assert not (tmp_path / "store").exists()


@pytest.fixture
def vlek(vectors: Path, tmp_path: Path) -> Path:
    """A folder with what belongs to a report that a cloud's key signed, and a policy for it."""
    recorded = vectors / "snp/confidential-milan-vlek-v2-affb92-nocrl"
    folder = tmp_path / "documents"
    folder.mkdir()
    for source, target in (("vlek.der", "vek.der"), ("ask.der", "ask.der")):
        (folder / target).write_bytes((recorded / source).read_bytes())
    (tmp_path / "report.bin").write_bytes((recorded / "report.bin").read_bytes())
    waived = POLICY.replace('unsafe_waive = ["', 'unsafe_waive = ["revocation", "')
    (tmp_path / "policy.toml").write_text(f"{waived}require_alias_check = false\nvmpls = [1]\n")
    return folder


def test_a_vlek_that_did_not_come_along_is_given(nacre: "Run", vlek: Path, tmp_path: Path) -> None:
    """Only the cloud gets it from AMD; as a folder or in a bundle it serves."""
    report, bundle = tmp_path / "report.bin", tmp_path / "bundle.json"
    words = ("verify", report, "-p", tmp_path / "policy.toml", "--at", "2024-07-04T21:14:27Z")
    packed = nacre("endorsements", "pack", report, "--from", vlek, "-o", bundle)
    assert packed.returncode == Exit.ACCEPTED, packed.stderr
    for given in (vlek, bundle):
        ran = nacre(*words, "-e", given)
        assert ran.returncode == Exit.ACCEPTED, ran.stdout


def test_a_vlek_that_is_nowhere(nacre: "Run", vlek: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.bin"
    ran = nacre("verify", report, "-p", tmp_path / "policy.toml", "--at", "2024-07-04T21:14:27Z")
    assert ran.returncode == Exit.UNAVAILABLE
    assert "[snp-vlek-not-sent]" in ran.stdout
    assert nacre("endorsements", "fetch", report).returncode == Exit.UNAVAILABLE
    (vlek / "ask.der").unlink()
    words = ("verify", report, "-p", tmp_path / "policy.toml", "-e", vlek, "--at", "2024-07-04T21:14:27Z")
    lacking = nacre(*words)
    assert lacking.returncode == Exit.INCOMPLETE
    assert "ask is missing" in lacking.stdout
