# SPDX-License-Identifier: Apache-2.0
"""A PKI of Intel's shape under a root of its own: quotes and collateral that Intel never signed.

Every part of a :class:`World` can be replaced, and what is replaced is signed as correctly as the rest.
"""

import datetime as dt
import functools
import hashlib
import json
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from nacre.appraisal.bindings import Binding
from nacre.platforms.base import Endorsements
from nacre.platforms.dcap.layout import BODY_TYPES, SGX_REPORT
from nacre.platforms.layout import Layout
from nacre.trust.anchors import Anchor, private_anchor

NOW = 1_780_315_200  # 2026-06-01T12:00:00Z
DAY = 86_400
NONCE = bytes(range(100, 132))

Json = dict[str, object]
Names = tuple[str, ...]

_VENDOR = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_SGX_EXTENSION = "1.2.840.113741.1.13.1"
_SGX_OID = bytes.fromhex("2a864886f84d010d01")
_USAGES = ("digital_signature", "content_commitment", "key_cert_sign", "crl_sign")
_SIGN, _CERT_SIGN = _USAGES[:2], _USAGES[2:]
_ECDSA = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)


# ── Keys and certificates ────────────────────────────────────────────────────────────────────────────


@functools.cache
def key(name: str) -> ec.EllipticCurvePrivateKey:
    """Return the one key of this name, the same on every day."""
    number = int.from_bytes(hashlib.sha512(name.encode()).digest(), "big") % (_ORDER - 1) + 1
    return ec.derive_private_key(number, ec.SECP256R1())


def sign(name: str, message: bytes) -> bytes:
    """Make r ‖ s, big-endian."""
    r, s = decode_dss_signature(key(name).sign(message, _ECDSA))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def point(name: str) -> bytes:
    """Return a public key as x ‖ y, big-endian."""
    return key(name).public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)[1:]


@dataclass(frozen=True)
class Spec:
    """One certificate; ``issuer`` is the level that issues it, ``signer`` and ``key`` are names of keys."""

    name: str
    issuer: str = "root"
    signer: str = ""
    key: str = ""
    ca: bool | None = True
    path_length: int | None = None
    usage: Names | None = None
    begins: int = NOW - 900 * DAY
    ends: int = NOW + 900 * DAY
    serial: int = 99
    extensions: tuple[tuple[str, bool, bytes], ...] = ()


LEVELS: Mapping[str, Spec] = {
    "root": Spec("Intel SGX Root CA", path_length=1, serial=11),
    "pck-ca": Spec("Intel SGX PCK Platform CA", path_length=0, serial=12),
    "pck": Spec("Intel SGX PCK Certificate", "pck-ca", ca=False, serial=13),
    "tcb": Spec("Intel SGX TCB Signing", ca=False, serial=14),
}


@functools.cache
def certificate(level: str, spec: Spec, issuer: str, signer: str) -> x509.Certificate:
    """Issue a certificate under the name ``issuer`` with the key ``signer``."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(spec.name))
        .issuer_name(_name(issuer))
        .serial_number(spec.serial)
        .not_valid_before(dt.datetime.fromtimestamp(spec.begins, dt.UTC))
        .not_valid_after(dt.datetime.fromtimestamp(spec.ends, dt.UTC))
        .public_key(key(spec.key or level).public_key())
    )
    if spec.ca is not None:
        length = spec.path_length if spec.ca else None
        builder = builder.add_extension(x509.BasicConstraints(spec.ca, length), critical=True)
    usages = (_CERT_SIGN if spec.ca else _SIGN) if spec.usage is None else spec.usage
    if usages:
        flags = {usage: usage in usages for usage in _USAGES}
        rest = ("key_encipherment", "data_encipherment", "key_agreement", "encipher_only", "decipher_only")
        builder = builder.add_extension(x509.KeyUsage(**flags, **dict.fromkeys(rest, False)), critical=True)
    for oid, critical, value in spec.extensions:
        extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), value)
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(key(signer), hashes.SHA256(), ecdsa_deterministic=True)


def resigned(signed: bytes, old: bytes, new: bytes, signer: str) -> bytes:
    """Replace bytes inside the signed part of a certificate or list, same size, and sign it anew."""
    whole = x509.load_der_x509_certificate(signed)
    assert len(old) == len(new)
    assert whole.tbs_certificate_bytes.count(old) == 1
    tbs = whole.tbs_certificate_bytes.replace(old, new)
    signature = key(signer).sign(tbs, _ECDSA)
    algorithm = der(0x30, der(0x06, bytes.fromhex("2a8648ce3d040302")))
    return der(0x30, tbs + algorithm + der(0x03, b"\0" + signature))


def pem(*ders: bytes) -> bytes:
    """Write certificates as PEM."""
    return b"".join(x509.load_der_x509_certificate(one).public_bytes(Encoding.PEM) for one in ders)


@functools.cache
def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Intel Corporation"),
            x509.NameAttribute(NameOID.COUNTRY_NAME, "US"),
        ]
    )


# ── The SGX extension of a PCK certificate ───────────────────────────────────────────────────────────


def der(tag: int, content: bytes) -> bytes:
    """Encode one DER element."""
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def pair(path: Sequence[int], value: bytes) -> bytes:
    """Encode a field of the SGX extension: its OID below Intel's, and its value."""
    return der(0x30, der(0x06, _SGX_OID + bytes(path)) + value)


def integer(value: int) -> bytes:
    return der(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


SVNS = (5, 5, 2, 2, 3, 1, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0)
PCESVN = 13
FMSPC = bytes.fromhex("00806f050000")
PPID = bytes(range(16))
INSTANCE = bytes(range(16, 32))


def extension_fields(
    svns: Sequence[int] = SVNS, pcesvn: int = PCESVN, fmspc: bytes = FMSPC
) -> dict[int, bytes]:
    """Return the fields of a Platform CA's extension, encoded, by number."""
    tcb = [pair((2, number), integer(svn)) for number, svn in enumerate((*svns, pcesvn), 1)]
    flags = [pair((7, number), der(0x01, value)) for number, value in enumerate((b"\xff", b"\0", b"\xff"), 1)]
    return {
        1: pair((1,), der(0x04, PPID)),
        2: pair((2,), der(0x30, b"".join((*tcb, pair((2, 18), der(0x04, bytes(svns))))))),
        3: pair((3,), der(0x04, bytes(2))),
        4: pair((4,), der(0x04, fmspc)),
        5: pair((5,), der(0x0A, b"\1")),
        6: pair((6,), der(0x04, INSTANCE)),
        7: pair((7,), der(0x30, b"".join(flags))),
    }


def extension(fields: Mapping[int, bytes]) -> tuple[str, bool, bytes]:
    """Put fields together to an extension as ``Spec`` takes it."""
    return (_SGX_EXTENSION, False, der(0x30, b"".join(fields.values())))


# ── Intel's documents ────────────────────────────────────────────────────────────────────────────────

TDX_SVNS = (5, 1, 3, *bytes(13))
QE_SVN = 4
MODULE_SIGNER = bytes(48)
QE_SIGNER = bytes.fromhex("dc9e2a7c6f948f17474e34a7fc43ed030f7c1563f1babddf6340c82e0e54a8c5")
_TYPES = {
    "sgx": {
        0: ("BIOS", "Early Microcode Update"),
        1: ("OS/VMM", "SGX Late Microcode Update"),
        2: ("OS/VMM", "TXT SINIT"),
        7: ("OS/VMM", "SEAMLDR ACM"),
    },
    "tdx": {
        0: ("OS/VMM", "TDX Module"),
        1: ("OS/VMM", "TDX Module"),
        2: ("OS/VMM", "TDX Late Microcode Update"),
    },
}


def moment(seconds: int) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def components(family: str, svns: Sequence[int]) -> list[Json]:
    """List components as TCB Info does, with Intel's words."""
    words = _TYPES[family]
    return [
        {"svn": svn} | (dict(zip(("category", "type"), words[place], strict=True)) if place in words else {})
        for place, svn in enumerate(svns)
    ]


def level(
    status: str = "UpToDate",
    *,
    sgx: Sequence[int] = SVNS,
    tdx: Sequence[int] | None = TDX_SVNS,
    pcesvn: int = PCESVN,
    date: int = NOW - 100 * DAY,
    advisories: Names = (),
) -> Json:
    """Make a level of TCB Info."""
    tcb: Json = {"sgxtcbcomponents": components("sgx", sgx), "pcesvn": pcesvn}
    if tdx is not None:
        tcb["tdxtcbcomponents"] = components("tdx", tdx)
    return {"tcb": tcb, "tcbDate": moment(date), "tcbStatus": status} | _listed(advisories)


def svn_level(
    isvsvn: int, status: str = "UpToDate", *, date: int = NOW - 100 * DAY, advisories: Names = ()
) -> Json:
    """Make a level of an enclave or a TDX module."""
    return {"tcb": {"isvsvn": isvsvn}, "tcbDate": moment(date), "tcbStatus": status} | _listed(advisories)


def _listed(advisories: Names) -> Json:
    return {"advisoryIDs": list(advisories)} if advisories else {}


def module(number: int = 1, levels: Sequence[Json] = (), **changes: object) -> Json:
    """Make the identity of a TDX module."""
    return {
        "id": f"TDX_{number:02X}",
        "mrsigner": MODULE_SIGNER.hex(),
        "attributes": "00" * 8,
        "attributesMask": "FF" * 8,
        "tcbLevels": list(levels) or [svn_level(TDX_SVNS[0])],
    } | changes


def crl(
    issuer: str,
    signer: str,
    *,
    begins: int = NOW - DAY,
    ends: int = NOW + 29 * DAY,
    revoked: Sequence[int] = (999,),
    number: int | None = 7,
) -> bytes:
    """Make a revocation list, DER."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(_name(issuer))
        .last_update(dt.datetime.fromtimestamp(begins, dt.UTC))
        .next_update(dt.datetime.fromtimestamp(ends, dt.UTC))
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(key(signer).public_key()), critical=False
        )
    )
    if number is not None:
        builder = builder.add_extension(x509.CRLNumber(number), critical=False)
    for serial in revoked:
        builder = builder.add_revoked_certificate(
            x509.RevokedCertificateBuilder()
            .serial_number(serial)
            .revocation_date(dt.datetime.fromtimestamp(NOW - 200 * DAY, dt.UTC))
            .build()
        )
    return builder.sign(key(signer), hashes.SHA256(), ecdsa_deterministic=True).public_bytes(Encoding.DER)


# ── The whole ────────────────────────────────────────────────────────────────────────────────────────

Text = Callable[[bytes], bytes]
_SIGNERS = {
    "quote": "attestation",
    "qe_report": "pck",
    "tcb_info": "tcb",
    "qe_identity": "tcb",
    "pck_crl": "pck-ca",
    "root_ca_crl": "root",
}
_CHAINS: Mapping[str, Names] = {
    "pck_chain": ("pck", "pck-ca", "root"),
    "pck_crl_issuer_chain": ("pck-ca", "root"),
    "tcb_info_issuer_chain": ("tcb", "root"),
    "qe_identity_issuer_chain": ("tcb", "root"),
}


@dataclass(frozen=True, kw_only=True)
class World:
    """A quote, the PKI behind it and its collateral.

    Attributes:
        tee: ``sgx`` or ``tdx``.
        version: Of the quote: 3, 4 or 5.
        body: Number of the body type; 0 for the usual one of TEE and version.
        report: Fields of the report that differ.
        qe_report: Fields of the quoting enclave's report that differ.
        fields: The SGX extension of the PCK certificate.
        certificates: Level to what differs from ``LEVELS``; other levels may be added.
        status: Of the platform's TCB level; ``qe`` and ``module`` likewise.
        info: Members of TCB Info that differ; None takes one away. ``identity`` likewise.
        text: Role to a change of a document's text before it is signed.
        signers: What is signed to the key that signs it.
        chains: Role of a chain to the levels in it.
        crls: Role of a list to what differs.
        documents: Role to a document that replaces what was made, None takes it away.
    """

    tee: str = "tdx"
    version: int = 4
    body: int = 0
    report: Mapping[str, bytes | int] = field(default_factory=dict)
    qe_report: Mapping[str, bytes | int] = field(default_factory=dict)
    qe_auth: bytes = bytes(range(32))
    cert_type: int = 5
    cert_data: bytes | None = None
    fields: Mapping[int, bytes] = field(default_factory=extension_fields)
    certificates: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    status: str = "UpToDate"
    qe: str = "UpToDate"
    module: str = "UpToDate"
    info: Mapping[str, object] = field(default_factory=dict)
    identity: Mapping[str, object] = field(default_factory=dict)
    text: Mapping[str, Text] = field(default_factory=dict)
    signers: Mapping[str, str] = field(default_factory=dict)
    chains: Mapping[str, Names] = field(default_factory=dict)
    crls: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    documents: Mapping[str, bytes | None] = field(default_factory=dict)

    def but(self, **changes: object) -> "World":
        """Return a world that differs in ``changes``."""
        return replace(self, **changes)  # type: ignore[arg-type]

    def spec(self, level: str) -> Spec:
        spec = LEVELS.get(level) or Spec(level)
        if level == "pck":
            spec = replace(spec, extensions=(extension(self.fields),))
        return replace(spec, **self.certificates.get(level, {}))  # type: ignore[arg-type]

    def certificate(self, level: str) -> x509.Certificate:
        spec = self.spec(level)
        above = self.spec(spec.issuer)
        return certificate(level, spec, above.name, spec.signer or above.key or spec.issuer)

    def der(self, level: str) -> bytes:
        return self.certificate(level).public_bytes(Encoding.DER)

    def chain(self, role: str) -> bytes:
        """Return a chain, PEM, leaf first."""
        levels = self.chains.get(role, _CHAINS[role])
        return b"".join(self.certificate(level).public_bytes(Encoding.PEM) for level in levels)

    @functools.cached_property
    def anchor(self) -> Anchor:
        return private_anchor(self.der("root"))

    def _signer(self, what: str) -> str:
        return self.signers.get(what, _SIGNERS[what])

    # ── Collateral ──

    def tcb_info(self) -> Json:
        tdx = self.tee == "tdx"
        made: Json = {
            "id": "TDX" if tdx else "SGX",
            "version": 3,
            "issueDate": moment(NOW - DAY),
            "nextUpdate": moment(NOW + 29 * DAY),
            "fmspc": FMSPC.hex().upper(),
            "pceId": "0000",
            "tcbType": 0,
            "tcbEvaluationDataNumber": 20,
        }
        if tdx:
            base = {"mrsigner": MODULE_SIGNER.hex(), "attributes": "00" * 8, "attributesMask": "FF" * 8}
            modules = [module(1, [svn_level(TDX_SVNS[0], self.module)])]
            made |= {"tdxModule": base, "tdxModuleIdentities": modules}
        made["tcbLevels"] = [level(self.status, tdx=TDX_SVNS if tdx else None)]
        return _changed(made, self.info)

    def qe_identity(self) -> Json:
        made: Json = {
            "id": "TD_QE" if self.tee == "tdx" else "QE",
            "version": 2,
            "issueDate": moment(NOW - DAY),
            "nextUpdate": moment(NOW + 29 * DAY),
            "tcbEvaluationDataNumber": 20,
            "miscselect": "00000000",
            "miscselectMask": "FFFFFFFF",
            "attributes": "11" + "00" * 15,
            "attributesMask": "FBFFFFFFFFFFFFFF" + "00" * 8,
            "mrsigner": QE_SIGNER.hex().upper(),
            "isvprodid": 2 if self.tee == "tdx" else 1,
            "tcbLevels": [svn_level(QE_SVN, self.qe)],
        }
        return _changed(made, self.identity)

    def signed_document(self, role: str, member: str, made: Json) -> bytes:
        text = self.text.get(role, bytes)(json.dumps(made, separators=(",", ":")).encode())
        signature = sign(self._signer(role), text).hex().encode()
        return b'{"' + member.encode() + b'":' + text + b',"signature":"' + signature + b'"}'

    def list_of(self, role: str) -> bytes:
        issuer = self.spec("root" if role == "root_ca_crl" else "pck-ca").name
        changes = dict(self.crls.get(role, {}))
        return crl(**{"issuer": issuer, "signer": self._signer(role), **changes})  # type: ignore[arg-type]

    @functools.cached_property
    def endorsements(self) -> Endorsements:
        made: dict[str, bytes | None] = {
            "tcb_info": self.signed_document("tcb_info", "tcbInfo", self.tcb_info()),
            "qe_identity": self.signed_document("qe_identity", "enclaveIdentity", self.qe_identity()),
            "pck_crl": self.list_of("pck_crl"),
            "root_ca_crl": self.list_of("root_ca_crl"),
        }
        for role in _CHAINS:
            if role != "pck_chain" or self.cert_type != 5:
                made[role] = self.chain(role)
        made |= self.documents
        return Endorsements({role: document for role, document in made.items() if document is not None})

    # ── Evidence ──

    def signed(self) -> bytes:
        """Return header and report: what the attestation key signs."""
        tee = 0x81 if self.tee == "tdx" else 0
        number = self.body or (1 if not tee else 3 if self.version == 5 else 2)
        head = struct.pack("<HHIHH16s20s", self.version, 2, tee, 0, 0, _VENDOR, bytes(20))
        body = _packed(BODY_TYPES[number].layout, _REPORTS[self.tee] | dict(self.report))
        return head + (struct.pack("<HI", number, len(body)) if self.version == 5 else b"") + body

    @functools.cached_property
    def quote(self) -> bytes:
        signed, attestation = self.signed(), point("attestation")
        qe_fields: dict[str, bytes | int] = {
            "attributes": b"\x11" + bytes(15),
            "mr_signer": QE_SIGNER,
            "isv_prod_id": 2 if self.tee == "tdx" else 1,
            "isv_svn": QE_SVN,
            "report_data": hashlib.sha256(attestation + self.qe_auth).digest(),
        }
        qe_report = _packed(SGX_REPORT, qe_fields | dict(self.qe_report))
        data = self.cert_data
        if data is None:
            data = self.chain("pck_chain") if self.cert_type == 5 else bytes(404)
        certified = b"".join(
            (
                *(qe_report, sign(self._signer("qe_report"), qe_report)),
                *(struct.pack("<H", len(self.qe_auth)), self.qe_auth),
                *(struct.pack("<HI", self.cert_type, len(data)), data),
            )
        )
        if self.version > 3:
            certified = struct.pack("<HI", 6, len(certified)) + certified
        authentication = sign(self._signer("quote"), signed) + attestation + certified
        return signed + struct.pack("<I", len(authentication)) + authentication


_REPORT_DATA = Binding.nonce(NONCE).digest or b""
_REPORTS: Mapping[str, dict[str, bytes | int]] = {
    "sgx": {
        "attributes": b"\x05" + bytes(15),
        "mr_enclave": b"\1" * 32,
        "mr_signer": b"\2" * 32,
        "isv_prod_id": 3,
        "isv_svn": 4,
        "report_data": _REPORT_DATA,
    },
    "tdx": {
        "tee_tcb_svn": bytes(TDX_SVNS),
        "td_attributes": (1 << 28).to_bytes(8, "little"),
        "mr_td": b"\1" * 48,
        **{f"rtmr{number}": bytes((number + 2,)) * 48 for number in range(4)},
        "report_data": _REPORT_DATA,
        "tee_tcb_svn2": bytes(TDX_SVNS),
    },
}


def _packed(layout: Layout, values: Mapping[str, bytes | int]) -> bytes:
    packed = bytearray(layout.size)
    for name, offset, size in layout.fields:
        value = values.get(name, b"")
        data = value.to_bytes(size, "little") if isinstance(value, int) else value
        packed[offset : offset + size] = data.ljust(size, b"\0")
    return bytes(packed)


def _changed(made: Json, changes: Mapping[str, object]) -> Json:
    return {name: value for name, value in (made | dict(changes)).items() if value is not None}
