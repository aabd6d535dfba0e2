# SPDX-License-Identifier: Apache-2.0
"""A question to a verifier: evidence, everything needed to judge it offline, and what is asked of it.

A case's folder and a request on stdin both become this record, so that there is one way from a case to a
verdict.
"""

import hashlib
from collections.abc import Mapping

import msgspec

from nacre import platforms
from nacre.errors import MalformedEvidence, UnsupportedEvidence
from nacre.trust.anchors import Anchor, private_anchor

__all__ = ["PINNED_ROOT", "PLATFORMS", "ROOTS", "Json", "Question", "anchors_of", "platform_of"]

#: What case files call a kind of TEE, and the platform that verifies it, if it is here.
PLATFORMS: Mapping[str, str] = {
    tee: name
    for tee, name in {
        "intel-sgx": "sgx",
        "intel-tdx": "tdx",
        "amd-sev-snp": "snp",
        "aws-nitro-enclave": "nitro",
    }.items()
    if name in platforms.builtin_names()
}

#: Roles of a root in case files. In a request they are no anchor: that is what ``anchor`` is for.
ROOTS = ("root_ca", "root")
#: The role that names an anchor by its SHA-256: 32 bytes, or as many in hexadecimal.
PINNED_ROOT = "trusted_ark_sha256"

#: Decoded JSON of any shape: it is compared, never used.
Json = object

_DIGEST = 32


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What a verifier is asked.

    Attributes:
        platform: The platform that is to verify; empty if there is none.
        evidence: The evidence.
        collateral: Role to document.
        anchors: The roots to trust; None for the vendor's that ship with the package.
        at: The time to judge at, Unix seconds.
        policy: What is asked beside: members of the platform's profile.
    """

    platform: str
    evidence: bytes
    collateral: Mapping[str, bytes]
    anchors: tuple[Anchor, ...] | None
    at: int
    policy: Mapping[str, Json]


def platform_of(name: str) -> str:
    """Return the platform of a name, or of what case files call its TEE.

    Raises:
        UnsupportedEvidence: ``platform-unknown``.
    """
    known = platforms.builtin_names()
    found = PLATFORMS.get(name, name)
    if found not in known:
        raise UnsupportedEvidence("platform-unknown", actual=name, expected=known)
    return found


def anchors_of(
    platform: str, collateral: Mapping[str, bytes], *, root: bytes | None
) -> tuple[Anchor, ...] | None:
    """Return the roots to trust.

    A root that is named by its digest is the vendor's, if that is it, or else the one among the collateral.
    If it is neither nothing is trusted: the evidence will have to be refused.

    Args:
        platform: The platform.
        collateral: Role to document; of the roots in it none is trusted for being there.
        root: The one root to trust, DER.

    Returns:
        None if neither ``root`` nor a digest says anything: the vendor's roots.

    Raises:
        MalformedEvidence: The root is no certificate, or the two differ.
    """
    pinned = _pinned(collateral)
    if root is not None:
        from nacre.trust.x509 import parse_certificate  # noqa: PLC0415 (slow to import, rarely needed)

        parse_certificate(root)
        anchor = private_anchor(root)
        if pinned not in (None, anchor.digest):
            raise MalformedEvidence("case-anchors-differ", expected=pinned, actual=anchor.digest)
        return (anchor,)
    if pinned is None:
        return None
    vendors = platforms.get(platform).anchors()
    own = [private_anchor(der) for der in collateral.values() if hashlib.sha256(der).digest() == pinned]
    return (*(anchor for anchor in vendors if anchor.digest == pinned), *own)[:1]


def _pinned(collateral: Mapping[str, bytes]) -> bytes | None:
    stated = collateral.get(PINNED_ROOT)
    if stated is None or len(stated) == _DIGEST:
        return stated
    try:
        digest = bytes.fromhex(stated.decode("ascii"))
    except ValueError:
        digest = b""
    if len(digest) != _DIGEST or len(stated) != 2 * _DIGEST:
        raise MalformedEvidence("length-mismatch", what=PINNED_ROOT, expected=_DIGEST, actual=len(stated))
    return digest
