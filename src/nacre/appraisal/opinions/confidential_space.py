# SPDX-License-Identifier: Apache-2.0
"""Tokens of Google Cloud Attestation for Confidential Space and other Confidential VMs.

Two kinds: signed by a published key (pin its JWK set), or by a leaf under Google's Confidential Space root
(pin that root; the token brings the chain).

Source: Google Cloud, Confidential Space, "Attestation token claims" and "Validate tokens".
"""

from collections.abc import Iterator, Mapping
from typing import Final

from nacre.appraisal.opinions.base import (
    Expected,
    Opinion,
    Stance,
    check_token,
    claims_of,
    signed_by,
    text,
    texts,
    token_of,
)
from nacre.checks import Check, warned
from nacre.trust import jose
from nacre.trust.jwk import KeySet

__all__ = ["ISSUER", "name", "recognises", "title", "verify"]

name: Final = "confidential-space"
title: Final = "Google Cloud Attestation token"
ISSUER: Final = "https://confidentialcomputing.googleapis.com"

_ALGORITHMS = frozenset({"RS256"})
# Google is verifier and hypervisor at once where no processor signs anything.
_WEAK = frozenset({"GCP_AMD_SEV", "GCP_AMD_SEV_ES", "GCP_SHIELDED_VM"})


def recognises(claims: Mapping[str, object]) -> bool:
    """Tell whether claims are such as this service makes."""
    return str(claims.get("hwmodel", "")).startswith("GCP_") and "dbgstat" in claims


def verify(token: bytes, keys: KeySet, expected: Expected, checks: list[Check]) -> Opinion:
    """Verify a token: signature, issuer, time, audience, nonce; then look at what it warns of."""
    jws = jose.loads(token, what=title)
    claims = claims_of(jws.payload, what=title)
    about = token_of(claims, what=title, nonces=texts(claims, "eat_nonce", what=title))
    signer = signed_by(jws, keys, expected, checks, algorithms=_ALGORITHMS, what=title)
    check_token(about, expected, checks, issuers=(ISSUER,), what=title)
    checks.extend(_cautions(claims))
    return Opinion(
        kind=name,
        title=title,
        issuer=about.issuer,
        subject=text(claims, "sub", what=title, default=""),
        stance=Stance.AFFIRMS,
        said=f"issued for {text(claims, 'hwmodel', what=title)}",
        issued_at=about.issued_at,
        expires=about.expires,
        signer=signer,
        checks=tuple(checks),
        parts=(),
        claims=claims,
    )


def _cautions(claims: Mapping[str, object]) -> Iterator[Check]:
    debug, model = claims.get("dbgstat"), claims.get("hwmodel")
    if debug != "disabled-since-boot":
        yield warned("token.debug", "token-debug", what=title, claim="dbgstat", actual=str(debug))
    if claims.get("secboot") is not True:
        yield _caution("secboot", claims.get("secboot"))
    if model in _WEAK:
        yield _caution("hwmodel", model)
    if claims.get("swname") != "CONFIDENTIAL_SPACE":
        yield _caution("swname", claims.get("swname"))
        return
    submods = claims.get("submods")
    space = submods.get("confidential_space") if isinstance(submods, dict) else None
    attributes = space.get("support_attributes") if isinstance(space, dict) else None
    if not isinstance(attributes, list) or "STABLE" not in attributes:
        yield _caution("submods.confidential_space.support_attributes", attributes)


def _caution(claim: str, value: object) -> Check:
    return warned("token.platform", "token-platform", what=title, claim=claim, actual=str(value))
