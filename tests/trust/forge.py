# SPDX-License-Identifier: Apache-2.0
"""Certificates and revocation lists of any shape, correctly signed, most of them as no CA would make them."""

import functools
from collections.abc import Iterable
from dataclasses import dataclass, field

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from nacre.trust import oids

NOW = 1_780_315_200  # 2026-06-01T12:00:00Z
BEGINS = b"250601120000Z"
ENDS = b"270601120000Z"

SUBJECT_ALTERNATIVE_NAME = bytes.fromhex("551d11")


def tlv(tag: int, *parts: bytes) -> bytes:
    """Encode one element, with a minimal length."""
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def sequence(*parts: bytes) -> bytes:
    return tlv(0x30, *parts)


def number(value: int) -> bytes:
    bits = (value if value >= 0 else value + 1).bit_length()
    return tlv(0x02, value.to_bytes(bits // 8 + 1, "big", signed=True))


def utc(text: bytes) -> bytes:
    return tlv(0x17, text)


def name(*common_names: str, tag: int = 0x0C) -> bytes:
    """Encode a Name of common names, each in a set of its own."""
    return sequence(
        *(tlv(0x31, sequence(tlv(0x06, oids.COMMON_NAME), tlv(tag, text.encode()))) for text in common_names)
    )


def extension(oid: bytes, value: bytes, *, critical: bool = False) -> bytes:
    return sequence(tlv(0x06, oid), b"\x01\x01\xff" if critical else b"", tlv(0x04, value))


def constraints(*, ca: bool = True, length: int | None = None) -> bytes:
    inner = (b"\x01\x01\xff" if ca else b"") + (b"" if length is None else number(length))
    return extension(oids.BASIC_CONSTRAINTS, sequence(inner), critical=True)


def usage(bits: bytes) -> bytes:
    """Encode keyUsage from the content of its BIT STRING."""
    return extension(oids.KEY_USAGE, tlv(0x03, bits), critical=True)


SIGNS_CERTIFICATES = usage(b"\x01\x06")  # keyCertSign, cRLSign
SIGNS_DATA = usage(b"\x07\x80")  # digitalSignature

AUTHORITY = (constraints(), SIGNS_CERTIFICATES)
LEAF = (constraints(ca=False), SIGNS_DATA)

ECDSA_SHA256 = sequence(tlv(0x06, oids.ECDSA_SHA256))
ECDSA_SHA384 = sequence(tlv(0x06, oids.ECDSA_SHA384))


@functools.cache
def key(secret: int, curve: type[ec.EllipticCurve] = ec.SECP256R1) -> ec.EllipticCurvePrivateKey:
    """Make the key whose secret everybody knows."""
    return ec.derive_private_key(secret, curve())


def spki(of: ec.EllipticCurvePrivateKey) -> bytes:
    return of.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def signed(body: bytes, by: ec.EllipticCurvePrivateKey, algorithm: bytes) -> bytes:
    """Put algorithm and signature behind a signed part."""
    digest = hashes.SHA256() if by.key_size == 256 else hashes.SHA384()
    return sequence(body, algorithm, tlv(0x03, b"\0", by.sign(body, ec.ECDSA(digest))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A certificate to be made, part by part, each as DER."""

    issuer: bytes = name("issuer")
    subject: bytes = name("subject")
    key: ec.EllipticCurvePrivateKey = field(default_factory=functools.partial(key, 2))
    extensions: tuple[bytes, ...] = LEAF
    version: bytes = b"\xa0\x03\x02\x01\x02"
    serial: bytes = number(7)
    algorithm: bytes = ECDSA_SHA256
    outer_algorithm: bytes | None = None
    validity: bytes = sequence(utc(BEGINS), utc(ENDS))
    tail: bytes | None = None

    def signed(self, by: ec.EllipticCurvePrivateKey) -> bytes:
        tail = tlv(0xA3, sequence(*self.extensions)) if self.tail is None else self.tail
        body = sequence(
            self.version,
            self.serial,
            self.algorithm,
            self.issuer,
            self.validity,
            self.subject,
            spki(self.key),
            tail,
        )
        return signed(body, by, self.algorithm if self.outer_algorithm is None else self.outer_algorithm)


def entry(serial: int, *extensions: bytes, date: bytes = BEGINS) -> bytes:
    """Encode one entry of a revocation list."""
    return sequence(number(serial), utc(date), sequence(*extensions) if extensions else b"")


NUMBER = extension(oids.CRL_NUMBER, number(5))


@dataclass(frozen=True, slots=True, kw_only=True)
class ListDraft:
    """A revocation list to be made, part by part, each as DER."""

    issuer: bytes = name("issuer")
    entries: Iterable[bytes] = ()
    extensions: tuple[bytes, ...] = (NUMBER,)
    version: bytes = b"\x02\x01\x01"
    algorithm: bytes = ECDSA_SHA256
    dates: bytes = utc(BEGINS) + utc(ENDS)
    revoked: bytes | None = None
    tail: bytes | None = None

    def signed(self, by: ec.EllipticCurvePrivateKey) -> bytes:
        entries = tuple(self.entries)
        revoked = (sequence(*entries) if entries else b"") if self.revoked is None else self.revoked
        tail = tlv(0xA0, sequence(*self.extensions)) if self.tail is None else self.tail
        body = sequence(self.version, self.algorithm, self.issuer, self.dates, revoked, tail)
        return signed(body, by, self.algorithm)
