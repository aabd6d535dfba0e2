# SPDX-License-Identifier: Apache-2.0
"""Strict DER: the one encoding of each value, and no other."""

import calendar
import contextlib
import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.trust import forge

from nacre.errors import MalformedEvidence
from nacre.trust import der, oids


def refusal(call: object, *arguments: object) -> str:
    """Call something that has to refuse its input, and return the code."""
    assert callable(call)
    with pytest.raises(MalformedEvidence) as caught:
        call(*arguments)
    assert "?" not in str(caught.value)
    return caught.value.code


@pytest.mark.parametrize("size", [0, 1, 127, 128, 255, 256, 65535, 65536])
def test_minimal_lengths_are_read(size: int) -> None:
    data = forge.tlv(0x30, bytes(size))
    assert der.whole(data, der.SEQUENCE) == (len(data) - size, len(data))


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(b"", "truncated", id="nothing"),
        pytest.param(b"\x30", "truncated", id="no length"),
        pytest.param(b"\x30\x01", "truncated", id="no content"),
        pytest.param(b"\x30\x81", "truncated", id="no long length"),
        pytest.param(b"\x30\x82\x01", "truncated", id="half a long length"),
        pytest.param(b"\x30\x82\x01\x00" + bytes(255), "truncated", id="one byte short"),
        pytest.param(b"\x30\x80\x00\x00", "der-length", id="indefinite"),
        pytest.param(b"\x30\x81\x7f" + bytes(127), "der-length", id="long form for a short length"),
        pytest.param(b"\x30\x82\x00\x80" + bytes(128), "der-length", id="leading zero, two bytes"),
        pytest.param(b"\x30\x83\x00\x01\x00" + bytes(256), "der-length", id="leading zero, three bytes"),
        pytest.param(b"\x30\x84\x01\x00\x00\x00", "der-length", id="four bytes"),
        pytest.param(b"\x30\xff", "der-length", id="reserved"),
        pytest.param(b"\x31\x00", "der-tag", id="another tag"),
        pytest.param(b"\x30\x00\x00", "trailing-bytes", id="one byte after"),
    ],
)
def test_other_lengths_are_refused(data: bytes, code: str) -> None:
    assert refusal(der.whole, data, der.SEQUENCE) == code


def test_an_element_stays_inside_its_parent() -> None:
    data = b"\x02\x02\x01\x01\x02\x01\x05"
    assert der.element(data, 0, 4, der.INTEGER) == (2, 4)
    for end in range(4):
        assert refusal(der.element, data, 0, end, der.INTEGER) == "truncated"
        assert refusal(der.tagged, data, 0, end) == "truncated"
    assert refusal(der.element, data, 4, 4, der.INTEGER) == "truncated"
    assert refusal(der.finish, 4, 7) == "trailing-bytes"


def test_tags_of_several_bytes_are_refused() -> None:
    assert der.tagged(b"\x85\x01\x00", 0, 3) == (0x85, 2, 3)
    for tag in (0x1F, 0x3F, 0x9F, 0xBF, 0xFF):
        assert refusal(der.tagged, bytes((tag, 0x01, 0x00)), 0, 3) == "der-tag"


@given(st.integers(-(1 << 80), 1 << 80))
def test_integers_come_back(value: int) -> None:
    content = forge.number(value)[2:]
    assert der.integer(content, 0, len(content)) == value
    if value < 0:
        assert refusal(der.unsigned, content, 0, len(content)) == "der-value"
    else:
        assert der.unsigned(content, 0, len(content)) == value


@pytest.mark.parametrize("content", [b"", b"\0\0", b"\0\x7f", b"\xff\x80", b"\xff\xff"])
def test_padded_integers_are_refused(content: bytes) -> None:
    assert refusal(der.integer, content, 0, len(content)) == "der-value"


def test_booleans_are_00_or_ff() -> None:
    assert der.boolean(b"\xff", 0, 1) is True
    assert der.boolean(b"\x00", 0, 1) is False
    for content in (b"", b"\x01", b"\xfe", b"\xff\xff", b"\0\0"):
        assert refusal(der.boolean, content, 0, len(content)) == "der-value"


def test_bit_strings_are_whole_bytes() -> None:
    assert der.bits(b"\0ab", 0, 3) == b"ab"
    assert der.bits(b"\0", 0, 1) == b""
    for content in (b"", b"\x01\x80", b"\x08a"):
        assert refusal(der.bits, content, 0, len(content)) == "der-value"


@pytest.mark.parametrize(
    ("tag", "text", "civil"),
    [
        (0x17, b"700101000000Z", (1970, 1, 1, 0, 0, 0)),
        (0x17, b"500101000000Z", (1950, 1, 1, 0, 0, 0)),
        (0x17, b"491231235959Z", (2049, 12, 31, 23, 59, 59)),
        (0x17, b"000229120000Z", (2000, 2, 29, 12, 0, 0)),
        (0x17, b"240229000000Z", (2024, 2, 29, 0, 0, 0)),
        (0x17, b"240301000000Z", (2024, 3, 1, 0, 0, 0)),
        (0x18, b"20500101000000Z", (2050, 1, 1, 0, 0, 0)),
        (0x18, b"20491028142805Z", (2049, 10, 28, 14, 28, 5)),
        (0x18, b"99991231235959Z", (9999, 12, 31, 23, 59, 59)),
        (0x18, b"21000228235959Z", (2100, 2, 28, 23, 59, 59)),
    ],
)
def test_times(tag: int, text: bytes, civil: tuple[int, ...]) -> None:
    data = forge.tlv(tag, text)
    assert der.seconds(data, 0, len(data)) == (calendar.timegm(civil), len(data))


@given(st.datetimes())
def test_times_agree_with_the_calendar(moment: dt.datetime) -> None:
    moment = moment.replace(microsecond=0, tzinfo=dt.UTC)
    text = f"{moment:%m%d%H%M%SZ}"
    data = forge.tlv(0x18, f"{moment.year:04}{text}".encode())
    assert der.seconds(data, 0, 17)[0] == int(moment.timestamp())
    if 1950 <= moment.year < 2050:
        data = forge.tlv(0x17, f"{moment.year % 100:02}{text}".encode())
        assert der.seconds(data, 0, 15)[0] == int(moment.timestamp())


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (forge.utc(b"230229000000Z"), "der-value"),
        (forge.utc(b"230001000000Z"), "der-value"),
        (forge.utc(b"231301000000Z"), "der-value"),
        (forge.utc(b"230100000000Z"), "der-value"),
        (forge.utc(b"230132000000Z"), "der-value"),
        (forge.utc(b"230431000000Z"), "der-value"),
        (forge.utc(b"230101240000Z"), "der-value"),
        (forge.utc(b"230101006000Z"), "der-value"),
        (forge.utc(b"230101000060Z"), "der-value"),
        (forge.utc(b"2301010000 0Z"), "der-value"),
        (forge.utc(b"2x0101000000Z"), "der-value"),
        (forge.utc(b"+30101000000Z"), "der-value"),
        (forge.utc(b"\xb2301010000000"), "der-value"),
        (forge.utc(b"230101000000+"), "der-value"),
        (forge.tlv(0x18, b"20230229000000Z"), "der-value"),
        (forge.tlv(0x18, b"21000229000000Z"), "der-value"),
        (forge.tlv(0x18, b"00000101000000Z"), "der-value"),
        (forge.tlv(0x18, b"-0010101000000Z"), "der-value"),
        (forge.utc(b"2301010000Z"), "der-tag"),  # no seconds
        (forge.utc(b"2301010000Z") + b"  ", "der-value"),
        (forge.utc(b"230101000000+0000"), "der-value"),
        (forge.tlv(0x18, b"20230101000000.5Z"), "der-value"),
        (b"\x17\x81\x0d230101000000Z", "der-value"),
        (b"\x18\x0d230101000000Z", "der-tag"),
        (b"\x19\x0d230101000000Z", "der-tag"),
        (b"\x17", "der-tag"),
        (b"", "der-tag"),
    ],
)
def test_other_times_are_refused(data: bytes, code: str) -> None:
    assert refusal(der.seconds, data, 0, len(data)) == code


def test_a_time_stays_inside_its_parent() -> None:
    data = forge.utc(b"230101000000Z") + b"  "
    assert refusal(der.seconds, data, 0, 14) == "truncated"


def test_errors_get_the_name_of_what_was_read() -> None:
    with pytest.raises(MalformedEvidence) as caught:
        der.whole(b"\x31\0", der.SEQUENCE)
    assert str(der.naming(caught.value, "certificate")).startswith("certificate ")


@given(st.binary(max_size=64), st.integers(0, 70), st.integers(0, 70))
def test_only_our_errors(data: bytes, at: int, end: int) -> None:
    end = min(end, len(data))
    for call in (
        lambda: der.whole(data, der.SEQUENCE),
        lambda: der.tagged(data, at, end),
        lambda: der.seconds(data, at, end),
    ):
        with contextlib.suppress(MalformedEvidence):
            call()


@given(st.binary(max_size=40))
def test_what_is_read_is_the_only_encoding(data: bytes) -> None:
    with contextlib.suppress(MalformedEvidence):
        tag, start, stop = der.tagged(data, 0, len(data))
        assert forge.tlv(tag, data[start:stop]) == data[:stop]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (oids.COMMON_NAME, "2.5.4.3"),
        (oids.ECDSA_SHA256, "1.2.840.10045.4.3.2"),
        (oids.ECDSA_SHA384, "1.2.840.10045.4.3.3"),
        (oids.BASIC_CONSTRAINTS, "2.5.29.19"),
        (bytes.fromhex("2a864886f84d010d01"), "1.2.840.113741.1.13.1"),
        (bytes.fromhex("883703"), "2.999.3"),
        (bytes.fromhex("00"), "0.0"),
        (b"", ""),
        (bytes.fromhex("2a86"), "2a86"),
    ],
)
def test_identifiers_for_people(content: bytes, text: str) -> None:
    assert oids.dotted(content) == text
