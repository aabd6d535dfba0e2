# SPDX-License-Identifier: Apache-2.0
"""The certificate table that a host hands to an SNP guest beside the report.

A table is entries of 24 bytes: a GUID in the byte order of RFC 4122, then offset (from the table's first
byte) and length of what it names, both 32 bits little-endian. An entry of zero bytes ends it; the contents
follow. Nothing in it is signed as a table: the host can put into it what it likes, so its certificates are
no more than offers, and its ARK is never an anchor.

The specification has DER; the one table of a real host that is public has PEM, so both are read.

Source: AMD, SEV-ES Guest-Hypervisor Communication Block Standardization (56421), 2.03, 4.1.8.1; GUIDs beyond
it as in google/go-sev-guest (``abi``).
"""

from collections.abc import Mapping
from struct import Struct
from typing import Final

from nacre.errors import MalformedEvidence
from nacre.trust import pem

__all__ = ["MAX_ENTRIES", "MAX_TABLE", "parse_table", "table_entries"]

#: Larger tables are not read. Linux gives a guest at most 16 KiB.
MAX_TABLE: Final = 64 << 10
#: More entries are not read. Seven kinds are known.
MAX_ENTRIES: Final = 16

_WHAT = "certificate table"
_ENTRY = Struct("<16sII")
_END = bytes(16)

_VCEK = bytes.fromhex("63da758de6644564adc5f4b93be8accd")
_VLEK = bytes.fromhex("a8074bc2a25a483eaae639c045a0b8a1")
_CRL = "crl"
_NAMES: Mapping[bytes, str] = {
    _VCEK: "vcek",
    _VLEK: "vlek",
    bytes.fromhex("4ab7b379bbac4fe4a02f05aef327c782"): "ask",
    bytes.fromhex("c0b406a4a803495297433fb6014cd0ae"): "ark",
    bytes.fromhex("92f81bc358114d3d97ffd19f88dc67ea"): _CRL,
    bytes.fromhex("ecae0c0f950243b1afa20ae2e0d565b6"): "platform-info",
}
#: The roles of endorsements that a table can stand in for; its VCEK or VLEK is the role ``vek``.
_ROLES = frozenset({"ask", "ark", _CRL})


def parse_table(data: bytes, *, vlek: bool = False) -> Mapping[str, bytes]:
    """Read a table into endorsement roles.

    Args:
        data: The table and, after it, zero bytes at most.
        vlek: Which of the two the role ``vek`` is if the host gives both kinds: the one that the report
            says it is signed with.

    Returns:
        Role (``vek``, ``ask``, ``ark``, ``crl``) to content; certificates are DER, whatever the host wrote.

    Raises:
        MalformedEvidence: ``truncated``, ``too-large``, ``too-many`` or ``ghcb-…``; and what is wrong with
            an entry in PEM.
    """
    found = {name: content for name, _, content in table_entries(data)}
    first, second = ("vlek", "vcek") if vlek else ("vcek", "vlek")
    vek = found.get(first, found.get(second))
    roles = {role: content for role, content in found.items() if role in _ROLES}
    return {**roles, "vek": vek} if vek is not None else roles


def table_entries(data: bytes) -> tuple[tuple[str, int, bytes], ...]:
    """Read a table into name, offset and content of each entry, in the table's order.

    Names are ``vcek``, ``vlek``, ``ask``, ``ark``, ``crl``, ``platform-info``, or the GUID where it is none
    of these; what that is stays the host's secret.

    Raises:
        MalformedEvidence: As ``parse_table``.
    """
    if len(data) > MAX_TABLE:
        raise MalformedEvidence("too-large", what=_WHAT, expected=MAX_TABLE, actual=len(data))
    entries, header = _entries(data)
    # In the order in which contents lie, an entry can only overlap the one before it.
    covered = header
    for name, offset, length in sorted(entries, key=lambda entry: entry[1]):
        if offset < covered:
            raise MalformedEvidence("ghcb-overlap", what=name, actual=offset, expected=covered)
        if length == 0 or length > len(data) - offset:
            raise MalformedEvidence("ghcb-length", what=name, actual=length, expected=len(data) - offset)
        _insist_on_zeros(data, covered, offset)
        covered = offset + length
    _insist_on_zeros(data, covered, len(data))
    return tuple([(name, at, _content(name, data[at : at + size])) for name, at, size in entries])


def _entries(data: bytes) -> tuple[list[tuple[str, int, int]], int]:
    """Read the entries up to the one that ends them, and say where that ends."""
    entries: list[tuple[str, int, int]] = []
    offset = 0
    while True:
        if len(data) - offset < _ENTRY.size:
            raise MalformedEvidence(
                "truncated", what=_WHAT, expected=_ENTRY.size, actual=len(data) - offset, offset=offset
            )
        guid, start, length = _ENTRY.unpack_from(data, offset)
        offset += _ENTRY.size
        if guid == _END:
            _insist_on_zeros(data, offset - _ENTRY.size, offset)
            return entries, offset
        name = _NAMES.get(guid) or _text(guid)
        if len(entries) == MAX_ENTRIES:
            raise MalformedEvidence("too-many", what=_WHAT, expected=MAX_ENTRIES, actual=MAX_ENTRIES + 1)
        if any(name == other for other, _, _ in entries):
            raise MalformedEvidence("ghcb-twice", what=name)
        entries.append((name, start, length))


def _insist_on_zeros(data: bytes, start: int, end: int) -> None:
    between = data[start:end]
    if between.strip(b"\0"):
        offset = start + len(between) - len(between.lstrip(b"\0"))
        raise MalformedEvidence("ghcb-stray", offset=offset, actual=data[offset : offset + 8])


def _content(name: str, content: bytes) -> bytes:
    """Return what an entry holds; a certificate as DER."""
    if name not in ("vcek", "vlek", "ask", "ark") or not content.startswith(b"-----BEGIN"):
        return content
    certificates = pem.certificates(content)
    if len(certificates) > 1:
        raise MalformedEvidence("too-many", what=name, expected=1, actual=len(certificates))
    return certificates[0]


def _text(guid: bytes) -> str:
    text = guid.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
