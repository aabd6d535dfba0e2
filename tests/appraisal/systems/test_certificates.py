# SPDX-License-Identifier: Apache-2.0
"""Certificates with evidence: real ones of three libraries, and bad ones of ours."""

import base64
import datetime as dt
import hashlib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from tests.appraisal.systems.guests import TODAY, appraised, certificate, release, spki
from tests.platforms.dcap.judging import found, policy
from tests.platforms.dcap.pki import NOW, World, key

from nacre import platforms
from nacre.appraisal.appraise import appraise
from nacre.appraisal.release import Release
from nacre.appraisal.result import Result
from nacre.appraisal.systems import certificate as certificates
from nacre.appraisal.systems import get
from nacre.appraisal.systems.envelope import recognise, unwrap
from nacre.appraisal.systems.ratls import SYSTEM
from nacre.appraisal.verdict import Verdict
from nacre.checks import Status
from nacre.errors import MalformedEvidence, UnsupportedEvidence
from nacre.platforms.base import Endorsements
from nacre.testing.cases import load
from nacre.trust import cbor
from nacre.trust.anchors import Origin

_PEMS = Path(__file__).parents[2] / "vectors" / "systems" / "ra-tls"
_SGX_CASES = Path(__file__).parents[2] / "vectors" / "sgx"
REAL = ("gramine-cert.pem", "intel-sgxsdk-cert.pem", "rats-tls-cert.pem")
EVIDENCE, ENDORSEMENTS = "2.23.133.5.4.9", "2.23.133.5.4.2"
SDK = "1.2.840.113741.1.13.1"
NONCE = bytes(range(20))

_SGX = f"""
id = "worm-1"
[[sgx]]
mrenclave = "{"01" * 32}"
"""


def _tagged(number: int, value: object) -> bytes:
    return b"\xd9" + number.to_bytes(2, "big") + cbor.dumps(value)


def _claims(key_der: bytes, number: int = 1, **others: bytes) -> bytes:
    digest = {1: hashlib.sha256, 7: hashlib.sha384, 8: hashlib.sha512}.get(number, hashlib.sha1)
    entry = cbor.dumps([number, digest(key_der).digest()])
    return cbor.dumps({"pubkey-hash": entry} | others)


def _world(claims: bytes) -> World:
    return World(tee="sgx", version=3, report={"report_data": hashlib.sha256(claims).digest()})


def _carrying(quote: bytes, claims: bytes, **options: object) -> bytes:
    return certificate({EVIDENCE: _tagged(60000, [quote, claims])}, **options)  # type: ignore[arg-type]


def _judged(claims: bytes, data: bytes | None = None, **options: object) -> Result:
    world = _world(claims)
    envelope = _carrying(world.quote, claims) if data is None else data
    return appraised(envelope, world, release("ra-tls/key", text=_SGX), **options)  # type: ignore[arg-type]


def _refusals(result: Result) -> set[str]:
    assert result.verdict is Verdict.REJECTED
    return {f"{check.id}: {check.reason}" for check in result.checks if check.status is Status.FAIL}


# ── Real certificates ──


@pytest.mark.parametrize("name", REAL)
def test_real_certificates_are_bound_to_their_keys(name: str) -> None:
    data = (_PEMS / name).read_bytes()
    envelope = recognise(data, given={})
    assert envelope is not None
    assert (envelope.system.name, envelope.layout and envelope.layout.name) == ("ra-tls", "ra-tls/key")
    platform = platforms.detect(envelope.evidence)
    assert platform.name == "sgx"
    # The report data is where Intel's structure has it; the binding was computed from the certificate.
    assert envelope.binding is not None
    assert envelope.binding.digest == envelope.evidence[368:432]
    assert not envelope.binding.contradiction
    assert [check.status for check in certificates.read(data).checks(1_677_083_000)] == [Status.PASS] * 2


@pytest.mark.parametrize(("name", "system"), [(REAL[0], "ra-tls"), (REAL[0], "gramine"), (REAL[2], "ra-tls")])
def test_real_certificates_are_verified_to_intels_root(name: str, system: str) -> None:
    """And refused for what they are: debug enclaves on machines with old microcode."""
    case = load(_SGX_CASES / "confidential-v3-00606a000000-e15-policy-debug-77bcbd")
    envelope = unwrap((_PEMS / name).read_bytes(), name=system, given={})
    assert envelope.layout is not None
    code = envelope.evidence[112:144].hex()
    text = f'id = "real"\nlayout = "{envelope.layout.name}"\n[[sgx]]\nmrenclave = "{code}"\n'
    result = appraise(
        envelope.evidence,
        policy=policy("sgx", *platforms.get("sgx").anchors(), releases=(Release.parse(text),)),
        endorsements=Endorsements(case.collateral),
        at=case.at,
        envelope=envelope,
    )
    assert result.origin is Origin.GENUINE
    assert {check.id for check in result.checks if check.status is Status.FAIL} == {
        "dcap.tcb-status",
        "dcap.advisories",
        "debug",
    }
    for check in ("executables", "binding", "certificate.possession"):
        assert found(result, check).status is Status.PASS


def test_gramines_own_form_is_read_where_it_is_asked_for() -> None:
    data = (_PEMS / REAL[0]).read_bytes()
    envelope = unwrap(data, name="gramine", given={})
    assert envelope.binding is not None
    assert envelope.binding.digest == envelope.evidence[368:432]
    assert get("gramine").recognises(data)
    assert envelope.evidence != unwrap(data, name="ra-tls", given={}).evidence
    other = unwrap(data, name="ra-tls", given={})
    assert other.opened.described["not_looked_at"]


def test_der_is_read_like_pem() -> None:
    text = (_PEMS / REAL[2]).read_text()
    der = base64.b64decode("".join(text.split("-----")[2].split()))
    envelope, again = recognise(der, given={}), recognise(text.encode(), given={})
    assert envelope is not None
    assert again is not None
    assert envelope.evidence == again.evidence
    assert envelope.binding == again.binding


@pytest.mark.parametrize("name", REAL)
def test_no_real_certificate_survives_a_flipped_bit(name: str) -> None:
    """In the signed part; the signature and the evidence have their own tests."""
    text = (_PEMS / name).read_text()
    der = base64.b64decode("".join(text.split("-----")[2].split()))
    for place in range(0, len(der) - 120, 331):
        flipped = der[:place] + bytes((der[place] ^ 1,)) + der[place + 1 :]
        try:
            checks = certificates.read(flipped).checks(1_677_083_000)
        except MalformedEvidence:
            continue
        assert checks[0].status is not Status.PASS, place


# ── Interoperable RA-TLS ──


@pytest.mark.parametrize("number", [1, 7, 8])
def test_a_certificate_is_bound_to_its_key(number: int) -> None:
    result = _judged(_claims(spki(), number, other=b"ignored"))
    assert result.verdict is Verdict.WARNING
    assert [check.id for check in result.problems()] == ["freshness"]
    assert result.foreign is not None
    assert result.foreign.unprotected == ("replay", "relay", "diversion", "reflection")
    assert result.foreign.described["key_sha256"] == hashlib.sha256(spki()).digest()


def test_a_nonce_of_ours_makes_it_fresh() -> None:
    claims = _claims(spki(), nonce=NONCE)
    world = _world(claims)
    data = _carrying(world.quote, claims)
    named = release("ra-tls/nonce", text=_SGX)
    result = appraised(data, world, named, waive=(), given={"nonce": NONCE})
    assert result.verdict is Verdict.VERIFIED
    result = appraised(data, world, named, waive=(), given={"nonce": bytes(20)})
    assert _refusals(result) == {"binding: claims-other-nonce"}
    without = _claims(spki())
    result = appraised(
        _carrying(_world(without).quote, without), _world(without), named, waive=(), given={"nonce": NONCE}
    )
    assert _refusals(result) == {"binding: claims-other-nonce"}
    # A nonce that is there and that nobody chose is no nonce.
    assert appraised(data, world, release("ra-tls/key", text=_SGX), waive=()).verdict is Verdict.INCOMPLETE


@pytest.mark.parametrize(
    "claims",
    [
        _claims(spki("victim")),
        _claims(spki(), 2),
        cbor.dumps({"pubkey-hash": b""}),
        cbor.dumps({"pubkey-hash": cbor.dumps([1])}),
        cbor.dumps({"pubkey-hash": 1}),
        cbor.dumps({"nonce": NONCE}),
        cbor.dumps([]),
        b"",
        b"\xa2" + (cbor.dumps("pubkey-hash") + cbor.dumps(cbor.dumps([1, bytes(32)]))) * 2,
    ],
    ids=["other key", "other hash", "empty", "short", "number", "none", "array", "nothing", "twice"],
)
def test_claims_that_do_not_name_the_key_are_refused(claims: bytes) -> None:
    assert _refusals(_judged(claims)) == {"binding: claims-other-key"}


def test_claims_that_the_quote_does_not_commit_to_are_refused() -> None:
    genuine = _world(_claims(spki("victim")))
    swapped = _carrying(genuine.quote, _claims(spki()))
    result = appraised(swapped, genuine, release("ra-tls/key", text=_SGX))
    assert _refusals(result) == {"binding: binding-mismatch"}


def test_the_key_of_the_connection_goes_before_the_certificates() -> None:
    assert _judged(_claims(spki()), given={"key": spki()}).verdict is Verdict.WARNING
    result = _judged(_claims(spki()), given={"key": spki("other")})
    assert _refusals(result) == {"binding: claims-other-key"}


def test_the_bytes_after_the_digest_are_zero() -> None:
    claims = _claims(spki())
    data = hashlib.sha256(claims).digest() + bytes(31) + b"\1"
    world = World(tee="sgx", version=3, report={"report_data": data})
    result = appraised(_carrying(world.quote, claims), world, release("ra-tls/key", text=_SGX))
    assert _refusals(result) == {"binding: binding-mismatch"}


def test_a_release_that_names_no_layout_takes_no_certificate() -> None:
    claims = _claims(spki())
    world = _world(claims)
    data = _carrying(world.quote, claims)
    result = appraised(data, world, release(text=_SGX))
    assert _refusals(result) == {"binding: layout-undeclared"}
    assert appraised(data, world).verdict is Verdict.INCOMPLETE
    assert found(appraised(data, world), "binding").reason == "layout-without-release"


# ── The certificate itself ──


def test_a_certificate_that_its_own_key_did_not_sign_is_refused() -> None:
    claims = _claims(spki())
    world = _world(claims)
    result = _judged(claims, _carrying(world.quote, claims, signer=key("attacker")))
    assert _refusals(result) == {"certificate.possession: certificate-foreign-signature"}


def test_issued_certificates_show_no_possession() -> None:
    claims = _claims(spki())
    issued = _carrying(_world(claims).quote, claims, issuer="somebody", signer=key("ca"))
    result = _judged(claims, issued)
    check = found(result, "certificate.possession")
    assert (check.status, check.actual) == (Status.NOT_APPLICABLE, "somebody")


def test_dates_are_its_makers_word() -> None:
    claims = _claims(spki())
    old = _carrying(_world(claims).quote, claims, ends=TODAY - dt.timedelta(hours=1))
    check = found(_judged(claims, old), "certificate.dates")
    assert (check.status, check.reason) == (Status.WARN, "certificate-dates")
    assert check.context["at"] == NOW


@pytest.mark.parametrize("curve", [ec.SECP384R1(), ec.SECP521R1()])
def test_signatures_by_other_curves(curve: ec.EllipticCurve) -> None:
    own = ec.derive_private_key(12345, curve)
    for algorithm in (hashes.SHA256(), hashes.SHA384(), hashes.SHA512()):
        made = certificate({EVIDENCE: b""}, subject_key=own, algorithm=algorithm)
        check = certificates.read(made).checks(NOW)[0]
        known = isinstance(curve, ec.SECP384R1) and not isinstance(algorithm, hashes.SHA512)
        assert check.status is (Status.PASS if known else Status.SKIPPED)


def test_a_signature_nobody_can_check_leaves_the_verdict_open() -> None:
    own = ec.derive_private_key(12345, ec.SECP521R1())
    spki_521 = certificates.read(certificate({EVIDENCE: b""}, subject_key=own)).certificate.spki
    claims = _claims(spki_521)
    made = _carrying(_world(claims).quote, claims, subject_key=own)
    result = _judged(claims, made)
    assert result.verdict is Verdict.INCOMPLETE
    assert found(result, "certificate.possession").reason == "certificate-algorithm"


# ── What is not read ──


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (_tagged(60001, [b"report", b"claims"]), "evidence-is-report"),
        (_tagged(60002, [b"report", b"claims"]), "evidence-is-report"),
        (_tagged(60003, [b"quote", b"claims"]), "evidence-tag"),
        (cbor.dumps([b"quote", b"claims"]), "evidence-tag"),
        (_tagged(60000, [b"quote"]), "evidence-form"),
        (_tagged(60000, [b"quote", b"claims", b"more"]), "evidence-form"),
        (_tagged(60000, ["quote", b"claims"]), "evidence-form"),
        (_tagged(60000, [b"quote", b"claims"]) + b"\0", "trailing-bytes"),
        (b"", "truncated"),
    ],
)
def test_other_evidence_is_refused(value: bytes, code: str) -> None:
    with pytest.raises((MalformedEvidence, UnsupportedEvidence)) as refused:
        SYSTEM.open(certificate({EVIDENCE: value}), {})
    assert refused.value.code == code
    assert str(refused.value)


def test_certificates_without_evidence_are_refused() -> None:
    plain = certificate({"1.2.3": b""})
    assert recognise(plain, given={}) is None
    for name in ("ra-tls", "gramine"):
        with pytest.raises(MalformedEvidence) as refused:
            unwrap(plain, name=name, given={})
        assert refused.value.code == "certificate-without-evidence"


def test_the_sdks_older_form_is_read_and_bound_to_nothing() -> None:
    world = World(tee="sgx", version=3)
    older = certificate({SDK: world.quote})
    result = appraised(older, world, release("ra-tls/key", text=_SGX))
    assert result.verdict is Verdict.INCOMPLETE
    assert found(result, "binding").reason == "binding-not-given"
    assert result.foreign is not None
    assert result.foreign.unprotected == ("replay", "relay", "diversion", "reflection")


def test_a_pck_certificate_is_no_envelope() -> None:
    """Intel's own certificates have an extension with the same identifier and other content."""
    assert recognise(World().der("pck"), given={}) is None


def test_bare_quotes_have_no_certificate_to_check() -> None:
    claims = _claims(spki())
    world = _world(claims)
    given = {"key": spki(), "claims": claims}
    result = appraised(world.quote, world, release("ra-tls/key", text=_SGX), name="ra-tls", given=given)
    assert result.verdict is Verdict.WARNING
    assert result.check("certificate.possession") is None
    gramine = World(tee="sgx", version=3, report={"report_data": hashlib.sha256(spki()).digest()})
    named = release("gramine/ra-tls", text=_SGX)
    result = appraised(gramine.quote, gramine, named, name="gramine", given={"key": spki()})
    assert result.verdict is Verdict.WARNING


def test_gramines_own_form_is_bound_to_the_key() -> None:
    oid = "0.6.9.42.840.113741.1337.6"
    named = release("gramine/ra-tls", text=_SGX)
    for owner, verdict in ((spki(), Verdict.WARNING), (spki("victim"), Verdict.REJECTED)):
        world = World(tee="sgx", version=3, report={"report_data": hashlib.sha256(owner).digest()})
        assert appraised(certificate({oid: world.quote}), world, named).verdict is verdict


# ── Endorsements in the certificate ──


def test_endorsements_that_come_along_are_offered() -> None:
    claims = _claims(spki())
    documents = [b"info\0", b"chain\0", b"crl", b"root crl", b"crl chain\0", b"identity\0", b"its chain\0"]
    for more in ([], [b"2026-06-01T00:00:00Z\0"]):
        value = _tagged(60000, [1, *documents, *more])
        made = certificate({EVIDENCE: _tagged(60000, [b"quote", claims]), ENDORSEMENTS: value})
        offered = SYSTEM.open(made, {}).endorsements
        assert offered["tcb_info"] == b"info"
        assert offered["root_ca_crl"] == b"root crl"
        assert offered["qe_identity_issuer_chain"] == b"its chain"
        assert len(offered) == 7


@pytest.mark.parametrize(
    "value", [cbor.dumps([1]), _tagged(60000, [1, b""]), _tagged(60001, [1, *[b""] * 7]), _tagged(60000, 1)]
)
def test_other_endorsements_are_refused(value: bytes) -> None:
    made = certificate({EVIDENCE: _tagged(60000, [b"quote", b""]), ENDORSEMENTS: value})
    with pytest.raises(MalformedEvidence) as refused:
        SYSTEM.open(made, {})
    assert refused.value.code == "evidence-form"
