# SPDX-License-Identifier: Apache-2.0
"""Enclave images for tests, and keys that sign them."""

import datetime as dt
import struct
import zlib
from collections.abc import Mapping
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from nacre.platforms.nitro.eif import CRC, HEADER, SECTION
from nacre.platforms.nitro.eif_sign import Signer
from nacre.platforms.nitro.eif_write import Parts, assemble
from nacre.trust.signing import signing_key

NOW = 1_780_315_200  # 2026-06-01T12:00:00Z
KERNEL, CMDLINE, BASE, APP = b"kernel" * 300, b"console=ttyS0 panic=-1", b"base" * 200, b"app" * 100
METADATA = b'{"ImageName":"x","ImageVersion":"1"}'
PARTS = Parts(kernel=KERNEL, command_line=CMDLINE, ramdisks=(BASE, APP), metadata=METADATA)


def image(parts: Parts = PARTS, signer: Signer | None = None) -> bytes:
    """Write an image."""
    return b"".join(assemble(parts, signer=signer).chunks)


def raw(
    *sections: tuple[int, bytes],
    header: Mapping[int, int] | None = None,
    flags: int = 0,
    tail: bytes = b"",
) -> bytes:
    """Write an image of any sections with a right checksum; ``header`` replaces fields by their number."""
    offset, offsets, body = HEADER.size + CRC.size, [], b""
    for kind, data in sections:
        offsets.append(offset)
        body += SECTION.pack(kind, flags, len(data)) + data
        offset += SECTION.size + len(data)
    unused = [0] * (32 - len(sections))
    sizes = [len(data) for _, data in sections]
    count = len(sections)
    fields = [b".eif", 4, 0, 1 << 30, 2, 0, count, *offsets, *unused, *sizes, *unused, 0]
    for number, value in (header or {}).items():
        fields[number] = value
    head = struct.pack(HEADER.format, *fields)
    return head + CRC.pack(zlib.crc32(head + body + tail)) + body + tail


@cache
def key(number: int = 0, curve: type[ec.EllipticCurve] = ec.SECP384R1) -> ec.EllipticCurvePrivateKey:
    """A key, always the same."""
    return ec.derive_private_key(123_456_789 + number, curve())


@cache
def certificate(number: int = 0, curve: type[ec.EllipticCurve] = ec.SECP384R1) -> bytes:
    """The self-signed certificate of a key, valid from a day before NOW to a day after it."""
    private = key(number, curve)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"signer {number}")])
    now = dt.datetime.fromtimestamp(NOW, dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(7)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    return builder.sign(private, hashes.SHA384(), ecdsa_deterministic=True).public_bytes(Encoding.DER)


def signer(number: int = 0) -> Signer:
    """Who signs with a key."""
    return Signer(certificate(number), signing_key(key(number)).sign)
