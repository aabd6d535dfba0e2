# SPDX-License-Identifier: Apache-2.0
"""What two measurements differ in is the first step, not the last."""

import pytest

from nacre.platforms.measuring import Measurement, Part, differences, one_by_one

KERNEL = Part(register="pcr0", label="kernel", input="kernel", size=4, digest=b"k")
OTHER = Part(register="pcr0", label="kernel", input="kernel", size=4, digest=b"o")
INITRD = Part(register="pcr0", label="ramdisk", input="initrd", offset=4, size=2, digest=b"i")
MOVED = Part(register="pcr0", label="ramdisk", input="initrd", offset=9, size=2, digest=b"i")
LOGGED = Part(register="pcr0", label="EV_IPL", input="event log", digest=b"i")
NOTE = Part(register="pcr0", label="unmeasured", input="kernel", digest=b"", value="one")
OTHER_NOTE = Part(register="pcr0", label="unmeasured", input="kernel", digest=b"", value="other")
ONE = Measurement({"pcr0": b"1", "pcr1": b"1"}, (KERNEL, INITRD))


def test_of_gives_the_steps_of_one_register() -> None:
    assert (ONE.of("pcr0"), ONE.of("pcr1")) == ((KERNEL, INITRD), ())


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (ONE, []),
        (Measurement({"pcr0": b"2", "pcr1": b"1"}, (KERNEL, MOVED)), [("pcr0", None, None)]),
        (Measurement({"pcr0": b"2", "pcr1": b"1"}, (KERNEL, LOGGED)), [("pcr0", None, None)]),
        (Measurement({"pcr0": b"2", "pcr1": b"1"}, (KERNEL, NOTE)), [("pcr0", INITRD, NOTE)]),
        (Measurement({"pcr0": b"2", "pcr1": b"1"}, (OTHER, INITRD)), [("pcr0", KERNEL, OTHER)]),
        (Measurement({"pcr0": b"2", "pcr1": b"1"}, (KERNEL,)), [("pcr0", INITRD, None)]),
        (Measurement({"pcr0": b"2", "pcr1": b"1"}, (KERNEL, INITRD, OTHER)), [("pcr0", None, OTHER)]),
        (Measurement({"pcr0": b"1", "pcr1": b"2"}, (OTHER,)), [("pcr1", None, None)]),
        (Measurement({"pcr0": b"1", "pcr1": b"1", "pcr2": b"0"}, (OTHER,)), [("pcr2", None, None)]),
    ],
)
def test_differences(other: Measurement, expected: object) -> None:
    assert list(differences(ONE, other)) == expected


def test_what_is_not_measured_differs_by_its_words() -> None:
    one, other = (Measurement({"pcr0": value}, (part,)) for value, part in ((b"1", NOTE), (b"2", OTHER_NOTE)))
    assert list(differences(one, other)) == [("pcr0", NOTE, OTHER_NOTE)]


def test_one_by_one_keeps_the_order() -> None:
    assert one_by_one([lambda: 1, lambda: 2]) == [1, 2]
