# SPDX-License-Identifier: Apache-2.0
"""SIGSTRUCT (``.sig``): an author's signature over an SGX enclave, 1808 bytes.

A processor starts no enclave without one. What is read here was verified as EINIT verifies it: every constant
and reserved byte, an RSA-3072 key with exponent 3, the PKCS #1 v1.5 signature with SHA-256, and the two
quotients that EINIT calculates with, which nobody signs. MRSIGNER is the SHA-256 of the modulus.
Integers are little-endian.

Source: Intel SDM, volume 3D, section 35.15 (SIGSTRUCT), chapter 38 (EINIT).
"""

import hashlib
import struct
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec

from nacre.checks import Value
from nacre.errors import ConfigurationError, MalformedEvidence, VerificationError
from nacre.platforms.layout import Layout

__all__ = ["PLACES", "SIZE", "Place", "Sigstruct", "Terms", "make", "read", "recognises"]

_HEADER: Final = bytes.fromhex("06000000e10000000000010000000000")
_HEADER2: Final = bytes.fromhex("01010000600000006000000001000000")
_VENDORS: Final = (0, 0x8086)
_KEY_SIZE: Final = 384
_KEY_BITS: Final = 8 * _KEY_SIZE
_EXPONENT: Final = 3
#: What is signed: the two parts around the key and the signature.
_SIGNED: Final = (slice(0, 128), slice(900, 1028))
#: What failures of a signed reference are filed under.
_CHECK: Final = "reference.signature"
_DEBUG: Final = 2  # ATTRIBUTES.DEBUG


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What an author says of an enclave, and under which terms a processor may start it.

    Attributes:
        mrenclave: The enclave's measurement, 32 bytes.
        attributes: ATTRIBUTES, 16 bytes: flags and XFRM, both as the processor has them.
        attribute_mask: Which bits of ATTRIBUTES have to be as stated, 16 bytes.
        misc_select: MISCSELECT.
        misc_mask: Which bits of MISCSELECT have to be as stated.
        isvprodid: The author's number of the product.
        isvsvn: Its security version.
        date: Year, month and day, as eight digits of hex: ``20261125``. Some tools write each part as a
            number, ``07ea0b19``; no processor looks at it.
        vendor: 0, or 0x8086 where Intel is the author.
        swdefined: For software.
        cet_attributes: CET_ATTRIBUTES.
        cet_mask: Which bits of CET_ATTRIBUTES have to be as stated.
        isvfamilyid: The product's family, 16 bytes; for processors with key separation (KSS).
        isvextprodid: More of the product's number, 16 bytes; likewise.
    """

    mrenclave: bytes
    attributes: bytes
    attribute_mask: bytes
    misc_select: int = 0
    misc_mask: int = 0xFFFFFFFF
    isvprodid: int = 0
    isvsvn: int = 0
    date: str
    vendor: int = 0
    swdefined: int = 0
    cet_attributes: int = 0
    cet_mask: int = 0
    isvfamilyid: bytes = bytes(16)
    isvextprodid: bytes = bytes(16)


class Sigstruct(msgspec.Struct, frozen=True):
    """A signature that held.

    Attributes:
        terms: What was signed.
        modulus: The author's key.
    """

    terms: Terms
    modulus: int

    @property
    def mrsigner(self) -> bytes:
        """The author as quotes name him: SHA-256 of the modulus, little-endian."""
        return hashlib.sha256(_little(self.modulus)).digest()

    @property
    def debuggable(self) -> bool:
        """Whether the host may start the enclave in debug mode, and so read its memory."""
        return bool(self.terms.attributes[0] & _DEBUG) or not self.terms.attribute_mask[0] & _DEBUG

    @property
    def registers(self) -> dict[str, bytes]:
        """What a quote of the enclave shows, as releases name it; numbers have 2 bytes, little-endian."""
        terms = self.terms
        return {
            "mrenclave": terms.mrenclave,
            "mrsigner": self.mrsigner,
            "isvprodid": terms.isvprodid.to_bytes(2, "little"),
            "isvsvn": terms.isvsvn.to_bytes(2, "little"),
            "isvextprodid": terms.isvextprodid,
            "isvfamilyid": terms.isvfamilyid,
        }


class _Fields(msgspec.Struct, frozen=True, kw_only=True):
    """The structure as it lies in the file."""

    header: bytes = _HEADER
    vendor: int
    date: int
    header2: bytes = _HEADER2
    swdefined: int
    reserved1: bytes = b""
    modulus: bytes
    exponent: int = _EXPONENT
    signature: bytes
    misc_select: int
    misc_mask: int
    cet_attributes: int
    cet_mask: int
    reserved2: bytes = b""
    isvfamilyid: bytes
    attributes: bytes
    attribute_mask: bytes
    mrenclave: bytes
    reserved3: bytes = b""
    isvextprodid: bytes
    isvprodid: int
    isvsvn: int
    reserved4: bytes = b""
    q1: bytes
    q2: bytes


_LAYOUT: Final = Layout(
    _Fields,
    "16s I I 16s I 84s 384s I 384s I I B B 2s 16s 16s 16s 32s 16s 16s H H 12s 384s 384s",
)
#: Bytes of the structure.
SIZE: Final = _LAYOUT.size


class Place(NamedTuple):
    """A field, and where in the structure it is."""

    name: str
    offset: int
    size: int


#: What makes the registers.
PLACES: Final = {
    "mrsigner" if name == "modulus" else name: Place(name, offset, size)
    for name, offset, size in _LAYOUT.fields
    if name in {"mrenclave", "modulus", "isvprodid", "isvsvn", "isvextprodid", "isvfamilyid"}
}


def recognises(data: bytes) -> bool:
    """Tell whether this begins as a SIGSTRUCT; no promise."""
    return data.startswith(_HEADER)


def read(data: bytes) -> Sigstruct:
    """Read a SIGSTRUCT and verify its signature.

    Who signed is told, not judged: compare ``mrsigner``.

    Raises:
        MalformedEvidence: ``sigstruct-field``: names the field.
        VerificationError: ``signature-invalid``.
    """
    if len(data) != SIZE:
        raise _wrong("size", expected=SIZE, actual=len(data))
    fields, terms = _parse(data)
    modulus = int.from_bytes(fields.modulus, "little")
    signature = int.from_bytes(fields.signature, "little")
    if not _is_key(modulus):
        raise _wrong("modulus", expected="an odd number of 3072 bits", actual=fields.modulus[-8:])
    if not _holds(fields.signature[::-1], modulus, _message(data)):
        raise VerificationError("signature-invalid", check=_CHECK, what="SIGSTRUCT")
    if (fields.q1, fields.q2) != tuple(_little(number) for number in _quotients(signature, modulus)):
        raise _wrong("Q1 and Q2", expected="quotients of signature and modulus", actual=fields.q1[-8:])
    return Sigstruct(terms, modulus)


def make(terms: Terms, *, modulus: int, sign: Callable[[bytes], bytes]) -> bytes:
    """Make a SIGSTRUCT.

    Args:
        terms: What is signed.
        modulus: The author's public key: RSA of 3072 bits, whose exponent is 3.
        sign: Signs 256 bytes: RSASSA-PKCS1-v1_5 with SHA-256, 384 bytes, big-endian. The key may be where
            nobody can read it.

    Raises:
        ConfigurationError: ``sigstruct-signer``, for a key of another kind, or a signature that is not this
            key's; ``sigstruct-term``, for a value that its field does not hold.
    """
    if not _is_key(modulus):
        raise ConfigurationError("sigstruct-signer", actual=f"{modulus.bit_length()} bits")
    unsigned = _unsigned(terms, modulus)
    message = _message(unsigned)
    raw = sign(message)
    if not _holds(raw, modulus, message):
        raise ConfigurationError("sigstruct-signer", actual=f"a signature of {len(raw)} bytes")
    signature = int.from_bytes(raw, "big")
    return _pack(terms, modulus=modulus, signature=signature, quotients=_quotients(signature, modulus))


def _parse(data: bytes) -> tuple[_Fields, Terms]:
    fields = _Fields(**dict(zip(_Fields.__struct_fields__, _LAYOUT.packed.unpack(data), strict=True)))
    _check_constants(fields)
    terms = {name: getattr(fields, name) for name in Terms.__struct_fields__}
    return fields, Terms(**terms | {"date": f"{fields.date:08x}"})


def _unsigned(terms: Terms, modulus: int) -> bytes:
    """Pack what nobody has signed yet, if all of it comes back."""
    try:
        packed = _pack(terms, modulus=modulus)
        if _parse(packed)[1] == terms:
            return packed
    except (struct.error, ValueError, MalformedEvidence):
        pass
    raise ConfigurationError("sigstruct-term", actual=str(terms))


def _pack(terms: Terms, *, modulus: int, signature: int = 0, quotients: tuple[int, int] = (0, 0)) -> bytes:
    stated: dict[str, Any] = {name: getattr(terms, name) for name in Terms.__struct_fields__}
    stated["date"] = int(terms.date, 16)
    for name, number in zip(("q1", "q2"), quotients, strict=True):
        stated[name] = _little(number)
    fields = _Fields(**stated, modulus=_little(modulus), signature=_little(signature))
    return _LAYOUT.packed.pack(*[getattr(fields, name) for name in _Fields.__struct_fields__])


def _is_key(modulus: int) -> bool:
    return modulus.bit_length() == _KEY_BITS and bool(modulus & 1)


def _little(number: int) -> bytes:
    return number.to_bytes(_KEY_SIZE, "little")


def _message(data: bytes) -> bytes:
    return b"".join([data[place] for place in _SIGNED])


def _check_constants(fields: _Fields) -> None:
    """Insist on what EINIT insists on."""
    for name, found, expected in (
        ("header", fields.header, _HEADER),
        ("second header", fields.header2, _HEADER2),
        ("exponent", fields.exponent, _EXPONENT),
    ):
        if found != expected:
            raise _wrong(name, expected=expected, actual=found)
    if fields.vendor not in _VENDORS:
        raise _wrong("vendor", expected="0 or Intel's", actual=fields.vendor)
    if any(fields.reserved1 + fields.reserved2 + fields.reserved3 + fields.reserved4):
        raise _wrong("reserved bytes", expected="zero", actual="something else")


def _holds(signature: bytes, modulus: int, message: bytes) -> bool:
    # Loaded where it is needed: who verifies a quote needs no RSA.
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import padding, rsa  # noqa: PLC0415
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415

    key = rsa.RSAPublicNumbers(_EXPONENT, modulus).public_key()
    try:
        key.verify(signature, message, padding.PKCS1v15(), SHA256())
    except InvalidSignature:
        return False
    return True


def _quotients(signature: int, modulus: int) -> tuple[int, int]:
    """Return ⌊S² / M⌋ and ⌊S (S² mod M) / M⌋: with them a processor cubes S without dividing."""
    first, rest = divmod(signature**2, modulus)
    return first, signature * rest // modulus


def _wrong(name: str, *, expected: Value, actual: Value) -> MalformedEvidence:
    return MalformedEvidence("sigstruct-field", what=name, expected=expected, actual=actual)
