# SPDX-License-Identifier: Apache-2.0
"""One set of names for the four EAR profiles that are deployed, in JSON and in CBOR.

Inside, names are those of draft-ietf-rats-ear-03. The profiles before it wrote them with dots and had one
policy identifier instead of a list; CBOR has numbers for them.

Source: draft-ietf-rats-ear-00, -02 and -03, tables of claims; RFC 9711, 4 and 10.2 (keys of EAT claims).
"""

from collections.abc import Callable, Mapping
from typing import Final

from nacre.errors import MalformedEvidence
from nacre.trust import base64url

__all__ = [
    "CWT_NAMES",
    "DRAFT_03",
    "PROFILES",
    "TIERS",
    "claims_from_cbor",
    "to_cbor",
    "to_dotted",
    "undotted",
]

DRAFT_03: Final = "tag:ietf.org,2026:rats/ear#03"
#: Profiles that are read. All but the last write claims with dots.
PROFILES: Final = (
    "tag:github.com,2023:veraison/ear",
    "tag:github.com,2024:confidential-containers/Trustee",
    "tag:ietf.org,2025-07:ear",
    DRAFT_03,
)
#: Tiers as CBOR writes them.
TIERS: Final[Mapping[int, str]] = {0: "none", 2: "affirming", 32: "warning", 96: "contraindicated"}

#: Keys of EAT and CWT claims, by number.
CWT_NAMES: Final[Mapping[int, str]] = {
    1: "iss",
    2: "sub",
    3: "aud",
    4: "exp",
    5: "nbf",
    6: "iat",
    7: "cti",
    10: "eat_nonce",
    256: "ueid",
    257: "sueids",
    258: "oemid",
    259: "hwmodel",
    260: "hwversion",
    261: "uptime",
    262: "oemboot",
    263: "dbgstat",
    264: "location",
    265: "eat_profile",
    266: "submods",
    267: "bootcount",
    268: "bootseed",
    269: "dloas",
    270: "swname",
    271: "swversion",
    272: "manifests",
    273: "measurements",
    274: "measres",
    275: "intuse",
}
_EAR_NAMES: Mapping[int, str] = {
    **CWT_NAMES,
    1000: "ear_status",
    1001: "ear_trustworthiness_vector",
    1002: "ear_raw_evidence",
    1003: "ear_appraisal_policy_ids",
    1004: "ear_verifier_id",
    65000: "ear_teep_claims",
    -70000: "ear_veraison_annotated_evidence",
    -70001: "ear_veraison_policy_claims",
    -70002: "ear_veraison_key_attestation",
    -70010: "ear_nacre_result",
}
_VERIFIER_NAMES = {0: "developer", 1: "build"}
_VECTOR_NAMES = dict(
    enumerate(
        (
            "instance-identity",
            "configuration",
            "executables",
            "file-system",
            "hardware",
            "runtime-opaque",
            "storage-opaque",
            "sourced-data",
        )
    )
)
_POLICY = "ear.appraisal-policy-id"
_POLICIES = "ear_appraisal_policy_ids"
_DOTTED = {
    "ear.status": "ear_status",
    "ear.trustworthiness-vector": "ear_trustworthiness_vector",
    "ear.raw-evidence": "ear_raw_evidence",
    "ear.verifier-id": "ear_verifier_id",
    _POLICY: _POLICIES,
    "ear.teep-claims": "ear_teep_claims",
    "ear.veraison.annotated-evidence": "ear_veraison_annotated_evidence",
    "ear.veraison.policy-claims": "ear_veraison_policy_claims",
    "ear.veraison.key-attestation": "ear_veraison_key_attestation",
}
_WITH_DOTS = {new: old for old, new in _DOTTED.items()}
_WHAT = "EAR"


def undotted(claims: Mapping[str, object]) -> dict[str, object]:
    """Rename the claims of an older profile, at the top and in each submodule.

    Raises:
        MalformedEvidence: ``ear-claim``: a claim is there under both names, or a policy is no text.
    """
    renamed = _rename(claims)
    submods = renamed.get("submods")
    if isinstance(submods, dict):
        renamed["submods"] = {
            name: _rename(submod) if isinstance(submod, dict) else submod for name, submod in submods.items()
        }
    return renamed


def _rename(claims: Mapping[str, object]) -> dict[str, object]:
    renamed: dict[str, object] = {}
    for old, value in claims.items():
        name = _DOTTED.get(old, old)
        if name in renamed:
            raise MalformedEvidence("ear-claim", what=_WHAT, claim=old, expected="one spelling of it")
        renamed[name] = [value] if old == _POLICY else value
    return renamed


def claims_from_cbor(claims: Mapping[object, object]) -> dict[str, object]:
    """Name the claims of a CWT as JSON does; byte strings become base64url text, as in JSON.

    Raises:
        MalformedEvidence: ``ear-claim``: a claim is there under its number and its name.
    """
    named = _named(claims, _EAR_NAMES)
    verifier, submods = named.get("ear_verifier_id"), named.get("submods")
    if isinstance(verifier, dict):
        named["ear_verifier_id"] = _plain(_named(verifier, _VERIFIER_NAMES))
    if isinstance(submods, dict):
        named["submods"] = {str(_label(name)): _submod(submod) for name, submod in submods.items()}
    named["ear_status"] = _tier(named.get("ear_status"))
    return {name: _plain(value) for name, value in named.items() if value is not None}


def _submod(submod: object) -> object:
    if not isinstance(submod, dict):
        return submod
    named = _named(submod, _EAR_NAMES)
    vector, policies = named.get("ear_trustworthiness_vector"), named.get(_POLICIES)
    if isinstance(vector, dict):
        named["ear_trustworthiness_vector"] = _named(vector, _VECTOR_NAMES)
    if isinstance(policies, str):
        named[_POLICIES] = [policies]
    named["ear_status"] = _tier(named.get("ear_status"))
    return {name: value for name, value in named.items() if value is not None}


def _tier(value: object) -> object:
    return TIERS.get(value, value) if type(value) is int else value


def _named(claims: Mapping[object, object], names: Mapping[int, str]) -> dict[str, object]:
    named: dict[str, object] = {}
    for key, value in claims.items():
        name = names.get(key) if isinstance(key, int) else None
        name = str(_label(key)) if name is None else name
        if name in named:
            raise MalformedEvidence("ear-claim", what=_WHAT, claim=name, expected="one spelling of it")
        named[name] = value
    return named


def _label(key: object) -> object:
    return base64url.encode(key) if isinstance(key, bytes) else key


def _plain(value: object) -> object:
    """Turn a CBOR value into what JSON can say."""
    if isinstance(value, bytes):
        return base64url.encode(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(_label(key)): _plain(item) for key, item in value.items()}
    return value


_NUMBERS = {name: number for number, name in _EAR_NAMES.items()}
_VERIFIER_NUMBERS = {name: number for number, name in _VERIFIER_NAMES.items()}
_VECTOR_NUMBERS = {name: number for number, name in _VECTOR_NAMES.items()}
_TIER_NUMBERS = {name: number for number, name in TIERS.items()}
_BYTES = frozenset({"eat_nonce", "ear_raw_evidence"})


def to_cbor(claims: Mapping[str, object]) -> dict[int | str, object]:
    """Write claims that have the names of -03, as JSON, in the keys and types of CBOR."""
    return {
        _NUMBERS.get(name, name): _FORMS[name](value) if name in _FORMS else value
        for name, value in claims.items()
    }


def _numbered(value: object, numbers: Mapping[str, int]) -> dict[int | str, object]:
    return {numbers.get(name, name): item for name, item in _items(value)}


def _items(value: object) -> list[tuple[str, dict[str, object]]]:
    return list(value.items()) if isinstance(value, dict) else []


_FORMS: Mapping[str, Callable[[object], object]] = {
    "ear_status": lambda value: _TIER_NUMBERS[str(value)],
    "ear_verifier_id": lambda value: _numbered(value, _VERIFIER_NUMBERS),
    "ear_trustworthiness_vector": lambda value: _numbered(value, _VECTOR_NUMBERS),
    "submods": lambda value: {name: to_cbor(submod) for name, submod in _items(value)},
    **dict.fromkeys(_BYTES, lambda value: base64url.decode(str(value), what=_WHAT)),
}


def to_dotted(claims: Mapping[str, object]) -> dict[str, object]:
    """Write claims that have the names of -03 as older profiles do: dots, one policy, no status of the whole.

    Where several policies were applied the older profiles have room for the first one only.
    """
    dotted = _with_dots(claims)
    dotted.pop("ear.status", None)
    dotted["submods"] = {name: _with_dots(submod) for name, submod in _items(claims.get("submods"))}
    return dotted


def _with_dots(claims: Mapping[str, object]) -> dict[str, object]:
    dotted: dict[str, object] = {}
    for name, value in claims.items():
        if name == _POLICIES and isinstance(value, list | tuple):
            dotted[_POLICY] = value[0]
        else:
            dotted[_WITH_DOTS.get(name, name.replace("ear_nacre_", "ear.nacre."))] = value
    return dotted
