# SPDX-License-Identifier: Apache-2.0
"""The SGX extension of a PCK certificate: which processor it is and which TCB it was certified at.

Source: Intel SGX PCK Certificate and CRL Specification, OID 1.2.840.113741.1.13.1.
"""

import msgspec

from nacre.errors import MalformedEvidence
from nacre.trust import der
from nacre.trust.x509 import Certificate

__all__ = ["SGX_EXTENSION", "SGX_TYPES", "PckExtension", "parse_extension"]

#: 1.2.840.113741.1.13.1, content bytes.
SGX_EXTENSION = bytes.fromhex("2a864886f84d010d01")

SGX_TYPES = ("Standard", "Scalable", "Scalable with Integrity")

_PPID, _TCB, _PCEID, _FMSPC, _SGX_TYPE, _INSTANCE, _CONFIGURATION = range(1, 8)
_PCESVN, _CPUSVN = 17, 18
_DYNAMIC, _CACHED_KEYS, _SMT = 1, 2, 3


class PckExtension(msgspec.Struct, frozen=True):
    """What Intel certified about a processor.

    Attributes:
        ppid: 16 bytes: the platform's provisioning id, the same for all keys of one platform.
        svns: Sixteen component SVNs, one byte each: what TCB levels are compared with.
        pcesvn: The provisioning enclave's SVN.
        cpusvn: 16 bytes; the raw form of ``svns``, never compared.
        pceid: 2 bytes.
        fmspc: 6 bytes: family, model, stepping, platform, custom SKU.
        sgx_type: Index into ``SGX_TYPES``: whether memory has integrity.
        platform_instance: 16 bytes; None from the Processor CA.
        dynamic_platform: Whether packages can be added; None if not stated.
        cached_keys: Whether Intel keeps the platform's root keys; None if not stated.
        smt: Whether hyper-threading is on; None if not stated.
    """

    ppid: bytes
    svns: bytes
    pcesvn: int
    cpusvn: bytes
    pceid: bytes
    fmspc: bytes
    sgx_type: int
    platform_instance: bytes | None
    dynamic_platform: bool | None
    cached_keys: bool | None
    smt: bool | None


_SVN_SIZE = 18  # (OID, INTEGER of one byte)
_SVN_AT = 17
_SHORT_SVNS = b"".join(
    [b"\x30\x10\x06\x0b" + SGX_EXTENSION + bytes([_TCB, number]) + b"\x02\x01\x00" for number in range(1, 17)]
)
_LONGEST_INTEGER = 8
_SHORT = 0x80  # elements below this size have lengths of one byte
_Value = tuple[int, int, int]  # tag, start and stop of the content


def parse_extension(certificate: Certificate) -> PckExtension:
    """Decode the extension of a PCK leaf.

    Raises:
        MalformedEvidence: The certificate has none, or it is not as Intel defines it.
    """
    extension = certificate.extensions.get(SGX_EXTENSION)
    if extension is None:
        raise MalformedEvidence("pck-extension-missing", subject=certificate.common_name)
    data = extension[1]
    try:
        start, stop = der.whole(data, der.SEQUENCE)
        fields = _pairs(data, start, stop, SGX_EXTENSION)
        _, start, stop = _field(fields, _TCB, der.SEQUENCE)
        svns, tcb = _tcb(data, start, stop)
        configuration = _configuration(data, fields)
        return PckExtension(
            _octets(data, fields, _PPID, 16),
            svns,
            _integer(data, tcb, _PCESVN, 0xFFFF),
            _octets(data, tcb, _CPUSVN, 16),
            _octets(data, fields, _PCEID, 2),
            _octets(data, fields, _FMSPC, 6),
            _integer(data, fields, _SGX_TYPE, len(SGX_TYPES) - 1, der.ENUMERATED),
            _octets(data, fields, _INSTANCE, 16) if _INSTANCE in fields else None,
            _flag(data, configuration, _DYNAMIC),
            _flag(data, configuration, _CACHED_KEYS),
            _flag(data, configuration, _SMT),
        )
    except MalformedEvidence as error:
        raise der.naming(error, "SGX extension of the PCK certificate") from None


def _tcb(data: bytes, start: int, stop: int) -> tuple[bytes, dict[int, _Value]]:
    """Read the sixteen SVNs and, by number, what else there is."""
    svns, at = _short_svns(data, start)
    tcb = _pairs(data, at, stop, SGX_EXTENSION + bytes([_TCB]))
    if len(tcb) != (2 if svns else 18):
        raise MalformedEvidence("pck-extension-field", what="SGX extension", actual=_TCB, offset=at)
    return svns or bytes([_integer(data, tcb, number, 255) for number in range(1, 17)]), tcb


def _short_svns(data: bytes, start: int) -> tuple[bytes, int]:
    """Read the sixteen SVNs at once if they are in order and each below 128, as nearly always.

    Returns:
        The SVNs and where they end; nothing and ``start`` if each has to be read by itself.
    """
    segment = bytearray(data[start : start + len(_SHORT_SVNS)])
    svns = bytes(segment[_SVN_AT::_SVN_SIZE])
    segment[_SVN_AT::_SVN_SIZE] = bytes(len(svns))
    return (svns, start + len(segment)) if segment == _SHORT_SVNS and svns.isascii() else (b"", start)


def _pairs(data: bytes, at: int, end: int, parent: bytes) -> dict[int, _Value]:
    """Read a sequence of (parent.N, value) into N -> value; each N at most once."""
    found: dict[int, _Value] = {}
    label = bytes([der.OID, len(parent) + 1]) + parent
    size = len(label)
    while at < end:
        # Nearly all are short; the rest goes through the general reader.
        start, stop = at + 2, at + 2 + data[at + 1] if at + 1 < end else end
        if data[at] != der.SEQUENCE or stop > end or stop - at > _SHORT:
            start, stop = der.element(data, at, end, der.SEQUENCE)
        value = start + size + 1
        if not data.startswith(label, start) or value + 2 > stop or data[value - 1] in found:
            raise MalformedEvidence(
                "pck-extension-field", what="SGX extension", actual=data[start:value], offset=start
            )
        if value + 2 + data[value + 1] == stop and stop - value <= _SHORT:
            found[data[value - 1]] = (data[value], value + 2, stop)
        else:
            entry = der.tagged(data, value, stop)
            der.finish(entry[2], stop)
            found[data[value - 1]] = entry
        at = stop
    return found


def _field(fields: dict[int, _Value], number: int, tag: int) -> _Value:
    value = fields.get(number)
    if value is None or value[0] != tag:
        raise MalformedEvidence("pck-extension-field", what="SGX extension", actual=number, offset=0)
    return value


def _octets(data: bytes, fields: dict[int, _Value], number: int, size: int) -> bytes:
    _, start, stop = _field(fields, number, der.OCTET_STRING)
    if stop - start != size:
        raise MalformedEvidence(
            "length-mismatch", what=f"SGX extension field {number}", expected=size, actual=stop - start
        )
    return data[start:stop]


def _integer(data: bytes, fields: dict[int, _Value], number: int, limit: int, tag: int = der.INTEGER) -> int:
    _, start, stop = _field(fields, number, tag)
    # A number of kilobytes cannot even be written in an error.
    value = der.integer(data, start, stop) if stop - start <= _LONGEST_INTEGER else None
    if value is None or not 0 <= value <= limit:
        raise MalformedEvidence(
            "document-member",
            path=f"SGX extension field {number}",
            expected=f"0 to {limit}",
            actual=f"{stop - start} bytes" if value is None else value,
        )
    return value


def _configuration(data: bytes, fields: dict[int, _Value]) -> dict[int, _Value]:
    if _CONFIGURATION not in fields:
        return {}
    _, start, stop = _field(fields, _CONFIGURATION, der.SEQUENCE)
    return _pairs(data, start, stop, SGX_EXTENSION + bytes([_CONFIGURATION]))


def _flag(data: bytes, fields: dict[int, _Value], number: int) -> bool | None:
    if number not in fields:
        return None
    _, start, stop = _field(fields, number, der.BOOLEAN)
    return der.boolean(data, start, stop)
