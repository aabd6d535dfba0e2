# SPDX-License-Identifier: Apache-2.0
"""Conceptual message wrappers (CMW): one message or several, with what they are written beside them.

Read in all three forms (record, collection, CBOR tag) and both encodings. Says what is inside and nothing of
its worth.

Source: draft-ietf-rats-msg-wrap; RFC 9277, section 4.3 (tags made of content formats).
"""

from collections.abc import Mapping

import msgspec

from nacre.errors import MalformedEvidence
from nacre.trust import base64url, cbor, json
from nacre.trust.cbor import Tag

__all__ = ["Collection", "Record", "loads", "parse"]

_WHAT = "CMW"
_LIMIT = 4 << 20
_KIND = "__cmwc_t"
_DEPTH = 8
_RECORD_SIZES = (2, 3)
# RFC 9277, section 4.3: content format 0 is this tag.
_FIRST_TAG = 1668546817
_FORMATS = 65025
_INDICATIONS = (1 << 32) - 1


class Record(msgspec.Struct, frozen=True):
    """One message.

    Attributes:
        kind: Its media type, or the number of its CoAP content format.
        value: The message.
        indication: A bit each: 1 reference values, 2 endorsements, 4 evidence, 8 attestation results, 16
            appraisal policy; 0 if it does not say.
    """

    kind: str | int
    value: bytes
    indication: int = 0


class Collection(msgspec.Struct, frozen=True):
    """Several messages.

    Attributes:
        kind: What the collection is, a URI or OID; empty if it does not say.
        members: Label to a message or to another collection.
    """

    kind: str
    members: Mapping[str | int, "Record | Collection"]


def loads(octets: bytes) -> Record | Collection:
    """Read the CBOR form.

    Raises:
        MalformedEvidence: ``cmw-form``, or as ``cbor.loads``.
    """
    return _message(cbor.loads(octets, what=_WHAT, limit=_LIMIT, tags=True), text=False, depth=0)


def parse(document: bytes) -> Record | Collection:
    """Read the JSON form.

    Raises:
        MalformedEvidence: ``cmw-form``, ``base64url``, or as ``json.loads``.
    """
    return _message(json.loads(document, what=_WHAT, limit=_LIMIT), text=True, depth=0)


def _message(value: object, *, text: bool, depth: int) -> Record | Collection:
    if depth > _DEPTH:
        raise _wrong("collections that are less deep", str(depth))
    if isinstance(value, Tag):
        return _tagged(value)
    if isinstance(value, list):
        return _record(value, text=text)
    if not isinstance(value, dict) or not value:
        raise _wrong("a record, a tag or a collection", type(value).__name__)
    kind = value.get(_KIND, "")
    labels = [label for label in value if label != _KIND]
    if not isinstance(kind, str) or not labels or not all(isinstance(label, str | int) for label in labels):
        raise _wrong("a collection with a type of text and members", "others")
    return Collection(kind, {label: _message(value[label], text=text, depth=depth + 1) for label in labels})


def _record(parts: list[object], *, text: bool) -> Record:
    if len(parts) not in _RECORD_SIZES:
        raise _wrong("a record of two or three", str(len(parts)))
    kind, value = parts[:2]
    indication = parts[2] if len(parts) > len(parts[:2]) else 0
    if (
        not isinstance(kind, str | int)
        or isinstance(kind, bool)
        or not isinstance(value, str if text else bytes)
    ):
        raise _wrong("a type and its value", f"{type(kind).__name__}, {type(value).__name__}")
    if not isinstance(indication, int) or isinstance(indication, bool) or not 0 <= indication <= _INDICATIONS:
        raise _wrong("bits that say what it is", type(indication).__name__)
    if len(parts) > len(parts[:2]) and not indication:
        raise _wrong("a bit that says what it is", "0")
    return Record(kind, base64url.decode(value, what=_WHAT) if isinstance(value, str) else value, indication)


def _tagged(tag: Tag) -> Record:
    """Undo how RFC 9277 makes a tag of a content format: 255 of every 256 numbers are used."""
    upper, lower = divmod(tag.number - _FIRST_TAG, 256)
    number = 255 * upper + lower
    if not isinstance(tag.value, bytes) or lower == 255 or not 0 <= number < _FORMATS:  # noqa: PLR2004 (the unused one)
        raise _wrong("a tag made of a content format around bytes", f"tag {tag.number}")
    return Record(number, tag.value)


def _wrong(expected: str, actual: str) -> MalformedEvidence:
    return MalformedEvidence("cmw-form", expected=expected, actual=actual)
