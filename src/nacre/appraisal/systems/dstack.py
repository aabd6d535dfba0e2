# SPDX-License-Identifier: Apache-2.0
"""dstack: Docker Compose applications in confidential VMs.

What comes is one of: the JSON of the guest agent's ``GetQuote`` or ``Attest``, a certificate with dstack's
extensions, or the bare container of ``Attest``. Beside the quote it brings an event log; replayed to the
RTMR3 of the quote, that log says which application runs: ``compose_hash`` is the SHA-256 of its
``app-compose.json``. On SEV-SNP a document says the same, whose hash the report's HOST_DATA holds.

That is worth as much as the operating system that wrote the log. So a release states its registers (MRTD,
RTMR0 to RTMR2) and leaves only RTMR3 to the log: ``rtmr3 = "any"``, and a table ``[dstack]``. With RTMR0 open
as well, the host chooses the ACPI tables that the guest's kernel runs.

What its layouts leave open:

* **replay**: a certificate has no nonce. ``dstack/nonce`` has one.
* **relay** and **diversion**: all of them name a key or data, no session. Whoever has the key of one accepted
  instance answers for all; any instance of this application may answer, run by anybody. If that matters, ask
  for ``instance_id`` or ``app_id`` too.
* **reflection**: no role is bound.
* The tags (``ratls-cert:``, ``app-data:`` …) tell what the application meant. They are no wall: an
  application asks the guest agent for evidence over any 64 bytes, so also over what another tag would give.
  Which layout an application uses is for whoever reads its code to say, in the release.
* ``os_image_hash`` is what the key server answered at boot, measured by the guest; the quote's own registers,
  not this value, show which image runs. On Nitro, where the registers hold the whole image and no log, it is
  the SHA-256 of PCR0, PCR1 and PCR2, and of the log nothing counts.
"""

import binascii
import hashlib
from collections.abc import Mapping

import msgspec

from nacre.appraisal.purposes import Fields, Layout
from nacre.appraisal.systems import certificate, dstack_attestation, eventlog
from nacre.appraisal.systems.base import Examine, Fact, Found, Opened, System
from nacre.appraisal.systems.dstack_attestation import Attestation
from nacre.appraisal.systems.encodings import gunzip, unhex
from nacre.appraisal.systems.parts import FIELD, sized, spki, wrong
from nacre.checks import Check, Status, failed, passed, skipped
from nacre.errors import MalformedEvidence
from nacre.platforms.base import Claims
from nacre.trust import json

__all__ = ["RA_TLS", "SYSTEM"]

_MAX_JSON = 1 << 20
_GZIP = b"ELGZv1"
_DOCUMENT = b"dstack-mr-config-v3:\0"
_SOURCE = "Dstack-TEE/dstack, dstack/dstack-attest/src/attestation.rs (QuoteContentType)"
_OPEN = ("replay", "relay", "diversion", "reflection")
_APP_KEYS = {33: b"dip1::secp256k1c-pk:", 32: b"dip1::ed25519-pk:"}
#: Version 0 and the platforms whose evidence is read; version 1, a map of three, and its first member.
_CONTAINERS = (b"\0\0", b"\0\2", b"\0\3", b"\x83\xa7version\1")
_URL = bytes.maketrans(b"+/", b"-_")

#: Event, and the member of the SEV-SNP document, to the fact.
_FACTS = {
    "app-id": Fact("app_id", 20, "the application, through all its versions"),
    "compose-hash": Fact("compose_hash", 32, "SHA-256 of app-compose.json: the application's version"),
    "instance-id": Fact("instance_id", 20, "this one machine and its disk"),
    "os-image-hash": Fact(
        "os_image_hash",
        32,
        "the image: as the key server answered; on Nitro, the digest of PCR0 to PCR2",
        ("nitro.pcr0", "nitro.pcr1", "nitro.pcr2"),
    ),
}
_PROVIDER = (
    Fact("key_provider", 0, "where its keys come from: kms, local-sgx, none"),
    Fact("key_provider_id", 0, "which one: of a KMS, its root key in hex"),
)

# ── Layouts ──


def _field(data: bytes) -> Fields:
    return Fields(data.ljust(FIELD, b"\0"))


def _key(tag: str) -> Layout:
    name = f"dstack/{tag}"

    def compute(parts: Mapping[str, bytes]) -> Fields:
        return _field(hashlib.sha512(tag.encode() + b":" + spki(parts, name)).digest())

    return Layout(name, ("key",), compute, _OPEN, _SOURCE)


def _data(name: str, algorithm: str) -> Layout:
    def compute(parts: Mapping[str, bytes]) -> Fields:
        return _field(hashlib.new(algorithm, b"app-data:" + parts["data"]).digest())

    return Layout(f"dstack/{name}", ("data",), compute, _OPEN, _SOURCE)


def _nonce(parts: Mapping[str, bytes]) -> Fields:
    nonce = parts["nonce"]
    # As long as the field it could be a digest of another purpose, which somebody else had asked for.
    if not FIELD // 4 <= len(nonce) <= FIELD // 2:
        raise wrong("dstack/nonce", "nonce", expected="16 to 32 bytes", actual=f"{len(nonce)} bytes")
    return _field(nonce)


def _app_key(parts: Mapping[str, bytes]) -> Fields:
    key = sized(parts, "dstack/app-key", "key", *_APP_KEYS)
    return _field(_APP_KEYS[len(key)] + binascii.b2a_base64(key, newline=False).translate(_URL).rstrip(b"="))


def _digest_of_files(parts: Mapping[str, bytes]) -> Fields:
    return _field(hashlib.sha256(parts["sha256sum"]).digest())


#: ``key`` is a DER SubjectPublicKeyInfo here; of the KMS's root and of the gateway's certificates likewise.
RA_TLS = _key("ratls-cert")
_LAYOUTS = (
    RA_TLS,
    _key("kms-root-ca"),
    _key("zt-cert"),
    _data("app-data", "sha512"),
    _data("app-data-sha256", "sha256"),
    _data("app-data-sha384", "sha384"),
    _data("app-data-sha3-256", "sha3_256"),
    _data("app-data-sha3-384", "sha3_384"),
    _data("app-data-sha3-512", "sha3_512"),
    # What GetAttestationForAppKey answers: a compressed secp256k1 point or an Ed25519 key.
    Layout("dstack/app-key", ("key",), _app_key, _OPEN, "Dstack-TEE/dstack, guest-agent/src/rpc_service.rs"),
    Layout("dstack/nonce", ("nonce",), _nonce, _OPEN[1:], f"{_SOURCE}; guest agent, GetQuote", "nonce"),
    Layout(
        "dstack/ingress",
        ("sha256sum",),
        _digest_of_files,
        _OPEN,
        "Dstack-TEE/dstack-examples, custom-domain/dstack-ingress/scripts",
    ),
)

# ── Envelopes ──


class _Served(msgspec.Struct):
    """What the guest agent's ``GetQuote``, ``Attest`` and ``Info`` answer: bytes in hex, PEM."""

    quote: str = ""
    event_log: str | list[object] = ""
    attestation: str = ""
    app_cert: str = ""


def _recognises(data: bytes) -> bool:
    if data.startswith(_CONTAINERS):
        return True
    if data.lstrip()[:1] == b"{":
        names = (b'"attestation"', b'"app_cert"') if b'"quote"' not in data else (b'"event_log"',)
        return any(name in data for name in names)
    return certificate.carries(data, certificate.DSTACK, certificate.DSTACK_QUOTE)


def _open(data: bytes, given: Mapping[str, bytes]) -> Opened:
    compose = given.get("app-compose")
    if certificate.looks_like(data):
        return _of_certificate(certificate.read(data), compose)
    if data[:1] in (b"\0", b"\x83"):
        return _of(dstack_attestation.parse(data), compose)
    if data.lstrip()[:1] == b"{":
        return _of_answer(data, compose)
    # A bare quote: it is bound, but nothing says what its RTMR3 stands for.
    return Opened(evidence=data)


def _of_answer(data: bytes, compose: bytes | None) -> Opened:
    served = json.decode(data, _Served, what="dstack answer", limit=_MAX_JSON)
    if served.quote:
        log = served.event_log
        text = log.encode() if isinstance(log, str) else msgspec.json.encode(log)
        return _of(Attestation("tdx", _bytes(served.quote), eventlog.parse(text)), compose)
    if served.app_cert:
        return _of_certificate(certificate.read(served.app_cert.encode()), compose)
    return _of(dstack_attestation.parse(_bytes(served.attestation)), compose)


def _bytes(text: str) -> bytes:
    return unhex(text.removeprefix("0x"), what="dstack answer")


def _of_certificate(carrier: certificate.Carrier, compose: bytes | None) -> Opened:
    value = carrier.octets(certificate.DSTACK)
    quote = carrier.octets(certificate.DSTACK_QUOTE)
    if value is not None and quote is not None:
        raise MalformedEvidence("evidence-twice", what=str(carrier.certificate))
    if value is not None:
        attestation = dstack_attestation.parse(value)
    else:
        log = carrier.octets(certificate.DSTACK_LOG) or b"[]"
        attestation = Attestation("tdx", quote or b"", eventlog.parse(_unpacked(log)))
    return carrier.around(_of(attestation, compose), RA_TLS, {"key": carrier.certificate.spki})


def _unpacked(log: bytes) -> bytes:
    """Unpack a log that was packed with gzip to fit a certificate, as some releases do."""
    if not log.startswith(_GZIP):
        return log
    return gunzip(log.removeprefix(_GZIP), what="event log", limit=eventlog.MAX_LOG)


def _of(attestation: Attestation, compose: bytes | None) -> Opened:
    return Opened(
        evidence=attestation.evidence,
        endorsements=_offered(attestation.certificates),
        examine=_examiner(attestation, compose),
        required=("dstack.event-log", *(("dstack.compose",) if compose is not None else ())),
    )


def _offered(certificates: tuple[bytes, ...]) -> Mapping[str, bytes]:
    """Sort AMD's certificates that came with a report by their names; what is none is left out."""
    found = {}
    for one in certificates:
        try:
            made = certificate.read(one).certificate
        except MalformedEvidence:
            continue
        kind = made.common_name.partition("-")[2]
        role = "vek" if kind in ("VCEK", "VLEK") else "ark" if made.issuer == made.subject else "ask"
        found[role] = made.der
    return found


# ── What the log says ──


def _examiner(attestation: Attestation, compose: bytes | None) -> Examine:
    """Make the reader of what a verified quote says of the application."""

    def examine(claims: Claims, at: int) -> Found:
        del at
        if claims.platform == "tdx":
            checks, measured = eventlog.measured(attestation.events, claims.registers)
            facts = _facts(measured)
        elif claims.platform == "snp":
            check, facts = _of_document(attestation.document, claims.registers.get("host_data", b""))
            checks = (check,)
        else:
            checks, facts = _of_registers(claims)
        if compose is not None:
            checks = (*checks, _is_composed(compose, facts.get("compose_hash")))
        return Found(checks, facts)

    return examine


def _of_registers(claims: Claims) -> tuple[tuple[Check, ...], dict[str, bytes]]:
    """Say of a platform whose registers hold the whole image, and no log, which image that is."""
    unmeasured = {"actual": claims.platform}
    check = Check("dstack.event-log", Status.NOT_APPLICABLE, "log-unmeasured", unmeasured)
    image = [claims.registers.get(f"pcr{index}", b"") for index in range(3)]
    return (check,), {"os_image_hash": hashlib.sha256(b"".join(image)).digest()} if all(image) else {}


def _facts(measured: Mapping[str, bytes]) -> dict[str, bytes]:
    facts = {
        fact.name: measured[event]
        for event, fact in _FACTS.items()
        if len(measured.get(event, b"")) == fact.size
    }
    return facts | _provider(measured.get("key-provider", b""))


def _provider(payload: bytes) -> dict[str, bytes]:
    try:
        provider = json.decode(payload, dict[str, str], what="key provider", limit=_MAX_JSON)
    except MalformedEvidence:
        return {}
    stated = {"key_provider": provider.get("name", ""), "key_provider_id": provider.get("id", "")}
    return {name: value.encode() for name, value in stated.items()}


class _Document(msgspec.Struct):
    """The document behind HOST_DATA; bytes in hex."""

    compose_hash: str
    app_id: str = ""
    instance_id: str = ""
    key_provider: str = ""
    key_provider_id: str = ""


def _of_document(document: str, host_data: bytes) -> tuple[Check, dict[str, bytes]]:
    text = document.encode()
    expected = hashlib.sha256(_DOCUMENT + text).digest()
    if expected != host_data:
        return failed("dstack.event-log", "host-data-mismatch", expected=expected, actual=host_data), {}
    try:
        said = json.decode(text, _Document, what="dstack configuration", limit=_MAX_JSON)
        facts = {
            name: unhex(value, what="dstack configuration")
            for name, value in (
                ("app_id", said.app_id),
                ("compose_hash", said.compose_hash),
                ("instance_id", said.instance_id),
            )
            if value
        }
    except MalformedEvidence:
        return failed("dstack.event-log", "host-data-unreadable"), {}
    facts |= {
        "key_provider": said.key_provider.encode(),
        "key_provider_id": said.key_provider_id.encode(),
    }
    return passed("dstack.event-log", "host-data"), facts


def _is_composed(compose: bytes, compose_hash: bytes | None) -> Check:
    digest = hashlib.sha256(compose).digest()
    if compose_hash is None:
        return skipped("dstack.compose", "compose-hash-absent", expected=digest)
    if digest != compose_hash:
        return failed("dstack.compose", "compose-mismatch", expected=digest, actual=compose_hash)
    return passed("dstack.compose")


SYSTEM = System(
    name="dstack",
    title="dstack",
    layouts=_LAYOUTS,
    facts=(*_FACTS.values(), *_PROVIDER),
    documents=("app-compose",),
    recognises=_recognises,
    open=_open,
)
