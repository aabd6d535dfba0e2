# SPDX-License-Identifier: Apache-2.0
"""Concise Reference Integrity Manifests (CoRIM): the envelope of CoMIDs, unsigned, as it is signed.

Read is what draft -11 says: tag 501 around the map. Older drafts had other forms; those are refused, since
a reader that guesses finds what somebody else did not mean. Evidence that looks alike (concise evidence,
tag 571) is no reference value and is refused too.

Source: draft-ietf-rats-corim-11, sections 4 and 6.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec

from nacre.appraisal.reference import shapes
from nacre.appraisal.reference.comid import ENTITY, IDENTITY, URI, Comid, comid, digest
from nacre.appraisal.reference.shapes import data, either, fields, integer, many, tagged, text
from nacre.errors import MalformedEvidence, VerificationError
from nacre.trust import cbor, oids
from nacre.trust.cbor import Tag

__all__ = [
    "MAX_CORIM",
    "SIGNED",
    "UNSIGNED",
    "VALIDITY",
    "Corim",
    "Validity",
    "check_validity",
    "dumps",
    "loads",
    "validity_of",
]

#: The largest manifest that is read, bytes.
MAX_CORIM: Final = 1 << 20
#: The tags of an unsigned and of a signed manifest.
UNSIGNED: Final = 501
SIGNED: Final = 18

_COMID, _COSWID, _COTL = 506, 505, 508
_TIME = tagged({1: integer(-(1 << 40), 1 << 40)})
VALIDITY: Final = fields({0: ("not-before", _TIME), 1: ("not-after", _TIME)}, required={1})
_LOCATOR = fields(
    {
        0: ("href", either(a_URI=URI, several=many(URI))),
        1: ("thumbprint", either(a_digest=digest, several=many(digest))),
    },
    required={0},
)
_MAP = fields(
    {
        0: ("id", either(text=text, a_UUID=data(16))),
        1: ("tags", many(tagged({_COMID: data(), _COSWID: data(), _COTL: data()}, others=True))),
        2: ("dependent-rims", many(_LOCATOR)),
        3: ("profile", either(a_URI=URI, an_OID=tagged({111: data()}))),
        4: ("rim-validity", VALIDITY),
        5: ("entities", many(ENTITY(2))),
    },
    required={0, 1},
    others=True,
)
_TAGS = fields(
    {0: ("tag-identity", IDENTITY), 1: ("tags-list", many(IDENTITY)), 2: ("tl-validity", VALIDITY)},
    required={0, 1, 2},
)
_SWID = fields({0: ("tag-id", either(text=text, a_UUID=data(16)))}, required={0}, others=True)
_KINDS = {571: "concise evidence", 570: "a table of contents", 399: "a token of Arm CCA", 61: "a CWT"}


class Validity(msgspec.Struct, frozen=True):
    """From when, if it says so, until when something holds: Unix seconds, both included."""

    not_before: int | None
    not_after: int


class Corim(msgspec.Struct, frozen=True):
    """A manifest.

    Attributes:
        id: Its identifier: text, or a UUID (16 bytes).
        profile: Whose rules it follows: a URI, or an OID in dotted form; empty if it says none.
        validity: When it holds, if it says so.
        comids: Its CoMIDs, in order.
        others: What else is in it, by name: tags of other kinds, dependencies, extensions.
        entities: Who had a part in it, for people.
        content: The whole map as CBOR has it.
    """

    id: str | bytes
    profile: str
    validity: Validity | None
    comids: tuple[Comid, ...]
    others: tuple[str, ...]
    entities: tuple[str, ...]
    content: Mapping[object, object]


def loads(octets: bytes, *, what: str = "CoRIM") -> Corim:
    """Read an unsigned manifest, or the payload of a signed one.

    Raises:
        MalformedEvidence: ``corim-kind`` if it is something else, ``cbor-shape``, or as ``cbor.loads``.
    """
    value = cbor.loads(octets, what=what, limit=MAX_CORIM, tags=True)
    if type(value) is not Tag or value.number != UNSIGNED:
        number = value.number if type(value) is Tag else 0
        actual = _KINDS.get(number) or (f"tag {number}" if number else "no tag")
        raise MalformedEvidence("corim-kind", what=what, expected=UNSIGNED, actual=actual)
    shapes.check(_MAP, value.value, what=what)
    return _record(value.value, what)  # type: ignore[arg-type]  # the shape is what it takes


def dumps(content: Mapping[object, object]) -> bytes:
    """Write a manifest, deterministically.

    Args:
        content: The map of a :class:`Corim`; CoMIDs are ``Tag(506, …)`` around their encoding.
    """
    return cbor.dumps(Tag(UNSIGNED, content))


def check_validity(validity: Validity | None, *, at: int, what: str, check: str) -> None:
    """Check that something holds at a time; what states no validity holds.

    Raises:
        VerificationError: ``reference-expired``, ``reference-not-yet-valid``.
    """
    if validity is None:
        return
    if at > validity.not_after:
        raise VerificationError(
            "reference-expired", check=check, what=what, actual=at, not_after=validity.not_after
        )
    if validity.not_before is not None and at < validity.not_before:
        raise VerificationError(
            "reference-not-yet-valid", check=check, what=what, actual=at, not_before=validity.not_before
        )


def validity_of(value: Mapping[int, Tag] | None) -> Validity | None:
    """Make a record of a validity map that has its shape."""
    if value is None:
        return None
    before = value.get(0)
    return Validity(None if before is None else before.value, value[1].value)  # type: ignore[arg-type]


def _record(content: Mapping[object, object], what: str) -> Corim:
    tags: list[Tag] = content[1]  # type: ignore[assignment]
    comids = []
    others = []
    for position, tag in enumerate(tags):
        place = f"{what}: tag {position}"
        if tag.number == _COMID:
            comids.append(comid(_decoded(tag, place), what=place))
        elif tag.number == _COSWID:
            shapes.check(_SWID, _decoded(tag, place), what=place)
            others.append("a CoSWID tag")
        elif tag.number == _COTL:
            shapes.check(_TAGS, _decoded(tag, place), what=place)
            others.append("a list of tags (CoTL)")
        else:
            others.append(f"a tag of kind {tag.number}")
    others += _others(content)
    entities: list[dict[int, object]] = content.get(5, [])  # type: ignore[assignment]
    return Corim(
        id=content[0],  # type: ignore[arg-type]
        profile=_profile(content.get(3)),
        validity=validity_of(content.get(4)),  # type: ignore[arg-type]
        comids=tuple(comids),
        others=tuple(others),
        entities=tuple(str(entity[0]) for entity in entities),
        content=content,
    )


def _decoded(tag: Tag, what: str) -> object:
    octets: bytes = tag.value  # type: ignore[assignment]  # the shape says bytes
    return cbor.loads(octets, what=what, limit=MAX_CORIM, tags=True)


def _others(content: Iterable[object]) -> Iterator[str]:
    for key in content:
        if key == 2:  # noqa: PLR2004 (dependent-rims)
            yield "manifests that it depends on"
        elif key not in (0, 1, 3, 4, 5):
            yield f"extension {key!r}"


def _profile(value: object) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, Tag) and isinstance(value.value, bytes):
        return oids.dotted(value.value)
    return str(value.value) if isinstance(value, Tag) else ""
