# SPDX-License-Identifier: Apache-2.0
"""A PKI of AMD's shape under roots of its own, and reports that no firmware would make, correctly signed."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.trust.forge import constraints, extension, name, number, sequence, tlv, usage, utc

from nacre.platforms.base import Endorsements
from nacre.platforms.snp.report import LAYOUT, SIGNED_SIZE
from nacre.trust import oids
from nacre.trust.anchors import Anchor, private_anchor

NOW = 1_780_315_200  # 2026-06-01T12:00:00Z
DAY = 86_400
BEGINS, ENDS = b"250601120000Z", b"280601120000Z"
LIST_BEGINS, LIST_ENDS = b"260501120000Z", b"260701120000Z"

_SHA384 = "300d06096086480165030402020500"
_MGF1 = f"301a06092a864886f70d010108{_SHA384}"
_SHA256 = "300d06096086480165030402010500"


def pss(
    *,
    digest: str = _SHA384,
    mask: str = _MGF1,
    salt: int = 48,
    trailer: int | None = None,
    oid: bytes = oids.RSASSA_PSS,
    parameters: bytes | None = None,
) -> bytes:
    """Encode an AlgorithmIdentifier of RSASSA-PSS."""
    if parameters is None:
        parts = [tlv(0xA0, bytes.fromhex(digest)), tlv(0xA1, bytes.fromhex(mask)), tlv(0xA2, number(salt))]
        if trailer is not None:
            parts.append(tlv(0xA3, number(trailer)))
        parameters = sequence(*parts)
    return sequence(tlv(0x06, oid), parameters)


PSS = pss()
#: As AMD's older certificates have it: the default written out.
PSS_EXPLICIT = pss(trailer=1)
PSS_SHA256 = pss(digest=_SHA256, mask=f"301a06092a864886f70d010108{_SHA256}", salt=32)


def rsa_key(label: str, size: int = 4096) -> rsa.RSAPrivateKey:
    """Return the one RSA key of this label and size."""
    return _rsa_key(label, size)


def ec_key(label: str, curve: type[ec.EllipticCurve] = ec.SECP384R1) -> ec.EllipticCurvePrivateKey:
    """Return the one EC key of this label and curve."""
    return _ec_key(label, curve)


@functools.cache
def _rsa_key(label: str, size: int) -> rsa.RSAPrivateKey:  # noqa: ARG001 (by the cache)
    return rsa.generate_private_key(65537, size)


@functools.cache
def _ec_key(label: str, curve: type[ec.EllipticCurve]) -> ec.EllipticCurvePrivateKey:  # noqa: ARG001
    return ec.generate_private_key(curve())


def sign_pss(body: bytes, key: rsa.RSAPrivateKey, *, salt: int = 48) -> bytes:
    return key.sign(body, padding.PSS(padding.MGF1(hashes.SHA384()), salt), hashes.SHA384())


Extension = tuple[str, bytes]
_AMD = bytes.fromhex("2b060104019c7801")


def amd(arcs: str, value: bytes) -> bytes:
    """Encode one of AMD's extensions: ``3.1`` is blSPL."""
    return extension(_AMD + bytes(int(arc) for arc in arcs.split(".")), value)


def text(value: str) -> bytes:
    return tlv(0x16, value.encode())


@dataclass(frozen=True, kw_only=True)
class Spec:
    """One certificate. ``signer`` names the RSA key that signs, ``key`` the one that is certified."""

    subject: str
    issuer: str
    key: str
    signer: str
    serial: int = 7
    begins: bytes = BEGINS
    ends: bytes = ENDS
    algorithm: bytes = PSS
    salt: int = 48
    extensions: tuple[bytes, ...] = ()
    size: int = 4096
    curve: type[ec.EllipticCurve] | None = None

    def der(self) -> bytes:
        if self.curve is None:
            public: rsa.RSAPublicKey | ec.EllipticCurvePublicKey = rsa_key(self.key, self.size).public_key()
        else:
            public = ec_key(self.key, self.curve).public_key()
        body = sequence(
            b"\xa0\x03\x02\x01\x02",
            number(self.serial),
            self.algorithm,
            name(self.issuer),
            sequence(utc(self.begins), utc(self.ends)),
            name(self.subject),
            public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
            tlv(0xA3, sequence(*self.extensions)) if self.extensions else b"",
        )
        signature = sign_pss(body, rsa_key(self.signer), salt=self.salt)
        return sequence(body, self.algorithm, tlv(0x03, b"\0", signature))


@functools.lru_cache(maxsize=512)
def _der(spec: Spec) -> bytes:
    return spec.der()


_ARK = (constraints(), usage(b"\x01\x06"))
_AUTHORITY = (constraints(length=0), usage(b"\x02\x04"))
_PROCESSORS = {"Milan": (0x19, 0x01, 1), "Genoa": (0x19, 0x11, 1), "Turin": (0x1A, 0x02, 1)}
#: Above every row of the table of minimum TCBs.
LEVELS: Mapping[str, Mapping[str, int]] = {
    "Milan": {"bootloader": 4, "tee": 0, "snp": 0x1D, "microcode": 0xDE},
    "Genoa": {"bootloader": 10, "tee": 0, "snp": 0x1B, "microcode": 0x56},
    "Turin": {"fmc": 1, "bootloader": 2, "tee": 3, "snp": 4, "microcode": 0x51},
}
_ARCS = {"bootloader": "3.1", "tee": "3.2", "snp": "3.3", "microcode": "3.8", "fmc": "3.9"}
_PLACES = {
    "Milan": {"bootloader": 0, "tee": 1, "snp": 6, "microcode": 7},
    "Turin": {"fmc": 0, "bootloader": 1, "tee": 2, "snp": 3, "microcode": 7},
}
HWID = bytes(range(1, 65))
CSP = "CN=cc-test.example"


def version_of(product: str, levels: Mapping[str, int]) -> bytes:
    """Encode a TCB_VERSION; the places are written down here once more, not taken from what is tested."""
    places = _PLACES["Turin" if product == "Turin" else "Milan"]
    version = bytearray(8)
    for part, level in levels.items():
        version[places[part]] = level
    return bytes(version)


def hwid_of(product: str) -> bytes:
    return HWID[:8] if product == "Turin" else HWID


@dataclass(frozen=True, kw_only=True)
class World:
    """Everything about one report: who signed it, what it says, and what is known beside it.

    Attributes:
        product: The product line that the certificates are of.
        kind: ``vcek`` or ``vlek``.
        version: Version of the report.
        report: Fields of the report to change, by the names of ``Report``.
        levels: Levels in the certificate to change.
        vek: Properties of the VCEK or VLEK to change; ``authority`` and ``ark`` likewise.
        drop: Extensions of the VCEK or VLEK to leave out, by their arcs.
        add: Extensions to add, or to replace.
        revoked: Serial numbers on the revocation list; None for no list.
        crl: Properties of the list to change.
        signer: The key that signs the report, instead of the certified one.
        tail: What is put behind the report.
    """

    product: str = "Genoa"
    kind: str = "vcek"
    version: int = 5
    report: Mapping[str, bytes | int] = field(default_factory=dict)
    levels: Mapping[str, int] = field(default_factory=dict)
    vek: Mapping[str, object] = field(default_factory=dict)
    authority: Mapping[str, object] = field(default_factory=dict)
    ark: Mapping[str, object] = field(default_factory=dict)
    drop: tuple[str, ...] = ()
    add: Mapping[str, bytes] = field(default_factory=dict)
    revoked: tuple[int, ...] | None = (0x20001,)
    crl: Mapping[str, object] = field(default_factory=dict)
    signer: str = ""
    tail: bytes = b""

    def but(self, **changes: object) -> "World":
        return replace(self, **changes)  # type: ignore[arg-type]

    def _spec(self, level: str) -> Spec:
        line = self.product
        ark = f"ark-{line}"
        if level == "ark":
            spec = Spec(
                subject=f"ARK-{line}", issuer=f"ARK-{line}", key=ark, signer=ark, serial=1, extensions=_ARK
            )
            return replace(spec, **self.ark)  # type: ignore[arg-type]
        above = f"SEV-{line}" if self.kind == "vcek" else f"SEV-VLEK-{line}"
        own = ("ask" if self.kind == "vcek" else "asvk") + f"-{line}"
        if level == "ask":
            spec = Spec(
                subject=above,
                issuer=f"ARK-{line}",
                key=own,
                signer=ark,
                serial=0x20002,
                extensions=_AUTHORITY,
                algorithm=PSS_EXPLICIT,
            )
            return replace(spec, **self.authority)  # type: ignore[arg-type]
        spec = Spec(
            subject=f"SEV-{self.kind.upper()}",
            issuer=above,
            key=f"{self.kind}-{line}",
            signer=own,
            serial=0,
            extensions=self._vek_extensions(),
            curve=ec.SECP384R1,
        )
        return replace(spec, **self.vek)  # type: ignore[arg-type]

    def _vek_extensions(self) -> tuple[bytes, ...]:
        levels = {**LEVELS[self.product], **self.levels}
        found = {
            "1": number(int(self.product == "Turin")),
            "2": text(self.product if self.kind == "vlek" else f"{self.product}-B1"),
            **{_ARCS[part]: number(level) for part, level in levels.items()},
            **{f"3.{index}": number(0) for index in (5, 6, 7)},
        }
        if self.product != "Turin":
            found["3.4"] = number(0)
        if self.kind == "vcek":
            found["4"] = hwid_of(self.product)
        else:
            found["5"] = text(CSP)
        found |= self.add
        return tuple(amd(arcs, value) for arcs, value in found.items() if arcs not in self.drop)

    def der(self, level: str) -> bytes:
        """Return a certificate: ``ark``, ``ask`` (ASK or ASVK) or ``vek`` (VCEK or VLEK)."""
        return _der(self._spec(level))

    @property
    def anchor(self) -> Anchor:
        return private_anchor(self.der("ark"))

    def revocations(self) -> bytes | None:
        """Make the revocation list."""
        if self.revoked is None:
            return None
        return _list(self.product, self.revoked, tuple(self.crl.items()))

    @property
    def documents(self) -> dict[str, bytes]:
        found = {"vek": self.der("vek"), "ask": self.der("ask")}
        crl = self.revocations()
        return found if crl is None else {**found, "crl": crl}

    @property
    def endorsements(self) -> Endorsements:
        return Endorsements(self.documents)

    def unsigned(self) -> bytes:
        """Encode the report with its signature left out."""
        fields: dict[str, bytes | int] = {
            key: b"" if key.startswith("reserved") else 0 for key, _, _ in LAYOUT.fields
        }
        tcb = version_of(self.product, LEVELS[self.product])
        fields |= {
            "version": self.version,
            "policy": 0x30000,
            "signature_algo": 1,
            "platform_info": 0x25,
            "signer_info": 0 if self.kind == "vcek" else 1 << 2,
            "family_id": b"F" * 16,
            "image_id": b"I" * 16,
            "report_data": b"D" * 64,
            "measurement": b"M" * 48,
            "host_data": b"H" * 32,
            "id_key_digest": bytes(48),
            "author_key_digest": bytes(48),
            "report_id": b"R" * 32,
            "report_id_ma": b"\xff" * 32,
            "chip_id": hwid_of(self.product) if self.kind == "vcek" else b"",
            **dict.fromkeys(("current_tcb", "reported_tcb", "committed_tcb", "launch_tcb"), tcb),
            **dict.fromkeys(("current_major", "committed_major"), 1),
            **dict.fromkeys(("current_minor", "committed_minor"), 55),
            **dict.fromkeys(("current_build", "committed_build"), 29),
            "r": b"",
            "s": b"",
        }
        if self.version >= 3:
            processor = zip(
                ("cpuid_family", "cpuid_model", "cpuid_stepping"), _PROCESSORS[self.product], strict=True
            )
            fields |= dict(processor)
        fields |= self.report
        return LAYOUT.packed.pack(*fields.values())

    def evidence(self) -> bytes:
        """Sign the report."""
        return sign(self.unsigned(), self.signer or self._spec("vek").key) + self.tail


def sign(report: bytes, label: str) -> bytes:
    """Put a signature over the front of a report where it belongs, R and S little-endian."""
    r, s = decode_dss_signature(ec_key(label).sign(report[:SIGNED_SIZE], ec.ECDSA(hashes.SHA384())))
    signature = r.to_bytes(72, "little") + s.to_bytes(72, "little")
    return report[:SIGNED_SIZE] + signature + report[SIGNED_SIZE + len(signature) :]


@functools.lru_cache(maxsize=64)
def _list(product: str, revoked: tuple[int, ...], changes: tuple[tuple[str, object], ...]) -> bytes:
    properties: dict[str, object] = {
        "issuer": f"ARK-{product}",
        "signer": f"ark-{product}",
        "begins": LIST_BEGINS,
        "ends": LIST_ENDS,
        "algorithm": PSS,
        **dict(changes),
    }
    entries = [sequence(number(serial), utc(BEGINS)) for serial in revoked]
    algorithm = properties["algorithm"]
    assert isinstance(algorithm, bytes)
    begins, ends = properties["begins"], properties["ends"]
    assert isinstance(begins, bytes)
    assert isinstance(ends, bytes)
    body = sequence(
        b"\x02\x01\x01",
        algorithm,
        name(str(properties["issuer"])),
        utc(begins),
        utc(ends),
        sequence(*entries) if entries else b"",
        tlv(0xA0, sequence(extension(oids.CRL_NUMBER, number(4)))),
    )
    return sequence(body, algorithm, tlv(0x03, b"\0", sign_pss(body, rsa_key(str(properties["signer"])))))
