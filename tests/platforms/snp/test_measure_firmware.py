# SPDX-License-Identifier: Apache-2.0
"""What firmware says of itself is believed only where it can be."""

import pytest
from tests.platforms.snp.firmware import HASHES, RESET, SECTIONS, firmware, listed

from nacre.errors import ConfigurationError, MalformedEvidence
from nacre.platforms.snp.cpus import MODELS, cpu_signature, signature
from nacre.platforms.snp.firmware import Section, read_firmware


def test_what_is_read() -> None:
    found = read_firmware(firmware())
    assert found.sections == tuple(Section(kind, gpa, size) for gpa, size, kind in SECTIONS)
    assert (found.hashes, found.reset, found.gpa) == (HASHES, RESET, (1 << 32) - 4 * 4096)


def test_firmware_for_machines_that_are_not_protected() -> None:
    found = read_firmware(firmware(None, hashes=None, reset=None))
    assert (found.sections, found.hashes, found.reset) == ((), 0, 0)


_MANY = listed([(0x800000, 0x1000, 1)] * 65)


@pytest.mark.parametrize(
    ("code", "data"),
    [
        ("snp-firmware", b""),
        ("snp-firmware", firmware()[1:]),
        ("firmware-table", bytes(4096)),
        ("snp-firmware", firmware(hashes=b"\0\0\0")),
        ("snp-firmware", firmware(reset=b"")),
        ("snp-firmware", firmware(distance=15)),
        ("snp-firmware", firmware(distance=5 * 4096)),
        ("snp-firmware", firmware(distance=0xFFFFFFFF)),
        ("snp-firmware", firmware(listed(SECTIONS, magic=b"ASEW"))),
        ("snp-firmware", firmware(listed(SECTIONS, version=2))),
        ("snp-firmware", firmware(_MANY)),
        ("snp-firmware", firmware(listed(SECTIONS)[:4] + bytes((255, 0, 0, 0)) + listed(SECTIONS)[8:])),
        ("snp-firmware", firmware(listed(SECTIONS)[:12] + b"\xff\xff\xff\xff" + listed(SECTIONS)[16:])),
        ("snp-firmware", firmware(None, distance=32)),
        ("snp-firmware", firmware(listed([(0x800000, 0x1000, 5)]))),
        ("snp-firmware", firmware(listed([(0x800001, 0x1000, 1)]))),
        ("snp-firmware", firmware(listed([(0x800000, 0x1001, 1)]))),
        ("snp-firmware", firmware(listed([(0x800000, 0, 1)]))),
        ("snp-firmware", firmware(listed([(0x800000, 0x2000, 2)]))),
        ("snp-firmware", firmware(listed([(0x800000, 0xFFFFF000, 1)]))),
        ("snp-firmware", firmware(listed([(0x800000, 0x9000000, 1)] * 2))),
    ],
)
def test_tables_that_contradict_themselves(code: str, data: bytes) -> None:
    with pytest.raises(MalformedEvidence) as caught:
        read_firmware(data)
    assert caught.value.code == code
    assert str(caught.value)


def test_a_list_that_ends_behind_the_firmware() -> None:
    data = bytearray(firmware(None, distance=40))
    data[-40:-24] = listed(SECTIONS)[:16]
    with pytest.raises(MalformedEvidence):
        read_firmware(bytes(data))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("EPYC", 0x800F12),
        ("EPYC-v4", 0x800F12),
        ("EPYC-IBPB", 0x800F12),
        ("EPYC-Rome-v3", 0x830F10),
        ("EPYC-Milan-v2", 0xA00F11),
        ("EPYC-Genoa", 0xA10F10),
        ("EPYC-Turin-v1", 0xB00F00),
        ("0xB00F21", 0xB00F21),
    ],
)
def test_signatures(name: str, expected: int) -> None:
    assert signature(name) == expected


def test_signatures_of_old_processors() -> None:
    assert cpu_signature(6, 13, 7) == 0x6D7


@pytest.mark.parametrize(
    "name", ["", "max", "epyc", "EPYC-v0", "EPYC-v", "EPYC-v4\n", "0x", "0x123456789", "EPYC-Dense"]
)
def test_unknown_processors(name: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        signature(name)
    assert caught.value.code == "snp-cpu"
    assert all(model in str(caught.value) for model in MODELS)
