# SPDX-License-Identifier: Apache-2.0
"""What another verifier says, and under which conditions we repeat it.

An opinion is never a verdict of ours: we did not see the evidence. It is shown with its issuer and with the
pinned key that signed it, and it enters no Result as if we had checked anything but the token.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from enum import StrEnum
from typing import Final, Protocol

import msgspec

from nacre.checks import Check, passed, skipped, warned
from nacre.errors import ConfigurationError, MalformedEvidence, VerificationError
from nacre.trust import base64url, jose, json
from nacre.trust.jose import MAX_TOKEN, Jws, Signer
from nacre.trust.jwk import KeySet

__all__ = [
    "LEEWAY",
    "Expected",
    "Kind",
    "Opinion",
    "Part",
    "Stance",
    "Token",
    "check_token",
    "claims_of",
    "is_true",
    "misshapen",
    "signature_check",
    "signed_by",
    "text",
    "texts",
    "token_of",
]

#: How far the issuer's clock may be ahead of the caller's, seconds. Nothing is forgiven at the end.
LEEWAY: Final = 60

_NONCE_BYTES = range(8, 65)


class Stance(StrEnum):
    """What the issuer says on the whole."""

    AFFIRMS = "affirms"
    RESERVES = "has reservations"
    SILENT = "does not judge"
    OBJECTS = "objects"


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """What the caller demands of a token.

    Attributes:
        at: Now, Unix seconds.
        issuers: Who may have issued it, exactly; empty: whoever this kind of token always comes from.
        audience: For whom it has to be. A token that names an audience is refused without this.
        nonce: What it has to answer: bytes in any of their usual encodings, or text exactly.
        max_age: Seconds since its issue that it may have at most; for tokens that state no end, above all.
    """

    at: int
    issuers: tuple[str, ...] = ()
    audience: str | None = None
    nonce: bytes | str | None = None
    max_age: int | None = None


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """What every kind of token says about itself.

    Attributes:
        issuer: Who issued it.
        issued_at: Unix seconds.
        not_before: Unix seconds, if stated.
        expires: Unix seconds, if stated.
        audience: For whom it is; empty if it does not say.
        nonces: What it answers, as it writes them.
    """

    issuer: str
    issued_at: int
    not_before: int | None
    expires: int | None
    audience: tuple[str, ...]
    nonces: tuple[str, ...]


class Part(msgspec.Struct, frozen=True):
    """What the issuer says about one of several attesters.

    Attributes:
        name: What the token calls it.
        said: The issuer's word.
        claims: The issuer's claims about it.
    """

    name: str
    said: str
    claims: Mapping[str, object]


class Opinion(msgspec.Struct, frozen=True, kw_only=True):
    """What another verifier says, in a token that is genuine, current and meant for the caller.

    Attributes:
        kind: The kind of token.
        title: What people call it.
        issuer: Who says it.
        subject: About whom or what, as the issuer names it.
        stance: What it amounts to.
        said: The issuer's own word.
        issued_at: Unix seconds.
        expires: Unix seconds; None if it never does.
        signer: The pinned key that signed it.
        checks: What was checked of the token, and which of its claims call for attention.
        parts: Where it is about several attesters: each.
        claims: Everything that it claims.
    """

    kind: str
    title: str
    issuer: str
    subject: str
    stance: Stance
    said: str
    issued_at: int
    expires: int | None
    signer: Signer
    checks: tuple[Check, ...]
    parts: tuple[Part, ...]
    claims: Mapping[str, object]


class Kind(Protocol):
    """A kind of token that is read here: one module each."""

    name: str
    title: str

    def recognises(self, claims: Mapping[str, object]) -> bool:
        """Tell by its claims whether a token is of this kind; they are not verified yet."""

    def verify(self, token: bytes, keys: KeySet, expected: Expected, checks: list[Check]) -> Opinion:
        """Verify a token; add each check that was made to ``checks``, so that a failure can show them."""


def claims_of(payload: bytes, *, what: str) -> dict[str, object]:
    """Decode the claims of a JWT.

    Raises:
        MalformedEvidence: ``token-claim``, or as ``json.loads``.
    """
    claims = json.loads(payload, what=what, limit=MAX_TOKEN)
    if not isinstance(claims, dict):
        raise misshapen(what, "claims", "an object")
    return claims


def signed_by(
    jws: Jws,
    keys: KeySet,
    expected: Expected,
    checks: list[Check],
    *,
    algorithms: AbstractSet[str],
    what: str,
) -> Signer:
    """Verify the signature of a JWT and add the check.

    Raises:
        VerificationError: As ``jose.verify``.
    """
    signer = jose.verify(jws, keys, algorithms=algorithms, at=expected.at, check="token.signature", what=what)
    checks.append(signature_check(signer))
    return signer


def signature_check(signer: Signer) -> Check:
    """Say which pinned key signed a token."""
    return passed("token.signature", key=signer.key_id or signer.digest.hex(), algorithm=signer.algorithm)


def token_of(claims: Mapping[str, object], *, what: str, nonces: tuple[str, ...]) -> Token:
    """Read what a JWT says about itself.

    Raises:
        MalformedEvidence: ``token-claim``.
    """
    return Token(
        issuer=text(claims, "iss", what=what),
        issued_at=_seconds(claims, "iat", what),
        not_before=_seconds(claims, "nbf", what) if "nbf" in claims else None,
        expires=_seconds(claims, "exp", what) if "exp" in claims else None,
        audience=texts(claims, "aud", what=what),
        nonces=nonces,
    )


def check_token(
    token: Token, expected: Expected, checks: list[Check], *, issuers: tuple[str, ...] | None, what: str
) -> None:
    """Hold a token against what the caller demands, one check after the other.

    Args:
        token: What it says about itself.
        expected: What the caller demands.
        checks: Where each check that holds is added, so that those before a failure are kept.
        issuers: Who may have issued it if the caller does not say; empty if the caller has to; None if it is
            the pinned key that says who.
        what: What errors call the token.

    Raises:
        ConfigurationError: ``token-issuer-needed``, ``token-audience-needed``.
        VerificationError: ``token-issuer``, ``token-future``, ``token-not-yet``, ``token-expired``,
            ``token-old``, ``token-audience`` or ``token-nonce``.
    """
    checks.append(_issuer(token, expected.issuers or issuers, what))
    checks.append(_times(token, expected, what))
    checks.append(_audience(token, expected.audience, what))
    checks.append(_nonce(token, expected.nonce, what))


def _issuer(token: Token, issuers: tuple[str, ...] | None, what: str) -> Check:
    if issuers is None:
        return skipped("token.issuer", "token-issuer-unasked", issuer=token.issuer)
    if not issuers:
        raise ConfigurationError("token-issuer-needed", what=what, actual=token.issuer)
    if token.issuer not in issuers:
        raise VerificationError(
            "token-issuer", check="token.issuer", what=what, expected=issuers, actual=token.issuer
        )
    return passed("token.issuer", issuer=token.issuer)


def _times(token: Token, expected: Expected, what: str) -> Check:
    check, at = "token.time", expected.at
    if token.issued_at > at + LEEWAY:
        raise VerificationError("token-future", check=check, what=what, actual=token.issued_at, at=at)
    if token.not_before is not None and token.not_before > at + LEEWAY:
        raise VerificationError("token-not-yet", check=check, what=what, actual=token.not_before, at=at)
    if token.expires is not None and token.expires <= at:
        raise VerificationError("token-expired", check=check, what=what, actual=token.expires, at=at)
    if expected.max_age is not None and at - token.issued_at > expected.max_age:
        raise VerificationError(
            "token-old", check=check, what=what, expected=expected.max_age, actual=at - token.issued_at
        )
    if token.expires is None and expected.max_age is None:
        return warned(check, "token-endless", what=what)
    return passed(check)


def _audience(token: Token, audience: str | None, what: str) -> Check:
    if audience is None:
        if token.audience:
            raise ConfigurationError("token-audience-needed", what=what, actual=token.audience)
        return skipped("token.audience", "token-no-audience")
    if audience not in token.audience:
        raise VerificationError(
            "token-audience", check="token.audience", what=what, expected=audience, actual=token.audience
        )
    return passed("token.audience", audience=audience)


def _nonce(token: Token, nonce: bytes | str | None, what: str) -> Check:
    if nonce is None:
        return skipped("token.nonce", "token-no-nonce")
    if not _forms(nonce).intersection(token.nonces):
        raise VerificationError(
            "token-nonce", check="token.nonce", what=what, expected=nonce, actual=token.nonces
        )
    return passed("token.nonce")


def _forms(nonce: bytes | str) -> frozenset[str]:
    """Return how issuers write a nonce: as they got it, in hex or base64url."""
    if isinstance(nonce, str):
        return frozenset({nonce})
    if len(nonce) not in _NONCE_BYTES:
        raise ConfigurationError("ear-nonce", actual=len(nonce))
    plain = base64url.encode(nonce)
    return frozenset({nonce.hex(), plain, plain + "=" * (-len(plain) % 4)})


def text(claims: Mapping[str, object], name: str, *, what: str, default: str | None = None) -> str:
    """Return a claim that is text.

    Raises:
        MalformedEvidence: ``token-claim``.
    """
    value = claims.get(name, default)
    if not isinstance(value, str):
        raise misshapen(what, name, "text")
    return value


def texts(claims: Mapping[str, object], name: str, *, what: str) -> tuple[str, ...]:
    """Return a claim that is text or a list of texts, or absent.

    Raises:
        MalformedEvidence: ``token-claim``.
    """
    value = claims.get(name, [])
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not all(isinstance(one, str) for one in values):
        raise misshapen(what, name, "text, or a list of texts")
    return tuple(values)


def is_true(value: object) -> bool:
    """Tell whether a claim is true, however its issuer writes that."""
    return value is True or (isinstance(value, str) and value.lower() == "true")


def _seconds(claims: Mapping[str, object], name: str, what: str) -> int:
    value = claims.get(name)
    if type(value) is not int or value < 0:
        raise misshapen(what, name, "whole seconds since 1970")
    return value


def misshapen(what: str, claim: str, expected: str) -> MalformedEvidence:
    """Make the error that says that a claim has another form than its kind of token demands."""
    return MalformedEvidence("token-claim", what=what, claim=claim, expected=expected)
