# SPDX-License-Identifier: Apache-2.0
"""Reports as bytes: versions, sizes, reserved fields, and what can be seen of one that is refused."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.platforms.snp.pki import World

from nacre import platforms
from nacre.errors import MalformedEvidence, NacreError, UnsupportedEvidence
from nacre.platforms.base import Endorsements, FieldView
from nacre.platforms.snp import PLATFORM
from nacre.platforms.snp.evidence import SnpEvidence, is_evidence, parse
from nacre.platforms.snp.products import PRODUCTS, of_processor
from nacre.platforms.snp.report import LAYOUT, REPORT_SIZE, VERSIONS, parse_report

_VERSIONS = pytest.mark.parametrize("version", VERSIONS)


def _refused(data: bytes, kind: type[NacreError] = MalformedEvidence) -> str:
    with pytest.raises(kind) as caught:
        parse(data)
    assert str(caught.value) != caught.value.code
    assert "{" not in str(caught.value)
    return caught.value.code


@_VERSIONS
def test_fields(version: int) -> None:
    report = parse_report(World(version=version, report={"guest_svn": 7, "vmpl": 2}).evidence())
    assert (report.version, report.guest_svn, report.vmpl) == (version, 7, 2)
    assert (report.current_major, report.current_minor, report.current_build) == (1, 55, 29)
    assert report.reported_tcb == bytes((10, 0, 0, 0, 0, 0, 0x1B, 0x56))
    assert (report.signing_key, report.mask_chip_key, report.author_key_en) == (0, False, False)
    assert LAYOUT.packed.pack(*(getattr(report, name) for name, _, _ in LAYOUT.fields)) == World(
        version=version, report={"guest_svn": 7, "vmpl": 2}
    ).unsigned()[:0x2A0] + report.r + report.s + bytes(368)


def test_the_layout_is_the_specifications() -> None:
    places = {name: (offset, size) for name, offset, size in LAYOUT.fields}
    assert LAYOUT.size == REPORT_SIZE == 1184
    assert places["policy"] == (0x8, 8)
    assert places["report_data"] == (0x50, 64)
    assert places["measurement"] == (0x90, 48)
    assert places["reported_tcb"] == (0x180, 8)
    assert places["cpuid_family"] == (0x188, 1)
    assert places["chip_id"] == (0x1A0, 64)
    assert places["committed_tcb"] == (0x1E0, 8)
    assert places["launch_tcb"] == (0x1F0, 8)
    assert places["launch_mit_vector"] == (0x1F8, 8)
    assert places["r"] == (0x2A0, 72)
    assert places["s"] == (0x2E8, 72)


@pytest.mark.parametrize("version", [0, 1, 6, 7, 255, 2**16, 2**32 - 1])
def test_other_versions(version: int) -> None:
    data = version.to_bytes(4, "little") + World().evidence()[4:]
    assert _refused(data, UnsupportedEvidence) == "snp-report-version"


@pytest.mark.parametrize("algorithm", [0, 2, 2**32 - 1])
def test_other_algorithms(algorithm: int) -> None:
    data = World(report={"signature_algo": algorithm}).evidence()
    assert _refused(data, UnsupportedEvidence) == "snp-signature-algorithm"


@pytest.mark.parametrize("size", [0, 1, 4, 32, 1183])
def test_shorter_ones(size: int) -> None:
    assert _refused(World().evidence()[:size]) == "snp-report-size"


def test_longer_ones_have_a_table() -> None:
    # One byte is no table of certificates.
    assert _refused(World(tail=b"\0").evidence()) == "truncated"
    assert parse(World(tail=bytes(24)).evidence()).form == "extended"


_RESERVED = {
    2: (*range(0x4C, 0x50), *range(0x188, 0x1A0), 0x1EB, 0x1EF, *range(0x1F8, 0x2A0)),
    3: (*range(0x4C, 0x50), *range(0x18B, 0x1A0), 0x1EB, 0x1EF, *range(0x1F8, 0x2A0)),
    4: (*range(0x4C, 0x50), *range(0x18B, 0x1A0), 0x1EB, 0x1EF, *range(0x1F8, 0x2A0)),
    5: (*range(0x4C, 0x50), *range(0x18B, 0x1A0), 0x1EB, 0x1EF, *range(0x208, 0x2A0)),
}
_BEHIND_SIGNATURE = (*range(0x2D0, 0x2E8), *range(0x318, 0x4A0))


@_VERSIONS
def test_every_reserved_byte_is_zero(version: int) -> None:
    report = World(version=version).evidence()
    reserved = {*_RESERVED[version], *_BEHIND_SIGNATURE}
    for offset in range(0x40, REPORT_SIZE):
        changed = bytearray(report)
        changed[offset] ^= 0x10
        if offset in reserved:
            assert _refused(bytes(changed)) == "snp-reserved", hex(offset)
        elif version == 2 or offset not in (0x188, 0x189):  # what the processor is, is another test
            assert parse(bytes(changed)).report.version == version


@pytest.mark.parametrize("version", [3, 4, 5])
def test_every_processor_is_of_one_line_or_refused(version: int) -> None:
    """go-sev-guest #198: a panic on model a0. Here every family and model has an answer."""
    venice = {
        (0x1A, model)
        for first, last in ((0x50, 0x57), (0x90, 0x9F), (0xA0, 0xAF), (0xC0, 0xC7))
        for model in range(first, last + 1)
    }
    lines = {
        "Milan": {(0x19, model) for model in range(0x10)},
        "Genoa": {(0x19, model) for model in (*range(0x10, 0x20), *range(0xA0, 0xB0))},
        "Turin": {(0x1A, model) for model in range(0x12)},
    }
    report = bytearray(World(version=version).evidence())
    for family in (0, 0x17, 0x19, 0x1A, 0x1B, 0xFF):
        for model in range(256):
            report[0x188:0x18A] = bytes((family, model))
            product = of_processor(family, model)
            assert (product.name if product else None) == next(
                (name for name, known in lines.items() if (family, model) in known), None
            )
            if product:
                assert parse(bytes(report)).report.cpuid_model == model
            else:
                expected = "snp-product-unsupported" if (family, model) in venice else "snp-product-unknown"
                assert _refused(bytes(report), UnsupportedEvidence) == expected


def test_an_unsupported_line_is_named() -> None:
    report = bytearray(World().evidence())
    report[0x188:0x18A] = b"\x1a\x50"
    with pytest.raises(UnsupportedEvidence, match="Venice"):
        parse(bytes(report))


@pytest.mark.parametrize("product", PRODUCTS.values(), ids=PRODUCTS)
def test_tcbs_come_back(product: object) -> None:
    for line in PRODUCTS.values():
        if line is product:
            version = bytes(place + 1 if place in line.places else 0 for place in range(8))
            assert line.version(line.tcb(version)) == version


# ── Detection ────────────────────────────────────────────────────────────────────────────────────────


@_VERSIONS
def test_detection(version: int) -> None:
    report = World(version=version).evidence()
    for data in (report, report + bytes(24), report[:100]):
        assert is_evidence(data)
        assert platforms.detect(data) is PLATFORM


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x03\x00\x02\x00" + bytes(1180),  # a quote
        b"\x04\x00\x02\x00" + bytes(1180),
        b"\x01\x00\x00\x00" + bytes(1181),
        b"\x84" + b"\1" * 1183,
        b"HCL",
    ],
)
def test_what_is_none(data: bytes) -> None:
    assert not is_evidence(data)


def test_a_report_of_no_version_is_told_from_nothing() -> None:
    report = (1).to_bytes(4, "little") + World().evidence()[4:]
    assert platforms.detect(report) is PLATFORM
    with pytest.raises(UnsupportedEvidence) as caught:
        platforms.detect(report[:1000])
    assert caught.value.code == "evidence-unrecognised"


# ── Inspection ───────────────────────────────────────────────────────────────────────────────────────


def _views(evidence: SnpEvidence) -> dict[str, FieldView]:
    found = {view.name: view for view in PLATFORM.views(evidence)}
    for view in found.values():
        if view.offset is not None and view.size is not None:
            assert evidence.raw[view.offset : view.offset + view.size]
    return found


def test_views() -> None:
    report = {
        "policy": 0xB0000 | 1 << 40 | 0x0137,
        "platform_info": 0x125,
        "vmpl": 2**32 - 1,
        "signer_info": 0b11,
    }
    found = _views(parse(World(report=report).evidence()))
    assert found["report.measurement"].value == (b"M" * 48).hex()
    assert found["report.policy"].notes == ("ABI 1.55", "SMT", "ALWAYS_ONE", "DEBUG", "bit 40")
    assert found["report.platform_info"].notes == ("SMT_EN", "ECC_EN", "ALIAS_CHECK_COMPLETE", "bit 8")
    assert found["report.vmpl"].notes == ("asked for by the host",)
    assert found["report.signer_info"].notes == (
        "MASK_CHIP_KEY: not signed",
        "signed by VCEK (SEV-VCEK)",
        "AUTHOR_KEY_EN",
    )
    assert found["report.signature_algo"].notes == ("ECDSA P-384 with SHA-384",)
    assert found["report.reported_tcb"].notes == ("bl 10", "tee 0", "snp 27", "ucode 86")
    assert found["product"].value == "Genoa"
    assert found["report.chip_id"].notes == ()


def test_views_of_what_is_not_said() -> None:
    found = _views(parse(World(version=2, report={"chip_id": b"", "signer_info": 7 << 2}).evidence()))
    assert found["product"].value == "not said in this version"
    assert found["report.reported_tcb"].notes == ()
    assert found["report.chip_id"].notes == ("masked",)
    assert found["report.signer_info"].notes == ("signed by no key that is known",)


def test_views_of_what_is_refused() -> None:
    data = bytearray(World(report={"signature_algo": 2, "reserved_end": b"\1"}).evidence())
    data[0:4] = b"\6\0\0\0"
    salvaged = PLATFORM.salvage(bytes(data))
    assert salvaged is not None
    found = _views(salvaged)
    assert found["report.version"].value == "6"
    assert found["report.signature_algo"].notes == ("unknown",)
    assert found["report.reserved_end"].notes == ("not zero",)
    assert PLATFORM.facts(salvaged)["version"] == 6
    assert PLATFORM.salvage(bytes(data[:1183])) is None


def test_facts_take_the_product_line_from_the_certificate() -> None:
    older = World(product="Turin", version=2)
    evidence = parse(older.evidence())
    assert PLATFORM.facts(evidence)["product"] is None
    assert "current_tcb" not in PLATFORM.facts(evidence)
    facts = PLATFORM.facts(evidence, older.endorsements)
    assert facts["product"] == "Turin"
    assert facts["current_tcb"] == {"fmc": 1, "bl": 2, "tee": 3, "snp": 4, "ucode": 0x51}
    assert PLATFORM.facts(evidence, Endorsements({"vek": b"none"}))["product"] is None
    newer = parse(World().evidence())
    assert PLATFORM.facts(newer)["product"] == "Genoa"
    assert PLATFORM.facts(newer, Endorsements({"vek": b"none"}))["product"] == "Genoa"


# ── Anything ─────────────────────────────────────────────────────────────────────────────────────────


@given(st.binary(max_size=1300), st.sampled_from((lambda data: data, lambda data: World().evidence() + data)))
def test_only_our_errors(data: bytes, put: Callable[[bytes], bytes]) -> None:
    evidence = put(data)
    try:
        found: SnpEvidence | None = parse(evidence)
    except (MalformedEvidence, UnsupportedEvidence):
        found = PLATFORM.salvage(evidence)
    if found is not None:
        assert PLATFORM.facts(found)
        if type(found) is SnpEvidence:
            assert _views(found)
