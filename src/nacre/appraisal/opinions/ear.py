# SPDX-License-Identifier: Apache-2.0
"""EAT Attestation Results of Veraison, Trustee, Nacre and others.

Source: :mod:`nacre.appraisal.ear_read`.
"""

from collections.abc import Mapping
from typing import Final

from nacre.appraisal import ear_read
from nacre.appraisal.ar4si import CLAIMS, TrustVector
from nacre.appraisal.ear_names import PROFILES
from nacre.appraisal.ear_read import Reading, Submodule
from nacre.appraisal.opinions.base import (
    Expected,
    Opinion,
    Part,
    Stance,
    Token,
    check_token,
    signature_check,
    signed_by,
)
from nacre.checks import Check, passed, skipped
from nacre.errors import VerificationError
from nacre.trust import cwt, jose
from nacre.trust.jose import Signer
from nacre.trust.jwa import ALGORITHMS
from nacre.trust.jwk import KeySet

__all__ = ["name", "recognises", "title", "verify"]

name: Final = "ear"
title: Final = "EAT Attestation Result"

#: The verifier's key is the caller's to pin; so the kind of key, too. Never RSASSA-PKCS1-v1_5.
_ALGORITHMS = frozenset(one for one in ALGORITHMS if not one.startswith("RS"))
_STANCES = {
    "affirming": Stance.AFFIRMS,
    "warning": Stance.RESERVES,
    "none": Stance.SILENT,
    "contraindicated": Stance.OBJECTS,
}


def recognises(claims: Mapping[str, object]) -> bool:
    """Tell whether claims are of a profile that is read here."""
    return claims.get("eat_profile") in PROFILES


def verify(token: bytes, keys: KeySet, expected: Expected, checks: list[Check]) -> Opinion:
    """Verify an EAR, JWT or CWT: the steps of :mod:`nacre.appraisal.ear_read`."""
    reading, signer = _opened(token, keys, expected, checks)
    about = Token(
        issuer=reading.issuer or reading.developer,
        issued_at=reading.issued_at,
        not_before=reading.not_before,
        expires=reading.expires,
        audience=reading.audience,
        nonces=reading.nonces,
    )
    check_token(about, expected, checks, issuers=None, what=title)
    _check_consistency(reading, checks)
    return Opinion(
        kind=name,
        title=f"{title}, {reading.profile}",
        issuer=f"{about.issuer} ({reading.build})",
        subject=", ".join(reading.submods),
        stance=_STANCES[reading.worst],
        said=reading.worst,
        issued_at=reading.issued_at,
        expires=reading.expires,
        signer=signer,
        checks=tuple(checks),
        parts=tuple([_part(attester, submod) for attester, submod in reading.submods.items()]),
        claims=reading.claims,
    )


def _opened(token: bytes, keys: KeySet, expected: Expected, checks: list[Check]) -> tuple[Reading, Signer]:
    if token[:1].isalpha() and b"." in token:
        jws = jose.loads(token, what=title)
        reading = ear_read.read_json(jws.payload)
        return reading, signed_by(jws, keys, expected, checks, algorithms=_ALGORITHMS, what=title)
    message = cwt.loads(token, what=title)
    reading = ear_read.read_cbor(message.payload)
    signer = cwt.verify(message, keys, algorithms=_ALGORITHMS, check="token.signature", what=title)
    checks.append(signature_check(signer))
    return reading, signer


def _check_consistency(reading: Reading, checks: list[Check]) -> None:
    found = ear_read.better_than_part(reading)
    if found is not None:
        where, status, part = found
        raise VerificationError(
            "token-better-than-part", check="token.consistency", what=where, actual=status, part=part
        )
    bare = tuple([one for one, submod in reading.submods.items() if submod.vector is None])
    checks.append(
        skipped("token.consistency", "ear-no-vector", attesters=bare) if bare else passed("token.consistency")
    )


def _part(attester: str, submod: Submodule) -> Part:
    vector: dict[str, object] = {} if submod.vector is None else _made(submod.vector)
    return Part(attester, submod.status, {**vector, "policies": list(submod.policies), **submod.extensions})


def _made(vector: TrustVector) -> dict[str, object]:
    made = {claim: getattr(vector, claim.replace("-", "_")) for claim in CLAIMS}
    return {claim: value for claim, value in made.items() if value is not None}
