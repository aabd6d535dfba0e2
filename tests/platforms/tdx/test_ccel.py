# SPDX-License-Identifier: Apache-2.0
"""Logs of TDs: real ones come to the registers that their machines had, with events that have names."""

import contextlib
import gzip
import hashlib
import json
from pathlib import Path
from struct import Struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.platforms.tdx.images import BOOT, MEMORY_OF_OVMF, image, ovmf_4m, section

from nacre.errors import MalformedEvidence, NacreError
from nacre.platforms.measuring import differences
from nacre.platforms.tdx import ccel
from nacre.platforms.tdx.rtmr import Boot, rtmr0

_LOGS = [
    "ccel-cos113-dupe-separator.bin.gz",
    "ccel-cos113-unpadded.bin",
    "ccel-trustee-CCEL_data.bin.gz",
    "ccel-trustee-CCEL_data_grub_gke.bin.gz",
    "ccel-trustee-CCEL_data_ovmf.bin",
]
_BOOT = 0x80000002
_HEAD = Struct("<II20sI16sIBBBBIHHB").pack(
    1, 3, bytes(20), 33, b"Spec ID Event03\0", 0, 0, 2, 0, 2, 1, 0x0C, 48, 0
)


def _event(register: int, kind: int, data: bytes, measured: bytes | None = None) -> bytes:
    digest = hashlib.sha384(data if measured is None else measured).digest()
    return Struct("<IIIH48sI").pack(register, kind, 1, 0x0C, digest, len(data)) + data


def _read(folder: Path, name: str) -> bytes:
    data = (folder / name).read_bytes()
    return gzip.decompress(data) if name.endswith(".gz") else data


@pytest.mark.parametrize("name", _LOGS)
def test_vectors(vectors: Path, name: str) -> None:
    folder = vectors / "measure/eventlog"
    expected = json.loads((folder / "expected.json").read_text())[name]["rtmrs"]
    made = ccel.replay(_read(folder, name)).registers
    assert {number: made[f"rtmr{number}"].hex() for number in expected} == expected


def test_events_have_names(vectors: Path) -> None:
    made = ccel.replay(_read(vectors / "measure/eventlog", _LOGS[4]))
    assert [part.label for part in made.of("rtmr0")] == [
        "TD HOB (memory 2048 MiB)",
        "configuration firmware volume",
        *(f"variable {name}" for name in ("SecureBoot", "PK", "KEK", "db", "dbx")),
        "separator",
        "ACPI table loader",
        "ACPI root pointer",
        "ACPI tables",
        "boot variable BootOrder",
        "boot variable Boot0000",
        "separator",
    ]
    assert [part.label for part in made.of("rtmr1")] == ["program kernel", *["EFI action"] * 3]
    assert [part.label for part in made.of("rtmr2")] == ["command line", "initrd"]
    assert made.of("rtmr0")[11].value == "0000"
    assert made.registers["rtmr3"] == bytes(48)


def test_names_that_other_firmware_gives(vectors: Path) -> None:
    shim = ccel.replay(_read(vectors / "measure/eventlog", _LOGS[2]))
    assert [part.label for part in shim.parts][0::3] == ["td_hob", "firmware td_payload"]
    assert shim.parts[4].label == "td_payload_info"
    grub = {part.label for part in ccel.replay(_read(vectors / "measure/eventlog", _LOGS[1])).parts}
    assert {r"program \EFI\BOOT\BOOTX64.EFI", "grub_cmd: defaultA=2", "authority SbatLevel"} <= grub


def test_why_rtmr0_differs(vectors: Path) -> None:
    """A prediction for 4 GiB against the log of a machine with 2: the first event says it."""
    real = ccel.replay(_read(vectors / "measure/eventlog", _LOGS[4]))
    variables = section(1, address=0xFFFFD000, memory=0x1000, size=0x1000)
    firmware = image((BOOT, *MEMORY_OF_OVMF, variables))
    boot = ccel.learned(real, Boot(memory=4 << 30))
    assert boot.separator == "rtmr0"
    first = next(iter(differences(rtmr0(firmware, boot), real)))
    assert first[1] is not None
    assert first[2] is not None
    assert (first[0], first[1].label, first[2].label) == (
        "rtmr0",
        "TD HOB (memory 4096 MiB)",
        "TD HOB (memory 2048 MiB)",
    )
    boot = ccel.learned(real, Boot(memory=2 << 30))
    first = next(iter(differences(rtmr0(firmware, boot), real)))
    assert first[1] is not None
    assert first[1].label == "configuration firmware volume"


def test_a_log_is_followed_whatever_firmware_wrote_it(vectors: Path) -> None:
    """Newer firmware has further events; what the image tells is computed all the same."""
    real = ccel.replay(_read(vectors / "measure/eventlog", _LOGS[4]))
    boot = ccel.learned(real, Boot(memory=2 << 30))
    assert rtmr0(ovmf_4m(), boot).registers["rtmr0"] == real.registers["rtmr0"]
    assert boot.separator == "rtmr0"
    hob, menu = _event(1, 0x8000000B, b"pointer", b"list"), _event(1, 10, b"QEMU FW CFG\0BootMenu")
    volume, smbios = _event(1, 0x8000000A, b"\3Fv(x"), _event(1, 0x80000009, b"SMBIOS")
    newer = ccel.learned(ccel.replay(_HEAD + hob + volume + menu + smbios + volume), Boot(memory=2 << 30))
    made = rtmr0(ovmf_4m(), newer)
    assert newer.separator == "rtmr1"
    assert [part.digest for part in made.parts[:2]] == [part.digest for part in real.parts[:2]]
    assert [(part.label, part.input) for part in made.parts] == [
        ("TD HOB (memory 2048 MiB)", "parameters"),
        ("configuration firmware volume", "firmware"),
        ("QEMU FW CFG", "event log"),
        ("EV_EFI_HANDOFF_TABLES", "event log"),
        ("configuration firmware volume", "event log"),
    ]


def test_a_log_of_another_kind_of_machine() -> None:
    with pytest.raises(MalformedEvidence, match="TD HOB") as raised:
        ccel.learned(ccel.replay(_HEAD + _event(1, 10, b"ACPI DATA")), Boot(memory=1 << 30))
    assert raised.value.code == "ccel-boot"
    tables = ccel.replay(_HEAD + _event(1, 10, b"ACPI DATA") * 4).parts
    assert tables[3].label == "more ACPI data"


@pytest.mark.parametrize("register", [0, 5])
def test_registers_that_nothing_extends(register: int) -> None:
    with pytest.raises(MalformedEvidence) as raised:
        ccel.replay(_HEAD + _event(register, 13, b"x"))
    assert raised.value.code == "event-log-register"


def test_rtmr3_and_events_that_extend_nothing() -> None:
    made = ccel.replay(_HEAD + _event(1, 3, b"only a note") + _event(4, 13, b"app") + b"\xff" * 9)
    assert made.registers["rtmr0"] == bytes(48)
    assert made.registers["rtmr3"] == hashlib.sha384(bytes(48) + hashlib.sha384(b"app").digest()).digest()
    assert [part.label for part in made.parts] == ["app"]


def _named(name: str, value: bytes, units: int | None = None) -> bytes:
    length = len(name) if units is None else units
    return Struct("<16sQQ").pack(bytes(16), length, len(value)) + name.encode("utf-16-le") + value


@pytest.mark.parametrize(
    ("kind", "data", "label"),
    [
        (_BOOT, b"short", "EV_EFI_VARIABLE_BOOT"),
        (0x80000001, _named("x", b"", 1 << 60), "variable x"),
        (0x80000001, _named("a\x1b\n\u202eb", b""), "variable ab"),
        (0x80000003, b"short", "EV_EFI_BOOT_SERVICES_APPLICATION"),
        (0x80000003, bytes(32), "program"),
        (0x80000003, bytes(32) + b"\4\4\6\0a\0" + b"\4\4\1\0", "program a"),
        (0x8000000A, b"", "configuration firmware volume"),
        (0x8000000A, b"\1", "firmware"),
        (0x8000000A, b"\3abcdef", "firmware abc"),
        (0x06, b"short", "EV_EVENT_TAG"),
        (0x06, bytes(8), "EV_EVENT_TAG"),
        (0x0D, b"\0", "EV_IPL"),
        (0x0D, b"x" * 100, "x" * 64),
        (0x12345678, b"", "event type 0x12345678"),
    ],
)
def test_labels_of_whatever_a_log_says(kind: int, data: bytes, label: str) -> None:
    (part,) = ccel.replay(_HEAD + _event(1, kind, data)).parts
    assert part.label == label


def test_a_boot_variable_is_quoted_only_where_its_digest_is() -> None:
    data = _named("BootOrder", b"\1\0")
    events = _event(1, _BOOT, data, b"\1\0") + _event(1, _BOOT, data, b"?")
    right, wrong = ccel.replay(_HEAD + events).parts
    assert (right.value, wrong.value) == ("0100", "")


def test_what_a_log_leaves_out_is_known_by_its_digest() -> None:
    order = ccel.replay(_HEAD + _event(1, _BOOT, b"", b"\0\0")).parts[0]
    assert (order.label, order.value) == ("boot variable BootOrder", "0000")
    security = bytes.fromhex("cbb219d73a3d9645a3bcdad00e67656f")
    absent = Struct("<16sQQ").pack(security, 2, 0) + "db".encode("utf-16-le")
    variable = ccel.replay(_HEAD + _event(1, 0x80000001, b"", absent)).parts[0]
    assert (variable.label, variable.value) == ("variable db", "not set")
    other = ccel.replay(_HEAD + _event(1, 0x80000001, b"", absent + b"x")).parts[0]
    assert (other.label, other.value) == ("EV_EFI_VARIABLE_DRIVER_CONFIG", "")


def test_a_list_of_memory_that_no_usual_machine_has(vectors: Path) -> None:
    google = ccel.replay(_read(vectors / "measure/eventlog", _LOGS[1]))
    assert google.parts[0].label == "TD HOB"


@given(st.binary(max_size=300))
def test_any_log_is_read_or_refused(noise: bytes) -> None:
    with contextlib.suppress(NacreError):
        ccel.replay(_HEAD + noise)


@given(st.sampled_from([4, 6, 10, 13, 0x80000001, _BOOT, 0x80000003, 0x8000000A]), st.binary(max_size=90))
def test_any_event_has_a_label(kind: int, data: bytes) -> None:
    (part,) = ccel.replay(_HEAD + _event(2, kind, data)).parts
    assert part.label.isprintable()
