# SPDX-License-Identifier: Apache-2.0
"""Reading an EAT Attestation Result (EAR) of somebody else's, JWT or CWT, in any deployed profile.

Strict, but for one thing that deployed tokens force: before draft -03 the time of issue may be written as a
floating-point number that is whole (the draft's own appendix has one).

1. The claims are those that the profile demands, each of its type.
2. A pinned key signed it (:mod:`nacre.trust.jose`, :mod:`nacre.trust.cwt`).
3. It is current, answers the caller's nonce, and comes from the verifier that the caller named.
4. No status is better than the worst of what it sums up.

Source: draft-ietf-rats-ear-03, 3; draft-ietf-rats-ar4si, 2.3.
"""

from collections.abc import Mapping
from typing import Final, NoReturn

import msgspec

from nacre.appraisal.ar4si import CLAIMS, Tier, TrustVector, tier
from nacre.appraisal.ear_names import DRAFT_03, PROFILES, TIERS, claims_from_cbor, undotted
from nacre.errors import MalformedEvidence, UnsupportedEvidence
from nacre.trust import base64url, cbor, json

__all__ = ["MAX_CLAIMS", "Reading", "Submodule", "better_than_part", "read", "read_cbor", "read_json"]

#: Bytes of a claims set.
MAX_CLAIMS: Final = 512 * 1024

_WHAT = "EAR"
_NONCE = range(8, 89)
_BADNESS: Mapping[str, int] = {"affirming": 0, "none": 1, "warning": 2, "contraindicated": 3}
_KNOWN = frozenset(
    {
        *("eat_profile", "eat_nonce", "ear_status", "ear_trustworthiness_vector"),
        "ear_appraisal_policy_ids",
    }
)
_VALUES = range(-128, 128)


class Submodule(msgspec.Struct, frozen=True):
    """What the verifier found about one attester.

    Attributes:
        status: Its word on the whole.
        vector: Its claims; None if it left them out.
        policies: The policies it applied.
        nonces: The nonces that the evidence answered, as JSON writes them.
        extensions: What profiles add, by name: not interpreted here.
    """

    status: Tier
    vector: TrustVector | None
    policies: tuple[str, ...]
    nonces: tuple[str, ...]
    extensions: Mapping[str, object]


class Reading(msgspec.Struct, frozen=True):
    """The claims of an EAR. By itself it says nothing about who wrote it.

    Attributes:
        profile: The profile's tag.
        status: The verifier's word on all attesters together; None if it has none.
        issued_at: Unix seconds.
        not_before: Unix seconds, if stated.
        expires: Unix seconds, if stated.
        developer: Who made the verifier.
        build: Which build of it.
        issuer: The ``iss`` claim; empty if absent.
        audience: The ``aud`` claim.
        nonces: The nonces of whoever asked for the EAR, as JSON writes them.
        raw_evidence: The evidence, if it goes along.
        submods: Attester to what was found.
        claims: All claims, under the names of draft -03.
    """

    profile: str
    status: Tier | None
    issued_at: int
    not_before: int | None
    expires: int | None
    developer: str
    build: str
    issuer: str
    audience: tuple[str, ...]
    nonces: tuple[str, ...]
    raw_evidence: bytes | None
    submods: Mapping[str, Submodule]
    claims: Mapping[str, object]

    @property
    def worst(self) -> Tier:
        """The worst status that is stated anywhere."""
        stated: list[Tier] = [submod.status for submod in self.submods.values()]
        return max([*stated, self.status or "affirming"], key=_BADNESS.__getitem__)


def read_json(data: bytes) -> Reading:
    """Read a claims set, JSON.

    Raises:
        UnsupportedEvidence: ``ear-profile``: it is of no profile that is read here.
        MalformedEvidence: ``ear-claim``, or as ``json.loads``.
    """
    claims = json.loads(data, what=_WHAT, limit=MAX_CLAIMS)
    if not isinstance(claims, dict):
        _refuse("claims", "an object")
    return read(claims)


def read_cbor(data: bytes) -> Reading:
    """Read a claims set, CBOR.

    Raises:
        UnsupportedEvidence: ``ear-profile``: it is of no profile that is read here.
        MalformedEvidence: ``ear-claim``, or as ``cbor.loads``.
    """
    claims = cbor.loads(data, what=_WHAT, limit=MAX_CLAIMS)
    if not isinstance(claims, dict):
        _refuse("claims", "a map")
    named = claims_from_cbor(claims)
    # CBOR had one policy identifier as text before -03; the names were the same numbers.
    return read(named, numbered=True)


def read(claims: Mapping[str, object], *, numbered: bool = False) -> Reading:
    """Read a decoded claims set; ``numbered`` if its names came from numbers and are those of -03.

    Raises:
        UnsupportedEvidence: ``ear-profile``.
        MalformedEvidence: ``ear-claim``.
    """
    profile = claims.get("eat_profile")
    if profile not in PROFILES:
        raise UnsupportedEvidence("ear-profile", expected=PROFILES, actual=repr(profile)[:80])
    strict = profile == DRAFT_03
    named = claims if strict or numbered else undotted(claims)
    submods = _object(named, "submods")
    if not submods:
        _refuse("submods", "at least one attester")
    verifier = _object(named, "ear_verifier_id")
    evidence = _text(named, "ear_raw_evidence", "")
    status = named.get("ear_status")
    return Reading(
        str(profile),
        None if status is None else _status(status),
        _seconds(named, "iat", whole=strict),
        _seconds(named, "nbf", whole=strict) if "nbf" in named else None,
        _seconds(named, "exp", whole=strict) if "exp" in named else None,
        _text(verifier, "developer"),
        _text(verifier, "build"),
        _text(named, "iss", ""),
        _texts(named, "aud"),
        _nonces(named),
        base64url.decode(evidence, what="ear_raw_evidence") if evidence else None,
        {name: _submodule(name, submod, strict=strict) for name, submod in submods.items()},
        named,
    )


def better_than_part(reading: Reading) -> tuple[str, str, str] | None:
    """Find a status that is better than something that it sums up.

    Claims of value 0 say nothing and are as good as absent; any other value counts with its tier.

    Returns:
        Where, the status, and the worse part; None if there is no such status.
    """
    for name, submod in reading.submods.items():
        worst = _worst_claim(submod.vector)
        if worst is not None and _BADNESS[tier(worst[1])] > _BADNESS[submod.status]:
            return name, submod.status, f"{worst[0]} {worst[1]}, which is {tier(worst[1])}"
        if reading.status is not None and _BADNESS[submod.status] > _BADNESS[reading.status]:
            return "the whole", reading.status, f"{name}, which is {submod.status}"
    return None


def _worst_claim(vector: TrustVector | None) -> tuple[str, int] | None:
    if vector is None:
        return None
    made = [(name, getattr(vector, name.replace("-", "_"))) for name in CLAIMS]
    said = [(name, value) for name, value in made if value]
    return max(said, key=lambda one: _BADNESS[tier(one[1])], default=None)


def _submodule(name: str, submod: object, *, strict: bool) -> Submodule:
    if not isinstance(submod, dict):
        _refuse(f"submods.{name}", "an object")
    vector = submod.get("ear_trustworthiness_vector")
    policies = submod.get("ear_appraisal_policy_ids", [])
    if not isinstance(policies, list) or not all(isinstance(one, str) for one in policies):
        _refuse("ear_appraisal_policy_ids", "text")
    extensions = {key: value for key, value in submod.items() if key not in _KNOWN}
    for key, value in extensions.items():
        if strict and not isinstance(value, dict):
            _refuse(key, "an object, as every extension")
    _check_key_attestation(extensions.get("ear_veraison_key_attestation"))
    return Submodule(
        _status(submod.get("ear_status")),
        None if vector is None else _vector(vector),
        tuple(policies),
        _nonces(submod),
        extensions,
    )


def _check_key_attestation(value: object) -> None:
    """Insist on what the extension is there for: a public key."""
    if value is None:
        return
    key = value.get("akpub") if isinstance(value, dict) else None
    if not isinstance(key, str) or not base64url.decode(key, what="akpub"):
        _refuse("ear_veraison_key_attestation", "an object with a public key, akpub")


def _vector(value: object) -> TrustVector:
    if not isinstance(value, dict) or not set(value) <= set(CLAIMS):
        _refuse("ear_trustworthiness_vector", "an object of AR4SI claims")
    for number in value.values():
        if type(number) is not int or number not in _VALUES:
            _refuse("ear_trustworthiness_vector", "whole numbers from -128 to 127")
    return msgspec.convert(value, TrustVector)


def _status(value: object) -> Tier:
    if value not in TIERS.values():
        _refuse("ear_status", "none, affirming, warning or contraindicated")
    return value  # type: ignore[return-value]


def _seconds(claims: Mapping[str, object], name: str, *, whole: bool) -> int:
    value = claims.get(name)
    if isinstance(value, float) and value.is_integer() and not whole:
        value = int(value)
    if type(value) is not int or value < 0:
        _refuse(name, "whole seconds since 1970")
    return value


def _object(claims: Mapping[str, object], name: str) -> dict[str, object]:
    value = claims.get(name)
    if not isinstance(value, dict):
        _refuse(name, "an object")
    return value


def _text(claims: Mapping[str, object], name: str, default: str | None = None) -> str:
    value = claims.get(name, default)
    if not isinstance(value, str):
        _refuse(name, "text")
    return value


def _texts(claims: Mapping[str, object], name: str) -> tuple[str, ...]:
    value = claims.get(name, [])
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not all(isinstance(one, str) for one in values):
        _refuse(name, "text, or a list of texts")
    return tuple(values)


def _nonces(claims: Mapping[str, object]) -> tuple[str, ...]:
    nonces = _texts(claims, "eat_nonce")
    if not all(len(nonce) in _NONCE for nonce in nonces):
        _refuse("eat_nonce", "8 to 88 characters")
    return nonces


def _refuse(claim: str, expected: str) -> NoReturn:
    raise MalformedEvidence("ear-claim", what=_WHAT, claim=claim, expected=expected)
