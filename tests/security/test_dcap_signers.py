# SPDX-License-Identifier: Apache-2.0
"""Whose key signed it, and until when it counts.

Every way in which another verifier of SGX or TDX was once fooled here, as correctly signed evidence. The
numbers are those of the must-not-fail list that these tests were written from: A whose key signed it, B
revocation and time, C TCB evaluation, D parsing, E beyond the quote. What only concerns SEV-SNP (A6, B6,
C10 to C12, D1) is not here.
"""

from collections.abc import Mapping

import pytest
from tests.platforms.dcap.judging import claims_of, found, judge, refusal
from tests.platforms.dcap.pki import (
    NOW,
    PCESVN,
    SVNS,
    World,
    crl,
    extension_fields,
    integer,
    moment,
    pair,
    pem,
    resigned,
)

import nacre
from nacre.appraisal.appraise import accept
from nacre.appraisal.policy import Policy
from nacre.appraisal.verdict import Verdict
from nacre.checks import Status
from nacre.errors import AppraisalError
from nacre.platforms import sgx
from nacre.platforms.base import Endorsements
from nacre.platforms.dcap.evidence import parse_quote
from nacre.platforms.sgx.policy import SgxPolicy
from nacre.trust.anchors import Origin, private_anchor

TEES = pytest.mark.parametrize("tee", ["sgx", "tdx"])
DOCUMENTS = pytest.mark.parametrize(
    ("role", "check"), [("tcb_info", "dcap.tcb-info"), ("qe_identity", "dcap.qe-identity")]
)

_LEAF: dict[str, object] = {"ca": False}
_OTHER_ROOT: dict[str, dict[str, object]] = {
    "other": {"name": "Intel SGX Root CA", "issuer": "other", "path_length": 1, "serial": 21}
}


def _world(tee: str = "tdx", **changes: object) -> World:
    return World(tee=tee, version=3 if tee == "sgx" else 4).but(**changes)


@TEES
def test_what_is_attacked_here_is_good_without_the_attack(tee: str) -> None:
    """All of these tests would pass with a verifier that refuses everything; this one would not."""
    result = judge(_world(tee))
    assert result.verdict is Verdict.VERIFIED
    assert result.origin is Origin.PRIVATE
    assert result.platform == tee


# ── A. Whose key signed it ───────────────────────────────────────────────────────────────────────────


@DOCUMENTS
@TEES
def test_a1_a2_documents_signed_by_a_pck_key(tee: str, role: str, check: str) -> None:
    """dcap-qvl 0.7.0: one extracted PCK key forged TCB Info (A1) and QE identity (A2)."""
    chain = {f"{role}_issuer_chain": ("pck", "pck-ca", "root")}
    world = _world(tee, signers={role: "pck"}, chains=chain)
    assert refusal(world) == f"{check}: chain-length"
    # The same without the PCK CA, as if the root had issued the leaf: its name still gives it away.
    direct = {"leaf": {"name": "Intel SGX PCK Certificate", "ca": False, "usage": ("digital_signature",)}}
    short = {f"{role}_issuer_chain": ("leaf", "root")}
    world = _world(tee, signers={role: "leaf"}, chains=short, certificates=direct)
    assert refusal(world) == f"{check}: wrong-role"


@DOCUMENTS
def test_a1_a2_documents_signed_by_the_pck_authority(role: str, check: str) -> None:
    """dcap-qvl 0.7.0 checked the chain and not the role: a PCK CA is below the root as well."""
    chain = {f"{role}_issuer_chain": ("pck-ca", "root")}
    assert refusal(_world(signers={role: "pck-ca"}, chains=chain)) == f"{check}: wrong-role"
    assert refusal(_world(signers={role: "root"}, chains={f"{role}_issuer_chain": ("root",)})) == (
        f"{check}: chain-length"
    )


@DOCUMENTS
def test_a1_a2_documents_of_a_signer_whom_the_pck_key_certified(role: str, check: str) -> None:
    """dcap-qvl 0.7.0: the name alone is not enough either, if a leaf may issue it."""
    levels = {"signer": {"name": "Intel SGX TCB Signing", "issuer": "pck", "ca": False}}
    for chain in (("signer", "root"), ("signer",), ("signer", "pck", "pck-ca", "root")):
        world = _world(signers={role: "signer"}, certificates=levels, chains={f"{role}_issuer_chain": chain})
        assert refusal(world).startswith(f"{check}: ")


@DOCUMENTS
def test_a1_a2_documents_signed_by_another_key(role: str, check: str) -> None:
    """dcap-qvl 0.3.4 (A3): a good chain is worth nothing if the document's signature is not checked."""
    assert refusal(_world(signers={role: "somebody"})) == f"{check}: signature-invalid"


@pytest.mark.parametrize(
    ("what", "report"),
    [
        ("MRSIGNER", {"mr_signer": b"\7" * 32}),
        ("ISVPRODID", {"isv_prod_id": 9}),
        ("ATTRIBUTES", {"attributes": b"\x13" + bytes(15)}),  # debug
        ("ATTRIBUTES", {"attributes": b"\x01" + bytes(15)}),
        ("MISCSELECT", {"misc_select": 1}),
    ],
)
@TEES
def test_a3_any_enclave_as_quoting_enclave(tee: str, what: str, report: Mapping[str, bytes | int]) -> None:
    """dcap-qvl 0.3.4 (CVE-2026-22696): the quoting enclave was not held against its identity."""
    result = judge(_world(tee, qe_report=report))
    assert result.verdict is Verdict.REJECTED
    check = found(result, "dcap.qe-identity")
    assert (check.status, check.reason) == (Status.FAIL, "qe-identity-mismatch")
    assert check.context["what"] == what
    assert result.claims is None


@TEES
def test_a3_identity_of_another_enclave(tee: str) -> None:
    """dcap-qvl 0.3.4: identity of the other TEE's quoting enclave, or of the QvE, correctly signed."""
    for name in ("QE", "TD_QE", "QVE", "qe", "td_qe", ""):
        if name != ("TD_QE" if tee == "tdx" else "QE"):
            assert refusal(_world(tee, identity={"id": name})) == "dcap.qe-identity: qe-identity-mismatch"


@TEES
def test_a4_root_that_comes_with_the_evidence(tee: str) -> None:
    """go-sev-guest #185: a chain under any self-signed root with the vendor's names was good."""
    trusted = _world(tee)
    forged = _world(tee, certificates={"root": {"key": "forger"}}, signers={"root_ca_crl": "forger"})
    assert judge(forged).verdict is Verdict.VERIFIED
    assert refusal(forged, anchors=[trusted.anchor]) == "dcap.pck-chain: root-not-trusted"
    assert refusal(forged, anchors=[]) == "dcap.pck-chain: root-not-trusted"
    # Without its root the chain has the right names; only the signature tells.
    rootless = forged.but(chains={"pck_chain": ("pck", "pck-ca")})
    assert refusal(rootless, anchors=[trusted.anchor]) == "dcap.pck-chain: signature-invalid"
    assert refusal(forged, anchors=sgx.PLATFORM.anchors()) == "dcap.pck-chain: root-not-trusted"


@DOCUMENTS
def test_a4_collateral_under_another_trusted_root(role: str, check: str) -> None:
    """TEE-Attestation-Verification #140: each chain ended in *a* root, not in the one of the evidence."""
    signer = {"signer": {"name": "Intel SGX TCB Signing", "issuer": "other"} | _LEAF}
    for chain in (("signer", "other"), ("signer",)):
        world = _world(
            certificates=_OTHER_ROOT | signer,
            signers={role: "signer"},
            chains={f"{role}_issuer_chain": chain},
        )
        other = private_anchor(world.der("other"))
        for anchors in ([world.anchor, other], [other, world.anchor]):
            assert refusal(world, anchors=anchors).startswith(f"{check}: ")


@TEES
def test_a4_two_roots_each_with_its_own_evidence(tee: str) -> None:
    """Trusting two roots of one name takes nothing from either, in whichever order they stand."""
    first = _world(tee)
    second = _world(tee, certificates={"root": {"key": "other"}}, signers={"root_ca_crl": "other"})
    for anchors in ([first.anchor, second.anchor], [second.anchor, first.anchor]):
        assert judge(first, anchors=anchors).verdict is Verdict.VERIFIED
        assert judge(second, anchors=anchors).verdict is Verdict.VERIFIED
        mixed = Endorsements(first.endorsements.documents)
        assert judge(second, anchors=anchors, endorsements=mixed).verdict is Verdict.REJECTED


@pytest.mark.parametrize(
    ("levels", "reason"),
    [
        ({"pck-ca": {"ca": False}}, "not-a-ca"),
        ({"pck-ca": {"ca": None}}, "not-a-ca"),
        ({"pck-ca": {"usage": ("crl_sign",)}}, "key-usage"),
        ({"root": {"path_length": 0}}, "path-too-long"),
        ({"root": {"ca": False}}, "not-a-ca"),
        ({"root": {"usage": ("crl_sign",)}}, "key-usage"),
        ({"pck": {"ca": True}}, "leaf-is-ca"),
        ({"pck": {"usage": ("content_commitment",)}}, "key-usage"),
        ({"pck": {"extensions": (("1.2.3.4", True, b"\x05\x00"),)}}, "critical-extension"),
        ({"pck-ca": {"name": "Intel SGX PCK Certificate"}}, "wrong-role"),
        ({"pck-ca": {"name": "Intel SGX TCB Signing"}}, "wrong-role"),
        ({"pck-ca": {"signer": "forger"}}, "signature-invalid"),
        ({"pck": {"signer": "forger"}}, "signature-invalid"),
        ({"pck": {"signer": "root"}}, "signature-invalid"),
        ({"pck": {"issuer": "root"}}, "issuer-mismatch"),
    ],
    ids=str,
)
def test_a5_who_may_certify_whom(levels: Mapping[str, Mapping[str, object]], reason: str) -> None:
    """Verifiers that walked a chain of good signatures and asked no certificate what it is for."""
    assert refusal(_world(certificates=levels)) == f"dcap.pck-chain: {reason}"


@pytest.mark.parametrize(
    ("levels", "reason"),
    [
        ({"tcb": {"ca": True}}, "leaf-is-ca"),
        ({"tcb": {"usage": ("crl_sign",)}}, "key-usage"),
        ({"tcb": {"name": "Intel SGX TCB Signing "}}, "wrong-role"),
        ({"tcb": {"signer": "forger"}}, "signature-invalid"),
        ({"tcb": {"issuer": "pck-ca"}}, "issuer-mismatch"),
        ({"tcb": {"extensions": (("1.2.3.4", True, b""),)}}, "critical-extension"),
    ],
    ids=str,
)
def test_a5_who_may_sign_documents(levels: Mapping[str, Mapping[str, object]], reason: str) -> None:
    """The same of the TCB signer."""
    assert refusal(_world(certificates=levels)) == f"dcap.tcb-info: {reason}"


def test_a5_leaf_used_as_authority() -> None:
    """A PCK leaf that certifies further "processors", with and without the authority above it."""
    evil = {"evil": {"name": "Intel SGX PCK Certificate", "issuer": "pck", "ca": False}}
    for chain, reason in (
        (("evil", "pck", "pck-ca", "root"), "chain-length"),
        (("evil", "pck", "root"), "root-not-trusted"),
        (("evil", "pck-ca", "root"), "issuer-mismatch"),
    ):
        world = _world(certificates=evil, chains={"pck_chain": chain}, signers={"qe_report": "evil"})
        assert refusal(world) == f"dcap.pck-chain: {reason}"
    # The root that certifies a "PCK certificate" as an authority would be Intel's own mistake.
    direct = evil | {"pck": {"issuer": "root", "ca": True}}
    world = _world(certificates=direct, chains={"pck_chain": ("evil", "pck", "root")})
    assert refusal(world) == "dcap.pck-chain: wrong-role"


@pytest.mark.parametrize(
    ("chain", "reason"),
    [
        (("pck", "root"), "root-not-trusted"),
        (("root",), "root-not-trusted"),
        (("pck",), "root-not-trusted"),
        (("root", "pck-ca", "pck"), "root-not-trusted"),
        (("pck", "pck-ca", "root", "root"), "root-not-trusted"),
        (("pck-ca", "pck", "root"), "root-not-trusted"),
        (("pck", "pck", "pck-ca", "root"), "chain-length"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else value,
)
def test_a5_chains_of_another_shape(chain: tuple[str, ...], reason: str) -> None:
    """A chain is what its positions say; nobody searches it for a path that fits."""
    assert refusal(_world(chains={"pck_chain": chain})) == f"dcap.pck-chain: {reason}"


@pytest.mark.parametrize("forged", ["quote", "qe_report"])
@TEES
def test_a7_revoked_is_no_excuse_for_forged(tee: str, forged: str) -> None:
    """Automata dcap PR #144: a revoked quoting enclave ended the checks before the signatures."""
    check = {"quote": "dcap.quote-signature", "qe_report": "dcap.qe-report"}[forged]
    world = _world(tee, qe="Revoked", status="Revoked", signers={forged: "forger"})
    result = judge(world)
    assert refusal(world) == f"{check}: signature-invalid"
    assert result.claims is None
    assert result.origin is None
    # Revocation likewise: what nobody signed is not even said to be revoked.
    revoked = world.but(crls={"pck_crl": {"revoked": (13,)}})
    assert refusal(revoked) == f"{check}: signature-invalid"


@TEES
def test_a8_attestation_key_that_nobody_vouched_for(tee: str) -> None:
    """agent-manifest #364: the QE's report was genuine and said nothing of the key that signed."""
    good = _world(tee).quote
    world = _world(tee, signers={"quote": "attestation"}, qe_report={"report_data": b"\7" * 32})
    assert refusal(world) == "dcap.qe-report: qe-report-data"
    assert good != world.quote
    commits = parse_quote(good).qe_report[320:352]
    # The second half has to be zero; Intel's own library does not look at it.
    world = _world(tee, qe_report={"report_data": commits + bytes(31) + b"\1"})
    assert refusal(world) == "dcap.qe-report: qe-report-data"


@TEES
def test_a8_header_that_is_not_bound(tee: str) -> None:
    """agent-manifest #364: only the report was covered, so the header said what the attacker liked."""
    quote = bytearray(_world(tee).quote)
    for place in (8, 10, 28, 47):
        quote[place] ^= 1
        assert refusal(_world(tee), quote=bytes(quote)) == "dcap.quote-signature: signature-invalid"
        quote[place] ^= 1


# ── B. Revocation and time ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("role", ["pck_crl", "root_ca_crl"])
@TEES
def test_b1_revocation_is_not_optional(tee: str, role: str) -> None:
    """go-tdx-guest and Trustee: revocation lists were looked at only where somebody asked for it."""
    result = judge(_world(tee, documents={role: None}))
    assert result.verdict is Verdict.INCOMPLETE
    assert found(result, "revocation").status is Status.SKIPPED
    waived = judge(_world(tee, documents={role: None}), waive=("revocation",))
    assert waived.verdict is Verdict.WARNING


@pytest.mark.parametrize(
    ("role", "serial", "subject"),
    [
        ("pck_crl", 13, "Intel SGX PCK Certificate"),
        ("root_ca_crl", 12, "Intel SGX PCK Platform CA"),
        ("root_ca_crl", 14, "Intel SGX TCB Signing"),
    ],
)
@TEES
def test_b2_revoked_in_one_list_is_revoked(tee: str, role: str, serial: int, subject: str) -> None:
    """dcap-rs (automata #155): revocation counted only if SGX *and* TDX said so."""
    world = _world(tee, crls={role: {"revoked": (1, serial, 999)}})
    assert refusal(world) == "revocation: certificate-revoked"
    assert refusal(world, waive=("revocation",)) == "revocation: certificate-revoked"
    assert found(judge(world), "revocation").context["subject"] == subject
    # Serial numbers belong to their issuer: the same one in the other list is somebody else's.
    other = {"pck_crl": "root_ca_crl", "root_ca_crl": "pck_crl"}[role]
    assert judge(_world(tee, crls={other: {"revoked": (serial,)}})).verdict is Verdict.VERIFIED


def test_b2_one_of_two_signers_revoked() -> None:
    """dcap-rs: both documents' signers count, also where they are two certificates."""
    signer = {"signer": {"name": "Intel SGX TCB Signing", "ca": False, "serial": 77}}
    for role in ("tcb_info", "qe_identity"):
        world = _world(
            certificates=signer,
            signers={role: "signer"},
            chains={f"{role}_issuer_chain": ("signer", "root")},
        )
        assert judge(world).verdict is Verdict.VERIFIED
        revoked = world.but(crls={"root_ca_crl": {"revoked": (77,)}})
        assert refusal(revoked) == "revocation: certificate-revoked"


@TEES
def test_b3_revoked_level_is_no_success(tee: str) -> None:
    """Automata #132: TCB_REVOKED was returned as a success that carried a status."""
    for changes in ({"status": "Revoked"}, {"qe": "Revoked"}):
        world = _world(tee, **changes)
        result = judge(world, section={"accept_advisories": ("any",)})
        assert refusal(world) == "dcap.tcb-status: tcb-revoked"
        with pytest.raises(AppraisalError):
            accept(result, Policy(id="lenient", accept=Verdict.WARNING))
    for status in ("Revoked", "NotSupported"):
        with pytest.raises(nacre.ConfigurationError):
            SgxPolicy(accept_tcb_status=("UpToDate", status))


_DATED: Mapping[str, Mapping[str, object]] = {
    "the TCB Info": {"info": {"issueDate": moment(NOW - 9), "nextUpdate": moment(NOW + 9)}},
    "the identity": {"identity": {"issueDate": moment(NOW - 9), "nextUpdate": moment(NOW + 9)}},
    "the PCK CRL": {"crls": {"pck_crl": {"begins": NOW - 9, "ends": NOW + 9}}},
    "the root CRL": {"crls": {"root_ca_crl": {"begins": NOW - 9, "ends": NOW + 9}}},
    "the root": {"certificates": {"root": {"begins": NOW - 9, "ends": NOW + 9}}},
    "the PCK CA": {"certificates": {"pck-ca": {"begins": NOW - 9, "ends": NOW + 9}}},
    "the PCK": {"certificates": {"pck": {"begins": NOW - 9, "ends": NOW + 9}}},
    "the TCB signer": {"certificates": {"tcb": {"begins": NOW - 9, "ends": NOW + 9}}},
}


@pytest.mark.parametrize("what", _DATED)
@TEES
def test_b4_everything_has_two_ends(tee: str, what: str) -> None:
    """aleph-vm #1195 replayed old collateral; Intel QVL and go-tdx-guest accept what is not issued yet."""
    world = _world(tee, **_DATED[what])
    for at in (NOW - 9, NOW, NOW + 9):
        assert judge(world, at=at).verdict is Verdict.VERIFIED
    assert refusal(world, at=NOW + 10) == "currency: expired"
    assert refusal(world, at=NOW - 10) == "currency: not-yet-valid"
    assert refusal(world, at=0) == "currency: not-yet-valid"
    waived = judge(world, at=NOW + 10, waive=("currency",))
    assert waived.verdict is Verdict.WARNING
    assert found(waived, "currency").status is Status.WAIVED


@TEES
def test_b5_wrong_lists(tee: str) -> None:
    """Verifiers took any well-signed list: the root's as the PCK's, another authority's, an old one."""
    good = _world(tee).endorsements.documents
    other = crl("Intel SGX PCK Processor CA", "pck-ca")
    for role, document in (
        ("pck_crl", good["root_ca_crl"]),
        ("root_ca_crl", good["pck_crl"]),
        ("pck_crl", other),
        ("root_ca_crl", crl("Intel SGX Root CA.", "root")),
    ):
        world = _world(tee, documents={role: document})
        assert refusal(world) == "revocation: crl-issuer-mismatch"
    for role in ("pck_crl", "root_ca_crl"):
        for forger in ("forger", "tcb", "pck"):
            world = _world(tee, signers={role: forger})
            assert refusal(world) == "revocation: signature-invalid"
    for changes in ({"usage": ("key_cert_sign",)},):
        world = _world(tee, certificates={"pck-ca": changes})
        assert refusal(world) == "revocation: key-usage"


@TEES
def test_b5_list_without_a_number(tee: str) -> None:
    """RFC 5280 asks for a CRL number; nothing here depends on it, and its absence is shown."""
    claims = claims_of(_world(tee, crls={"pck_crl": {"number": None}}))
    assert claims.crl_numbers == (None, 7)


# ── The SGX extension ────────────────────────────────────────────────────────────────────────────────


def test_leaf_with_two_sgx_extensions() -> None:
    """Of two extensions one reader takes the first and another the last."""
    one = World().spec("pck").extensions[0]
    better = World(fields=extension_fields(svns=(255,) * 16)).spec("pck").extensions[0][2]
    world = _world(certificates={"pck": {"extensions": (one, (f"{one[0][:-1]}2", False, better))}})
    assert judge(world).verdict is Verdict.VERIFIED
    own, other = bytes.fromhex("06092a864886f84d010d01"), bytes.fromhex("06092a864886f84d010d02")
    leaf = resigned(world.der("pck"), other, own, "pck-ca")
    chain = pem(leaf) + world.chain("pck_crl_issuer_chain")
    assert refusal(world.but(cert_data=chain)) == "dcap.pck-chain: duplicate-extension"


def test_leaf_with_a_field_twice() -> None:
    """The same one level down, for any field."""
    fields = extension_fields()
    for number in fields:
        twice = {**fields, 8: fields[number]}
        assert refusal(_world(fields=twice)) == "dcap.pck-chain: pck-extension-field"


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5])
def test_leaf_with_a_field_missing(number: int) -> None:
    """What is missing is not zero."""
    fields = extension_fields()
    del fields[number]
    assert refusal(_world(fields=fields)) == "dcap.pck-chain: pck-extension-field"


@pytest.mark.parametrize("number", range(1, 19))
def test_leaf_with_a_component_missing(number: int) -> None:
    """Fifteen components and PCESVN, or sixteen without."""
    pairs = [pair((2, place), integer(svn)) for place, svn in enumerate((*SVNS, PCESVN), 1)]
    pairs.append(pair((2, 18), b"\x04\x10" + bytes(16)))
    del pairs[number - 1]
    tcb = pair((2,), b"\x30\x82" + len(b"".join(pairs)).to_bytes(2, "big") + b"".join(pairs))
    assert refusal(_world(fields=extension_fields() | {2: tcb})) == "dcap.pck-chain: pck-extension-field"


def test_leaf_without_sgx_extension() -> None:
    """A certificate of the right name that certifies no processor."""
    assert (
        refusal(_world(certificates={"pck": {"extensions": ()}})) == "dcap.pck-chain: pck-extension-missing"
    )


def test_endorsements_of_nobody() -> None:
    """Empty documents are no documents."""
    empty = Endorsements(dict.fromkeys(_world().endorsements.documents, b""))
    assert judge(_world(), endorsements=empty).verdict is Verdict.REJECTED
    assert judge(_world(), endorsements=Endorsements({})).verdict is Verdict.INCOMPLETE
