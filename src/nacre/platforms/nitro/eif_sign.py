# SPDX-License-Identifier: Apache-2.0
"""The signature inside of an enclave image: one of PCR0, by the key whose certificate PCR8 measures.

The section is CBOR: an array of one map, with the certificate in PEM and a COSE_Sign1 message as arrays of
integers (that is how AWS's tool writes bytes). The message's payload names register 0 and its value, as an
array of integers again.

The parent instance checks this signature before it starts an image; the hypervisor checks none. What a
verifier can rely on is PCR8.

Source: aws/aws-nitro-enclaves-image-format, ``src/defs/mod.rs`` and ``src/utils/eif_signer.rs``.
"""

import hashlib
from collections.abc import Callable

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import Certificate, load_der_x509_certificate

from nacre.errors import BuildError, MalformedEvidence, VerificationError
from nacre.platforms.nitro.eif import MAX_SIGNATURE, SIGNATURE, Eif
from nacre.trust import cbor, cose, pem
from nacre.trust.keys import P384_SHA384, raw_signature
from nacre.trust.signatures import Key

__all__ = ["EifSignature", "Signer", "check_signature", "read_signature", "sign"]

_CHECK = "nitro.image"
_WHAT = "enclave image: signature"
_KEYS = ["signing_certificate", "signature"]
_CERTIFICATE = "signing certificate of the enclave image"


class EifSignature(msgspec.Struct, frozen=True):
    """A signature that nobody has checked.

    Attributes:
        certificate: The signer's, DER: what PCR8 measures.
        message: The signed message.
    """

    certificate: bytes
    message: cose.Sign1


class Signer(msgspec.Struct, frozen=True):
    """Who signs.

    Attributes:
        certificate: DER, of a P-384 key.
        sign: Signs bytes with ECDSA and SHA-384 and returns r ‖ s, 96 bytes: ``signing_key(key).sign``, or
            what asks a key service or a hardware module.
    """

    certificate: bytes
    sign: Callable[[bytes], bytes]


def read_signature(image: Eif) -> EifSignature | None:
    """Read the signature of an image; None if it has none.

    Raises:
        MalformedEvidence: ``eif-signature-form``, or as ``cbor.loads``, ``cose.loads`` and
            ``pem.certificates`` raise.
    """
    found = image.of(SIGNATURE)
    if not found:
        return None
    items = cbor.loads(bytes(image.read(found[0])), what=_WHAT, limit=MAX_SIGNATURE)
    if not isinstance(items, list) or len(items) != 1:
        raise MalformedEvidence("eif-signature-form", expected="an array of one map")
    (item,) = items
    if not isinstance(item, dict) or list(item) != _KEYS:
        raise MalformedEvidence("eif-signature-form", expected=f"a map with the keys {' and '.join(_KEYS)}")
    certificate, message = [_octets(item[key]) for key in _KEYS]
    chain = pem.blocks(certificate, "CERTIFICATE", what=_CERTIFICATE, limit=1)
    return EifSignature(chain[0], cose.loads(message, what=_WHAT, limit=MAX_SIGNATURE))


def check_signature(signature: EifSignature, *, pcr0: bytes, at: int) -> None:
    """Insist that the certificate is valid, that its key signed, and that it signed this PCR0.

    Nobody vouches for the certificate: whose it is, PCR8 has to tell.

    Args:
        signature: As read from the image.
        pcr0: As measured.
        at: The time at which to judge, Unix seconds.

    Raises:
        MalformedEvidence: The certificate or its key cannot be read, or the algorithm is not ES384.
        VerificationError: ``certificate-expired``, ``certificate-not-yet-valid``, ``eif-signature``,
            ``eif-signature-other``.
    """
    certificate = _certificate(signature.certificate)
    _valid(certificate, at)
    message = signature.message
    message.require(cose.ES384, what=_WHAT)
    raw = raw_signature(message.signature, P384_SHA384)
    if not _key(certificate).holds(raw, message.signed()):
        raise VerificationError("eif-signature", check=_CHECK)
    if message.payload != _payload(pcr0):
        raise VerificationError("eif-signature-other", check=_CHECK, expected=pcr0)


def sign(pcr0: bytes, signer: Signer) -> bytes:
    """Return the signature section of an image, without its header.

    Raises:
        BuildError: ``eif-signer``: the key that signed is not the certificate's, or the section is too long.
        MalformedEvidence: The certificate, its key or the signature is of another kind.
    """
    header, payload = cbor.dumps({1: cose.ES384}), _payload(pcr0)
    unsigned = cose.Sign1(header, 0, payload, b"", tagged=False)
    raw = signer.sign(unsigned.signed())
    key = _key(_certificate(signer.certificate))
    if not key.holds(raw_signature(raw, P384_SHA384), unsigned.signed()):
        raise BuildError("eif-signer", certificate=hashlib.sha384(signer.certificate).digest())
    message = cbor.dumps([header, {}, payload, raw])
    values = (pem.armour(signer.certificate) + b"\n", message)
    section = b"\x81\xa2" + b"".join(
        [cbor.dumps(key) + cbor.dumps(list(value)) for key, value in zip(_KEYS, values, strict=True)]
    )
    if len(section) > MAX_SIGNATURE:
        raise BuildError("eif-too-large", what="the signature", expected=MAX_SIGNATURE, actual=len(section))
    return section


def _certificate(der: bytes) -> Certificate:
    """Read a certificate of any kind: what AWS's guide makes is of version 1, without extensions."""
    try:
        return load_der_x509_certificate(der)
    except ValueError:
        raise MalformedEvidence("eif-certificate", actual=hashlib.sha384(der).digest()) from None


def _key(certificate: Certificate) -> Key:
    try:
        public = certificate.public_key()
    except (UnsupportedAlgorithm, ValueError):
        raise MalformedEvidence("eif-certificate", actual=certificate.fingerprint(SHA384())) from None
    return P384_SHA384.spki(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def _valid(certificate: Certificate, at: int) -> None:
    begins = int(certificate.not_valid_before_utc.timestamp())
    ends = int(certificate.not_valid_after_utc.timestamp())
    if not begins <= at <= ends:
        code = "certificate-expired" if at > ends else "certificate-not-yet-valid"
        raise VerificationError(
            code, check=_CHECK, what=_CERTIFICATE, actual=at, not_before=begins, not_after=ends
        )


def _payload(pcr0: bytes) -> bytes:
    return cbor.dumps({"register_index": 0, "register_value": list(pcr0)})


def _octets(value: object) -> bytes:
    if isinstance(value, list) and all(type(item) is int and 0 <= item <= 0xFF for item in value):  # noqa: PLR2004
        return bytes(value)
    raise MalformedEvidence("eif-signature-form", expected="arrays of integers from 0 to 255")
