# SPDX-License-Identifier: Apache-2.0
"""Evervault: enclaves on AWS Nitro whose TLS certificate carries the document as a host name.

The first label of one of the certificate's alternative names is the hex of a whole attestation document,
``<hex>.<enclave>.<app>.cages.evervault.com``; the document's ``user_data`` is the certificate's key.

What it leaves open:

* **replay**: the certificate is made in advance. Limit the document's age: ``max_age`` in the policy. In
  ``evervault/key-and-nonce`` the document's ``nonce`` is what the verifier sent.
* **relay** and **diversion**: a key is bound, no session. Whoever has the key of one accepted enclave answers
  for all of them; any enclave of this image may answer.
* **reflection**: no role is bound.
"""

from collections.abc import Mapping
from typing import Final

from nacre.appraisal.purposes import Fields, Layout
from nacre.appraisal.systems import altnames, certificate, encodings, parts
from nacre.appraisal.systems.base import Opened, System
from nacre.errors import MalformedEvidence

__all__ = ["SYSTEM"]

#: Hexadecimal digits. No host name is that long, and no document that short.
_LEAST: Final = 2048
_LEAST_NONCE: Final = 16
_MAX_NONCE: Final = 1024
_COSE: Final = ("84", "d284")
_OPEN: Final = ("replay", "relay", "diversion", "reflection")
_SOURCE: Final = "evervault/attestation-doc-validation, attestation-doc-validation/src/{lib,cert}.rs"


def _key(given: Mapping[str, bytes]) -> Fields:
    return Fields(parts.spki(given, "evervault/key"))


def _key_and_nonce(given: Mapping[str, bytes]) -> Fields:
    what, nonce = "evervault/key-and-nonce", given["nonce"]
    if not _LEAST_NONCE <= len(nonce) <= _MAX_NONCE:
        wanted = f"{_LEAST_NONCE} to {_MAX_NONCE} bytes"
        raise parts.wrong(what, "nonce", expected=wanted, actual=f"{len(nonce)} bytes")
    return Fields(data=parts.spki(given, what), nonce=nonce)


#: ``key`` is the DER SubjectPublicKeyInfo of the certificate.
_BY_KEY = Layout("evervault/key", ("key",), _key, _OPEN, _SOURCE)
_BY_KEY_AND_NONCE = Layout(
    "evervault/key-and-nonce", ("key", "nonce"), _key_and_nonce, _OPEN[1:], _SOURCE, "nonce"
)


def _labels(carrier: certificate.Carrier) -> list[str]:
    """Find the labels that are documents."""
    labels = (name.partition(".")[0].lower() for name in altnames.dns_names(carrier.certificate))
    return [label for label in labels if len(label) >= _LEAST and label.startswith(_COSE)]


def _recognises(data: bytes) -> bool:
    if not certificate.looks_like(data):
        return False
    try:
        return bool(_labels(certificate.read(data)))
    except MalformedEvidence:
        return False


def _open(data: bytes, given: Mapping[str, bytes]) -> Opened:
    if not certificate.looks_like(data):
        return Opened(evidence=data)
    carrier = certificate.read(data)
    labels = _labels(carrier)
    if len(labels) != 1:
        raise MalformedEvidence("evervault-names", actual=len(labels))
    opened = Opened(evidence=encodings.unhex(labels[0], what="Evervault's host name"))
    layout = _BY_KEY_AND_NONCE if "nonce" in given else _BY_KEY
    return carrier.around(opened, layout, {"key": carrier.certificate.spki})


SYSTEM = System(
    name="evervault",
    title="Evervault",
    layouts=(_BY_KEY, _BY_KEY_AND_NONCE),
    recognises=_recognises,
    open=_open,
)
