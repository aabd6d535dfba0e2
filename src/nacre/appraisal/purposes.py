# SPDX-License-Identifier: Apache-2.0
"""The registry of what evidence can commit to: our own purposes and other systems' layouts.

Everything of our own that goes into the attester-chosen field of evidence is::

    SHA-512("nacre/v1/" purpose ‖ 00 ‖ LV(part 1) ‖ LV(part 2) …)      LV(x) = u32 big-endian length ‖ x

so that evidence for one purpose never serves another.

Source: docs/concepts/bindings.md.
"""

import hashlib
from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

from nacre.errors import ConfigurationError

__all__ = ["PURPOSES", "Fields", "Layout", "Purpose", "digest"]


class Purpose(msgspec.Struct, frozen=True):
    """One of our own purposes.

    Attributes:
        name: What goes into the digest.
        parts: The parts, in order.
        unprotected: What the binding alone does not protect against: ``replay`` (where a nonce is
            optional: unless there is one), ``relay``, ``diversion`` (somebody else's genuine machine
            answers), ``reflection``.
    """

    name: str
    parts: tuple[str, ...]
    unprotected: tuple[str, ...]


#: Our own purposes, by name.
PURPOSES: Mapping[str, Purpose] = {
    purpose.name: purpose
    for purpose in (
        Purpose("evidence", ("nonce", "identity"), ("relay", "diversion", "reflection")),
        Purpose("channel", ("role", "exporter", "nonce", "own_key", "peer_key", "context"), ("diversion",)),
        Purpose("custody", ("nonces", "hpke_key", "application", "epoch", "holder_key"), ("diversion",)),
        Purpose("response-key", ("key", "not_after"), ("replay", "diversion")),
        Purpose("body-key", ("nonce", "configuration"), ("replay", "diversion")),
        Purpose("chain-key", ("chain", "contract", "address", "nonce"), ("replay", "diversion")),
        Purpose("node", ("node", "key", "genesis", "card"), ("replay", "diversion")),
        Purpose("app-data", ("data",), ("replay", "relay", "diversion", "reflection")),
    )
}

_PREFIXES = {name: b"nacre/v1/" + name.encode() + b"\x00" for name in PURPOSES}


def digest(purpose: str, *parts: bytes) -> bytes:
    """Compute what evidence commits to for one of our own purposes.

    Args:
        purpose: A key of :data:`PURPOSES`.
        parts: Exactly the parts of that purpose, in order; a missing optional part is empty.

    Returns:
        64 bytes.

    Raises:
        ConfigurationError: ``binding-purpose-unknown``, ``binding-parts``.
    """
    entry = PURPOSES.get(purpose)
    if entry is None:
        raise ConfigurationError("binding-purpose-unknown", actual=purpose, expected=tuple(PURPOSES))
    if len(parts) != len(entry.parts):
        raise ConfigurationError("binding-parts", what=purpose, expected=entry.parts, actual=len(parts))
    body = b"".join([len(part).to_bytes(4, "big") + part for part in parts])
    return hashlib.sha512(_PREFIXES[purpose] + body).digest()


class Fields(NamedTuple):
    """What evidence holds that is bound as another system does; None where that leaves a field open.

    Attributes:
        data: The field for digests: all 64 bytes of report data, or Nitro's ``user_data``.
        nonce: Nitro's field of that name.
        public_key: Nitro's field of that name.
        partial: Whether ``data`` is only the beginning of its field, and the rest may hold anything.
        contradiction: A reason code, if the parts contradict each other, so that nothing can be bound so.
    """

    data: bytes | None = None
    nonce: bytes | None = None
    public_key: bytes | None = None
    partial: bool = False
    contradiction: str = ""


class Layout(msgspec.Struct, frozen=True):
    """Another system's way to bind evidence.

    Attributes:
        name: ``system/variant``.
        parts: What has to be known to compute it, all of it.
        compute: From the parts, by name, to the fields. Raises ``ConfigurationError("binding-part")`` if a
            part has a form that this layout cannot have.
        unprotected: What it leaves open: ``replay``, ``relay``, ``diversion``, ``reflection``.
        source: Where the layout is described.
        fresh: The part that the verifier chose for this one time, if there is one: a nonce, or the exporter
            of a session. Evidence counts as fresh only if the verifier itself gave that part; such a layout
            leaves no ``replay`` open.
    """

    name: str
    parts: tuple[str, ...]
    compute: Callable[[Mapping[str, bytes]], Fields]
    unprotected: tuple[str, ...]
    source: str
    fresh: str = ""
