# SPDX-License-Identifier: Apache-2.0
"""No image, however it was damaged, makes anything but its own errors."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.platforms.nitro import images
from tests.platforms.nitro.images import raw

from nacre.errors import MalformedEvidence, VerificationError
from nacre.platforms.nitro import eif
from nacre.platforms.nitro.eif_sign import check_signature, read_signature
from nacre.platforms.nitro.measure import measure

_SIGNED = images.image(signer=images.signer())
_CRC = slice(eif.HEADER.size, eif.HEADER.size + eif.CRC.size)


def _read(data: bytes) -> None:
    try:
        image = eif.parse(data)
        registers = measure(image).registers
        signature = read_signature(image)
        if signature is not None:
            check_signature(signature, pcr0=registers["pcr0"], at=images.NOW)
    except (MalformedEvidence, VerificationError) as error:
        told = str(error)
    else:
        return
    assert told


def _repaired(data: bytearray) -> bytes:
    data[_CRC] = bytes(4)
    crc = zlib.crc32(data[_CRC.stop :], zlib.crc32(data[: _CRC.start]))
    data[_CRC] = eif.CRC.pack(crc)
    return bytes(data)


@given(st.binary(max_size=700))
def test_anything(data: bytes) -> None:
    _read(data)
    _read(b".eif\0\4" + data)


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
@given(st.lists(st.tuples(st.integers(0, len(_SIGNED) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_changed_bytes_under_a_right_checksum(changes: list[tuple[int, int]]) -> None:
    data = bytearray(_SIGNED)
    for at, value in changes:
        data[at] = value
    _read(_repaired(data))


@given(
    st.lists(st.tuples(st.integers(0, 7), st.binary(max_size=30)), max_size=8),
    st.dictionaries(st.integers(1, 71), st.integers(0, (1 << 16) - 1), max_size=3),
)
def test_any_sections_under_any_header(sections: list[tuple[int, bytes]], header: dict[int, int]) -> None:
    _read(raw(*sections, header=header))
