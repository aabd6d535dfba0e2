# SPDX-License-Identifier: Apache-2.0
"""Registers of an image: which bytes make them, and which do not."""

import hashlib

import msgspec
import pytest
from tests.platforms.nitro import images
from tests.platforms.nitro.images import APP, BASE, CMDLINE, KERNEL, METADATA, PARTS

from nacre.platforms.measuring import Measurement, differences
from nacre.platforms.nitro import eif
from nacre.platforms.nitro.eif_write import Parts, assemble
from nacre.platforms.nitro.measure import empty_registers, measure, parent

_NOTHING = "21b9efbc184807662e966d34f390821309eeac6802309798826296bf3e8bec7c10edb30948c90ba67310f7b964fc500a"


def _extend(data: bytes) -> bytes:
    return hashlib.sha384(bytes(48) + hashlib.sha384(data).digest()).digest()


def _measured(**changes: object) -> Measurement:
    return assemble(msgspec.structs.replace(PARTS, **changes)).measurement


def test_registers() -> None:
    assert measure(eif.parse(images.image(signer=images.signer()))).registers == {
        "pcr0": _extend(KERNEL + CMDLINE + BASE + APP),
        "pcr1": _extend(KERNEL + CMDLINE + BASE),
        "pcr2": _extend(APP),
        "pcr8": _extend(images.certificate()),
    }


def test_parts_say_where_the_bytes_are() -> None:
    data = images.image(signer=images.signer())
    for part in measure(eif.parse(data)).parts:
        found = {"kernel": KERNEL, "command line": CMDLINE, "ramdisk 0": BASE, "ramdisk 1": APP}.get(
            part.label
        )
        if found is None:
            assert (part.register, part.size) == ("pcr8", len(images.certificate()))
        else:
            assert data[part.offset : part.offset + part.size] == found


def test_the_running_digest_is_the_registers_last() -> None:
    measured = _measured()
    for name in ("pcr0", "pcr1", "pcr2"):
        assert hashlib.sha384(bytes(48) + measured.of(name)[-1].digest).digest() == measured.registers[name]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"kernel": b"other"}, {"pcr0": "kernel", "pcr1": "kernel"}),
        ({"command_line": b"quiet"}, {"pcr0": "command line", "pcr1": "command line"}),
        ({"ramdisks": (b"other", APP)}, {"pcr0": "ramdisk 0", "pcr1": "ramdisk 0"}),
        ({"ramdisks": (BASE, b"other")}, {"pcr0": "ramdisk 1", "pcr2": "ramdisk 1"}),
        ({"ramdisks": (BASE,)}, {"pcr0": "ramdisk 1", "pcr2": "ramdisk 1"}),
        ({"metadata": METADATA + b" "}, {}),
        ({"metadata": None}, {}),
        ({"memory": 1 << 31, "cpus": 7, "architecture": "aarch64"}, {}),
        (
            {"metadata": METADATA + b" ", "ramdisks": (BASE, b"other")},
            {"pcr0": "ramdisk 1", "pcr2": "ramdisk 1"},
        ),
    ],
)
def test_the_first_difference_is_named(changes: dict[str, object], expected: dict[str, str]) -> None:
    found = differences(_measured(), _measured(**changes))
    assert {register: one.label for register, one, _ in found if one is not None} == expected


def test_bytes_that_move_from_one_part_to_the_next_change_no_register_of_their_sum() -> None:
    moved = _measured(kernel=KERNEL + CMDLINE[:3], command_line=CMDLINE[3:])
    assert moved.registers == _measured().registers


def test_registers_of_nothing() -> None:
    single = _measured(ramdisks=(BASE,))
    assert single.registers["pcr2"].hex() == _NOTHING
    assert empty_registers(single.registers) == ("pcr2", "pcr8")
    assert empty_registers(_measured(ramdisks=(BASE, b"")).registers) == ("pcr2", "pcr8")
    assert empty_registers(assemble(PARTS, signer=images.signer()).measurement.registers) == ()
    assert empty_registers({"pcr0": bytes(48)}) == ("pcr0",)


def test_the_parent_instance() -> None:
    role, instance = "arn:aws:iam::123456789012:role/x", "i-0123456789abcdef0"
    assert parent() == Measurement({}, ())
    both = parent(role=role, instance=instance)
    assert both.registers == {
        "pcr3": hashlib.sha384(bytes(48) + role.encode()).digest(),
        "pcr4": hashlib.sha384(bytes(48) + instance.encode()).digest(),
    }
    assert [(part.register, part.value) for part in both.parts] == [("pcr3", role), ("pcr4", instance)]
    assert list(parent(instance=instance).registers) == ["pcr4"]


def test_views_are_measured_like_bytes() -> None:
    viewed = Parts(
        kernel=memoryview(KERNEL),
        command_line=CMDLINE,
        ramdisks=(memoryview(BASE), memoryview(APP)),
        metadata=METADATA,
    )
    assert assemble(viewed).measurement == _measured()
    assert measure(eif.parse(memoryview(bytearray(images.image(viewed))))) == _measured()
