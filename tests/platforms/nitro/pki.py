# SPDX-License-Identifier: Apache-2.0
"""A PKI of AWS's shape under a root of its own, to sign documents that AWS never would."""

import datetime as dt
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from nacre.platforms.nitro.policy import parent_register
from nacre.trust import cbor
from nacre.trust.anchors import Anchor, private_anchor

NOW = 1_780_315_200  # 2026-06-01T12:00:00Z
HOUR = 3600
DAY = 24 * HOUR
MODULE = "i-0123456789abcdef0-enc0123456789abcdef"
INSTANCE = "i-0123456789abcdef0"

Pair = tuple[object, object]


@dataclass(frozen=True)
class Spec:
    """One certificate. ``issuer`` and ``signer`` default to the one above."""

    name: str
    ca: bool | None = True
    path_length: int | None = None
    usage: tuple[str, ...] = ("key_cert_sign", "crl_sign", "digital_signature")
    begins: int = NOW - DAY
    ends: int = NOW + DAY
    issuer: str = ""
    signer: str = ""
    key: str = ""
    curve: ec.EllipticCurve = field(default_factory=ec.SECP384R1)
    digest: hashes.SHA256 | hashes.SHA384 | hashes.SHA512 = field(default_factory=hashes.SHA384)
    critical: str = ""
    padding: int = 0
    serial: int = 0


LEVELS: Mapping[str, Spec] = {
    "root": Spec("aws.nitro-enclaves", begins=NOW - 3000 * DAY, ends=NOW + 3000 * DAY),
    "regional": Spec("00aa.us-east-1.aws.nitro-enclaves", path_length=2, ends=NOW + 20 * DAY),
    "zonal": Spec("00bb.zonal.us-east-1.aws.nitro-enclaves", path_length=1, ends=NOW + 6 * DAY),
    "instance": Spec(f"{INSTANCE}.us-east-1.aws.nitro-enclaves", path_length=0, usage=("key_cert_sign",)),
    "leaf": Spec(
        f"{MODULE}.us-east-1.aws",
        ca=False,
        usage=("digital_signature", "content_commitment"),
        begins=NOW - HOUR,
        ends=NOW + 2 * HOUR,
    ),
}
_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


@functools.cache
def key(name: str, curve: str = "secp384r1") -> ec.EllipticCurvePrivateKey:  # noqa: ARG001 (by the cache)
    """Return the one key of this name."""
    return ec.generate_private_key({"secp384r1": ec.SECP384R1(), "secp256r1": ec.SECP256R1()}[curve])


def key_of(level: str, spec: Spec) -> ec.EllipticCurvePrivateKey:
    return key(spec.key or level, spec.curve.name)


@dataclass(frozen=True)
class Chain:
    """An issued chain, root first, and the key that signs documents."""

    certificates: tuple[bytes, ...]
    signer: ec.EllipticCurvePrivateKey
    anchor: Anchor

    @property
    def bundle(self) -> tuple[bytes, ...]:
        return self.certificates[:-1]

    @property
    def leaf(self) -> bytes:
        return self.certificates[-1]

    def document(self, *changes: Pair, drop: Sequence[str] = (), indefinite: bool = False) -> bytes:
        """Sign a document with fields replaced, added (also twice) or dropped."""
        return self.sign(payload(self, *changes, drop=drop, indefinite=indefinite))

    def sign(self, body: bytes, *, protected: bytes = b"\xa1\x01\x38\x22") -> bytes:
        """Sign payload bytes, whatever they are."""
        return envelope(body, self.signature(body, protected), protected=protected)

    def signature(self, body: bytes, protected: bytes = b"\xa1\x01\x38\x22") -> bytes:
        """Make r ‖ s over a payload."""
        signed = cbor.dumps(["Signature1", protected, b"", body])
        r, s = decode_dss_signature(self.signer.sign(signed, ec.ECDSA(hashes.SHA384())))
        size = self.signer.key_size // 8
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")


def envelope(
    body: object, signature: object, *, protected: object = b"\xa1\x01\x38\x22", unprotected: object = None
) -> bytes:
    """Put together a COSE_Sign1 message."""
    return cbor.dumps([protected, {} if unprotected is None else unprotected, body, signature])


def issue(
    changes: Mapping[str, Mapping[str, object]] | None = None, *, order: Sequence[str] = tuple(LEVELS)
) -> Chain:
    """Issue a chain with some properties of some levels changed."""
    changes = changes or {}
    specs = {level: replace(LEVELS[level], **changes.get(level, {})) for level in order}  # type: ignore[arg-type]
    ders = []
    above = order[0]
    for level in order:
        ders.append(_certificate(level, specs, above))
        above = level
    leaf = order[-1]
    return Chain(tuple(ders), key_of(leaf, specs[leaf]), private_anchor(ders[0]))


@functools.cache
def standard() -> Chain:
    """Return the chain that has nothing wrong."""
    return issue()


def _certificate(level: str, specs: Mapping[str, Spec], above: str) -> bytes:
    spec = specs[level]
    signer = spec.signer or above
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(spec.name))
        .issuer_name(_name(spec.issuer or specs[above].name))
        .serial_number(spec.serial or 1000 + list(LEVELS).index(level))
        .not_valid_before(dt.datetime.fromtimestamp(spec.begins, dt.UTC))
        .not_valid_after(dt.datetime.fromtimestamp(spec.ends, dt.UTC))
        .public_key(key_of(level, spec).public_key())
    )
    if spec.ca is not None:
        length = spec.path_length if spec.ca else None
        builder = builder.add_extension(x509.BasicConstraints(spec.ca, length), critical=True)
    if spec.usage:
        flags = {usage: usage in spec.usage for usage in _USAGES}
        builder = builder.add_extension(x509.KeyUsage(**flags), critical=level != "leaf")
    if spec.critical:
        extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(spec.critical), b"\x05\x00")
        builder = builder.add_extension(extension, critical=True)
    if spec.padding:
        extension = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.5"), bytes(spec.padding))
        builder = builder.add_extension(extension, critical=False)
    signing = key(signer) if signer not in specs else key_of(signer, specs[signer])
    return builder.sign(signing, spec.digest).public_bytes(Encoding.DER)


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "US"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Amazon"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def pcrs() -> dict[int, bytes]:
    """Return registers that have nothing wrong."""
    registers = {index: bytes(48) for index in range(16)}
    registers |= {index: bytes([index + 1]) * 48 for index in range(3)}
    return registers | {4: parent_register(INSTANCE)}


def payload(chain: Chain, *changes: Pair, drop: Sequence[str] = (), indefinite: bool = False) -> bytes:
    """Encode a payload: AWS's fields in AWS's order, some replaced; repeated or unknown keys come last."""
    fields: dict[object, object] = {
        "module_id": MODULE,
        "digest": "SHA384",
        "timestamp": NOW * 1000,
        "pcrs": pcrs(),
        "certificate": chain.leaf,
        "cabundle": list(chain.bundle),
        "public_key": None,
        "user_data": None,
        "nonce": None,
    }
    extra: list[Pair] = []
    seen: set[object] = set()
    for name, value in changes:
        if name in fields and name not in seen:
            fields[name] = value
        else:
            extra.append((name, value))
        seen.add(name)
    return encode_map([pair for pair in fields.items() if pair[0] not in drop] + extra, indefinite=indefinite)


def encode_map(pairs: Sequence[Pair], *, indefinite: bool = False) -> bytes:
    """Encode a map in the order given, duplicates included. ``Raw`` values go in as they are."""
    body = b"".join(_raw(name) + _raw(value) for name, value in pairs)
    if indefinite:
        return b"\xbf" + body + b"\xff"
    head = cbor.dumps(dict.fromkeys(range(len(pairs))))
    return head[: 1 if len(pairs) < 24 else 2] + body


class Raw(bytes):
    """CBOR that is encoded already."""

    __slots__ = ()


def _raw(value: object) -> bytes:
    return bytes(value) if isinstance(value, Raw) else cbor.dumps(value)
