# SPDX-License-Identifier: Apache-2.0
"""Statements about what was built (in-toto), bare or signed (DSSE): one form for one content.

ECDSA signatures are written in DER: other people's verifiers want them so.

Source: in-toto Attestation Framework, Statement v1; DSSE v1.
"""

import re
from collections.abc import Mapping
from typing import Final, TypeVar

import msgspec

from nacre.appraisal.reference import intoto
from nacre.errors import MalformedEvidence, UnsupportedEvidence
from nacre.trust import json
from nacre.trust.jwk import KeySet
from nacre.trust.keys import P256_SHA256, P384_SHA384, raw_signature
from nacre.trust.signing import SigningKey

__all__ = ["encode", "read", "sign"]

_TYPE: Final = "https://in-toto.io/Statement/v1"
_MAX: Final = 1 << 22
_ECDSA: Final = {"ES256": P256_SHA256, "ES384": P384_SHA384}
_WHAT: Final = "in-toto statement"

_Predicate = TypeVar("_Predicate", bound=msgspec.Struct)


class _Digest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    sha256: str


class _Subject(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    digest: _Digest


class _Statement(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    rename={"kind": "_type", "predicate_type": "predicateType"},
):
    kind: str
    subject: tuple[_Subject, ...]
    predicate_type: str
    predicate: dict[str, object]


def encode(subjects: Mapping[str, bytes], kind: str, predicate: msgspec.Struct) -> bytes:
    """Return a statement, as JSON.

    Args:
        subjects: What it is about: names and SHA-256.
        kind: The predicate's type, a URI.
        predicate: What it says.
    """
    about = [_Subject(name, _Digest(digest.hex())) for name, digest in sorted(subjects.items())]
    return msgspec.json.encode(_Statement(_TYPE, tuple(about), kind, msgspec.to_builtins(predicate)))


def sign(statement: bytes, key: SigningKey, *, key_id: str = "") -> bytes:
    """Put a statement into a signed envelope; ``key_id`` helps to find the key and proves nothing."""

    def signature(message: bytes) -> bytes:
        raw = key.sign(message)
        scheme = _ECDSA.get(key.name)
        return raw_signature(raw, scheme) if scheme else raw

    return intoto.seal(statement, sign=signature, key_id=key_id)


def read(
    data: bytes, kind: str, shape: type[_Predicate], *, pinned: KeySet | None
) -> tuple[dict[str, bytes], _Predicate]:
    """Return the subjects of a statement and what it says of them.

    Args:
        data: A statement or an envelope.
        kind: The predicate's type; no other is read.
        shape: The predicate's.
        pinned: The keys of which one has to have signed. None takes a statement that nobody signed, and no
            envelope: who has a signature has to check it.

    Raises:
        MalformedEvidence: ``json-…``; ``dsse-payload``, also for a statement without a signature;
            ``intoto-digest``.
        VerificationError: ``reference-signer``, ``signature-invalid``.
        UnsupportedEvidence: ``intoto-predicate``.
    """
    value = json.loads(data, what=_WHAT, limit=_MAX)
    if pinned is not None and intoto.unsealed(value)[1] is None:
        raise MalformedEvidence("dsse-payload", expected="a signature", actual="a statement without one")
    statement = json.convert(intoto.opened(value, pinned=pinned), _Statement, what=_WHAT)
    if (statement.kind, statement.predicate_type) != (_TYPE, kind):
        raise UnsupportedEvidence("intoto-predicate", actual=statement.predicate_type[:128], expected=(kind,))
    subjects = {subject.name: _sha256(subject.digest.sha256) for subject in statement.subject}
    if len(subjects) != len(statement.subject):
        raise MalformedEvidence("reference-twice", what=_WHAT, key="subject")
    return subjects, json.convert(statement.predicate, shape, what=_WHAT)


def _sha256(text: str) -> bytes:
    if not re.fullmatch("[0-9a-f]{64}", text):
        raise MalformedEvidence("intoto-digest", actual=text[:80])
    return bytes.fromhex(text)
