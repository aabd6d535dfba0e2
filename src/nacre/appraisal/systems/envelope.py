# SPDX-License-Identifier: Apache-2.0
"""From the bytes that somebody sent, and a system's name, to evidence and what it has to be bound to."""

from collections.abc import Collection, Mapping

import msgspec

from nacre.appraisal import systems
from nacre.appraisal.bindings import Binding
from nacre.appraisal.purposes import Layout
from nacre.appraisal.systems.base import Found, Opened, System
from nacre.errors import ConfigurationError, MalformedEvidence
from nacre.platforms.base import Claims

__all__ = ["Envelope", "recognise", "unwrap"]


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """Another system's evidence, opened. Made by :func:`unwrap` and :func:`recognise`.

    Attributes:
        system: The system.
        opened: What was in it.
        layout: How it is bound, if that is known.
        binding: What it has to be bound to; None if that is not known.
    """

    system: System
    opened: Opened
    layout: Layout | None
    binding: Binding | None

    @property
    def evidence(self) -> bytes:
        """The platform's evidence."""
        return self.opened.evidence

    def found(self, claims: Claims, at: int) -> Found | None:
        """Ask the system what it shows of evidence whose signatures held; None if that came bare."""
        examine = self.opened.examine
        return None if examine is None else examine(claims, at)


def unwrap(data: bytes, *, name: str, given: Mapping[str, bytes], declared: Collection[str] = ()) -> Envelope:
    """Open evidence as a system ships it.

    Args:
        data: The envelope, or bare evidence.
        name: The system, or one of its layouts: ``dstack``, ``dstack/app-data``.
        given: What the verifier itself knows, by name: parts of the layout, documents of the system.
        declared: Layouts that the verifier's releases name. If there is one of this system, it goes where
            neither ``name`` nor the envelope's form says how the evidence is bound.

    Raises:
        MalformedEvidence: It is not what that system ships.
        ConfigurationError: ``system-unknown``, ``layout-unknown``, ``layout-unclear``, ``part-unknown``,
            ``binding-parts`` or ``binding-part``.
    """
    system = systems.get(name.partition("/")[0])
    chosen = systems.layout(name) if "/" in name else None
    known = {part for layout in system.layouts for part in layout.parts}.union(system.documents)
    for part in given:
        if part not in known:
            raise ConfigurationError(
                "part-unknown", what=name, actual=part, expected=tuple(sorted(known)) or "none"
            )
    opened = system.open(data, given)
    layout = chosen or opened.layout or _declared(system, declared) or _fitting(system, opened, given)
    return Envelope(
        system=system,
        opened=opened,
        layout=layout,
        binding=None if layout is None else _binding(layout, opened, given, named=chosen is not None),
    )


def recognise(data: bytes, *, given: Mapping[str, bytes], declared: Collection[str] = ()) -> Envelope | None:
    """Open bytes that are no platform's evidence, if they are some system's envelope.

    Raises:
        MalformedEvidence: They began like one.
        ConfigurationError: As :func:`unwrap`.
    """
    system = systems.recognise(data)
    return None if system is None else unwrap(data, name=system.name, given=given, declared=declared)


def _declared(system: System, names: Collection[str]) -> Layout | None:
    known = [layout for layout in system.layouts if layout.name in names]
    return known[0] if len(known) == 1 else None


def _fitting(system: System, opened: Opened, given: Mapping[str, bytes]) -> Layout | None:
    """Tell the layout by the parts that the verifier gave, if he gave some."""
    parts = set(given).difference(system.documents)
    if not parts:
        return None
    fitting = [layout for layout in system.layouts if parts <= set(layout.parts) <= parts.union(opened.parts)]
    if len(fitting) != 1:
        names = tuple(layout.name for layout in fitting or system.layouts)
        raise ConfigurationError("layout-unclear", actual=tuple(sorted(parts)), expected=names)
    return fitting[0]


def _binding(layout: Layout, opened: Opened, given: Mapping[str, bytes], *, named: bool) -> Binding | None:
    parts = {part: value for part, value in {**opened.parts, **given}.items() if part in layout.parts}
    ours = tuple(part for part in layout.parts if part in given)
    if len(parts) != len(layout.parts) and not (named or ours):
        return None
    try:
        return Binding.foreign(layout, parts, ours=ours)
    except ConfigurationError as error:
        # A part that came in the envelope is evidence, and not what the verifier configured.
        if error.context.get("part") in opened.parts.keys() - given.keys():
            raise MalformedEvidence(error.code, **error.context) from None
        raise
