# SPDX-License-Identifier: Apache-2.0
"""Inputs that make readers work hard: as deep, as long, as repetitive as a language allows.

Each is as large as asked for, up to one mebibyte, and comes both bare and inside a frame that readers of
the language open: else it would be refused before the work begins.
"""

import base64
from collections.abc import Callable, Iterator
from typing import NamedTuple

__all__ = ["SIZES", "Awkward", "awkward"]

#: Just below every limit that a reader has, and a mebibyte.
SIZES = (15 << 10, 19 << 10, 31 << 10, 63 << 10, 255 << 10, 1 << 20)

_BYTES = (b"\0", b"\x30", b"\x80", b"\x9f", b"\xff", b"[", b"{", b'"', b".", b"\n", b"-", b"A", b"1", b"\\")


class Awkward(NamedTuple):
    """One input and what is awkward about it."""

    name: str
    data: bytes


def awkward(grammar: str, size: int) -> Iterator[Awkward]:
    """Yield inputs of at most ``size`` bytes for readers of a grammar."""
    for byte in _BYTES:
        yield Awkward(f"{size} times {byte!r}", byte * size)
    for name, data in _GRAMMARS[grammar](size):
        yield Awkward(f"{name}, {len(data)} bytes", data)


_Made = Iterator[tuple[str, bytes]]


def _nothing(_: int) -> _Made:
    return iter(())


# ── DER ──────────────────────────────────────────────────────────────────────────────────────────────


def _element(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def _nested(tag: int, size: int) -> bytes:
    """Nest elements up to ``size``; built from the inside, heads in a list, else it were quadratic."""
    heads: list[bytes] = []
    inside = 0
    while True:
        head = _element(tag, bytes(inside))[: -inside or None] if inside < 0x80 else _head(tag, inside)
        if inside + len(head) > size:
            return b"".join(reversed(heads))
        heads.append(head)
        inside += len(head)


def _head(tag: int, size: int) -> bytes:
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length


_ECDSA = bytes.fromhex("300a06082a8648ce3d040302")
_VALIDITY = _element(0x30, b"\x17\x0d250101000000Z\x17\x0d350101000000Z")
_SIGNATURE = _element(0x03, b"\0" + bytes(70))
_COMMON_NAME = bytes.fromhex("0603550403")


def _name(*attributes: bytes) -> bytes:
    return _element(0x30, b"".join(_element(0x31, attribute) for attribute in attributes))


def _certificate(*, subject: bytes = b"", extensions: bytes = b"", spki: bytes = b"") -> bytes:
    name = _name(_element(0x30, _COMMON_NAME + _element(0x0C, b"name")))
    tbs = b"".join(
        (
            *(b"\xa0\x03\x02\x01\x02", b"\x02\x01\x01", _ECDSA, name, _VALIDITY, subject or name),
            *(spki or _element(0x30, bytes(90)), _element(0xA3, _element(0x30, extensions))),
        )
    )
    return _element(0x30, _element(0x30, tbs) + _ECDSA + _SIGNATURE)


def _extension(oid: bytes, value: bytes = b"\x05\x00", *, critical: bool = False) -> bytes:
    return _element(
        0x30, _element(0x06, oid) + (b"\x01\x01\xff" if critical else b"") + _element(0x04, value)
    )


def _list(entries: bytes, extensions: bytes = b"") -> bytes:
    name = _name(_element(0x30, _COMMON_NAME + _element(0x0C, b"name")))
    number = _extension(bytes.fromhex("551d14"), b"\x02\x01\x01")
    tbs = b"".join(
        (
            *(b"\x02\x01\x01", _ECDSA, name, b"\x17\x0d250101000000Z", b"\x17\x0d350101000000Z"),
            *(_element(0x30, entries), _element(0xA0, _element(0x30, number + extensions))),
        )
    )
    return _element(0x30, _element(0x30, tbs) + _ECDSA + _SIGNATURE)


def _der(size: int) -> _Made:
    room = max(size - 400, 0)
    yield "nested sequences", _nested(0x30, size)
    yield "nested sets", _nested(0x31, size)
    yield "empty elements", _element(0x30, b"\x05\x00" * (room // 2))
    yield "one integer", _element(0x02, b"\x7f" + b"\xff" * room)
    yield "one identifier", _element(0x06, b"\x2a" + b"\xff" * room + b"\x01")
    yield from _certificates(room)
    yield from _lists(room)


def _certificates(room: int) -> _Made:
    endless = b"\x2a" + b"\xff" * (room // 2 - 40) + b"\x01"
    many_arcs = b"\x2a" + b"\x01" * (room // 2 - 40)
    yield "a long identifier twice", _certificate(extensions=_extension(endless) * 2)
    yield "an identifier of many numbers twice", _certificate(extensions=_extension(many_arcs) * 2)
    yield "a long critical identifier", _certificate(extensions=_extension(endless, critical=True))
    few = _extension(b"\x2a\x01", b"")
    yield (
        "many extensions",
        _certificate(
            extensions=b"".join(
                _extension(
                    b"\x2a" + number.to_bytes(3, "big").replace(b"\xff", b"\1").replace(b"\x80", b"\2")
                )
                for number in range(room // (len(few) + 4))
            )
        ),
    )
    attribute = _element(0x30, _COMMON_NAME + _element(0x0C, b"a"))
    yield "many names", _certificate(subject=_name(*(attribute,) * (room // 14)))
    yield (
        "a long name",
        _certificate(subject=_name(_element(0x30, _COMMON_NAME + _element(0x0C, b"a" * room)))),
    )
    yield "empty sets in a name", _certificate(subject=_element(0x30, b"\x31\x00" * (room // 2)))
    yield "nested extension", _certificate(extensions=_extension(b"\x2a\x01", _nested(0x30, room)))
    yield "a long key", _certificate(spki=_element(0x30, bytes(room)))


def _lists(room: int) -> _Made:
    usual = _element(0x30, b"\x02\x01\x01\x17\x0d250101000000Z")
    yield "one serial over and over", _list(usual * (room // len(usual)))

    def entry(number: int) -> bytes:
        moment = b"%02d0%d%02d%02d%02d%02dZ" % (
            *(number // 9 % 100, number % 9 + 1, number % 28 + 1),
            *(number % 24, number // 7 % 60, number // 11 % 60),
        )
        return _element(0x30, _element(0x02, number.to_bytes(4, "big")) + b"\x17\x0d" + moment)

    yield (
        "every entry on another day",
        _list(b"".join(entry(0x01000000 + number) for number in range(room // len(entry(1 << 24))))),
    )
    reasons = b"".join(_extension(bytes((0x2A, number))) for number in range(1, 31))
    laden = _element(0x30, b"\x02\x01\x01\x17\x0d250101000000Z" + _element(0x30, reasons))
    yield "entries with many extensions", _list(laden * (room // len(laden)))
    endless = _extension(b"\x2a" + b"\xff" * (room // 2) + b"\1", critical=True)
    yield "a long critical identifier of the list", _list(usual, endless)
    moment = b"\x17\x0d250101000000Z"
    yield (
        "a long critical identifier in an entry",
        _list(_element(0x30, b"\x02\x01\x01" + moment + _element(0x30, endless))),
    )


# ── PEM ──────────────────────────────────────────────────────────────────────────────────────────────

_BEGIN, _END = b"-----BEGIN CERTIFICATE-----\n", b"-----END CERTIFICATE-----\n"


def _pem(size: int) -> _Made:
    yield "beginnings", _BEGIN * (size // len(_BEGIN))
    yield "endings", _END * (size // len(_END))
    yield "empty certificates", (_BEGIN + _END) * (size // len(_BEGIN + _END))
    room = max(size - len(_BEGIN + _END), 0)
    yield "a character a line", _BEGIN + b"A\n" * (room // 2) + _END
    yield "an empty line a line", _BEGIN + b"\n" * room + _END
    yield "carriage returns", _BEGIN + b"\r" * room + _END
    yield "zeros", _BEGIN + b"AAAA\n" + _END + b"\0" * max(room - 5, 0)
    yield "one long certificate", _BEGIN + base64.encodebytes(_nested(0x30, room * 70 // 100)) + _END
    yield "the longest of everything", (_BEGIN + base64.encodebytes(bytes(room // 15)) + _END) * 10


# ── JSON ─────────────────────────────────────────────────────────────────────────────────────────────


def _json(size: int) -> _Made:
    for name, value in _json_values(max(size - 200, 0)):
        yield name, value
        yield f"{name}, signed", b'{"tcbInfo":%b,"signature":"%b"}' % (value, b"00" * 64)
        yield f"{name}, packed", b'{"format":"nacre-endorsements/v1","documents":%b}' % value


def _json_values(room: int) -> _Made:
    yield "nested arrays", b"[" * (room // 2) + b"]" * (room // 2)
    yield "nested objects", b'{"a":' * (room // 6) + b"0" + b"}" * (room // 6)
    yield "empty arrays", b"[" + b",".join([b"[]"] * (room // 3)) + b"]"
    yield "empty objects", b"[" + b",".join([b"{}"] * (room // 3)) + b"]"
    yield "small objects", b"[" + b",".join([b'{"":0}'] * (room // 7)) + b"]"
    yield "deep as allowed, over and over", b"[" + b",".join([b"[" * 30 + b"]" * 30] * (room // 61)) + b"]"
    yield "one member over and over", b"{" + b",".join([b'"a":0'] * (room // 6)) + b"}"
    yield "many members", b"{" + b",".join(b'"%x":0' % number for number in range(room // 10)) + b"}"
    yield "escapes", b'"' + b"\\\\" * (room // 2) + b'"'
    yield "escaped quotation marks", b'"' + b'\\"' * (room // 2) + b'"'
    yield "code points", b'"' + b"\\u0022" * (room // 6) + b'"'
    yield "brackets in strings", b"[" + b",".join([b'"[[[["'] * (room // 7)) + b"]"
    yield "empty strings", b"[" + b",".join([b'""'] * (room // 3)) + b"]"
    yield "numbers", b"[" + b",".join([b"1.5e9"] * (room // 6)) + b"]"
    yield "one long number", b"1" * room
    yield "one long fraction", b"0." + b"1" * room
    yield "white space", b"[" + b" " * room + b"]"
    level = b'{"tcb":{"isvsvn":1},"tcbDate":"2025-01-01T00:00:00Z","tcbStatus":"UpToDate"}'
    yield "levels", b'{"tcbLevels":[' + b",".join([level] * (room // (len(level) + 1))) + b"]}"


# ── CBOR ─────────────────────────────────────────────────────────────────────────────────────────────


def _string(size: int) -> bytes:
    return b"\x5a" + size.to_bytes(4, "big") if size > 0xFFFF else b"\x59" + size.to_bytes(2, "big")


def _cbor(size: int) -> _Made:
    for name, value in _cbor_values(max(size - 180, 0)):
        yield name, value
        for rules in (0, 5, 7):
            yield f"{name}, rules {rules}", bytes((rules,)) + value
        if len(value) > 0xFF:
            yield f"{name}, in an envelope", _envelope(value)
            yield f"{name}, as a field", _envelope(b"\xbf\x68cabundle" + value + b"\x6bcertificate\x41\0\xff")


def _envelope(payload: bytes) -> bytes:
    return b"\x84\x44\xa1\x01\x38\x22\xa0" + _string(len(payload)) + payload + b"\x58\x60" + bytes(96)


def _cbor_values(room: int) -> _Made:
    most = min(room, 0xFFFF)
    array = b"\x99" + most.to_bytes(2, "big")
    table = b"\xb9" + (most // 4).to_bytes(2, "big")
    yield "nested arrays", b"\x81" * room
    yield "nested open arrays", b"\x9f" * room
    yield "nested maps", b"\xa1\x00" * (room // 2)
    yield "nested tags", b"\xc1" * room
    yield "empty arrays", array + b"\x80" * most
    yield "empty maps", array + b"\xa0" * most
    yield "arrays of arrays", b"\x9f" + (b"\x98\xff" + b"\x80" * 255) * (room // 257) + b"\xff"
    yield "one key over and over", table + b"\x00\x00" * (most // 4)
    yield (
        "many keys",
        table + b"".join(b"\x19%b\x00" % number.to_bytes(2, "big") for number in range(256, 256 + most // 4)),
    )
    yield "open map", b"\xbf" + b"\x00\x00" * (room // 2) + b"\xff"
    yield "more than there is", b"\x9b" + b"\x7f" * 8
    yield "a string longer than all", b"\x5b" + b"\x7f" * 8
    yield "empty strings", array + b"\x40" * most
    yield "one long text", b"\x7a" + room.to_bytes(4, "big") + b"a" * room


# ── TOML ─────────────────────────────────────────────────────────────────────────────────────────────


def _toml(size: int) -> _Made:
    dotted = ".".join(["a"] * 250)
    lines: dict[str, Callable[[int], str]] = {
        "long dotted keys": lambda number: f"{dotted}{number} = 1",
        "long dotted tables": lambda number: f"[{dotted}{number}]",
        "long dotted arrays of tables": lambda number: f"[[{dotted}{number}]]",
        "one array of tables over and over": lambda _: "[[release]]",
        "an array of tables below another": lambda _: "[[release]]\n[[release.tdx]]",
        "dotted keys in inline tables": lambda number: f"a{number} = {{{dotted} = 1}}",
        "many keys": lambda number: f"a{number} = 1",
        "many tables": lambda number: f"[a{number}]",
        "many tables below one": lambda number: f"[a.b.c.d{number}]",
        "comments": lambda _: "#",
        "long comments": lambda _: "# " + "." * 200,
        "strings with dots": lambda number: f'a{number} = "{"." * 200}"',
    }
    for name, line in lines.items():
        made: list[str] = []
        total = 0
        while total < size:
            made.append(line(len(made)))
            total += len(made[-1]) + 1
        yield name, "\n".join(made[:-1]).encode()
    yield from _toml_values(max(size - 100, 0))


def _toml_values(room: int) -> _Made:
    yield "one dotted key", b"a." * (room // 2) + b"a = 1"
    yield "nested arrays", b"a = " + b"[" * (room // 2) + b"]" * (room // 2)
    yield "nested inline tables", b"a = " + b"{a=" * (room // 4) + b"1" + b"}" * (room // 4)
    yield "a long array", b"a = [" + b"1," * (room // 2) + b"]"
    yield "an array of empty arrays", b"a = [" + b"[]," * (room // 3) + b"]"
    yield "an array of inline tables", b"a = [" + b"{}," * (room // 3) + b"]"
    yield "a long number", b"a = " + b"1" * room
    yield "a long hexadecimal number", b"tdx.tcb_grace_days = 0x" + b"f" * room
    yield "a number with underscores", b"a = " + b"1_" * (room // 2) + b"1"
    yield "a long string", b'id = "' + b"a" * room + b'"'
    yield "a string of escapes", b'id = "' + b"\\u0041" * (room // 6) + b'"'
    yield "a string of lines", b'id = """' + b"\\\n" * (room // 2) + b'"""'
    yield "a string without an end", b'id = """' + b'""\\"' * (room // 4)
    yield "many waivers", b"unsafe_waive = [" + b'"binding",' * (room // 10) + b"]"
    yield (
        "many platforms",
        b"platforms = [" + b",".join(b'"a%d"' % number for number in range(room // 10)) + b"]",
    )
    yield "many statuses", b"[tdx]\naccept_tcb_status = [" + b'"OutOfDate",' * (room // 12) + b"]"
    yield "many advisories", b"[tdx]\naccept_advisories = [" + b'"A",' * (room // 4) + b"]"
    yield "many attributes", b"[tdx]\ntd_attributes = [" + b'"PKS",' * (room // 6) + b"]"


# ── Quotes ───────────────────────────────────────────────────────────────────────────────────────────


def _quote(size: int) -> _Made:
    head = (
        bytes.fromhex("0400020081000000 00000000 939a7233f79c4ca9940a0db3957f0607") + bytes(20) + bytes(584)
    )
    for name, chain in (*_pem(max(size - 1500, 0)), ("junk", b"\xff" * max(size - 1500, 0))):
        behind = b"\0\0" + b"\5\0" + len(chain).to_bytes(4, "little") + chain
        certified = bytes(384 + 64) + behind
        authentication = bytes(128) + b"\6\0" + len(certified).to_bytes(4, "little") + certified
        yield f"{name} as its chain", head + len(authentication).to_bytes(4, "little") + authentication
    yield "no length but zeros", head + bytes(max(size - len(head), 0))


_GRAMMARS: dict[str, Callable[[int], _Made]] = {
    "bytes": _nothing,
    "cbor": _cbor,
    "der": _der,
    "json": _json,
    "pem": _pem,
    "quote": _quote,
    "toml": _toml,
}
