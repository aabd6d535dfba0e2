# SPDX-License-Identifier: Apache-2.0
"""SIGSTRUCTs: those of others, our own, and that not a bit of one can be changed."""

import json
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given, settings
from hypothesis import strategies as st

from nacre.errors import ConfigurationError, MalformedEvidence, VerificationError
from nacre.platforms.sgx import PLATFORM
from nacre.platforms.sgx.sigstruct import SIZE, Terms, make, read

TERMS = Terms(
    mrenclave=b"m" * 32,
    attributes=bytes([4, *bytes(7), 3, *bytes(7)]),
    attribute_mask=b"\xff" * 16,
    isvprodid=7,
    isvsvn=3,
    date="20261125",
    isvextprodid=b"e" * 16,
    isvfamilyid=b"f" * 16,
)


class Author(NamedTuple):
    """A key, as an HSM would offer it."""

    key: rsa.RSAPrivateKey

    @property
    def modulus(self) -> int:
        return self.key.public_key().public_numbers().n

    def sign(self, message: bytes) -> bytes:
        return self.key.sign(message, padding.PKCS1v15(), SHA256())


@cache
def author() -> Author:
    return Author(rsa.generate_private_key(public_exponent=3, key_size=3072))


@cache
def made() -> bytes:
    return make(TERMS, modulus=author().modulus, sign=author().sign)


def changed(data: bytes, position: int, value: bytes) -> bytes:
    return data[:position] + value + data[position + len(value) :]


def test_one_of_another_toolchain(vectors: Path) -> None:
    folder = vectors / "measure" / "sgx"
    if not folder.is_dir():
        pytest.skip("these vectors are not beside this checkout")
    expected = json.loads((folder / "expected.json").read_text())["test_enclave.sig"]
    found = read((folder / "test_enclave.sig").read_bytes())
    terms = found.terms
    assert found.mrsigner.hex() == expected["mrsigner"]
    assert terms.mrenclave.hex() == expected["mrenclave"]
    assert terms.date == expected["date_bcd"]
    assert f"{terms.misc_select:08x}" == expected["miscselect"]
    assert terms.attributes.hex() == expected["attributes"]
    assert terms.attribute_mask.hex() == expected["attribute_mask"]
    assert (terms.isvprodid, terms.isvsvn) == (expected["isvprodid"], expected["isvsvn"])
    assert found.debuggable


def test_what_is_made_is_read() -> None:
    found = read(made())
    assert (found.terms, found.modulus) == (TERMS, author().modulus)
    assert len(made()) == SIZE == 1808
    assert not found.debuggable


def test_the_registers_are_those_of_releases() -> None:
    found = read(made()).registers
    assert found["isvprodid"] == b"\7\0"
    assert found["isvsvn"] == b"\3\0"
    sizes = {register.name: register.size for register in PLATFORM.registers}
    assert {name: len(value) for name, value in found.items()} == {name: sizes[name] for name in found}


@pytest.mark.parametrize(
    ("position", "value", "field"),
    [
        (0, b"\7", "header"),
        (16, b"\1", "vendor"),
        (24, b"\2", "second header"),
        (44, b"\1", "reserved bytes"),
        (511, b"\0", "modulus"),
        (512, b"\1", "exponent"),
        (910, b"\1", "reserved bytes"),
        (992, b"\1", "reserved bytes"),
        (1028, b"\1", "reserved bytes"),
        (1040, bytes(384), "Q1 and Q2"),
        (1424, bytes(384), "Q1 and Q2"),
    ],
)
def test_what_einit_refuses(position: int, value: bytes, field: str) -> None:
    with pytest.raises(MalformedEvidence) as caught:
        read(changed(made(), position, value))
    assert (caught.value.code, caught.value.context["what"]) == ("sigstruct-field", field)


def test_an_even_modulus() -> None:
    with pytest.raises(MalformedEvidence) as caught:
        read(changed(made(), 128, bytes([made()[128] ^ 1])))
    assert caught.value.context["what"] == "modulus"


@pytest.mark.parametrize("size", [0, SIZE - 1, SIZE + 1])
def test_another_size(size: int) -> None:
    with pytest.raises(MalformedEvidence, match="1808"):
        read((made() + b"\0")[:size])


def test_a_signature_beyond_the_modulus() -> None:
    with pytest.raises(VerificationError) as caught:
        read(changed(made(), 516, b"\xff" * 384))
    assert caught.value.code == "signature-invalid"


@settings(max_examples=300)
@given(st.integers(0, SIZE - 1), st.integers(1, 255))
def test_no_byte_can_be_changed(position: int, change: int) -> None:
    with pytest.raises((MalformedEvidence, VerificationError)):
        read(changed(made(), position, bytes([made()[position] ^ change])))


@pytest.mark.parametrize(
    "terms",
    [
        {"mrenclave": b"m" * 31},
        {"mrenclave": b"m" * 33},
        {"attributes": b""},
        {"isvextprodid": bytes(17)},
        {"isvsvn": 1 << 16},
        {"isvprodid": -1},
        {"misc_mask": 1 << 32},
        {"date": "120261125"},
        {"date": "-1"},
        {"date": "1"},
        {"date": "today"},
        {"vendor": 5},
    ],
)
def test_what_does_not_fit_is_never_signed(terms: dict[str, object]) -> None:
    def sign(message: bytes) -> bytes:
        pytest.fail(f"asked to sign {message!r}")

    stated = {name: getattr(TERMS, name) for name in Terms.__struct_fields__} | terms
    with pytest.raises(ConfigurationError) as caught:
        make(Terms(**stated), modulus=author().modulus, sign=sign)
    assert caught.value.code == "sigstruct-term"


@pytest.mark.parametrize("modulus", [0, 1 << 3071, (1 << 2048) - 1])
def test_a_key_of_another_kind_makes_none(modulus: int) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make(TERMS, modulus=modulus, sign=author().sign)
    assert caught.value.code == "sigstruct-signer"


@pytest.mark.parametrize("signature", [b"", bytes(384), b"\xff" * 384])
def test_a_signer_that_signs_something_else_makes_none(signature: bytes) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make(TERMS, modulus=author().modulus, sign=lambda _: signature)
    assert caught.value.code == "sigstruct-signer"


@pytest.mark.parametrize(
    ("attributes", "mask", "expected"), [(4, 0xFF, False), (6, 0xFF, True), (4, 0xFD, True)]
)
def test_who_may_debug(attributes: int, mask: int, *, expected: bool) -> None:
    terms = {name: getattr(TERMS, name) for name in Terms.__struct_fields__}
    terms |= {"attributes": bytes([attributes, *bytes(15)]), "attribute_mask": bytes([mask] * 16)}
    data = make(Terms(**terms), modulus=author().modulus, sign=author().sign)
    assert read(data).debuggable is expected
