# SPDX-License-Identifier: Apache-2.0
"""CBOR diagnostic notation, as much of it as the drafts' examples use, into CBOR.

Source: RFC 8949, 8; RFC 8610, appendix G (comments, white space in byte strings).
"""

import re

from nacre.trust import cbor

_TOKEN = re.compile(
    r"""\s+|/[^/]*/|h'(?P<hex>[^']*)'|"(?P<text>[^"]*)"|(?P<tag>\d+)\(|(?P<number>-?\d+)"""
    r"""|(?P<word>true|false|null)|(?P<mark>[{}\[\]():,])""",
)
_WORDS = {"true": b"\xf5", "false": b"\xf4", "null": b"\xf6"}


def encode(text: str) -> bytes:
    """Encode one item, keys in their order."""
    tokens = list(_tokens(text))
    tokens.reverse()
    item = _item(tokens)
    assert not tokens, tokens[-3:]
    return item


def _tokens(text: str) -> list[tuple[str, str]]:
    found, at = [], 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        assert match, text[at : at + 40]
        at = match.end()
        if match.lastgroup:
            found.append((match.lastgroup, match[match.lastgroup]))
    return found


def _item(tokens: list[tuple[str, str]]) -> bytes:
    kind, value = tokens.pop()
    if kind == "hex":
        return cbor.dumps(bytes.fromhex("".join(value.split())))
    if kind == "text":
        return cbor.dumps(value)
    if kind == "number":
        return cbor.dumps(int(value))
    if kind == "word":
        return _WORDS[value]
    if kind == "tag":
        inner = _item(tokens)
        assert tokens.pop() == ("mark", ")")
        return _head(6, int(value)) + inner
    assert kind == "mark"
    closing, size = {"{": ("}", 2), "[": ("]", 1)}[value]
    items = []
    while tokens[-1] != ("mark", closing):
        if tokens[-1][1] in ",:" and tokens[-1][0] == "mark":
            tokens.pop()
            continue
        items.append(_item(tokens))
    tokens.pop()
    return _head(5 if size == 2 else 4, len(items) // size) + b"".join(items)


def _head(major: int, argument: int) -> bytes:
    number = cbor.dumps(argument)
    return bytes((number[0] | major << 5,)) + number[1:]
