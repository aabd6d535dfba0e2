# SPDX-License-Identifier: Apache-2.0
"""RTMR0 to RTMR2 from parts: against logs of real machines, another program's values, and QEMU itself."""

import hashlib
import json
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.platforms.tdx.images import BOOT, HOB, image, ovmf_4m, section
from tests.platforms.tdx.linux import linux

from nacre.errors import ConfigurationError, MalformedEvidence
from nacre.platforms.measuring import differences
from nacre.platforms.pe import authenticode
from nacre.platforms.tdx.hob import below_4g, hob
from nacre.platforms.tdx.kernel import handed_over
from nacre.platforms.tdx.rtmr import Acpi, Boot, rtmr0, rtmr1, rtmr2
from nacre.platforms.tdx.tdvf import Kind, Section, sections
from nacre.platforms.tpm import eventlog

_GIB = 1 << 30
_ACPI = Acpi.of(loader=b"loader", pointer=b"pointer", tables=b"tables")
_BOOT = Boot(memory=2 * _GIB, acpi=_ACPI)
_FIRMWARE = ovmf_4m()


@pytest.fixture(scope="module")
def log(vectors: Path) -> eventlog.EventLog:
    """What a TD of 2 GiB logged that QEMU had started with a kernel: TDX hardware, OVMF."""
    path = vectors / "measure/eventlog/ccel-trustee-CCEL_data_ovmf.bin"
    return eventlog.parse(path.read_bytes(), padded=True)


def _digests(log: eventlog.EventLog, register: int) -> list[bytes]:
    return [one.digests["sha384"] for one in log.events if one.register == register]


def test_a_real_machines_rtmr0(log: eventlog.EventLog, vectors: Path) -> None:
    """All but the ACPI tables is predicted, event by event, and so is the order."""
    logged = _digests(log, 1)
    made = rtmr0(_FIRMWARE, Boot(memory=2 * _GIB, acpi=Acpi(*logged[8:11]), separator="rtmr0"))
    assert [part.digest for part in made.parts] == logged
    expected = json.loads((vectors / "measure/eventlog/expected.json").read_text())
    assert made.registers["rtmr0"].hex() == expected["ccel-trustee-CCEL_data_ovmf.bin"]["rtmrs"]["0"]


def test_another_real_machines_quote() -> None:
    """From Dstack-TEE/dstack, dstack/verifier/fixtures/tdx-lite-getquote.json: QEMU 8.2.2, newer EDK2."""
    acpi = Acpi(
        *map(
            bytes.fromhex,
            (
                "095d04cf26fe03aef6e3561fa24c1aa1cea93f4aeaf563b1f9f7616184c53454875925759434769cec2490acb563a337",
                "8d9a4d4777a1bc77ecd9d8d37a4628129a80052a510320159a20a923bd07a0e90d8d1f2e1ebf088992b25f0d0fa672ef",
                "3070721e169bc41884724cb0e6b3082e1baf249083d8b389181ba50b9afa951057876c380b8870e8c2facf2eff67a2b6",
            ),
        )
    )
    boot = Boot(memory=2 * _GIB, acpi=acpi)
    assert (
        rtmr0(_FIRMWARE, boot).registers["rtmr0"].hex()
        == "f8438db36b96f85d8752ff7f24a89ec05c79ec9eda2ba732c897fb970ca429365b7471b1c054cb84f17b1c2b23ba6640"
    )
    # Of its kernel only the digest is known; all that follows is predicted.
    kernel = (
        "ac7e632dcf5cd2a1fe5c1f41f4d9b8219570e64ed3c61038fdbf25404e6f542ffd57f276bc5076307efaf882e6d64177"
    )
    value = hashlib.sha384(bytes(48) + bytes.fromhex(kernel)).digest()
    for part in rtmr1(linux(), initrd=0, boot=boot).parts[1:]:
        value = hashlib.sha384(value + part.digest).digest()
    assert (
        value.hex()
        == "2023546e7f3b9d1228e274f70c44d481162540f8452544520a796a52f06879709b81a824a26792a7822327504b0d2aee"
    )


def test_a_real_machines_rtmr1(log: eventlog.EventLog) -> None:
    made = rtmr1(linux(), initrd=0, boot=Boot(memory=2 * _GIB, separator="rtmr0"))
    assert [part.digest for part in made.parts[1:]] == _digests(log, 2)[1:]


def test_debians_variables(log: eventlog.EventLog) -> None:
    assert hashlib.sha384(_FIRMWARE[:0x84000]).digest() == _digests(log, 1)[1]
    path = Path("/usr/share/OVMF/OVMF_VARS_4M.fd")
    if path.exists():
        assert path.read_bytes() == _FIRMWARE[:0x84000]


def test_td_hob_vectors(vectors: Path) -> None:
    """The program behind them has sections of an older firmware built in, and took their bytes for MiB."""
    built_in = [(0x811000, 0xF000), (0x80B000, 0x2000), (0x809000, 0x2000), (0x800000, 0x6000)]
    found = [
        Section(
            kind=Kind.HOB if address == 0x809000 else Kind.TEMPORARY,
            offset=0,
            size=0,
            address=address,
            memory=size,
            measured=False,
            added=True,
        )
        for address, size in built_in
    ]
    for name in ("expected.json", "debian-ovmf.json"):
        for case in json.loads((vectors / "measure/tdx" / name).read_text()).values():
            for memory, expected in case.get("td_hob_sha384", {}).items():
                made = hob(found, memory=int(memory) << 20)
                assert hashlib.sha384(made).hexdigest() == expected


def test_absent_variables_vectors(vectors: Path) -> None:
    expected = json.loads((vectors / "measure/tdx/expected.json").read_text())["fw-64k.fd"]
    parts = {part.label: part for part in rtmr0(_FIRMWARE, Boot(memory=_GIB, acpi=_ACPI)).parts}
    for name, digest in expected["efi_variable_absent_sha384"].items():
        assert parts[f"variable {name}"].digest.hex() == digest
        assert parts[f"variable {name}"].value == "not set"


def test_what_rtmr0_is_made_of() -> None:
    made = rtmr0(_FIRMWARE, _BOOT)
    assert [part.label for part in made.parts] == [
        "TD HOB (memory 2048 MiB)",
        "configuration firmware volume",
        *(f"variable {name}" for name in ("SecureBoot", "PK", "KEK", "db", "dbx")),
        "separator",
        "ACPI table loader",
        "ACPI root pointer",
        "ACPI tables",
        "boot variable BootOrder",
        "boot variable Boot0000",
    ]
    value = bytes(48)
    for part in made.parts:
        value = hashlib.sha384(value + part.digest).digest()
    assert made.registers == {"rtmr0": value}


@pytest.mark.parametrize(
    ("changed", "label"),
    [
        (replace(_BOOT, memory=4 * _GIB), "TD HOB (memory 4096 MiB)"),
        (replace(_BOOT, secure={"SecureBoot": b"\1"}), "variable SecureBoot"),
        (replace(_BOOT, acpi=replace(_ACPI, tables=bytes(48))), "ACPI tables"),
        (replace(_BOOT, options=()), "boot variable BootOrder"),
        (replace(_BOOT, options=(b"option",)), "boot variable Boot0000"),
    ],
)
def test_what_differs_is_named(changed: Boot, label: str) -> None:
    plain = rtmr0(_FIRMWARE, _BOOT)
    other = rtmr0(_FIRMWARE, changed)
    ((register, _, there),) = differences(plain, other)
    assert register == "rtmr0"
    assert there is not None
    assert there.label == label


def test_rtmr0_needs_acpi_tables() -> None:
    with pytest.raises(ConfigurationError, match="ACPI tables") as raised:
        rtmr0(_FIRMWARE, Boot(memory=_GIB))
    assert raised.value.code == "tdx-acpi"


def test_a_variable_of_nobody() -> None:
    with pytest.raises(ConfigurationError) as raised:
        rtmr0(_FIRMWARE, Boot(memory=_GIB, acpi=_ACPI, secure={"dbt": b""}))
    assert raised.value.code == "tdx-variable"


@pytest.mark.parametrize("memory", [0, -4096, 4095, (1 << 56) + 4096, 1 << 20])
def test_memory_that_no_td_has(memory: int) -> None:
    with pytest.raises(ConfigurationError) as raised:
        rtmr0(_FIRMWARE, Boot(memory=memory, acpi=_ACPI))
    assert raised.value.code == "tdx-memory"


def test_memory_that_starts_or_ends_with_what_is_added() -> None:
    edges = sections(
        image((BOOT, section(2, address=0, memory=0x1000), section(3, address=0x1000, memory=0x1000)))
    )
    made = hob(edges, memory=0x2000)
    assert len(made) == 56 + 2 * 48
    high = sections(image((BOOT, HOB, section(3, address=1 << 32, memory=0x1000))))
    assert len(hob(high, memory=4 * _GIB)) == 56 + 5 * 48


def test_what_lies_below_4_gib() -> None:
    assert below_4g(0xB0000000 - 4096) == 0xB0000000 - 4096
    assert below_4g(0xB0000000) == below_4g(64 * _GIB) == 0x80000000


def test_rtmr1_of_new_hosts_is_of_the_kernel_alone() -> None:
    kernel = linux()
    one = rtmr1(kernel, initrd=1000, boot=Boot(memory=_GIB))
    other = rtmr1(kernel, initrd=2000, boot=Boot(memory=64 * _GIB))
    assert one == other
    assert one.parts[0].digest == authenticode(kernel, algorithm="sha384")
    assert [part.value for part in one.parts[1:]] == [
        "Calling EFI Application from Boot Option",
        "00000000",
        "Exit Boot Services Invocation",
        "Exit Boot Services Returned with Success",
    ]


def test_rtmr1_of_old_hosts_depends_on_memory() -> None:
    """Only below 2.75 GiB; and 2 GiB are as good as much more, which users take for luck."""
    kernel = linux()

    def made(memory: int, initrd: int = 123456) -> bytes:
        boot = Boot(memory=memory, changes_kernel=True)
        return rtmr1(kernel, initrd=initrd, boot=boot).registers["rtmr1"]

    assert made(2 * _GIB) == made(3 * _GIB) == made(64 * _GIB)
    assert len({made(_GIB), made(2 * _GIB), made(2 * _GIB + 4096), made(2 * _GIB, 200000)}) == 4
    assert made(_GIB, 0) == made(2 * _GIB, 0)
    words = rtmr1(kernel, initrd=4096, boot=Boot(memory=_GIB, changes_kernel=True)).parts[0].value
    assert words == "header as QEMU changes it: initrd at 0x3ffd6000, 4096 bytes"
    words = rtmr1(kernel, initrd=0, boot=Boot(memory=_GIB, changes_kernel=True)).parts[0].value
    assert words == "header as QEMU changes it"


def test_the_header_that_qemu_makes() -> None:
    kernel = linux(more=0, highest=0x37FFFFFF)
    changed, address = handed_over(kernel, initrd=0x1001, memory=4 * _GIB)
    assert address == 0x37FFE000
    places = {place for place in range(len(kernel)) if kernel[place] != changed[place]}
    assert places <= {*range(0x210, 0x212), *range(0x218, 0x220), *range(0x224, 0x22C)}
    assert changed[0x210:0x212] == b"\xb0\x81"
    assert changed[0x224:0x22C] == bytes.fromhex("00fe000000000200")
    assert changed[0x218:0x220] == address.to_bytes(4, "little") + (0x1001).to_bytes(4, "little")


@pytest.mark.parametrize("kernel", [b"", bytes(0x238), linux()[:0x237], linux(protocol=0x20B), linux(high=0)])
def test_what_is_no_kernel(kernel: bytes) -> None:
    with pytest.raises(MalformedEvidence) as raised:
        handed_over(kernel, initrd=0, memory=_GIB)
    assert raised.value.code == "kernel-header"


def test_a_first_file_system_larger_than_memory() -> None:
    with pytest.raises(MalformedEvidence) as raised:
        handed_over(linux(), initrd=_GIB, memory=_GIB)
    assert raised.value.code == "initrd-size"


def test_rtmr2() -> None:
    made = rtmr2("console=ttyS0", initrd=b"files")
    line = "console=ttyS0 initrd=initrd\0".encode("utf-16-le")
    digests = [hashlib.sha384(one).digest() for one in (line, b"files")]
    assert [part.digest for part in made.parts] == digests
    assert [part.label for part in made.parts] == ["command line", "initrd"]
    without = rtmr2("console=ttyS0", initrd=b"")
    assert [part.value for part in without.parts] == ["console=ttyS0"]


@pytest.mark.parametrize("line", ["naïve", "two\nlines", "nul\0"])
def test_a_command_line_that_firmware_reads_differently(line: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        rtmr2(line, initrd=b"")
    assert raised.value.code == "tdx-command-line"
