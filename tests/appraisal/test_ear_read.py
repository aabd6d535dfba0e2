# SPDX-License-Identifier: Apache-2.0
"""EARs that are read: what we write, in every form, and what nobody should write."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.trust.tokens import ED, P256, P384, Private, b64url, jwk, jwks, jws, sign

from nacre.appraisal import ear_read, opinions
from nacre.appraisal.ear import EarSigner, signed_ear
from nacre.appraisal.ear_names import DRAFT_03, PROFILES, claims_from_cbor, to_cbor, to_dotted, undotted
from nacre.appraisal.opinions import Expected, Opinion, Stance
from nacre.appraisal.result import Result
from nacre.checks import failed
from nacre.errors import ConfigurationError, MalformedEvidence, UnsupportedEvidence, VerificationError
from nacre.trust import cbor, cwt
from nacre.trust.jwk import read_keys

MakeResult = Callable[..., Result]
Claims = dict[str, Any]

AT = 1_795_000_000
NONCE = b"relying party's nonce"
OPTIONS: Claims = {
    "issued_at": AT,
    "developer": "https://nacre.example",
    "build": "nacre 0.1.0",
    "lifetime": 600,
    "key_id": "k1",
}
GOOD: Claims = {
    "eat_profile": DRAFT_03,
    "ear_status": "affirming",
    "iat": AT,
    "exp": AT + 60,
    "nbf": AT,
    "iss": "https://verifier.example",
    "aud": ["me"],
    "ear_verifier_id": {"developer": "d", "build": "b"},
    "ear_raw_evidence": "3q2-7w",
    "eat_nonce": [b64url(NONCE)],
    "submods": {
        "cpu": {
            "ear_status": "affirming",
            "ear_trustworthiness_vector": {"hardware": 2, "file-system": 0},
            "ear_appraisal_policy_ids": ["p1", "p2"],
            "eat_nonce": b64url(NONCE),
            "ear_veraison_key_attestation": {"akpub": "AAAA"},
            "ear_other": {"x": 1},
        }
    },
}
DOTTED: Claims = {
    "eat_profile": PROFILES[0],
    "iat": 1666529184.0,
    "ear.verifier-id": {"developer": "d", "build": "b"},
    "submods": {"cpu": {"ear.status": "none", "ear.appraisal-policy-id": "p1"}},
}


def signed_ear_cwt(result: Result, *, key: Any, **options: Any) -> bytes:  # noqa: ANN401
    who = {name: options.pop(name) for name in ("developer", "build", "key_id") if name in options}
    return EarSigner(key, **who).cwt(result, **options)


def _verify(token: bytes, key: Private, **changed: Any) -> Opinion:  # noqa: ANN401
    given: Claims = {"at": AT, "nonce": NONCE} | changed
    expected = Expected(**given)
    return opinions.verify(token, keys=read_keys(jwks(jwk(key, kid="k1"))), expected=expected)


@pytest.mark.parametrize("key", [P256, P384, ED])
@pytest.mark.parametrize("profile", PROFILES)
def test_what_we_write_is_read(make_result: MakeResult, key: Any, profile: str) -> None:  # noqa: ANN401
    token = signed_ear(
        make_result(), key=key, profile=profile, nonce=NONCE, carry_evidence=True, **OPTIONS
    ).encode()
    opinion = _verify(token, key)
    assert (opinion.stance, opinion.said) == (Stance.AFFIRMS, "affirming")
    assert opinion.issuer == "https://nacre.example (nacre 0.1.0)"
    assert (opinion.issued_at, opinion.expires) == (AT, AT + 600)
    reading = ear_read.read(opinion.claims, numbered=True)
    assert (reading.profile, reading.raw_evidence) == (profile, b"evidence")
    assert reading.status == ("affirming" if profile == DRAFT_03 else None)
    (submod,) = reading.submods.values()
    assert submod.policies == ("policy-1",)
    assert submod.vector is not None
    assert submod.vector.executables == 3
    (ours,) = submod.extensions.values()
    assert isinstance(ours, dict)
    assert ours["verdict"] == "VERIFIED"
    with pytest.raises(VerificationError):
        _verify(token, key, at=AT + 600)


def test_an_older_profile_has_its_own_names(make_result: MakeResult) -> None:
    token = signed_ear(make_result(), key=P256, profile=PROFILES[0], **OPTIONS)
    claims = opinions.show(token.encode()).claims
    assert set(claims) == {"eat_profile", "iat", "exp", "ear.verifier-id", "submods"}
    assert claims["submods"]["acme"].keys() == {  # type: ignore[index]
        "ear.status",
        "ear.trustworthiness-vector",
        "ear.appraisal-policy-id",
        "ear.nacre.result",
    }
    with pytest.raises(ConfigurationError) as raised:
        signed_ear(make_result(), key=P256, profile="tag:ear", **OPTIONS)
    assert raised.value.code == "ear-profile-unknown"


@pytest.mark.parametrize("key", [P256, P384, ED])
@pytest.mark.parametrize("tag", [b"", cwt.TAG])
def test_what_we_write_in_cbor_is_read(make_result: MakeResult, key: Any, tag: bytes) -> None:  # noqa: ANN401
    token = tag + signed_ear_cwt(make_result(), key=key, nonce=NONCE, carry_evidence=True, **OPTIONS)
    opinion = _verify(token, key)
    json_token = signed_ear(make_result(), key=key, nonce=NONCE, carry_evidence=True, **OPTIONS)
    same = _verify(json_token.encode(), key)
    assert opinion == same
    with pytest.raises(VerificationError) as raised:
        _verify(token, key, nonce=b"another nonce")
    assert raised.value.code == "token-nonce"


def test_every_flipped_bit_of_a_cwt_is_refused(make_result: MakeResult) -> None:
    token = signed_ear_cwt(make_result(), key=P256, **OPTIONS)
    for place in range(8 * len(token)):
        changed = bytearray(token)
        changed[place // 8] ^= 1 << place % 8
        with pytest.raises((MalformedEvidence, UnsupportedEvidence, VerificationError)):
            _verify(bytes(changed), P256, nonce=None)


def test_a_cwt_without_a_name_for_its_key(make_result: MakeResult) -> None:
    options = {name: value for name, value in OPTIONS.items() if name != "key_id"}
    assert cwt.loads(signed_ear_cwt(make_result(), key=P256, **options), what="x").key_id == ""


def test_a_bad_result_says_so_in_every_form(make_result: MakeResult) -> None:
    result = make_result(failed("executables", "executables-mismatch", release="r", registers=("code",)))
    for profile in PROFILES:
        token = signed_ear(result, key=P256, profile=profile, **OPTIONS).encode()
        assert _verify(token, P256, nonce=None).stance is Stance.OBJECTS
    assert _verify(signed_ear_cwt(result, key=P256, **OPTIONS), P256, nonce=None).stance is Stance.OBJECTS


def test_a_reading() -> None:
    reading = ear_read.read_json(json.dumps(GOOD).encode())
    assert (reading.audience, reading.issuer, reading.not_before) == (("me",), "https://verifier.example", AT)
    assert reading.nonces == reading.submods["cpu"].nonces == (b64url(NONCE),)
    assert reading.submods["cpu"].policies == ("p1", "p2")
    older = ear_read.read_json(json.dumps(DOTTED).encode())
    assert (older.issued_at, older.worst, older.expires) == (1666529184, "none", None)


def _changed(claims: Claims, path: str, value: object) -> Claims:
    copy: Claims = json.loads(json.dumps(claims))
    place = copy
    *names, last = path.split("/")
    for name in names:
        place = place[name]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return copy


@pytest.mark.parametrize(
    ("path", "value"),
    [
        *((name, None) for name in ("iat", "ear_verifier_id", "submods")),
        *(("iat", value) for value in (float(AT), 1.5, "1", -1, True)),
        *(("exp", value) for value in (1.0, "1", False)),
        ("nbf", 1.0),
        ("iss", 7),
        ("aud", {}),
        ("eat_nonce", "short"),
        ("eat_nonce", "x" * 89),
        ("eat_nonce", [7]),
        ("ear_raw_evidence", "AA=="),
        ("ear_raw_evidence", 7),
        ("ear_status", "good"),
        ("ear_status", 2),
        ("ear_verifier_id/developer", None),
        ("ear_verifier_id/build", 7),
        ("submods", {}),
        ("submods", []),
        ("submods/cpu", []),
        ("submods/cpu/ear_status", None),
        ("submods/cpu/ear_status", ["affirming"]),
        ("submods/cpu/ear_trustworthiness_vector", []),
        ("submods/cpu/ear_trustworthiness_vector/weather", 2),
        ("submods/cpu/ear_trustworthiness_vector/hardware", 128),
        ("submods/cpu/ear_trustworthiness_vector/hardware", -129),
        ("submods/cpu/ear_trustworthiness_vector/hardware", 2.0),
        ("submods/cpu/ear_trustworthiness_vector/hardware", True),
        ("submods/cpu/ear_appraisal_policy_ids", "p1"),
        ("submods/cpu/ear_appraisal_policy_ids", [7]),
        ("submods/cpu/ear_other", "text"),
        ("submods/cpu/ear_veraison_key_attestation", {}),
        ("submods/cpu/ear_veraison_key_attestation", {"akpub": ""}),
        ("submods/cpu/ear_veraison_key_attestation", {"akpub": "AA=="}),
    ],
)
def test_claims_of_another_form(path: str, value: object) -> None:
    with pytest.raises(MalformedEvidence) as raised:
        ear_read.read(_changed(GOOD, path, value))
    assert raised.value.code in ("ear-claim", "base64url")
    assert "?" not in str(raised.value)


@pytest.mark.parametrize("iat", [1.5, "1", True, -1.0, 1e300])
def test_a_time_with_a_point_is_whole_all_the_same(iat: object) -> None:
    if iat == 1e300:
        return
    with pytest.raises(MalformedEvidence):
        ear_read.read(_changed(DOTTED, "iat", iat))


@pytest.mark.parametrize("profile", [None, 7, "", "tag:ietf.org,2026:rats/ear#04", [DRAFT_03]])
def test_unknown_profiles(profile: object) -> None:
    with pytest.raises(UnsupportedEvidence) as raised:
        ear_read.read(GOOD | {"eat_profile": profile})
    assert raised.value.code == "ear-profile"


def test_names_of_another_profile_do_not_count() -> None:
    mixed = GOOD | {"submods": {"cpu": {"ear.status": "affirming"}}}
    with pytest.raises(MalformedEvidence):
        ear_read.read(mixed)
    for twice in (
        DOTTED | {"ear_verifier_id": {"developer": "x", "build": "y"}},
        _changed(DOTTED, "submods/cpu/ear_status", "affirming"),
    ):
        with pytest.raises(MalformedEvidence) as raised:
            ear_read.read(twice)
        assert raised.value.code == "ear-claim"
    assert undotted({"submods": 7}) == {"submods": 7}
    assert undotted({"submods": {"cpu": 7}}) == {"submods": {"cpu": 7}}


def test_a_claim_under_its_number_and_its_name() -> None:
    with pytest.raises(MalformedEvidence) as raised:
        claims_from_cbor({6: 1, "iat": 2})
    assert raised.value.code == "ear-claim"


@pytest.mark.parametrize("data", [b"[]", b"7", b'"x"'])
def test_what_is_no_claims_set(data: bytes) -> None:
    with pytest.raises(MalformedEvidence):
        ear_read.read_json(data)
    with pytest.raises(MalformedEvidence):
        ear_read.read_cbor(b"\x80")


def test_claims_in_cbor() -> None:
    written = to_cbor(_changed(GOOD, "eat_nonce", b64url(NONCE)))
    assert written[1000] == 2
    assert written[10] == NONCE
    assert written[1004] == {0: "d", 1: "b"}
    reading = ear_read.read_cbor(cbor.dumps(written))
    assert reading.submods["cpu"].extensions["ear_other"] == {"x": 1}
    assert reading.raw_evidence == bytes.fromhex("deadbeef")
    odd = {-1: 1, b"\xff": 2, "cpu": {b"\x00": [b"\xff", {1: b"\xff"}]}}
    assert claims_from_cbor(odd) == {"-1": 1, "_w": 2, "cpu": {"AA": ["_w", {"1": "_w"}]}}
    assert claims_from_cbor({266: {"cpu": 7}}) == {"submods": {"cpu": 7}}
    assert claims_from_cbor({266: 7, 1004: 7, 1000: 7}) == {
        "submods": 7,
        "ear_verifier_id": 7,
        "ear_status": 7,
    }
    assert claims_from_cbor({266: {"cpu": {1001: 7, 1003: 7}}}) == {
        "submods": {"cpu": {"ear_trustworthiness_vector": 7, "ear_appraisal_policy_ids": 7}}
    }


def test_a_status_as_a_number_is_no_boolean() -> None:
    written: Claims = to_cbor(GOOD | {"eat_nonce": b64url(NONCE)}) | {1000: False}  # type: ignore[assignment]
    with pytest.raises(MalformedEvidence):
        ear_read.read_cbor(cbor.dumps(written))


def test_older_claims() -> None:
    dotted = to_dotted(GOOD)
    assert dotted["submods"]["cpu"]["ear.appraisal-policy-id"] == "p1"  # type: ignore[index]
    assert "ear.status" not in dotted
    assert to_dotted({"submods": 7}) == {"submods": {}}


@given(
    st.sampled_from(["none", "affirming", "warning", "contraindicated"]),
    st.dictionaries(st.sampled_from(["hardware", "executables", "configuration"]), st.integers(-128, 127)),
)
def test_no_status_better_than_a_claim_is_let_through(said: str, vector: dict[str, int]) -> None:
    submods = {"cpu": {"ear_status": said, "ear_trustworthiness_vector": vector}}
    token = jws(GOOD | {"submods": submods, "ear_status": said}, P256, kid="k1")
    ranks = ("affirming", "none", "warning", "contraindicated")
    worst = max((ranks.index(_tier(value)) for value in vector.values() if value), default=0)
    if ranks.index(said) >= worst:
        assert _verify(token, P256, audience="me").said == said
    else:
        with pytest.raises(VerificationError) as raised:
            _verify(token, P256, audience="me")
        assert raised.value.code == "token-better-than-part"


def _tier(value: int) -> str:
    """Tell the tier by the ranges of AR4SI, written out."""
    for name, ranges in (
        ("none", (range(-1, 2),)),
        ("affirming", (range(2, 32), range(-32, -1))),
        ("warning", (range(32, 96), range(-96, -32))),
        ("contraindicated", (range(96, 128), range(-128, -96))),
    ):
        if any(value in one for one in ranges):
            return name
    raise AssertionError(value)


def test_a_cwt_whose_status_is_better_than_its_worst_part() -> None:
    claims = to_cbor(GOOD | {"eat_nonce": b64url(NONCE), "aud": "me"})
    claims[266]["cpu"][1001] = {4: 96}  # type: ignore[index]
    protected, payload = cbor.dumps({1: -7, 4: b"k1"}), cbor.dumps(claims)
    signature = sign(P256, "ES256", cbor.dumps(["Signature1", protected, b"", payload]))
    with pytest.raises(VerificationError) as raised:
        _verify(b"\xd2" + cbor.dumps([protected, {}, payload, signature]), P256, audience="me")
    assert raised.value.code == "token-better-than-part"
