# SPDX-License-Identifier: Apache-2.0
"""The certificate table that a host puts beside a report: all of it is the host's word."""

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nacre.errors import MalformedEvidence
from nacre.platforms.snp.ghcb import MAX_ENTRIES, MAX_TABLE, parse_table, table_entries
from nacre.trust import pem
from nacre.trust.x509 import parse_certificate

VCEK, VLEK = "63da758de6644564adc5f4b93be8accd", "a8074bc2a25a483eaae639c045a0b8a1"
ASK, ARK = "4ab7b379bbac4fe4a02f05aef327c782", "c0b406a4a803495297433fb6014cd0ae"
CRL, INFO = "92f81bc358114d3d97ffd19f88dc67ea", "ecae0c0f950243b1afa20ae2e0d565b6"
FOREIGN = "00112233445566778899aabbccddeeff"

_REAL = "vectors/snp-extended/extended-veraison-genoa-v3-8d8bfb/evidence.bin"
REAL = (Path(__file__).parents[2] / _REAL).read_bytes()[1184:]


def table(*entries: tuple[str, bytes], gap: int = 0) -> bytes:
    """Write a table with its contents one behind the other."""
    offset = 24 * (len(entries) + 1) + gap
    head, body = b"", b""
    for guid, content in entries:
        head += bytes.fromhex(guid) + struct.pack("<II", offset + len(body), len(content))
        body += content
    return head + bytes(24 + gap) + body


def code(data: bytes) -> str:
    with pytest.raises(MalformedEvidence) as caught:
        parse_table(data)
    assert "?" not in str(caught.value)
    return caught.value.code


def test_what_a_real_host_gives() -> None:
    assert [(name, offset) for name, offset, _ in table_entries(REAL)] == [
        ("ark", 96),
        ("ask", 2373),
        ("vcek", 4698),
    ]
    roles = parse_table(REAL)
    assert sorted(roles) == ["ark", "ask", "vek"]
    # PEM in the table, DER here.
    names = {role: str(parse_certificate(der)) for role, der in roles.items()}
    assert "ARK-Genoa" in names["ark"]
    assert "SEV-Genoa" in names["ask"]
    assert "SEV-VCEK" in names["vek"]


def test_pages_are_filled_up_with_zeros() -> None:
    assert parse_table(REAL + bytes(4096)) == parse_table(REAL)
    assert parse_table(bytes(4096)) == {}
    assert parse_table(bytes(24)) == {}


def test_every_kind_of_entry() -> None:
    data = table((VCEK, b"v"), (ASK, b"s"), (ARK, b"k"), (CRL, b"c"), (INFO, b"i"), (FOREIGN, b"f"), gap=8)
    assert parse_table(data) == {"vek": b"v", "ask": b"s", "ark": b"k", "crl": b"c"}
    assert [name for name, _, _ in table_entries(data)][-2:] == [
        "platform-info",
        "00112233-4455-6677-8899-aabbccddeeff",
    ]


@pytest.mark.parametrize(("vlek", "expected"), [(False, b"chip"), (True, b"cloud")])
def test_the_key_of_the_kind_that_the_report_names(vlek: bool, expected: bytes) -> None:
    both = table((VCEK, b"chip"), (VLEK, b"cloud"))
    assert parse_table(both, vlek=vlek) == {"vek": expected}
    # If there is only the other, verification says that it is the wrong one.
    assert parse_table(table((VLEK, b"cloud")), vlek=False) == {"vek": b"cloud"}
    assert parse_table(table((VCEK, b"chip")), vlek=True) == {"vek": b"chip"}


def test_certificates_in_pem() -> None:
    der = parse_table(REAL)["ask"]
    text = pem.armour(der) + b"\n"
    assert parse_table(table((ASK, text))) == {"ask": der}
    assert code(table((ASK, text + text))) == "too-many"
    assert code(table((ASK, text + b"and more"))) == "pem-text"
    # A list in PEM is left to whoever reads lists.
    assert parse_table(table((CRL, b"-----BEGIN X509 CRL-----"))) == {"crl": b"-----BEGIN X509 CRL-----"}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "truncated"),
        (bytes(23), "truncated"),
        (table((VCEK, b"v"))[:24], "truncated"),
        (bytes(MAX_TABLE + 1), "too-large"),
        (table(*[(f"{index:032x}", b"x") for index in range(1, MAX_ENTRIES + 2)]), "too-many"),
        (table((VCEK, b"a"), (VCEK, b"a")), "ghcb-twice"),
        (table((FOREIGN, b"a"), (FOREIGN, b"b")), "ghcb-twice"),
        (table((VCEK, b"")), "ghcb-length"),
        (table((VCEK, b"v"))[:-1], "ghcb-length"),
        # The end mark says something beside its GUID.
        (bytes.fromhex(VCEK) + struct.pack("<II", 48, 1) + bytes(16) + b"\1" + bytes(7) + b"v", "ghcb-stray"),
        # Contents inside of the header, of each other, beyond the end, and so far that sums overflow.
        (bytes.fromhex(VCEK) + struct.pack("<II", 24, 25) + bytes(24) + b"v", "ghcb-overlap"),
        (bytes.fromhex(VCEK) + struct.pack("<II", 0, 1) + bytes(24) + b"v", "ghcb-overlap"),
        (bytes.fromhex(VCEK) + struct.pack("<II", 49, 1) + bytes(24) + b"v", "ghcb-length"),
        (bytes.fromhex(VCEK) + struct.pack("<II", 2**32 - 1, 2**32 - 1) + bytes(24) + b"v", "ghcb-length"),
        (bytes.fromhex(VCEK) + struct.pack("<II", 48, 2**32 - 1) + bytes(24) + b"v", "ghcb-length"),
        (
            table((VCEK, b"vv"), (ASK, b"a")).replace(struct.pack("<I", 74), struct.pack("<I", 73)),
            "ghcb-overlap",
        ),
        # Bytes of nobody.
        (table((VCEK, b"v")) + b"\0\0more", "ghcb-stray"),
        (table((VCEK, b"v"), gap=4).replace(bytes(28), bytes(26) + b"!!"), "ghcb-stray"),
    ],
)
def test_what_is_no_table(data: bytes, expected: str) -> None:
    assert code(data) == expected


def test_the_order_of_contents_is_free() -> None:
    head = bytes.fromhex(VCEK) + struct.pack("<II", 74, 2) + bytes.fromhex(ASK) + struct.pack("<II", 72, 2)
    assert parse_table(head + bytes(24) + b"aavv") == {"vek": b"vv", "ask": b"aa"}


@given(st.binary(max_size=200))
def test_noise(data: bytes) -> None:
    try:
        parse_table(data)
    except MalformedEvidence as error:
        assert "?" not in str(error)  # noqa: PT017 (there may be none)


@given(st.integers(0, 8 * 96 - 1))
def test_every_bit_of_a_real_header(bit: int) -> None:
    flipped = bytearray(REAL)
    flipped[bit // 8] ^= 1 << bit % 8
    try:
        found = parse_table(bytes(flipped))
    except MalformedEvidence:
        return
    # Only a GUID can change without contradiction, and then the role is gone or another.
    assert bit % 192 < 128
    assert found != parse_table(REAL)
