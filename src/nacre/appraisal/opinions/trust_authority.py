# SPDX-License-Identifier: Apache-2.0
"""Tokens of Intel Trust Authority.

Unless it is asked to, the service issues a token whether or not the policies match: what it says about them
is the opinion. The issuer is the caller's to name, since it differs by region and by version.

Source: Intel Trust Authority EAT profile 1.0.1; documentation, "Attestation tokens and claims".
"""

from collections.abc import Iterator, Mapping
from typing import Final

from nacre.appraisal.opinions.base import (
    Expected,
    Opinion,
    Stance,
    check_token,
    claims_of,
    is_true,
    misshapen,
    signed_by,
    texts,
    token_of,
)
from nacre.checks import Check, warned
from nacre.trust import jose
from nacre.trust.jwk import KeySet

__all__ = ["name", "recognises", "title", "verify"]

name: Final = "trust-authority"
title: Final = "Intel Trust Authority token"

_ALGORITHMS = frozenset({"PS384", "RS256"})
_PROFILES = (
    "https://portal.trustauthority.intel.com/eat_profile.html",
    "https://portal.eu.trustauthority.intel.com/eat_profile.html",
)
_ATTESTERS = ("tdx", "sgx", "sevsnp", "tpm", "nvgpu")
_DEBUG = ("is_debuggable", "attributes_debug")
_MATCHED, _UNMATCHED = "policy_ids_matched", "policy_ids_unmatched"


def recognises(claims: Mapping[str, object]) -> bool:
    """Tell whether claims are such as this service makes."""
    return claims.get("eat_profile") in _PROFILES or "attester_type" in claims


def verify(token: bytes, keys: KeySet, expected: Expected, checks: list[Check]) -> Opinion:
    """Verify a token: signature, issuer, time, audience, nonce; then look at what it warns of."""
    jws = jose.loads(token, what=title)
    claims = claims_of(jws.payload, what=title)
    about = token_of(claims, what=title, nonces=_nonces(claims))
    matched, unmatched = _policies(claims, _MATCHED), _policies(claims, _UNMATCHED)
    attesters = dict(_attesters(claims))
    signer = signed_by(jws, keys, expected, checks, algorithms=_ALGORITHMS, what=title)
    check_token(about, expected, checks, issuers=(), what=title)
    checks.extend(_cautions(attesters))
    return Opinion(
        kind=name,
        title=title,
        issuer=about.issuer,
        subject=", ".join(attesters),
        stance=Stance.OBJECTS if unmatched else Stance.AFFIRMS if matched else Stance.SILENT,
        said=f"{matched} policies match, {unmatched} do not",
        issued_at=about.issued_at,
        expires=about.expires,
        signer=signer,
        checks=tuple(checks),
        parts=(),
        claims=claims,
    )


def _policies(claims: Mapping[str, object], claim: str) -> int:
    value = claims.get(claim)
    if value is not None and not isinstance(value, list):
        raise misshapen(title, claim, "a list")
    return len(value or [])


def _nonces(claims: Mapping[str, object]) -> tuple[str, ...]:
    """Return what the token answers: the service's own nonce, or one that the attester brought."""
    signed = claims.get("verifier_nonce")
    own = texts(signed, "val", what=title) if isinstance(signed, dict) else ()
    return own + texts(claims, "eat_nonce", what=title)


def _attesters(claims: Mapping[str, object]) -> Iterator[tuple[str, Mapping[str, object]]]:
    """Yield the claims about each attester: on top in tokens of version 1, nested in those of version 2."""
    if "attester_type" in claims:
        yield str(claims["attester_type"]), claims
    for attester in _ATTESTERS:
        nested = claims.get(attester)
        if isinstance(nested, dict):
            yield attester.upper(), nested


def _cautions(attesters: Mapping[str, Mapping[str, object]]) -> Iterator[Check]:
    for attester, claims in attesters.items():
        for claim, value in claims.items():
            where = f"{attester}: {claim}"
            if _says_debug(claim, value):
                yield warned("token.debug", "token-debug", what=title, claim=where, actual=str(value))
            elif _says_bad(claim, value):
                yield warned("token.platform", "token-platform", what=title, claim=where, actual=str(value))


def _says_debug(claim: str, value: object) -> bool:
    return value in ("enabled", 0) if claim == "dbgstat" else claim.endswith(_DEBUG) and is_true(value)


def _says_bad(claim: str, value: object) -> bool:
    if claim == "attester_tcb_status":
        return value != "UpToDate"
    return claim == "x-nvidia-overall-att-result" and not is_true(value)
