# SPDX-License-Identifier: Apache-2.0
"""Shapes say what was expected, what is there, and where."""

import pytest

from nacre.appraisal.reference import shapes
from nacre.appraisal.reference.comid import MEASUREMENT, TRIPLES, digest
from nacre.appraisal.reference.shapes import (
    Shape,
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
from nacre.errors import MalformedEvidence
from nacre.trust.cbor import Tag


@pytest.mark.parametrize(
    ("shape", "good", "bad", "said"),
    [
        (text, ["", "x"], [b"x", 1, None], "text"),
        (boolean, [True, False], [1, 0, None], "true or false"),
        (integer(), [0, 1 << 63], [-1, True, "1"], "an unsigned integer"),
        (integer(1, 3), [1, 3], [0, 4], "1 to 3"),
        (data(), [b""], ["", None], "bytes"),
        (data(2, 4), [b"12", b"1234"], [b"123"], "2 or 4 bytes"),
        (one_of(1, "a"), [1, "a"], [True, "b", 2], "1 or 'a'"),
        (tagged({1: text}), [Tag(1, "x")], [Tag(2, "x"), "x"], "tag 1"),
        (tagged({}, others=True), [Tag(7, 1)], [1], "a tag"),
        (tagged({1: text}, others=True), [Tag(7, 1)], [Tag(1, 1)], "text"),
        (many(text), [["a"], ["a", "b"]], [[], "a"], "an array of at least 1"),
        (many(text, least=0, most=1), [[], ["a"]], [["a", "b"]], "an array of 0 to 1"),
        (row(text, text, optional=1), [["a"], ["a", "b"]], [[], ["a", "b", "c"]], "an array of 1 to 2"),
        (row(text), [["a"]], [["a", "b"]], "an array of 1"),
        (fields({0: ("a", text)}), [{0: "x"}], [{}, 1], "a map that is not empty"),
        (fields({0: ("a", text)}), [], [{1: 1}], "no key but 0"),
        (fields({0: ("a", text)}, required={0}, others=True), [{0: "x", 5: 5}], [{5: 5}], "a (0)"),
        (either(text=text, a_number=integer()), ["x", 1], [b"", None], "text or a number"),
        (
            digest,
            [[1, bytes(32)], ["mine", b"x"], [-44, bytes(64)]],
            [[1, bytes(31)]],
            "32 bytes, as algorithm 1",
        ),
        (digest, [], [[99, b""], [b"", b""]], "a registered hash algorithm"),
        (digest, [], [[1], "x"], "[algorithm, digest]"),
        (digest, [], [["mine", 1]], "bytes"),
    ],
)
def test_shape(shape: Shape, good: list[object], bad: list[object], said: str) -> None:
    anything(object())
    for value in good:
        shapes.check(shape, value, what="it")
    for value in bad:
        with pytest.raises(MalformedEvidence) as refused:
            shapes.check(shape, value, what="it")
        assert refused.value.code == "cbor-shape"
        assert said in str(refused.value)


def test_an_error_says_where() -> None:
    triples = {0: [[{0: {1: "v"}}, [{1: {2: [[1, bytes(32)], [7, bytes(32)]]}}]]]}
    with pytest.raises(MalformedEvidence) as refused:
        shapes.check(TRIPLES, triples, what="CoMID")
    assert str(refused.value) == (
        "CoMID: at reference.0.1.0.mval.digests.1, "
        "48 bytes, as algorithm 7 makes them was expected, got 32 bytes"
    )


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({1: 1}, "a map of 1"),
        ([1], "an array of 1"),
        (Tag(9, 1), "tag 9"),
        (b"abc", "3 bytes"),
        ("x" * 99, "'xxx"),
    ],
)
def test_an_error_is_short(value: object, shown: str) -> None:
    with pytest.raises(MalformedEvidence) as refused:
        shapes.check(integer(), value, what="it")
    assert shown in str(refused.value)
    assert len(str(refused.value)) < 200


def test_of_two_alternatives_the_one_that_fits_is_explained() -> None:
    with pytest.raises(MalformedEvidence, match=r"mkey\.37\(\), 16 bytes"):
        shapes.check(MEASUREMENT, {0: Tag(37, bytes(3)), 1: {11: "x"}}, what="it")


@pytest.mark.parametrize(
    "triples",
    [
        {},
        {0: []},
        {0: [[{0: {1: "v"}}]]},
        {2: [[{0: {1: "v"}}, []]]},
        {8: [[[{0: {1: "v"}}, []], []]]},
        {10: [[[], []]]},
    ],
)
def test_triples_that_are_none(triples: object) -> None:
    with pytest.raises(MalformedEvidence):
        shapes.check(TRIPLES, triples, what="it")


def test_conditional_endorsements_have_their_form() -> None:
    environment, measurement = {0: {1: "v"}}, {1: {11: "x"}}
    series = [[environment, [], [Tag(554, "k")]], [[[measurement], [measurement]]]]
    endorsement = [[[environment, [measurement]]], [[environment, [measurement]]]]
    shapes.check(TRIPLES, {8: [series], 10: [endorsement], -1: "x"}, what="it")
