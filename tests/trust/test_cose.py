# SPDX-License-Identifier: Apache-2.0
"""COSE_Sign1: the forms that are read, and the bytes that are signed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nacre.errors import MalformedEvidence
from nacre.trust import cbor, cose
from nacre.trust.keys import P256_SHA256, raw_signature


def _loads(data: bytes) -> cose.Sign1:
    return cose.loads(data, what="message", limit=1000)


def _message(protected: bytes, unprotected: object = None) -> cose.Sign1:
    return _loads(cbor.dumps([protected, unprotected or {}, b"payload", b"signature"]))


# RFC 9052, appendix C.2.1.
_EXAMPLE = bytes.fromhex(
    "d28443a10126a10442313154546869732069732074686520636f6e74656e742e58408eb33e4ca31d1c465ab05aac34cc6b23"
    "d58fef5c083106c4d25a91aef0b0117e2af9a291aa32e14ab834dc56ed2a223444547e01f11d3b0916e5a4c345cacb36"
)


def test_the_example_of_the_standard() -> None:
    message = _loads(_EXAMPLE)
    assert message.tagged
    assert message.unprotected == 1
    assert message.payload == b"This is the content."
    key = P256_SHA256.point(
        bytes.fromhex(
            "bac5b11cad8f99f9c72b05cf4b9e26d244dc189f745228255a219a86d6a09eff"
            "20138bf82dc1b6d562be0fa54ab7804a3a64b6d72ccfed6b6fb6ed28bbfc117e"
        )
    )
    assert key.holds(raw_signature(message.signature, P256_SHA256), message.signed())


def test_sizes_in_the_signed_bytes_are_minimal() -> None:
    for size in (0, 23, 24, 255, 256, 70000):
        message = cose.Sign1(b"\xa1\x01\x26", 0, bytes(size), b"", tagged=False)
        assert message.signed() == cbor.dumps(["Signature1", b"\xa1\x01\x26", b"", bytes(size)])


def test_what_is_required() -> None:
    _message(b"\xa1\x01\x38\x22").require(cose.ES384, what="message")
    _message(b"\xa1\x01\x26").require(cose.ES256, what="message")


@pytest.mark.parametrize(
    ("protected", "unprotected", "code"),
    [
        (b"\xa1\x01\x26", {}, "cose-algorithm"),
        (b"\xa1\x01\x20", {}, "cose-algorithm"),
        (b"\xa1\x20\x38\x22", {}, "cose-algorithm"),
        (b"\xa0", {}, "cose-algorithm"),
        (b"\x80", {}, "cose-algorithm"),
        (b"", {1: -35}, "cose-header"),
        (b"\xa1\x01\x38\x22", {4: b"kid"}, "cose-header"),
        (b"\xa2\x01\x38\x22\x03\x00", {}, "cose-header"),
        (b"", {}, "truncated"),
        (b"\xa1\x01\x38\x22\x00", {}, "trailing-bytes"),
    ],
)
def test_other_headers(protected: bytes, unprotected: dict[int, object], code: str) -> None:
    with pytest.raises(MalformedEvidence) as caught:
        _message(protected, unprotected).require(cose.ES384, what="message")
    assert caught.value.code == code


@pytest.mark.parametrize(
    "parts",
    [
        b"",
        [],
        {},
        [b"", {}, b""],
        [b"", {}, b"", b"", b""],
        [None, {}, b"", b""],
        [b"", {}, None, b""],
        [b"", {}, b"", None],
        [b"", b"", b"", b""],
        [b"", [], b"", b""],
    ],
)
def test_other_forms(parts: object) -> None:
    for data in (cbor.dumps(parts), b"\xd2" + cbor.dumps(parts)):
        with pytest.raises(MalformedEvidence) as caught:
            _loads(data)
        assert caught.value.code == "cose-form"


def test_other_tags() -> None:
    body = cbor.dumps([b"", {}, b"", b""])
    assert _loads(b"\xd2" + body).tagged
    assert not _loads(body).tagged
    for data in (b"\xd1" + body, b"\xd8\x62" + body, b"\xd2\xd2" + body, b"\xd2"):
        with pytest.raises(MalformedEvidence):
            _loads(data)


def test_size_and_end() -> None:
    body = cbor.dumps([b"", {}, bytes(2000), b""])
    with pytest.raises(MalformedEvidence) as caught:
        _loads(body)
    assert caught.value.code == "too-large"
    with pytest.raises(MalformedEvidence) as caught:
        _loads(cbor.dumps([b"", {}, b"", b""]) + b"\0")
    assert caught.value.code == "trailing-bytes"


@given(st.binary(max_size=60))
def test_raises_nothing_else(data: bytes) -> None:
    for candidate in (data, b"\x84" + data, b"\x84\x43" + data):
        try:
            message = _loads(candidate)
            message.require(cose.ES384, what="message")
        except MalformedEvidence:
            continue
        assert message.protected == b"\xa1\x01\x38\x22"
