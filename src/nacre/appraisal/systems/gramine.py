# SPDX-License-Identifier: Apache-2.0
"""Gramine: unmodified programs in SGX enclaves, and the RA-TLS that it had before the interoperable one.

The enclave makes a TLS key and a certificate that carries a quote; the quote's report data is the SHA-256
of that key, then zeros. Newer certificates carry the interoperable form as well, which is the one that is
looked at unless you ask for this one.

What that leaves open: **replay** (no nonce: evidence of any age passes as long as its collateral does),
**relay** and **diversion** (it names a key, not a session: whoever has the key of one accepted enclave,
or sends you to another genuine enclave of the same code, is not noticed), **reflection** (neither side's
role is in it).
"""

import hashlib
from collections.abc import Mapping

from nacre.appraisal.purposes import Fields, Layout
from nacre.appraisal.systems import certificate
from nacre.appraisal.systems.base import Opened, System
from nacre.errors import MalformedEvidence

__all__ = ["RA_TLS", "SYSTEM"]


def _key(parts: Mapping[str, bytes]) -> Fields:
    return Fields(hashlib.sha256(parts["key"]).digest() + bytes(32))


#: ``key`` is the certificate's DER SubjectPublicKeyInfo.
RA_TLS = Layout(
    "gramine/ra-tls",
    ("key",),
    _key,
    ("replay", "relay", "diversion", "reflection"),
    "gramineproject/gramine, tools/sgx/ra-tls/ra_tls_attest.c",
)


def _recognises(data: bytes) -> bool:
    return certificate.carries(data, certificate.GRAMINE)


def _open(data: bytes, given: Mapping[str, bytes]) -> Opened:
    del given
    if not certificate.looks_like(data):
        return Opened(evidence=data)
    carrier = certificate.read(data)
    quote = carrier.value(certificate.GRAMINE)
    if quote is None:
        raise MalformedEvidence("certificate-without-evidence", what=str(carrier.certificate))
    return carrier.around(Opened(evidence=quote), RA_TLS, {"key": carrier.certificate.spki})


SYSTEM = System(name="gramine", title="Gramine", layouts=(RA_TLS,), recognises=_recognises, open=_open)
