# SPDX-License-Identifier: Apache-2.0
"""dstack's guest agent, as its published clients speak to it, so that an app for dstack runs unchanged.

What is different, and why:

* ``GetQuote`` and ``Attest`` take all 64 bytes from the app, so they can be had to say anything that evidence
  can say. They are refused unless the application declares ``raw_report_data``; with it, a verifier warns on
  every binding. ``TdxQuote`` with a hash needs no declaration: what is hashed begins with ``app-data:``.
* Keys come from this image's sealing key, by path, purpose and algorithm (dstack's do not depend on the
  purpose). There is no key server: chains are empty, and certificates sign themselves.
* There is no ``app-compose.json``: ``compose_hash`` and ``app_id`` are the release's digest, whole and cut.

Source: Dstack-TEE/dstack, ``dstack/guest-agent/src/rpc_service.rs``; ``dstack-sdk`` 0.5.4.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from nacre.appraisal.systems.encodings import unhex
from nacre.appraisal.systems.eventlog import Event
from nacre.enclave import envelope
from nacre.enclave.agent import dstack_keys
from nacre.enclave.agent.dstack_attestation import attestation
from nacre.enclave.agent.dstack_keys import Algorithm, Wish
from nacre.enclave.agent.enclave import Enclave
from nacre.enclave.agent.routing import Request, Response, Router
from nacre.errors import EnclaveError

__all__ = ["VERSION", "dstack_router"]

#: The release of dstack whose interface this is.
VERSION = "0.5.7"

_WHAT = "dstack request"
_REPORT_DATA = 64
_RAW = "raw"
_TAPPD = "/prpc/Tappd."
_APP_ID = 40
#: Where a certificate has the quote and the log.
_EXT_QUOTE, _EXT_LOG = "1.3.6.1.4.1.62397.1.1", "1.3.6.1.4.1.62397.1.2"

_Asked = TypeVar("_Asked")


class _Nothing(msgspec.Struct, frozen=True):
    pass


class _KeyOf(msgspec.Struct, frozen=True):
    path: str = ""
    purpose: str = ""
    algorithm: Algorithm = "secp256k1"


class _Quote(msgspec.Struct, frozen=True):
    report_data: str


class _TdxQuote(msgspec.Struct, frozen=True):
    report_data: str
    hash_algorithm: str = "sha512"
    prefix: str = ""


class _Event(msgspec.Struct, frozen=True):
    event: str
    payload: str = ""


class _Sign(msgspec.Struct, frozen=True):
    algorithm: Algorithm
    data: str


class _Verify(msgspec.Struct, frozen=True):
    algorithm: Algorithm
    data: str
    signature: str
    public_key: str


class _Key(msgspec.Struct, frozen=True):
    key: str
    signature_chain: tuple[str, ...] = ()


class _TlsKeyOf(msgspec.Struct, frozen=True):
    key: str
    certificate_chain: tuple[str, ...]


class _Quoted(msgspec.Struct, frozen=True):
    quote: str
    event_log: str
    report_data: str = ""
    vm_config: str = ""
    hash_algorithm: str = ""
    prefix: str = ""


class _Attested(msgspec.Struct, frozen=True):
    attestation: str


class _Signed(msgspec.Struct, frozen=True):
    signature: str
    public_key: str
    signature_chain: tuple[str, ...]


class _Valid(msgspec.Struct, frozen=True):
    valid: bool


class _Version(msgspec.Struct, frozen=True):
    version: str = VERSION
    rev: str = "nacre"


class _Tcb(msgspec.Struct, frozen=True, kw_only=True):
    mrtd: str
    rtmr0: str
    rtmr1: str
    rtmr2: str
    rtmr3: str
    compose_hash: str
    event_log: tuple[envelope.Written, ...]
    app_compose: str = ""
    mr_aggregated: str = ""
    os_image_hash: str = ""
    device_id: str = ""


class _Info(msgspec.Struct, frozen=True, kw_only=True):
    app_id: str
    instance_id: str
    app_name: str
    compose_hash: str
    tcb_info: str
    app_cert: str = ""
    device_id: str = ""
    mr_aggregated: str = ""
    os_image_hash: str = ""
    key_provider_info: str = '{"name":"none","id":""}'
    vm_config: str = ""
    cloud_vendor: str = ""
    cloud_product: str = ""


def dstack_router(enclave: Enclave) -> Router:
    """Return all that dstack's clients can ask, and the older ``tappd``'s."""
    guest, router = _Guest(enclave), Router()
    for prefix in ("/", "/prpc/", _TAPPD):
        _add(router, f"{prefix}Info", _Nothing, guest.info, also_get=True)
        _add(router, f"{prefix}Version", _Nothing, guest.version, also_get=True)
    for prefix in ("/", "/prpc/"):
        _add(router, f"{prefix}GetKey", _KeyOf, guest.key)
        _add(router, f"{prefix}GetTlsKey", Wish, guest.tls_key)
        _add(router, f"{prefix}GetQuote", _Quote, guest.quote)
        _add(router, f"{prefix}Attest", _Quote, guest.attest)
        _add(router, f"{prefix}EmitEvent", _Event, guest.event)
        _add(router, f"{prefix}Sign", _Sign, guest.sign)
        _add(router, f"{prefix}Verify", _Verify, guest.verify)
    _add(router, f"{_TAPPD}DeriveKey", Wish, guest.derive_key)
    _add(router, f"{_TAPPD}TdxQuote", _TdxQuote, guest.tdx_quote)
    _add(router, f"{_TAPPD}RawQuote", _Quote, guest.quote)
    return router


def _add(
    router: Router,
    path: str,
    shape: type[_Asked],
    answer: Callable[[_Asked], Awaitable[object]],
    *,
    also_get: bool = False,
) -> None:
    async def handler(request: Request) -> Response:
        asked = request.decode(shape) if request.body else msgspec.convert({}, shape)
        try:
            return Response.json(await answer(asked))
        except EnclaveError as error:
            if error.code == "agent-undeclared":
                # The client shows nothing of an answer but its status and the words beside it.
                raise EnclaveError("dstack-raw-undeclared") from None
            raise

    router.add("POST", path, handler)
    if also_get:
        router.add("GET", path, handler)


class _Guest:
    """Answers in dstack's terms. Holds no power of its own."""

    def __init__(self, enclave: Enclave) -> None:
        self._enclave = enclave

    async def version(self, _: _Nothing) -> _Version:
        return _Version()

    async def info(self, _: _Nothing) -> _Info:
        about = self._enclave.info()
        registers = await self._enclave.registers()
        mrtd, *rtmrs = (
            registers.get(name, b"").hex() for name in ("mrtd", "rtmr0", "rtmr1", "rtmr2", "rtmr3")
        )
        tcb = _Tcb(
            mrtd=mrtd,
            rtmr0=rtmrs[0],
            rtmr1=rtmrs[1],
            rtmr2=rtmrs[2],
            rtmr3=rtmrs[3],
            compose_hash=about.release,
            event_log=tuple(envelope.written(event) for event in self._enclave.log.events),
        )
        return _Info(
            app_id=about.release[:_APP_ID],
            instance_id=about.boot,
            app_name=about.app,
            compose_hash=about.release,
            tcb_info=msgspec.json.encode(tcb).decode(),
        )

    async def key(self, asked: _KeyOf) -> _Key:
        return _Key(self._private(asked).hex())

    async def tls_key(self, wish: Wish) -> _TlsKeyOf:
        return await self._certified(None, wish)

    async def derive_key(self, wish: Wish) -> _TlsKeyOf:
        seed = self._enclave.derive(wish.path, purpose="dstack/p256")
        return await self._certified(seed, wish)

    async def quote(self, asked: _Quote) -> _Quoted:
        data = _report_data(asked)
        return _quoted(*await self._enclave.raw_quote(data), report_data=data.hex())

    async def attest(self, asked: _Quote) -> _Attested:
        data = _report_data(asked)
        evidence, events = await self._enclave.raw_quote(data)
        return _Attested(attestation(self._enclave.platform, evidence, events, report_data=data).hex())

    async def tdx_quote(self, asked: _TdxQuote) -> _Quoted:
        if asked.prefix:
            # Whoever chose what is hashed first could have a digest of ours made.
            raise EnclaveError("dstack-prefix", actual=asked.prefix[:32])
        if asked.hash_algorithm == _RAW:
            return await self.quote(_Quote(asked.report_data))
        data = unhex(asked.report_data, what=_WHAT)
        evidence, events = await self._enclave.dstack_data(data, algorithm=asked.hash_algorithm)
        whole = _quoted(evidence, events)
        return msgspec.structs.replace(whole, hash_algorithm=asked.hash_algorithm, prefix="app-data")

    async def event(self, asked: _Event) -> _Nothing:
        await self._enclave.event(asked.event, unhex(asked.payload, what=_WHAT))
        return _Nothing()

    async def sign(self, asked: _Sign) -> _Signed:
        private = self._private(_KeyOf("vms", "signing", asked.algorithm))
        data = unhex(asked.data, what=_WHAT)
        signed, public = dstack_keys.signature(private, data, asked.algorithm)
        return _Signed(signed.hex(), public.hex(), (signed.hex(),))

    async def verify(self, asked: _Verify) -> _Valid:
        data, signed, public = (
            unhex(text, what=_WHAT) for text in (asked.data, asked.signature, asked.public_key)
        )
        return _Valid(dstack_keys.valid(data, asked.algorithm, signed=signed, public=public))

    def _private(self, asked: _KeyOf) -> bytes:
        kind = dstack_keys.base(asked.algorithm)
        derived = self._enclave.derive(asked.path, purpose=f"dstack/{kind}/{asked.purpose}")
        return dstack_keys.usable(derived, asked.algorithm)

    async def _certified(self, seed: bytes | None, wish: Wish) -> _TlsKeyOf:
        from nacre.enclave.agent.dstack_certificates import TlsKey, certificate  # noqa: PLC0415 (few ask)

        key = TlsKey(seed)
        extensions = {}
        if wish.usage_ra_tls:
            evidence, events = await self._enclave.dstack_key(key.spki)
            extensions = {_EXT_QUOTE: evidence, _EXT_LOG: _log(events)}
        return _TlsKeyOf(key.pem(), (certificate(key, wish, extensions=extensions),))


def _report_data(asked: _Quote) -> bytes:
    data = unhex(asked.report_data, what=_WHAT)
    if len(data) > _REPORT_DATA:
        raise EnclaveError("dstack-size", what="report_data", expected=_REPORT_DATA, actual=len(data))
    return data.ljust(_REPORT_DATA, b"\0")


def _log(events: tuple[Event, ...]) -> bytes:
    return msgspec.json.encode([envelope.written(event) for event in events])


def _quoted(evidence: bytes, events: tuple[Event, ...], *, report_data: str = "") -> _Quoted:
    return _Quoted(evidence.hex(), _log(events).decode(), report_data=report_data)
