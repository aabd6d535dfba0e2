# SPDX-License-Identifier: Apache-2.0
"""The Nitro attestation document: bytes to a record. Knows no trust.

A document is a COSE_Sign1 message whose payload is a CBOR map. What makes it impossible to say which
certificates it names raises. Everything else that AWS's syntax forbids is collected as a violation: such
a document may well be correctly signed, and to say so is worth more than to call it malformed.

A field that cannot be told, because its key occurs twice or its type is wrong, is taken as absent.

Source: AWS, "Verifying the root of trust" (attestation_process.md), 3.2.2; the payload maps of real
documents are of definite length until 2025 and of indefinite length since.
"""

from collections.abc import Mapping

import msgspec

from nacre.checks import Check, failed
from nacre.errors import MalformedEvidence, UnsupportedEvidence
from nacre.trust import cbor, cose

__all__ = [
    "DIGEST",
    "MAX_DOCUMENT",
    "MAX_FIELD",
    "PCRS",
    "SYNTAX",
    "WHAT",
    "NitroEvidence",
    "looks_like",
    "parse_document",
]

WHAT = "attestation document"
#: The check that violations of AWS's syntax fail.
SYNTAX = "nitro.syntax"
#: The only digest, and so the size of a register.
DIGEST = "SHA384"
#: Registers are numbered from 0 to 31.
PCRS = 32
#: Longer documents are not read. Real ones have 4.4 to 5.2 KB.
MAX_DOCUMENT = 20_480
#: The most bytes of a certificate, of ``public_key`` and, by the CDDL, of ``user_data`` and ``nonce``.
MAX_FIELD = 1024

_MAX_PAYLOAD = 16_384
_MAX_AUTHORITIES = 8
_PCR_SIZES = frozenset({32, 48, 64})
_SIZES = "32, 48 or 64 bytes"
_TEXT_ONLY = {str}
_FIRST_BYTES = (b"\x84", b"\xd2")


class NitroEvidence(msgspec.Struct, frozen=True, kw_only=True):
    """A decoded attestation document. Made by ``parse_document`` alone.

    Attributes:
        raw: The document as it came.
        message: The COSE envelope.
        module_id: Instance and enclave, ``i-…-enc…``; empty if absent.
        digest: Name of the registers' hash; empty if absent.
        timestamp: When it was made, milliseconds since 1970; 0 if absent.
        pcrs: Register index (0 to 31) to value; only locked registers are listed.
        certificate: The signer's certificate, DER.
        cabundle: Its authorities, DER, root first.
        public_key: What the enclave put there, or None.
        user_data: What the enclave put there, or None.
        nonce: What the enclave put there, or None.
        definite: Whether the payload map states its length.
        violations: What breaks AWS's syntax, as failed checks.
    """

    raw: bytes
    message: cose.Sign1
    module_id: str
    digest: str
    timestamp: int
    pcrs: Mapping[int, bytes]
    certificate: bytes
    cabundle: tuple[bytes, ...]
    public_key: bytes | None
    user_data: bytes | None
    nonce: bytes | None
    definite: bool
    violations: tuple[Check, ...]

    @property
    def platform(self) -> str:
        """The name of the platform that reads it."""
        return "nitro"

    @property
    def instance_id(self) -> str:
        """The parent instance, as far as the module's name tells it."""
        return self.module_id.partition("-enc")[0]


def looks_like(data: bytes) -> bool:
    """Tell whether this looks like an attestation document of AWS; NitroTPM's look alike."""
    return data[:1] in _FIRST_BYTES and (b"\x68cabundle" in data or b"\x69module_id" in data)


def parse_document(data: bytes) -> NitroEvidence:
    """Decode an attestation document.

    Raises:
        MalformedEvidence: It is not one, or its certificates cannot be told.
        UnsupportedEvidence: ``nitrotpm-document``.
    """
    message = cose.loads(data, what=WHAT, limit=MAX_DOCUMENT)
    payload = cbor.loads(
        message.payload, what=f"{WHAT}: payload", limit=_MAX_PAYLOAD, indefinite=True, pairs=True
    )
    if not isinstance(payload, cbor.Pairs):
        raise MalformedEvidence("nitro-payload", actual=type(payload).__name__)
    bad: list[Check] = []
    fields = _fields(payload, bad)
    return NitroEvidence(
        raw=data,
        message=message,
        module_id=_text(fields, "module_id", bad),
        digest=_digest(fields, bad),
        timestamp=_timestamp(fields, bad),
        pcrs=_pcrs(fields.get("pcrs"), bad),
        certificate=_certificate(fields.get("certificate"), "certificate", bad),
        cabundle=_cabundle(fields.get("cabundle"), bad),
        public_key=_optional(fields, "public_key", bad),
        user_data=_optional(fields, "user_data", bad),
        nonce=_optional(fields, "nonce", bad),
        definite=payload.definite,
        violations=tuple(bad),
    )


def _fields(payload: cbor.Pairs, bad: list[Check]) -> dict[object, object]:
    """Take the fields out of the payload; of a field that occurs twice, none."""
    fields: dict[object, object] = dict(payload.items)
    if len(fields) != len(payload.items):
        for key in _twice(payload):
            if key in ("certificate", "cabundle"):
                raise MalformedEvidence("cbor-duplicate-key", what=WHAT, actual=repr(key))
            bad.append(failed(SYNTAX, "cbor-duplicate-key", what=WHAT, actual=repr(key)))
            del fields[key]
    if "nitrotpm_pcrs" in fields:
        if "pcrs" not in fields and not bad:
            raise UnsupportedEvidence("nitrotpm-document")
        bad.append(failed(SYNTAX, "nitro-both-pcrs"))
    if set(map(type, fields)) != _TEXT_ONLY:
        bad.append(failed(SYNTAX, "nitro-key-type", what="the document"))
    return fields


def _twice(pairs: cbor.Pairs) -> list[object]:
    seen: set[object] = set()
    twice: dict[object, None] = {}
    for key, _ in pairs.items:
        if key in seen:
            twice[key] = None
        seen.add(key)
    return list(twice)


def _text(fields: Mapping[object, object], name: str, bad: list[Check]) -> str:
    value = fields.get(name)
    if isinstance(value, str) and value:
        return value
    bad.append(failed(SYNTAX, "nitro-field", name=name, expected="text, not empty", actual=_said(value)))
    return ""


def _digest(fields: Mapping[object, object], bad: list[Check]) -> str:
    value = fields.get("digest")
    if value != DIGEST:
        bad.append(failed(SYNTAX, "nitro-field", name="digest", expected=DIGEST, actual=_said(value)))
    return value if isinstance(value, str) else ""


def _timestamp(fields: Mapping[object, object], bad: list[Check]) -> int:
    value = fields.get("timestamp")
    if type(value) is int and value > 0:
        return value
    bad.append(
        failed(SYNTAX, "nitro-field", name="timestamp", expected="a number above 0", actual=_said(value))
    )
    return 0


def _pcrs(value: object, bad: list[Check]) -> Mapping[int, bytes]:
    """Read the map of registers; of those that are in doubt, none."""
    if not isinstance(value, cbor.Pairs) or not 1 <= len(value.items) <= PCRS:
        bad.append(
            failed(SYNTAX, "nitro-field", name="pcrs", expected="a map of 1 to 32", actual=_said(value))
        )
    if not isinstance(value, cbor.Pairs):
        return {}
    twice = _twice(value) if len(dict(value.items)) != len(value.items) else ()
    bad.extend(failed(SYNTAX, "cbor-duplicate-key", what=f"{WHAT}: pcrs", actual=repr(key)) for key in twice)
    pcrs: dict[int, bytes] = {}
    for index, register in value.items:
        if not isinstance(index, int) or not 0 <= index < PCRS:
            bad.append(failed(SYNTAX, "nitro-pcr-index", actual=repr(index)))
        elif not isinstance(register, bytes) or len(register) not in _PCR_SIZES:
            bad.append(
                failed(SYNTAX, "nitro-field", name=f"pcrs.{index}", expected=_SIZES, actual=_said(register))
            )
        elif index not in twice:
            pcrs[index] = register
    return pcrs


def _certificate(value: object, name: str, bad: list[Check]) -> bytes:
    if not isinstance(value, bytes):
        raise MalformedEvidence("nitro-field", name=name, expected="a certificate", actual=_said(value))
    if not 1 <= len(value) <= MAX_FIELD:
        bad.append(_out_of_size(name, 1, MAX_FIELD, value))
    return value


def _cabundle(value: object, bad: list[Check]) -> tuple[bytes, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= _MAX_AUTHORITIES:
        raise MalformedEvidence(
            "nitro-field",
            name="cabundle",
            expected=f"1 to {_MAX_AUTHORITIES} certificates",
            actual=_said(value),
        )
    return tuple([_certificate(der, "cabundle", bad) for der in value])


def _optional(fields: Mapping[object, object], name: str, bad: list[Check]) -> bytes | None:
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, bytes):
        bad.append(failed(SYNTAX, "nitro-field", name=name, expected="bytes or null", actual=_said(value)))
        return None
    least = 1 if name == "public_key" else 0
    if not least <= len(value) <= MAX_FIELD:
        bad.append(_out_of_size(name, least, MAX_FIELD, value))
    return value


def _out_of_size(name: str, least: int, most: int, value: bytes) -> Check:
    return failed(SYNTAX, "nitro-field", name=name, expected=f"{least} to {most} bytes", actual=_said(value))


def _said(value: object) -> str:
    """Say what stands in a field, shortly: it can be anything."""
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if isinstance(value, list):
        return f"an array of {len(value)}"
    if isinstance(value, cbor.Pairs):
        return f"a map of {len(value.items)}"
    return "null or nothing" if value is None else repr(value)[:60]
