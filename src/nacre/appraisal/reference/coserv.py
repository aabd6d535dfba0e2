# SPDX-License-Identifier: Apache-2.0
"""CoSERV: questions for reference values, and their answers.

Read for their form alone: an answer is worth what the channel or signature around it is worth, which is
nothing here. Its reference triples are the same as a manifest's.

Source: draft-ietf-rats-coserv; veraison/corim (coserv).
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from nacre.appraisal.reference import shapes
from nacre.appraisal.reference.comid import ENVIRONMENT, IDENTITY, KEY, MEASUREMENT
from nacre.appraisal.reference.shapes import anything, data, either, fields, integer, many, row, tagged, text
from nacre.trust import cbor

__all__ = ["Coserv", "loads"]

_WHAT = "CoSERV"
_LIMIT = 1 << 20
_ARTIFACTS = ("endorsed values", "trust anchors", "reference values")
_RESULTS = ("collected", "source artefacts", "both")


def _selector(member: int) -> shapes.Shape:
    """Return the shape of entries that name an environment by one member of it, and maybe its state."""

    def environment(value: object) -> None:
        ENVIRONMENT({member: value})

    return many(row(environment, many(MEASUREMENT), optional=1))


_QUERY = fields(
    {
        0: ("artifact-type", integer(0, len(_ARTIFACTS) - 1)),
        1: (
            "environment-selector",
            fields({0: ("class", _selector(0)), 1: ("instance", _selector(1)), 2: ("group", _selector(2))}),
        ),
        2: ("result-type", integer(0, len(_RESULTS) - 1)),
        3: ("rim-selector", many(IDENTITY)),
    }
)
_QUAD = fields({1: ("authorities", many(KEY)), 2: ("triple", many(anything, least=2))}, required={1, 2})
_VALUES = fields(
    {1: ("authorities", many(KEY)), 2: ("triple", row(ENVIRONMENT, many(MEASUREMENT)))}, required={1, 2}
)
_ANSWER = fields(
    {
        0: ("rvq", many(_VALUES, least=0)),
        1: ("evq", many(_VALUES, least=0)),
        2: ("ceq", many(_QUAD, least=0)),
        3: ("akq", many(_QUAD, least=0)),
        4: ("tas", many(anything, least=0)),
        5: ("rims", anything),
        10: ("expiry", tagged({0: text})),
        11: (
            "source-artifacts",
            many(row(either(text=text, a_number=integer()), data(), integer(), optional=1)),
        ),
    },
    required={10},
)
_COSERV: Final = fields(
    {
        0: ("profile", either(text=text, an_OID=tagged({111: data()}))),
        1: ("query", _QUERY),
        2: ("results", _ANSWER),
    },
    required={0, 1},
)


class Coserv(msgspec.Struct, frozen=True):
    """A question, with its answer if there is one.

    Attributes:
        asked: What is asked for: ``reference values`` and so on; empty if manifests are asked for by name.
        wanted: ``collected``, ``source artefacts`` or ``both``; empty as above.
        answered: Whether results are there.
        expires: Until when the answer may be used, as it says (RFC 3339); empty without one.
        content: The whole map as CBOR has it.
    """

    asked: str
    wanted: str
    answered: bool
    expires: str
    content: Mapping[object, object]


def loads(octets: bytes) -> Coserv:
    """Read a question or an answer.

    Raises:
        MalformedEvidence: ``cbor-shape``, or as ``cbor.loads``.
    """
    value = cbor.loads(octets, what=_WHAT, limit=_LIMIT, tags=True)
    shapes.check(_COSERV, value, what=_WHAT)
    return _record(value)  # type: ignore[arg-type]  # the shape is what it takes


def _record(content: dict[object, dict[object, object]]) -> Coserv:
    query, results = content[1], content.get(2)
    by_environment = 1 in query
    if by_environment == (3 in query) or {0, 2} & query.keys() != ({0, 2} if by_environment else set()):  # noqa: PLR2004 (rim-selector)
        shapes.check(
            shapes.one_of("environments with artifact and result type, or manifests"), len(query), what=_WHAT
        )
    asked: int | None = query.get(0)  # type: ignore[assignment]  # the shape says so
    wanted: int | None = query.get(2)  # type: ignore[assignment]  # the shape says so
    expiry: cbor.Tag | None = results[10] if results else None  # type: ignore[assignment]
    return Coserv(
        asked="" if asked is None else _ARTIFACTS[asked],
        wanted="" if wanted is None else _RESULTS[wanted],
        answered=results is not None,
        expires="" if expiry is None else str(expiry.value),
        content=content,
    )
