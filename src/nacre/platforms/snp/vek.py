# SPDX-License-Identifier: Apache-2.0
"""The certificates of the keys that sign reports: VCEK, of one chip, and VLEK, of a cloud's machines.

Both hold for one TCB, whose levels are in their extensions. Source: AMD, Versioned Chip Endorsement Key
(VCEK) Certificate and KDS Interface Specification (57230), 3.1; VLEK likewise (58369).

Not proven here:
    A VLEK of Genoa or Turin: no such certificate is public, so the tests make their own.
"""

from typing import Final

import msgspec

from nacre.errors import MalformedEvidence
from nacre.platforms.snp.products import LINES, Product, Tcb
from nacre.trust.der import INTEGER, naming, unsigned, whole
from nacre.trust.x509 import Certificate

__all__ = ["COMMON_NAMES", "KINDS", "VekExtension", "parse_extension"]

#: What SIGNING_KEY in a report says, and the kind of key that it means.
KINDS: Final = {0: "vcek", 1: "vlek"}
#: The common name of a certificate of each kind.
COMMON_NAMES: Final = {"vcek": "SEV-VCEK", "vlek": "SEV-VLEK"}

_AMD = bytes.fromhex("2b060104019c78")  # 1.3.6.1.4.1.3704
_BASE = _AMD + b"\x01"
_STRUCT_VERSION = _BASE + b"\x01"
_PRODUCT = _BASE + b"\x02"
_HWID = _BASE + b"\x04"
_CSP = _BASE + b"\x05"
_LEVELS = {
    "fmc": _BASE + b"\x03\x09",
    "bootloader": _BASE + b"\x03\x01",
    "tee": _BASE + b"\x03\x02",
    "snp": _BASE + b"\x03\x03",
    "microcode": _BASE + b"\x03\x08",
}
_RESERVED_LEVELS = tuple(_BASE + bytes((3, index)) for index in (4, 5, 6, 7))
_IA5_STRING = 0x16
_LARGEST_LEVEL = 255
_LONGEST_TEXT = 256


class VekExtension(msgspec.Struct, frozen=True):
    """What AMD certified about a key.

    Attributes:
        name: The product as the certificate calls it: a line, perhaps with a stepping.
        tcb: The TCB that the key is derived for, as TCB_VERSION, 8 bytes.
        hwid: The chip, VCEK only.
        csp: The provider whose machines share the key, VLEK only.
    """

    name: str
    tcb: bytes
    hwid: bytes | None
    csp: str | None


def parse_extension(certificate: Certificate, product: Product, kind: str) -> VekExtension:
    """Read the extensions of a VCEK or VLEK of a product line.

    Args:
        certificate: The certificate.
        product: Its line, as the authority above says.
        kind: ``vcek`` or ``vlek``, likewise.

    Raises:
        MalformedEvidence: ``vek-extension-missing`` or ``vek-extension``, if one is not what this kind of key
            of this product line has to have.
    """
    version = _number(certificate, _STRUCT_VERSION, "structVersion")
    if version != product.struct_version:
        raise _bad("structVersion", expected=product.struct_version, actual=version)
    levels: list[int | None] = []
    for (name, oid), place in zip(_LEVELS.items(), product.places, strict=True):
        if place is None:
            if oid in certificate.extensions:
                raise _bad(name, expected="no such extension", actual=certificate.extensions[oid][1])
            levels.append(None)
        else:
            levels.append(_number(certificate, oid, f"level of {name}"))
    for oid in _RESERVED_LEVELS:
        if oid in certificate.extensions and _number(certificate, oid, "reserved level"):
            raise _bad("reserved level", expected=0, actual=certificate.extensions[oid][1])
    return VekExtension(
        _name(certificate, product),
        product.version(Tcb(*levels)),  # type: ignore[arg-type]  # only the first level is ever None
        _hwid(certificate, product, kind),
        _csp(certificate, kind),
    )


def _name(certificate: Certificate, product: Product) -> str:
    """Read the line, perhaps with a stepping (Milan-B0), or another name for chips of it (Siena)."""
    name = _text(certificate, _PRODUCT, "productName")
    if name.partition("-")[0] in LINES - {product.name}:
        raise _bad("productName", expected=product.name, actual=name)
    return name


def _hwid(certificate: Certificate, product: Product, kind: str) -> bytes | None:
    if kind == "vlek":
        _refuse(certificate, _HWID, "hwID")
        return None
    hwid = _value(certificate, _HWID, "hwID")  # raw, no DER
    if len(hwid) != product.hwid_size or not any(hwid):
        raise _bad("hwID", expected=f"{product.hwid_size} bytes, not all zero", actual=hwid)
    return hwid


def _csp(certificate: Certificate, kind: str) -> str | None:
    if kind == "vcek":
        _refuse(certificate, _CSP, "cspID")
        return None
    return _text(certificate, _CSP, "cspID")


def _refuse(certificate: Certificate, oid: bytes, name: str) -> None:
    if oid in certificate.extensions:
        raise _bad(name, expected="no such extension", actual=certificate.extensions[oid][1])


def _value(certificate: Certificate, oid: bytes, name: str) -> bytes:
    entry = certificate.extensions.get(oid)
    if entry is None:
        raise MalformedEvidence("vek-extension-missing", what=str(certificate), name=name)
    return entry[1]


def _number(certificate: Certificate, oid: bytes, name: str) -> int:
    value = _value(certificate, oid, name)
    try:
        number = unsigned(value, *whole(value, INTEGER))
    except MalformedEvidence as error:
        raise naming(error, name) from None
    if number > _LARGEST_LEVEL:
        raise _bad(name, expected=f"at most {_LARGEST_LEVEL}", actual=value[:32])
    return number


def _text(certificate: Certificate, oid: bytes, name: str) -> str:
    value = _value(certificate, oid, name)
    try:
        start, stop = whole(value, _IA5_STRING)
    except MalformedEvidence as error:
        raise naming(error, name) from None
    text = value[start:stop]
    if not text.isascii() or not text.decode().isprintable() or not 0 < len(text) <= _LONGEST_TEXT:
        raise _bad(name, expected="a short text", actual=text[:32])
    return text.decode()


def _bad(name: str, *, expected: str | int, actual: bytes | str | int) -> MalformedEvidence:
    return MalformedEvidence("vek-extension", name=name, expected=expected, actual=actual)
