# SPDX-License-Identifier: Apache-2.0
"""Measurements in in-toto statements, bare or in a DSSE envelope.

Two kinds are read that are deployed: Tinfoil's measurement of one image on SEV-SNP and TDX, and its
measurements of firmware on TDX machines, which together make a TDX variant for each kind of machine. Nacre's
own carries a release as it is. A statement's provenance (SLSA) says how something was built, not what
hardware will show, and is not read here.

An envelope has to be signed by a key that the caller pinned. Sigstore's bundles are not verified here.

Source: in-toto Attestation Framework, Statement v1; DSSE v1; tinfoilsh/verifier.
"""

import binascii
from base64 import b64encode
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from nacre.appraisal.reference.tables import Gathered, Table, release_of, table_of
from nacre.appraisal.release import Release
from nacre.errors import MalformedEvidence, UnsupportedEvidence, VerificationError
from nacre.trust import json
from nacre.trust.jwk import Key, KeySet

__all__ = [
    "CHECK",
    "FIRMWARE",
    "MULTIPLATFORM",
    "NACRE",
    "opened",
    "pae",
    "read",
    "recognises",
    "seal",
    "unsealed",
    "write",
]

#: What failures of a signed statement are filed under.
CHECK: Final = "reference.signature"
MULTIPLATFORM: Final = "https://tinfoil.sh/predicate/snp-tdx-multiplatform/v1"
FIRMWARE: Final = "https://tinfoil.sh/predicate/hardware-measurements/v1"
#: A release as it is.
NACRE: Final = "urn:uuid:8e6f6f2d-54a5-4f0b-9b0c-7f1a35f0f9b1"

_WHAT = "in-toto statement"
_STATEMENT = "https://in-toto.io/Statement/v1"
_OLDER = "https://in-toto.io/Statement/v0.1"
_PAYLOAD = "application/vnd.in-toto+json"
_MAX = 1 << 20
#: Algorithms to the size of their signatures.
_SIZES = {"ES256": 64, "ES384": 96, "EdDSA": 64}
_NOTHING = "00" * 48


class _Subject(msgspec.Struct, frozen=True):
    """What a statement is about; some have more members."""

    digest: dict[str, str]
    name: str = ""


class _Statement(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"kind": "_type"}):
    """A statement."""

    kind: str
    subject: tuple[_Subject, ...]
    predicateType: str  # noqa: N815 (as the format spells it)
    predicate: dict[str, object]


class _Signature(msgspec.Struct, frozen=True):
    sig: str
    keyid: str = ""


class _Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A DSSE envelope."""

    payloadType: str  # noqa: N815 (as the format spells it)
    payload: str
    signatures: tuple[_Signature, ...]


class _TdxImage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    rtmr1: str
    rtmr2: str


class _Image(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    snp_measurement: str
    tdx_measurement: _TdxImage


class _Firmware(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    mrtd: str
    rtmr0: str


def recognises(value: object) -> bool:
    """Tell whether decoded JSON looks like a statement or an envelope."""
    return isinstance(value, dict) and ("_type" in value or "payloadType" in value)


def opened(value: object, *, pinned: KeySet | None) -> object:
    """Return the statement of an envelope that a pinned key signed; a bare statement is its own.

    Raises:
        VerificationError: ``reference-signer``, ``signature-invalid``.
        MalformedEvidence: ``json-shape``, ``dsse-payload``, or as ``json.loads``.
    """
    statement, envelope = unsealed(value)
    if envelope is None:
        return statement
    payload = _base64(envelope.payload)
    keys = pinned.keys if pinned else ()
    if not keys:
        raise VerificationError(
            "reference-signer", check=CHECK, what="DSSE envelope", expected="a key of the caller's", actual=0
        )
    message = pae(_PAYLOAD, payload)
    signatures = [_base64(signature.sig) for signature in envelope.signatures]
    if not any(_holds(pinned_key, signature, message) for pinned_key in keys for signature in signatures):
        raise VerificationError("signature-invalid", check=CHECK, what="DSSE envelope")
    return statement


def unsealed(value: object) -> "tuple[object, _Envelope | None]":
    """Return the statement of an envelope, unverified, and the envelope if there is one.

    Raises:
        MalformedEvidence: ``json-shape``, ``dsse-payload``, or as ``json.loads``.
    """
    if not isinstance(value, dict) or "payloadType" not in value:
        return value, None
    envelope = json.convert(value, _Envelope, what="DSSE envelope")
    if envelope.payloadType != _PAYLOAD:
        raise MalformedEvidence("dsse-payload", expected=_PAYLOAD, actual=envelope.payloadType[:64])
    return json.loads(_base64(envelope.payload), what=_WHAT, limit=_MAX), envelope


def pae(kind: str, payload: bytes) -> bytes:
    """Return what a DSSE signature covers: the payload and its type, with the length of each."""
    name = kind.encode()
    return b"DSSEv1 %d %b %d %b" % (len(name), name, len(payload), payload)


def _base64(text: str) -> bytes:
    # Both alphabets are allowed.
    try:
        return binascii.a2b_base64(text.replace("-", "+").replace("_", "/"), strict_mode=True)
    except (binascii.Error, ValueError):
        raise MalformedEvidence("dsse-payload", expected="base64", actual=text[:32]) from None


def _holds(key: Key, signature: bytes, message: bytes) -> bool:
    # DSSE names no algorithm, so only keys that leave no choice are used.
    for name in key.algorithms & _SIZES.keys():
        raw = signature if len(signature) == _SIZES[name] else _raw(signature, _SIZES[name] // 2)
        if key.holds(raw, message, algorithm=name):
            return True
    return False


def _raw(signature: bytes, size: int) -> bytes:
    """Write a DER signature, as cosign makes them, as r ‖ s; what is none comes back empty."""
    try:
        r, s = decode_dss_signature(signature)
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")
    except (ValueError, OverflowError):
        return b""


def read(values: Sequence[object], gathered: Gathered) -> Table:
    """Make the table of a release of one decoded statement, or of Tinfoil's two.

    Raises:
        MalformedEvidence: ``json-shape``, ``intoto-subject``.
        UnsupportedEvidence: ``intoto-predicate``.
    """
    statements: dict[str, _Statement] = {}
    for value in values:
        statement = json.convert(value, _Statement, what=_WHAT)
        if statement.kind not in (_STATEMENT, _OLDER):
            raise UnsupportedEvidence("intoto-predicate", actual=statement.kind[:64], expected=(_STATEMENT,))
        if statement.predicateType in statements:
            raise MalformedEvidence("reference-twice", what=_WHAT, key=statement.predicateType)
        statements[statement.predicateType] = statement
    kinds = statements.keys()
    if kinds == {NACRE}:
        return _ours(statements[NACRE])
    if MULTIPLATFORM in kinds and kinds <= {MULTIPLATFORM, FIRMWARE}:
        return _tinfoil(statements[MULTIPLATFORM], statements.get(FIRMWARE), gathered)
    raise UnsupportedEvidence(
        "intoto-predicate",
        actual=", ".join(sorted(kinds))[:128],
        expected=(NACRE, MULTIPLATFORM, f"{MULTIPLATFORM} with {FIRMWARE}"),
    )


def _ours(statement: _Statement) -> Table:
    table = statement.predicate
    release = release_of(table, file=_WHAT)
    stated = [subject.digest.get("sha256") for subject in statement.subject]
    if stated != [release.fingerprint.hex()]:
        raise MalformedEvidence("intoto-subject", expected=release.fingerprint.hex(), actual=str(stated)[:96])
    return table


def _tinfoil(image: _Statement, firmware: _Statement | None, gathered: Gathered) -> Table:
    code = json.convert(image.predicate, _Image, what="Tinfoil measurement")
    names = [subject.name for subject in image.subject if subject.name]
    if names:
        gathered.note(f"about {', '.join(names)}")
    table: Table = {"snp": [{"measurement": code.snp_measurement}]}
    if firmware is None:
        gathered.cannot("tdx_measurement without the firmware's")
        return table
    machines = json.convert(firmware.predicate, dict[str, _Firmware], what="Tinfoil firmware")
    gathered.note(f"TDX on the machines {', '.join(machines)}")
    table["tdx"] = [
        {
            "mrtd": machine.mrtd,
            "rtmr0": machine.rtmr0,
            "rtmr1": code.tdx_measurement.rtmr1,
            "rtmr2": code.tdx_measurement.rtmr2,
            # Nothing of theirs extends it, and their own verifiers insist on that.
            "rtmr3": _NOTHING,
        }
        for machine in machines.values()
    ]
    return table


def write(release: Release) -> bytes:
    """Write a release as a statement, deterministically."""
    statement = {
        "_type": _STATEMENT,
        "subject": [{"name": release.id, "digest": {"sha256": release.fingerprint.hex()}}],
        "predicateType": NACRE,
        "predicate": table_of(release),
    }
    return msgspec.json.encode(statement)


def seal(statement: bytes, *, sign: Callable[[bytes], bytes], key_id: str = "") -> bytes:
    """Put a statement into a DSSE envelope."""
    signature = sign(pae(_PAYLOAD, statement))
    envelope = {
        "payloadType": _PAYLOAD,
        "payload": b64encode(statement).decode(),
        "signatures": [{"keyid": key_id, "sig": b64encode(signature).decode()}],
    }
    return msgspec.json.encode(envelope)
