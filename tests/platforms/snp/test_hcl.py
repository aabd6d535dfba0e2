# SPDX-License-Identifier: Apache-2.0
"""Azure's HCL report: what wraps a report on Azure, and what commits to what."""

import hashlib
import json
import struct
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nacre import platforms
from nacre.checks import Status
from nacre.errors import MalformedEvidence, UnsupportedEvidence, VerificationError
from nacre.platforms.snp.hcl import MAX_HCL, RUNTIME_CHECK, Hcl, check_runtime, hcl_views, parse_hcl

VECTORS = Path(__file__).parents[2] / "vectors" / "az-vtpm"
CASES = ("hcl-snp-v0", "hcl-snp-genoa-v0", "hcl-snp-lunal-live")


def wrapper(name: str = CASES[0]) -> bytes:
    return (VECTORS / name / "hcl-report.bin").read_bytes()


REAL = wrapper()


def rewritten(runtime: bytes, *, hash_type: int = 1, pad: int = 0) -> bytes:
    """Wrap other runtime data around the same report, every size as it has to be."""
    size = 1236 + len(runtime)
    head = REAL[:8] + struct.pack("<I", size) + REAL[12:1216]
    data = struct.pack("<5I", 20 + len(runtime), 1, 2, hash_type, len(runtime))
    return head + data + runtime + bytes(pad)


def code(data: bytes) -> str:
    with pytest.raises((MalformedEvidence, UnsupportedEvidence)) as caught:
        parse_hcl(data)
    assert "?" not in str(caught.value)
    return caught.value.code


def report_data(hcl: Hcl) -> bytes:
    return hcl.report[0x50:0x90]


@pytest.mark.parametrize("name", CASES)
def test_what_azure_gives(name: str) -> None:
    hcl = parse_hcl(wrapper(name))
    expected = json.loads((VECTORS / name / "case.json").read_text())["expected"]["claims"]
    assert report_data(hcl).hex() == expected["report_data"]
    assert hcl.version == (2 if "genoa" in name else 1)
    assert [key.kid for key in hcl.claims.keys] == ["HCLAkPub", "HCLEkPub"]
    assert hcl.claims.configuration["secure-boot"] is True
    assert hcl.user_data == bytes(64)
    assert check_runtime(hcl, report_data(hcl)).status is Status.PASS


def test_all_shared_ones(vectors: Path) -> None:
    found = sorted(vectors.glob("*/*/hcl-report.bin"))
    tdx = 0
    for path in found:
        try:
            hcl = parse_hcl(path.read_bytes())
        except UnsupportedEvidence as error:
            assert error.code == "hcl-tdreport"  # noqa: PT017 (there may be none)
            tdx += 1
        else:
            assert check_runtime(hcl, report_data(hcl)).id == RUNTIME_CHECK
    assert len(found) > tdx > 0


def test_a_tdreport_proves_nothing_to_us() -> None:
    with pytest.raises(UnsupportedEvidence) as caught:
        parse_hcl(wrapper("hcl-tdx-v1"))
    assert caught.value.code == "hcl-tdreport"
    assert "TD quote" in caught.value.hint


@pytest.mark.parametrize("other", CASES[1:])
def test_the_runtime_data_of_another_machine(other: str) -> None:
    """Keys of a vTPM that the attacker controls, beside a genuine report."""
    hcl = msgspec.structs.replace(parse_hcl(REAL), runtime=parse_hcl(wrapper(other)).runtime)
    with pytest.raises(VerificationError) as caught:
        check_runtime(hcl, report_data(hcl))
    assert (caught.value.code, caught.value.check) == ("hcl-runtime-data", RUNTIME_CHECK)
    assert "sha256" in str(caught.value)


@pytest.mark.parametrize(("hash_type", "name"), [(1, "sha256"), (2, "sha384"), (3, "sha512")])
def test_every_hash_is_compared_in_full(hash_type: int, name: str) -> None:
    hcl = parse_hcl(rewritten(b'{"keys":[]}', hash_type=hash_type))
    digest = hashlib.new(name, b'{"keys":[]}').digest()
    assert hcl.algorithm == name
    assert check_runtime(hcl, digest.ljust(64, b"\0")).status is Status.PASS
    wrong = digest[:-1] + bytes([digest[-1] ^ 1])
    with pytest.raises(VerificationError):
        check_runtime(hcl, wrong.ljust(64, b"\0"))


@given(st.integers(0, 8 * len(parse_hcl(REAL).runtime) - 1))
def test_every_bit_of_the_runtime_data(bit: int) -> None:
    flipped = bytearray(REAL)
    flipped[1236 + bit // 8] ^= 1 << bit % 8
    try:
        hcl = parse_hcl(bytes(flipped))
    except MalformedEvidence:
        return
    with pytest.raises(VerificationError):
        check_runtime(hcl, report_data(hcl))


def _patched(offset: int, value: bytes) -> bytes:
    return REAL[:offset] + value + REAL[offset + len(value) :]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "truncated"),
        (REAL[:1235], "truncated"),
        (REAL + bytes(MAX_HCL), "too-large"),
        (_patched(0, b"HCLB"), "hcl-version"),
        (_patched(4, b"\0"), "hcl-version"),
        (_patched(4, b"\3"), "hcl-version"),
        (_patched(1220, b"\2"), "hcl-version"),
        (_patched(1224, b"\0"), "hcl-report-type"),
        (_patched(1224, b"\3"), "hcl-report-type"),
        (_patched(1228, b"\0"), "hcl-hash-type"),
        (_patched(1228, b"\4"), "hcl-hash-type"),
        (_patched(8, b"\xff"), "hcl-sizes"),
        (_patched(1216, b"\xff"), "hcl-sizes"),
        (_patched(1232, b"\xff\xff\xff\xff"), "hcl-sizes"),
        (REAL[:2345], "hcl-sizes"),
        (_patched(20, b"\1"), "trailing-bytes"),
        (_patched(2599, b"\1"), "trailing-bytes"),
        (rewritten(b""), "json-invalid"),
        (rewritten(b"{}"), "json-shape"),
        (rewritten(b'{"keys":[{"kid":1,"kty":"RSA"}]}'), "json-shape"),
        (rewritten(b'{"keys":[],"keys":[]}'), "json-duplicate-key"),
        (rewritten(b'{"keys":[{"kid":"HCLAkPub","kid":"HCLAkPub","kty":"RSA"}]}'), "json-duplicate-key"),
        (rewritten(b'{"keys":[],"user-data":"","user-data":""}'), "json-duplicate-key"),
        (rewritten(b'{"keys":[{"kid":"A","kty":"RSA"},{"kid":"A","kty":"RSA"}]}'), "hcl-key-twice"),
        (rewritten(b'{"keys":[],"user-data":"00"}'), "hcl-user-data"),
        (rewritten(b'{"keys":[],"user-data":"' + b"zz" * 64 + b'"}'), "hcl-user-data"),
        (rewritten(b'{"keys":[],"user-data":"' + b"00 " * 64 + b'"}'), "hcl-user-data"),
        (rewritten(b'{"keys":[]}\0', pad=4), "json-invalid"),
    ],
)
def test_what_is_no_hcl_report(data: bytes, expected: str) -> None:
    assert code(data) == expected


def test_a_guest_that_chose_nothing() -> None:
    assert parse_hcl(rewritten(b'{"keys":[]}')).user_data is None
    assert parse_hcl(rewritten(b'{"keys":[],"user-data":"' + b"aB" * 64 + b'"}')).user_data == b"\xab" * 64


def test_everything_is_shown() -> None:
    views = {view.name: view for view in hcl_views(parse_hcl(REAL))}
    assert views["hcl.version"].value == "1"
    assert views["hcl.request_type"].value == "2"
    assert views["hcl.hash_type"].value == "sha256"
    assert views["hcl.runtime.HCLAkPub"].notes == ("sign",)
    assert views["hcl.runtime.secure-boot"].value == "true"
    assert views["hcl.runtime.vmUniqueId"].value == '"26F8BC30-774E-4290-8E7A-535F3B672AEE"'
    assert views["hcl.runtime.user-data"].value == "00" * 64
    assert views["hcl.runtime.digest"].value == REAL[32 + 0x50 :][:32].hex()
    for view in views.values():
        if view.offset is not None and view.name == "hcl.runtime":
            assert REAL[view.offset : view.offset + (view.size or 0)].decode() == view.value
    assert "hcl.runtime.user-data" not in {v.name for v in hcl_views(parse_hcl(rewritten(b'{"keys":[]}')))}


@given(st.binary(max_size=300))
def test_noise(data: bytes) -> None:
    assert code(REAL[:1216] + data)


def test_of_a_broken_wrapper_the_report_is_shown() -> None:
    broken = _patched(1236, b"A")
    salvaged = platforms.get("snp").salvage(broken)
    assert salvaged is not None
    views = {view.name: view for view in platforms.get("snp").views(salvaged)}
    assert views["report.measurement"].offset == 32 + 0x90
    assert views["report.measurement"].value == REAL[32 + 0x90 :][:48].hex()
    assert not [name for name in views if name.startswith("hcl.")]


@pytest.mark.parametrize("data", [wrapper("hcl-tdx-v1"), REAL[:1224], b"HCLA"])
def test_of_what_wraps_no_report_none_is_shown(data: bytes) -> None:
    assert platforms.get("snp").salvage(data) is None
