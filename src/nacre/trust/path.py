# SPDX-License-Identifier: Apache-2.0
"""Certificate paths: who vouches for whom, up to an anchor.

The order of a path is given by its position, never searched for, and its last issuer is the anchor that
the caller trusts. Nothing in a path adds an anchor. Names are compared as DER bytes. There is no
exemption for self-issued certificates: every authority counts against a path length.
"""

import functools
from collections.abc import Iterable, Sequence

import msgspec

from nacre.errors import VerificationError
from nacre.trust import oids
from nacre.trust.signatures import Key, Scheme, Signatures
from nacre.trust.x509 import CRL_SIGN, DIGITAL_SIGNATURE, KEY_CERT_SIGN, Certificate

__all__ = ["Role", "anchor_key", "check_crl_issuer", "check_path", "check_validity"]

# Critical extensions that check_path judges. Any other critical one is refused.
_JUDGED = frozenset({oids.BASIC_CONSTRAINTS, oids.KEY_USAGE})


class Role(msgspec.Struct, frozen=True):
    """What a certificate has to be called to play a part.

    Attributes:
        common_names: The subject has exactly one common name, and it is one of these.
    """

    common_names: tuple[str, ...]


def check_path(
    chain: Sequence[Certificate],
    *,
    anchor: Certificate,
    roles: Sequence[Role | None],
    scheme: Scheme,
    signatures: Signatures,
    check: str,
) -> None:
    """Check a path of certificates; its signatures are left to ``signatures``. Time is not looked at.

    1. The path is as long as ``roles``.
    2. Each certificate has no critical extension that is not judged here, and the name its role wants.
    3. The first is no authority and, if it has keyUsage, may sign. The others and the anchor are
       authorities, may sign certificates, and allow as many authorities below them as there are.
    4. Each certificate's issuer is the next one's subject, byte for byte.
    5. Each certificate is signed with ``scheme`` by the key of the next one.

    Args:
        chain: Leaf first; the anchor is not part of it.
        anchor: The issuer of the last certificate.
        roles: The role of each certificate; None where any name will do.
        scheme: The one signature algorithm of this PKI.
        signatures: Collects the signatures that have to hold.
        check: The check whose failure this would be.

    Raises:
        VerificationError: ``chain-length``, ``critical-extension``, ``wrong-role``, ``leaf-is-ca``,
            ``key-usage``, ``not-a-ca``, ``path-too-long``, ``issuer-mismatch`` or ``algorithm-unexpected``.
        MalformedEvidence: An extension is malformed, or a key is unusable with ``scheme``.
    """
    if not chain or len(chain) != len(roles):
        raise VerificationError("chain-length", check=check, expected=len(roles), actual=len(chain))
    for below, (certificate, role) in enumerate(zip(chain, roles, strict=True), -1):
        _check_extensions(certificate, check)
        if role is not None and certificate.common_name not in role.common_names:
            raise VerificationError(
                "wrong-role", check=check, expected=role.common_names, actual=certificate.common_name
            )
        if below < 0:
            _check_leaf(certificate, check)
        else:
            _check_authority(certificate, below, check)
    _check_authority(anchor, len(chain) - 1, check)
    for certificate, issuer in zip(chain, [*chain[1:], anchor], strict=True):
        if certificate.issuer != issuer.subject:
            raise VerificationError("issuer-mismatch", check=check, what=str(certificate), actual=str(issuer))
        if certificate.signature_algorithm != scheme.algorithm:
            raise VerificationError(
                "algorithm-unexpected",
                check=check,
                what=str(certificate),
                expected=scheme.name,
                actual=oids.dotted(certificate.signature_algorithm),
            )
        key = anchor_key(scheme, issuer) if issuer is anchor else signatures.key(scheme, issuer.spki)
        signatures.expect(key, certificate.signature, certificate.tbs, check=check, what=certificate)


def anchor_key(scheme: Scheme, anchor: Certificate) -> Key:
    """Load the key of an anchor, once for this process: anchors are few and stay.

    Raises:
        MalformedEvidence: ``key-unusable``.
    """
    return _anchor_key(scheme, anchor.spki)


@functools.lru_cache(maxsize=32)
def _anchor_key(scheme: Scheme, spki: bytes) -> Key:
    return scheme.spki(spki)


def check_validity(certificates: Iterable[Certificate], *, at: int, check: str) -> None:
    """Check that every certificate is inside its dates, both ends included.

    Raises:
        VerificationError: ``certificate-not-yet-valid`` or ``certificate-expired``.
    """
    for certificate in certificates:
        if at < certificate.not_before:
            code = "certificate-not-yet-valid"
        elif at > certificate.not_after:
            code = "certificate-expired"
        else:
            continue
        raise VerificationError(
            code,
            check=check,
            what=str(certificate),
            actual=at,
            not_before=certificate.not_before,
            not_after=certificate.not_after,
        )


def check_crl_issuer(issuer: Certificate, *, check: str) -> None:
    """Check that a certificate may sign revocation lists.

    Raises:
        VerificationError: ``not-a-ca`` or ``key-usage``.
        MalformedEvidence: An extension is malformed.
    """
    if not issuer.is_ca:
        raise VerificationError("not-a-ca", check=check, what=str(issuer))
    _check_usage(issuer, CRL_SIGN, "cRLSign", check)


def _check_extensions(certificate: Certificate, check: str) -> None:
    for oid, (critical, _) in certificate.extensions.items():
        if critical and oid not in _JUDGED:
            raise VerificationError(
                "critical-extension", check=check, what=str(certificate), actual=oids.dotted(oid)
            )


def _check_leaf(certificate: Certificate, check: str) -> None:
    if certificate.is_ca:
        raise VerificationError("leaf-is-ca", check=check, what=str(certificate))
    _check_usage(certificate, DIGITAL_SIGNATURE, "digitalSignature", check)


def _check_authority(certificate: Certificate, below: int, check: str) -> None:
    if not certificate.is_ca:
        raise VerificationError("not-a-ca", check=check, what=str(certificate))
    limit = certificate.path_length
    if limit is not None and below > limit:
        raise VerificationError(
            "path-too-long", check=check, what=str(certificate), expected=limit, actual=below
        )
    _check_usage(certificate, KEY_CERT_SIGN, "keyCertSign", check)


def _check_usage(certificate: Certificate, bit: int, name: str, check: str) -> None:
    usage = certificate.key_usage
    if usage is not None and not usage & bit:
        raise VerificationError("key-usage", check=check, what=str(certificate), expected=name)
