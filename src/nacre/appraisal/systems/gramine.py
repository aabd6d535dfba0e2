# SPDX-License-Identifier: Apache-2.0
"""Gramine: unmodified programs in SGX enclaves, and its own RA-TLS.

The enclave makes a TLS key and a certificate that carries a quote; the quote's report data is the SHA-256
of that key, then zeros.

What that leaves open: **replay** (no nonce: evidence of any age passes as long as its collateral does),
**relay** and **diversion** (it names a key, not a session: whoever has the key of one accepted enclave,
or sends you to another genuine enclave of the same code, is not noticed), **reflection** (neither side's
role is in it).
"""

import hashlib
from collections.abc import Mapping

from nacre.appraisal.purposes import Fields, Layout
from nacre.appraisal.systems.base import System

__all__ = ["RA_TLS", "SYSTEM"]


def _key(parts: Mapping[str, bytes]) -> Fields:
    return Fields(hashlib.sha256(parts["key"]).digest() + bytes(32))


#: ``key`` is the DER SubjectPublicKeyInfo of the certificate.
RA_TLS = Layout(
    "gramine/ra-tls",
    ("key",),
    _key,
    ("replay", "relay", "diversion", "reflection"),
    "gramineproject/gramine, tools/sgx/ra-tls/ra_tls_attest.c",
)

SYSTEM = System(name="gramine", title="Gramine", layouts=(RA_TLS,))
