# SPDX-License-Identifier: Apache-2.0
"""Intel's authorities under a development root: certificates, revocation lists and all the keys.

The keys are random and kept in the root, those of its one machine too; all else follows from them and from
the day on which the root was made. So two processes with one root are the same Intel and the same machine.
"""

import datetime as dt
import functools
import hashlib
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)
from cryptography.x509.oid import NameOID

from nacre.platforms.dcap.simulated_faults import Faults
from nacre.platforms.simulation import Root

__all__ = ["DAY", "FAMILY", "LIST_LIFE", "Authorities", "create_root"]

#: Whose root it is: that of SGX and TDX.
FAMILY: Final = "dcap"
#: Seconds.
DAY: Final = 86_400
#: Seconds from one edition of a document to the end of its use.
LIST_LIFE: Final = 30 * DAY

_LIFE = 30 * 365 * DAY
_KEYS = ("root", "pck_ca", "tcb", "pck", "attestation")
_NAMES = {
    "root": "Intel SGX Root CA",
    "pck_ca": "Intel SGX PCK Platform CA",
    "tcb": "Intel SGX TCB Signing",
    "pck": "Intel SGX PCK Certificate",
}
_ISSUERS = {"root": "root", "pck_ca": "root", "tcb": "root", "pck": "pck_ca"}
_PATH_LENGTHS = {"root": 1, "pck_ca": 0}
_CRLS = {"pck_crl": ("pck_ca", ("pck",)), "root_ca_crl": ("root", ("pck_ca", "tcb"))}
_SERIAL_SIZE = 16
_SGX_EXTENSION = x509.ObjectIdentifier("1.2.840.113741.1.13.1")


def create_root(*, at: int) -> Root:
    """Make a new root, valid for 30 years from a day before ``at``, and its machine's keys."""
    keys = {name: ec.generate_private_key(ec.SECP256R1()) for name in _KEYS}
    documents = {
        f"{name}.key": key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        for name, key in keys.items()
    }
    draft = _draft("root", keys["root"], "root", at - DAY, at - DAY + _LIFE)
    certificate = draft.sign(keys["root"], hashes.SHA256(), ecdsa_deterministic=True)
    return Root(FAMILY, (certificate.public_bytes(Encoding.DER),), documents)


class Authorities:
    """Intel as the issuer of certificates and lists; and whoever else has a key here."""

    def __init__(self, root: Root, faults: Faults, *, sgx_extension: bytes, at: int) -> None:
        """Issue the certificates.

        Args:
            root: What ``create_root`` made.
            faults: What is wrong with them.
            sgx_extension: What is certified about the processor, DER.
            at: Now, Unix seconds.
        """
        self._faults = faults
        self._keys = {name: _load(root.documents[f"{name}.key"]) for name in _KEYS}
        own = x509.load_der_x509_certificate(root.certificates[0])
        #: When the root begins, Unix seconds.
        self.begins = int(own.not_valid_before_utc.timestamp())
        self._certificates = {"root": own}
        for name in ("pck_ca", "tcb", "pck"):
            dates = faults.dates(name, begins=self.begins, life=_LIFE, at=at)
            draft = _draft(name, self._keys[name], _ISSUERS[name], *dates)
            if name == "pck":
                extension = x509.UnrecognizedExtension(_SGX_EXTENSION, sgx_extension)
                draft = draft.add_extension(extension, critical=False)
            signer = self._keys[_ISSUERS[name]]
            self._certificates[name] = draft.sign(signer, hashes.SHA256(), ecdsa_deterministic=True)

    def chain(self, *names: str) -> bytes:
        """Return certificates and the root at their end, PEM."""
        return b"".join(self._certificates[name].public_bytes(Encoding.PEM) for name in (*names, "root"))

    def point(self, name: str) -> bytes:
        """Return a public key, x ‖ y, 64 bytes big-endian."""
        public = self._keys[name].public_key()
        return public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)[1:]

    def sign(self, name: str, message: bytes, *, what: str) -> bytes:
        """Sign with a key, r ‖ s, 64 bytes big-endian; ``what`` is signed may be at fault."""
        r, s = decode_dss_signature(self._signer(name, what).sign(message, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def revocations(self, role: str, *, at: int) -> bytes:
        """Make ``pck_crl`` or ``root_ca_crl`` of a day, DER."""
        issuer, below = _CRLS[role]
        begins, ends = self._faults.dates(role, begins=at - at % DAY, life=LIST_LIFE, at=at)
        key = self._keys[issuer]
        draft = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(_name(_NAMES[issuer]))
            .last_update(_time(begins))
            .next_update(_time(ends))
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False
            )
            .add_extension(x509.CRLNumber(begins // DAY), critical=False)
        )
        for name in (name for name in below if name in self._faults.revoked):
            serial = self._certificates[name].serial_number
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(_time(begins))
            draft = draft.add_revoked_certificate(entry.build())
        return draft.sign(self._signer(issuer, role), hashes.SHA256()).public_bytes(Encoding.DER)

    def _signer(self, name: str, what: str) -> ec.EllipticCurvePrivateKey:
        wrong = what in self._faults.wrong_signature
        return ec.generate_private_key(ec.SECP256R1()) if wrong else self._keys[name]


def _draft(
    name: str, key: ec.EllipticCurvePrivateKey, issuer: str, begins: int, ends: int
) -> x509.CertificateBuilder:
    public = key.public_key()
    spki = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    authority = name in _PATH_LENGTHS
    usage = x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=not authority,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )
    constraints = x509.BasicConstraints(ca=authority, path_length=_PATH_LENGTHS.get(name))
    # From the key, so that another process revokes the same certificate.
    serial = int.from_bytes(b"\1" + hashlib.sha256(spki).digest()[:_SERIAL_SIZE], "big")
    return (
        x509.CertificateBuilder()
        .subject_name(_name(_NAMES[name]))
        .issuer_name(_name(_NAMES[issuer]))
        .serial_number(serial)
        .not_valid_before(_time(begins))
        .not_valid_after(_time(ends))
        .public_key(public)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(usage, critical=True)
        .add_extension(constraints, critical=True)
    )


@functools.lru_cache(maxsize=32)
def _load(der: bytes) -> ec.EllipticCurvePrivateKey:
    key = load_der_private_key(der, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError("a key of a DCAP root was expected")
    return key


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Intel Corporation"),
            x509.NameAttribute(NameOID.LOCALITY_NAME, "Santa Clara"),
            x509.NameAttribute(NameOID.STATE_OR_PROVINCE_NAME, "CA"),
            x509.NameAttribute(NameOID.COUNTRY_NAME, "US"),
        ]
    )


def _time(seconds: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.UTC)
