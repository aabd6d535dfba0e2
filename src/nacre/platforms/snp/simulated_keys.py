# SPDX-License-Identifier: Apache-2.0
"""AMD's key service under a development root: authorities, VCEKs, VLEKs and revocation lists.

All product lines share two RSA keys, since these take seconds to make. VCEKs have serial numbers of their
own, where AMD's are all zero, so that a list can name one.
"""

import datetime as dt
import functools
from typing import Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from cryptography.x509.oid import NameOID

from nacre.platforms.simulation import Root
from nacre.platforms.snp.products import COMPONENTS, PRODUCTS, Product, Tcb
from nacre.platforms.snp.simulated_faults import Certificate, Faults
from nacre.platforms.snp.vek import COMMON_NAMES

__all__ = ["CSP", "FAMILY", "Certified", "Issuer", "create_root"]

#: Whose root it is.
FAMILY: Final = "snp"
#: The provider that a simulated VLEK names.
CSP: Final = "nacre-simulated"

_DAY = 86_400
_ROOT_LIFE = 25 * 365 * _DAY
_VEK_LIFE = 7 * 365 * _DAY
_LIST_LIFE = 180 * _DAY
_RSA_BITS = 4096
_PSS = padding.PSS(padding.MGF1(hashes.SHA384()), 48)
_LISTS = "https://kdsintf.amd.com/vcek/v1/{}/crl"
_AMD = "1.3.6.1.4.1.3704.1"
_ARCS = dict(zip(COMPONENTS, ("3.9", "3.1", "3.2", "3.3", "3.8"), strict=True))
_RESERVED = ("3.4", "3.5", "3.6", "3.7")
#: What VCEKs call a product, where that is not the line's name.
_STEPPED = {"Milan": "Milan-B0"}
_IA5_STRING = 0x16

_PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey


class Certified(msgspec.Struct, frozen=True):
    """The key of a chip and its certificates, DER."""

    key: ec.EllipticCurvePrivateKey
    vek: bytes
    ask: bytes
    ark: bytes


def create_root(*, at: int) -> Root:
    """Make new roots, one a product line, valid for 25 years from a day before ``at``. Takes seconds."""
    ark, authority = (rsa.generate_private_key(65537, _RSA_BITS) for _ in range(2))
    certificates = []
    for name in PRODUCTS:
        own = _name(f"ARK-{name}")
        draft = _authority(_draft(own, own, ark.public_key(), at - _DAY, at + _ROOT_LIFE), None, line=name)
        certificates.append(_issued(_identified(draft, ark.public_key()), ark))
    secrets = {"ark.key": ark, "authority.key": authority}
    documents = {
        name: key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        for name, key in secrets.items()
    }
    return Root(FAMILY, tuple(certificates), documents)


class Issuer:
    """Issues what is below the root of one product line."""

    def __init__(self, root: Root, product: Product, faults: Faults) -> None:
        """Take the keys of a root that ``create_root`` made."""
        self._ark = root.certificates[list(PRODUCTS).index(product.name)]
        self._issuer = x509.load_der_x509_certificate(self._ark).subject
        self._root = _load(root.documents["ark.key"])
        self._authority = _load(root.documents["authority.key"])
        self._product = product
        self._faults = faults

    def certify(self, hwid: bytes, tcb: Tcb, *, at: int) -> Certified:
        """Make and certify a key for a chip at a TCB."""
        product, kind = self._product, "vlek" if self._faults.vlek else "vcek"
        above = _name(product.asvk if self._faults.vlek else product.ask)
        begins, ends = self._dates("ask", at, _ROOT_LIFE - _DAY)
        public = self._authority.public_key()
        draft = _authority(_draft(above, self._issuer, public, begins, ends), 0, line=product.name)
        ask = _issued(_identified(draft, public, by=self._root.public_key()), self._root)
        key = ec.generate_private_key(ec.SECP384R1())
        begins, ends = self._dates("vek", at, _VEK_LIFE)
        draft = _draft(_name(COMMON_NAMES[kind]), above, key.public_key(), begins, ends)
        name = product.name if self._faults.vlek else _STEPPED.get(product.name, product.name)
        extensions = {"1": _number(product.struct_version), "2": _text(name)}
        for name, level in zip(COMPONENTS, msgspec.structs.astuple(tcb), strict=True):
            if level is not None:
                extensions[_ARCS[name]] = _number(level)
        extensions |= dict.fromkeys(_RESERVED, _number(0))
        extensions |= {"5": _text(CSP)} if self._faults.vlek else {"4": hwid}
        for arcs, value in extensions.items():
            oid = x509.ObjectIdentifier(f"{_AMD}.{arcs}")
            draft = draft.add_extension(x509.UnrecognizedExtension(oid, value), critical=False)
        return Certified(key, _issued(draft, self._authority), ask, self._ark)

    def revocations(self, key: Certified, *, at: int) -> bytes:
        """Make the revocation list of a day."""
        begins = at - at % _DAY
        ends = begins + _LIST_LIFE
        if self._faults.expired_crl:
            begins, ends = at - _DAY - _LIST_LIFE, at - _DAY
        draft = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self._issuer)
            .last_update(_time(begins))
            .next_update(_time(ends))
            .add_extension(x509.CRLNumber(max(begins, 0) // _DAY), critical=False)
        )
        for which in self._faults.revoked:
            serial = x509.load_der_x509_certificate(key.vek if which == "vek" else key.ask).serial_number
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(_time(begins))
            draft = draft.add_revoked_certificate(entry.build())
        return draft.sign(self._root, hashes.SHA384(), rsa_padding=_PSS).public_bytes(Encoding.DER)

    def _dates(self, which: Certificate, at: int, life: int) -> tuple[int, int]:
        if which in self._faults.expired:
            return at - _DAY - life, at - _DAY
        if which in self._faults.future:
            return at + _DAY, at + _DAY + life
        return at - _DAY, at - _DAY + life


def _draft(
    subject: x509.Name, issuer: x509.Name, key: _PublicKey, begins: int, ends: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_time(begins))
        .not_valid_after(_time(ends))
        .public_key(key)
    )


def _authority(draft: x509.CertificateBuilder, length: int | None, *, line: str) -> x509.CertificateBuilder:
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=length is None,
        encipher_only=False,
        decipher_only=False,
    )
    where = [x509.UniformResourceIdentifier(_LISTS.format(line))]
    return (
        draft.add_extension(x509.BasicConstraints(ca=True, path_length=length), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(
            x509.CRLDistributionPoints([x509.DistributionPoint(where, None, None, None)]), critical=False
        )
    )


def _identified(
    draft: x509.CertificateBuilder, key: rsa.RSAPublicKey, *, by: rsa.RSAPublicKey | None = None
) -> x509.CertificateBuilder:
    draft = draft.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    if by is None:
        return draft
    return draft.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by), critical=False)


def _issued(draft: x509.CertificateBuilder, key: rsa.RSAPrivateKey) -> bytes:
    return draft.sign(key, hashes.SHA384(), rsa_padding=_PSS).public_bytes(Encoding.DER)


@functools.lru_cache(maxsize=8)
def _load(der: bytes) -> rsa.RSAPrivateKey:
    # OpenSSL takes half a second to see that primes are primes, and these are its own: ``create_root``.
    key = load_der_private_key(der, None, unsafe_skip_rsa_key_validation=True)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise TypeError("a key of an SNP root was expected")
    return key


def _name(common_name: str) -> x509.Name:
    parts = (
        (NameOID.ORGANIZATIONAL_UNIT_NAME, "Engineering"),
        (NameOID.COUNTRY_NAME, "US"),
        (NameOID.LOCALITY_NAME, "Santa Clara"),
        (NameOID.STATE_OR_PROVINCE_NAME, "CA"),
        (NameOID.ORGANIZATION_NAME, "Advanced Micro Devices"),
        (NameOID.COMMON_NAME, common_name),
    )
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in parts])


def _time(seconds: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.UTC)


def _number(value: int) -> bytes:
    """Encode an INTEGER of one byte, not negative."""
    content = value.to_bytes(value.bit_length() // 8 + 1, "big")
    return bytes((2, len(content))) + content


def _text(value: str) -> bytes:
    return bytes((_IA5_STRING, len(value))) + value.encode()
