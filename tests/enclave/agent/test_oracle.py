# SPDX-License-Identifier: Apache-2.0
"""No door makes evidence that speaks for a purpose which is not the caller's: every operation, every member.

The device here only writes down what it is asked to commit to; the rest is what ships.
"""

import asyncio
import hashlib
from collections.abc import Callable, Iterator, Mapping

import msgspec
import pytest

from nacre.appraisal.bindings import Binding
from nacre.appraisal.identity import IdentityDocument
from nacre.appraisal.purposes import digest
from nacre.checks import Status
from nacre.enclave import envelope
from nacre.enclave.agent import api
from nacre.enclave.agent.config import Config
from nacre.enclave.agent.enclave import Enclave
from nacre.enclave.agent.routing import Request, Response, Router
from nacre.enclave.agent.server import public_router
from nacre.errors import EnclaveError
from nacre.platforms.base import Committed
from nacre.trust import base64url

Configure = Callable[..., Config]

_NONCE = bytes(range(32))
_CHANNEL_PARTS = (b"server", bytes(32), _NONCE, hashlib.sha256(b"own").digest(), b"", bytes(32))
_CUSTODY_PARTS = (hashlib.sha256(_NONCE).digest(), b"hpke", b"app", bytes(8), b"holder")
_FORBIDDEN = {
    purpose: (digest(purpose, *parts), _preimage)
    for purpose, parts in (("channel", _CHANNEL_PARTS), ("custody", _CUSTODY_PARTS))
    for _preimage in [
        b"nacre/v1/"
        + purpose.encode()
        + b"\0"
        + b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    ]
}


class _Recorder:
    """A device of some platform that notes what it is asked."""

    def __init__(self, platform: str) -> None:
        self.platform = platform
        self.asked: list[tuple[bytes, bytes | None, bytes | None]] = []

    def evidence(self, data: bytes, *, nonce: bytes | None = None, public_key: bytes | None = None) -> bytes:
        self.asked.append((data, nonce, public_key))
        return b"evidence"

    def endorsements(self) -> Mapping[str, bytes]:
        return {}

    def extend(self, register: str, digest: bytes) -> None:
        self.asked.append((digest, register.encode(), None))

    def registers(self) -> Mapping[str, bytes]:
        return {}

    def entropy(self, size: int) -> bytes | None:
        del size
        return None

    def sealing_key(self, context: bytes) -> bytes | None:
        return hashlib.sha256(context).digest()

    def close(self) -> None:
        pass


def _texts() -> Iterator[str]:
    """Yield what an attacker would write into any member to have a forbidden digest made."""
    for purpose, (wanted, preimage) in _FORBIDDEN.items():
        yield purpose
        for data in (wanted, wanted[:32], wanted[32:], preimage, preimage.removeprefix(b"nacre/v1/")):
            yield from (data.hex(), base64url.encode(data), data.decode("latin-1"))


_REQUESTS: Mapping[str, type[msgspec.Struct]] = {
    "/v1/evidence": api.EvidenceRequest,
    "/v1/evidence/raw": api.RawRequest,
    "/v1/keys/derive": api.DeriveRequest,
    "/v1/sign": api.SignRequest,
    "/v1/seal": api.SealRequest,
    "/v1/unseal": api.UnsealRequest,
    "/v1/events": api.EventRequest,
}


def _attempts() -> Iterator[Request]:
    """Yield a request for each operation, member and text, and with members that nobody names."""
    usual = {"data": "AA", "report_data": "AA", "path": "p", "message": "AA", "plaintext": "AA"}
    usual |= {"sealed": "AA", "name": "n"}
    for path, shape in _REQUESTS.items():
        fields = msgspec.structs.fields(shape)
        needed = {field.name: usual[field.name] for field in fields if field.required}
        extra = ("digest", "report_data", "purpose", "nonce", "user_data", "public_key", "role", "exporter")
        for member in {field.name for field in fields}.union(extra):
            for text in _texts():
                yield Request(method="POST", path=path, body=msgspec.json.encode({**needed, member: text}))
    for text in _texts():
        for query in (f"nonce={text}", f"purpose={text}", f"nonce={'00' * 32}&purpose={text}", text):
            yield Request(method="GET", path=envelope.PATH, query=query)
        yield Request(method="GET", path=envelope.PATH, query=f"nonce={'00' * 32}", body=text.encode())


def _routers(enclave: Enclave) -> tuple[Router, Router]:
    return api.api_router(enclave), public_router(enclave)


def _explained(response: Response, identity: bytes) -> bytes:
    """Return what the answer itself says that its evidence commits to: nothing else may have been asked."""
    answer = envelope.decode(response.body)
    assert answer.identity == identity
    if answer.purpose == "evidence":
        assert answer.nonce is not None
        return digest("evidence", answer.nonce, hashlib.sha256(identity).digest())
    assert answer.data is not None
    return digest("app-data", answer.data)


@pytest.mark.parametrize("platform", ["sgx", "tdx", "snp", "nitro"])
def test_nobody_gets_evidence_of_another_purpose(configure: Configure, platform: str) -> None:
    device = _Recorder(platform)

    async def run() -> int:
        enclave = await Enclave.start(configure(), device)
        identity = enclave.identity.encode()
        made = 0
        try:
            for request in _attempts():
                device.asked.clear()
                for router in _routers(enclave):
                    response = await router.answer(request)
                    asked, device.asked = device.asked, []
                    if not asked or asked[0][1] in {b"rtmr3", b"pcr16"}:
                        continue  # an event's digest extends a register and is no report data
                    made += 1
                    ((data, nonce, key),) = asked
                    assert data == _explained(response, identity)
                    assert data not in {wanted for wanted, _ in _FORBIDDEN.values()}
                    assert key is None
                    assert nonce is None or request.path == envelope.PATH
        finally:
            enclave.close()
        return made

    assert asyncio.run(run()) > 20  # some of it is perfectly allowed


def test_every_operation_of_the_app_is_tried(configure: Configure) -> None:
    async def run() -> set[str]:
        enclave = await Enclave.start(configure(), _Recorder("tdx"))
        enclave.close()
        return {path for _, path in api.api_router(enclave).routes()}

    assert asyncio.run(run()) == {"/v1/info", *_REQUESTS}


@pytest.mark.parametrize("purpose", ["channel", "custody", "evidence", "node", "response-key", ""])
def test_other_purposes_are_refused_by_name(configure: Configure, purpose: str) -> None:
    device = _Recorder("tdx")

    async def run() -> None:
        enclave = await Enclave.start(configure(), device)
        device.asked.clear()
        body = msgspec.json.encode({"data": "AA", "purpose": purpose})
        response = await api.api_router(enclave).answer(
            Request(method="POST", path="/v1/evidence", body=body)
        )
        enclave.close()
        assert response.status == 403
        assert msgspec.json.decode(response.body)["error"] == "agent-purpose"
        assert not device.asked

    asyncio.run(run())


def test_raw_report_data_is_the_oracle_and_needs_a_declaration_that_every_verifier_sees(
    configure: Configure,
) -> None:
    wanted, _ = _FORBIDDEN["channel"]
    channel = Binding.channel(role="server", exporter=bytes(32), nonce=_NONCE, own_key=b"own", context=b"c")
    assert channel.digest is not None

    async def run(declared: bool, data: bytes) -> tuple[int, list[bytes]]:
        device = _Recorder("tdx")
        enclave = await Enclave.start(configure(app={"raw_report_data": declared}), device)
        device.asked.clear()
        body = msgspec.json.encode({"report_data": base64url.encode(data)})
        response = await api.api_router(enclave).answer(
            Request(method="POST", path="/v1/evidence/raw", body=body)
        )
        enclave.close()
        return response.status, [asked[0] for asked in device.asked]

    assert asyncio.run(run(False, wanted)) == (403, [])
    assert asyncio.run(run(True, channel.digest)) == (200, [channel.digest])
    assert asyncio.run(run(True, channel.digest[:63])) == (400, [])
    # What a caller had made so passes for a channel: that is why no binding of such a release is a pass.
    forged = channel.committed(fields=False)
    assert forged == Committed(data=channel.digest)
    check = channel.check(forged, raw_declared=True)
    assert (check.status, check.reason) == (Status.WARN, "raw-oracle")


def test_signature_for_an_app_is_no_statement_of_the_agents(configure: Configure) -> None:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    from nacre.enclave.agent.keys import statement

    async def run() -> None:
        enclave = await Enclave.start(configure(), _Recorder("tdx"))
        enclave.close()
        message = b"nacre/v1/channel-request\0" + _FORBIDDEN["channel"][0]
        signature = enclave.sign(message, algorithm="ed25519")
        key = load_der_public_key(enclave.keys.public()["ed25519"])
        assert isinstance(key, Ed25519PublicKey)
        key.verify(signature, statement(message))
        with pytest.raises(InvalidSignature):
            key.verify(signature, message)

    asyncio.run(run())


def test_identity_document_holds_the_keys_of_this_start_only(configure: Configure) -> None:
    async def run() -> tuple[IdentityDocument, IdentityDocument]:
        first, second = [await Enclave.start(configure(), _Recorder("tdx")) for _ in range(2)]
        first.close()
        second.close()
        # Derived keys are of the image, identity keys of the start.
        assert first.derive("a") == second.derive("a") != first.derive("b")
        assert first.derive("a", purpose="b") != first.derive("ab") != first.derive("", purpose="ab")
        sealed = first.seal(b"state", context=b"c")
        assert second.unseal(sealed, context=b"c") == b"state"
        for other in (sealed[:-1], sealed[:10], b"", sealed[:-1] + bytes([sealed[-1] ^ 1])):
            with pytest.raises(EnclaveError):
                second.unseal(other, context=b"c")
        with pytest.raises(EnclaveError):
            second.unseal(sealed, context=b"d")
        return first.identity, second.identity

    first, second = asyncio.run(run())
    assert not set(first.keys) & set(second.keys)
    assert first.boot != second.boot
