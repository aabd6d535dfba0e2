# SPDX-License-Identifier: Apache-2.0
"""MRTD against the values of two other programs, and what it does and does not depend on."""

import hashlib
import json
from pathlib import Path

import pytest
from tests.platforms.tdx.images import BOOT, HOB, MEMORY, image, section

from nacre.platforms.measuring import differences
from nacre.platforms.tdx.mrtd import ORDERS, Order, mrtd

_NAMES: dict[Order, str] = {"page": "mrtd_single_pass", "section": "mrtd_two_pass"}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", ["fw-32k-cfv-extended.fd", "fw-64k.fd"])
def test_vectors(vectors: Path, name: str, order: Order) -> None:
    folder = vectors / "measure/tdx"
    expected = json.loads((folder / "expected.json").read_text())[name]
    made = mrtd((folder / name).read_bytes(), order=order)
    assert made.registers["mrtd"].hex() == expected[_NAMES[order]]
    assert made.parts[-1].digest == made.registers["mrtd"]


@pytest.mark.parametrize("order", ORDERS)
def test_debians_firmware(vectors: Path, order: Order) -> None:
    path = Path("/usr/share/ovmf/OVMF.fd")
    firmware = path.read_bytes() if path.exists() else b""
    known = json.loads((vectors / "measure/tdx/debian-ovmf.json").read_text()).values()
    expected = {one["sha256"]: one[_NAMES[order]] for one in known}.get(hashlib.sha256(firmware).hexdigest())
    if expected is not None:
        assert mrtd(firmware, order=order).registers["mrtd"].hex() == expected


def test_the_stream_by_hand() -> None:
    firmware = image((BOOT, HOB))

    def block(name: bytes, address: int) -> bytes:
        return name.ljust(16, b"\0") + address.to_bytes(8, "little") + bytes(104)

    stream = block(b"MEM.PAGE.ADD", 0xFFFFF000)
    for at in range(0, 0x1000, 256):
        stream += block(b"MR.EXTEND", 0xFFFFF000 + at) + firmware[at : at + 256]
    stream += block(b"MEM.PAGE.ADD", 0x809000) + block(b"MEM.PAGE.ADD", 0x80A000)
    assert mrtd(firmware).registers["mrtd"] == hashlib.sha384(stream).digest()


def test_memory_accepted_later_is_not_measured() -> None:
    later = section(3, address=0x80B000, memory=0x2000, attributes=2)
    made, without = mrtd(image((BOOT, HOB, later))), mrtd(image((BOOT, HOB)))
    assert [part.label for part in made.parts] == ["boot firmware volume", "memory for the TD HOB"]
    assert len(made.parts) == len(without.parts)


def test_one_page_at_a_time_both_orders_are_one() -> None:
    firmware = image((BOOT, HOB))
    one, other = (mrtd(firmware, order=order).registers for order in ORDERS)
    assert one == other


def test_a_difference_is_named() -> None:
    moved = image((BOOT, HOB, section(3, address=0x80C000, memory=0x2000)))
    found = list(differences(mrtd(image((BOOT, HOB, MEMORY))), mrtd(moved)))
    ((register, here, there),) = found
    assert register == "mrtd"
    assert here is not None
    assert there is not None
    # The bytes of the description lie in the boot volume, so that differs already.
    assert (here.label, there.label) == ("boot firmware volume", "boot firmware volume")
