# SPDX-License-Identifier: Apache-2.0
"""The event log: what this enclave says that it did, each line measured before it counts.

Events are those of dstack's second version (name and payload in canonical JSON, SHA-384), so that one reader
replays them all: :mod:`nacre.appraisal.systems.eventlog`. On TDX they extend RTMR3, which every quote shows.

On Nitro they extend PCR16. A document shows a PCR only once it is locked, and a locked one takes no more
events; so a log that still grows stands in no document. Elsewhere there is no register at all. There nothing
vouches for the log: whoever passes it on can change it, and a verifier skips the check ``agent.events``.
"""

import re
from pathlib import Path

import msgspec

from nacre.appraisal.systems.eventlog import RUNTIME, Event, digest_of
from nacre.enclave.envelope import LOG_REGISTERS, encode_events, written
from nacre.errors import EnclaveError
from nacre.platforms.device import Device

__all__ = ["EventLog"]

_REGISTER = 3
_VERSION = 2
_MAX_EVENTS = 1024
_MAX_PAYLOAD = 1024
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
#: Names that are the agent's, or dstack's own: an app that used them could pass for another system.
_RESERVED = re.compile(
    r"nacre-.*|system-(preparing|ready)|app-id|compose-hash|instance-id|boot-mr-done|mr-kms|os-image-hash"
    r"|key-provider|storage-fs|root-fs-hash|init-script-hash",
)


class EventLog:
    """A log in memory; appended to, never changed. Used in turns with the device it extends."""

    def __init__(self, device: Device, *, mirror: str | None = None) -> None:
        """Begin an empty one.

        Args:
            device: Whose register the events extend.
            mirror: A file that gets every event as well, one JSON document a line.
        """
        self.register = LOG_REGISTERS.get(device.platform)
        self._device = device
        self._mirror = Path(mirror) if mirror else None
        self._events: list[Event] = []
        self.mirrored = self._mirror is not None
        self._encoded: msgspec.Raw | None = None

    @property
    def events(self) -> tuple[Event, ...]:
        """All events so far, in order."""
        return tuple(self._events)

    def encoded(self) -> msgspec.Raw:
        """All events so far as they are written; encoded again only after another one."""
        if self._encoded is None:
            self._encoded = encode_events(self.events)
        return self._encoded

    def add(self, name: str, payload: bytes) -> Event:
        """Measure an event of the agent's own and append it.

        Raises:
            EnclaveError: The device refuses; then nothing is appended.
        """
        event = Event(_REGISTER, RUNTIME, b"", name, payload, _VERSION)
        digest = digest_of(event)
        if self.register is not None:
            self._device.extend(self.register, digest)
        event = msgspec.structs.replace(event, digest=digest)
        self._events.append(event)
        self._encoded = None
        self._write(event)
        return event

    def add_of_app(self, name: str, payload: bytes) -> Event:
        """Measure an event of the app.

        Raises:
            EnclaveError: ``agent-event-name``, ``agent-event-size``, ``agent-log-full``, or the device's.
        """
        if not _NAME.fullmatch(name) or _RESERVED.fullmatch(name):
            raise EnclaveError("agent-event-name", actual=name[:64])
        if len(payload) > _MAX_PAYLOAD:
            raise EnclaveError("agent-event-size", expected=_MAX_PAYLOAD, actual=len(payload))
        if len(self._events) >= _MAX_EVENTS:
            raise EnclaveError("agent-log-full", expected=_MAX_EVENTS)
        return self.add(name, payload)

    def _write(self, event: Event) -> None:
        """Write an event to the mirror; that a disk is full must not stop what is measured anyway."""
        if self._mirror is None:
            return
        try:
            with self._mirror.open("ab", buffering=0) as file:
                file.write(msgspec.json.encode(written(event)) + b"\n")
        except OSError:
            self.mirrored = False
