# SPDX-License-Identifier: Apache-2.0
"""Images for firmware: what goes in comes out, byte for byte, and what cannot be started is refused."""

import struct
from pathlib import Path

import pytest
from tests.platforms.programs import HEADERS, Made, program

from nacre.build import uki
from nacre.build.uki import assemble
from nacre.errors import BuildError
from nacre.platforms.pe import authenticode, parse
from nacre.platforms.tpm.uki import measure

_KERNEL = program({".text": b"kernel" * 99})
_STUB = program({".text": b"stub" * 300, ".sdmagic": b"#### LoaderInfo: systemd-stub 252.39-1 ####\0"})
_REAL = Path("/usr/lib/systemd/boot/efi/linuxx64.efi.stub")


def _assembled(stub: bytes = _STUB, **changes: bytes) -> bytes:
    parts = {"kernel": _KERNEL, "initrd": b"initrd"} | changes
    return assemble(stub, command_line="quiet", **parts)


@pytest.fixture(params=["made", "systemd"])
def stub(request: pytest.FixtureRequest) -> bytes:
    if request.param == "made":
        return _STUB
    if not _REAL.is_file():
        pytest.skip("systemd's stub is not installed; .ci/run installs it")
    return _REAL.read_bytes()


def test_parts_come_out_as_they_went_in(stub: bytes) -> None:
    image = _assembled(stub)
    found = parse(image)
    expected = {b".osrel": b"ID=nacre\n", b".cmdline": b"quiet", b".linux": _KERNEL, b".initrd": b"initrd"}
    for name, content in expected.items():
        section = found.section(name)
        assert section is not None
        assert image[section.offset : section.offset + section.memory] == content
        assert section.address % 4096 == 0
    before = parse(stub)
    assert found.sections[: len(before.sections)] == before.sections
    for one in before.sections:
        assert image[one.offset : one.offset + one.size] == stub[one.offset : one.offset + one.size]
    last = found.sections[-1]
    (size,) = struct.unpack_from("<I", image, found.image_size)
    assert last.address + last.memory <= size < last.address + last.memory + 4096
    assert len(image) % 512 == 0


def test_the_same_parts_are_the_same_bytes(stub: bytes) -> None:
    assert _assembled(stub) == _assembled(stub)
    # A linker's time and symbols are none of the image.
    start = parse(stub).start
    later = stub[: start + 8] + b"\1\2\3\4" + stub[start + 12 :] + b"symbols"
    assert _assembled(later) == _assembled(stub)


def test_one_byte_of_the_parts_changes_what_is_measured() -> None:
    known = measure(image=_assembled()).registers
    kernel = bytearray(_KERNEL)
    kernel[HEADERS] ^= 1
    for image in (_assembled(initrd=b"Initrd"), _assembled(kernel=bytes(kernel))):
        found = measure(image=image).registers
        assert found["pcr4"] != known["pcr4"]
        assert found["pcr11"] != known["pcr11"]


def test_a_tampered_image_measures_otherwise() -> None:
    image = bytearray(_assembled())
    known = measure(image=bytes(image)).registers
    image[image.index(b"quiet")] ^= 1
    found = measure(image=bytes(image)).registers
    assert {name for name in known if found[name] != known[name]} == {"pcr4", "pcr9", "pcr11"}
    assert authenticode(bytes(image), algorithm="sha256") != authenticode(_assembled(), algorithm="sha256")


_OTHER = _STUB.replace(struct.pack("<4sH", b"PE\0\0", 0x8664), struct.pack("<4sH", b"PE\0\0", 0xAA64))
_STUBS = {
    "none": b"",
    "elf": b"\x7fELF" + bytes(200),
    "cut": _STUB[:200],
    "overlapping": _STUB.replace(struct.pack("<I", HEADERS + 1536), struct.pack("<I", HEADERS + 512)),
    "no-room": program({f".s{number}": b"x" for number in range(14)}),
    "signed": program({".text": b"stub"}, certificates=bytes(8)),
    "used": _assembled(),
    "short-headers": program({".text": b"stub"}, made=Made(headers=64)),
}


@pytest.mark.parametrize("stub", _STUBS.values(), ids=_STUBS.keys())
def test_stubs_that_nothing_can_be_put_into(stub: bytes) -> None:
    with pytest.raises(BuildError) as caught:
        _assembled(stub)
    assert caught.value.code == "uki-stub"
    assert str(caught.value)


@pytest.mark.parametrize(
    "kernel", [b"", b"\x7fELF", _KERNEL[:300], _OTHER], ids=["none", "elf", "cut", "arm"]
)
def test_kernels_that_firmware_does_not_start(kernel: bytes) -> None:
    with pytest.raises(BuildError) as caught:
        _assembled(kernel=kernel)
    assert caught.value.code == "uki-kernel"
    assert str(caught.value)


def test_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uki, "_MOST", 5000)
    with pytest.raises(BuildError) as caught:
        _assembled(initrd=bytes(5000))
    assert caught.value.code == "uki-large"
