# SPDX-License-Identifier: Apache-2.0
"""The registry of what evidence can commit to: our own purposes and other systems' layouts.

Everything of our own that goes into the attester-chosen field of evidence is::

    SHA-512("nacre/v1/" purpose ‖ 00 ‖ LV(part 1) ‖ LV(part 2) …)      LV(x) = u32 big-endian length ‖ x

so that evidence for one purpose never serves another.

Source: docs/concepts/bindings.md.
"""

import hashlib
from collections.abc import Callable, Mapping

import msgspec

from nacre.errors import ConfigurationError

__all__ = ["PURPOSES", "Layout", "Purpose", "add_layout", "digest", "layouts"]


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


class Layout(msgspec.Struct, frozen=True):
    """Another system's way to bind evidence.

    Attributes:
        name: ``system`` or ``system/variant``.
        parts: What has to be known to compute it.
        compute: From the parts, by name, to the bytes of the field.
        unprotected: What it leaves open: ``replay``, ``relay``, ``diversion``, ``reflection``.
        source: Where the layout is described.
    """

    name: str
    parts: tuple[str, ...]
    compute: Callable[[Mapping[str, bytes]], bytes]
    unprotected: tuple[str, ...]
    source: str


_LAYOUTS: dict[str, Layout] = {}


def add_layout(layout: Layout) -> Layout:
    """Add another system's layout; a name is given once.

    Raises:
        ConfigurationError: ``binding-layout-taken``.
    """
    if layout.name in PURPOSES or _LAYOUTS.setdefault(layout.name, layout) != layout:
        raise ConfigurationError("binding-layout-taken", actual=layout.name)
    return layout


def layouts() -> tuple[Layout, ...]:
    """Return other systems' layouts, by name."""
    return tuple(_LAYOUTS[name] for name in sorted(_LAYOUTS))
