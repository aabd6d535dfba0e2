# SPDX-License-Identifier: Apache-2.0
"""What an agent answers at ``/.well-known/nacre/evidence``: evidence and all that is needed to judge it.

A JSON document. Bytes are base64url without padding; digests and payloads of events are hex, as dstack
writes them. Nothing in it is trusted: the evidence commits to nonce and identity document, the endorsements
are signed by the vendor, and the events replay to a register of the evidence.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

from nacre.appraisal.bindings import Binding
from nacre.appraisal.identity import IdentityDocument
from nacre.appraisal.systems.encodings import unhex
from nacre.appraisal.systems.eventlog import Event, digest_of, replayed
from nacre.checks import Check, Status, failed, passed, skipped
from nacre.errors import MalformedEvidence
from nacre.trust import base64url, json

__all__ = [
    "LOG_REGISTERS",
    "MAX_SIZE",
    "PATH",
    "VERSION",
    "Answer",
    "Bound",
    "Envelope",
    "Purpose",
    "Written",
    "decode",
    "encode",
    "encode_documents",
    "encode_events",
    "written",
]

#: Where an agent answers with one.
PATH = "/.well-known/nacre/evidence"
VERSION = "nacre-evidence/v1"
#: Bytes of an answer (channel.md, 6.5).
MAX_SIZE = 4 << 20
#: The register that the events of an agent extend, by platform; others have none.
LOG_REGISTERS: Mapping[str, str] = {"tdx": "rtmr3", "nitro": "pcr16"}

#: What an agent makes evidence for.
Purpose = Literal["evidence", "app-data"]

_WHAT = "evidence answer"
_MAX_EVENTS = 2048
_MAX_DOCUMENTS = 64
_LOG = "agent.events"
_IMR: Literal[3] = 3
_TYPE: Literal[0x08000001] = 0x08000001
_VERSION: Literal[2] = 2


class Written(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One event as it is written, in the members of dstack's log.

    Attributes:
        imr: 3.
        event_type: As dstack's events have it.
        digest: SHA-384, hex.
        event: The name.
        event_payload: Hex.
        version: 2: how the digest is made.
    """

    imr: Literal[3]
    event_type: Literal[0x08000001]
    digest: str
    event: str
    event_payload: str
    version: Literal[2]


class Bound(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the evidence commits to, by the agent's word; a verifier computes it from what it knows itself.

    Attributes:
        purpose: ``evidence`` at the public path; ``app-data`` where the app asked.
        nonce: The caller's, base64url.
        data: What the app had bound, base64url.
    """

    purpose: Purpose
    nonce: str | None = None
    data: str | None = None


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """Evidence and what came with it.

    Attributes:
        platform: The platform's name.
        evidence: As the device gave it.
        endorsements: The vendor's documents by role, as far as the enclave has them.
        purpose: ``evidence`` or ``app-data``.
        nonce: What the enclave took for the caller's nonce, 32 bytes; for ``evidence`` only.
        data: What the app had bound; for ``app-data`` only.
        identity: The identity document, encoded.
        events: The event log.
    """

    platform: str
    evidence: bytes
    identity: bytes
    purpose: Purpose = "evidence"
    nonce: bytes | None = None
    data: bytes | None = None
    endorsements: Mapping[str, bytes] = {}
    events: tuple[Event, ...] = ()

    def identified(self) -> IdentityDocument:
        """Read the identity document.

        Raises:
            MalformedEvidence: It is none.
        """
        return IdentityDocument.parse(self.identity)

    def binding(self, *, nonce: bytes) -> Binding:
        """Say what the evidence has to commit to if it was made for the verifier's own nonce, 32 bytes.

        Raises:
            ConfigurationError: ``nonce-size``.
        """
        return Binding.nonce(nonce, identity=self.identity)

    def replay(self, registers: Mapping[str, bytes]) -> Check:
        """Hold the event log against the registers of verified evidence."""
        name = LOG_REGISTERS.get(self.platform, "")
        if name not in registers:
            # Nitro shows a register of its own only once that is locked.
            if self.events:
                return skipped(_LOG, "agent-log-unmeasured", what=self.platform)
            return Check(_LOG, Status.NOT_APPLICABLE, "agent-log-unmeasured", {"what": self.platform})
        value = replayed(self.events, _IMR)
        if value != registers[name]:
            return failed(_LOG, "event-log-mismatch", what=name, expected=registers[name], actual=value)
        return passed(_LOG, what=name, actual=len(self.events))


class Answer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An envelope as it is written.

    Attributes:
        v: The version.
        platform: As in :class:`Envelope`, and so are the others; bytes are base64url.
        evidence: Likewise.
        endorsements: Likewise.
        binding: What the evidence commits to, by the agent's word.
        identity: Likewise.
        events: Likewise.
    """

    v: Literal["nacre-evidence/v1"]
    platform: Annotated[str, msgspec.Meta(min_length=1, max_length=32)]
    evidence: str
    endorsements: Annotated[dict[str, str], msgspec.Meta(max_length=_MAX_DOCUMENTS)]
    binding: Bound
    identity: str
    events: Annotated[tuple[Written, ...], msgspec.Meta(max_length=_MAX_EVENTS)]


class _Encoded(msgspec.Struct, frozen=True, kw_only=True):
    """The same with what seldom changes encoded before."""

    v: str
    platform: str
    evidence: str
    endorsements: msgspec.Raw
    binding: Bound
    identity: str
    events: msgspec.Raw


def written(event: Event) -> Written:
    """Write an event."""
    return Written(
        imr=_IMR,
        event_type=_TYPE,
        digest=digest_of(event).hex(),
        event=event.event,
        event_payload=event.payload.hex(),
        version=_VERSION,
    )


def encode_documents(documents: Mapping[str, bytes]) -> msgspec.Raw:
    """Encode endorsements once, for many answers."""
    texts = {role: base64url.encode(document) for role, document in sorted(documents.items())}
    return msgspec.Raw(msgspec.json.encode(texts))


def encode_events(events: tuple[Event, ...]) -> msgspec.Raw:
    """Encode a log once, for the answers until the next event."""
    return msgspec.Raw(msgspec.json.encode(tuple(map(written, events))))


def encode(
    envelope: Envelope, *, documents: msgspec.Raw | None = None, events: msgspec.Raw | None = None
) -> bytes:
    """Write an answer.

    Args:
        envelope: What to write.
        documents: Its endorsements, encoded before.
        events: Its events, encoded before.
    """
    return msgspec.json.encode(
        _Encoded(
            v=VERSION,
            platform=envelope.platform,
            evidence=base64url.encode(envelope.evidence),
            endorsements=encode_documents(envelope.endorsements) if documents is None else documents,
            binding=Bound(
                purpose=envelope.purpose,
                nonce=None if envelope.nonce is None else base64url.encode(envelope.nonce),
                data=None if envelope.data is None else base64url.encode(envelope.data),
            ),
            identity=base64url.encode(envelope.identity),
            events=encode_events(envelope.events) if events is None else events,
        )
    )


def decode(data: bytes) -> Envelope:
    """Read an answer.

    Raises:
        MalformedEvidence: It is none; a member is there twice or unknown; an event states another digest than
            its own.
    """
    wire = json.decode(data, Answer, what=_WHAT, limit=MAX_SIZE)
    bound = wire.binding
    return Envelope(
        platform=wire.platform,
        evidence=base64url.decode(wire.evidence, what=_WHAT),
        endorsements={role: base64url.decode(text, what=_WHAT) for role, text in wire.endorsements.items()},
        purpose=bound.purpose,
        nonce=None if bound.nonce is None else base64url.decode(bound.nonce, what=_WHAT),
        data=None if bound.data is None else base64url.decode(bound.data, what=_WHAT),
        identity=base64url.decode(wire.identity, what=_WHAT),
        events=tuple(map(_read, wire.events)),
    )


def _read(line: Written) -> Event:
    payload = unhex(line.event_payload, what=_WHAT)
    event = Event(_IMR, _TYPE, unhex(line.digest, what=_WHAT), line.event, payload, _VERSION)
    if event.digest != digest_of(event):
        raise MalformedEvidence("agent-event-digest", what=line.event[:64])
    return event
