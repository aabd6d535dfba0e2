# SPDX-License-Identifier: Apache-2.0
"""Flashbots: attested TLS between block builders, in two generations.

``flashbots/ratls-1`` is that of ``attested-tls-proxy`` (ALPN ``flashbots-ratls/1``): after a TLS 1.3
handshake each side sends a quote over its own key and the exporter of the session. The key is hashed as it
stands in the certificate's bit string (for ECDSA the uncompressed point), not with the algorithm around it.

What each side sends is read as it goes over the wire, with or without the four bytes of its length.

``flashbots/attested-tls`` is that of ``attested-tls``: a certificate of five minutes carries a quote over its
key, its dates and its name. Whoever reads the certificate later learns when it was made, and nothing of a
session.

What they leave open:

* ``flashbots/ratls-1``: **diversion** (any genuine machine of the same release may answer).
* ``flashbots/attested-tls``: **replay** for as long as the certificate is valid, by its own word; **relay**
  (whoever has the key of one accepted machine answers for all); **diversion**; **reflection** (no role).

Not proven here:
    No certificate or message of a running builder is public with what it is bound to; the tests make theirs.
"""

import hashlib
from collections.abc import Mapping
from typing import Final

import msgspec

from nacre.appraisal.purposes import Fields, Layout
from nacre.appraisal.systems import certificate, dstack_attestation, encodings, parts
from nacre.appraisal.systems.base import Found, Opened, System
from nacre.appraisal.systems.scale import Scale
from nacre.checks import Check, Context, failed, passed
from nacre.errors import MalformedEvidence, UnsupportedEvidence
from nacre.trust import json
from nacre.trust.x509 import Certificate

__all__ = ["SYSTEM"]

_EXPORTER: Final = 32
_TIME: Final = 8
_MAX_JSON: Final = 1 << 18
_WHAT: Final = "attested-tls evidence"
#: ``dcap-tdx`` is what older versions call a machine of one's own.
_TYPES: Final = ("self-hosted-tdx", "gcp-tdx", "dcap-tdx")
_QUOTES: Final = (b"\4\0", b"\5\0")
_LENGTH: Final = 4
_HASH: Final = 48


def _session(given: Mapping[str, bytes]) -> Fields:
    what = "flashbots/ratls-1"
    digest = hashlib.sha256(parts.key_bits(given, what)).digest()
    return Fields(digest + parts.sized(given, what, "exporter", _EXPORTER))


def _dated(given: Mapping[str, bytes]) -> Fields:
    what = "flashbots/attested-tls"
    dates = (parts.sized(given, what, name, _TIME) for name in ("not-before", "not-after"))
    return Fields(hashlib.sha512(b"".join((parts.spki(given, what), *dates, given["name"]))).digest())


#: ``key`` is a DER SubjectPublicKeyInfo here and below; ``exporter`` is
#: TLS-Exporter("EXPORTER-Channel-Binding", no context, 32).
_RATLS_1 = Layout(
    "flashbots/ratls-1",
    ("key", "exporter"),
    _session,
    ("diversion",),
    "flashbots/attested-tls-proxy, attested-tls/src/lib.rs (compute_report_input)",
    "exporter",
)
#: ``not-before`` and ``not-after`` are Unix seconds, u64 big-endian; ``name`` the subject's common name.
_ATTESTED_TLS = Layout(
    "flashbots/attested-tls",
    ("key", "not-before", "not-after", "name"),
    _dated,
    ("replay", "relay", "diversion", "reflection"),
    "flashbots/attested-tls, crates/attested-tls/src/lib.rs (create_report_data)",
)


class _Platform(msgspec.Struct):
    attestation_type: str


class _Evidence(msgspec.Struct):
    """``quote`` is base64."""

    quote: str
    platform: _Platform


class _Message(msgspec.Struct):
    """What stands in dstack's container where it has a quote."""

    attestation_evidence: _Evidence


def _carried(data: bytes) -> bytes:
    """Return the JSON in a certificate; nothing if it is another system's."""
    carrier = certificate.read(data)
    value = carrier.octets(certificate.DSTACK)
    text = carrier.octets(certificate.DSTACK_QUOTE) if value is None else _in_container(value)
    return text if text and text[:1] == b"{" else b""


def _in_container(value: bytes) -> bytes:
    return dstack_attestation.parse(value).evidence


def _recognises(data: bytes) -> bool:
    try:
        return certificate.carries(data, certificate.DSTACK, certificate.DSTACK_QUOTE) and bool(
            _carried(data)
        )
    except (MalformedEvidence, UnsupportedEvidence):
        return False


def _open(data: bytes, given: Mapping[str, bytes]) -> Opened:
    del given
    if not certificate.looks_like(data):
        return Opened(evidence=data if data.startswith(_QUOTES) else _sent(data), layout=_RATLS_1)
    carrier = certificate.read(data)
    text = _carried(data)
    message = json.decode(text, _Message, what=_WHAT, limit=_MAX_JSON).attestation_evidence
    _insist_on_tdx(message.platform.attestation_type)
    held = carrier.certificate
    opened = Opened(
        evidence=encodings.unbase64(message.quote, what=_WHAT),
        examine=lambda claims, at: Found((_dates(held, at),)),  # noqa: ARG005 (as it is called)
        required=("flashbots.dates",),
    )
    found = {
        "key": held.spki,
        "not-before": max(held.not_before, 0).to_bytes(_TIME, "big"),
        "not-after": max(held.not_after, 0).to_bytes(_TIME, "big"),
        "name": held.common_name.encode(),
    }
    return carrier.around(opened, _ATTESTED_TLS, found)


def _sent(data: bytes) -> bytes:
    """Read the message that follows the handshake: SCALE of one of two versions."""
    if int.from_bytes(data[:_LENGTH], "big") == len(data) - _LENGTH:
        data = data[_LENGTH:]
    reader = Scale(data, _WHAT)
    if data[:1] not in (b"\0", b"\1"):
        _insist_on_tdx(reader.text())
        quote = reader.string()
    else:
        if not reader.flag():
            _insist_on_tdx("none")
        quote = reader.string()
        _insist_on_tdx(reader.text())
        reader.skip(12, "memory and disks")
        for size in (3 * _HASH, _HASH):  # of ACPI tables and SMBIOS, where they are stated
            reader.skip(size if reader.flag() else 0, "hashes")
        reader.flag()
    reader.finish()
    return quote


def _insist_on_tdx(kind: str) -> None:
    if kind not in _TYPES:
        raise UnsupportedEvidence("attestation-type", what=_WHAT, actual=kind[:32], expected=_TYPES)


def _dates(held: Certificate, at: int) -> Check:
    """Hold the certificate to its dates: here the evidence vouches for them, so they count."""
    if held.not_before <= at <= held.not_after:
        return passed("flashbots.dates")
    context: Context = {"expected": held.not_before, "actual": held.not_after, "at": at}
    return failed("flashbots.dates", "attested-dates", **context)


SYSTEM = System(
    name="flashbots",
    title="Flashbots",
    layouts=(_RATLS_1, _ATTESTED_TLS),
    recognises=_recognises,
    open=_open,
)
