# SPDX-License-Identifier: Apache-2.0
"""Forged reports and certificates, and every way in which another verifier was once fooled."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tests.platforms.snp.judging import ORDER, refused, verify
from tests.platforms.snp.pki import (
    CSP,
    DAY,
    HWID,
    LEVELS,
    NOW,
    PSS_EXPLICIT,
    PSS_SHA256,
    World,
    hwid_of,
    pss,
    text,
    version_of,
)
from tests.trust.forge import constraints, extension, usage

from nacre.checks import Status
from nacre.platforms.base import Claims, Endorsements, Evidence, PlatformPolicy
from nacre.platforms.snp import PLATFORM
from nacre.platforms.snp.policy import SnpPolicy
from nacre.trust import pem
from nacre.trust.anchors import Origin, private_anchor, simulated_anchor, vendor_anchor
from nacre.trust.memo import Memo
from nacre.trust.signatures import Signatures

_ORDER_P384 = int("f" * 48 + "c7634d81f4372ddf581a0db248b0a77aecec196accc52973", 16)

FORMS = pytest.mark.parametrize(
    ("product", "kind"),
    [(product, kind) for product in ("Milan", "Genoa", "Turin") for kind in ("vcek", "vlek")],
)


@FORMS
@pytest.mark.parametrize("version", [2, 3, 4, 5])
def test_claims(product: str, kind: str, version: int) -> None:
    world = World(product=product, kind=kind, version=version)
    claims = verify(world)
    assert claims.platform == claims.evidence.platform == "snp"
    assert claims.origin is Origin.PRIVATE
    assert tuple(check.id for check in claims.checks) == ORDER
    assert {check.status for check in claims.checks} <= {Status.PASS, Status.NOT_APPLICABLE}
    assert claims.registers["measurement"] == b"M" * 48
    assert claims.registers["host_data"] == b"H" * 32
    assert claims.registers.keys() == {register.name for register in PLATFORM.registers}
    for register in PLATFORM.registers:
        assert len(claims.registers[register.name]) == register.size
    assert claims.committed.data == b"D" * 64
    assert not claims.committed.fields
    assert not claims.debug
    assert claims.issued_at is None
    assert claims.valid_until == NOW + 30 * DAY  # the list ends first
    assert (claims.product.name, claims.key, claims.crl_number) == (product, kind, 4)
    if kind == "vcek":
        assert claims.identity == {"product": product, "key": kind, "chip_id": hwid_of(product)}
        assert (claims.chip, claims.csp) == (hwid_of(product), None)
    else:
        assert claims.identity == {"product": product, "key": kind, "csp_id": CSP}
        assert (claims.chip, claims.csp) == (None, CSP)


def test_origin_is_the_anchors() -> None:
    world = World()
    assert verify(world, anchors=(simulated_anchor(world.der("ark")),)).origin is Origin.SIMULATED


def test_claims_of_others_are_refused() -> None:
    claims = verify(World())
    with pytest.raises(TypeError):
        PLATFORM.judge(claims, PlatformPolicy(), at=NOW)
    other = Claims(**{name: getattr(claims, name) for name in Claims.__struct_fields__})
    with pytest.raises(TypeError):
        PLATFORM.judge(other, SnpPolicy(), at=NOW)


class _Stranger:
    platform = "other"
    raw = b""


def test_evidence_of_others_is_refused() -> None:
    world = World()
    stranger: Evidence = _Stranger()
    salvaged = PLATFORM.salvage(world.evidence())
    assert salvaged is not None
    for evidence in (stranger, salvaged):
        with pytest.raises(TypeError):
            PLATFORM.verify(
                evidence, world.endorsements, anchors=(world.anchor,), at=NOW, signatures=Signatures()
            )
    with pytest.raises(TypeError):
        PLATFORM.sources(stranger)
    with pytest.raises(TypeError):
        list(PLATFORM.views(stranger))
    with pytest.raises(TypeError):
        PLATFORM.facts(stranger)


# ── Report ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("signer_info", "code"),
    [
        (1 << 1, "snp-not-signed"),  # MASK_CHIP_KEY
        (7 << 2, "snp-signing-key"),
        (2 << 2, "snp-signing-key"),
        (1 << 5, "snp-reserved"),
        (1 << 31, "snp-reserved"),
    ],
)
def test_who_signed(signer_info: int, code: str) -> None:
    assert refused(World(report={"signer_info": signer_info}), "snp.report") == code


def test_author_key_en_is_no_matter_of_signing() -> None:
    assert verify(World(report={"signer_info": 1})).evidence.report.author_key_en


def test_bit_17_of_the_policy() -> None:
    assert refused(World(report={"policy": 1 << 16}), "snp.report") == "snp-policy-bit"


# ── Chain (A: whose key signed it) ───────────────────────────────────────────────────────────────────


def test_a_root_that_came_along_is_no_anchor() -> None:
    """go-sev-guest #185: without a configured root, the one in the evidence was trusted."""
    forged = World(ark={"key": "forger", "signer": "forger"}, authority={"signer": "forger"})
    genuine = World()
    documents = {**forged.documents, "ark": forged.der("ark")}
    code = refused(forged, "snp.chain", endorsements=Endorsements(documents), anchors=(genuine.anchor,))
    assert code == "root-not-trusted"
    # With the root left away, the names are right and the signature is not.
    code = refused(forged, "snp.chain", anchors=(genuine.anchor,))
    assert code == "signature-invalid"
    # Nor is there an anchor if nobody names one.
    assert refused(genuine, "snp.chain", anchors=()) == "root-not-trusted"


def test_a_root_with_a_broken_self_signature_changes_nothing() -> None:
    """TEE-Attestation-Verification #140: the anchor is one by its bytes, not by what it says of itself."""
    world = World(ark={"signer": "forger"})
    assert verify(world).origin is Origin.PRIVATE


def test_the_root_may_come_along_if_it_is_the_anchor() -> None:
    world = World()
    for ark in (world.der("ark"), pem.armour(world.der("ark"))):
        verify(world, endorsements=Endorsements({**world.documents, "ark": ark}))
    chain = pem.armour(world.der("ask")) + b"\n" + pem.armour(world.der("ark")) + b"\n"
    verify(world, endorsements=Endorsements({**world.documents, "ask": chain}))
    other = pem.armour(world.der("ask")) + b"\n" + pem.armour(World(product="Milan").der("ark")) + b"\n"
    found = refused(world, "snp.chain", endorsements=Endorsements({**world.documents, "ask": other}))
    assert found == "root-not-trusted"
    three = chain + pem.armour(world.der("ark")) + b"\n"
    found = refused(world, "snp.chain", endorsements=Endorsements({**world.documents, "ask": three}))
    assert found == "too-many"


def test_anchors_of_one_name() -> None:
    """Neither their order nor what was seen before decides which of two roots of one name is meant."""
    world = World()
    other = private_anchor(World(ark={"key": "forger", "signer": "forger"}).der("ark"))
    memo = Memo()
    for anchors in ((other, world.anchor), (world.anchor, other)):
        for known in (None, memo):
            assert verify(world, anchors=anchors, memo=known).origin is Origin.PRIVATE
    # If none of them signed, it is the signature that is wrong.
    unsigned = World(authority={"signer": "nobody"})
    assert refused(unsigned, "snp.chain", anchors=(other, world.anchor)) == "signature-invalid"


@FORMS
def test_vlek_and_vcek_are_never_mixed(product: str, kind: str) -> None:
    """TEE-Attestation-Verification #142, #149: an ASK for a VLEK, a VLEK for a VCEK."""
    world = World(product=product, kind=kind)
    other = world.but(kind="vlek" if kind == "vcek" else "vcek")
    documents, others = world.documents, other.documents
    # The wrong authority above the right key.
    mixed = Endorsements({**documents, "ask": others["ask"]})
    assert refused(world, "snp.chain", endorsements=mixed) == "wrong-role"
    # The whole other chain: the report says who signed it.
    assert refused(world, "snp.chain", endorsements=Endorsements(others)) == "snp-key-kind"
    # A key of the wrong name, certified by the right authority.
    misnamed = world.but(vek={"subject": f"SEV-{other.kind.upper()}"})
    assert refused(misnamed, "snp.chain") == "wrong-role"
    # A report that lies about its kind, signed by the key.
    info = 0 if kind == "vlek" else 1 << 2
    assert refused(world.but(report={"signer_info": info}), "snp.chain") == "snp-key-kind"


@FORMS
def test_a_key_has_the_extensions_of_its_kind(product: str, kind: str) -> None:
    world = World(product=product, kind=kind)
    own, other = ("4", "5") if kind == "vcek" else ("5", "4")
    values = {"4": hwid_of(product), "5": text(CSP)}
    assert refused(world.but(drop=(own,)), "snp.chain") == "vek-extension-missing"
    assert refused(world.but(add={other: values[other]}), "snp.chain") == "vek-extension"


def test_a_key_certified_by_the_root() -> None:
    world = World(vek={"signer": "ark-Genoa", "issuer": "ARK-Genoa"})
    assert refused(world, "snp.chain") == "issuer-mismatch"
    # As if the root were the authority: it has no such name.
    twice = Endorsements({**world.documents, "ask": world.der("ark")})
    assert refused(world, "snp.chain", endorsements=twice) == "wrong-role"


def test_a_rogue_authority() -> None:
    """An authority below the authority: one more than AMD's path has."""
    rogue = World(
        authority={"issuer": "SEV-Genoa", "signer": "ask-Genoa", "key": "rogue"}, vek={"signer": "rogue"}
    )
    assert refused(rogue, "snp.chain") == "root-not-trusted"


@pytest.mark.parametrize(
    ("level", "change", "code"),
    [
        ("authority", {"extensions": (usage(b"\x02\x04"),)}, "not-a-ca"),
        ("authority", {"extensions": (constraints(length=0), usage(b"\x07\x80"))}, "key-usage"),
        ("vek", {"extensions": (constraints(),)}, "leaf-is-ca"),
        ("ark", {"extensions": (constraints(length=0), usage(b"\x01\x06"))}, "path-too-long"),
        ("ark", {"extensions": (constraints(), usage(b"\x01\x02"))}, "key-usage"),
        ("authority", {"subject": "SEV-Rome"}, "wrong-role"),
        ("authority", {"subject": "SEV-Milan"}, "wrong-role"),  # another line's, below this line's root
        ("authority", {"issuer": "ARK-Milan"}, "root-not-trusted"),
        ("vek", {"issuer": "SEV-Milan"}, "issuer-mismatch"),
        ("vek", {"subject": "SEV-VCEK2"}, "wrong-role"),
        ("vek", {"signer": "nobody"}, "signature-invalid"),
        ("authority", {"signer": "nobody"}, "signature-invalid"),
        ("authority", {"size": 3072}, "key-unusable"),
        ("vek", {"curve": ec.SECP256R1}, "key-unusable"),
        ("vek", {"curve": None, "size": 4096}, "key-unusable"),
        ("vek", {"extensions": (extension(b"\x2a\x03", b"", critical=True),)}, "critical-extension"),
    ],
)
def test_paths(level: str, change: dict[str, object], code: str) -> None:
    changes: dict[str, dict[str, object]] = {level: change}
    world = World(**changes)  # type: ignore[arg-type]
    # The report is signed by the key of its certificate, whatever that is; here only the path matters.
    assert refused(world.but(signer="vcek-Genoa"), "snp.chain") == code


@pytest.mark.parametrize("level", ["vek", "authority"])
@pytest.mark.parametrize("algorithm", [pss(), PSS_EXPLICIT])
def test_both_encodings_of_the_default_trailer(level: str, algorithm: bytes) -> None:
    """virtee/snpguest #57: genuine certificates refused; this is all that they may have."""
    changes: dict[str, dict[str, object]] = {level: {"algorithm": algorithm}}
    verify(World(**changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"algorithm": pss(salt=32), "salt": 32}, "algorithm-parameters"),
        ({"algorithm": pss(trailer=2)}, "algorithm-parameters"),
        ({"algorithm": PSS_SHA256}, "algorithm-parameters"),
        ({"algorithm": pss(parameters=b"\x05\x00")}, "algorithm-parameters"),
        ({"algorithm": pss(parameters=b"")}, "algorithm-parameters"),
        ({"salt": 32}, "signature-invalid"),  # the parameters are right, the salt is not
        ({"salt": 0}, "signature-invalid"),
        # sha384WithRSAEncryption, over the same key
        (
            {"algorithm": pss(oid=bytes.fromhex("2a864886f70d01010c"), parameters=b"\x05\x00")},
            "algorithm-unexpected",
        ),
    ],
)
@pytest.mark.parametrize("level", ["vek", "authority"])
def test_the_parameters_are_exact(level: str, change: dict[str, object], code: str) -> None:
    changes: dict[str, dict[str, object]] = {level: change}
    assert refused(World(**changes), "snp.chain") == code  # type: ignore[arg-type]


@pytest.mark.parametrize(("role", "code"), [("vek", "endorsement-missing"), ("ask", "endorsement-missing")])
def test_without_certificates(role: str, code: str) -> None:
    world = World()
    documents = {name: data for name, data in world.documents.items() if name != role}
    assert refused(world, "snp.chain", endorsements=Endorsements(documents)) == code


@pytest.mark.parametrize("role", ["vek", "ask", "ark"])
@pytest.mark.parametrize("data", [b"", b"0", b"-----BEGIN CERTIFICATE-----\n", bytes(1000)])
def test_certificates_that_are_none(role: str, data: bytes) -> None:
    world = World()
    documents = Endorsements({**world.documents, role: data})
    assert refused(world, "snp.chain", endorsements=documents) in ("der-tag", "truncated", "pem-text")


def test_certificates_in_pem() -> None:
    world = World()
    verify(world, endorsements=Endorsements({**world.documents, "vek": pem.armour(world.der("vek"))}))


@FORMS
@pytest.mark.parametrize("version", [2, 3])
def test_certificates_of_another_product_line(product: str, kind: str, version: int) -> None:
    world = World(product=product, kind=kind, version=version)
    for other in {"Milan", "Genoa", "Turin"} - {product}:
        line = world.but(product=other)
        # Both roots are trusted, but the report is of one processor.
        anchors = (world.anchor, line.anchor)
        code = refused(
            world,
            "snp.chain" if version == 3 else "snp.signature",
            endorsements=line.endorsements,
            anchors=anchors,
        )
        assert code == ("snp-product-mismatch" if version == 3 else "signature-invalid")


# ── Signature ────────────────────────────────────────────────────────────────────────────────────────


def test_signatures_of_others() -> None:
    world = World()
    assert refused(world.but(signer="other"), "snp.signature") == "signature-invalid"
    assert refused(world, "snp.signature", evidence=world.unsigned()) == "signature-invalid"


@pytest.mark.parametrize(
    "offset", [0x4, 0x10, 0x50, 0x90, 0xC0, 0xE0, 0x110, 0x140, 0x160, 0x1A0, 0x1F0, 0x208 - 1]
)
def test_every_field_is_signed(offset: int) -> None:
    changed = bytearray(World().evidence())
    changed[offset] ^= 1
    assert refused(World(), "snp.signature", evidence=bytes(changed)) == "signature-invalid"


def test_big_endian_signatures_are_none() -> None:
    report = World().evidence()
    r, s = report[0x2A0:0x2D0], report[0x2E8:0x318]
    turned = report[:0x2A0] + r[::-1] + bytes(24) + s[::-1] + report[0x318:]
    assert refused(World(), "snp.signature", evidence=turned) == "signature-invalid"


@pytest.mark.parametrize("r", [0, 1, _ORDER_P384])
@pytest.mark.parametrize("s", [0, 1, _ORDER_P384])
def test_degenerate_signatures(r: int, s: int) -> None:
    report = World().unsigned()
    forged = report[:0x2A0] + r.to_bytes(72, "little") + s.to_bytes(72, "little") + report[0x330:]
    assert refused(World(), "snp.signature", evidence=forged) == "signature-invalid"


def test_the_other_s_is_the_same_signature() -> None:
    """An ECDSA signature has two forms; a report is not told by its signature."""
    report = World().evidence()
    s = int.from_bytes(report[0x2E8:0x330], "little")
    verify(World(), evidence=report[:0x2E8] + (_ORDER_P384 - s).to_bytes(72, "little") + report[0x330:])


# ── Revocation ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", ["vcek", "vlek"])
def test_every_serial_of_the_path_is_looked_up(kind: str) -> None:
    """go-sev-guest looks up the ASK alone (B6)."""
    world = World(kind=kind, vek={"serial": 7777})
    assert verify(world).checks[3].status is Status.PASS
    for serial in (7777, 0x20002):
        assert refused(world.but(revoked=(0x20001, serial)), "revocation") == "certificate-revoked"


def test_a_serial_of_zero_can_be_revoked() -> None:
    assert refused(World(revoked=(0,)), "revocation") == "certificate-revoked"


def test_an_empty_list_is_a_list() -> None:
    assert verify(World(revoked=())).checks[3].status is Status.PASS


def test_without_a_list_nothing_is_known() -> None:
    """B1: everywhere else that is a pass."""
    claims = verify(World(revoked=None))
    assert (claims.checks[3].status, claims.checks[3].reason) == (Status.SKIPPED, "endorsement-missing")
    assert claims.crl_number is None
    assert claims.valid_until == 1_843_473_600  # the certificates'


@pytest.mark.parametrize(
    ("crl", "code"),
    [
        ({"signer": "ask-Genoa"}, "signature-invalid"),
        ({"signer": "forger"}, "signature-invalid"),
        ({"issuer": "SEV-Genoa"}, "crl-issuer-mismatch"),
        ({"issuer": "ARK-Milan"}, "crl-issuer-mismatch"),
        ({"algorithm": PSS_SHA256}, "algorithm-parameters"),
        (
            {"algorithm": pss(oid=bytes.fromhex("2a864886f70d01010c"), parameters=b"\x05\x00")},
            "algorithm-unexpected",
        ),
    ],
)
def test_lists_of_others(crl: dict[str, object], code: str) -> None:
    assert refused(World(crl=crl), "revocation") == code


def test_the_list_of_another_product_line() -> None:
    milan = World(product="Milan").revocations()
    assert milan is not None
    documents = Endorsements({**World().documents, "crl": milan})
    assert refused(World(), "revocation", endorsements=documents) == "crl-issuer-mismatch"


def test_a_root_that_may_sign_no_list() -> None:
    world = World(ark={"extensions": (constraints(), usage(b"\x02\x04"))})
    assert refused(world, "revocation") == "key-usage"


def test_a_list_that_is_none() -> None:
    for data in (b"", b"x", World().der("ark")):
        documents = Endorsements({**World().documents, "crl": data})
        refused(World(), "revocation", endorsements=documents)


# ── TCB and chip ─────────────────────────────────────────────────────────────────────────────────────


@FORMS
def test_the_certified_tcb_is_the_reported_one(product: str, kind: str) -> None:
    """TOB-WAPI-8: the report's own word for its TCB, compared with nothing."""
    for part, level in LEVELS[product].items():
        world = World(product=product, kind=kind, levels={part: level + 1})
        assert refused(world, "snp.endorsed-tcb") == "snp-endorsed-tcb"


def test_current_tcb_is_not_the_reported_one() -> None:
    """go-sev-guest #72, #73: CURRENT_TCB used where REPORTED_TCB is meant."""
    higher = {**LEVELS["Genoa"], "snp": 0x20}
    current = version_of("Genoa", higher)
    verify(World(report={"current_tcb": current, "committed_tcb": current}))
    world = World(levels={"snp": 0x20}, report={"current_tcb": current, "committed_tcb": current})
    assert refused(world, "snp.endorsed-tcb") == "snp-endorsed-tcb"


def test_turin_is_not_read_as_genoa() -> None:
    """go-sev-guest #153: the older layout, in which the boot loader comes first."""
    levels = LEVELS["Turin"]
    older = bytes((levels["bootloader"], levels["tee"], 0, 0, 0, 0, levels["snp"], levels["microcode"]))
    assert (
        refused(World(product="Turin", report={"reported_tcb": older}), "snp.endorsed-tcb")
        == "snp-endorsed-tcb"
    )


@FORMS
def test_reserved_bytes_of_the_tcb(product: str, kind: str) -> None:
    world = World(product=product, kind=kind)
    tcb = bytearray(version_of(product, LEVELS[product]))
    tcb[5] = 1
    assert refused(world.but(report={"reported_tcb": bytes(tcb)}), "snp.endorsed-tcb") == "snp-tcb-reserved"


@pytest.mark.parametrize("product", ["Milan", "Genoa", "Turin"])
def test_the_chip_is_the_certified_one(product: str) -> None:
    """virtee/snpguest #159: a check of HWID that never ran."""
    other = bytes([0xFF]) * len(hwid_of(product))
    assert refused(World(product=product, add={"4": other}), "snp.chip") == "snp-chip"
    assert refused(World(product=product, report={"chip_id": other}), "snp.chip") == "snp-chip"


def test_all_of_chip_id_counts_on_turin() -> None:
    longer = World(product="Turin", report={"chip_id": HWID[:9]})
    assert refused(longer, "snp.chip") == "snp-chip"


def test_a_masked_chip_is_still_the_certified_one() -> None:
    claims = verify(World(report={"chip_id": bytes(64)}))
    assert (claims.checks[5].status, claims.checks[5].reason) == (Status.NOT_APPLICABLE, "snp-chip-masked")
    assert claims.identity["chip_id"] == HWID


def test_a_vlek_names_no_chip() -> None:
    for chip in (bytes(64), HWID):
        claims = verify(World(kind="vlek", report={"chip_id": chip}))
        assert (claims.checks[5].status, claims.checks[5].reason) == (Status.NOT_APPLICABLE, "snp-chip-vlek")
        assert "chip_id" not in claims.identity


# ── Time ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("changes", "reason", "what"),
    [
        ({"vek": {"ends": b"260601115959Z"}}, "expired", "SEV-VCEK"),
        ({"vek": {"begins": b"260601120001Z"}}, "not-yet-valid", "SEV-VCEK"),
        ({"authority": {"ends": b"260601115959Z"}}, "expired", "SEV-Genoa"),
        ({"authority": {"begins": b"260601120001Z"}}, "not-yet-valid", "SEV-Genoa"),
        ({"ark": {"ends": b"260601115959Z"}}, "expired", "ARK-Genoa"),
        ({"ark": {"begins": b"260601120001Z"}}, "not-yet-valid", "ARK-Genoa"),
        ({"crl": {"ends": b"260601115959Z"}}, "expired", "revocation list"),
        ({"crl": {"begins": b"260601120001Z"}}, "not-yet-valid", "revocation list"),
        ({"vek": {"ends": b"260601115959Z"}, "revoked": None}, "expired", "SEV-VCEK"),
    ],
)
def test_dates(changes: dict[str, object], reason: str, what: str) -> None:
    """Both ends of everything; reported, so that a policy can judge recorded evidence."""
    world = World().but(**changes)
    memo = Memo()
    for _ in range(2):  # what is remembered says nothing about time
        currency = verify(world, memo=memo).checks[-1]
        assert (currency.id, currency.status, currency.reason) == ("currency", Status.FAIL, reason)
        assert what in str(currency.context["what"])


@pytest.mark.parametrize("seconds", [0, 1])
def test_both_ends_are_included(seconds: int) -> None:
    ends = {"ends": b"260601120000Z"}
    world = World(vek=ends, authority=ends, ark=ends, crl=ends)
    expected = Status.FAIL if seconds else Status.PASS
    assert verify(world, at=NOW + seconds).checks[-1].status is expected
    begins = {"begins": b"260601120000Z"}
    world = World(vek=begins, authority=begins, ark=begins, crl=begins)
    assert verify(world, at=NOW - seconds).checks[-1].status is expected


# ── Whose documents ──────────────────────────────────────────────────────────────────────────────────


def test_the_first_thing_that_is_wrong_is_told() -> None:
    """Automata #144: an answer about revocation or TCB for something that nobody signed."""
    world = World(signer="nobody", revoked=(0, 0x20002), levels={"snp": 1}, add={"4": b"\xff" * 64})
    assert refused(world, "snp.signature") == "signature-invalid"


def test_vendor_roots_are_not_ours() -> None:
    vendors = tuple(vendor_anchor(f"amd-ark-{line}") for line in ("milan", "genoa", "turin"))
    assert PLATFORM.anchors() == vendors
    assert refused(World(), "snp.chain", anchors=vendors) == "root-not-trusted"
