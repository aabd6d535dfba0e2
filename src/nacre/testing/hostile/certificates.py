# SPDX-License-Identifier: Apache-2.0
"""TLS of the world that the harness plays: one authority that the app trusts, and one that nobody does.

A hostile host has no certificate for another's name. It can show a wrong one, and see who takes it.
"""

import datetime as dt
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

__all__ = ["Authority"]

#: Longer than a hostile clock jumps: what fails is to fail by the fault of the round.
_VALID = dt.timedelta(days=3650)
_SIGNS = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


class Authority:
    """Certifies names.

    Attributes:
        certificate: Its certificate, PEM.
    """

    def __init__(self, folder: Path, *, at: dt.datetime) -> None:
        """Make its key.

        Args:
            folder: A folder of its own, where servers' keys and certificates are put for OpenSSL to read.
            at: Now.
        """
        self._folder = folder
        self._at = at
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named("A world that is played")
        self._contexts: dict[str, ssl.SSLContext] = {}
        folder.mkdir()
        public = self._key.public_key()
        builder = (
            self._builder(self._name, public)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_SIGNS, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        )
        self.certificate = _pem(builder.sign(self._key, hashes.SHA256()))

    def context(self, name: str) -> ssl.SSLContext:
        """Return what a server of this name works with."""
        if name not in self._contexts:
            key = ec.generate_private_key(ec.SECP256R1())
            issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
            builder = (
                # A common name has at most 64 letters; clients read the other name.
                self._builder(_named(name[:64]), key.public_key())
                .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
                .add_extension(issuer, critical=False)
            )
            private = key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            file = self._folder / f"{len(self._contexts)}.pem"
            file.write_bytes(private + _pem(builder.sign(self._key, hashes.SHA256())))
            self._contexts[name] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._contexts[name].load_cert_chain(file)
        return self._contexts[name]

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._at - _VALID)
            .not_valid_after(self._at + _VALID)
        )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
