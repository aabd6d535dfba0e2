# SPDX-License-Identifier: Apache-2.0
"""Confidential Containers: what a guest sends to a Key Broker Service (Trustee) before it gets its secrets.

The report data is the SHA-384 of a JSON document in canonical form (RFC 8785), then zeros. In KBS's own
protocol that document has the broker's nonce and the key that secrets are encrypted to; since its version 0.4
also the evidence of further devices, as one string.

What comes is the JSON of the protocol's ``Attestation`` (nonce and key are in it), or the evidence alone, as
Trustee's Attestation Service takes it.

What its layouts leave open:

* **relay** and **diversion**: they name a key, no session. Any guest of an accepted image gets what the
  broker gives to that image, on anybody's machine.
* **reflection**: no role is bound.
* **replay** too with ``coco/structured``: whether the document has a nonce is its writer's business.
* *Init data* (the pod's policy) is in other registers (HOST_DATA, MRCONFIGID): a release has to state them.
* The evidence of further devices is bound to this, and not verified here.

Not proven here:
    The one public report of SEV-SNP in this JSON is bound to nothing that is known; what guests post was made
    from the description of the protocol.
"""

import base64
import hashlib
from collections.abc import Mapping
from typing import Final

import msgspec

from nacre.appraisal.purposes import Fields, Layout
from nacre.appraisal.systems import canonical, encodings, parts, virtee
from nacre.appraisal.systems.base import Opened, System
from nacre.errors import MalformedEvidence
from nacre.trust import json

__all__ = ["SYSTEM"]

_NONCE: Final = 32
_MAX_JSON: Final = 1 << 20
_WHAT: Final = "CoCo evidence"
_SOURCE: Final = (
    "confidential-containers/trustee, kbs/src/attestation and kbs/docs/kbs_attestation_protocol.md"
)
_OPEN: Final = ("relay", "diversion", "reflection")


def _decoded(given: Mapping[str, bytes], what: str, part: str) -> object:
    try:
        return json.loads(given[part], what=part, limit=_MAX_JSON)
    except MalformedEvidence as error:
        raise parts.wrong(what, part, expected="a JSON document", actual=str(error)) from None


def _hashed(value: object, what: str, part: str) -> Fields:
    try:
        text = canonical.canonical(value, what=part)
    except MalformedEvidence as error:
        raise parts.wrong(what, part, expected="JSON without fractions", actual=str(error)) from None
    return Fields(hashlib.sha384(text).digest().ljust(parts.FIELD, b"\0"))


def _kbs(given: Mapping[str, bytes]) -> Fields:
    what = "coco/kbs" if "additional-evidence" in given else "coco/kbs-0.3"
    document = {
        "nonce": base64.b64encode(parts.sized(given, what, "nonce", _NONCE)).decode(),
        "tee-pubkey": _decoded(given, what, "tee-pubkey"),
    }
    if "additional-evidence" in given:
        document["additional-evidence"] = _text(given["additional-evidence"], what)
    return _hashed(document, what, "tee-pubkey")


def _text(value: bytes, what: str) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise parts.wrong(what, "additional-evidence", expected="UTF-8", actual="other bytes") from None


def _structured(given: Mapping[str, bytes]) -> Fields:
    what = "coco/structured"
    return _hashed(_decoded(given, what, "runtime-data"), what, "runtime-data")


#: ``nonce`` is the broker's, 32 bytes; ``tee-pubkey`` a JWK, ``additional-evidence`` text, as they were sent.
_KBS = Layout("coco/kbs", ("nonce", "tee-pubkey", "additional-evidence"), _kbs, _OPEN, _SOURCE, "nonce")
_KBS_0_3 = Layout("coco/kbs-0.3", ("nonce", "tee-pubkey"), _kbs, _OPEN, _SOURCE, "nonce")
#: ``runtime-data`` is any JSON document, as Trustee's Attestation Service takes it.
_STRUCTURED = Layout(
    "coco/structured",
    ("runtime-data",),
    _structured,
    ("replay", *_OPEN),
    "confidential-containers/trustee, attestation-service/src/lib.rs (parse_runtime_data)",
)


# ── Envelopes ──


class _Evidence(msgspec.Struct, forbid_unknown_fields=True):
    """Intel's (``quote``, base64), AMD's, or both of a composite: one and the further ones."""

    quote: str | None = None
    cc_eventlog: str | None = None
    attestation_report: virtee.Report | None = None
    cert_chain: tuple[virtee.Certificate, ...] | None = None
    primary_evidence: "_Evidence | None" = None
    additional_evidence: str | None = None


class _Runtime(msgspec.Struct, rename={"tee_pubkey": "tee-pubkey"}, forbid_unknown_fields=True):
    nonce: str
    tee_pubkey: dict[str, str]


class _Attestation(
    msgspec.Struct,
    rename={"tee_evidence": "tee-evidence", "runtime_data": "runtime-data", "init_data": "init-data"},
    forbid_unknown_fields=True,
):
    """What a guest posts to ``/kbs/v0/attest``."""

    runtime_data: _Runtime
    tee_evidence: _Evidence
    init_data: dict[str, str] | None = None


def _recognises(data: bytes) -> bool:
    if data.lstrip()[:1] != b"{":
        return False
    return b'"attestation_report"' in data or (b'"tee-evidence"' in data and b'"runtime-data"' in data)


def _open(data: bytes, given: Mapping[str, bytes]) -> Opened:
    del given
    if data.lstrip()[:1] != b"{":
        return Opened(evidence=data)
    if b'"tee-evidence"' not in data:
        evidence, endorsements = _device(json.decode(data, _Evidence, what=_WHAT, limit=_MAX_JSON))
        return Opened(evidence=evidence, endorsements=endorsements)
    posted = json.decode(data, _Attestation, what=_WHAT, limit=_MAX_JSON)
    found = {
        "nonce": encodings.unbase64(posted.runtime_data.nonce, what="nonce"),
        "tee-pubkey": msgspec.json.encode(posted.runtime_data.tee_pubkey),
    }
    inner, layout = posted.tee_evidence, _KBS_0_3
    if inner.primary_evidence is not None:
        if inner.additional_evidence is None or _has_device(inner):
            raise MalformedEvidence("coco-evidence", what=_WHAT)
        found["additional-evidence"] = inner.additional_evidence.encode()
        inner, layout = inner.primary_evidence, _KBS
    evidence, endorsements = _device(inner)
    return Opened(evidence=evidence, layout=layout, parts=found, endorsements=endorsements)


def _has_device(evidence: _Evidence) -> bool:
    return evidence.quote is not None or evidence.attestation_report is not None


def _device(evidence: _Evidence) -> tuple[bytes, Mapping[str, bytes]]:
    """Return what the device signed, and the certificates that came with it."""
    composite = evidence.primary_evidence is not None or evidence.additional_evidence is not None
    quote, report = evidence.quote, evidence.attestation_report
    if composite or (quote is None) == (report is None):
        raise MalformedEvidence("coco-evidence", what=_WHAT)
    if report is not None:
        return virtee.report(report), virtee.certificates(evidence.cert_chain or ())
    return encodings.unbase64(quote or "", what="quote"), {}


SYSTEM = System(
    name="coco",
    title="Confidential Containers",
    layouts=(_KBS, _KBS_0_3, _STRUCTURED),
    recognises=_recognises,
    open=_open,
)
