# SPDX-License-Identifier: Apache-2.0
"""Strict JSON: one document, one meaning.

msgspec's decoder already refuses what RFC 8259 does not allow: NaN, lone surrogates, a byte order mark,
text after the end. This module adds what it lets pass: two members with one name, numbers beyond 64
bits, deep nesting and size.

Duplicates are found without a callback for each object. Every string of a document has two quotation
marks; of two members with one name a decoder keeps one, so encoding what was decoded gives fewer
quotation marks than the document had (escapes, which could hide or add some, are taken out first).

Source: RFC 8259, sections 4 and 9; RFC 8725, section 2.4 (why duplicates matter).
"""

from typing import NamedTuple, NoReturn, TypeVar

import msgspec

from nacre.errors import MalformedEvidence

__all__ = [
    "MAX_DEPTH",
    "SignedMember",
    "convert",
    "decode",
    "decode_known",
    "loads",
    "signed_member",
    "signed_parts",
]

#: Objects and arrays inside each other.
MAX_DEPTH = 32

_Shape = TypeVar("_Shape")

_SPACE = b" \t\n\r"
# Keeps quotation marks and brackets only, with one kind of bracket: enough to tell depth.
_BRACKETS = bytes.maketrans(b"{}", b"[]")
_NOT_STRUCTURE = bytes(byte for byte in range(256) if byte not in b'"{}[]')


class SignedMember(NamedTuple):
    """A document that consists of one value and a signature over its bytes.

    Attributes:
        raw: The value exactly as served: what the signature covers.
        signature: The signature, decoded from hex.
        value: What ``raw`` says.
    """

    raw: bytes
    signature: bytes
    value: dict[str, object]


def loads(data: bytes, *, what: str, limit: int) -> object:
    """Decode a JSON document.

    Args:
        data: The document, UTF-8.
        what: What errors call it.
        limit: The most bytes it may have.

    Returns:
        Dictionaries, lists, strings, integers of at most 64 bits, finite floats, booleans and None.

    Raises:
        MalformedEvidence: ``too-large``, ``json-invalid``, ``json-depth``, ``json-number`` or
            ``json-duplicate-key``.
    """
    if len(data) > limit:
        raise MalformedEvidence("too-large", what=what, expected=limit, actual=len(data))
    try:
        value = msgspec.json.decode(data)
        again = msgspec.json.encode(value)
        msgspec.msgpack.encode(value)  # has no integers beyond 64 bits, so it refuses them for us
    except RecursionError:
        raise MalformedEvidence("json-depth", what=what, expected=MAX_DEPTH) from None
    except OverflowError:
        raise MalformedEvidence("json-number", what=what, detail="integer beyond 64 bits") from None
    except msgspec.ValidationError as error:
        raise MalformedEvidence("json-number", what=what, detail=str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedEvidence("json-invalid", what=what, detail=str(error)) from None
    structure = _unescaped(data).translate(_BRACKETS, _NOT_STRUCTURE)
    if not _shallow(structure):
        raise MalformedEvidence("json-depth", what=what, expected=MAX_DEPTH)
    if structure.count(b'"') != _unescaped(again).count(b'"'):
        _duplicate(data, what)
    return value


def decode(data: bytes, shape: type[_Shape], *, what: str, limit: int) -> _Shape:
    """Decode a JSON document into a type; the same as ``loads``, then the type's own checks.

    Raises:
        MalformedEvidence: As ``loads``, or ``json-shape`` if it is not what the type asks for.
    """
    return convert(loads(data, what=what, limit=limit), shape, what=what)


def decode_known(data: bytes, decoder: "msgspec.json.Decoder[_Shape]") -> _Shape | None:
    """Decode a document straight into a type, if it has nothing but what the type names.

    The fast way for documents of known form: no value is made twice. What is lost by it (a member that is
    there twice, one that the type does not name, one that states its own default) leaves fewer quotation
    marks when what was decoded is encoded again, and nothing adds any. The type has to omit defaults, and to
    bound its numbers.

    Returns:
        The value, or None: then ``loads`` has to look, and to say what is wrong if something is.
    """
    if b"\\" in data:
        return None
    try:
        value = decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return value if _encode(value).count(b'"') == data.count(b'"') else None


_encode = msgspec.json.Encoder().encode


def convert(value: object, shape: type[_Shape], *, what: str) -> _Shape:
    """Give a decoded value a type.

    Raises:
        MalformedEvidence: ``json-shape`` if it is not what the type asks for.
    """
    try:
        return msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        raise MalformedEvidence("json-shape", what=what, detail=str(error)) from None


def signed_member(data: bytes, member: str, *, what: str, limit: int) -> SignedMember:
    """Decode ``{"<member>":<object>,"signature":"<hex>"}``: these two members, so spelled, in this order.

    The signature covers the bytes of the object as they were served, so those are what it returns,
    never a serialisation of what was decoded. White space is allowed where JSON allows it; it does not
    belong to the object.

    Raises:
        MalformedEvidence: As ``loads``, or ``json-signed-form`` if it has another form.
    """
    raw, signature = signed_parts(data, member, what=what, limit=limit)
    # If what lies between is one JSON value by itself, the two members are all there is.
    value = loads(raw, what=what, limit=limit)
    if not isinstance(value, dict):
        raise MalformedEvidence("json-signed-form", what=what, expected=member)
    return SignedMember(raw, signature, value)


def signed_parts(data: bytes, member: str, *, what: str, limit: int) -> tuple[bytes, bytes]:
    """Take such a document apart: the bytes of the object, which are still to be decoded, and the signature.

    Raises:
        MalformedEvidence: ``too-large`` or ``json-signed-form``.
    """
    if len(data) > limit:
        raise MalformedEvidence("too-large", what=what, expected=limit, actual=len(data))
    raw, signature = _split(data.strip(_SPACE), f'"{member}"'.encode())
    if not signature:
        raise MalformedEvidence("json-signed-form", what=what, expected=member)
    return raw, signature


def _split(text: bytes, name: bytes) -> tuple[bytes, bytes]:
    """Split into value and signature; both are empty if the form is another."""
    front = text[1:].lstrip(_SPACE)
    if text[:1] != b"{" or text[-1:] != b"}" or not front.startswith(name):
        return b"", b""
    front = front[len(name) :].lstrip(_SPACE)
    body = front[1:-1].strip(_SPACE)
    head, _, digits = body[:-1].rpartition(b'"')
    head = _without(_without(_without(head, b":"), b'"signature"'), b",")
    if front[:1] != b":" or body[-1:] != b'"' or digits.strip(b"0123456789abcdefABCDEF") or len(digits) % 2:
        return b"", b""
    return head, bytes.fromhex(digits.decode("ascii"))


def _without(text: bytes, end: bytes) -> bytes:
    text = text.rstrip(_SPACE)
    return text.removesuffix(end).rstrip(_SPACE) if text.endswith(end) else b""


def _unescaped(text: bytes) -> bytes:
    """Take escaped backslashes and quotation marks out of valid JSON; what is left delimits strings."""
    if b"\\" not in text:
        return text
    return text.replace(b"\\\\", b"").replace(b'\\"', b"")


def _shallow(structure: bytes) -> bool:
    # Removing two adjacent quotation marks never changes what is inside a string and what outside.
    structure = structure.replace(b'""', b"")
    if b'"' in structure:
        structure = b"".join(structure.split(b'"')[::2])
    for _ in range(MAX_DEPTH):  # each pass takes off exactly the innermost level
        if not structure:
            return True
        structure = structure.replace(b"[]", b"")
    return not structure


def _duplicate(data: bytes, what: str) -> NoReturn:
    """Name the member that occurs twice; slow, for the error only."""
    import json  # noqa: PLC0415 (slow to import, rarely needed)

    found: list[str] = []

    def look(pairs: list[tuple[str, object]]) -> None:
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                found.append(name)
            seen.add(name)

    json.loads(data, object_pairs_hook=look)
    raise MalformedEvidence("json-duplicate-key", what=what, actual=found[0])
