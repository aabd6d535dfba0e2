# SPDX-License-Identifier: Apache-2.0
"""Every field of an attestation document, for inspection. Claims no trust."""

import hashlib
from collections.abc import Iterator, Mapping

from nacre.errors import MalformedEvidence
from nacre.platforms.base import FieldView
from nacre.platforms.nitro.evidence import WHAT, NitroEvidence
from nacre.reasons import explain, render
from nacre.trust import cbor
from nacre.trust.x509 import Certificate, parse_certificate

__all__ = ["document_facts", "document_views"]

_ES384 = bytes.fromhex("a1013822")
_PCRS = {
    "0": "the whole image",
    "1": "kernel, boot ramdisk and command line",
    "2": "application",
    "3": "IAM role of the parent instance",
    "4": "id of the parent instance",
    "8": "certificate that signed the image",
}


def document_facts(evidence: NitroEvidence) -> Mapping[str, object]:
    """Return the values of a document under the names of the shared test vectors.

    Byte strings are lower-case hex.
    """
    signer = _certificate(evidence.certificate)
    return {
        "module_id": evidence.module_id,
        "timestamp_ms": evidence.timestamp,
        "digest": evidence.digest,
        "pcrs": {str(index): value.hex() for index, value in evidence.pcrs.items()},
        "public_key": _hex(evidence.public_key),
        "user_data": _hex(evidence.user_data),
        "nonce": _hex(evidence.nonce),
        "payload_map": "definite-length (0xa9)" if evidence.definite else "indefinite-length (0xbf)",
        "leaf_certificate_sha256": hashlib.sha256(evidence.certificate).hexdigest(),
        "leaf_not_before": _time(signer.not_before) if signer else None,
        "leaf_not_after": _time(signer.not_after) if signer else None,
    }


def document_views(evidence: NitroEvidence) -> Iterator[FieldView]:
    """List the fields of a document with their offsets, in its own order."""
    raw, message = evidence.raw, evidence.message
    if message.tagged:
        yield FieldView("tag", 0, 1, "18", ("COSE_Sign1",))
    protected, unprotected, payload, signature = cbor.entries(raw, int(message.tagged), what=WHAT)
    yield from _field("protected", protected, raw)
    yield from _field("unprotected", unprotected, raw)
    start = payload.stop - len(message.payload)
    length = "definite" if evidence.definite else "indefinite"
    yield FieldView("payload", start, len(message.payload), f"a map of {length} length")
    for entry in cbor.entries(raw, start, what=WHAT):
        yield from _field(f"{entry.key}", entry, raw)
    yield from _field("signature", signature, raw)
    yield FieldView("instance_id", None, None, evidence.instance_id, ("from module_id",))
    for violation in evidence.violations:
        yield FieldView("violation", None, None, explain(violation))


def _field(name: str, entry: cbor.Entry, raw: bytes) -> Iterator[FieldView]:
    """Show one field: strings by their content, everything else with its head."""
    value = entry.value
    size = entry.stop - entry.start
    if isinstance(value, (list, cbor.Pairs)):
        parts = list(cbor.entries(raw, entry.start, what=WHAT))
        yield FieldView(name, entry.start, size, f"{len(parts)} entries")
        for part in parts:
            yield from _field(f"{name}.{part.key}", part, raw)
    elif isinstance(value, bytes):
        yield FieldView(name, entry.stop - len(value), len(value), value.hex(), _notes(name, value))
    elif name == "timestamp" and isinstance(value, int):
        yield FieldView(name, entry.start, size, f"{value} ms", (_time(value // 1000),))
    else:
        yield FieldView(name, entry.start, size, "null" if value is None else f"{value}")


def _notes(name: str, value: bytes) -> tuple[str, ...]:
    if name == "protected":
        return ("ES384: ECDSA P-384 with SHA-384" if value == _ES384 else "not ES384",)
    kind, _, index = name.partition(".")
    if kind == "pcrs":
        zero = () if value.strip(b"\0") else ("zero",)
        return (_PCRS[index], *zero) if index in _PCRS else zero
    if kind not in ("certificate", "cabundle"):
        return ()
    found = _certificate(value)
    if found is None:
        return ("unreadable",)
    return (
        f"subject {found.common_name}",
        f"serial {found.serial:x}",
        f"valid {_time(found.not_before)} to {_time(found.not_after)}",
        f"SHA-256 {found.digest.hex()}",
    )


def _certificate(der: bytes) -> Certificate | None:
    try:
        return parse_certificate(der)
    except MalformedEvidence:
        return None


def _hex(value: bytes | None) -> str | None:
    return None if value is None else value.hex()


def _time(seconds: int) -> str:
    return render("{at:time}", {"at": seconds})
