# SPDX-License-Identifier: Apache-2.0
"""Other verifiers' tokens, read as opinions: who says what, signed by a key that the caller pinned.

Nothing here asks a network: keys come from a file of the caller's, times and nonces are arguments. A kind of
token is a module with ``name``, ``title``, ``recognises`` and ``verify``.
"""

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import msgspec

from nacre.appraisal.ear_names import PROFILES, claims_from_cbor
from nacre.appraisal.opinions.base import Expected, Kind, Opinion, Part, Stance, claims_of, misshapen
from nacre.errors import ConfigurationError, MalformedEvidence, UnsupportedEvidence, VerificationError
from nacre.trust import base64url, cbor, cwt, jose, json
from nacre.trust.jwk import KeySet

if TYPE_CHECKING:
    from nacre.checks import Check

__all__ = [
    "KINDS",
    "Expected",
    "Kind",
    "Opinion",
    "Part",
    "Shown",
    "Stance",
    "kind_of",
    "show",
    "verify",
]

#: The kinds of token, by name; each is loaded when it is needed.
KINDS: Final = ("ear", "maa", "confidential-space", "nras", "trust-authority")


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A token as it stands there. Nothing of it was verified.

    Attributes:
        kind: The kind of token; empty if none is known.
        form: ``JWT``, ``CWT``, ``bundle`` or ``claims`` (nobody signed those).
        algorithm: What it says it is signed with.
        key_id: What it calls the key.
        untrusted: Members of its header that bring or point to keys, and that are never used.
        claims: Its claims, under the names that JSON has for them.
        parts: The tokens of a bundle, by name: their claims.
    """

    kind: str
    form: str
    algorithm: str = ""
    key_id: str = ""
    untrusted: tuple[str, ...] = ()
    claims: Mapping[str, object]
    parts: Mapping[str, Mapping[str, object]] = {}


def verify(token: bytes, *, keys: KeySet, expected: Expected, kind: str = "") -> Opinion:
    """Verify another verifier's token and return what it says. Does no I/O.

    Args:
        token: A JWT in compact form, a CWT, or a detached bundle.
        keys: What the caller trusts for signatures (:func:`nacre.trust.jwk.read_keys`).
        expected: What the caller demands.
        kind: One of ``KINDS``, where the caller knows; else it is told by the claims.

    Raises:
        UnsupportedEvidence: ``token-kind``, ``ear-profile``, ``jws-critical``.
        MalformedEvidence: It is no such token.
        ConfigurationError: ``token-issuer-needed``, ``token-audience-needed``, ``token-kind-unknown``.
        VerificationError: It is not genuine, not current, or not meant for the caller; ``trail`` has the
            checks that held.
    """
    module = _kind(kind or kind_of(token))
    checks: list[Check] = []
    try:
        return module.verify(token, keys, expected, checks)
    except VerificationError as error:
        error.trail = tuple(checks)
        raise


def kind_of(token: bytes) -> str:
    """Tell by its claims of which kind a token is; whoever wrote it may lie, and then does not verify.

    Raises:
        UnsupportedEvidence: ``token-kind``, ``ear-profile``.
        MalformedEvidence: ``token-unsigned``, or it is no token.
    """
    shown = show(token)
    if shown.form == "claims":
        raise MalformedEvidence("token-unsigned")
    if shown.kind:
        return shown.kind
    if "ear_verifier_id" in shown.claims or "ear.verifier-id" in shown.claims:
        profile = repr(shown.claims.get("eat_profile"))[:80]
        raise UnsupportedEvidence("ear-profile", expected=PROFILES, actual=profile)
    raise UnsupportedEvidence("token-kind", expected=KINDS)


def show(token: bytes) -> Shown:
    """Take a token apart, verifying nothing: JWT, CWT, detached bundle, or a bare claims set.

    Raises:
        MalformedEvidence: It is none of them.
        UnsupportedEvidence: ``jws-critical``.
    """
    if token[:1] == b"[":
        return _show_bundle(token)
    if token[:1] == b"{":
        claims = claims_of(token, what=_WHAT)
        return Shown(kind=_told(claims), form="claims", claims=claims)
    if token[:1].isalpha() and b"." in token:
        jws = jose.loads(token, what=_WHAT)
        claims = claims_of(jws.payload, what=_WHAT)
        return Shown(
            kind=_told(claims),
            form="JWT",
            algorithm=jws.algorithm,
            key_id=jws.key_id,
            untrusted=jws.untrusted + (("x5c",) if jws.chain else ()),
            claims=claims,
        )
    return _show_cbor(token)


def _show_cbor(token: bytes) -> Shown:
    if token[:1] in _COSE_HEADS:
        message = cwt.loads(token, what=_WHAT)
        claims = _cbor_claims(message.payload)
        return Shown(
            kind=_told(claims),
            form="CWT",
            algorithm=message.algorithm,
            key_id=message.key_id,
            claims=claims,
        )
    claims = _cbor_claims(token)
    return Shown(kind=_told(claims), form="claims", claims=claims)


def _cbor_claims(payload: bytes) -> dict[str, object]:
    claims = cbor.loads(payload, what=_WHAT, limit=cwt.MAX_TOKEN)
    if not isinstance(claims, dict):
        raise misshapen(_WHAT, "claims", "a map")
    return claims_from_cbor(claims)


def _show_bundle(token: bytes) -> Shown:
    whole = json.loads(token, what=_WHAT, limit=jose.MAX_TOKEN)
    match whole:
        case [["JWT", str(overall)], dict(parts)]:
            shown = show(overall.encode("ascii", "replace"))
            read = {name: _part_claims(part) for name, part in parts.items()}
            return msgspec.structs.replace(shown, form="bundle", parts=read)
        case _:
            raise misshapen(_WHAT, "bundle", 'the form [["JWT", token], {name: token}]')


def _part_claims(part: object) -> Mapping[str, object]:
    """Read a part: a token, or a claims set in base64url that the digest above vouches for."""
    if isinstance(part, str) and "." in part:
        return show(part.encode("ascii", "replace")).claims
    if not isinstance(part, str):
        raise misshapen(_WHAT, "bundle", "text for each part")
    return claims_of(base64url.decode(part, what=_WHAT), what=_WHAT)


def _told(claims: Mapping[str, object]) -> str:
    return next((name for name in KINDS if _kind(name).recognises(claims)), "")


def _kind(name: str) -> Kind:
    if name not in KINDS:
        raise ConfigurationError("token-kind-unknown", actual=name, expected=KINDS)
    kind: Kind = importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
    return kind


_WHAT = "token"
# An array of four, tag 18, or tag 61.
_COSE_HEADS = (b"\x84", b"\xd2", b"\xd8")
