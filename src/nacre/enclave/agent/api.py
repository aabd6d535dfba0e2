# SPDX-License-Identifier: Apache-2.0
"""What the app can ask of the agent on its Unix socket; described for others by ``enclave/openapi.json``.

Bytes are base64url without padding.
"""

from typing import Annotated

import msgspec

from nacre.enclave.agent.enclave import Enclave
from nacre.enclave.agent.keys import Algorithm, Lasting
from nacre.enclave.agent.routing import Request, Response, Router
from nacre.trust import base64url

__all__ = [
    "DeriveRequest",
    "Derived",
    "EventRequest",
    "EvidenceRequest",
    "Logged",
    "RawEvidence",
    "RawRequest",
    "SealRequest",
    "Sealed",
    "SignRequest",
    "Signed",
    "UnsealRequest",
    "Unsealed",
    "api_router",
]

_WHAT = "request"
_Text = Annotated[str, msgspec.Meta(max_length=256)]


class EvidenceRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to bind: at most 4,096 bytes. No purpose but ``app-data`` is the app's."""

    data: str
    purpose: _Text = "app-data"


class RawRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All 64 bytes that the evidence commits to."""

    report_data: str


class RawEvidence(msgspec.Struct, frozen=True):
    """The platform's evidence, bare."""

    platform: str
    evidence: str


class DeriveRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What tells this key from the app's others."""

    path: _Text
    purpose: _Text = ""


class Derived(msgspec.Struct, frozen=True):
    """A key of 32 bytes, and whether the same image gets it again after a new start."""

    key: str
    lasting: Lasting


class SignRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A message; signed is not it but its statement (``nacre/v1/app-signature``)."""

    message: str
    algorithm: Algorithm = "ed25519"


class Signed(msgspec.Struct, frozen=True):
    """The signature, and the identity key that made it, DER SubjectPublicKeyInfo."""

    signature: str
    key: str


class SealRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to encrypt, and the context that has to be the same when it is read."""

    plaintext: str
    context: _Text = ""


class Sealed(msgspec.Struct, frozen=True):
    """What was sealed, and whether a later start can open it."""

    sealed: str
    lasting: Lasting


class UnsealRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was sealed, and its context."""

    sealed: str
    context: _Text = ""


class Unsealed(msgspec.Struct, frozen=True):
    """What had been sealed."""

    plaintext: str


class EventRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An event of the app: a name, and at most 1,024 bytes."""

    name: _Text
    payload: str = ""


class Logged(msgspec.Struct, frozen=True):
    """The digest that was measured, hex, the register that it extended, and the number of events."""

    digest: str
    register: str | None
    events: int


def api_router(enclave: Enclave) -> Router:
    """Return all that the app can ask."""
    router = Router()
    _about(router, enclave)
    _keys(router, enclave)
    return router


def _about(router: Router, enclave: Enclave) -> None:
    async def info(_: Request) -> Response:
        return Response.json(enclave.info())

    async def evidence(request: Request) -> Response:
        asked = request.decode(EvidenceRequest)
        return Response(body=await enclave.app_evidence(_bytes(asked.data), purpose=asked.purpose))

    async def raw(request: Request) -> Response:
        found = await enclave.raw_evidence(_bytes(request.decode(RawRequest).report_data))
        return Response.json(RawEvidence(enclave.platform, base64url.encode(found)))

    async def event(request: Request) -> Response:
        asked = request.decode(EventRequest)
        logged = await enclave.event(asked.name, _bytes(asked.payload))
        return Response.json(Logged(logged.digest.hex(), enclave.log.register, len(enclave.log.events)))

    router.add("GET", "/v1/info", info)
    router.add("POST", "/v1/evidence", evidence)
    router.add("POST", "/v1/evidence/raw", raw)
    router.add("POST", "/v1/events", event)


def _keys(router: Router, enclave: Enclave) -> None:
    async def derive(request: Request) -> Response:
        asked = request.decode(DeriveRequest)
        key = enclave.derive(asked.path, purpose=asked.purpose)
        return Response.json(Derived(base64url.encode(key), enclave.keys.lasting))

    async def sign(request: Request) -> Response:
        asked = request.decode(SignRequest)
        signature = enclave.sign(_bytes(asked.message), algorithm=asked.algorithm)
        key = enclave.keys.public()[asked.algorithm]
        return Response.json(Signed(base64url.encode(signature), base64url.encode(key)))

    async def seal(request: Request) -> Response:
        asked = request.decode(SealRequest)
        sealed = enclave.seal(_bytes(asked.plaintext), context=asked.context.encode())
        return Response.json(Sealed(base64url.encode(sealed), enclave.keys.lasting))

    async def unseal(request: Request) -> Response:
        asked = request.decode(UnsealRequest)
        plaintext = enclave.unseal(_bytes(asked.sealed), context=asked.context.encode())
        return Response.json(Unsealed(base64url.encode(plaintext)))

    router.add("POST", "/v1/keys/derive", derive)
    router.add("POST", "/v1/sign", sign)
    router.add("POST", "/v1/seal", seal)
    router.add("POST", "/v1/unseal", unseal)


def _bytes(text: str) -> bytes:
    return base64url.decode(text, what=_WHAT)
