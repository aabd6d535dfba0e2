# SPDX-License-Identifier: Apache-2.0
"""TLS keys and the certificates that they give themselves, as dstack's clients wish for them.

Apart from the other keys because few apps ask, and an agent that has not loaded this starts sooner.

Source: Dstack-TEE/dstack, ``dstack/guest-agent/src/rpc_service.rs`` (get_tls_key).
"""

import datetime as dt
import time

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from nacre.enclave.agent.dstack_keys import Wish, scalar
from nacre.errors import EnclaveError

__all__ = ["TlsKey", "certificate"]

_P256_ORDER = 0xFFFFFFFF_00000000_FFFFFFFF_FFFFFFFF_BCE6FAAD_A7179E84_F3B9CAC2_FC632551
_DAY = 86_400
_EARLY, _LIFE = 3600, 365 * _DAY
_MAX_NAMES = 64
_SHORT = 0x80


class TlsKey:
    """A P-256 key and the certificate that it gives itself."""

    def __init__(self, seed: bytes | None = None) -> None:
        """Make a new key, or the one of a seed of 32 bytes."""
        self._key = (
            ec.generate_private_key(ec.SECP256R1())
            if seed is None
            else ec.derive_private_key(scalar(seed, _P256_ORDER), ec.SECP256R1())
        )

    @property
    def spki(self) -> bytes:
        """DER SubjectPublicKeyInfo."""
        return self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def pem(self) -> str:
        """Return the key, PKCS#8."""
        return self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

    def signed(self, draft: x509.CertificateBuilder) -> str:
        """Sign a certificate; PEM."""
        made = draft.public_key(self._key.public_key()).sign(self._key, hashes.SHA256())
        return made.public_bytes(Encoding.PEM).decode()


def certificate(key: TlsKey, wish: Wish, *, extensions: dict[str, bytes]) -> str:
    """Make the certificate that was wished for; PEM.

    Args:
        key: Whose it is.
        wish: What it says.
        extensions: Object identifier to bytes, each put into an OCTET STRING.

    Raises:
        EnclaveError: ``dstack-certificate``: it cannot say that.
    """
    now = int(time.time())
    start = now - _EARLY if wish.not_before is None else wish.not_before
    end = now + _LIFE if wish.not_after is None else wish.not_after
    if start >= end or len(wish.alt_names) > _MAX_NAMES:
        raise EnclaveError("dstack-certificate", actual="its times or names")
    try:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, wish.subject or "nacre")])
        draft = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .serial_number(x509.random_serial_number())
            .not_valid_before(dt.datetime.fromtimestamp(start, dt.UTC))
            .not_valid_after(dt.datetime.fromtimestamp(end, dt.UTC))
        )
        if wish.alt_names:
            names = x509.SubjectAlternativeName([x509.DNSName(one) for one in wish.alt_names])
            draft = draft.add_extension(names, critical=False)
        wanted = (wish.usage_server_auth, wish.usage_client_auth)
        both = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
        usages = [usage for usage, wished in zip(both, wanted, strict=True) if wished]
        if usages:
            draft = draft.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        for identifier, value in extensions.items():
            extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(identifier), _octets(value))
            draft = draft.add_extension(extension, critical=False)
        return key.signed(draft)
    except (ValueError, OverflowError, OSError) as error:
        raise EnclaveError("dstack-certificate", actual=str(error)[:80]) from None


def _octets(value: bytes) -> bytes:
    size = len(value)
    if size < _SHORT:
        return b"\x04" + bytes((size,)) + value
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return b"\x04" + bytes((_SHORT | len(length),)) + length + value
