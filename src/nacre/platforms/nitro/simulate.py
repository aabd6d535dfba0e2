# SPDX-License-Identifier: Apache-2.0
"""A simulated Nitro hypervisor, with AWS's authorities behind it under a development root.

What it signs is as correct as AWS's own documents. ``Faults`` makes it sign what AWS never would: for
tests of verifiers and of policies.

Source: AWS, "Verifying the root of trust"; lifetimes as in ``endorsements.py``.
"""

import datetime as dt
import functools
import hashlib
from collections.abc import Mapping
from typing import ClassVar, Final, Literal

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from cryptography.x509.oid import NameOID

from nacre.platforms.nitro import PLATFORM
from nacre.platforms.nitro.evidence import DIGEST
from nacre.platforms.nitro.policy import parent_register
from nacre.platforms.simulation import Root, check_registers
from nacre.trust import cbor

__all__ = ["FAMILY", "INSTANCE", "MODULE", "REGION", "ROLE", "Faults", "Level", "create_root", "machine"]

#: Whose root it is.
FAMILY: Final = "nitro"
#: The parent instance of every simulated enclave.
INSTANCE: Final = "i-0123456789abcdef0"
MODULE: Final = f"{INSTANCE}-enc0123456789abcdef"
REGION: Final = "us-east-1"
#: The role of the parent instance.
ROLE: Final = "arn:aws:iam::123456789012:role/nacre-simulated"

#: The certificates below the root.
Level = Literal["regional", "zonal", "instance", "leaf"]

_HOUR = 3600
_DAY = 24 * _HOUR
_ROOT_LIFE = 30 * 365 * _DAY
_ES384 = b"\xa1\x01\x38\x22"  # {1: -35}
_ES384_SIZE = 48
_PCRS = 32
#: Those that are locked when the enclave starts, and so stand in every document.
_LOCKED = 16
_REGISTER = 48
_ROOT_NAME = "aws.nitro-enclaves"


class Faults(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is wrong with a machine; nothing, unless stated.

    Attributes:
        debug: The enclave runs in debug mode: PCR0 to PCR2 are zero.
        clock: Seconds that the document's timestamp is ahead of the machine's clock; negative: behind.
        expired: Authorities or the signer whose certificates ended an hour ago.
        future: Authorities or the signer whose certificates begin in an hour.
        missing: Authorities that are not in the bundle.
        reordered: The bundle has its last two authorities the other way round.
        wrong_curve: Certificates whose keys are on P-256 instead of P-384.
        not_authority: Authorities whose certificates say that they are none.
        short_path: Authorities that allow none below themselves.
        wrong_signature: The document is signed by another key than its certificate's.
        user_data: Size to which ``user_data`` is filled up by zeros; 0 for as it is. AWS allows 1,024.
        nonce: Likewise for ``nonce``.
        public_key: Likewise for ``public_key``.
        other_instance: PCR4 is that of another parent instance.
        other_module: The signer's certificate names another module.
    """

    debug: bool = False
    clock: int = 0
    expired: tuple[Level, ...] = ()
    future: tuple[Level, ...] = ()
    missing: tuple[Level, ...] = ()
    reordered: bool = False
    wrong_curve: tuple[Level, ...] = ()
    not_authority: tuple[Level, ...] = ()
    short_path: tuple[Level, ...] = ()
    wrong_signature: bool = False
    user_data: int = 0
    nonce: int = 0
    public_key: int = 0
    other_instance: bool = False
    other_module: bool = False


_HEALTHY: Final = Faults()


def create_root(*, at: int) -> Root:
    """Make a new root, valid for 30 years from a day before ``at``."""
    key = _key()
    usage = ("digital_signature", "key_cert_sign", "crl_sign")
    draft = _draft(_ROOT_NAME, _ROOT_NAME, key.public_key(), at - _DAY, at + _ROOT_LIFE)
    draft = _constrained(draft, ca=True, length=None, usage=usage)
    der = draft.sign(key, hashes.SHA384()).public_bytes(Encoding.DER)
    secret = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return Root(FAMILY, (der,), {"root.key": secret, "root.crt": der})


def machine(root: Root, *, at: int, faults: Faults = _HEALTHY) -> "NitroMachine":
    """Make a machine that has been there since ``at``."""
    del at  # AWS's certificates are renewed all the time: none is as old as the machine
    return NitroMachine(root, faults=faults)


class _Shape(msgspec.Struct, frozen=True):
    """A certificate below the root.

    Attributes:
        name: Its common name.
        life: How long it lives, in seconds.
        renewed: How often a new one is made.
        length: The authorities that may be below it; None for the signer, which is none.
    """

    name: str
    life: int
    renewed: int
    length: int | None


_SHAPES: Final[Mapping[Level, _Shape]] = {
    "regional": _Shape(f"5a3c9e0f17d2b486.{REGION}.{_ROOT_NAME}", 20 * _DAY, 6 * _DAY, 2),
    "zonal": _Shape(f"c1b2a39485768f0e.zonal.{REGION}.{_ROOT_NAME}", 6 * _DAY, 2 * _DAY, 1),
    "instance": _Shape(f"{INSTANCE}.{REGION}.{_ROOT_NAME}", _DAY, 8 * _HOUR, 0),
    "leaf": _Shape(f"{MODULE}.{REGION}.aws", 3 * _HOUR, _HOUR, None),
}


class _Issued(msgspec.Struct, frozen=True):
    """A chain: its certificates, root first, the signer last, and the key of each level."""

    certificates: tuple[bytes, ...]
    signer: ec.EllipticCurvePrivateKey


class NitroMachine:
    """A machine of AWS's that hosts one simulated enclave."""

    platform: ClassVar[str] = "nitro"

    def __init__(self, root: Root, *, faults: Faults = _HEALTHY) -> None:
        """Make a machine under a root that ``create_root`` made."""
        self._root = root
        self._faults = faults
        self._secret = _load(root.documents["root.key"])
        self._chain = functools.lru_cache(maxsize=4)(self._issue)

    @property
    def registers(self) -> Mapping[str, bytes]:
        """All 32 PCRs: those of an image, of the parent instance and its role, and zeros."""
        instance = "i-0fedcba9876543210" if self._faults.other_instance else INSTANCE
        image = {
            f"pcr{index}": hashlib.sha384(b"nacre simulated pcr%d" % index).digest() for index in range(3)
        }
        parent = {"pcr3": parent_register(ROLE), "pcr4": parent_register(instance)}
        return {f"pcr{index}": bytes(_REGISTER) for index in range(_PCRS)} | image | parent

    def endorsements(self, *, at: int) -> Mapping[str, bytes]:  # noqa: ARG002 (the chain is in the document)
        """Return nothing: AWS publishes no document beside the evidence."""
        return {}

    def evidence(
        self,
        data: bytes,
        *,
        registers: Mapping[str, bytes],
        at: int,
        nonce: bytes | None = None,
        public_key: bytes | None = None,
    ) -> bytes:
        """Make an attestation document; empty ``data`` stands for no ``user_data``.

        Raises:
            ConfigurationError: ``simulated-register`` or ``simulated-size``.
        """
        check_registers(registers, PLATFORM.registers, what=PLATFORM.title)
        faults = self._faults
        chain = self._chain(at - at % _HOUR)
        fields = (
            ("module_id", MODULE),
            ("digest", DIGEST),
            ("timestamp", (at + faults.clock) * 1000),
            ("pcrs", self._pcrs(registers)),
            ("certificate", chain.certificates[-1]),
            ("cabundle", _bundle(chain, faults)),
            ("public_key", _filled(public_key, faults.public_key)),
            ("user_data", _filled(data or None, faults.user_data)),
            ("nonce", _filled(nonce, faults.nonce)),
        )
        # AWS's order is not the deterministic one: nine pairs, as they stand.
        payload = b"\xa9" + b"".join([cbor.dumps(name) + cbor.dumps(value) for name, value in fields])
        signer = _key() if faults.wrong_signature else chain.signer
        return cbor.dumps([_ES384, {}, payload, _signature(signer, payload)])

    def _pcrs(self, stated: Mapping[str, bytes]) -> Mapping[int, bytes]:
        own = self.registers
        shown = {**{f"pcr{index}": own[f"pcr{index}"] for index in range(_LOCKED)}, **stated}
        if self._faults.debug:
            shown |= {f"pcr{index}": bytes(_REGISTER) for index in range(3)}
        return {int(name.removeprefix("pcr")): value for name, value in shown.items()}

    def _issue(self, hour: int) -> _Issued:
        """Issue the chain of an hour, Unix seconds."""
        certificates = [self._root.certificates[0]]
        above, signing = _ROOT_NAME, self._secret
        for level, shape in _SHAPES.items():
            key = _key(ec.SECP256R1() if level in self._faults.wrong_curve else ec.SECP384R1())
            name = shape.name
            if level == "leaf" and self._faults.other_module:
                name = name.replace("-enc0", "-enc1")
            draft = _draft(name, above, key.public_key(), *_dates(level, hour, self._faults))
            draft = self._extended(draft, level)
            certificates.append(draft.sign(signing, hashes.SHA384()).public_bytes(Encoding.DER))
            above, signing = name, key
        return _Issued(tuple(certificates), signing)

    def _extended(self, draft: x509.CertificateBuilder, level: Level) -> x509.CertificateBuilder:
        length = _SHAPES[level].length
        if length is None:
            return _constrained(
                draft, ca=False, length=None, usage=("digital_signature", "content_commitment")
            )
        if level in self._faults.not_authority:
            return _constrained(draft, ca=False, length=None, usage=("digital_signature",))
        if level in self._faults.short_path:
            length = 0
        usage = (
            ("key_cert_sign",) if level == "instance" else ("digital_signature", "key_cert_sign", "crl_sign")
        )
        return _constrained(draft, ca=True, length=length, usage=usage)


def _dates(level: Level, hour: int, faults: Faults) -> tuple[int, int]:
    """Say when a certificate begins and ends; one of an hour is made at its full hour."""
    shape = _SHAPES[level]
    if level in faults.expired:
        return hour - _HOUR - shape.life, hour - _HOUR
    if level in faults.future:
        return hour + 2 * _HOUR, hour + 2 * _HOUR + shape.life
    begins = hour - hour % shape.renewed
    return begins, begins + shape.life


def _bundle(chain: _Issued, faults: Faults) -> list[bytes]:
    root, *authorities = chain.certificates[:-1]
    kept = [der for level, der in zip(_SHAPES, authorities, strict=False) if level not in faults.missing]
    if faults.reordered:
        kept[-2:] = reversed(kept[-2:])
    return [root, *kept]


def _filled(value: bytes | None, size: int) -> bytes | None:
    return (value or b"").ljust(size, b"\0") if size else value


def _signature(signer: ec.EllipticCurvePrivateKey, payload: bytes) -> bytes:
    """Make r ‖ s, as long as a key on P-384 makes them."""
    signed = cbor.dumps(["Signature1", _ES384, b"", payload])
    r, s = decode_dss_signature(signer.sign(signed, ec.ECDSA(hashes.SHA384())))
    return r.to_bytes(_ES384_SIZE, "big") + s.to_bytes(_ES384_SIZE, "big")


def _key(curve: ec.EllipticCurve | None = None) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(curve or ec.SECP384R1())


def _load(der: bytes) -> ec.EllipticCurvePrivateKey:
    key = load_der_private_key(der, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError("the key of a Nitro root was expected")
    return key


def _draft(
    subject: str, issuer: str, key: ec.EllipticCurvePublicKey, begins: int, ends: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .serial_number(x509.random_serial_number())
        .not_valid_before(dt.datetime.fromtimestamp(begins, dt.UTC))
        .not_valid_after(dt.datetime.fromtimestamp(ends, dt.UTC))
        .public_key(key)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "US"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Amazon"),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "AWS"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _constrained(
    draft: x509.CertificateBuilder, *, ca: bool, length: int | None, usage: tuple[str, ...]
) -> x509.CertificateBuilder:
    bits = x509.KeyUsage(
        digital_signature="digital_signature" in usage,
        content_commitment="content_commitment" in usage,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign="key_cert_sign" in usage,
        crl_sign="crl_sign" in usage,
        encipher_only=False,
        decipher_only=False,
    )
    return draft.add_extension(x509.BasicConstraints(ca, length), critical=True).add_extension(
        bits, critical=True
    )
