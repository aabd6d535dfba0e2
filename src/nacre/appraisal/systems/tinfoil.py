# SPDX-License-Identifier: Apache-2.0
"""Tinfoil: inference in TDX and SEV-SNP guests, and the keys that clients talk to.

Version 2 of its document is made at boot: the report data is the SHA-256 of the TLS key, then the X25519 key
for encrypted bodies (HPKE). Version 3 answers a nonce: the report data is the SHA-256 of a label, the nonce,
and the hashes of two sections, then zeros. One section lists the keys, the other holds evidence of GPUs; both
are hashed as they were sent.

Give the key that you use (``--part key=@spki.der``, ``--part hpke-key=HEX``): a document that speaks of other
keys says nothing about your connection.

What its layouts leave open:

* **replay** (version 2): the document is as old as the guest.
* **relay** and **diversion**: keys are bound, no session. Whoever has the TLS key answers for the guest; any
  guest of this image may answer.
* **reflection**: no role is bound.
* ``tinfoil/v2-tls-key`` says nothing of the HPKE key: the second half may be anything.
* **Evidence of GPUs** is bound in version 3, and not verified here.
* Which code an image was built from is for Tinfoil's signed bundles; here a release states registers.

Not proven here:
    No document of Tinfoil is public under a licence that lets us keep it; the tests make theirs.
"""

import base64
import binascii
import hashlib
from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

from nacre.appraisal.purposes import Fields, Layout
from nacre.appraisal.systems import altnames, certificate, encodings, parts
from nacre.appraisal.systems.base import Found, Opened, System
from nacre.checks import Check, failed, passed, skipped
from nacre.errors import MalformedEvidence, UnsupportedEvidence
from nacre.trust import json, pem

__all__ = ["SYSTEM"]

_SIZE: Final = 32
_MAX_JSON: Final = 1 << 22
_MAX_EVIDENCE: Final = 1 << 16
_WHAT: Final = "Tinfoil document"
_URI: Final = "https://tinfoil.sh/"
_V2: Final = (f"{_URI}predicate/sev-snp-guest/v2", f"{_URI}predicate/tdx-guest/v2")
_V3: Final = f"{_URI}predicate/attestation/v3"
_REPORT_DATA: Final = f"{_URI}report-data/v1"
_EVIDENCE: Final = (f"{_URI}format/sev-snp-report/v1", f"{_URI}format/tdx-quote/v1")
_KEYS: Final = f"{_URI}crypto-material/v1"
_TLS: Final = ("tls", f"{_URI}key/spki-fp-sha256/v1")
_HPKE: Final = ("hpke", f"{_URI}key/x25519-hpke/v1")
_VCEK: Final = f"{_URI}collateral/amd-vcek/v1"
_OPEN: Final = ("relay", "diversion", "reflection")
_SOURCE: Final = "tinfoilsh/tinfoil-go, verifier/attestation"

# ── Layouts ──


def _v2(given: Mapping[str, bytes]) -> Fields:
    return Fields(parts.key_digest(given, "tinfoil/v2") + parts.sized(given, "tinfoil/v2", "hpke-key", _SIZE))


def _tls_key(given: Mapping[str, bytes]) -> Fields:
    return Fields(parts.key_digest(given, "tinfoil/v2-tls-key"), partial=True)


def _v3(given: Mapping[str, bytes]) -> Fields:
    whole = hashlib.sha256(_REPORT_DATA.encode() + parts.sized(given, "tinfoil/v3", "nonce", _SIZE))
    for section in ("crypto-material", "device-evidence"):
        whole.update(hashlib.sha256(given[section]).digest())
    return Fields(whole.digest().ljust(parts.FIELD, b"\0"))


#: ``key`` is the DER SubjectPublicKeyInfo that TLS uses, ``hpke-key`` raw X25519.
_BY_KEYS = Layout("tinfoil/v2", ("key", "hpke-key"), _v2, ("replay", *_OPEN), _SOURCE)
_BY_TLS_KEY = Layout("tinfoil/v2-tls-key", ("key",), _tls_key, ("replay", *_OPEN), _SOURCE)
#: The sections are the bytes that were hashed, not base64.
_BY_NONCE = Layout(
    "tinfoil/v3", ("nonce", "crypto-material", "device-evidence"), _v3, _OPEN, f"{_SOURCE}/v3.go", "nonce"
)

# ── Version 2 ──


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    """``body`` is base64 of gzip, ``vcek`` base64."""

    format: str
    body: str
    vcek: str = ""


class _Bundle(msgspec.Struct, rename="camel"):
    """What Tinfoil's own service collects: a document, what verifies it, and TLS's certificate."""

    enclave_attestation_report: _Document
    enclave_cert: str
    vcek: str = ""


def _of_document(document: _Document, vcek: str = "") -> Opened:
    if document.format not in _V2:
        raise UnsupportedEvidence("attestation-type", what=_WHAT, actual=document.format[:80], expected=_V2)
    vek = document.vcek or vcek
    return Opened(
        evidence=encodings.gunzip(
            encodings.unbase64(document.body, what=_WHAT), what=_WHAT, limit=_MAX_EVIDENCE
        ),
        endorsements={"vek": encodings.unbase64(vek, what="VCEK")} if vek else {},
    )


def _of_bundle(bundle: _Bundle) -> Opened:
    carrier = certificate.read(bundle.enclave_cert.encode())
    opened = _of_document(bundle.enclave_attestation_report, bundle.vcek)
    hpke, key = _hpke_key(carrier), carrier.certificate.spki
    if not hpke:
        return carrier.around(opened, _BY_TLS_KEY, {"key": key})
    opened = msgspec.structs.replace(opened, described={"hpke_key": hpke})
    return carrier.around(opened, _BY_KEYS, {"key": key, "hpke-key": hpke})


def _hpke_key(carrier: certificate.Carrier) -> bytes:
    """Read the key that the certificate's names spell: two digits and some base32 in each first label."""
    labels = sorted(
        name.partition(".")[0] for name in altnames.dns_names(carrier.certificate) if ".hpke." in name
    )
    text = "".join(label[2:] for label in labels).upper()
    try:
        key = base64.b32decode(text + "=" * (-len(text) % 8))
    except binascii.Error:
        return b""
    return key if len(key) == _SIZE else b""


# ── Version 3 ──


class _Challenge(msgspec.Struct, forbid_unknown_fields=True):
    nonce: str
    report_data: str
    report_data_algorithm: str


class _Cpu(msgspec.Struct, forbid_unknown_fields=True):
    format: str
    report_base64: str
    endorsed: dict[str, str]


class _Collateral(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    role: str
    format: str
    data: dict[str, object]
    subjects: tuple[str, ...] = ()


class _Fresh(msgspec.Struct, forbid_unknown_fields=True):
    """A document of version 3; the sections are base64 of what was hashed."""

    format: str
    challenge: _Challenge
    cpu_evidence: _Cpu
    crypto_material: str
    device_evidence: str
    collateral: tuple[_Collateral, ...] = ()


class _Item(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    format: str
    data: str


class _Material(msgspec.Struct, forbid_unknown_fields=True):
    format: str
    items: tuple[_Item, ...]


class _Vcek(msgspec.Struct):
    vcek_der_base64: str
    cert_chain_pem: str = ""


def _of_fresh(fresh: _Fresh, given: Mapping[str, bytes]) -> Opened:
    for actual, expected in (
        (fresh.challenge.report_data_algorithm, (_REPORT_DATA,)),
        (fresh.cpu_evidence.format, _EVIDENCE),
    ):
        if actual not in expected:
            raise UnsupportedEvidence("attestation-type", what=_WHAT, actual=actual[:80], expected=expected)
    material = encodings.unbase64(fresh.crypto_material, what="crypto_material")
    keys = _keys(material)
    return Opened(
        evidence=encodings.unbase64(fresh.cpu_evidence.report_base64, what=_WHAT),
        layout=_BY_NONCE,
        parts={
            "nonce": encodings.unhex(fresh.challenge.nonce, what="nonce"),
            "crypto-material": material,
            "device-evidence": encodings.unbase64(fresh.device_evidence, what="device_evidence"),
        },
        endorsements=_endorsements(fresh.collateral),
        examine=lambda claims, at: Found((_compare(keys, given),)),  # noqa: ARG005 (as it is called)
        required=("tinfoil.keys",),
        described={"key_sha256": keys.tls, "hpke_key": keys.hpke},
    )


class _Held(NamedTuple):
    """The keys that a document endorses; empty where it endorses none."""

    tls: bytes
    hpke: bytes


def _keys(material: bytes) -> _Held:
    listed = json.decode(material, _Material, what="crypto_material", limit=_MAX_JSON)
    names = [item.id for item in listed.items]
    if listed.format != _KEYS or len(set(names)) != len(names):
        raise MalformedEvidence("tinfoil-keys", what="crypto_material")
    found = {
        (item.id, item.format): encodings.unhex(item.data, what="crypto_material") for item in listed.items
    }
    return _Held(found.get(_TLS, b""), found.get(_HPKE, b""))


def _endorsements(collateral: tuple[_Collateral, ...]) -> Mapping[str, bytes]:
    """Find AMD's certificates; what else is there is Tinfoil's, or to be fetched from Intel."""
    found: dict[str, bytes] = {}
    for entry in collateral:
        if entry.format == _VCEK:
            amd = json.convert(entry.data, _Vcek, what="VCEK")
            found["vek"] = encodings.unbase64(amd.vcek_der_base64, what="VCEK")
            if amd.cert_chain_pem:
                found |= zip(("ask", "ark"), pem.certificates(amd.cert_chain_pem.encode()), strict=False)
    return found


def _compare(held: _Held, given: Mapping[str, bytes]) -> Check:
    """Compare the keys of a verified document with those that the verifier uses."""
    used = {name: given[name] for name in ("key", "hpke-key") if name in given}
    if not used:
        return skipped("tinfoil.keys", "tinfoil-no-key")
    for name, key in used.items():
        actual, endorsed = (hashlib.sha256(key).digest(), held.tls) if name == "key" else (key, held.hpke)
        if actual != endorsed:
            return failed("tinfoil.keys", "tinfoil-other-key", expected=actual, actual=endorsed)
    return passed("tinfoil.keys")


# ── Envelopes ──


def _recognises(data: bytes) -> bool:
    return data.lstrip()[:1] == b"{" and _URI.encode() + b"predicate/" in data


def _open(data: bytes, given: Mapping[str, bytes]) -> Opened:
    if data.lstrip()[:1] != b"{":
        return Opened(evidence=data)
    if b'"enclaveAttestationReport"' in data:
        return _of_bundle(json.decode(data, _Bundle, what=_WHAT, limit=_MAX_JSON))
    if _V3.encode() in data:
        return _of_fresh(json.decode(data, _Fresh, what=_WHAT, limit=_MAX_JSON), given)
    return _of_document(json.decode(data, _Document, what=_WHAT, limit=_MAX_JSON))


SYSTEM = System(
    name="tinfoil",
    title="Tinfoil",
    layouts=(_BY_KEYS, _BY_TLS_KEY, _BY_NONCE),
    recognises=_recognises,
    open=_open,
)
