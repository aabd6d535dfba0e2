# SPDX-License-Identifier: Apache-2.0
"""CBOR's diagnostic notation, as far as the drafts' examples use it. For tests alone."""

import re
from base64 import b64decode

from nacre.trust import cbor
from nacre.trust.cbor import Tag

__all__ = ["Unreadable", "encode", "parse"]

_SPACE = re.compile(r"(?:\s+|/[^/]*/|#[^\n]*)*")
_TOKEN = re.compile(
    r"""(?P<hex>h'(?P<digits>[^']*)')|(?P<base64>b64'(?P<letters>[^']*)')|(?P<raw>'(?P<chars>[^']*)')"""
    r"""|(?P<text>"(?:[^"\\]|\\.)*")|(?P<tag>\d+\()|(?P<hexadecimal>-?0x[0-9a-fA-F]+)|(?P<number>-?\d+)|(?P<word>true|false|null)"""
    r"""|(?P<open><<|\{|\[)"""
)
_WORDS = {"true": True, "false": False, "null": None}
_ENDS = {"<<": ">>", "{": "}", "[": "]"}


class Unreadable(ValueError):
    """An elision, a placeholder, or something that the notation does not have."""


def encode(text: str) -> bytes:
    """Write what a diagnostic text says, deterministically."""
    return cbor.dumps(parse(text))


def parse(text: str) -> object:
    """Read one item that fills the text."""
    value, at = _item(text, _skip(text, 0))
    if at != len(text):
        raise Unreadable(text[at : at + 20])
    return value


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _item(text: str, at: int) -> tuple[object, int]:
    found = _TOKEN.match(text, at)
    if found is None:
        raise Unreadable(text[at : at + 20])
    at = _skip(text, found.end())
    if found["open"]:
        return _container(text, at, found["open"])
    if found["tag"]:
        value, at = _item(text, at)
        if text[at : at + 1] != ")":
            raise Unreadable(text[at : at + 20])
        return Tag(int(found["tag"][:-1]), value), _skip(text, at + 1)
    return _atom(found), at


def _atom(found: re.Match[str]) -> object:
    if found["text"]:
        return found["text"][1:-1].replace('\\"', '"').replace("\\n", "\n").replace("\\\\", "\\")
    if found["hex"]:
        return bytes.fromhex(re.sub(r"\s", "", found["digits"]))
    if found["base64"]:
        return b64decode(found["letters"])
    if found["raw"]:
        return found["chars"].encode()
    return _WORDS[found["word"]] if found["word"] else int(found[0], 0)


def _container(text: str, at: int, mark: str) -> tuple[object, int]:
    end = _ENDS[mark]
    items: list[object] = []
    pairs: dict[object, object] = {}
    while not text.startswith(end, at):
        value, at = _item(text, at)
        if mark == "{":
            if text[at : at + 1] != ":":
                raise Unreadable(text[at : at + 20])
            key = value
            value, at = _item(text, _skip(text, at + 1))
            if key in pairs:
                raise Unreadable(key)
            pairs[key] = value
        items.append(value)
        if text[at : at + 1] == ",":
            at = _skip(text, at + 1)
    at = _skip(text, at + len(end))
    if mark == "{":
        return pairs, at
    if mark == "<<":
        return b"".join(map(cbor.dumps, items)), at
    return items, at
