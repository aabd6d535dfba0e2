# SPDX-License-Identifier: Apache-2.0
"""Collateral: where it comes from, in which forms it is read, and that anchors are not mixed."""

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from tests.platforms.dcap.judging import claims_of, found, judge, refusal
from tests.platforms.dcap.pki import DAY, NOW, World, extension_fields, moment, pair, pem, resigned

from nacre import platforms
from nacre.appraisal.verdict import Verdict
from nacre.checks import Status
from nacre.errors import EndorsementsUnavailable, MalformedEvidence, VerificationError
from nacre.platforms import tdx
from nacre.platforms.base import Endorsements
from nacre.platforms.dcap.endorsements import ROLES, read_chain
from nacre.testing.cases import load
from nacre.trust.anchors import Origin
from nacre.trust.signatures import Signatures

TEES = pytest.mark.parametrize("tee", ["sgx", "tdx"])


def _world(tee: str, **changes: object) -> World:
    return World(tee=tee, version=3 if tee == "sgx" else 4).but(**changes)


# ── Where documents are served ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("ca", ["Platform", "Processor"])
@TEES
def test_sources(tee: str, ca: str) -> None:
    platform = platforms.get(tee)
    world = _world(tee, certificates={"pck-ca": {"name": f"Intel SGX PCK {ca} CA"}})
    sources = {source.role: source for source in platform.sources(platform.parse(world.quote))}
    assert {role: source.path for role, source in sources.items()} == {
        "tcb_info": f"/{tee}/certification/v4/tcb?fmspc=00806f050000",
        "qe_identity": f"/{tee}/certification/v4/qe/identity",
        "pck_crl": f"/sgx/certification/v4/pckcrl?ca={ca.lower()}&encoding=der",
        "root_ca_crl": "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der",
    }
    assert [role for role, source in sources.items() if source.absolute] == ["root_ca_crl"]
    chains = {source.chain_role: source.chain_headers for source in sources.values()}
    assert chains["tcb_info_issuer_chain"] == ("TCB-Info-Issuer-Chain", "SGX-TCB-Info-Issuer-Chain")
    assert {*chains, *sources} - {""} == {*ROLES} - {"pck_chain"}
    assert platform.roles == ROLES


def test_sources_of_chains_that_say_nothing() -> None:
    for chain, code in ((("pck",), "chain-length"), (("tcb", "root"), "pck-extension-missing")):
        quote = tdx.PLATFORM.parse(World(chains={"pck_chain": chain}).quote)
        with pytest.raises(MalformedEvidence) as caught:
            tdx.PLATFORM.sources(quote)
        assert caught.value.code == code
    with pytest.raises(MalformedEvidence):
        tdx.PLATFORM.sources(tdx.PLATFORM.parse(World(cert_data=b"junk").quote))
    with pytest.raises(EndorsementsUnavailable):
        tdx.PLATFORM.sources(tdx.PLATFORM.parse(World(cert_type=3).quote))


# ── Forms ────────────────────────────────────────────────────────────────────────────────────────────


@TEES
def test_lists_in_every_form(tee: str) -> None:
    good = _world(tee)
    for role in ("pck_crl", "root_ca_crl"):
        der = good.endorsements.documents[role]
        pem_form = x509.load_der_x509_crl(der).public_bytes(Encoding.PEM)
        hexadecimal = der.hex().encode()
        for form in (der, pem_form, hexadecimal, hexadecimal.upper(), hexadecimal + b"\n"):
            assert judge(_world(tee, documents={role: form})).verdict is Verdict.VERIFIED
        for form in (
            b"",
            b"0",
            der[:-1],
            der + b"\0",
            hexadecimal[:-1],
            hexadecimal[:-2],
            b"junk",
            pem_form[:-9],
        ):
            world = _world(tee, documents={role: form})
            assert refusal(world).startswith("revocation: ")


@TEES
def test_chains_in_every_form(tee: str) -> None:
    good = _world(tee)
    chain = good.chain("pck_chain")
    for form in (chain, chain.replace(b"\n", b"\r\n"), chain + bytes(7), chain + b"\n\0", chain[:-1]):
        assert judge(_world(tee, cert_data=form)).verdict is Verdict.VERIFIED
    assert judge(_world(tee, chains={"pck_chain": ("pck", "pck-ca")})).verdict is Verdict.VERIFIED
    for form in (b"", b"junk", b"junk\n" + chain, chain + b"junk", chain[1:], chain[:-30], bytes(10)):
        assert refusal(_world(tee, cert_data=form)).startswith("dcap.pck-chain: ")
    for role, check in (("tcb_info", "dcap.tcb-info"), ("qe_identity", "dcap.qe-identity")):
        signer = f"{role}_issuer_chain"
        assert judge(_world(tee, chains={signer: ("tcb",)})).verdict is Verdict.VERIFIED
        for form in (b"", b"junk", chain, chain[:-30]):
            assert refusal(_world(tee, documents={signer: form})).startswith(f"{check}: ")


@TEES
def test_the_issuer_chain_of_a_list_is_not_needed(tee: str) -> None:
    """A list is checked with the key of the authority that issued the PCK, so its chain says nothing new."""
    for form in (None, b"", b"junk"):
        world = _world(tee, documents={"pck_crl_issuer_chain": form})
        assert judge(world).verdict is Verdict.VERIFIED


@TEES
def test_signatures_of_documents_have_one_size(tee: str) -> None:
    for role, check in (("tcb_info", "dcap.tcb-info"), ("qe_identity", "dcap.qe-identity")):
        document = _world(tee).endorsements.documents[role]
        head, _, signature = document.partition(b'"signature":"')
        signature = signature[:-2]
        for size, code in ((126, "signature-size"), (130, "signature-size"), (0, "signature-size")):
            other = signature[:size].ljust(size, b"0")
            changed = head + b'"signature":"' + other + b'"}'
            world = _world(tee, documents={role: changed})
            assert refusal(world) in (f"{check}: {code}", f"{check}: json-signed-form")


# ── Chains from outside ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("cert_type", [1, 2, 3])
@pytest.mark.parametrize("version", [3, 4, 5])
def test_chain_from_outside(cert_type: int, version: int) -> None:
    world = World(tee="sgx", version=version, cert_type=cert_type)
    assert judge(world).verdict is Verdict.VERIFIED
    missing = judge(world.but(documents={"pck_chain": None}))
    assert missing.verdict is Verdict.INCOMPLETE
    assert missing.claims is None
    assert missing.error is None
    check = found(missing, "dcap.pck-chain")
    assert (check.status, check.reason) == (Status.SKIPPED, "endorsement-missing")
    assert found(missing, "dcap.quote-signature").reason == "not-reached"
    for form in (b"", b"junk", world.chain("tcb_info_issuer_chain")):
        assert judge(world.but(documents={"pck_chain": form})).verdict is Verdict.REJECTED
    # A chain that is good and of another processor: the quoting enclave's report tells.
    other = world.but(certificates={"pck": {"key": "other"}}, signers={"qe_report": "pck"})
    assert refusal(other) == "dcap.qe-report: signature-invalid"


def test_leaf_in_the_quote_chain_from_outside() -> None:
    leaf = pem(World(tee="sgx").der("pck"))
    world = World(tee="sgx", version=3, cert_type=4, cert_data=leaf)
    assert judge(world).verdict is Verdict.VERIFIED
    other = World(tee="sgx", certificates={"pck": {"serial": 15}})
    assert refusal(world.but(cert_data=pem(other.der("pck")))) == "dcap.pck-chain: pck-leaf-differs"
    assert refusal(world.but(cert_data=b"junk")) == "dcap.pck-chain: pem-text"
    # A whole chain in the place of the leaf is no chain from outside.
    whole = world.but(cert_data=world.chain("pck_chain"))
    assert refusal(whole.but(documents={"pck_chain": b""})) == "dcap.pck-chain: pem-text"
    missing = judge(whole.but(documents={"pck_chain": None}))
    assert missing.verdict is Verdict.INCOMPLETE


@TEES
def test_chain_from_outside_is_not_asked_where_the_quote_has_one(tee: str) -> None:
    world = _world(tee, documents={"pck_chain": b"junk"})
    assert judge(world).verdict is Verdict.VERIFIED


# ── Anchors ──────────────────────────────────────────────────────────────────────────────────────────


def test_genuine_and_private_are_not_mixed(vectors: Path) -> None:
    """Both roots are trusted; each document has to be under the root of the evidence."""
    case = load(vectors / "tdx/phala-networ-v4-b0c06f000000-e17-uptodate-f1c850")
    genuine = dict(case.collateral)
    private = World(info={"issueDate": moment(case.at - DAY), "nextUpdate": moment(case.at + DAY)})
    own = dict(private.endorsements.documents)
    anchors = [*tdx.PLATFORM.anchors(), private.anchor]
    quotes = ((case.evidence, genuine, own, case.at), (private.quote, own, genuine, NOW))
    for quote, right, wrong, at in quotes:
        evidence = tdx.PLATFORM.parse(quote)
        for order in (anchors, anchors[::-1]):
            good = tdx.PLATFORM.verify(
                evidence, Endorsements(right), anchors=order, at=at, signatures=Signatures()
            )
            assert good.origin is (Origin.GENUINE if right is genuine else Origin.PRIVATE)
            for roles in (
                ("tcb_info", "tcb_info_issuer_chain"),
                ("qe_identity", "qe_identity_issuer_chain"),
                ("pck_crl", "pck_crl_issuer_chain"),
                ("root_ca_crl",),
                ROLES,
            ):
                mixed = right | {role: wrong[role] for role in roles if role in wrong}
                with pytest.raises(VerificationError):
                    tdx.PLATFORM.verify(
                        evidence, Endorsements(mixed), anchors=order, at=at, signatures=Signatures()
                    )


# ── Claims ───────────────────────────────────────────────────────────────────────────────────────────


@TEES
def test_claims_about_the_platform(tee: str) -> None:
    claims = claims_of(_world(tee))
    assert claims.identity == {
        "fmspc": bytes.fromhex("00806f050000"),
        "ppid": bytes(range(16)),
        "sgx_type": "Scalable",
        "platform_instance": bytes(range(16, 32)),
        "dynamic_platform": True,
        "cached_keys": False,
        "smt": True,
    }
    assert claims.pck_issuer == "Intel SGX PCK Platform CA"
    assert claims.crl_numbers == (7, 7)
    assert claims.valid_until == NOW + 29 * DAY
    for changes, until in (
        ({"certificates": {"pck": {"ends": NOW + 5}}}, NOW + 5),
        ({"crls": {"root_ca_crl": {"ends": NOW + 6}}}, NOW + 6),
        ({"identity": {"nextUpdate": moment(NOW + 7)}}, NOW + 7),
        ({"documents": {"pck_crl": None, "tcb_info": None, "qe_identity": None}}, NOW + 29 * DAY),
        ({"documents": dict.fromkeys(ROLES)}, NOW + 900 * DAY),
    ):
        assert claims_of(_world(tee, **changes)).valid_until == until
    assert claims_of(_world(tee, documents=dict.fromkeys(ROLES))).crl_numbers == (None, None)


@pytest.mark.parametrize(
    ("pceid", "good"), [("0001", True), ("0100", False), ("0000", False), ("00 1", False)]
)
def test_pceid_is_compared_as_it_is_written(pceid: str, good: bool) -> None:
    fields = extension_fields() | {3: pair((3,), b"\4\2\0\1")}
    world = World(fields=fields, info={"pceId": pceid})
    assert (judge(world).verdict is Verdict.VERIFIED) is good


def test_integrity_of_memory_is_told() -> None:
    fields = extension_fields()
    fields[5] = fields[5][:-1] + b"\2"
    assert claims_of(World(fields=fields)).identity["sgx_type"] == "Scalable with Integrity"


def test_serial_numbers_do_not_tell_signers_apart() -> None:
    """Intel reissued its TCB signer under the same serial number: each is taken at its own word."""
    old = World()
    signers = {"tcb_info": "younger", "qe_identity": "younger"}
    new = World(certificates={"tcb": {"key": "younger"}}, signers=signers)
    mixed = dict(old.endorsements.documents) | {
        role: new.endorsements.documents[role] for role in ("tcb_info", "tcb_info_issuer_chain")
    }
    assert judge(old, endorsements=Endorsements(mixed)).verdict is Verdict.VERIFIED
    crossed = dict(old.endorsements.documents) | {"tcb_info": new.endorsements.documents["tcb_info"]}
    assert judge(old, endorsements=Endorsements(crossed)).verdict is Verdict.REJECTED


def test_keys_of_another_curve_or_off_the_curve() -> None:
    good = World()
    spki = bytes.fromhex("06082a8648ce3d030107")  # P-256
    for level, signer, chain in (("pck", "pck-ca", "pck_chain"), ("tcb", "root", "tcb_info_issuer_chain")):
        other = resigned(good.der(level), spki, bytes.fromhex("06082a8648ce3d030106"), signer)
        rest = good.chains.get(chain, {"pck_chain": ("pck-ca", "root")}.get(chain, ("root",)))
        data = pem(other) + b"".join(pem(good.der(name)) for name in rest)
        if chain == "pck_chain":
            assert refusal(good.but(cert_data=data)) == "dcap.pck-chain: key-unusable"
        else:
            assert refusal(good.but(documents={chain: data})) == "dcap.tcb-info: key-unusable"
    assert len(read_chain(good.chain("pck_chain"))) == 3
