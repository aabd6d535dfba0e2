# SPDX-License-Identifier: Apache-2.0
"""What AMD certifies about a key, and certificates that say something else."""

import pytest
from tests.platforms.snp.judging import refused, verify
from tests.platforms.snp.pki import CSP, HWID, World, amd, hwid_of, text
from tests.trust.forge import number, tlv

_LINES = pytest.mark.parametrize("product", ["Milan", "Genoa", "Turin"])


@_LINES
def test_the_version_of_its_structure_is_the_lines(product: str) -> None:
    """With another one, other bytes of a TCB would be meant."""
    for version in {0, 1, 2} - {int(product == "Turin")}:
        assert refused(World(product=product, add={"1": number(version)}), "snp.chain") == "vek-extension"


@_LINES
def test_every_level_has_to_be_there(product: str) -> None:
    for arcs in ("1", "2", "3.1", "3.2", "3.3", "3.8", *(("3.9",) if product == "Turin" else ())):
        assert refused(World(product=product, drop=(arcs,)), "snp.chain") == "vek-extension-missing"


def test_reserved_levels_may_be_left_out() -> None:
    verify(World(drop=("3.4", "3.5", "3.6", "3.7")))


@pytest.mark.parametrize("arcs", ["3.4", "3.5", "3.6", "3.7"])
def test_reserved_levels_are_zero(arcs: str) -> None:
    assert refused(World(add={arcs: number(1)}), "snp.chain") == "vek-extension"


@pytest.mark.parametrize("product", ["Milan", "Genoa"])
def test_a_level_that_the_line_does_not_have(product: str) -> None:
    assert refused(World(product=product, add={"3.9": number(0)}), "snp.chain") == "vek-extension"


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (number(256), "vek-extension"),
        (number(2**64), "vek-extension"),
        (number(-1), "der-value"),
        (b"\x02\x02\x00\x1b", "der-value"),
        (b"\x02\x00", "der-value"),
        (b"", "truncated"),
        (b"\x1b", "der-tag"),
        (tlv(0x04, b"\x1b"), "der-tag"),
        (number(27) + b"\0", "trailing-bytes"),
    ],
)
def test_levels_are_numbers_of_one_byte(value: bytes, code: str) -> None:
    assert refused(World(add={"3.3": value}), "snp.chain") == code


@_LINES
@pytest.mark.parametrize("change", [b"", b"\0", b"short"])
def test_chips_have_the_length_of_their_line(product: str, change: bytes) -> None:
    hwid = hwid_of(product)
    for value in (change, hwid + b"\0", hwid[:-1], bytes(len(hwid)), tlv(0x04, hwid)):
        assert refused(World(product=product, add={"4": value}), "snp.chain") == "vek-extension"


def test_the_whole_chip_is_compared() -> None:
    """An HWID of 64 bytes that is zero but for the eight that Turin has."""
    assert refused(World(product="Genoa", add={"4": HWID[:8] + bytes(56)}), "snp.chip") == "snp-chip"


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (text(""), "vek-extension"),
        (text("x" * 257), "vek-extension"),
        (tlv(0x16, b"caf\xc3\xa9"), "vek-extension"),
        (tlv(0x16, b"a\nb"), "vek-extension"),
        (tlv(0x0C, CSP.encode()), "der-tag"),
        (b"", "truncated"),
        (text(CSP) + b"\0", "trailing-bytes"),
    ],
)
def test_texts(value: bytes, code: str) -> None:
    assert refused(World(add={"2": value}), "snp.chain") == code
    assert refused(World(kind="vlek", add={"5": value}), "snp.chain") == code


@_LINES
@pytest.mark.parametrize("kind", ["vcek", "vlek"])
def test_a_certificate_that_names_another_line(product: str, kind: str) -> None:
    """Its authority certifies keys of one line, so AMD would have made a mistake."""
    world = World(product=product, kind=kind)
    for line in {"Milan", "Genoa", "Turin", "Venice"} - {product}:
        for name in (line, f"{line}-B0"):
            assert refused(world.but(add={"2": text(name)}), "snp.chain") == "vek-extension"


@_LINES
def test_with_or_without_a_stepping(product: str) -> None:
    """Real certificates say Milan-B0, Milan-A0, Genoa-B1, Genoa and Turin; VLEKs say Milan."""
    for name in (product, f"{product}-A0", f"{product}-B1"):
        assert verify(World(product=product, add={"2": text(name)})).product.name == product


def test_chips_that_have_a_name_of_their_own() -> None:
    """Bergamo and Siena are of the Genoa line, and no other line."""
    assert verify(World(add={"2": text("Siena-A1")})).product.name == "Genoa"


def test_an_extension_twice() -> None:
    twice = World()
    extensions = (*(amd(arcs, number(1)) for arcs in ("3.3", "3.3")),)
    assert refused(twice.but(vek={"extensions": extensions}), "snp.chain") == "duplicate-extension"
