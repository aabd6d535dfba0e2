# SPDX-License-Identifier: Apache-2.0
"""dstack's published client, unchanged, against the agent; and what it can and cannot have said."""

import asyncio
import contextlib
import functools
import hashlib
from collections.abc import Callable, Mapping

import dstack_sdk
import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from eth_keys.datatypes import NonRecoverableSignature, PrivateKey, PublicKey
from tests.enclave.agent.dstack_served import client_of, serving

from nacre.appraisal.bindings import Binding
from nacre.appraisal.systems import certificate, eventlog
from nacre.checks import Status
from nacre.enclave.agent.config import Config
from nacre.enclave.agent.dstack import VERSION
from nacre.enclave.agent.supervise import Supervisor
from nacre.platforms.base import Endorsements
from nacre.platforms.simulation import Machine, Root
from nacre.platforms.snp import PLATFORM
from nacre.platforms.snp.simulate import create_root, machine
from nacre.trust.signatures import Signatures

Configure = Callable[..., Config]
Serve = Callable[..., "contextlib.AbstractContextManager[str]"]

_NOW = 1_795_600_000


class _Device:
    """A processor whose evidence is the simulated vendor's, and which keeps an RTMR3."""

    def __init__(self, platform: str, made: Machine | None = None) -> None:
        self.platform = platform
        self.rtmr3 = bytes(48)
        self._machine = made

    def evidence(self, data: bytes, *, nonce: bytes | None = None, public_key: bytes | None = None) -> bytes:
        assert nonce is None
        assert public_key is None
        if self._machine is None:
            return b"quote" + data + self.rtmr3
        return self._machine.evidence(data, registers={}, at=_NOW)

    def endorsements(self) -> Mapping[str, bytes]:
        return {}

    def extend(self, register: str, digest: bytes) -> None:
        assert register == "rtmr3"
        self.rtmr3 = hashlib.sha384(self.rtmr3 + digest).digest()

    def registers(self) -> Mapping[str, bytes]:
        return {"rtmr3": self.rtmr3} if self.platform == "tdx" else {}

    def entropy(self, size: int) -> bytes | None:
        del size
        return None

    def sealing_key(self, context: bytes) -> bytes | None:
        return hashlib.sha256(b"chip" + context).digest()

    def close(self) -> None:
        pass


@functools.cache
def _vendor() -> tuple[Root, Machine]:
    root = create_root(at=_NOW)
    return root, machine(root, at=_NOW)


@pytest.fixture
def serve(configure: Configure) -> Serve:
    def make(device: _Device, **app: object) -> "contextlib.AbstractContextManager[str]":
        config = configure(app=app)
        path = config.socket.replace("agent.sock", "dstack.sock")
        return serving(configure(app=app, dstack_socket=path), device)

    return make


def test_keys_return_and_sign_as_the_client_expects(serve: Serve) -> None:
    with serve(_Device("tdx")) as path, client_of(path) as client:
        first = client.get_key("a", "b").decode_key()
    with serve(_Device("tdx")) as path, client_of(path) as client:  # another start of the same image
        assert client.get_key("a", "b", "k256").decode_key() == first
        others = [client.get_key("a"), client.get_key("b", "a"), client.get_key("a", "b", "ed25519")]
        assert len({first, *(one.decode_key() for one in others)}) == 4
        public = PrivateKey(first).public_key.to_compressed_bytes()
        point = ec.derive_private_key(int.from_bytes(first, "big"), ec.SECP256K1()).public_key()
        assert point.public_bytes(Encoding.X962, PublicFormat.CompressedPoint) == public
        ed25519.Ed25519PrivateKey.from_private_bytes(others[2].decode_key())


@pytest.mark.parametrize("algorithm", ["secp256k1", "secp256k1_prehashed", "ed25519"])
def test_what_is_signed_is_verified_and_nothing_else(serve: Serve, algorithm: str) -> None:
    data = hashlib.sha256(b"something").digest()
    with serve(_Device("tdx")) as path, client_of(path) as client:
        made = client.sign(algorithm, data)
        signature, public = made.decode_signature(), made.decode_public_key()
        assert client.verify(algorithm, data, signature, public).valid
        wrong = [
            (data[:-1] + b"\0", signature, public),
            (data, signature[:-1] + bytes((signature[-1] ^ 1,)), public),
            (data, signature[:-1], public),
            (data, signature, bytes(len(public))),
        ]
        if algorithm != "ed25519":
            order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
            larger = order - int.from_bytes(signature[32:], "big")
            wrong.append((data, signature[:32] + larger.to_bytes(32, "big"), public))
            digest = data if algorithm.endswith("prehashed") else hashlib.sha256(data).digest()
            key = PublicKey.from_compressed_bytes(public)
            assert NonRecoverableSignature(signature).verify_msg_hash(digest, key)
        assert not any(client.verify(algorithm, *one).valid for one in wrong)


def test_about_events_and_reach(serve: Serve) -> None:
    device = _Device("tdx")
    with serve(device) as path, client_of(path) as client:
        assert client.is_reachable()
        assert client.version().version == VERSION
        client.emit_event("my-event", b"payload")
        info = client.info()
        assert (info.app_name, info.compose_hash) == ("app", "ab" * 32)
        assert info.tcb_info.rtmr3 == device.rtmr3.hex()
        assert [event.event for event in info.tcb_info.event_log][-1] == "my-event"
        with pytest.raises(httpx.HTTPStatusError, match="agent-event-name"):
            client.emit_event("compose-hash", b"of another application")


def test_the_log_replays_to_the_register(serve: Serve) -> None:
    device = _Device("tdx")
    with serve(device, raw_report_data=True) as path, client_of(path) as client:
        client.emit_event("one", "1")
        answer = client.get_quote(b"nonce")
        assert answer.decode_quote() == b"quote" + b"nonce".ljust(64, b"\0") + device.rtmr3
        assert answer.replay_rtmrs()[3] == device.rtmr3.hex()
        events = eventlog.parse(answer.event_log.encode())
        checks, _ = eventlog.measured(events, {"rtmr3": device.rtmr3})
        assert checks[0].status is Status.PASS
        checks, _ = eventlog.measured(events[:-1], {"rtmr3": device.rtmr3})
        assert checks[0].status is Status.FAIL


def test_the_client_that_awaits(serve: Serve) -> None:
    async def ask(path: str) -> bytes:
        async with dstack_sdk.AsyncDstackClient(path) as client:
            assert await client.is_reachable()
            assert (await client.info()).app_name == "app"
            return bytes((await client.get_key("a", "b")).decode_key())

    with serve(_Device("tdx")) as path, client_of(path) as client:
        assert asyncio.run(ask(path)) == client.get_key("a", "b").decode_key()


def test_tls_keys(serve: Serve) -> None:
    with serve(_Device("tdx")) as path, client_of(path) as client:
        made = client.get_tls_key("app.example", ["app.example"], usage_ra_tls=True, not_after=2_000_000_000)
        pem = made.certificate_chain[0].encode()
        parsed = x509.load_pem_x509_certificate(pem)
        key = load_pem_private_key(made.key.encode(), None)
        spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        assert parsed.public_key() == key.public_key()
        assert int(parsed.not_valid_after_utc.timestamp()) == 2_000_000_000
        quote = certificate.read(pem).octets(certificate.DSTACK_QUOTE)
        assert quote is not None
        assert quote[5:69] == hashlib.sha512(b"ratls-cert:" + spki).digest()
        with pytest.raises(httpx.HTTPStatusError, match="dstack-certificate"):
            client.get_tls_key(alt_names=["b\u00fccher.example"])
        with pytest.raises(httpx.HTTPStatusError, match="dstack-certificate"):
            client.get_tls_key(not_before=2, not_after=1)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_olderclient_of(serve: Serve) -> None:
    with serve(_Device("tdx")) as path, contextlib.ExitStack() as stack:
        client = dstack_sdk.TappdClient(path)
        stack.enter_context(client)
        assert client.derive_key("p").key == client.derive_key("p").key != client.derive_key("q").key
        quote = client.tdx_quote(b"data", "sha512").decode_quote()
        assert quote[5:69] == hashlib.sha512(b"app-data:data").digest()
        with pytest.raises(httpx.HTTPStatusError, match="dstack-raw-undeclared"):
            client.tdx_quote(b"data", "raw")
        with pytest.raises(httpx.HTTPStatusError, match="dstack-hash"):
            client.tdx_quote(b"data", "md5")
        with httpx.Client(transport=httpx.HTTPTransport(uds=path), base_url="http://dstack") as bare:
            asked = {"report_data": "00", "hash_algorithm": "sha512", "prefix": "nacre/v1/evidence"}
            assert bare.post("/prpc/Tappd.TdxQuote", json=asked).json()["error"] == "dstack-prefix"


_WANTED = {
    "evidence": Binding.nonce(bytes(range(32)), identity=b"somebody else's identity"),
    "app-data": Binding.app_data(b"what another app of this image said"),
}


@pytest.mark.parametrize("purpose", sorted(_WANTED))
def test_raw_report_data_is_an_oracle_and_only_declared_ones(serve: Serve, purpose: str) -> None:
    """Whoever chooses all bytes has evidence of another purpose made, rightly signed; the verifier warns."""
    binding = _WANTED[purpose]
    digest = binding.committed(fields=False).data
    root, made = _vendor()
    refused = pytest.raises(httpx.HTTPStatusError, match="403 dstack-raw-undeclared")
    with serve(_Device("snp", made)) as path, client_of(path) as client, refused:
        client.get_quote(digest)
    with serve(_Device("snp", made), raw_report_data=True) as path, client_of(path) as client:
        evidence = client.get_quote(digest).decode_quote()
    claims = PLATFORM.verify(
        PLATFORM.parse(evidence),
        Endorsements(made.endorsements(at=_NOW)),
        anchors=root.anchors(),
        at=_NOW,
        signatures=Signatures(),
    )
    declared = binding.check(claims.committed, raw_declared=True)
    assert (declared.status, declared.reason) == (Status.WARN, "raw-oracle")
    # What the declaration is for: without it this forgery would pass.
    assert binding.check(claims.committed, raw_declared=False).status is Status.PASS


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_apps_clients_find_it(serve: Serve, configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(_Device("tdx")) as path:
        environment = Supervisor(configure(dstack_socket=path), restarted=lambda: None).environment()
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        for made in (dstack_sdk.DstackClient(), dstack_sdk.TappdClient()):
            with made:
                assert made.is_reachable()
