# SPDX-License-Identifier: Apache-2.0
"""TLS is verified, through proxies as well, and proxies are the environment's."""

import datetime as dt
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from nacre.endorsers.fetch import HttpFetcher
from nacre.endorsers.http import Deadline, Limits, exchange, target
from nacre.errors import ConfigurationError, EndorsementsUnavailable

if TYPE_CHECKING:
    from tests.endorsers.conftest import Server, _HttpServer

_NAMES = ("localhost", "endorser.example")
_LIMITS = Limits(connect=10, read=10, total=20, attempts=1)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key with a certificate of its own, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "endorser")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in _NAMES]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return file


@pytest.fixture
def secure(certificate: Path, server: "Server") -> Iterator["Server"]:
    """A server that speaks TLS only."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    running = type(server)(context=context)
    running.give("/", b"secret")
    yield running
    running.stop()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def _code(fetcher: HttpFetcher, url: str) -> str:
    with pytest.raises(EndorsementsUnavailable) as caught:
        fetcher.get(url)
    return caught.value.code


def test_a_named_authority_is_trusted(secure: "Server", certificate: Path) -> None:
    fetcher = HttpFetcher(ca_file=str(certificate), limits=_LIMITS)
    assert fetcher.get(f"https://localhost:{secure.port}/").body == b"secret"
    assert fetcher.get(f"https://localhost:{secure.port}/").body == b"secret"


def test_an_unknown_authority_is_not(secure: "Server") -> None:
    assert _code(HttpFetcher(limits=_LIMITS), f"https://localhost:{secure.port}/") == "endorser-tls"


def test_trust_is_the_systems_if_nobody_says(secure: "Server") -> None:
    goal = target(f"https://localhost:{secure.port}/")
    with pytest.raises(EndorsementsUnavailable) as caught:
        exchange(goal, deadline=Deadline(5, time.monotonic), limits=_LIMITS)
    assert caught.value.code == "endorser-tls"


def test_the_name_has_to_be_the_certificates(secure: "Server", certificate: Path) -> None:
    fetcher = HttpFetcher(ca_file=str(certificate), limits=_LIMITS)
    assert _code(fetcher, f"https://127.0.0.1:{secure.port}/") == "endorser-tls"


def test_plain_http_where_tls_was_meant(server: "Server", certificate: Path) -> None:
    fetcher = HttpFetcher(ca_file=str(certificate), limits=_LIMITS)
    assert _code(fetcher, f"https://localhost:{server.port}/") == "endorser-tls"


def test_a_handshake_that_never_ends(certificate: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        fetcher = HttpFetcher(ca_file=str(certificate), limits=Limits(connect=0.2, total=1, attempts=1))
        assert _code(fetcher, f"https://localhost:{silent.getsockname()[1]}/") == "endorser-timeout"


def test_an_authority_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        HttpFetcher(ca_file=str(tmp_path / "none.pem")).get("https://localhost:1/")
    assert caught.value.code == "ca-file-unusable"


class _Relay(BaseHTTPRequestHandler):
    """A CONNECT proxy that leads everything to one port."""

    server: "_HttpServer"

    def do_CONNECT(self) -> None:
        owner = self.server.owner
        owner.requests.append(self.path)
        if owner.goal is None:
            self.send_error(403)
            return
        self.send_response(200)
        self.end_headers()
        with socket.create_connection(("127.0.0.1", owner.goal)) as goal:
            back = threading.Thread(target=self._pump, args=(goal, self.connection))
            back.start()
            self._pump(self.connection, goal)
            back.join()
        self.close_connection = True

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def proxy(server: "Server", monkeypatch: pytest.MonkeyPatch) -> Iterator["Server"]:
    running = type(server)(handler=_Relay)
    monkeypatch.setenv("https_proxy", f"127.0.0.1:{running.port}")
    yield running
    running.stop()


def test_tls_goes_through_a_proxy_end_to_end(secure: "Server", proxy: "Server", certificate: Path) -> None:
    proxy.goal = secure.port
    fetcher = HttpFetcher(ca_file=str(certificate), limits=_LIMITS)
    assert fetcher.get("https://endorser.example/").body == b"secret"
    assert proxy.requests == ["endorser.example:443"]
    assert _code(fetcher, "https://other.example/") == "endorser-tls"


@pytest.mark.usefixtures("proxy")
def test_a_proxy_that_refuses() -> None:
    assert _code(HttpFetcher(limits=_LIMITS), "https://endorser.example/") == "proxy-refused"


def test_this_machine_is_reached_without_a_proxy(
    secure: "Server", proxy: "Server", certificate: Path
) -> None:
    fetcher = HttpFetcher(ca_file=str(certificate), limits=_LIMITS)
    assert fetcher.get(f"https://localhost:{secure.port}/").body == b"secret"
    assert proxy.requests == []


def test_plain_http_through_a_proxy(server: "Server", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server.url)
    server.give("http://endorser.example/x", b"relayed")
    fetcher = HttpFetcher(limits=_LIMITS, unsafe_plain_http=True)
    assert fetcher.get("http://endorser.example/x").body == b"relayed"
    assert server.seen[0]["host"] == "endorser.example"


def test_the_environment_excepts_hosts(
    secure: "Server", proxy: "Server", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1.nip.example")
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [])
    error = _code(HttpFetcher(limits=_LIMITS), f"https://127.0.0.1.nip.example:{secure.port}/")
    assert (error, proxy.requests) == ("endorser-unreachable", [])


@pytest.mark.parametrize("named", ["socks5://127.0.0.1:1080", "http://user:secret@127.0.0.1:3128"])
def test_proxies_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch, named: str) -> None:
    monkeypatch.setenv("https_proxy", named)
    with pytest.raises(ConfigurationError) as caught:
        HttpFetcher(limits=_LIMITS).get("https://endorser.example/")
    assert caught.value.code == "proxy-unusable"
    assert "secret" not in str(caught.value)
