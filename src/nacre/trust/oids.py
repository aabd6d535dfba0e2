# SPDX-License-Identifier: Apache-2.0
"""Object identifiers, as the content bytes of their DER encoding."""

from typing import Final

__all__ = [
    "BASIC_CONSTRAINTS",
    "CERTIFICATE_ISSUER",
    "COMMON_NAME",
    "CRL_NUMBER",
    "CRL_REASON",
    "DELTA_CRL_INDICATOR",
    "ECDSA_SHA256",
    "ECDSA_SHA384",
    "ISSUING_DISTRIBUTION_POINT",
    "KEY_USAGE",
    "RSASSA_PSS",
    "RSA_ENCRYPTION",
    "dotted",
]

COMMON_NAME: Final = bytes.fromhex("550403")  # 2.5.4.3

KEY_USAGE: Final = bytes.fromhex("551d0f")  # 2.5.29.15
BASIC_CONSTRAINTS: Final = bytes.fromhex("551d13")  # 2.5.29.19
CRL_NUMBER: Final = bytes.fromhex("551d14")  # 2.5.29.20
CRL_REASON: Final = bytes.fromhex("551d15")  # 2.5.29.21
DELTA_CRL_INDICATOR: Final = bytes.fromhex("551d1b")  # 2.5.29.27
ISSUING_DISTRIBUTION_POINT: Final = bytes.fromhex("551d1c")  # 2.5.29.28
CERTIFICATE_ISSUER: Final = bytes.fromhex("551d1d")  # 2.5.29.29

ECDSA_SHA256: Final = bytes.fromhex("2a8648ce3d040302")  # 1.2.840.10045.4.3.2
ECDSA_SHA384: Final = bytes.fromhex("2a8648ce3d040303")  # 1.2.840.10045.4.3.3
RSA_ENCRYPTION: Final = bytes.fromhex("2a864886f70d010101")  # 1.2.840.113549.1.1.1
RSASSA_PSS: Final = bytes.fromhex("2a864886f70d01010a")  # 1.2.840.113549.1.1.10

# Longer ones are nobody's, and their numbers cost the square of their length to write.
_LONGEST: Final = 64


def dotted(oid: bytes) -> str:
    """Write an identifier for people; content bytes that are no identifier come back as hex, cut short."""
    arcs = []
    value = 0
    if len(oid) > _LONGEST:
        return f"{oid[:_LONGEST].hex()}…"
    for byte in oid:
        value = value << 7 | byte & 0x7F
        if byte < 0x80:  # noqa: PLR2004 (the continuation bit)
            arcs.append(value)
            value = 0
    if not arcs or oid[-1] >= 0x80:  # noqa: PLR2004 (the continuation bit)
        return oid.hex()
    top = min(arcs[0] // 40, 2)
    return ".".join(str(arc) for arc in (top, arcs[0] - 40 * top, *arcs[1:]))
