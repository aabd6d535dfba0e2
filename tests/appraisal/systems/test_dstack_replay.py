# SPDX-License-Identifier: Apache-2.0
"""dstack's log, event by event: its own by name, firmware's as a TD's own log names them."""

import hashlib
from pathlib import Path

import pytest

from nacre.appraisal.systems.dstack_replay import measurement
from nacre.appraisal.systems.eventlog import RUNTIME, Event, digest_of, replayed
from nacre.errors import MalformedEvidence
from nacre.platforms.tdx import ccel
from nacre.platforms.tpm import eventlog as tcg

_COMPOSE = Event(3, RUNTIME, b"", "compose-hash", b"\x01\x02")
_READY = Event(3, RUNTIME, b"", "system-ready\n", b"", 2)


def test_own_events() -> None:
    made = measurement([_COMPOSE, _READY])
    assert [(part.label, part.value) for part in made.parts] == [
        ("compose-hash", "0102"),
        ("system-ready", ""),
    ]
    assert [part.digest for part in made.parts] == [digest_of(_COMPOSE), digest_of(_READY)]
    assert made.registers == {
        **dict.fromkeys(["rtmr0", "rtmr1", "rtmr2"], bytes(48)),
        "rtmr3": replayed([_COMPOSE, _READY], 3),
    }


def test_firmwares_events_are_named_as_in_a_tds_own_log(vectors: Path) -> None:
    data = (vectors / "measure/eventlog/ccel-trustee-CCEL_data_ovmf.bin").read_bytes()
    log = tcg.parse(data, padded=True)
    noted = Event(0, tcg.NO_ACTION, bytes(48), "", b"a note")
    events = [
        noted,
        *(Event(one.register - 1, one.kind, one.digests["sha384"], "", one.data) for one in log.events),
        _COMPOSE,
    ]
    made, real = measurement(events), ccel.replay(data)
    assert [part.label for part in made.parts] == [*(part.label for part in real.parts), "compose-hash"]
    for name in ("rtmr0", "rtmr1", "rtmr2"):
        assert made.registers[name] == real.registers[name]


def test_a_part_that_was_left_out() -> None:
    with pytest.raises(MalformedEvidence, match="no SHA-384 of an event of rtmr0") as raised:
        measurement([Event(0, 10, b"", "", b"ACPI DATA")])
    assert raised.value.code == "event-undigested"
    short = Event(0, 10, hashlib.sha256(b"").digest(), "", b"")
    with pytest.raises(MalformedEvidence):
        measurement([short])
