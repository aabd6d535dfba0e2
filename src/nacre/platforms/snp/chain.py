# SPDX-License-Identifier: Apache-2.0
"""Who vouches for the key that signed a report: ARK, ASK or ASVK, VCEK or VLEK; and who was revoked.

The ARK is an anchor, never a certificate that came along. One that did come along has to *be* that anchor.
Which authority stands above tells the kind of key: an ASK certifies chips (VCEK), an ASVK clouds (VLEK).
"""

import hashlib
from collections.abc import Mapping, Sequence

import msgspec

from nacre.errors import VerificationError
from nacre.platforms.base import Endorsements
from nacre.platforms.snp.evidence import SnpEvidence
from nacre.platforms.snp.products import PRODUCTS, Product, of_issuer
from nacre.platforms.snp.vek import COMMON_NAMES, VekExtension, parse_extension
from nacre.trust import pem
from nacre.trust.anchors import Anchor
from nacre.trust.crl import Crl, check_crl, parse_crl
from nacre.trust.keys import P384_SHA384
from nacre.trust.path import Role, anchor_key, check_path
from nacre.trust.rsa import PSS_4096_SHA384
from nacre.trust.signatures import Key, Signatures
from nacre.trust.x509 import Certificate, anchor_certificate, parse_certificate

__all__ = ["CHAIN", "Endorsed", "Listed", "endorsed_key", "revocation_list"]

#: The check whose failures these are.
CHAIN = "snp.chain"

# What is remembered of a key must never stand for a list, nor the other way round.
_KEY = b"nacre/v1/snp/key\0"
_LIST = b"nacre/v1/snp/list\0"
_AUTHORITIES = tuple(name for product in PRODUCTS.values() for name in (product.ask, product.asvk))


class Endorsed(msgspec.Struct, frozen=True):
    """A key whose path holds, and what AMD certified about it.

    Attributes:
        anchor: The ARK.
        path: VCEK or VLEK, ASK or ASVK, ARK.
        product: The product line.
        kind: ``vcek`` or ``vlek``.
        key: The key.
        extension: What its certificate states.
        chip: Its HWID at the length of CHIP_ID, 64 bytes; None for a VLEK.
        identity: What tells the machine from others.
        begins: When the last certificate of the path begins, Unix seconds.
        ends: When the first one ends, Unix seconds.
    """

    anchor: Anchor
    path: tuple[Certificate, Certificate, Certificate]
    product: Product
    kind: str
    key: Key
    extension: VekExtension
    chip: bytes | None
    identity: Mapping[str, bytes | str | bool]
    begins: int
    ends: int


class Listed(msgspec.Struct, frozen=True):
    """A revocation list whose signature holds."""

    crl: Crl


def endorsed_key(
    evidence: SnpEvidence, endorsements: Endorsements, anchors: Sequence[Anchor], signatures: Signatures
) -> Endorsed:
    """Check the path of the key that signs, as far as it was not checked before.

    Raises:
        VerificationError: With what is wrong; the signatures are left to ``signatures``.
        MalformedEvidence: A certificate can not be read.
    """
    documents = _documents(evidence, endorsements)
    digest = _KEY + _digest(endorsements, documents)
    for anchor in anchors:
        known = signatures.recall(digest + anchor.digest)
        if isinstance(known, Endorsed) and known.anchor.origin is anchor.origin:
            return known
    anchor, endorsed = _check(documents, anchors, signatures)
    signatures.learn(digest + anchor.digest, endorsed)
    return endorsed


def revocation_list(endorsements: Endorsements, endorsed: Endorsed, signatures: Signatures) -> Crl | None:
    """Check that the revocation list is the ARK's own; None if there is none. Nobody is looked up in it yet.

    Raises:
        VerificationError: It is somebody else's.
        MalformedEvidence: It can not be read.
    """
    # Only the verifier's own: a host would send along a list from before the revocation.
    data = endorsements.get("crl")
    if data is None:
        return None
    anchor = endorsed.anchor
    digest = _LIST + hashlib.sha256(data).digest() + anchor.digest
    known = signatures.recall(digest)
    if isinstance(known, Listed):
        return known.crl
    crl = parse_crl(data)
    root = endorsed.path[-1]
    key = anchor_key(PSS_4096_SHA384, root)
    check_crl(crl, issuer=root, key=key, signatures=signatures, check="revocation")
    signatures.learn(digest, Listed(crl))
    return crl


def _documents(evidence: SnpEvidence, endorsements: Endorsements) -> tuple[bytes | None, ...]:
    """The certificates: VCEK or VLEK, ASK or ASVK, and an ARK, but never the one that a host sent along."""
    vek, ask = (_document(role, evidence, endorsements) for role in ("vek", "ask"))
    return vek, ask, endorsements.get("ark")


def _document(role: str, evidence: SnpEvidence, endorsements: Endorsements) -> bytes | None:
    """The verifier's own document, else the one that the host sent along."""
    own = endorsements.get(role)
    return evidence.certificates.get(role) if own is None else own


def _digest(endorsements: Endorsements, documents: Sequence[bytes | None]) -> bytes:
    """Name the certificates by all their bytes."""
    known = endorsements.parsed.get("snp.digest")
    if isinstance(known, tuple) and known[0] == documents:
        return known[1]  # type: ignore[no-any-return]  # put there below
    state = hashlib.sha256()
    for document in documents:
        state.update(b"\0" if document is None else b"\1" + len(document).to_bytes(8, "big") + document)
    digest = state.digest()
    endorsements.parsed["snp.digest"] = documents, digest
    return digest


def _check(
    documents: Sequence[bytes | None], anchors: Sequence[Anchor], signatures: Signatures
) -> tuple[Anchor, Endorsed]:
    vek_data, ask_data, ark_data = documents
    if vek_data is None or ask_data is None:
        raise VerificationError("endorsement-missing", check=CHAIN, role="vek" if vek_data is None else "ask")
    (vek,) = _read(vek_data, "VCEK or VLEK", at_most=1)
    authority, *above = _read(ask_data, "ASK or ASVK", at_most=2)
    if ark_data is not None:
        above += _read(ark_data, "ARK", at_most=1)
    found = of_issuer(authority.common_name)
    if found is None:
        raise VerificationError(
            "wrong-role", check=CHAIN, actual=authority.common_name, expected=_AUTHORITIES
        )
    product, kind = found
    anchor, root = _anchor(authority, anchors)
    if root.common_name != f"ARK-{product.name}":
        raise VerificationError(
            "wrong-role", check=CHAIN, actual=root.common_name, expected=(f"ARK-{product.name}",)
        )
    for each in above:
        if each.der != root.der:
            raise _untrusted(each, anchors)
    check_path(
        [vek, authority],
        anchor=root,
        roles=(Role((COMMON_NAMES[kind],)), Role((authority.common_name,))),
        scheme=PSS_4096_SHA384,
        signatures=signatures,
        check=CHAIN,
    )
    path = (vek, authority, root)
    extension = parse_extension(vek, product, kind)
    hwid = extension.hwid
    chip = None if hwid is None else hwid.ljust(64, b"\0")
    return anchor, Endorsed(
        anchor,
        path,
        product,
        kind,
        P384_SHA384.spki(vek.spki),
        extension,
        chip,
        {"product": product.name, "key": kind, **_who(extension)},
        max(certificate.not_before for certificate in path),
        min(certificate.not_after for certificate in path),
    )


def _who(extension: VekExtension) -> Mapping[str, bytes | str]:
    if extension.hwid is not None:
        return {"chip_id": extension.hwid}
    return {"csp_id": extension.csp or ""}


def _read(data: bytes, what: str, *, at_most: int) -> list[Certificate]:
    """Read a certificate, DER or PEM; AMD's key service serves authorities as PEM with the root behind."""
    if not data.startswith(b"-----BEGIN"):
        return [parse_certificate(data)]
    ders = pem.blocks(data, "CERTIFICATE", what=what, limit=at_most)
    return [parse_certificate(der) for der in ders]


def _anchor(authority: Certificate, anchors: Sequence[Anchor]) -> tuple[Anchor, Certificate]:
    """Find the anchor that an ASK or ASVK names as its issuer."""
    found = [
        (anchor, root)
        for anchor in anchors
        if (root := anchor_certificate(anchor)).subject == authority.issuer != authority.subject
    ]
    if len(found) > 1:
        # Anchors of one name: neither their order in the policy nor what a memo knows may decide.
        found = [
            (anchor, root)
            for anchor, root in found
            if anchor_key(PSS_4096_SHA384, root).holds(authority.signature, authority.tbs)
        ] or found
    if found:
        return found[0]
    raise _untrusted(authority, anchors)


def _untrusted(certificate: Certificate, anchors: Sequence[Anchor]) -> VerificationError:
    return VerificationError(
        "root-not-trusted",
        check=CHAIN,
        actual=certificate.digest,
        subject=certificate.common_name,
        expected=tuple(anchor.name for anchor in anchors),
    )
