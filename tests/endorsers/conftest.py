# SPDX-License-Identifier: Apache-2.0
"""A real server of endorsements, which misbehaves on request, and a clock that stands still."""

import json
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import pytest

from nacre.appraisal.policy import Policy
from nacre.endorsers.fetch import HttpFetcher
from nacre.endorsers.http import Limits
from nacre.errors import NacreError
from nacre.platforms.base import Endorsements
from nacre.platforms.snp import endorsements as amd
from nacre.platforms.snp.evidence import parse
from nacre.trust import pem
from nacre.trust.times import parse_rfc3339

Behaviour = Callable[["Handler"], object]

# One quote under two evaluation numbers: the older documents call it UpToDate.
UP_TO_DATE = "tdx/openenclave-v5-90c06f000000-e17-uptodate-d21a11"
RELAUNCH = "tdx/openenclave-v5-90c06f000000-e18-tdrelaunchadvised-d21a11"


class Handler(BaseHTTPRequestHandler):
    """Answers as the server's behaviour says."""

    server: "_HttpServer"
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        owner = self.server.owner
        owner.requests.append(self.path)
        owner.seen.append({name.lower(): value for name, value in self.headers.items()})
        behaviour = owner.behaviours.get(self.path) or owner.otherwise
        try:
            behaviour(self)
        except (ConnectionError, ssl.SSLError):
            self.close_connection = True

    def answer(self, body: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if "Content-Length" not in (headers or {}):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True
    owner: "Server"

    def handle_error(self, request: object, client_address: object) -> None:
        pass


class Server:
    """A server process's stand-in: a thread with a real socket."""

    def __init__(
        self, handler: type[BaseHTTPRequestHandler] = Handler, context: ssl.SSLContext | None = None
    ) -> None:
        self.behaviours: dict[str, Behaviour] = {}
        self.otherwise: Behaviour = lambda handler: handler.answer(b"no such path", status=404)
        self.requests: list[str] = []
        self.seen: list[dict[str, str]] = []
        self.released = threading.Event()
        self.goal: int | None = None
        self._http = _HttpServer(("127.0.0.1", 0), handler)
        self._http.owner = self
        if context is not None:
            self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        self.port = self._http.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def stop(self) -> None:
        self.released.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def serve(self, case: "Case") -> None:
        """Serve a case's collateral under the paths and with the headers of Intel's PCS."""
        tee = case.platform
        info = json.loads(case.documents["tcb_info"])["tcbInfo"]
        fmspc = info["fmspc"].lower()
        chains = {
            f"/{tee}/certification/v4/tcb?fmspc={fmspc}": ("tcb_info", "TCB-Info-Issuer-Chain"),
            f"/{tee}/certification/v4/qe/identity": ("qe_identity", "SGX-Enclave-Identity-Issuer-Chain"),
        }
        for ca in ("platform", "processor"):
            path = f"/sgx/certification/v4/pckcrl?ca={ca}&encoding=der"
            chains[path] = ("pck_crl", "SGX-PCK-CRL-Issuer-Chain")
        for path, (role, header) in chains.items():
            chain = quote(case.documents[f"{role}_issuer_chain"], safe="")
            self.give(path, case.documents[role], {header: chain})
        self.give("/sgx/certification/v4/rootcacrl", case.documents["root_ca_crl"].hex().encode())

    def give(
        self, path: str, body: bytes, headers: Mapping[str, str] | None = None, status: int = 200
    ) -> None:
        self.behaviours[path] = lambda handler: handler.answer(body, status=status, headers=headers)


class Case(NamedTuple):
    """A case of the vectors."""

    platform: str
    evidence: bytes
    documents: Mapping[str, bytes]
    at: int

    @property
    def endorsements(self) -> Endorsements:
        return Endorsements(self.documents)


class Chip:
    """A recorded report with AMD's documents for it, as AMD serves them."""

    def __init__(self, vectors: Path, name: str, crl: bytes = b"") -> None:
        folder = vectors / name
        told = json.loads((folder / "case.json").read_text())
        files = {
            role: (folder / file).read_bytes() for role, file in told["collateral"].items() if _is_file(file)
        }
        chain = b"\n".join(pem.armour(files[role]) for role in ("ask", "ark")) + b"\n"
        self.at = parse_rfc3339(told["time"], what="time")
        self.evidence = parse((folder / told["evidence"]).read_bytes())
        self.documents = {"vek": files["vek"], "ask": chain, "crl": files.get("crl", crl)}
        self.sources = {source.role: source for source in amd.sources(self.evidence)}

    def path(self, role: str) -> str:
        return self.sources[role].path

    def serve(self, server: "Server", *, line: str = "") -> None:
        for role, source in self.sources.items():
            path = source.path.replace("Milan", line) if line else source.path
            server.give(path, self.documents[role])


def _is_file(name: object) -> bool:
    return isinstance(name, str) and name.endswith(".der")


class Clock:
    """Time that passes when a test says so."""

    def __init__(self, now: int) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now


class Notices(list[NacreError]):
    """What went wrong without stopping anything."""

    @property
    def codes(self) -> list[str]:
        return [error.code for error in self]

    def __call__(self, error: NacreError) -> None:
        assert " ?" not in str(error)
        self.append(error)


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def make_clock() -> type[Clock]:
    """What makes a clock that stands still."""
    return Clock


@pytest.fixture
def notices() -> Notices:
    return Notices()


@pytest.fixture
def fetcher() -> HttpFetcher:
    """A fetcher that asks twice and waits for slow machines, not between questions."""
    return HttpFetcher(limits=Limits(connect=10, read=10, total=20, attempts=2), sleep=lambda _: None)


@pytest.fixture(scope="session")
def case(vectors: Path) -> Callable[[str], Case]:
    def load(name: str) -> Case:
        folder = vectors / name
        told = json.loads((folder / "case.json").read_text())
        documents = {
            role: (folder / file).read_bytes()
            for role, file in told["collateral"].items()
            if file and role != "root_ca"
        }
        at = parse_rfc3339(told["time"], what="time")
        return Case(name.partition("/")[0], (folder / told["evidence"]).read_bytes(), documents, at)

    return load


@pytest.fixture(scope="session")
def recorded(vectors: Path) -> Callable[..., Chip]:
    """What loads a recorded SNP report with AMD's documents."""
    return lambda name, crl=b"": Chip(vectors, name, crl)


@pytest.fixture(scope="session")
def relaunch(case: Callable[[str], Case]) -> Case:
    """Real TDX evidence with its collateral, evaluation number 18."""
    return case(RELAUNCH)


@pytest.fixture(scope="session")
def uptodate(case: Callable[[str], Case]) -> Case:
    """The same evidence with the collateral of eleven days before, evaluation number 17."""
    return case(UP_TO_DATE)


@pytest.fixture(scope="session")
def policy() -> Policy:
    """A policy that any genuine TDX evidence of the vectors can be held against."""
    return Policy.parse('id = "test"\nplatforms = ["tdx"]\n')
