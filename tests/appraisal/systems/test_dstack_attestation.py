# SPDX-License-Identifier: Apache-2.0
"""dstack's container: what is not to the letter is refused, whatever it is."""

import contextlib
import hashlib
import struct

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.appraisal.systems.guests import RUNTIME, attestation, boot, compact, row, rows, string

from nacre.appraisal.systems.dstack import SYSTEM
from nacre.appraisal.systems.dstack_attestation import MAX_ATTESTATION, parse
from nacre.appraisal.systems.eventlog import Event, digest_of
from nacre.errors import MalformedEvidence, UnsupportedEvidence

_LONG = rows([("long", b"x" * 70), ("longer", b"y" * 20_000)])


def test_containers_of_each_platform_are_read() -> None:
    log = [boot(0, "firmware"), *_LONG]
    read = parse(attestation(b"q" * 5000, log, config="{}"))
    assert (read.kind, read.evidence, read.config) == ("tdx", b"q" * 5000, "{}")
    assert [(event.imr, event.event) for event in read.events] == [(0, ""), (3, "long"), (3, "longer")]
    assert read.events[2].payload == b"y" * 20_000
    assert read.events == parse(attestation(b"q" * 5000, log, twice=False)).events
    assert parse(attestation(b"document", variant=2)).kind == "nitro-enclave"
    snp = parse(attestation(b"report", variant=3, document="{}"))
    assert (snp.kind, snp.document, snp.certificates) == ("sev-snp", "{}", (b"certificate",))


def test_the_second_list_of_events_counts_as_it_does_for_dstack() -> None:
    """The first one is what a quote's log shows; its own events are repeated there and ignored."""
    first, second = rows([("a", b"1")]), rows([("b", b"2")])
    data = attestation(b"quote", first)
    other = attestation(b"quote", second)
    mixed = data[: -len(_tail(first))] + _tail(second)
    assert len(mixed) == len(other)
    assert [event.event for event in parse(mixed).events] == ["b"]


def _tail(log: list[dict[str, object]]) -> bytes:
    whole = attestation(b"", log, variant=2)
    return whole[len(b"\0\2" + string(b"")) :]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "dstack-version"),
        (b"\x85", "msgpack-invalid"),
        (b"\x93", "dstack-version"),
        (b"\1", "dstack-version"),
        (b"\0", "truncated"),
        (b"\0\1", "dstack-platform"),
        (b"\0\4", "dstack-platform"),
        (b"\0\2\xff", "too-large"),
        (b"\0\2" + b"\x01\x00", "scale-not-minimal"),
        (b"\0\2" + b"\x02\x00\x00\x00", "scale-not-minimal"),
        (b"\0\2" + compact(9) + b"short", "truncated"),
        (b"\0\2" + string(b"document") + compact(2049), "too-many"),
        (b"\0\2" + string(b"document") + compact(1) + string(b"\xff"), "text-invalid"),
        (b"\0\0" + string(b"quote") + compact(1) + struct.pack("<II", 4, RUNTIME), "event-register"),
        (attestation(b"document", variant=2) + b"\0", "trailing-bytes"),
        (attestation(b"document", variant=2)[:-1], "truncated"),
        (bytes(MAX_ATTESTATION + 1), "too-large"),
    ],
)
def test_what_is_not_to_the_letter_is_refused(data: bytes, code: str) -> None:
    with pytest.raises((MalformedEvidence, UnsupportedEvidence)) as refused:
        parse(data)
    assert refused.value.code == code
    assert str(refused.value)


@given(st.binary(max_size=300), st.integers(0, 4))
def test_nothing_but_our_errors_comes_out(data: bytes, variant: int) -> None:
    with contextlib.suppress(MalformedEvidence, UnsupportedEvidence):
        parse(b"\0" + bytes((variant,)) + data)


@given(st.integers(0, (1 << 14) - 1))
def test_every_length_has_one_form(size: int) -> None:
    longer = [(4 * size + 2).to_bytes(4, "little")]
    if size < 1 << 6:
        longer.append((4 * size + 1).to_bytes(2, "little"))
    for other in longer:
        with pytest.raises(MalformedEvidence) as refused:
            parse(b"\0\2" + other)
        assert refused.value.code == "scale-not-minimal"


@pytest.mark.parametrize("version", [1, 2])
@given(st.text(), st.binary(max_size=40))
def test_digests_are_those_of_dstack(version: int, name: str, payload: bytes) -> None:
    event = Event(3, RUNTIME, b"", name, payload, version)
    assert digest_of(event).hex() == row(name, payload, version)["digest"]


def test_a_known_digest() -> None:
    """Of dstack's own tests: the canonical JSON of the second version."""
    text = b'{"name":"compose-hash","payload":"abcd","type":134217729}'
    event = Event(3, RUNTIME, b"", "compose-hash", b"\xab\xcd", 2)
    assert digest_of(event) == hashlib.sha384(text).digest()


# ── Version 1 ──


def _event(imr: int, name: str, payload: bytes, kind: int = RUNTIME) -> dict[str, object]:
    return {
        "imr": imr,
        "event_type": kind,
        "digest": bytes(48),
        "event": name,
        "event_payload": payload,
    }


def _map(kind: str = "tdx", **data: object) -> dict[str, object]:
    """Write what dstack's own encoder writes: byte vectors without a hint are arrays of numbers."""
    found = data or {"quote": list(b"quote"), "event_log": [_event(0, "", b"x", 4), _event(3, "a", b"1")]}
    events = [{"event": "a", "payload": b"1"}, {"event": "b", "payload": b"2", "version": 2}]
    return {
        "version": 1,
        "platform": {"kind": kind, "data": found},
        "stack": {
            "kind": "dstack",
            "data": {"report_data": [0] * 64, "runtime_events": events, "config": "{}"},
        },
    }


def test_the_second_version_is_read() -> None:
    read = parse(msgspec.msgpack.encode(_map()))
    assert (read.kind, read.evidence, read.config) == ("tdx", b"quote", "{}")
    assert [(event.imr, event.event, event.version) for event in read.events] == [
        (0, "", 1),
        (3, "a", 1),
        (3, "b", 2),
    ]
    assert SYSTEM.recognises(msgspec.msgpack.encode(_map()))
    nitro = parse(msgspec.msgpack.encode(_map("nitro-enclave", nsm_quote=b"document")))
    assert (nitro.kind, nitro.evidence) == ("nitro-enclave", b"document")
    snp = parse(
        msgspec.msgpack.encode(_map("sev-snp", report=b"report", cert_chain=[[1], b"2"], mr_config="{}"))
    )
    assert (snp.evidence, snp.certificates, snp.document) == (b"report", (b"\1", b"2"), "{}")


def _twice(data: bytes) -> bytes:
    """Write one member of a map of three twice."""
    assert data[:1] == b"\x83"
    member = msgspec.msgpack.encode("version") + b"\x01"
    assert data[1:].startswith(member)
    return b"\x84" + member + data[1:]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (_twice(msgspec.msgpack.encode(_map())), "msgpack-invalid"),
        (msgspec.msgpack.encode(_map()) + b"\0", "msgpack-invalid"),
        (msgspec.msgpack.encode(_map())[:-1], "msgpack-invalid"),
        (msgspec.msgpack.encode(_map() | {"version": 2}), "msgpack-invalid"),
        (msgspec.msgpack.encode(_map(quote=[256])), "msgpack-invalid"),
        (msgspec.msgpack.encode(_map(event_log=[_event(4, "", b"")])), "msgpack-invalid"),
        (msgspec.msgpack.encode(_map("gcp-tdx", quote=b"")), "dstack-platform"),
        (msgspec.msgpack.encode(_map(event_log=[_event(0, "", b"")] * 2047)), "too-many"),
        (b"\x81\xa1\xff\x00", "msgpack-invalid"),
        (b"\x81\xa1a" + b"\x91" * 5000, "msgpack-invalid"),
        (
            msgspec.msgpack.encode(_map()).replace(b"\xa7version\x01", b"\xd9\x07version\x01"),
            "msgpack-invalid",
        ),
    ],
)
def test_what_is_not_to_the_letter_is_refused_here_too(data: bytes, code: str) -> None:
    with pytest.raises((MalformedEvidence, UnsupportedEvidence)) as refused:
        parse(data)
    assert refused.value.code == code
    assert str(refused.value)


@given(st.binary(max_size=300))
def test_nothing_but_our_errors_comes_out_of_maps(data: bytes) -> None:
    with contextlib.suppress(MalformedEvidence, UnsupportedEvidence):
        parse(b"\x83" + data)
