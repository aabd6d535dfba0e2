# SPDX-License-Identifier: Apache-2.0
"""Verification of a Nitro attestation document.

Warm, a verification is one hash, one look-up and one signature. Certificates whose signatures were
verified are remembered one by one, each under a digest of the whole path from the anchor down to it, so
that a new signer costs one signature more and a new instance two. A hit says that signatures and rules
hold; time is checked again each time.

Not proven here:
    Documents of the AWS partitions for China and GovCloud, whose roots are not published where we could
    find them: without a root that the policy names they are refused.
"""

import hashlib
from collections.abc import Mapping, Sequence

import msgspec

from nacre.checks import Check, Status, passed
from nacre.errors import VerificationError
from nacre.platforms.base import Claims, Committed
from nacre.platforms.nitro.endorsements import SCHEME, SIGNER_SUFFIX
from nacre.platforms.nitro.evidence import PCRS, WHAT, NitroEvidence
from nacre.platforms.trail import Trail
from nacre.trust import cose
from nacre.trust.anchors import Anchor
from nacre.trust.keys import raw_signature
from nacre.trust.path import check_path, check_validity
from nacre.trust.signatures import Key, Signatures
from nacre.trust.x509 import Certificate, anchor_certificate, parse_certificate

__all__ = ["CODE_PCRS", "NitroClaims", "verify_document"]

_DOCUMENT = passed("nitro.document")
_CHAIN = passed("nitro.chain")
_SIGNATURE = passed("nitro.signature")
_CURRENT = passed("currency")

# What is remembered of a signer must never stand for an authority, nor the other way round.
_SIGNER = b"nacre/v1/nitro/signer\0"
_AUTHORITY = b"nacre/v1/nitro/authority\0"

_REGISTERS = tuple(f"pcr{index}" for index in range(PCRS))
#: The registers that hold the code: in debug mode they are zero.
CODE_PCRS = (0, 1, 2)
_NO_LIMIT = 1 << 16


class NitroClaims(Claims, frozen=True, kw_only=True):
    """What an attestation document proved.

    Attributes:
        evidence: The document.
        certificates: Its path, the signer first, the root last.
    """

    evidence: NitroEvidence
    certificates: tuple[Certificate, ...]


class _Authority(msgspec.Struct, frozen=True):
    """An authority whose path holds, and what its path demands of everything below.

    Attributes:
        path: Itself first, the root last.
        longest: How long a bundle may be for all path lengths in the path.
    """

    path: tuple[Certificate, ...]
    longest: int


class _Signer(msgspec.Struct, frozen=True):
    """A signer whose path holds.

    Attributes:
        path: Itself first, the root last.
        name: Its common name.
        key: Its key.
        ends: When the first certificate of the path ends, Unix seconds.
    """

    path: tuple[Certificate, ...]
    name: str
    key: Key
    ends: int


def verify_document(
    evidence: NitroEvidence, *, anchors: Sequence[Anchor], at: int, signatures: Signatures
) -> NitroClaims:
    """Verify an attestation document.

    Steps:

    1. The envelope states ES384 in its protected header, and nothing else in any header.
    2. ``cabundle`` begins with an anchor, byte for byte. Nothing else in a document is ever an anchor.
    3. The path from the signer to that anchor: names, CA flags, key usage, path lengths, critical
       extensions, keys on P-384, ECDSA with SHA-384. The order is the document's, nothing is searched.
    4. The signer is named after the module that the document is about.
    5. Every certificate was valid when the document says it was made. A document that states no time
       fails its syntax instead.
    6. The signature of the document, over the bytes as received.
    7. All signatures settle. Nothing that was read counts before.
    8. Currency: every certificate is valid at ``at``. Reported, not raised, so that a policy may judge
       recorded evidence.

    Args:
        evidence: What ``parse_document`` made.
        anchors: The roots to trust.
        at: The time to judge at, Unix seconds.
        signatures: Collects the signature work.

    Raises:
        VerificationError: With the check that failed and those that held before it.
    """
    message = evidence.message
    made_at = evidence.timestamp // 1000
    with Trail(signatures) as trail:
        # (1)
        trail.begin("nitro.document")
        message.require(cose.ES384, what=WHAT)
        signature = raw_signature(message.signature, SCHEME)
        trail.add(_DOCUMENT)
        # (2)
        trail.begin("nitro.chain")
        anchor = _anchor(evidence.cabundle[0], anchors)
        # (3)
        signer = _signer(evidence, anchor, signatures)
        # (4)
        if evidence.module_id and not signer.name.startswith(f"{evidence.module_id}."):
            raise VerificationError(
                "nitro-signer-name", check="nitro.chain", expected=evidence.module_id, actual=signer.name
            )
        # (5)
        if evidence.timestamp:
            check_validity(signer.path, at=made_at, check="nitro.chain")
        trail.add(_CHAIN)
        # (6)
        trail.begin("nitro.signature")
        signatures.expect(
            signer.key, signature, message.signed(), check="nitro.signature", what=f"the {WHAT}"
        )
        trail.add(_SIGNATURE)
        # (7)
        signatures.settle()
    # (8)
    return NitroClaims(
        platform="nitro",
        origin=anchor.origin,
        checks=(_DOCUMENT, _CHAIN, _SIGNATURE, _currency(signer, at)),
        registers={_REGISTERS[index]: value for index, value in evidence.pcrs.items()},
        committed=Committed(evidence.user_data or b"", evidence.nonce, evidence.public_key, fields=True),
        debug=_is_debug(evidence),
        issued_at=made_at if evidence.timestamp else None,
        valid_until=signer.ends,
        identity=_identity(evidence, signer),
        evidence=evidence,
        certificates=signer.path,
    )


def _anchor(root: bytes, anchors: Sequence[Anchor]) -> Anchor:
    for anchor in anchors:
        if anchor.der == root:
            return anchor
    raise VerificationError(
        "nitro-root",
        check="nitro.chain",
        actual=hashlib.sha256(root).digest(),
        expected=tuple(f"{anchor.name} ({anchor.digest.hex()})" for anchor in anchors),
    )


def _signer(evidence: NitroEvidence, anchor: Anchor, signatures: Signatures) -> _Signer:
    """Check the path of the signer, as far as it was not checked before."""
    bundle = evidence.cabundle
    digest = _digest(_SIGNER, anchor, (*bundle, evidence.certificate))
    known = signatures.recall(digest)
    if isinstance(known, _Signer):
        return known
    certificate = parse_certificate(evidence.certificate)
    path = (certificate, *_authorities(bundle, certificate, anchor, signatures))
    ends = min(each.not_after for each in path)
    signer = _Signer(path, certificate.common_name, SCHEME.spki(certificate.spki), ends)
    signatures.learn(digest, signer)
    return signer


def _authorities(
    bundle: Sequence[bytes], certificate: Certificate, anchor: Anchor, signatures: Signatures
) -> tuple[Certificate, ...]:
    """Check a signer's path below the lowest authority that is known; lowest first, the root last."""
    digests = [_digest(_AUTHORITY, anchor, bundle[: place + 1]) for place in range(len(bundle))]
    authority = _lowest_known(digests, anchor, signatures)
    known = len(authority.path)
    fresh = [parse_certificate(der) for der in bundle[known:]]
    check_path(
        [certificate, *reversed(fresh)],
        anchor=authority.path[0],
        roles=(None,) * (len(fresh) + 1),
        scheme=SCHEME,
        signatures=signatures,
        check="nitro.chain",
    )
    if len(bundle) > authority.longest:
        raise VerificationError(
            "path-too-long",
            check="nitro.chain",
            what=f"certificate of {authority.path[0].common_name}",
            expected=authority.longest - known,
            actual=len(bundle) - known,
        )
    for place, below in enumerate(fresh, known):
        longest = min(authority.longest, _longest(below, place))
        authority = _Authority((below, *authority.path), longest)
        signatures.learn(digests[place], authority)
    return authority.path


def _lowest_known(digests: Sequence[bytes], anchor: Anchor, signatures: Signatures) -> _Authority:
    for digest in reversed(digests):
        known = signatures.recall(digest)
        if isinstance(known, _Authority):
            return known
    root = anchor_certificate(anchor)
    return _Authority((root,), _longest(root, 0))


def _longest(authority: Certificate, place: int) -> int:
    limit = authority.path_length
    return _NO_LIMIT if limit is None else place + 1 + limit


def _digest(domain: bytes, anchor: Anchor, path: Sequence[bytes]) -> bytes:
    """Name a path, root first, by everything that its verification depends on."""
    parts = [domain, anchor.digest]
    for der in path:
        parts += (len(der).to_bytes(4, "big"), der)
    return hashlib.sha256(b"".join(parts)).digest()


def _currency(signer: _Signer, at: int) -> Check:
    try:
        check_validity(signer.path, at=at, check="currency")
    except VerificationError as error:
        return Check("currency", Status.FAIL, error.code, error.context)
    return _CURRENT


def _identity(evidence: NitroEvidence, signer: _Signer) -> Mapping[str, bytes | str | bool]:
    module = evidence.module_id
    region = signer.name[len(module) + 1 :].removesuffix(SIGNER_SUFFIX) if module else ""
    return {"module_id": module, "instance_id": evidence.instance_id, "region": region}


def _is_debug(evidence: NitroEvidence) -> bool:
    """Tell whether a register of the code is zero, or is not there at all."""
    return not all(evidence.pcrs.get(index, b"").strip(b"\0") for index in CODE_PCRS)
