# SPDX-License-Identifier: Apache-2.0
"""Commands that fetch, against a server on this machine that serves recorded documents."""

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import pytest

from nacre.cli.exits import Exit

Run = Callable[..., subprocess.CompletedProcess[str]]

_API = "/certification/v4"


def _documents(folder: Path) -> dict[str, tuple[bytes, dict[str, str]]]:
    def chain(name: str) -> str:
        return quote((folder / f"{name}_issuer_chain.pem").read_bytes())

    return {
        f"/tdx{_API}/tcb": (
            (folder / "tcb_info.json").read_bytes(),
            {"TCB-Info-Issuer-Chain": chain("tcb_info")},
        ),
        f"/tdx{_API}/qe/identity": (
            (folder / "qe_identity.json").read_bytes(),
            {"SGX-Enclave-Identity-Issuer-Chain": chain("qe_identity")},
        ),
        f"/sgx{_API}/pckcrl": (
            (folder / "pck_crl.der").read_bytes(),
            {"SGX-PCK-CRL-Issuer-Chain": chain("pck_crl")},
        ),
        f"/sgx{_API}/rootcacrl": ((folder / "root_ca_crl.der").read_bytes(), {}),
    }


@pytest.fixture
def server(examples: Path) -> Iterator[str]:
    """Serve the endorsements of the TDX example, and its evidence."""
    documents = _documents(examples / "tdx" / "endorsements")
    documents["/evidence"] = ((examples / "tdx" / "quote.bin").read_bytes(), {})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body, headers = documents.get(self.path.partition("?")[0], (b"", {}))
            self.send_response(200 if body else 404)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def test_fetch_pack_and_verify_offline(nacre: Run, server: str, examples: Path, tmp_path: Path) -> None:
    evidence = examples / "tdx" / "quote.bin"
    online = {"NACRE_PCS_URL": server}
    fetched = nacre("endorsements", "fetch", evidence, env=online)
    assert fetched.returncode == Exit.ACCEPTED, fetched.stderr
    assert fetched.stdout.startswith("Intel TDX, not verified\n")
    assert "TCB Info" in fetched.stdout
    # Now there is no network: what was fetched is kept under the server's name.
    packed = nacre(
        *("endorsements", "pack", evidence, "--offline", "-o", tmp_path / "bundle.json"), env=online
    )
    assert packed.returncode == Exit.ACCEPTED, packed.stderr
    shown = nacre("endorsements", "show", tmp_path / "bundle.json", "--json")
    roles = {one["role"]: one for one in json.loads(shown.stdout)}
    assert roles["tcb_info"]["number"] == 18
    assert roles["pck_crl"]["kind"] == "revocation list"
    verified = nacre(
        *("verify", evidence, "-e", tmp_path / "bundle.json", "--offline", "--at", "2026-02-14T00:17:00Z"),
        *("-p", examples / "tdx" / "policy.toml"),
    )
    assert verified.returncode == Exit.ACCEPTED


def test_pack_a_folder_to_stdout(nacre: Run, examples: Path) -> None:
    ran = nacre(
        *("endorsements", "pack", examples / "sgx" / "quote.bin", "--from"), examples / "sgx" / "endorsements"
    )
    assert ran.returncode == Exit.ACCEPTED
    assert json.loads(ran.stdout)["platform"] == "sgx"


def test_nitro_needs_nothing(nacre: Run, examples: Path) -> None:
    ran = nacre("endorsements", "fetch", examples / "nitro" / "document.cbor")
    assert ran.returncode == Exit.ACCEPTED
    assert "needs no endorsements" in ran.stdout


def test_unusable_bundles_and_places(nacre: Run, examples: Path, tmp_path: Path) -> None:
    (tmp_path / "bundle.json").write_text("{}")
    assert nacre("endorsements", "show", tmp_path / "bundle.json").returncode == Exit.USAGE
    evidence, folder = examples / "tdx" / "quote.bin", examples / "tdx" / "endorsements"
    ran = nacre("endorsements", "pack", evidence, "--from", folder, "-o", tmp_path / "absent" / "b.json")
    assert ran.returncode == Exit.USAGE
    assert "cannot be written" in ran.stderr


def test_unreachable_endorsers(nacre: Run, examples: Path) -> None:
    ran = nacre("endorsements", "fetch", examples / "tdx" / "quote.bin")
    assert (ran.returncode, ran.stdout) == (Exit.UNAVAILABLE, "")
    assert ran.stderr.startswith("error: ")


def test_evidence_from_a_url_is_incomplete_at_best(nacre: Run, server: str, examples: Path) -> None:
    words = ("-p", examples / "tdx" / "policy.toml", "-e", examples / "tdx" / "endorsements")
    ran = nacre("verify", f"{server}/evidence", *words, "--at", "2026-02-14T00:17:00Z")
    assert ran.returncode == Exit.INCOMPLETE
    assert ran.stdout.startswith("INCOMPLETE  GENUINE Intel TDX evidence")
    assert "[channel-not-attested]" in ran.stdout
    missing = nacre("verify", f"{server}/absent", *words)
    assert (missing.returncode, missing.stdout) == (Exit.UNAVAILABLE, "")
    assert nacre("verify", "http://192.0.2.1/evidence", *words).returncode == Exit.USAGE


def test_verify_fetches_what_it_needs(nacre: Run, server: str, examples: Path) -> None:
    words = ("verify", examples / "tdx" / "quote.bin", "-p", examples / "tdx" / "policy.toml")
    moment = ("--at", "2026-02-14T00:17:00Z")
    online = {"NACRE_PCS_URL": server}
    assert nacre(*words, *moment, env=online).returncode == Exit.ACCEPTED
    assert nacre(*words, *moment, "--offline", env=online).returncode == Exit.ACCEPTED
    # Today the recorded documents are long expired.
    today = nacre(*words, env=online)
    assert today.returncode == Exit.REJECTED
    assert "[expired]" in today.stdout
