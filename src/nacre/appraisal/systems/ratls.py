# SPDX-License-Identifier: Apache-2.0
"""Interoperable RA-TLS: certificates of SGX and TDX with evidence in a DICE extension.

Gramine, Intel's SGX SDK, Open Enclave and rats-tls write it. The extension holds a quote and a *claims
buffer*; the quote's report data is the SHA-256 of the buffer, and the buffer has the hash of the
certificate's key, sometimes a nonce. Certificates of Intel's SGX SDK from before that standard are read as
well, but nothing says what their report data is, so they are bound to nothing.

What that leaves open: **replay** unless the buffer has your nonce (evidence of any age passes as long as its
collateral does), **relay** and **diversion** (it names a key, not a session: whoever has the key of one
accepted enclave, or sends you to another genuine enclave of the same code, is not noticed), **reflection**
(neither side's role is in it). The Confidential Computing Consortium itself warns of these.
"""

import hashlib
from collections.abc import Callable, Mapping
from typing import cast

from nacre.appraisal.purposes import Fields, Layout
from nacre.appraisal.systems import certificate
from nacre.appraisal.systems.base import Opened, System
from nacre.errors import MalformedEvidence, UnsupportedEvidence
from nacre.trust import cbor

__all__ = ["SYSTEM", "WITH_KEY", "WITH_NONCE"]

_QUOTE = 60000
_REPORTS = (60001, 60002)
_LIMIT = 1 << 16
#: Of the Named Information registry.
_HASHES: Mapping[object, Callable[[bytes], "hashlib._Hash"]] = {
    1: hashlib.sha256,
    7: hashlib.sha384,
    8: hashlib.sha512,
}
_FIELD = 64
_SOURCE = "CCC-Attestation/interoperable-ra-tls, docs"
_OPEN = ("replay", "relay", "diversion", "reflection")
#: The endorsements by their places in the extension.
_ROLES = (
    "tcb_info",
    "tcb_info_issuer_chain",
    "pck_crl",
    "root_ca_crl",
    "pck_crl_issuer_chain",
    "qe_identity",
    "qe_identity_issuer_chain",
)


def _bound(parts: Mapping[str, bytes]) -> Fields:
    claims = parts["claims"]
    data = hashlib.sha256(claims).digest().ljust(_FIELD, b"\0")
    said = _claims(claims)
    algorithm, digest = _key_hash(said.get("pubkey-hash", b""))
    if algorithm is None or algorithm(parts["key"]).digest() != digest:
        return Fields(data, contradiction="claims-other-key")
    if "nonce" in parts and parts["nonce"] != said.get("nonce"):
        return Fields(data, contradiction="claims-other-nonce")
    return Fields(data)


#: ``key`` is the certificate's DER SubjectPublicKeyInfo, ``claims`` the claims buffer.
WITH_KEY = Layout("ra-tls/key", ("key", "claims"), _bound, _OPEN, _SOURCE)
#: The same, and the buffer has the verifier's nonce.
WITH_NONCE = Layout("ra-tls/nonce", ("key", "claims", "nonce"), _bound, _OPEN[1:], _SOURCE, "nonce")


def _open(data: bytes, given: Mapping[str, bytes]) -> Opened:
    if not certificate.looks_like(data):
        return Opened(evidence=data)
    carrier = certificate.read(data)
    value = carrier.value(certificate.EVIDENCE)
    if value is None:
        legacy = carrier.value(certificate.SGX_SDK)
        if legacy is None:
            raise MalformedEvidence("certificate-without-evidence", what=str(carrier.certificate))
        return carrier.around(Opened(evidence=legacy), None, {})
    quote, claims = _evidence(value)
    opened = Opened(
        evidence=quote,
        endorsements=_endorsements(carrier.value(certificate.ENDORSEMENTS)),
        described={"not_looked_at": "the certificate's older extension"} if _older(carrier) else {},
    )
    layout = WITH_NONCE if "nonce" in given else WITH_KEY
    return carrier.around(opened, layout, {"key": carrier.certificate.spki, "claims": claims})


def _recognises(data: bytes) -> bool:
    if not certificate.carries(data, certificate.EVIDENCE, certificate.SGX_SDK):
        return False
    carrier = certificate.read(data)
    legacy = carrier.value(certificate.SGX_SDK) or b""
    # In a PCK certificate the older identifier stands for something else, a SEQUENCE.
    return carrier.value(certificate.EVIDENCE) is not None or not legacy.startswith(b"\x30")


def _older(carrier: certificate.Carrier) -> bool:
    return any(carrier.value(oid) is not None for oid in (certificate.GRAMINE, certificate.SGX_SDK))


def _evidence(value: bytes) -> tuple[bytes, bytes]:
    tagged = cbor.loads(value, what="evidence extension", limit=_LIMIT, tags=True)
    if isinstance(tagged, cbor.Tag) and tagged.number in _REPORTS:
        raise UnsupportedEvidence("evidence-is-report", actual=tagged.number, expected=_QUOTE)
    if not isinstance(tagged, cbor.Tag) or tagged.number != _QUOTE:
        raise UnsupportedEvidence("evidence-tag", expected=_QUOTE)
    match tagged.value:
        case [bytes(quote), bytes(claims)]:
            return quote, claims
    raise MalformedEvidence("evidence-form", what="evidence extension")


def _claims(data: bytes) -> Mapping[object, object]:
    """Read a claims buffer; nothing in it if it is none."""
    try:
        claims = cbor.loads(data, what="claims buffer", limit=_LIMIT)
    except MalformedEvidence:
        return {}
    return cast("Mapping[object, object]", claims) if isinstance(claims, dict) else {}


def _key_hash(entry: object) -> "tuple[Callable[[bytes], hashlib._Hash] | None, bytes]":
    try:
        pair = cbor.loads(entry if isinstance(entry, bytes) else b"", what="pubkey-hash", limit=_LIMIT)
    except MalformedEvidence:
        return None, b""
    match pair:
        case [int(number), bytes(digest)]:
            return _HASHES.get(number), digest
    return None, b""


def _endorsements(value: bytes | None) -> Mapping[str, bytes]:
    """Read what the certificate brings of Intel's documents; their signatures are checked as anybody's."""
    if value is None:
        return {}
    tagged = cbor.loads(value, what="endorsements extension", limit=_LIMIT, tags=True)
    match tagged:
        case cbor.Tag(60000, [int(), *documents]) if len(documents) in (len(_ROLES), len(_ROLES) + 1):
            found = dict(zip(_ROLES, documents, strict=False))
        case _:
            raise MalformedEvidence("evidence-form", what="endorsements extension")
    # Open Enclave ends texts with a zero byte.
    return {role: document.rstrip(b"\0") for role, document in found.items() if isinstance(document, bytes)}


SYSTEM = System(
    name="ra-tls",
    title="Interoperable RA-TLS",
    layouts=(WITH_KEY, WITH_NONCE),
    recognises=_recognises,
    open=_open,
)
