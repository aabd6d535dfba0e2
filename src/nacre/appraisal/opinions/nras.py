# SPDX-License-Identifier: Apache-2.0
"""The answers of NVIDIA's Remote Attestation Service (NRAS): a detached EAT bundle.

``[["JWT", overall], {"GPU-0": JWT, …}]``: the overall token holds the digest of each device's token.

1. The overall token is signed by a pinned key, current, from NVIDIA, and answers the nonce.
2. Every device that it names has a token with that digest, and no token is there that it does not name.
3. Each device's token is signed by a pinned key, current, from the same issuer, for the same nonce.
4. The overall result is no better than any device's.

Source: RFC 9711, 5 (detached bundles) and 4.2.18.1.3; NVIDIA Attestation Suite, "Claims".
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Final

from nacre.appraisal.opinions.base import (
    Expected,
    Opinion,
    Part,
    Stance,
    Token,
    check_token,
    claims_of,
    misshapen,
    signed_by,
    text,
    texts,
    token_of,
)
from nacre.checks import Check, passed, warned
from nacre.errors import MalformedEvidence, VerificationError
from nacre.trust import jose, json
from nacre.trust.jwk import KeySet

__all__ = ["ISSUER", "MAX_DEVICES", "name", "recognises", "title", "verify"]

name: Final = "nras"
title: Final = "NVIDIA attestation"
ISSUER: Final = "https://nras.attestation.nvidia.com"
#: Devices of one bundle. The largest real ones have eight GPUs, or four switches.
MAX_DEVICES: Final = 64

_ALGORITHMS = frozenset({"ES384"})
_OVERALL = "x-nvidia-overall-att-result"
_HEX = re.compile("[0-9a-f]{64}\\Z")
_SHA256 = ("SHA-256", "SHA256")
_GOOD: Mapping[str, tuple[object, ...]] = {
    "measres": ("success",),
    "x-nvidia-cert-status": ("valid",),
    "x-nvidia-cert-ocsp-status": ("good",),
}
_WARNING = "x-nvidia-attestation-warning"


def recognises(claims: Mapping[str, object]) -> bool:
    """Tell whether claims are those of an overall token."""
    return _OVERALL in claims and "submods" in claims


def verify(token: bytes, keys: KeySet, expected: Expected, checks: list[Check]) -> Opinion:
    """Verify a bundle, in the steps of this module."""
    overall, devices = _split(token)
    jws = jose.loads(overall, what=title)
    claims = claims_of(jws.payload, what=title)
    about = _about(claims, title)
    digests, result = _digests(claims), claims.get(_OVERALL)
    if not isinstance(result, bool):
        raise misshapen(title, _OVERALL, "true or false")
    signer = signed_by(jws, keys, expected, checks, algorithms=_ALGORITHMS, what=title)
    check_token(about, expected, checks, issuers=(ISSUER,), what=title)
    _check_digests(digests, devices)
    checks.append(passed("token.devices", devices=tuple(devices)))
    # What the overall token was issued by and answers, the others have to, too.
    same = Expected(at=expected.at, issuers=(about.issuer,), max_age=expected.max_age)
    parts = [_device(device, one, keys, same, about) for device, one in devices.items()]
    _check_consistency(parts, overall=result)
    checks.append(passed("token.consistency"))
    for part in parts:
        checks.extend(_cautions(part))
    return Opinion(
        kind=name,
        title=title,
        issuer=about.issuer,
        subject=", ".join(devices),
        stance=Stance.AFFIRMS if result else Stance.OBJECTS,
        said="passed" if result else "failed",
        issued_at=about.issued_at,
        expires=about.expires,
        signer=signer,
        checks=tuple(checks),
        parts=tuple(parts),
        claims=claims,
    )


def _split(bundle: bytes) -> tuple[bytes, dict[str, bytes]]:
    whole = json.loads(bundle, what=title, limit=jose.MAX_TOKEN)
    match whole:
        case [["JWT", str(overall)], dict(devices)] if all(isinstance(one, str) for one in devices.values()):
            if len(devices) > MAX_DEVICES:
                raise MalformedEvidence("too-many", what=title, expected=MAX_DEVICES, actual=len(devices))
            return _ascii(overall), {device: _ascii(str(one)) for device, one in devices.items()}
        case _:
            raise misshapen(title, "bundle", 'the form [["JWT", token], {device: token}]')


def _ascii(token: str) -> bytes:
    # What is not ASCII is no token; the reader of tokens says so.
    return token.encode("ascii", "replace")


def _about(claims: Mapping[str, object], what: str) -> Token:
    return token_of(claims, what=what, nonces=texts(claims, "eat_nonce", what=what))


def _digests(claims: Mapping[str, object]) -> dict[str, bytes]:
    submods = claims.get("submods")
    if not isinstance(submods, dict) or not submods:
        raise misshapen(title, "submods", "at least one device")
    return {device: _digest(device, submod) for device, submod in submods.items()}


def _digest(device: str, submod: object) -> bytes:
    match submod:
        case ["DIGEST", [str(algorithm), str(value)]] if algorithm in _SHA256 and _HEX.match(value):
            return bytes.fromhex(value)
        case _:
            raise misshapen(title, f"submods.{device}", '["DIGEST", ["SHA-256", hex]]')


def _check_digests(digests: Mapping[str, bytes], devices: Mapping[str, bytes]) -> None:
    check = "token.devices"
    missing, strange = sorted(digests.keys() - devices.keys()), sorted(devices.keys() - digests.keys())
    if missing or strange:
        raise VerificationError(
            "nras-devices", check=check, what=title, missing=tuple(missing), strange=tuple(strange)
        )
    for device, token in devices.items():
        actual = hashlib.sha256(token).digest()
        if actual != digests[device]:
            raise VerificationError(
                "nras-digest", check=check, what=device, expected=digests[device], actual=actual
            )


def _device(device: str, token: bytes, keys: KeySet, expected: Expected, overall: Token) -> Part:
    what = f"{title} of {device}"
    jws = jose.loads(token, what=what)
    claims = claims_of(jws.payload, what=what)
    about = _about(claims, what)
    signed_by(jws, keys, expected, [], algorithms=_ALGORITHMS, what=what)
    check_token(about, expected, [], issuers=(), what=what)
    if about.nonces != overall.nonces:
        raise VerificationError(
            "token-nonce", check="token.nonce", what=what, expected=overall.nonces, actual=about.nonces
        )
    return Part(device, text(claims, "measres", what=what), claims)


def _check_consistency(parts: list[Part], *, overall: bool) -> None:
    """A result is as good as its worst device: an overall yes over a device's no is refused."""
    for part in parts:
        for where, value in _bad(part.claims):
            if overall:
                raise VerificationError(
                    "token-better-than-part",
                    check="token.consistency",
                    what=title,
                    actual="passed",
                    part=f"{part.name}: {where} {value}",
                )


def _bad(claims: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """Yield what a device's token says against it."""
    for claim, value in claims.items():
        if claim in _GOOD:
            if value not in _GOOD[claim]:
                yield claim, value
        elif value is False and (claim.startswith("x-nvidia-") or claim == "secboot"):
            yield claim, value
        elif isinstance(value, dict):
            yield from _bad(value)


def _cautions(part: Part) -> Iterator[Check]:
    debug = part.claims.get("dbgstat")
    if debug != "disabled":
        yield warned(
            "token.debug", "token-debug", what=title, claim=f"{part.name}: dbgstat", actual=str(debug)
        )
    if part.claims.get(_WARNING) is not None:
        yield warned(
            "token.platform",
            "token-platform",
            what=title,
            claim=f"{part.name}: {_WARNING}",
            actual=str(part.claims[_WARNING]),
        )
