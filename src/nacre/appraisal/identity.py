# SPDX-License-Identifier: Apache-2.0
"""The identity document: who an enclave says it is, in the form that evidence commits to.

Deterministic CBOR: ``{1: [SPKI, …] sorted, 2: release, 3: boot id, 4: mode, 5: deployment SPKI or null}``.

Source: docs/concepts/bindings.md.
"""

import hashlib
from itertools import pairwise

import msgspec

from nacre.errors import ConfigurationError, MalformedEvidence
from nacre.trust import cbor

__all__ = ["IdentityDocument"]

_WHAT = "identity document"
_MAX_SIZE = 32_768
_MAX_KEYS = 16
_MAX_KEY = 1024
_RELEASE = 32
_BOOT = 16
_MODES = ("genuine", "simulated")
_LABELS = (1, 2, 3, 4, 5)


class IdentityDocument(msgspec.Struct, frozen=True, kw_only=True):
    """Who an enclave says it is.

    Attributes:
        keys: Its public keys, DER SubjectPublicKeyInfo, 1 to 16 of them, sorted.
        release: The digest of its release, 32 bytes.
        boot: What tells this start from others, 16 random bytes.
        mode: ``genuine`` or ``simulated``.
        deployment: The deployment's public key, DER SubjectPublicKeyInfo, if it has one.
    """

    keys: tuple[bytes, ...]
    release: bytes
    boot: bytes
    mode: str
    deployment: bytes | None = None

    def __post_init__(self) -> None:
        """Refuse what has no place in an identity document."""
        fault = _fault(self)
        if fault:
            raise ConfigurationError("identity-document", what=_WHAT, actual=fault)

    def encode(self) -> bytes:
        """Return the one encoding of this document."""
        values = (self.keys, self.release, self.boot, self.mode, self.deployment)
        return cbor.dumps(dict(zip(_LABELS, values, strict=True)))

    def digest(self) -> bytes:
        """Return SHA-256 of the encoding, 32 bytes: what bindings hold."""
        return hashlib.sha256(self.encode()).digest()

    @classmethod
    def parse(cls, data: bytes) -> "IdentityDocument":
        """Read an identity document; only its one encoding is accepted.

        Raises:
            MalformedEvidence: It is not well-formed, or not deterministic.
        """
        members = cbor.loads(data, what=_WHAT, limit=_MAX_SIZE)
        if not isinstance(members, dict) or tuple(members) != _LABELS:
            raise MalformedEvidence("identity-document", what=_WHAT, actual="other keys than 1 to 5 in order")
        keys, release, boot, mode, deployment = members.values()
        try:
            return cls(
                keys=tuple(_bytes(key) for key in keys) if isinstance(keys, list) else (),
                release=_bytes(release),
                boot=_bytes(boot),
                mode=mode if isinstance(mode, str) else "",
                deployment=None if deployment is None else _bytes(deployment),
            )
        except ConfigurationError as error:
            raise MalformedEvidence(error.code, **error.context) from None


def _bytes(member: object) -> bytes:
    """Return a member that has to be bytes; anything else is empty, which no member may be."""
    return member if isinstance(member, bytes) else b""


def _fault(document: IdentityDocument) -> str:
    keys = document.keys
    named = keys if document.deployment is None else (*keys, document.deployment)
    if not all(0 < len(key) <= _MAX_KEY for key in named):
        return f"a key that is not 1 to {_MAX_KEY} bytes"
    if not 0 < len(keys) <= _MAX_KEYS or any(one >= other for one, other in pairwise(keys)):
        return f"not 1 to {_MAX_KEYS} keys, sorted, each once"
    if len(document.release) != _RELEASE:
        return f"a release digest of {len(document.release)} bytes, not {_RELEASE}"
    if len(document.boot) != _BOOT:
        return f"a boot id of {len(document.boot)} bytes, not {_BOOT}"
    if document.mode not in _MODES:
        return f"a mode that is not {' or '.join(_MODES)}"
    return ""
