# SPDX-License-Identifier: Apache-2.0
"""Contrast (Edgeless Systems): confidential Kubernetes pods and their attested TLS.

The verifier hides a nonce in its handshake (older versions in the server name, newer ones in ALPN); the pod
answers with a self-signed certificate whose extension holds the evidence, made for this nonce and this key.

Contrast writes the evidence as protocol buffers of Google's libraries, older versions as the base64 of the
report itself. Both are read; Intel's quotes and AMD's reports are put together again byte for byte, since
only so their signatures hold.

What it leaves open:

* **relay**: the nonce belongs to one handshake and the evidence to one key, but not to this session. Whoever
  has the key of *any* accepted pod answers for all of them, and physical attacks yield such keys. Contrast
  says so itself and lets a manifest pin the chips; here, a list of chips in the policy does that.
* **diversion**: any genuine pod of the same release may answer, on anybody's machine.
* **reflection**: no role is bound.

Not proven here:
    No certificate of a running Contrast pod is public, so the tests write theirs, and the protocol buffers in
    them, from the descriptions of Google's libraries.
"""

import hashlib
from collections.abc import Mapping
from typing import Final

from nacre.appraisal.purposes import Fields, Layout
from nacre.appraisal.systems import certificate, encodings, google, parts
from nacre.appraisal.systems.base import Opened, System
from nacre.errors import MalformedEvidence

__all__ = ["SYSTEM"]

#: 1.3.9901.2.1 and .2: the evidence of SEV-SNP and of TDX. The arc is nobody's; Contrast took it.
_SNP: Final = bytes.fromhex("2bcd2d0201")
_TDX: Final = bytes.fromhex("2bcd2d0202")
_NONCE = 32
_LEAST_TEXT = 1024


def _atls(given: Mapping[str, bytes]) -> Fields:
    key, nonce = parts.spki(given, "contrast/atls"), parts.sized(given, "contrast/atls", "nonce", _NONCE)
    return Fields(hashlib.sha512(key + nonce).digest())


#: ``key`` is the DER SubjectPublicKeyInfo of the certificate, ``nonce`` what the verifier sent, 32 bytes.
_ATLS = Layout(
    "contrast/atls",
    ("key", "nonce"),
    _atls,
    ("relay", "diversion", "reflection"),
    "edgelesssys/contrast, internal/attestation/reportdata and internal/atls",
    "nonce",
)


def _recognises(data: bytes) -> bool:
    return certificate.carries(data, _SNP, _TDX)


def _open(data: bytes, given: Mapping[str, bytes]) -> Opened:
    del given
    if not certificate.looks_like(data):
        return Opened(evidence=data)
    carrier = certificate.read(data)
    snp, tdx = carrier.value(_SNP), carrier.value(_TDX)
    if (snp is None) == (tdx is None):
        raise MalformedEvidence("contrast-extension", actual=0 if snp is None else 2)
    endorsements: Mapping[str, bytes] = {}
    if tdx is not None:
        evidence = _plain(tdx) or google.tdx_quote(tdx)
    else:
        evidence = _plain(snp or b"")
        if not evidence:
            evidence, endorsements = google.snp_report(snp or b"")
    opened = Opened(evidence=evidence, endorsements=endorsements)
    return carrier.around(opened, _ATLS, {"key": carrier.certificate.spki})


def _plain(value: bytes) -> bytes:
    """Read the older form, base64; nothing if it is another."""
    if len(value) < _LEAST_TEXT or not value.isascii():
        return b""
    return encodings.unbase64(value.decode(), what="Contrast's extension")


SYSTEM = System(name="contrast", title="Contrast", layouts=(_ATLS,), recognises=_recognises, open=_open)
