# SPDX-License-Identifier: Apache-2.0
"""What dstack's ``Attest`` answers: its container for evidence and events, of the version that knows ours.

A MessagePack map of three, named members in their order, as dstack's own encoder (``rmp-serde``) writes it:
vectors of bytes as arrays of numbers, but digests and payloads as bytes. Events are of the second kind
(``version`` 2), which version 0 of the container cannot hold.

Source: Dstack-TEE/dstack, ``dstack/dstack-attest/src/v1.rs``, ``dstack/cc-eventlog/src``; its reader is
:mod:`nacre.appraisal.systems.dstack_attestation`.
"""

import msgspec

from nacre.appraisal.systems.eventlog import Event
from nacre.errors import EnclaveError

__all__ = ["attestation"]

_CONFIG = "{}"


class _Event(msgspec.Struct, frozen=True):
    imr: int
    event_type: int
    digest: bytes
    event: str
    event_payload: bytes
    version: int


class _OwnEvent(msgspec.Struct, frozen=True):
    event: str
    payload: bytes
    version: int


class _Tdx(msgspec.Struct, frozen=True):
    quote: tuple[int, ...]
    event_log: tuple[_Event, ...]


class _Nitro(msgspec.Struct, frozen=True):
    nsm_quote: tuple[int, ...]


class _Platform(msgspec.Struct, frozen=True):
    kind: str
    data: _Tdx | _Nitro


class _StackData(msgspec.Struct, frozen=True):
    report_data: tuple[int, ...]
    runtime_events: tuple[_OwnEvent, ...]
    config: str


class _Stack(msgspec.Struct, frozen=True):
    kind: str
    data: _StackData


class _Container(msgspec.Struct, frozen=True):
    version: int
    platform: _Platform
    stack: _Stack


def attestation(platform: str, evidence: bytes, events: tuple[Event, ...], *, report_data: bytes) -> bytes:
    """Pack evidence and the events of the same moment.

    Args:
        platform: The platform's name.
        evidence: Its evidence.
        events: The agent's log.
        report_data: What the evidence commits to, 64 bytes.

    Raises:
        EnclaveError: ``dstack-attest``: the container has no place for this platform's evidence (SGX), or it
            wants a document of dstack's in HOST_DATA, which no image of ours has (SEV-SNP).
    """
    if platform == "tdx":
        log = (
            _Event(one.imr, one.event_type, one.digest, one.event, one.payload, one.version) for one in events
        )
        packed = _Platform("tdx", _Tdx(tuple(evidence), tuple(log)))
    elif platform == "nitro":
        packed = _Platform("nitro-enclave", _Nitro(tuple(evidence)))
    else:
        raise EnclaveError("dstack-attest", what=platform, expected=("tdx", "nitro"))
    own = tuple(_OwnEvent(one.event, one.payload, one.version) for one in events)
    stack = _Stack("dstack", _StackData(tuple(report_data), own, _CONFIG))
    return msgspec.msgpack.encode(_Container(1, packed, stack))
