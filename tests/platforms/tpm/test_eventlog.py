# SPDX-License-Identifier: Apache-2.0
"""Logs of real machines replay to the registers that their TPMs had; damaged ones are refused."""

import contextlib
import gzip
import hashlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nacre.errors import ConfigurationError, MalformedEvidence, NacreError, UnsupportedEvidence
from nacre.platforms.measuring import Part
from nacre.platforms.tpm.eventlog import MAX_LOG, NO_ACTION, parse
from nacre.platforms.tpm.registers import measured
from nacre.platforms.tpm.replay import replay

_RTMRS = {number + 1: f"rtmr{number}" for number in range(4)}
_SHA1, _SHA256 = (0x04, 20), (0x0B, 32)


def _spec(*algorithms: tuple[int, int], count: int | None = None, vendor: bytes = b"\0") -> bytes:
    head = struct.pack(
        "<16sIBBBBI", b"Spec ID Event03", 0, 0, 2, 105, 2, len(algorithms) if count is None else count
    )
    return head + b"".join(struct.pack("<HH", *one) for one in algorithms) + vendor


def _first(spec: bytes, *, kind: int = NO_ACTION) -> bytes:
    return struct.pack("<II20sI", 0, kind, bytes(20), len(spec)) + spec


def _event(register: int, kind: int, data: bytes, *digests: tuple[int, bytes]) -> bytes:
    listed = b"".join(struct.pack("<H", identifier) + digest for identifier, digest in digests)
    return struct.pack("<III", register, kind, len(digests)) + listed + struct.pack("<I", len(data)) + data


def _sha256(register: int, kind: int, data: bytes, *, of: bytes | None = None) -> bytes:
    return _event(register, kind, data, (0x0B, hashlib.sha256(data if of is None else of).digest()))


_HEAD = _first(_spec(_SHA256))


@pytest.fixture(scope="module")
def logs(vectors: Path) -> Path:
    return vectors / "measure" / "eventlog"


@pytest.fixture(scope="module")
def expected(logs: Path) -> Mapping[str, Mapping[str, Mapping[str, Mapping[str, str]]]]:
    found: Mapping[str, Mapping[str, Mapping[str, Mapping[str, str]]]] = json.loads(
        (logs / "expected.json").read_text()
    )
    return found


@pytest.mark.parametrize(
    "name",
    [
        "tpm-cos-101-amd-sev.bin",
        "tpm-cos-85-amd-sev.bin",
        "tpm-glinux-alex.bin",
        "tpm-qemu-ovmf-uki.bin",
        "tpm-rhel8-uefi.bin",
        "tpm-ubuntu-1804-amd-sev.bin",
        "tpm-ubuntu-2104-no-secure-boot.bin",
    ],
)
def test_logs_of_tpms(
    logs: Path, expected: Mapping[str, Mapping[str, Mapping[str, Mapping[str, str]]]], name: str
) -> None:
    log = parse((logs / name).read_bytes())
    banks = {bank: values for bank, values in expected[name]["pcrs"].items() if bank != "sha1"}
    assert banks
    for bank, values in banks.items():
        registers = replay(log, algorithm=bank).registers
        size = hashlib.new(bank).digest_size
        for number, value in values.items():
            assert registers.get(f"pcr{number}", bytes(size)).hex() == value


@pytest.mark.parametrize(
    "name",
    [
        "ccel-cos113-dupe-separator.bin.gz",
        "ccel-cos113-unpadded.bin",
        "ccel-trustee-CCEL_data.bin.gz",
        "ccel-trustee-CCEL_data_grub_gke.bin.gz",
        "ccel-trustee-CCEL_data_ovmf.bin",
    ],
)
def test_logs_of_trust_domains(
    logs: Path, expected: Mapping[str, Mapping[str, Mapping[str, str]]], name: str
) -> None:
    data = (logs / name).read_bytes()
    whole = gzip.decompress(data) if name.endswith(".gz") else data
    registers = replay(parse(whole, padded=True), algorithm="sha384", names=_RTMRS).registers
    for number, value in expected[name]["rtmrs"].items():
        assert registers.get(f"rtmr{number}", bytes(48)).hex() == value
    if len(whole) != 18101:
        with pytest.raises(MalformedEvidence):
            parse(whole)


def test_a_log_that_was_tampered_with_replays_to_something_else(vectors: Path) -> None:
    folder = vectors / "tpm"
    if not folder.is_dir():
        pytest.skip("logs beside quotes of real TPMs are not beside this checkout")
    stated = json.loads((folder / "gce-cos85-nonce9009-sha256" / "pcrs.json").read_text())
    good = (folder / "gce-cos85-nonce9009-sha256" / "eventlog.bin").read_bytes()
    bad = (folder / "gce-cos85-eventlog-tampered" / "eventlog.bin").read_bytes()
    values = {f"pcr{number}": bytes.fromhex(value) for number, value in stated["values"].items()}
    registers = replay(parse(good), algorithm="sha256").registers
    assert registers == {name: values[name] for name in registers}
    assert replay(parse(bad), algorithm="sha256").registers != registers


def test_sha1_alone_is_refused(logs: Path) -> None:
    with pytest.raises(UnsupportedEvidence) as caught:
        parse((logs / "tpm-debian-10.bin").read_bytes())
    assert caught.value.code == "event-log-form"


def test_parts_say_what_the_digests_vouch_for(logs: Path) -> None:
    data = (logs / "tpm-qemu-ovmf-uki.bin").read_bytes()
    found = replay(parse(data), algorithm="sha256")
    said = {(one.register, one.label, one.value) for one in found.parts}
    assert ("pcr7", "EV_EFI_VARIABLE_DRIVER_CONFIG", "SecureBoot = 00") in said
    assert ("pcr4", "EV_EFI_ACTION", "Calling EFI Application from Boot Option") in said
    assert ("pcr4", "EV_SEPARATOR", "00000000") in said
    # The path of a program is beside its digest, not in it.
    assert ("pcr4", "EV_EFI_BOOT_SERVICES_APPLICATION", "") in said
    assert sum(one.size for one in found.parts) == len(data) - 69
    assert found.parts[0].offset == 69


def test_words_of_events() -> None:
    variable = struct.pack("<16sQQ", b"", 2, 1) + "PK".encode("utf-16-le") + b"\x01"
    events = [
        _sha256(4, 0x05, b"hello\0", of=b"hello"),
        _sha256(4, 0x0D, bytes(33)),
        _sha256(4, 0x99, b"changed", of=b"other"),
        _sha256(7, 0x80000001, variable),
        _sha256(7, 0x80000001, variable[:-1]),
        _sha256(7, 0x80000001, b"short"),
    ]
    parts = replay(parse(_HEAD + b"".join(events)), algorithm="sha256").parts
    assert [(one.label, one.value) for one in parts] == [
        ("EV_ACTION", "hello"),
        ("EV_IPL", "33 bytes"),
        ("event type 0x00000099", ""),
        ("EV_EFI_VARIABLE_DRIVER_CONFIG", "PK = 01"),
        ("EV_EFI_VARIABLE_DRIVER_CONFIG", "36 bytes"),
        ("EV_EFI_VARIABLE_DRIVER_CONFIG", "short"),
    ]


def _extended(start: bytes, data: bytes) -> bytes:
    return hashlib.sha256(start + hashlib.sha256(data).digest()).digest()


def test_registers_begin_where_the_hardware_leaves_them() -> None:
    locality = _event(0, NO_ACTION, b"StartupLocality\0\3", (0x0B, bytes(32)))
    other = _event(0, NO_ACTION, b"something else", (0x0B, bytes(32)))
    log = parse(_HEAD + other + _sha256(17, 4, b"a") + locality + _sha256(0, 4, b"b") + _sha256(1, 4, b"c"))
    assert replay(log, algorithm="sha256").registers == {
        "pcr17": _extended(b"\xff" * 32, b"a"),
        "pcr0": _extended(bytes(31) + b"\3", b"b"),
        "pcr1": _extended(bytes(32), b"c"),
    }
    # Other hardware has no localities; the event is about nothing.
    alone = parse(_HEAD + locality + _sha256(1, 4, b"c"))
    assert replay(alone, algorithm="sha256", names={1: "rtmr0"}).registers == {
        "rtmr0": _extended(bytes(32), b"c")
    }


@pytest.mark.parametrize(
    "events",
    [
        [_event(0, NO_ACTION, b"StartupLocality\0\1", (0x0B, bytes(32)))],
        [_event(0, NO_ACTION, b"StartupLocality\0\3\3", (0x0B, bytes(32)))],
        [_event(0, NO_ACTION, b"StartupLocality\0", (0x0B, bytes(32)))],
        [_event(0, NO_ACTION, b"StartupLocality\0\3", (0x0B, bytes(32)))] * 2,
        [_sha256(0, 4, b""), _event(0, NO_ACTION, b"StartupLocality\0\3", (0x0B, bytes(32)))],
    ],
    ids=["value", "long", "short", "twice", "late"],
)
def test_localities_that_there_are_none_of(events: list[bytes]) -> None:
    log = parse(_HEAD + b"".join(events))
    with pytest.raises(MalformedEvidence) as caught:
        replay(log, algorithm="sha256")
    assert caught.value.code == "event-log-locality"


@pytest.mark.parametrize("names", [None, _RTMRS])
def test_registers_that_there_are_none_of(names: dict[int, str] | None) -> None:
    log = parse(_HEAD + _sha256(24, 4, b""))
    with pytest.raises(MalformedEvidence) as caught:
        replay(log, algorithm="sha256", **({} if names is None else {"names": names}))
    assert caught.value.code == "event-log-register"
    assert "24" in str(caught.value)


def test_banks() -> None:
    log = parse(_first(_spec(_SHA1)) + _event(0, 4, b"", (0x04, bytes(20))))
    with pytest.raises(ConfigurationError) as caught:
        replay(log, algorithm="sha1")
    assert caught.value.code == "tpm-bank"
    with pytest.raises(MalformedEvidence) as missing:
        replay(log, algorithm="sha256")
    assert missing.value.code == "event-log-bank"
    with pytest.raises(ConfigurationError):
        measured([], algorithm="sm3_256")


def test_a_part_without_a_digest_only_explains() -> None:
    part = Part(register="pcr9", label="nothing", input="parameters", digest=b"")
    assert measured([part], algorithm="sha256").registers == {}


_BAD_HEADERS = {
    "another-type": (_first(_spec(_SHA256), kind=4), "event-log-form"),
    "another-signature": (_first(_spec(_SHA256).replace(b"03", b"02")), "event-log-form"),
    "short": (_first(b"Spec ID Event03\0"), "event-log-form"),
    "no-algorithm": (_first(_spec()), "event-log-header"),
    "many-algorithms": (_first(_spec(*[_SHA256] * 9)), "event-log-header"),
    "fewer-algorithms": (_first(_spec(_SHA256, count=2, vendor=b"")), "truncated"),
    "unknown-algorithm": (_first(_spec((0x27, 32))), "event-log-header"),
    "size-of-another": (_first(_spec((0x0B, 20))), "event-log-header"),
    "algorithm-twice": (_first(_spec(_SHA256, _SHA256)), "event-log-header"),
    "no-vendor": (_first(_spec(_SHA256, vendor=b"")), "truncated"),
    "vendor-cut": (_first(_spec(_SHA256, vendor=b"\5vend")), "truncated"),
    "vendor-long": (_first(_spec(_SHA256, vendor=b"\0more")), "trailing-bytes"),
    "empty": (b"", "truncated"),
    "no-digest": (_HEAD + _event(0, 4, b""), "event-log-digests"),
    "digest-of-another": (_HEAD + _event(0, 4, b"", (0x04, bytes(20))), "event-log-digests"),
    "digest-twice": (
        _first(_spec(_SHA1, _SHA256)) + _event(0, 4, b"", *[(0x0B, bytes(32))] * 2),
        "event-log-digests",
    ),
    "digest-cut": (_HEAD + _event(0, 4, b"", (0x0B, bytes(32)))[:40], "truncated"),
    "data-cut": (_HEAD + _event(0, 4, b"data", (0x0B, bytes(32)))[:-1], "truncated"),
    "padded": (_HEAD + bytes(12), "event-log-digests"),
}


@pytest.mark.parametrize(("data", "code"), _BAD_HEADERS.values(), ids=_BAD_HEADERS.keys())
def test_logs_that_are_none(data: bytes, code: str) -> None:
    with pytest.raises(NacreError) as caught:
        parse(data)
    assert caught.value.code == code
    assert str(caught.value)


def test_vendors_say_more_of_themselves_and_input_may_be_a_view() -> None:
    log = parse(memoryview(_first(_spec(_SHA256, vendor=b"\6vendor"))))
    assert (log.algorithms, log.events) == (("sha256",), ())


@pytest.mark.parametrize("fill", [b"\xff", b"\0"])
def test_padding(fill: bytes) -> None:
    whole = _HEAD + _sha256(1, 4, b"")
    assert parse(whole + fill * 1000, padded=True) == parse(whole)
    with pytest.raises(NacreError):
        parse(whole + fill * 1000 + b"\1", padded=True)


def test_bounds() -> None:
    with pytest.raises(MalformedEvidence) as caught:
        parse(bytes(MAX_LOG + 1))
    assert caught.value.code == "too-large"
    with pytest.raises(MalformedEvidence) as many:
        parse(_HEAD + _sha256(1, 4, b"") * 4097)
    assert many.value.code == "too-many"


@given(st.data())
def test_nothing_foreign_comes_of_damage(data: st.DataObject) -> None:
    whole = bytearray(_HEAD + _sha256(0, 4, b"data") + _sha256(7, 0x80000001, bytes(40)))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(NacreError):
        replay(parse(bytes(whole[: data.draw(st.integers(0, len(whole)))])), algorithm="sha256")
