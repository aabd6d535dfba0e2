# SPDX-License-Identifier: Apache-2.0
"""EAR: no attestation result says better than what was found."""

import itertools
import json
import re
from base64 import urlsafe_b64decode
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa, utils
from hypothesis import given
from hypothesis import strategies as st

from nacre import reasons
from nacre.appraisal.ar4si import CLAIMS, TrustVector, status, tier, trust_vector
from nacre.appraisal.ear import MAX_DELAY, PROFILE, Ear, ear, signed_ear
from nacre.appraisal.result import Result
from nacre.appraisal.verdict import Verdict
from nacre.checks import Check, Status, failed, passed, skipped, warned
from nacre.errors import ConfigurationError, MalformedEvidence, VerificationError
from nacre.trust.anchors import Origin

MakeResult = Callable[..., Result]
Claims = Mapping[str, object]

AT = 1_795_000_000
NONCE = b"relying party's nonce"
BADNESS = ("affirming", "none", "warning", "contraindicated")

MISMATCH = failed("executables", "executables-mismatch", release="r", registers=("code",))
WAIVED = Check("freshness", Status.WAIVED, "waived", {"was": "nothing shows when it was made"})


def _tier(value: int) -> str:
    """Tell the tier of a value by the ranges of AR4SI, section 2.3.2, written out."""
    for name, ranges in (
        ("none", (range(-1, 2),)),
        ("affirming", (range(2, 32), range(-32, -1))),
        ("warning", (range(32, 96), range(-96, -32))),
        ("contraindicated", (range(96, 128), range(-128, -96))),
    ):
        if any(value in one for one in ranges):
            return name
    raise AssertionError(value)


def _object(value: object, required: set[str], optional: set[str]) -> dict[str, object]:
    assert isinstance(value, dict)
    assert required <= set(value), required - set(value)
    assert set(value) <= required | optional, set(value) - required - optional
    return value


def _base64url(value: object) -> bytes:
    assert isinstance(value, str)
    assert re.fullmatch("[A-Za-z0-9_-]*", value)
    return urlsafe_b64decode(value + "=" * (-len(value) % 4))


def check_claims(claims: object) -> None:
    """Hold a claims set against the rules of draft-ietf-rats-ear-03."""
    top = _object(
        claims,
        {"eat_profile", "iat", "ear_verifier_id", "submods"},
        {"ear_status", "exp", "eat_nonce", "ear_raw_evidence"},
    )
    assert top["eat_profile"] == "tag:ietf.org,2026:rats/ear#03"
    for name in {"iat", "exp"} & set(top):
        assert type(top[name]) is int, "a number of another kind is an error in EAT"
    verifier = _object(top["ear_verifier_id"], {"developer", "build"}, set())
    assert all(isinstance(text, str) for text in verifier.values())
    if "eat_nonce" in top:
        assert isinstance(top["eat_nonce"], str)
        assert 8 <= len(top["eat_nonce"]) <= 88
    if "ear_raw_evidence" in top:
        assert _base64url(top["ear_raw_evidence"])
    submods = top["submods"]
    assert isinstance(submods, dict)
    assert submods
    worst = max(BADNESS.index(_check_appraisal(appraisal)) for appraisal in submods.values())
    if "ear_status" in top:
        assert BADNESS.index(str(top["ear_status"])) >= worst


def _check_appraisal(appraisal: object) -> str:
    assert isinstance(appraisal, dict)
    known = {
        "ear_status",
        "ear_trustworthiness_vector",
        "ear_appraisal_policy_ids",
        "eat_nonce",
        "eat_profile",
    }
    assert {"ear_status", "ear_trustworthiness_vector"} <= set(appraisal)
    for extension in set(appraisal) - known:
        assert isinstance(appraisal[extension], dict), "extensions are maps"
    policies = appraisal.get("ear_appraisal_policy_ids", ["one"])
    assert isinstance(policies, list)
    assert policies
    assert all(isinstance(policy, str) for policy in policies)
    vector = appraisal["ear_trustworthiness_vector"]
    assert isinstance(vector, dict)
    assert set(vector) <= set(CLAIMS)
    tiers = [_tier(value) for value in vector.values()]
    said = appraisal["ear_status"]
    assert said in BADNESS
    assert all(BADNESS.index(said) >= BADNESS.index(one) for one in tiers)
    return str(said)


def _ear(result: Result, **options: object) -> Ear:
    arguments = {"issued_at": AT, "developer": "https://nacre.example", "build": "nacre 0.1.0"} | options
    return ear(result, **arguments)  # type: ignore[arg-type]


def _claims(result: Result, **options: object) -> dict[str, object]:
    claims = json.loads(msgspec.json.encode(_ear(result, **options)))
    check_claims(claims)
    assert isinstance(claims, dict)
    return claims


def _vector(result: Result) -> dict[str, int]:
    vector = json.loads(msgspec.json.encode(trust_vector(result)))
    assert isinstance(vector, dict)
    return vector


def test_the_rules_hold_for_the_drafts_own_examples(vectors: Path) -> None:
    folder = vectors / "rats" / "ear" / "ietf-draft-ear" / "draft-ietf-rats-ear-03" / "examples"
    if not folder.is_dir():
        pytest.skip("the draft's examples are not beside this checkout")
    examples = sorted(folder.glob("ear-json-*.diag"))
    assert examples
    for example in examples:
        check_claims(json.loads(example.read_text()))


def test_a_verified_result_is_affirming(make_result: MakeResult) -> None:
    claims = _claims(make_result(), lifetime=600, nonce=NONCE, carry_evidence=True)
    assert claims == {
        "eat_profile": PROFILE,
        "ear_status": "affirming",
        "iat": AT,
        "exp": AT + 600,
        "ear_verifier_id": {"developer": "https://nacre.example", "build": "nacre 0.1.0"},
        "eat_nonce": "cmVseWluZyBwYXJ0eSdzIG5vbmNl",
        "ear_raw_evidence": "ZXZpZGVuY2U",
        "submods": {
            "acme": {
                "ear_status": "affirming",
                "ear_trustworthiness_vector": {
                    "configuration": 2,
                    "executables": 3,
                    "hardware": 2,
                    "runtime-opaque": 2,
                },
                "ear_appraisal_policy_ids": ["policy-1"],
                "ear_nacre_result": {
                    "verdict": "VERIFIED",
                    "origin": "genuine",
                    "release": "worm-1",
                    "evidence": "7oJQ-3bglLNLRx8Tpz275R0a4ULp31nXwNMewg8KCo4",
                },
            }
        },
    }


def test_what_is_not_asked_for_is_left_out(make_result: MakeResult) -> None:
    assert {"exp", "eat_nonce", "ear_raw_evidence"}.isdisjoint(_claims(make_result()))


@pytest.mark.parametrize(
    ("changed", "said", "claim", "value"),
    [
        (MISMATCH, "contraindicated", "executables", 33),
        (failed("executables", "release-revoked"), "contraindicated", "executables", 96),
        (skipped("executables", "no-release", platform="acme"), "warning", "executables", 1),
        (skipped("executables", "no-release", platform="acme"), "warning", "configuration", 36),
        (skipped("revocation", "endorsement-missing", role="crl"), "warning", "hardware", 1),
        (skipped("revocation", "endorsement-missing", role="crl"), "warning", "configuration", 36),
        (skipped("binding", "binding-not-given"), "warning", "configuration", 36),
        (failed("binding", "binding-mismatch"), "contraindicated", "configuration", 96),
        (failed("freshness", "evidence-too-old"), "contraindicated", "configuration", 96),
        (WAIVED, "warning", "configuration", 36),
        (Check("executables", Status.WAIVED, "waived"), "warning", "executables", 33),
        (warned("binding", "raw-oracle", purpose="evidence"), "warning", "configuration", 32),
        (Check("revocation", Status.ERROR, "x"), "contraindicated", "hardware", -1),
        (passed("dcap.tcb-status", status="UpToDate"), "affirming", "hardware", 2),
        (passed("dcap.tcb-status", "tcb-status-accepted", status="OutOfDate"), "warning", "hardware", 32),
        (passed("dcap.tcb-status", "tcb-status-grace", status="OutOfDate"), "warning", "hardware", 32),
        (failed("dcap.tcb-status", "tcb-status-refused"), "contraindicated", "hardware", 96),
        (failed("dcap.tcb-status", "tcb-revoked"), "contraindicated", "hardware", 96),
        (failed("dcap.tcb-status", "tcb-not-supported"), "contraindicated", "hardware", 97),
        (skipped("location", "unasked"), "affirming", "configuration", 2),
        (Check("location", Status.NOT_APPLICABLE), "affirming", "configuration", 2),
        (failed("location", "elsewhere"), "contraindicated", "configuration", 96),
    ],
)
def test_what_was_found_is_what_is_said(
    make_result: MakeResult, changed: Check, said: str, claim: str, value: int
) -> None:
    result = make_result(changed)
    assert _claims(result)["ear_status"] == said
    assert _vector(result)[claim] == value


def test_forged_evidence_says_nothing_else(make_result: MakeResult) -> None:
    for error in (
        VerificationError("signature-invalid", check="acme.signature", what="evidence"),
        MalformedEvidence("truncated", what="evidence", expected=4, actual=2, offset=0),
        None,
    ):
        bad = failed("acme.signature", "signature-invalid", what="evidence")
        result = make_result(bad, verified=False, error=error, release=None)
        assert _claims(result)["ear_status"] == "contraindicated"
        assert _vector(result) == dict.fromkeys(CLAIMS, 99)


def test_a_revoked_machine_is_recognised_but_not_trusted(make_result: MakeResult) -> None:
    bad = failed("revocation", "certificate-revoked")
    error = VerificationError("certificate-revoked", check="revocation")
    result = make_result(bad, verified=False, error=error)
    assert _claims(result)["ear_status"] == "contraindicated"
    assert _vector(result) == {"instance-identity": 96, "hardware": 96}


def test_a_missing_document_is_no_forgery(make_result: MakeResult) -> None:
    missing = skipped("acme.signature", "endorsement-missing", role="chain")
    error = VerificationError("endorsement-missing", check="acme.signature", role="chain")
    result = make_result(missing, verified=False, error=error)
    assert result.verdict is Verdict.INCOMPLETE
    assert _claims(result)["ear_status"] == "warning"
    assert _vector(result) == {"configuration": 36, "hardware": 1}


def test_unrecognised_evidence_has_a_name(make_result: MakeResult) -> None:
    result = make_result(failed("evidence", "truncated"), verified=False, platform="")
    assert list(_ear(result).submods) == ["evidence"]


def test_debug_is_contraindicated_even_if_the_policy_accepts_it(make_result: MakeResult) -> None:
    for outcome in (Status.WARN, Status.PASS, Status.WAIVED):
        result = make_result(Check("debug", outcome, "debug-allowed"), debug=True)
        assert _claims(result)["ear_status"] == "contraindicated"
        vector = _vector(result)
        assert (vector["configuration"], vector["runtime-opaque"]) == (96, 96)


@pytest.mark.parametrize(
    ("origin", "said", "value"),
    [
        (Origin.PRIVATE, "warning", -33),
        (Origin.SIMULATED, "contraindicated", 97),
        (None, "contraindicated", 97),
    ],
)
def test_only_a_vendors_root_affirms(
    make_result: MakeResult, origin: Origin | None, said: str, value: int
) -> None:
    result = make_result(origin=origin)
    assert result.verdict is Verdict.VERIFIED
    assert _claims(result)["ear_status"] == said
    vector = _vector(result)
    assert (vector["hardware"], vector["instance-identity"]) == (value, value)


def test_a_tier_is_that_of_ar4si() -> None:
    for value in range(-128, 128):
        assert tier(value) == _tier(value)


def test_every_listed_check_informs_a_claim_that_exists() -> None:
    assert {words.claim for words in reasons.checks().values()} <= set(CLAIMS)
    assert {name.replace("-", "_") for name in CLAIMS} == set(TrustVector.__struct_fields__)


def test_a_claim_that_does_not_exist_is_not_lost(
    make_result: MakeResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = reasons.CheckText(title="odd", passes="odd", claim="weather")
    monkeypatch.setattr(reasons, "check_text", lambda _: odd)
    assert _vector(make_result(failed("odd", "odd")))["configuration"] == 96


_OUTCOMES = st.builds(
    Check,
    st.sampled_from(sorted(reasons.checks())) | st.just("unlisted"),
    st.sampled_from(Status),
    st.sampled_from(["", "executables-mismatch", "tcb-status-accepted", "tcb-revoked", "unlisted"]),
)


@given(
    st.lists(_OUTCOMES, max_size=5),
    st.sampled_from([*Origin, None]),
    st.booleans(),
    st.booleans(),
)
def test_no_status_is_better_than_what_was_found(
    make_result: MakeResult, changed: list[Check], origin: Origin | None, verified: bool, debug: bool
) -> None:
    result = make_result(*changed, origin=origin, verified=verified, debug=debug)
    claims = _claims(result)
    said = str(claims["ear_status"])
    bad = {check.status for check in result.checks} & {Status.FAIL, Status.ERROR}
    if bad or (result.claims is None and result.verdict is not Verdict.INCOMPLETE):
        assert said == "contraindicated"
    if said == "affirming":
        assert result.verdict is Verdict.VERIFIED
        assert result.origin is Origin.GENUINE
        assert result.claims is not None
        assert not debug
        assert not {check.status for check in result.checks} & {Status.WARN, Status.WAIVED}
    if result.verdict is not Verdict.VERIFIED:
        assert said in ("warning", "contraindicated")


@given(st.sampled_from(Verdict), st.lists(st.integers(-128, 127), max_size=8))
def test_the_status_is_the_worst_of_all(make_result: MakeResult, verdict: Verdict, values: list[int]) -> None:
    vector = TrustVector(*values)
    said = status(msgspec.structs.replace(make_result(), verdict=verdict), vector)
    for value in values:
        assert BADNESS.index(said) >= BADNESS.index(_tier(value))
    if verdict is not Verdict.VERIFIED:
        assert said in ("warning", "contraindicated")


def test_every_outcome_alone(make_result: MakeResult) -> None:
    for check, outcome in itertools.product(sorted(reasons.checks()), Status):
        check_claims(json.loads(msgspec.json.encode(_ear(make_result(Check(check, outcome))))))


@pytest.mark.parametrize("delay", [-1, -AT, MAX_DELAY + 1, 10**9])
def test_no_old_judgement_is_passed_off_as_new(make_result: MakeResult, delay: int) -> None:
    with pytest.raises(ConfigurationError) as refused:
        _ear(make_result(), issued_at=AT + delay)
    assert refused.value.code == "ear-time"
    assert "2026-11-18" in str(refused.value)


@pytest.mark.parametrize("lifetime", [0, -1])
def test_a_lifetime_is_positive(make_result: MakeResult, lifetime: int) -> None:
    with pytest.raises(ConfigurationError) as refused:
        _ear(make_result(), lifetime=lifetime)
    assert refused.value.code == "ear-lifetime"


@pytest.mark.parametrize(
    ("valid_until", "end"),
    [(AT + 100, AT + 100), (AT + 10_000, AT + 600), (AT - 100, AT + 600), (None, AT + 600)],
)
def test_it_does_not_outlive_its_endorsements(
    make_result: MakeResult, valid_until: int | None, end: int
) -> None:
    assert _ear(make_result(valid_until=valid_until), lifetime=600).exp == end


@pytest.mark.parametrize("size", [0, 7, 65])
def test_a_nonce_has_8_to_64_bytes(make_result: MakeResult, size: int) -> None:
    with pytest.raises(ConfigurationError) as refused:
        _ear(make_result(), nonce=bytes(size))
    assert refused.value.code == "ear-nonce"
    for good in (8, 64):
        _claims(make_result(), nonce=bytes(good))


def _sign(result: Result, key: object, **options: object) -> tuple[dict[str, object], object, bytes, bytes]:
    arguments = {"issued_at": AT, "developer": "d", "build": "b", "lifetime": 60} | options
    token = signed_ear(result, key=key, **arguments)  # type: ignore[arg-type]
    header, claims, signature = token.split(".")
    return (
        json.loads(_base64url(header)),
        json.loads(_base64url(claims)),
        _base64url(signature),
        f"{header}.{claims}".encode(),
    )


@pytest.mark.parametrize(
    ("curve", "digest", "algorithm", "size"),
    [
        (ec.SECP256R1(), hashes.SHA256(), "ES256", 64),
        (ec.SECP384R1(), hashes.SHA384(), "ES384", 96),
    ],
)
def test_ecdsa_tokens(
    make_result: MakeResult,
    curve: ec.EllipticCurve,
    digest: hashes.HashAlgorithm,
    algorithm: str,
    size: int,
) -> None:
    key = ec.generate_private_key(curve)
    header, claims, signature, message = _sign(make_result(), key)
    assert header == {"alg": algorithm, "typ": "eat+jwt"}
    check_claims(claims)
    assert len(signature) == size
    r, s = (int.from_bytes(half, "big") for half in (signature[: size // 2], signature[size // 2 :]))
    der = utils.encode_dss_signature(r, s)
    key.public_key().verify(der, message, ec.ECDSA(digest))
    assert _sign(make_result(), key)[2] == signature


def test_ed25519_tokens(make_result: MakeResult) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    header, claims, signature, message = _sign(make_result(MISMATCH), key, key_id="key-1", nonce=NONCE)
    assert header == {"alg": "EdDSA", "typ": "eat+jwt", "kid": "key-1"}
    check_claims(claims)
    assert isinstance(claims, dict)
    assert claims["ear_status"] == "contraindicated"
    key.public_key().verify(signature, message)


def test_other_keys_are_refused(make_result: MakeResult) -> None:
    for key in (
        rsa.generate_private_key(65537, 2048),
        ec.generate_private_key(ec.SECP521R1()),
        ec.generate_private_key(ec.SECP256K1()),
        ed448.Ed448PrivateKey.generate(),
        b"secret",
    ):
        with pytest.raises(ConfigurationError) as refused:
            _sign(make_result(), key)
        assert refused.value.code == "signing-key"
