# SPDX-License-Identifier: Apache-2.0
"""Concise module identifiers (CoMID): what environments look like, in triples.

The whole form is checked, also of triples that nothing here interprets (conditional endorsements,
membership, keys), so that a reader can show them and a converter can refuse them by name. Only reference
triples become records.

Source: draft-ietf-rats-corim-11, section 5, and its CDDL; Named Information Hash Algorithm Registry.
"""

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from nacre.appraisal.reference import shapes
from nacre.appraisal.reference.shapes import (
    anything,
    boolean,
    data,
    either,
    fields,
    integer,
    many,
    one_of,
    row,
    tagged,
    text,
)
from nacre.trust.cbor import Tag

__all__ = [
    "DIGEST_SIZES",
    "ENTITY",
    "ENVIRONMENT",
    "IDENTITY",
    "KEY",
    "MEASUREMENT",
    "TRIPLES",
    "URI",
    "Comid",
    "Environment",
    "Measurement",
    "Reference",
    "comid",
    "digest",
]

#: Algorithm to the size of its digests, bytes: the Named Information registry, by number and by name, and
#: the COSE numbers of the same hashes.
DIGEST_SIZES: Final[Mapping[object, int]] = {
    1: 32,
    2: 16,
    3: 15,
    4: 12,
    5: 8,
    6: 4,
    7: 48,
    8: 64,
    9: 28,
    10: 32,
    11: 48,
    12: 64,
    "sha-256": 32,
    "sha-384": 48,
    "sha-512": 64,
    -16: 32,
    -43: 48,
    -44: 64,
}

_REFERENCE = 0
_MKEY_AT, _MVAL_AT, _AUTHORITY_AT = range(3)
_TRIPLE_NAMES: Final[Mapping[object, str]] = {
    0: "reference",
    1: "endorsed",
    2: "identity",
    3: "attest-key",
    4: "dependency",
    5: "membership",
    6: "coswid",
    8: "conditional-endorsement-series",
    10: "conditional-endorsement",
}


def digest(value: object) -> None:
    """Accept ``[algorithm, digest]`` if the digest is as long as the algorithm makes them.

    Names that nobody registered are somebody's own, and so is what they say.
    """
    if type(value) is not list or len(value) != 2:  # noqa: PLR2004 (a pair)
        shapes.wrong("[algorithm, digest]", value)
    algorithm, octets = value
    if type(algorithm) is str and algorithm not in DIGEST_SIZES:
        data()(octets)
        return
    size = DIGEST_SIZES.get(algorithm) if type(algorithm) in (int, str) else None
    if size is None:
        shapes.wrong("a registered hash algorithm", algorithm)
    if type(octets) is not bytes or len(octets) != size:
        shapes.wrong(f"{size} bytes, as algorithm {algorithm} makes them", octets)


URI: Final = either(text=text, a_URI=tagged({32: text}))
_OID, _UUID, _OPAQUE = {111: data()}, {37: data(16)}, {560: data()}
# RFC 9711, section 4.2.1.1: a type byte and 6 to 32 bytes.
_UEID = data(*range(7, 34))
KEY: Final = tagged(
    {
        554: text,
        555: text,
        556: text,
        557: digest,
        558: fields({1: ("kty", anything)}, required={1}, others=True),
        559: digest,
        560: data(),
        561: digest,
        562: data(),
    },
    others=True,
)
_KEYS = many(KEY)
_CLASS = fields(
    {
        0: ("class-id", tagged(_OID | _UUID | _OPAQUE, others=True)),
        1: ("vendor", text),
        2: ("model", text),
        3: ("layer", integer()),
        4: ("index", integer()),
    }
)
ENVIRONMENT: Final = fields(
    {
        0: ("class", _CLASS),
        1: ("instance", tagged({550: _UEID} | _UUID | _OPAQUE, others=True)),
        2: ("group", tagged(_UUID | _OPAQUE, others=True)),
    }
)
_MKEY = either(a_number=integer(), text=text, a_tag=tagged(_OID | _UUID, others=True))
_DIGESTS = many(digest)
_BOUND = either(a_number=integer(-(1 << 63), (1 << 63) - 1), null=one_of(None))
_FLAGS = fields({index: (f"flag {index}", boolean) for index in range(11)}, others=True)
_VALUES = fields(
    {
        0: ("version", fields({0: ("version", text), 1: ("scheme", anything)}, required={0})),
        1: ("svn", either(a_number=integer(), svn=tagged({552: integer(), 553: integer()}))),
        2: ("digests", _DIGESTS),
        3: ("flags", _FLAGS),
        4: ("raw-value", tagged({560: data(), 563: row(data(), data())}, others=True)),
        5: ("raw-value-mask", data()),
        6: ("mac-addr", data(6, 8)),
        7: ("ip-addr", either(an_address=data(4, 16), a_tag=tagged({52: data(4), 54: data(16)}))),
        8: ("serial-number", text),
        9: ("ueid", _UEID),
        10: ("uuid", data(16)),
        11: ("name", text),
        13: ("cryptokeys", _KEYS),
        14: ("integrity-registers", fields({}, others=True, other=_DIGESTS)),
        15: ("int-range", either(a_number=integer(-(1 << 63)), a_range=tagged({564: row(_BOUND, _BOUND)}))),
    },
    others=True,
)
MEASUREMENT: Final = fields(
    {0: ("mkey", _MKEY), 1: ("mval", _VALUES), 2: ("authorized-by", _KEYS)}, required={1}
)
_MEASUREMENTS = many(MEASUREMENT)
_REFERENCE_TRIPLE = row(ENVIRONMENT, _MEASUREMENTS)
_CONDITIONS = fields({0: ("mkey", _MKEY), 1: ("authorized-by", _KEYS)})
_KEY_TRIPLE = row(ENVIRONMENT, _KEYS, _CONDITIONS, optional=1)
_DOMAIN_TRIPLE = row(ENVIRONMENT, many(ENVIRONMENT))
_NAME = either(text=text, a_UUID=data(16))
TRIPLES: Final = fields(
    {
        0: ("reference", many(_REFERENCE_TRIPLE)),
        1: ("endorsed", many(_REFERENCE_TRIPLE)),
        2: ("identity", many(_KEY_TRIPLE)),
        3: ("attest-key", many(_KEY_TRIPLE)),
        4: ("dependency", many(_DOMAIN_TRIPLE)),
        5: ("membership", many(_DOMAIN_TRIPLE)),
        6: ("coswid", many(row(ENVIRONMENT, many(_NAME)))),
        8: (
            "conditional-endorsement-series",
            many(
                row(
                    row(ENVIRONMENT, many(MEASUREMENT, least=0), _KEYS, optional=1),
                    many(row(_MEASUREMENTS, _MEASUREMENTS)),
                )
            ),
        ),
        10: (
            "conditional-endorsement",
            many(row(many(row(ENVIRONMENT, _MEASUREMENTS)), many(_REFERENCE_TRIPLE))),
        ),
    },
    others=True,
)
IDENTITY: Final = fields({0: ("tag-id", _NAME), 1: ("tag-version", integer())}, required={0})


def ENTITY(roles: int) -> shapes.Shape:  # noqa: N802 (a shape with a parameter)
    """Return the shape of an entity with roles up to a number."""
    role = either(a_role=integer(0, roles), text=text)
    return fields(
        {0: ("entity-name", text), 1: ("reg-id", URI), 2: ("role", many(role))}, required={0, 2}, others=True
    )


_COMID = fields(
    {
        0: ("language", text),
        1: ("tag-identity", IDENTITY),
        2: ("entities", many(ENTITY(2))),
        3: (
            "linked-tags",
            many(fields({0: ("id", _NAME), 1: ("relation", integer())}, required={0, 1})),
        ),
        4: ("triples", TRIPLES),
    },
    required={1, 4},
    others=True,
)


class Environment(msgspec.Struct, frozen=True):
    """What a triple speaks of.

    Attributes:
        class_id: An OID (tag 111), a UUID (37), bytes (560) or what a profile defines; None if there is none.
        vendor: Who made it.
        model: What it is called.
        layer: Its place in a boot chain, or None.
        index: Which of several alike, or None.
        instance: Which one machine, tagged, or None for all of the class.
        group: Which group of machines, tagged, or None.
    """

    class_id: Tag | None = None
    vendor: str = ""
    model: str = ""
    layer: int | None = None
    index: int | None = None
    instance: Tag | None = None
    group: Tag | None = None


class Measurement(msgspec.Struct, frozen=True):
    """One measured element.

    Attributes:
        key: Which element: a number, text, a tagged OID or UUID, None where there is only one.
        values: Code point of ``measurement-values-map`` to its value, as CBOR has it.
        authorized: Whether it holds only for evidence of certain signers.
    """

    key: object
    values: Mapping[object, object]
    authorized: bool


class Reference(msgspec.Struct, frozen=True):
    """A reference triple: evidence of this environment has to show all of these measurements."""

    environment: Environment
    measurements: tuple[Measurement, ...]


class Comid(msgspec.Struct, frozen=True):
    """One CoMID tag.

    Attributes:
        id: Its identifier, text or a UUID (16 bytes).
        version: Its version.
        references: Its reference triples, in order.
        others: Names of the other triples, linked tags and extensions in it: what a release cannot say.
        triples: The whole triples map, for profiles.
        content: The whole tag as CBOR has it.
    """

    id: str | bytes
    version: int
    references: tuple[Reference, ...]
    others: tuple[str, ...]
    triples: dict[object, list[list[object]]]
    content: dict[object, object]


_NAMED = {0: "language", 1: "tag-identity", 2: "entities", 4: "triples"}


def comid(value: object, *, what: str) -> Comid:
    """Make a record of a decoded CoMID.

    Raises:
        MalformedEvidence: ``cbor-shape``.
    """
    shapes.check(_COMID, value, what=what)
    return _record(value)  # type: ignore[arg-type]  # the shape is what it takes


def _record(content: dict[object, dict[object, list[list[object]]]]) -> Comid:
    identity: dict[object, object] = content[1]  # type: ignore[assignment]
    triples = content[4]
    return Comid(
        id=identity[0],  # type: ignore[arg-type]
        version=identity.get(1, 0),  # type: ignore[arg-type]
        references=tuple(_reference(*triple) for triple in triples.get(_REFERENCE, ())),  # type: ignore[arg-type]
        others=tuple(_others(content, triples)),
        triples=triples,
        content=content,  # type: ignore[arg-type]
    )


def _others(content: Mapping[object, object], triples: Mapping[object, object]) -> Iterator[str]:
    for key in triples:
        if key != _REFERENCE:
            yield f"{_TRIPLE_NAMES.get(key, repr(key))} triples"
    for key in content:
        if key not in _NAMED:
            yield "linked tags" if key == 3 else f"extension {key!r}"  # noqa: PLR2004 (linked-tags)


def _reference(environment: dict[int, object], measurements: list[dict[int, object]]) -> Reference:
    kind: dict[int, object] = environment.get(0, {})  # type: ignore[assignment]
    return Reference(
        Environment(
            class_id=kind.get(0),  # type: ignore[arg-type]
            vendor=kind.get(1, ""),  # type: ignore[arg-type]
            model=kind.get(2, ""),  # type: ignore[arg-type]
            layer=kind.get(3),  # type: ignore[arg-type]
            index=kind.get(4),  # type: ignore[arg-type]
            instance=environment.get(1),  # type: ignore[arg-type]
            group=environment.get(2),  # type: ignore[arg-type]
        ),
        tuple(
            Measurement(item.get(_MKEY_AT), item[_MVAL_AT], _AUTHORITY_AT in item)  # type: ignore[arg-type]
            for item in measurements
        ),
    )
