# SPDX-License-Identifier: Apache-2.0
"""dstack's event log as a measurement: which event made which register, to be explained and compared.

The registers say whether the log is right; nothing here does. See :mod:`nacre.appraisal.systems.eventlog` for
what an event of it is worth.
"""

import hashlib
from collections.abc import Iterator, Sequence

from nacre.appraisal.systems.eventlog import REGISTERS, RUNTIME, Event, digest_of
from nacre.errors import MalformedEvidence
from nacre.platforms.measuring import Measurement, Part
from nacre.platforms.tdx import ccel
from nacre.platforms.tdx.rtmr import extended
from nacre.platforms.tpm import eventlog as tcg

__all__ = ["measurement"]

_DIGEST = hashlib.sha384().digest_size
_LONGEST = 64


def measurement(events: Sequence[Event]) -> Measurement:
    """Compute RTMR0 to RTMR3 as a log explains them, 48 bytes each.

    Args:
        events: The log.

    Raises:
        MalformedEvidence: ``event-undigested``: firmware's part of the log was left out, or its digests were.
    """
    return extended(_parts(events), REGISTERS)


def _parts(events: Sequence[Event]) -> Iterator[Part]:
    firmware = iter(ccel.explained(_firmware(events)).parts)
    for event in events:
        if event.event_type == RUNTIME:
            yield Part(
                register=REGISTERS[event.imr],
                label="".join(filter(str.isprintable, event.event))[:_LONGEST],
                input="event log",
                size=len(event.payload),
                digest=digest_of(event),
                value=event.payload.hex(),
            )
        elif event.event_type != tcg.NO_ACTION:
            yield next(firmware)


def _firmware(events: Sequence[Event]) -> tcg.EventLog:
    """Say in the TCG's terms what firmware and kernel measured."""
    found = []
    for event in events:
        if event.event_type == RUNTIME:
            continue
        if len(event.digest) != _DIGEST:
            raise MalformedEvidence("event-undigested", actual=event.event_type, what=REGISTERS[event.imr])
        found.append(
            tcg.Event(
                register=event.imr + 1,
                kind=event.event_type,
                digests={"sha384": event.digest},
                data=event.payload,
                offset=0,
                size=0,
            )
        )
    return tcg.EventLog(("sha384",), tuple(found))
