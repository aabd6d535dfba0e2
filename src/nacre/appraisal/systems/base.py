# SPDX-License-Identifier: Apache-2.0
"""The interface of a system: what is to be written so that another system's evidence is understood.

A *system* is software that people run in a TEE and that has its own way to bind and to ship evidence
(dstack, Gramine, Oyster …). It is one module of this folder with one object, ``SYSTEM``. The module's
docstring says what its layouts do not protect against; ``nacre explain NAME`` shows it.

Nothing here trusts anything: an envelope is opened first, and what its parts are worth is decided when the
evidence in it was verified.
"""

from collections.abc import Callable, Mapping

import msgspec

from nacre.appraisal.purposes import Layout
from nacre.checks import Check
from nacre.platforms.base import Claims

__all__ = ["Examine", "Fact", "Found", "Opened", "System"]


class Fact(msgspec.Struct, frozen=True):
    """Something beyond registers that a release may ask of this system, in a table of the system's name.

    Attributes:
        name: The key in the release; it lists every value that is acceptable.
        size: Bytes, written in hex in a release; 0 for text.
        text: What it is.
        covers: Registers, ``platform.name``, that it is computed from with all their bytes. A release that
            states it may leave their values open.
    """

    name: str
    size: int
    text: str
    covers: tuple[str, ...] = ()


class Found(msgspec.Struct, frozen=True):
    """What a system shows of evidence whose signatures held.

    Attributes:
        checks: The system's own checks.
        facts: Name to value of every :class:`Fact` that the evidence proves; text is in UTF-8. Nothing that
            is merely stated belongs here.
    """

    checks: tuple[Check, ...] = ()
    facts: Mapping[str, bytes] = {}


#: ``examine(claims, at)`` answers with failed or skipped checks; it raises nothing.
Examine = Callable[[Claims, int], Found]


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """What was in an envelope. Says nothing about trust.

    Attributes:
        evidence: The platform's evidence.
        layout: The layout that the envelope's form implies; None if the user has to name one, or if it
            implies none.
        parts: Parts of the layout that were in the envelope. A part that the user gives goes before.
        endorsements: Role to vendor document, where the envelope brings some.
        examine: What the system has to say once the evidence is verified.
        required: The identifiers of its checks without which no verdict is complete.
        described: What the user has to see of the envelope, by name: the key of a certificate, say.
    """

    evidence: bytes
    layout: Layout | None = None
    parts: Mapping[str, bytes] = {}
    endorsements: Mapping[str, bytes] = {}
    examine: Examine | None = None
    required: tuple[str, ...] = ()
    described: Mapping[str, bytes | str] = {}


def _nothing(data: bytes) -> bool:
    del data
    return False


def _bare(data: bytes, given: Mapping[str, bytes]) -> Opened:
    del given
    return Opened(evidence=data)


class System(msgspec.Struct, frozen=True, kw_only=True):
    """Another system, whole.

    Attributes:
        name: What ``--as`` and releases call it.
        title: What people call it.
        layouts: Its ways to bind evidence; their names begin with its own.
        facts: What a release may ask of it.
        documents: Names of parts that belong to no layout and that ``open`` uses if the user gives them
            (``app-compose``).
        recognises: Tells from the bytes whether this is one of its envelopes; cheap, no promise. Systems
            whose evidence comes bare recognise nothing.
        open: Takes an envelope apart, given what the user gave by name. Bare evidence is its own envelope.
            Raises ``MalformedEvidence``.
    """

    name: str
    title: str
    layouts: tuple[Layout, ...]
    facts: tuple[Fact, ...] = ()
    documents: tuple[str, ...] = ()
    recognises: Callable[[bytes], bool] = _nothing
    open: Callable[[bytes, Mapping[str, bytes]], Opened] = _bare
