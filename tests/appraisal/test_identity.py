# SPDX-License-Identifier: Apache-2.0
"""Identity documents have one encoding."""

import contextlib
import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nacre.appraisal.bindings import Binding
from nacre.appraisal.identity import IdentityDocument
from nacre.appraisal.purposes import digest
from nacre.errors import ConfigurationError, MalformedEvidence
from nacre.trust import cbor

DOCUMENT = IdentityDocument(
    keys=(b"a", b"b"), release=b"r" * 32, boot=b"o" * 16, mode="genuine", deployment=b"d"
)
ENCODED = bytes.fromhex("a5018241614162025820" + "72" * 32 + "0350" + "6f" * 16 + "046767656e75696e65054164")


def test_the_encoding_is_exact() -> None:
    assert DOCUMENT.encode() == ENCODED
    assert IdentityDocument.parse(ENCODED) == DOCUMENT


def test_a_missing_deployment_is_null() -> None:
    document = msgspec.structs.replace(DOCUMENT, deployment=None)
    assert document.encode().endswith(b"\x05\xf6")
    assert IdentityDocument.parse(document.encode()) == document


def test_the_evidence_binding_holds_its_digest() -> None:
    nonce = bytes(32)
    expected = digest("evidence", nonce, DOCUMENT.digest())
    assert Binding.nonce(nonce, identity=DOCUMENT.encode()).digest == expected


def test_the_channel_specification_agrees(vectors: Path) -> None:
    path = vectors.parent / "specs" / "vectors" / "channel.json"
    if not path.exists():
        pytest.skip("the specification's vectors are not beside this checkout")
    keys = json.loads(path.read_text())["keys"]
    for side in ("server", "client"):
        encoded = bytes.fromhex(keys[f"{side}_identity"])
        document = IdentityDocument.parse(encoded)
        assert document.keys == (bytes.fromhex(keys[f"{side}_spki"]),)
        assert document.mode == "simulated"
        assert document.encode() == encoded


@pytest.mark.parametrize(
    "change",
    [
        {"keys": ()},
        {"keys": (b"b", b"a")},
        {"keys": (b"a", b"a")},
        {"keys": (b"",)},
        {"keys": (bytes(1025),)},
        {"keys": tuple(bytes((number,)) for number in range(17))},
        {"release": b"r" * 31},
        {"boot": b""},
        {"mode": "debug"},
        {"deployment": b""},
    ],
)
def test_what_has_no_place_in_it_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError) as refused:
        msgspec.structs.replace(DOCUMENT, **change)
    assert refused.value.code == "identity-document"
    assert "identity document" in str(refused.value)


@pytest.mark.parametrize(
    "members",
    [
        {1: [b"a"], 2: b"r" * 32, 3: b"o" * 16, 4: "genuine"},
        {1: [b"a"], 2: b"r" * 32, 3: b"o" * 16, 4: "genuine", 5: None, 6: None},
        {1: b"a", 2: b"r" * 32, 3: b"o" * 16, 4: "genuine", 5: None},
        {1: ["a"], 2: b"r" * 32, 3: b"o" * 16, 4: "genuine", 5: None},
        {1: [b"a"], 2: "r" * 32, 3: b"o" * 16, 4: "genuine", 5: None},
        {1: [b"a"], 2: b"r" * 32, 3: 16, 4: "genuine", 5: None},
        {1: [b"a"], 2: b"r" * 32, 3: b"o" * 16, 4: b"genuine", 5: None},
        {1: [b"a"], 2: b"r" * 32, 3: b"o" * 16, 4: "genuine", 5: "d"},
        {1: [b"b", b"a"], 2: b"r" * 32, 3: b"o" * 16, 4: "genuine", 5: None},
        [1, 2, 3, 4, 5],
        5,
    ],
)
def test_other_documents_are_refused(members: object) -> None:
    with pytest.raises(MalformedEvidence) as refused:
        IdentityDocument.parse(cbor.dumps(members))
    assert refused.value.code == "identity-document"


def test_members_out_of_order_are_refused() -> None:
    swapped = b"\xa5\x02\x58\x20" + b"r" * 32 + b"\x01\x81\x41a" + ENCODED[ENCODED.index(b"\x03\x50") :]
    with pytest.raises(MalformedEvidence):
        IdentityDocument.parse(swapped)


@given(st.integers(0, len(ENCODED) * 8 - 1))
def test_every_bit_counts(bit: int) -> None:
    flipped = bytearray(ENCODED)
    flipped[bit // 8] ^= 1 << bit % 8
    try:
        document = IdentityDocument.parse(bytes(flipped))
    except MalformedEvidence:
        return
    assert document != DOCUMENT
    assert document.encode() == flipped


@given(st.binary(max_size=200))
def test_nothing_but_our_errors(data: bytes) -> None:
    with contextlib.suppress(MalformedEvidence):
        IdentityDocument.parse(data)
