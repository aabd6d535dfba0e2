# SPDX-License-Identifier: Apache-2.0
"""A TPM's signed word on its registers.

The steps, in the order of their cost:

1. The statement has the form of a quote, made by the TPM itself and not by whoever has it sign.
2. The attestation key signed it, with a hash that is not broken.
3. It answers the question: the nonce is in it.
4. It speaks of one bank, of exactly the registers whose values are given, and these come to its digest.

Whose TPM it is says whoever vouches for the attestation key; nothing here does.

Integers are big-endian.

Source: TCG, TPM 2.0 Library 1.59, part 2, 10.12 (attestation), 11.3 (signatures), 12.2 (public areas).
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from struct import Struct

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from nacre.errors import MalformedEvidence, VerificationError
from nacre.platforms.tpm.registers import insist
from nacre.trust.jwa import fitting
from nacre.trust.jwk import Key
from nacre.trust.reader import Reader

__all__ = ["CHECK", "Quote", "attestation_key", "parse", "verify"]

CHECK = "tpm.quote"

_WHAT = "TPM quote"
_MAX_QUOTE = 1 << 12
_MADE_INSIDE, _QUOTE = 0xFF544347, 0x8018
_HEAD = Struct(">IH")
_CLOCK = Struct(">QIIBQ")  # clock, resets, restarts, safe, firmware
_SELECTION = Struct(">IHB")  # selections, hash, bytes of the bitmap
_PAIR = Struct(">HH")
_BANKS = {0x0B: "sha256", 0x0C: "sha384", 0x0D: "sha512"}
_MAX_SELECT = 4
_RSASSA, _RSAPSS, _ECDSA, _NULL = 0x14, 0x16, 0x18, 0x10
#: By signature algorithm and hash what JOSE calls it.
_SIGNATURES = {
    **{(_RSASSA, hashed): f"RS{bits}" for hashed, bits in ((0x0B, 256), (0x0C, 384), (0x0D, 512))},
    **{(_RSAPSS, hashed): f"PS{bits}" for hashed, bits in ((0x0B, 256), (0x0C, 384), (0x0D, 512))},
    **{(_ECDSA, hashed): f"ES{bits}" for hashed, bits in ((0x0B, 256), (0x0C, 384), (0x0D, 512))},
}
#: Bytes of r and of s.
_COORDINATES = {"ES256": 32, "ES384": 48, "ES512": 66}
_RSA_KEY, _ECC_KEY = 0x01, 0x23
_PUBLIC = Struct(">HHI")  # type, hash of the name, attributes
_SCHEME = Struct(">HHH")  # cipher, signature, hash
_RSA_PARAMETERS = Struct(">HI")  # bits, exponent
#: Never leaves this TPM, was made in it, and signs nothing but what the TPM states itself.
_ATTESTS = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 16 | 1 << 18
_CURVES: Mapping[int, ec.EllipticCurve] = {3: ec.SECP256R1(), 4: ec.SECP384R1(), 5: ec.SECP521R1()}
_RSA_BITS = range(2048, 4097)
_EXPONENT = 65537


class Quote(msgspec.Struct, frozen=True, kw_only=True):
    """A quote taken apart (``TPMS_ATTEST``).

    Attributes:
        signer: The name of the key, as this TPM has it.
        nonce: What the asker gave.
        clock: Milliseconds that the TPM has run.
        resets: How often the TPM was reset; the registers began anew then.
        restarts: How often it was suspended since.
        safe: Whether the clock cannot have been ahead of this.
        firmware: The TPM's version, as its maker counts.
        bank: The hash of the registers.
        registers: The numbers of the registers.
        digest: The hash of their values, by the signature's hash.
    """

    signer: bytes
    nonce: bytes
    clock: int
    resets: int
    restarts: int
    safe: bool
    firmware: int
    bank: str
    registers: tuple[int, ...]
    digest: bytes


def parse(attest: bytes | memoryview) -> Quote:
    """Take a quote apart.

    Raises:
        MalformedEvidence: ``too-large``, ``truncated``, ``trailing-bytes``; ``quote-form``: it is none, or
            was not made by a TPM; ``quote-selection``: it is of several banks, or of one with a broken hash.
    """
    if len(attest) > _MAX_QUOTE:
        raise MalformedEvidence("too-large", what=_WHAT, expected=_MAX_QUOTE, actual=len(attest))
    reader = Reader(bytes(attest), _WHAT)
    magic, kind = reader.unpack(_HEAD, "form")
    if (magic, kind) != (_MADE_INSIDE, _QUOTE):
        raise MalformedEvidence("quote-form", actual=f"{magic:08x} {kind:04x}")
    signer, nonce = _sized(reader, "signer"), _sized(reader, "nonce")
    clock, resets, restarts, safe, firmware = reader.unpack(_CLOCK, "clock")
    count, bank, size = reader.unpack(_SELECTION, "selection")
    if count != 1 or bank not in _BANKS or not 0 < size <= _MAX_SELECT or safe > 1:
        raise MalformedEvidence(
            "quote-selection", actual=f"{count} selections, the first of hash {bank:#06x}"
        )
    chosen = int.from_bytes(reader.take(size, "selection"), "little")
    digest = _sized(reader, "digest")
    reader.finish()
    return Quote(
        signer=signer,
        nonce=nonce,
        clock=clock,
        resets=resets,
        restarts=restarts,
        safe=bool(safe),
        firmware=firmware,
        bank=_BANKS[bank],
        registers=tuple([number for number in range(8 * size) if chosen >> number & 1]),
        digest=digest,
    )


def verify(
    *,
    attest: bytes | memoryview,
    signature: bytes | memoryview,
    key: Key,
    nonce: bytes,
    algorithm: str,
    pcrs: Mapping[int, bytes],
) -> Quote:
    """Verify a quote.

    Args:
        attest: ``TPMS_ATTEST``.
        signature: ``TPMT_SIGNATURE``.
        key: The attestation key.
        nonce: What the TPM was asked with; not empty.
        algorithm: The bank that has to be quoted.
        pcrs: The values of all registers that have to be quoted, and of no others, by their numbers.

    Raises:
        MalformedEvidence: As :func:`parse`; ``quote-signature``: the signature is of no form that is taken.
        VerificationError: ``signature-invalid``, ``quote-nonce``, ``quote-bank``, ``quote-registers``,
            ``quote-digest``.
        ConfigurationError: ``tpm-bank``.
    """
    insist(algorithm)
    data = bytes(attest)
    quote = parse(data)
    scheme, given = _signature(bytes(signature))
    if scheme not in key.algorithms or not key.holds(given, data, algorithm=scheme):
        raise VerificationError("signature-invalid", check=CHECK, what=_WHAT)
    if not nonce or quote.nonce != nonce:
        raise VerificationError("quote-nonce", check=CHECK, expected=nonce, actual=quote.nonce)
    if quote.bank != algorithm:
        raise VerificationError("quote-bank", check=CHECK, expected=algorithm, actual=quote.bank)
    if not pcrs or quote.registers != tuple(sorted(pcrs)):
        raise VerificationError(
            "quote-registers", check=CHECK, expected=_numbers(sorted(pcrs)), actual=_numbers(quote.registers)
        )
    digest = hashlib.new(f"sha{scheme[2:]}", b"".join(pcrs[number] for number in quote.registers)).digest()
    if quote.digest != digest:
        raise VerificationError("quote-digest", check=CHECK, expected=quote.digest, actual=digest)
    return quote


def attestation_key(public: bytes | memoryview) -> Key:
    """Read an attestation key's public area (``TPMT_PUBLIC``).

    Somebody has to vouch for it: anybody can write down these bytes.

    Raises:
        MalformedEvidence: ``truncated``, ``trailing-bytes``, ``key-unusable``; ``quote-key``: it signs what
            it is given too, or may have left the TPM.
    """
    reader = Reader(bytes(public), "attestation key")
    kind, _, attributes = reader.unpack(_PUBLIC)
    if attributes & _ATTESTS != _ATTESTS:
        raise MalformedEvidence("quote-key", actual=f"{attributes:#010x}")
    _sized(reader, "policy")
    cipher, scheme, hashed = reader.unpack(_SCHEME, "scheme")
    read = _READERS.get(kind)
    if read is None or cipher != _NULL or (scheme, hashed) not in _SIGNATURES:
        raise _unusable(public)
    try:
        found = read(reader)
    except ValueError:  # a point that is not on the curve
        raise _unusable(public) from None
    reader.finish()
    algorithms = {_SIGNATURES[scheme, hashed]} & fitting(found)
    if not algorithms:
        raise _unusable(public)
    spki = found.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return Key("", frozenset(algorithms), hashlib.sha256(spki).digest(), found)


def _rsa(reader: Reader) -> rsa.RSAPublicKey:
    bits, exponent = reader.unpack(_RSA_PARAMETERS, "parameters")
    modulus = int.from_bytes(_sized(reader, "modulus"), "big")
    if bits not in _RSA_BITS or modulus.bit_length() != bits or exponent not in (0, _EXPONENT):
        raise ValueError
    return rsa.RSAPublicNumbers(_EXPONENT, modulus).public_key()


def _ecc(reader: Reader) -> ec.EllipticCurvePublicKey:
    curve, derivation = reader.unpack(_PAIR, "parameters")
    x, y = (int.from_bytes(_sized(reader, name), "big") for name in ("x", "y"))
    if curve not in _CURVES or derivation != _NULL:
        raise ValueError
    return ec.EllipticCurvePublicNumbers(x, y, _CURVES[curve]).public_key()


_READERS: Mapping[int, Callable[[Reader], rsa.RSAPublicKey | ec.EllipticCurvePublicKey]] = {
    _RSA_KEY: _rsa,
    _ECC_KEY: _ecc,
}


def _signature(data: bytes) -> tuple[str, bytes]:
    """Return the name and the bytes of a signature, both as JOSE has them."""
    reader = Reader(data, "signature")
    pair = reader.unpack(_PAIR, "scheme")
    if pair not in _SIGNATURES:
        raise MalformedEvidence("quote-signature", actual=f"{pair[0]:04x} {pair[1]:04x}")
    name = _SIGNATURES[pair]
    if pair[0] == _ECDSA:
        size = _COORDINATES[name]
        numbers = [_sized(reader, part).lstrip(b"\0") for part in ("r", "s")]
        if max(map(len, numbers)) > size:
            raise MalformedEvidence("quote-signature", actual=f"{max(map(len, numbers))} bytes")
        given = b"".join([number.rjust(size, b"\0") for number in numbers])
    else:
        given = _sized(reader, "signature")
    reader.finish()
    return name, given


def _sized(reader: Reader, field: str) -> bytes:
    return reader.take(int.from_bytes(reader.take(2, field), "big"), field)


def _numbers(registers: Iterable[int]) -> str:
    return ", ".join(map(str, registers))


def _unusable(public: bytes | memoryview) -> MalformedEvidence:
    return MalformedEvidence("key-unusable", expected="attestation", actual=bytes(public[:32]))
