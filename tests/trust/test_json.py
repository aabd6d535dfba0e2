# SPDX-License-Identifier: Apache-2.0
"""Strict JSON: what is refused, and that nothing foreign escapes."""

import contextlib
import json as stdlib
import tracemalloc
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nacre.errors import MalformedEvidence
from nacre.trust import json

_LIMIT = 1 << 20

_REFUSED = [
    (b"", "json-invalid"),
    (b"NaN", "json-invalid"),
    (b"-Infinity", "json-invalid"),
    (b"[1,]", "json-invalid"),
    (b"1 2", "json-invalid"),
    (b"{'a':1}", "json-invalid"),
    (b"\xef\xbb\xbf{}", "json-invalid"),
    (b'"\xff"', "json-invalid"),
    (b'"\xed\xa0\x80"', "json-invalid"),
    (b'"\\ud800"', "json-invalid"),
    (b'"\\udc00\\ud800"', "json-invalid"),
    (b'"a\x00b"', "json-invalid"),
    (b"01", "json-invalid"),
    (b"1e999", "json-number"),
    (b"18446744073709551616", "json-number"),
    (b"-9223372036854775809", "json-number"),
    (b"1" * 5000, "json-number"),
    (b'{"a":1,"a":1}', "json-duplicate-key"),
    (b'{"a":1,"\\u0061":2}', "json-duplicate-key"),
    (b'[{"x":{"a":[],"b":{"c":1,"c":2}}}]', "json-duplicate-key"),
    (b'{"":1,"":2}', "json-duplicate-key"),
    (b'{"\\"":1,"\\"":2}', "json-duplicate-key"),
    (b'{"\\\\":1,"\\\\":2}', "json-duplicate-key"),
    (b'{"a":{"b":1},"a":{"c":1,"d":1}}', "json-duplicate-key"),
    (b"[" * 33 + b"]" * 33, "json-depth"),
    (b'{"a":' * 33 + b"0" + b"}" * 33, "json-depth"),
    (b'[{"a":' * 17 + b"0" + b"}]" * 17, "json-depth"),
    (b"[" * 100_000, "json-depth"),
    (b'{"a":' * 100_000, "json-depth"),
    (b" " * (_LIMIT + 1), "too-large"),
]


@pytest.mark.parametrize(("data", "code"), _REFUSED, ids=[repr(data[:24]) for data, _ in _REFUSED])
def test_refuses(data: bytes, code: str) -> None:
    with pytest.raises(MalformedEvidence) as caught:
        json.loads(data, what="the document", limit=_LIMIT)
    assert caught.value.code == code
    assert "the document" in str(caught.value)


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b' {"a" : [1, -2, 3.5, true, false, null, ""]}\r\n', {"a": [1, -2, 3.5, True, False, None, ""]}),
        (b"[18446744073709551615,-9223372036854775808]", [2**64 - 1, -(2**63)]),
        (b'{"a":{"b":1},"b":{"a":1}}', {"a": {"b": 1}, "b": {"a": 1}}),
        (b'["\\"","\\\\","\\\\\\"","\\ud83d\\ude00","\\u0022"]', ['"', "\\", '\\"', "\U0001f600", '"']),
        (b'["[[[","{}","","]"]', ["[[[", "{}", "", "]"]),
        (b'{"\\"":1,"\\\\\\"":2}', {'"': 1, '\\"': 2}),
        (b"[" * 32 + b"]" * 32, None),
        (b'["' + b"[" * 1000 + b'",["]"]]', ["[" * 1000, ["]"]]),
        (b'["' + b"[" * 1000 + b'\\"[","\\\\",["]"]]', ["[" * 1000 + '"[', "\\", ["]"]]),
    ],
)
def test_accepts(data: bytes, value: object) -> None:
    decoded = json.loads(data, what="the document", limit=_LIMIT)
    assert decoded == (stdlib.loads(data) if value is None else value)


def test_names_the_duplicate() -> None:
    with pytest.raises(MalformedEvidence, match='the member "b" twice'):
        json.loads(b'{"a":1,"b":2,"c":[],"\\u0062":3}', what="x", limit=100)


_TEXT = st.text(st.characters(exclude_categories=["Cs"]))
_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(_TEXT, inner),
    max_leaves=20,
)


@given(_VALUES, st.booleans(), st.sampled_from([None, 1]))
def test_agrees_with_the_standard_library(value: object, ascii_only: bool, indent: int | None) -> None:
    data = stdlib.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
    assert json.loads(data, what="x", limit=_LIMIT) == value


@given(
    st.dictionaries(_TEXT, _VALUES, min_size=1),
    st.data(),
    st.booleans(),
)
def test_any_duplicate_is_found(value: dict[str, object], data: st.DataObject, ascii_only: bool) -> None:
    again = data.draw(st.sampled_from(sorted(value)))
    members = [(name, stdlib.dumps(inner)) for name, inner in value.items()]
    members.insert(data.draw(st.integers(0, len(members))), (again, stdlib.dumps(data.draw(_VALUES))))
    text = ",".join(f"{stdlib.dumps(name, ensure_ascii=ascii_only)}:{inner}" for name, inner in members)
    with pytest.raises(MalformedEvidence) as caught:
        json.loads(f'{{"outer":{{{text}}}}}'.encode(), what="x", limit=_LIMIT)
    assert caught.value.code == "json-duplicate-key"
    assert caught.value.context["actual"] == again


@given(st.binary(max_size=200) | st.text('[]{}",:\\u01ae ', max_size=60).map(str.encode))
def test_raises_nothing_else(data: bytes) -> None:
    try:
        value = json.loads(data, what="x", limit=_LIMIT)
    except MalformedEvidence:
        return
    assert value == stdlib.loads(data)


@pytest.mark.parametrize(
    "piece", [b"[", b"{},", b"[],", b'{"a":1},', b'"",', b"1,", b'"[",', b'\\"', b'"a":1,']
)
def test_a_megabyte_is_bounded(piece: bytes) -> None:
    body = (piece * (_LIMIT // len(piece)))[: _LIMIT - 2]
    tracemalloc.start()
    try:
        for data in (b"[" + body.rstrip(b",") + b"]", b"{" + body.rstrip(b",") + b"}", b'["' + body):
            with contextlib.suppress(MalformedEvidence):
                json.loads(data, what="x", limit=_LIMIT)
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()


class _Shape(msgspec.Struct, forbid_unknown_fields=True):
    a: int


def test_decode_gives_a_type() -> None:
    assert json.decode(b'{"a":1}', _Shape, what="x", limit=100) == _Shape(1)
    for data in (b'{"a":"1"}', b'{"a":1,"b":1}', b"{}"):
        with pytest.raises(MalformedEvidence) as caught:
            json.decode(data, _Shape, what="x", limit=100)
        assert caught.value.code == "json-shape"


def _signed(data: bytes) -> json.SignedMember:
    return json.signed_member(data, "tcbInfo", what="TCB Info", limit=_LIMIT)


@pytest.mark.parametrize(
    "data",
    [
        b'{"tcbInfo":{"a": [1]},"signature":"0aFF"}',
        b' {\n"tcbInfo" :\t{"a": [1]} , "signature" : "0aFF" }\r\n',
    ],
)
def test_signed_member(data: bytes) -> None:
    assert _signed(data) == (b'{"a": [1]}', b"\x0a\xff", {"a": [1]})


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "json-signed-form"),
        (b"{}", "json-signed-form"),
        (b"[]", "json-signed-form"),
        (b'{"tcbInfo":{}}', "json-signed-form"),
        (b'{"signature":"00","tcbInfo":{}}', "json-signed-form"),
        (b'{"tcb\\u0049nfo":{},"signature":"00"}', "json-signed-form"),
        (b'{"tcbInfo":{},"s\\u0069gnature":"00"}', "json-invalid"),
        (b'{"tcbInfoX":{},"signature":"00"}', "json-signed-form"),
        (b'{"tcbInfo":{},"signature":""}', "json-signed-form"),
        (b'{"tcbInfo":{},"signature":"0"}', "json-signed-form"),
        (b'{"tcbInfo":{},"signature":"0 00"}', "json-signed-form"),
        (b'{"tcbInfo":{},"signature":"0g"}', "json-signed-form"),
        (b'{"tcbInfo":{},"signature":00}', "json-signed-form"),
        (b'{"tcbInfo":{},"signature" "00"}', "json-invalid"),
        (b'{"tcbInfo":{} "signature":"00"}', "json-invalid"),
        (b'{"tcbInfo" {},"signature":"00"}', "json-signed-form"),
        (b'{"tcbInfo":[],"signature":"00"}', "json-signed-form"),
        (b'{"tcbInfo":"x","signature":"00"}', "json-signed-form"),
        (b'{"tcbInfo":{},"signature":"00"}}', "json-signed-form"),
        (b'{"tcbInfo":{},"signature":"00"} x', "json-signed-form"),
        (b'x{"tcbInfo":{},"signature":"00"}', "json-signed-form"),
        (b'\xa0{"tcbInfo":{},"signature":"00"}', "json-signed-form"),
        (b'{"tcbInfo":,"signature":"00"}', "json-invalid"),
        (b'{"tcbInfo":{},"other":1,"signature":"00"}', "json-invalid"),
        (b'{"tcbInfo":{},"tcbInfo":{},"signature":"00"}', "json-invalid"),
        (b'{"tcbInfo":{},"tcb\\u0049nfo":{},"signature":"00"}', "json-invalid"),
        (b'{"tcbInfo":{},"signature":"11","signature":"00"}', "json-invalid"),
        (b'{"tcbInfo":{},,"signature":"00"}', "json-invalid"),
        (b'{"tcbInfo":{"a":1,"a":2},"signature":"00"}', "json-duplicate-key"),
        (b'{"tcbInfo":{"tcbInfo":{},"signature":"00"}', "json-invalid"),
        (b" " * (_LIMIT + 1), "too-large"),
    ],
)
def test_signed_member_refuses(data: bytes, code: str) -> None:
    with pytest.raises(MalformedEvidence) as caught:
        _signed(data)
    assert caught.value.code == code


@given(st.text('{}":,tcbInfosignature0 \\', max_size=60).map(str.encode))
def test_signed_member_raises_nothing_else(data: bytes) -> None:
    middle = b'{"tcbInfo":' + data + b',"signature":"00"}'
    for candidate in (data, middle, b'{"tcbInfo":{}' + data + b'"00"}'):
        try:
            signed = _signed(candidate)
        except MalformedEvidence:
            continue
        whole = stdlib.loads(candidate)
        assert set(whole) == {"tcbInfo", "signature"}
        assert whole["tcbInfo"] == signed.value == stdlib.loads(signed.raw)
        assert bytes.fromhex(whole["signature"]) == signed.signature


def test_real_documents(vectors: Path) -> None:
    for path in sorted(vectors.glob("tdx/*/tcb_info.json"))[:20]:
        data = path.read_bytes()
        signed = _signed(data)
        assert data.strip() == b'{"tcbInfo":%b,"signature":"%b"}' % (
            signed.raw,
            signed.signature.hex().encode(),
        )
