# SPDX-License-Identifier: Apache-2.0
"""The evidence answer: one reading, and a log that replays or is called out."""

import hashlib

import msgspec
import pytest

from nacre.appraisal.identity import IdentityDocument
from nacre.appraisal.systems.eventlog import RUNTIME, Event, digest_of
from nacre.checks import Status
from nacre.enclave.envelope import Envelope, decode, encode
from nacre.errors import MalformedEvidence

_NONCE = bytes(range(32))
_IDENTITY = IdentityDocument(keys=(b"k",), release=bytes(32), boot=bytes(16), mode="simulated").encode()


def _event(name: str, payload: bytes) -> Event:
    event = Event(3, RUNTIME, b"", name, payload, 2)
    return msgspec.structs.replace(event, digest=digest_of(event))


def _envelope(platform: str = "tdx") -> Envelope:
    return Envelope(
        platform=platform,
        evidence=b"quote",
        identity=_IDENTITY,
        nonce=_NONCE,
        endorsements={"tcb_info": b"\x00\xff", "pck_crl": b""},
        events=(_event("nacre-boot", b"\x01"), _event("paid", b"")),
    )


def test_what_is_written_is_read() -> None:
    assert decode(encode(_envelope())) == _envelope()
    assert _envelope().identified().boot == bytes(16)
    assert _envelope().binding(nonce=_NONCE).fresh


def _extended(events: tuple[Event, ...]) -> bytes:
    value = bytes(48)
    for event in events:
        value = hashlib.sha384(value + event.digest).digest()
    return value


def test_log_replays_to_the_register_or_not_at_all() -> None:
    envelope = _envelope()
    right = _extended(envelope.events)
    assert envelope.replay({"rtmr3": right}).status is Status.PASS
    assert envelope.replay({"rtmr3": bytes(48)}).reason == "event-log-mismatch"
    fewer = msgspec.structs.replace(envelope, events=envelope.events[:1])
    swapped = msgspec.structs.replace(envelope, events=envelope.events[::-1])
    for other in (fewer, swapped):
        assert other.replay({"rtmr3": right}).reason == "event-log-mismatch"


def test_log_that_no_register_shows_is_only_a_word() -> None:
    assert _envelope("snp").replay({"measurement": b""}).status is Status.SKIPPED
    silent = msgspec.structs.replace(_envelope("snp"), events=())
    assert silent.replay({}).status is Status.NOT_APPLICABLE


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"v":"nacre-evidence/v1"', b'"v":"nacre-evidence/v2"'),
        (b'"platform":"tdx"', b'"platform":"tdx","platform":"snp"'),
        (b'"platform":"tdx"', b'"platform":"tdx","x":1'),
        (b'"evidence":"', b'"evidence":"='),
        (b'"purpose":"evidence"', b'"purpose":"channel"'),
        (b'"event":"paid"', b'"event":"free"'),
        (b'"version":2', b'"version":1'),
        (b'"imr":3', b'"imr":0'),
    ],
)
def test_any_other_reading_is_refused(old: bytes, new: bytes) -> None:
    data = encode(_envelope())
    assert old in data
    with pytest.raises(MalformedEvidence):
        decode(data.replace(old, new))
