# SPDX-License-Identifier: Apache-2.0
"""Readers of what was measured, and of what is to be, as a fuzzer calls them."""

import hashlib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from tests.platforms.programs import program as made
from tests.platforms.tdx.images import image
from tests.platforms.tdx.linux import linux

from nacre.platforms import pe
from nacre.platforms.tdx import ccel
from nacre.platforms.tdx.kernel import handed_over
from nacre.platforms.tdx.mrtd import ORDERS, mrtd
from nacre.platforms.tpm import eventlog, uki
from nacre.platforms.tpm import quote as quotes
from nacre.platforms.tpm.registers import BANKS
from nacre.platforms.tpm.replay import replay

__all__ = [
    "NAMES",
    "WORDS",
    "efi_program",
    "event_log",
    "kernel",
    "quote",
    "seeds",
    "td_firmware",
    "td_log",
    "unified_image",
]

_LOGS = Path(__file__).parent.parent / "vectors" / "measure" / "eventlog"
_LARGEST_SEED = 1 << 16
NAMES = ("event-log", "efi-program", "unified-image", "tpm-quote", "td-firmware", "td-log", "kernel")
WORDS = (
    *(b"Spec ID Event03\0", b"StartupLocality\0\3", b"\x0b\0", b"\x0c\0", b"\3\0\0\0", b"\4\0\0\0\0\0\0\0"),
    *(b"MZ", b"PE\0\0\x64\x86", b".linux\0\0", b".cmdline", b".sdmagic", b".text\0\0\0"),
    *(b"TDVF", b"HdrS", b"ACPI DATA", bytes.fromhex("3565 7ae4 4a98"), bytes.fromhex("de82 b596 b21f")),
    *(b"#### LoaderInfo: systemd-stub 252.1 ####", bytes.fromhex("ff5443478018"), b"\0\x18\0\x0b"),
)
#: What swtpm said, and the key that it signed that with.
_ATTEST = bytes.fromhex(
    "ff54434780180022000be5b175c9db6f9f71a33deeb026aa4872c41260ad187dfc824908964001c32cb7002093ff0d7fea6c3d3a"
    "eccfd8ed36c6d49b047c2089a6d7d2875828a2c3ab0d2dae000000000001179a0000000200000000012019102300163636000000"
    "01000b03ffffff0020e19240d93d4fee918fe21067bc9a7cd07478e81587f3ae4ee8bc64262584a07e"
)
_PUBLIC = bytes.fromhex(
    "0023000b00050072000000100018000b000300100020d33c780c7ea8840bfc71b475ec1a8ce1a8e67741a13e65ab2faa9aa2d244"
    "6b0800203a86167aa29d5148ba1c27a5d4283a586c2cb8b8c1511066109afe8f9d4e5be4"
)
_SECTIONS = {
    ".sdmagic": b"#### LoaderInfo: systemd-stub 252.39 ####",
    ".linux": made({".text": b"kernel"}),
    ".cmdline": b"quiet",
    ".initrd": b"initrd",
}


def event_log(data: bytes) -> None:
    """The first byte says whether padding may follow. Nothing of a log is passed over."""
    padded = data[:1] == b"\1"
    log = eventlog.parse(data[1:], padded=padded)
    places = [(one.offset, one.offset + one.size) for one in log.events]
    assert all(end == start for (_, end), (start, _) in pairwise(places))
    assert padded or not places or places[-1][1] == len(data) - 1
    for algorithm in set(BANKS) & set(log.algorithms):
        found = replay(log, algorithm=algorithm)
        assert {len(value) for value in found.registers.values()} <= {hashlib.new(algorithm).digest_size}


def efi_program(data: bytes) -> None:
    """Whatever is in a section is hashed."""
    found = pe.parse(data)
    known = pe.authenticode(data, algorithm="sha256")
    for section in found.sections[:3]:
        if section.size:
            changed = bytearray(data)
            changed[section.offset] ^= 1
            assert pe.authenticode(bytes(changed), algorithm="sha256") != known


def unified_image(data: bytes) -> None:
    """What a part says of the image is so."""
    for part in uki.measure(image=data).parts:
        if part.input == "uki" and part.register != "pcr4":
            assert hashlib.sha256(data[part.offset : part.offset + part.size]).digest() == part.digest


def quote(data: bytes) -> None:
    """The first byte chooses between a quote and a key."""
    if data[:1] == b"\1":
        quotes.attestation_key(data[1:])
    else:
        quotes.parse(data[1:])


def td_firmware(data: bytes) -> None:
    """Each of the sections that are measured changes the register."""
    for order in ORDERS:
        found = mrtd(data, order=order)
        assert found.parts[-1].digest == found.registers["mrtd"]


def td_log(data: bytes) -> None:
    """Nothing of a log gets to a terminal as it is."""
    found = ccel.replay(data)
    assert {len(value) for value in found.registers.values()} == {48}
    assert all(part.label.isprintable() for part in found.parts)


def kernel(data: bytes) -> None:
    """Nothing but its header is changed."""
    changed, address = handed_over(data, initrd=len(data), memory=1 << 30)
    assert address % 4096 == 0
    assert changed[:0x210] == data[:0x210]
    assert changed[0x22C:] == data[0x22C:]


def seeds(name: str) -> Iterator[bytes]:
    """Return what one of these may start from."""
    if name == "event-log":
        for path in sorted(_LOGS.glob("*.bin")):
            if path.stat().st_size < _LARGEST_SEED:
                yield from (first + path.read_bytes() for first in (b"\0", b"\1"))
    elif name == "efi-program":
        yield made({".text": b"code", ".data": b"data"}, certificates=bytes(8), end=b"end")
        yield made(_SECTIONS)
    elif name == "unified-image":
        yield made(_SECTIONS)
        yield made({**_SECTIONS, ".osrel": b"ID=a", ".sbat": b"sbat,1"})
    elif name == "td-firmware":
        yield from (path.read_bytes() for path in sorted((_LOGS.parent / "tdx").glob("*.fd")))
        yield image()
    elif name == "td-log":
        yield from (path.read_bytes() for path in sorted(_LOGS.glob("ccel-*.bin")))
    elif name == "kernel":
        yield from (linux(), linux(more=0))
    else:
        yield from (b"\0" + _ATTEST, b"\1" + _PUBLIC)
