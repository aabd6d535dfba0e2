# SPDX-License-Identifier: Apache-2.0
"""Distinguished names, as far as somebody has to read them; who only compares them compares their DER."""

import functools

from nacre.errors import MalformedEvidence
from nacre.trust import oids
from nacre.trust.der import OID, SEQUENCE, SET, element, finish, tagged, whole

__all__ = ["common_name_of"]

# UTF8String, PrintableString, TeletexString, IA5String.
_TEXT_ENCODINGS = {0x0C: "utf-8", 0x13: "ascii", 0x14: "latin-1", 0x16: "ascii"}


@functools.lru_cache(maxsize=128)
def common_name_of(name: bytes) -> str:
    """Return the common name of a Name, DER; empty unless it is well-formed and has exactly one."""
    try:
        names = _texts(name, oids.COMMON_NAME)
    except (MalformedEvidence, UnicodeDecodeError):
        return ""
    return names[0] if len(names) == 1 else ""


def _texts(name: bytes, oid: bytes) -> list[str]:
    """Read a Name; the texts of its attributes of one type."""
    found = []
    at, end = whole(name, SEQUENCE)
    while at != end:
        at, last = element(name, at, end, SET)
        while at != last:
            at, stop = element(name, at, last, SEQUENCE)
            start, at = element(name, at, stop, OID)
            kind = name[start:at]
            tag, start, at = tagged(name, at, stop)
            finish(at, stop)
            if kind == oid:
                if tag not in _TEXT_ENCODINGS:
                    raise MalformedEvidence(
                        "der-tag", what="name", expected="that of a text", actual=f"{tag:02x}", offset=start
                    )
                found.append(name[start:at].decode(_TEXT_ENCODINGS[tag]))
    return found
