# SPDX-License-Identifier: Apache-2.0
"""Tokens of Microsoft Azure Attestation (MAA).

Every customer may have a provider of its own, and a shared one attests for everybody's machines under its
default policy; so the caller has to say which provider it means. The header's ``jku`` is never followed.

Source: Microsoft, "Claim sets in Azure Attestation" and "Examples of an attestation token".
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
    signed_by,
    text,
    texts,
    token_of,
)
from nacre.checks import Check, warned
from nacre.trust import jose
from nacre.trust.jwk import KeySet

__all__ = ["name", "recognises", "title", "verify"]

name: Final = "maa"
title: Final = "Azure Attestation token"

_ALGORITHMS = frozenset({"RS256"})
_TYPE = "x-ms-attestation-type"
_NESTED = ("x-ms-isolation-tee", "x-ms-runtime", "x-ms-policy")


def recognises(claims: Mapping[str, object]) -> bool:
    """Tell whether claims are such as this service makes."""
    return "x-ms-ver" in claims and _TYPE in claims


def verify(token: bytes, keys: KeySet, expected: Expected, checks: list[Check]) -> Opinion:
    """Verify a token: signature, issuer, time, audience, nonce; then look at what it warns of.

    The service issues a token only if its policy lets it: a token affirms what that policy demands, and its
    hash is among the claims.
    """
    jws = jose.loads(token, what=title)
    claims = claims_of(jws.payload, what=title)
    runtime = claims.get("x-ms-runtime")
    nonces = texts(claims, "nonce", what=title)
    if isinstance(runtime, dict):
        nonces += texts(runtime, "nonce", what=title)
    about = token_of(claims, what=title, nonces=nonces)
    attested = text(claims, _TYPE, what=title)
    signer = signed_by(jws, keys, expected, checks, algorithms=_ALGORITHMS, what=title)
    check_token(about, expected, checks, issuers=(), what=title)
    checks.extend(_cautions(claims))
    return Opinion(
        kind=name,
        title=title,
        issuer=about.issuer,
        subject=attested,
        stance=Stance.AFFIRMS,
        said=f"issued under policy {text(claims, 'x-ms-policy-hash', what=title, default='(none)')}",
        issued_at=about.issued_at,
        expires=about.expires,
        signer=signer,
        checks=tuple(checks),
        parts=(),
        claims=claims,
    )


def _cautions(claims: Mapping[str, object]) -> Iterator[Check]:
    for where, value in _walk(claims):
        if where.endswith(("is-debuggable", "is_debuggable", "attributes_debug")) and is_true(value):
            yield warned("token.debug", "token-debug", what=title, claim=where, actual=str(value))
        if where.endswith("migration-allowed") and is_true(value):
            yield warned("token.platform", "token-platform", what=title, claim=where, actual=str(value))


def _walk(claims: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    yield from claims.items()
    for nested in _NESTED:
        inner = claims.get(nested)
        if isinstance(inner, dict):
            yield from _walk(inner)
