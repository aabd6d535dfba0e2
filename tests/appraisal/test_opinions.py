# SPDX-License-Identifier: Apache-2.0
"""Other verifiers' tokens: every way in which one was once taken for what it is not."""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from tests.trust.tokens import AT, P256, P384, RSA, Private, b64url, jwk, jwks, jws, pki

from nacre import reasons
from nacre.appraisal import opinions
from nacre.appraisal.opinions import KINDS, Expected, Opinion, Stance
from nacre.checks import Check, Status
from nacre.errors import (
    ConfigurationError,
    MalformedEvidence,
    NacreError,
    UnsupportedEvidence,
    VerificationError,
)
from nacre.trust import cbor
from nacre.trust.jwk import read_keys

Claims = dict[str, object]

NONCE = bytes(range(32))
ME = "https://me.example"
TENANT = "https://mine.weu.attest.azure.net"
GOOGLE = "https://confidentialcomputing.googleapis.com"
NVIDIA = "https://nras.attestation.nvidia.com"
INTEL = "https://portal.trustauthority.intel.com"
TIMES: Claims = {"iat": AT - 10, "nbf": AT - 10, "exp": AT + 3600}

MAA: Claims = {
    **TIMES,
    "iss": TENANT,
    "x-ms-ver": "1.0",
    "x-ms-attestation-type": "sevsnpvm",
    "x-ms-policy-hash": "abc",
    "x-ms-runtime": {"nonce": NONCE.hex()},
}
GCP: Claims = {
    **TIMES,
    "iss": GOOGLE,
    "aud": ME,
    "sub": "instance",
    "eat_nonce": ["another nonce", NONCE.hex()],
    "hwmodel": "GCP_INTEL_TDX",
    "dbgstat": "disabled-since-boot",
    "secboot": True,
    "swname": "CONFIDENTIAL_SPACE",
    "submods": {"confidential_space": {"support_attributes": ["LATEST", "STABLE", "USABLE"]}},
}
ITA: Claims = {
    **TIMES,
    "iss": INTEL,
    "eat_profile": f"{INTEL}/eat_profile.html",
    "verifier_nonce": {"val": NONCE.hex(), "iat": "x", "signature": "x"},
    "policy_ids_matched": [{"id": "p"}],
    "tdx": {"attester_type": "TDX", "attester_tcb_status": "UpToDate", "dbgstat": "disabled"},
}
EAR: Claims = {
    "eat_profile": "tag:ietf.org,2026:rats/ear#03",
    "ear_status": "affirming",
    "iat": AT - 10,
    "exp": AT + 3600,
    "ear_verifier_id": {"developer": "https://verifier.example", "build": "1"},
    "eat_nonce": b64url(NONCE),
    "submods": {"cpu": {"ear_status": "affirming", "ear_trustworthiness_vector": {"hardware": 2}}},
}
_KIND: Mapping[str, tuple[Claims, Private, str, str]] = {
    "maa": (MAA, RSA, "RS256", TENANT),
    "confidential-space": (GCP, RSA, "RS256", GOOGLE),
    "trust-authority": (ITA, RSA, "PS384", INTEL),
    "ear": (EAR, P256, "ES256", "https://verifier.example"),
}
JWTS = sorted(_KIND)


def token(kind: str, /, **changed: object) -> bytes:
    claims, usual, algorithm, _ = _KIND[kind]
    made = {name: value for name, value in (claims | changed).items() if value is not None}
    return jws(made, usual, algorithm, kid="k1")


def keys(kind: str = "nras") -> bytes:
    return jwks(jwk(_KIND[kind][1] if kind in _KIND else P384, kid="k1"))


def expected(kind: str = "", **changed: object) -> Expected:
    issuers = (_KIND[kind][3],) if kind in ("maa", "trust-authority") else ()
    audience = ME if kind == "confidential-space" else None
    given: dict[str, object] = {"at": AT, "issuers": issuers, "audience": audience, "nonce": NONCE}
    return Expected(**(given | changed))  # type: ignore[arg-type]


def verify(
    kind: str, made: bytes | None = None, *, pinned: bytes | None = None, **changed: object
) -> Opinion:
    return opinions.verify(
        token(kind) if made is None else made,
        keys=read_keys(pinned or keys(kind)),
        expected=expected(kind, **changed),
    )


def refused(
    kind: str, made: bytes | None = None, *, pinned: bytes | None = None, **changed: object
) -> tuple[str, tuple[Check, ...]]:
    with pytest.raises(VerificationError) as raised:
        verify(kind, made, pinned=pinned, **changed)
    assert "?" not in str(raised.value)
    assert raised.value.check in reasons.checks()
    assert all(check.status is not Status.FAIL for check in raised.value.trail)
    return raised.value.code, raised.value.trail


@pytest.mark.parametrize("kind", JWTS)
def test_a_token_that_is_in_order(kind: str) -> None:
    opinion = verify(kind)
    assert (opinion.kind, opinion.stance, opinion.expires) == (kind, Stance.AFFIRMS, AT + 3600)
    assert opinion.issuer.startswith(_KIND[kind][3])
    assert opinion.signer.key_id == "k1"
    assert {check.status for check in opinion.checks} <= {Status.PASS, Status.SKIPPED}
    assert opinion.checks[0].id == "token.signature"
    assert opinions.kind_of(token(kind)) == kind


@pytest.mark.parametrize("kind", JWTS)
@pytest.mark.parametrize("algorithm", ["none", "HS256", "ES512", "RS512"])
def test_the_algorithm_is_not_the_tokens_to_choose(kind: str, algorithm: str) -> None:
    head, body, signature = token(kind).decode().split(".")
    header = b64url(json.dumps({"alg": algorithm, "kid": "k1"}).encode())
    for forged in (f"{header}.{body}.{signature}", f"{header}.{body}."):
        code, trail = refused(kind, forged.encode())
        assert (code, trail) == ("jws-algorithm", ())
    assert head


@pytest.mark.parametrize("kind", JWTS)
def test_a_stranger_signs(kind: str) -> None:
    _, usual, algorithm, _ = _KIND[kind]
    stranger = ec.generate_private_key(ec.SECP256R1()) if usual is P256 else _other_rsa()
    brought = {"jwk": jwk(stranger, kid="k1"), "jku": f"{TENANT}/certs", "x5c": pki(stranger, stranger).x5c}
    forged = jws(_KIND[kind][0], stranger, algorithm, kid="k1", **brought)
    assert refused(kind, forged)[0] == "signature-invalid"


def _other_rsa() -> Private:
    from cryptography.hazmat.primitives.asymmetric import rsa

    return rsa.generate_private_key(65537, 2048)


@pytest.mark.parametrize("kind", JWTS)
def test_times(kind: str) -> None:
    for at, code in ((AT + 3600, "token-expired"), (AT - 71, "token-future")):
        found, trail = refused(kind, at=at)
        assert found == code
        assert [check.id for check in trail] == ["token.signature", "token.issuer"]
    assert verify(kind, at=AT + 3599).expires == AT + 3600
    assert verify(kind, at=AT - 70).issued_at == AT - 10
    assert refused(kind, token(kind, nbf=AT + 61))[0] == "token-not-yet"
    assert refused(kind, max_age=9)[0] == "token-old"
    assert verify(kind, max_age=10).kind == kind


@pytest.mark.parametrize("kind", JWTS)
def test_a_token_without_end_is_a_reservation(kind: str) -> None:
    opinion = verify(kind, token(kind, exp=None))
    assert [check.reason for check in opinion.checks if check.status is Status.WARN] == ["token-endless"]
    bounded = verify(kind, token(kind, exp=None), max_age=10)
    assert not [check for check in bounded.checks if check.status is Status.WARN]


@pytest.mark.parametrize("kind", JWTS)
def test_audiences(kind: str) -> None:
    assert refused(kind, audience="https://somebody-else.example")[0] == "token-audience"
    with pytest.raises(ConfigurationError) as raised:
        verify(kind, token(kind, aud=["https://other.example"]), audience=None)
    assert raised.value.code == "token-audience-needed"
    assert "other.example" in str(raised.value)
    assert verify(kind, token(kind, aud=["https://other.example", ME]), audience=ME).kind == kind
    assert refused(kind, token(kind, aud=[]), audience=ME)[0] == "token-audience"


@pytest.mark.parametrize("kind", JWTS)
def test_nonces(kind: str) -> None:
    code, trail = refused(kind, nonce=bytes(32))
    assert code == "token-nonce"
    assert len(trail) == 4
    assert refused(kind, nonce=NONCE[:31] + b"x")[0] == "token-nonce"
    unasked = verify(kind, nonce=None)
    assert "token-no-nonce" in {check.reason for check in unasked.checks}
    name = "eat_nonce" if kind != "maa" else "nonce"
    for written in (NONCE.hex(), b64url(NONCE), b64url(NONCE) + "="):
        made = token(kind, **({"verifier_nonce": None, "x-ms-runtime": None} | {name: written}))
        assert verify(kind, made).kind == kind
    assert verify(kind, token(kind, **{name: "my own words"}), nonce="my own words").kind == kind
    assert refused(kind, token(kind, **{name: "my own words"}), nonce="my own word")[0] == "token-nonce"
    for size in (7, 65):
        with pytest.raises(ConfigurationError):
            verify(kind, nonce=bytes(size))


@pytest.mark.parametrize("kind", ["maa", "trust-authority"])
def test_whoever_may_run_an_issuer_has_to_be_named(kind: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        verify(kind, issuers=())
    assert raised.value.code == "token-issuer-needed"
    assert _KIND[kind][3] in str(raised.value)


@pytest.mark.parametrize("kind", JWTS)
def test_an_issuer_of_another_tenant(kind: str) -> None:
    other = "https://theirs.weu.attest.azure.net"
    assert refused(kind, issuers=(other,))[0] == "token-issuer"
    if kind != "ear":
        for issuer in (other, _KIND[kind][3] + "/", _KIND[kind][3].upper()):
            assert refused(kind, token(kind, iss=issuer))[0] == "token-issuer"
        return
    by_key = verify(kind, token(kind, iss=other))
    assert by_key.issuer.startswith(other)
    assert by_key.checks[1].reason == "token-issuer-unasked"
    assert verify(kind, issuers=(_KIND[kind][3],)).checks[1].status is Status.PASS


@pytest.mark.parametrize("kind", JWTS)
def test_a_claim_twice(kind: str) -> None:
    claims, usual, algorithm, _ = _KIND[kind]
    twice = json.dumps(claims).replace("{", '{"exp": 1, ', 1).encode()
    with pytest.raises(MalformedEvidence) as raised:
        verify(kind, jws(twice, usual, algorithm, kid="k1"))
    assert raised.value.code == "json-duplicate-key"


@pytest.mark.parametrize("kind", JWTS)
@pytest.mark.parametrize(
    "changed",
    [
        *({"iat": value} for value in (None, "now", 1.5, -1, True)),
        *({"exp": "x"}, {"nbf": 1.5}, {"aud": 7}, {"aud": [7]}),
    ],
)
def test_claims_of_another_type(kind: str, changed: Claims) -> None:
    with pytest.raises(MalformedEvidence) as raised:
        verify(kind, token(kind, **changed))
    assert raised.value.code in ("token-claim", "ear-claim")
    assert "?" not in str(raised.value)


def test_an_issuer_is_not_missing() -> None:
    with pytest.raises(MalformedEvidence) as raised:
        verify("maa", token("maa", iss=None))
    assert raised.value.code == "token-claim"


@pytest.mark.parametrize(
    ("kind", "changed", "check"),
    [
        ("maa", {"x-ms-sevsnpvm-is-debuggable": True}, "token.debug"),
        ("maa", {"x-ms-isolation-tee": {"x-ms-sgx-is-debuggable": "true"}}, "token.debug"),
        ("maa", {"tdx_td_attributes_debug": True}, "token.debug"),
        ("maa", {"x-ms-sevsnpvm-migration-allowed": True}, "token.platform"),
        ("confidential-space", {"dbgstat": "enabled"}, "token.debug"),
        ("confidential-space", {"secboot": False}, "token.platform"),
        ("confidential-space", {"hwmodel": "GCP_AMD_SEV"}, "token.platform"),
        ("confidential-space", {"swname": "GCE"}, "token.platform"),
        ("confidential-space", {"submods": {}}, "token.platform"),
        ("confidential-space", {"submods": []}, "token.platform"),
        (
            "confidential-space",
            {"submods": {"confidential_space": {"support_attributes": ["USABLE"]}}},
            "token.platform",
        ),
        ("trust-authority", {"tdx": {"tdx_td_attributes_debug": True}}, "token.debug"),
        ("trust-authority", {"tdx": {"dbgstat": "enabled"}}, "token.debug"),
        ("trust-authority", {"attester_type": "SGX", "sgx_is_debuggable": True}, "token.debug"),
        ("trust-authority", {"tdx": {"attester_tcb_status": "OutOfDate"}}, "token.platform"),
        ("trust-authority", {"nvgpu": {"x-nvidia-overall-att-result": False}}, "token.platform"),
    ],
)
def test_what_the_issuer_lets_pass_is_told(kind: str, changed: Claims, check: str) -> None:
    opinion = verify(kind, token(kind, **changed))
    (warned,) = [made for made in opinion.checks if made.status is Status.WARN]
    assert warned.id == check
    assert "?" not in reasons.explain(warned)
    assert opinion.stance is Stance.AFFIRMS


@pytest.mark.parametrize(
    ("changed", "stance"),
    [
        ({}, Stance.AFFIRMS),
        ({"policy_ids_matched": None}, Stance.SILENT),
        ({"policy_ids_unmatched": [{"id": "q"}]}, Stance.OBJECTS),
        ({"policy_ids_matched": None, "policy_ids_unmatched": [{"id": "q"}]}, Stance.OBJECTS),
        ({"policy_ids_unmatched": []}, Stance.AFFIRMS),
    ],
)
def test_intel_issues_tokens_whether_or_not_policies_match(changed: Claims, stance: Stance) -> None:
    assert verify("trust-authority", token("trust-authority", **changed)).stance is stance
    with pytest.raises(MalformedEvidence):
        verify("trust-authority", token("trust-authority", policy_ids_unmatched="none"))


def test_a_google_token_under_its_root() -> None:
    made = pki(RSA, RSA)
    signed = jws(GCP, RSA, "RS256", x5c=made.x5c)
    opinion = verify("confidential-space", signed, pinned=made.root_pem)
    assert (opinion.signer.anchor, opinion.signer.key_id) == ("Token Root", "Token Leaf")
    stranger = pki(_other_rsa(), RSA)
    assert refused("confidential-space", signed, pinned=stranger.root_pem)[0] == "signature-invalid"


# EAR


@pytest.mark.parametrize(
    ("said", "vector", "whole"),
    [
        ("affirming", {"hardware": 32}, None),
        ("affirming", {"hardware": 2, "configuration": 96}, None),
        ("affirming", {"hardware": 1}, None),
        ("affirming", {"hardware": -1}, None),
        ("affirming", {"hardware": -33}, None),
        ("none", {"hardware": 32}, None),
        ("warning", {"executables": 99}, None),
        ("warning", {"hardware": 2}, "affirming"),
        ("contraindicated", {"hardware": 96}, "warning"),
        ("none", {"hardware": 2}, "affirming"),
        ("contraindicated", None, "affirming"),
    ],
)
def test_a_status_better_than_its_worst_part(said: str, vector: Claims | None, whole: str | None) -> None:
    submod: Claims = {"ear_status": said}
    if vector is not None:
        submod["ear_trustworthiness_vector"] = vector
    good = {"ear_status": "affirming", "ear_trustworthiness_vector": {"hardware": 2}}
    for submods in ({"cpu": submod}, {"gpu": good, "cpu": submod}):
        code, trail = refused("ear", token("ear", ear_status=whole, submods=submods))
        assert code == "token-better-than-part"
        assert len(trail) == 5


@pytest.mark.parametrize(
    ("said", "stance"),
    [
        ("affirming", Stance.AFFIRMS),
        ("none", Stance.SILENT),
        ("warning", Stance.RESERVES),
        ("contraindicated", Stance.OBJECTS),
    ],
)
def test_the_worst_part_is_what_is_said(said: str, stance: Stance) -> None:
    vector = {"hardware": 2, "file-system": 0, "configuration": 0}
    submods = {
        "gpu": {"ear_status": "affirming", "ear_trustworthiness_vector": vector},
        "cpu": {"ear_status": said, "ear_trustworthiness_vector": vector},
    }
    opinion = verify("ear", token("ear", ear_status=None, submods=submods))
    assert (opinion.stance, opinion.said, opinion.subject) == (stance, said, "gpu, cpu")
    assert dict(opinion.parts[1].claims) == {**vector, "policies": []}


def test_claims_that_were_left_out_are_not_consistent_by_themselves() -> None:
    opinion = verify("ear", token("ear", submods={"cpu": {"ear_status": "affirming"}}))
    assert opinion.checks[-1].reason == "ear-no-vector"


def test_rsassa_pkcs1_does_not_sign_results() -> None:
    made = jws(EAR, RSA, "RS256", kid="k1")
    assert refused("ear", made, pinned=jwks(jwk(RSA, kid="k1")))[0] == "jws-algorithm"


# NRAS


def bundle(
    *, keep: int = 9, extra: bool = False, swap: bool = False, key: Private = P384, **changed: object
) -> bytes:
    """Make a bundle of two GPUs; ``device`` and ``overall`` change claims of the second one and on top."""
    common: Claims = {**TIMES, "iss": NVIDIA, "eat_nonce": NONCE.hex()}
    device: Claims = {**common, "measres": "success", "secboot": True, "dbgstat": "disabled"}
    device["x-nvidia-gpu-driver-rim-cert-chain"] = {"x-nvidia-cert-status": "valid"}
    first = jws(device, P384, "ES384", kid="k1").decode()
    second = jws(device | dict(changed.get("device", {})), key, "ES384", kid="k1").decode()  # type: ignore[call-overload]
    submods = {
        name: ["DIGEST", ["SHA-256", hashlib.sha256(made.encode()).hexdigest()]]
        for name, made in (("GPU-0", first), ("GPU-1", second))
    }
    overall = {**common, "x-nvidia-overall-att-result": True, "submods": submods, "x-nvidia-ver": "3.0"}
    overall |= dict(changed.get("overall", {}))  # type: ignore[call-overload]
    devices = {"GPU-0": first, "GPU-1": first if swap else second}
    devices = dict(list(devices.items())[:keep]) | ({"GPU-2": first} if extra else {})
    return json.dumps([["JWT", jws(overall, P384, "ES384", kid="k1").decode()], devices]).encode()


def test_a_bundle_that_is_in_order() -> None:
    opinion = verify("nras", bundle())
    assert (opinion.stance, opinion.said, opinion.subject) == (Stance.AFFIRMS, "passed", "GPU-0, GPU-1")
    assert [part.said for part in opinion.parts] == ["success", "success"]
    assert opinion.parts[0].claims["secboot"] is True


@pytest.mark.parametrize(
    ("made", "code"),
    [
        (bundle(keep=1), "nras-devices"),
        (bundle(keep=0), "nras-devices"),
        (bundle(extra=True), "nras-devices"),
        (bundle(swap=True), "nras-digest"),
        (bundle(key=ec.generate_private_key(ec.SECP384R1())), "signature-invalid"),
        (bundle(device={"eat_nonce": "another one"}), "token-nonce"),
        (bundle(device={"exp": AT}), "token-expired"),
        (bundle(device={"iss": "https://nras.attestation-stg.nvidia.com"}), "token-issuer"),
        (bundle(overall={"iss": "https://nras.attestation-stg.nvidia.com"}), "token-issuer"),
        (bundle(overall={"eat_nonce": bytes(32).hex()}), "token-nonce"),
        (bundle(device={"measres": "fail"}), "token-better-than-part"),
        (bundle(device={"secboot": False}), "token-better-than-part"),
        (bundle(device={"x-nvidia-gpu-arch-check": False}), "token-better-than-part"),
        (bundle(device={"chain": {"x-nvidia-cert-status": "revoked"}}), "token-better-than-part"),
        (bundle(device={"chain": {"x-nvidia-cert-ocsp-status": "unknown"}}), "token-better-than-part"),
    ],
)
def test_bundles_that_do_not_hold_together(made: bytes, code: str) -> None:
    assert refused("nras", made)[0] == code


def test_a_bundle_of_another_key() -> None:
    assert refused("nras", bundle(), pinned=jwks(jwk(P256, kid="k1")))[0] == "jws-algorithm"
    other = ec.generate_private_key(ec.SECP384R1())
    assert refused("nras", bundle(), pinned=jwks(jwk(other, kid="k1")))[0] == "signature-invalid"


def test_a_failed_overall_result_is_an_objection() -> None:
    opinion = verify(
        "nras", bundle(overall={"x-nvidia-overall-att-result": False}, device={"measres": "fail"})
    )
    assert (opinion.stance, opinion.said) == (Stance.OBJECTS, "failed")


@pytest.mark.parametrize(
    ("device", "check"),
    [({"dbgstat": "enabled"}, "token.debug"), ({"x-nvidia-attestation-warning": "old"}, "token.platform")],
)
def test_what_nvidia_lets_pass_is_told(device: Claims, check: str) -> None:
    opinion = verify("nras", bundle(device=device))
    assert [made.id for made in opinion.checks if made.status is Status.WARN] == [check]


@pytest.mark.parametrize(
    "made",
    [
        b"[]",
        b'[["JWT"],{}]',
        b'[["CWT","a.b.c"],{}]',
        b'[["JWT","a.b.c"],{"GPU-0":7}]',
        b'[["JWT","a.b.c"],{},1]',
        json.dumps([["JWT", "a.b.c"], {str(n): "a.b.c" for n in range(65)}]).encode(),
        bundle(overall={"submods": {}}),
        bundle(overall={"submods": {"GPU-0": "x"}}),
        bundle(overall={"submods": {"GPU-0": ["DIGEST", ["SHA-1", "00"]]}}),
        bundle(overall={"submods": {"GPU-0": ["DIGEST", ["SHA-256", "zz"]]}}),
        bundle(overall={"submods": {"GPU-0": ["DIGEST", ["SHA-256", "00" * 33]]}}),
        bundle(overall={"x-nvidia-overall-att-result": "true"}),
        bundle(device={"measres": None}),
        bundle().replace(b'"GPU-1": "', b'"GPU-0": "', 1),
    ],
)
def test_malformed_bundles(made: bytes) -> None:
    with pytest.raises(MalformedEvidence) as raised:
        opinions.verify(made, keys=read_keys(keys()), expected=expected(), kind="nras")
    assert "?" not in str(raised.value)


def test_tokens_in_bundles_are_ascii() -> None:
    for made in ([["JWT", "é.é.é"], {}], [["JWT", bundle().decode()[11:]], {"GPU-0": "é"}]):
        with pytest.raises(MalformedEvidence) as raised:
            opinions.verify(
                json.dumps(made).encode(), keys=read_keys(keys()), expected=expected(), kind="nras"
            )
        assert raised.value.code in ("base64url", "jws-form")


# All kinds


@pytest.mark.parametrize(
    ("made", "error", "code"),
    [
        (jws({"hello": 1}), UnsupportedEvidence, "token-kind"),
        (jws({**EAR, "eat_profile": "tag:somebody.example,2027:ear"}), UnsupportedEvidence, "ear-profile"),
        (jws({"ear.verifier-id": {}}), UnsupportedEvidence, "ear-profile"),
        (json.dumps(EAR).encode(), MalformedEvidence, "token-unsigned"),
        (cbor.dumps({265: "tag:ietf.org,2026:rats/ear#03"}), MalformedEvidence, "token-unsigned"),
        (jws([1, 2]), MalformedEvidence, "token-claim"),  # type: ignore[arg-type]
        (b"\xd2\x84\x43\xa1\x01\x26\xa0\x41\x80\x40", MalformedEvidence, "token-claim"),
        (b"\x80", MalformedEvidence, "token-claim"),
        (b"[1]", MalformedEvidence, "token-claim"),
        (b'[["JWT","e30"],{}]', MalformedEvidence, "truncated"),
        (b"", MalformedEvidence, "truncated"),
        (b"a.b", MalformedEvidence, "jws-form"),
    ],
)
def test_what_is_no_token(made: bytes, error: type[NacreError], code: str) -> None:
    with pytest.raises(error) as raised:
        opinions.verify(made, keys=read_keys(keys()), expected=expected())
    assert raised.value.code == code
    assert "?" not in str(raised.value)


def test_kinds_that_do_not_exist() -> None:
    with pytest.raises(ConfigurationError) as raised:
        opinions.verify(token("ear"), keys=read_keys(keys("ear")), expected=expected(), kind="os")
    assert raised.value.code == "token-kind-unknown"


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_that_the_caller_knows(kind: str) -> None:
    """One kind's token is not another's, whatever it is taken for."""
    for other in JWTS:
        with suppress(NacreError):
            made = opinions.verify(
                token(other), keys=read_keys(keys(other)), expected=expected(other), kind=kind
            )
            assert made.kind == kind == other


def test_what_is_shown_of_a_token() -> None:
    shown = opinions.show(jws(EAR, kid="k", jku="https://x.example", x5c=pki().x5c))
    assert (shown.form, shown.algorithm, shown.key_id) == ("JWT", "ES256", "k")
    assert shown.untrusted == ("jku", "x5c")
    parts = opinions.show(bundle()).parts
    assert parts["GPU-1"]["measres"] == "success"
    bare = json.dumps([["JWT", jws(EAR).decode()], {"a": b64url(b'{"x":1}')}]).encode()
    assert opinions.show(bare).parts == {"a": {"x": 1}}
    with pytest.raises(MalformedEvidence):
        opinions.show(json.dumps([["JWT", jws(EAR).decode()], {"a": 7}]).encode())


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


@given(st.data())
def test_claims_of_any_shape_end_in_an_outcome(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(JWTS))
    claims = dict(_KIND[kind][0])
    for name in data.draw(st.lists(st.sampled_from(sorted(claims)), max_size=2)):
        claims[name] = data.draw(_VALUES)
    head = b64url(json.dumps({"alg": _KIND[kind][2], "kid": "k1"}).encode())
    made = f"{head}.{b64url(json.dumps(claims).encode())}.AA".encode()
    with pytest.raises(NacreError) as raised:
        opinions.verify(made, keys=read_keys(keys(kind)), expected=expected(kind), kind=kind)
    assert raised.value.code in reasons.reasons()
