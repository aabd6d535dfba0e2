# SPDX-License-Identifier: Apache-2.0
"""nilCC (Nillion): Docker Compose applications in SEV-SNP guests.

The guest serves ``/nilcc/api/v2/report``: the report, as AMD's firmware made it and once more field by field,
and which machine it says to be. The report data is a version byte (zero), the SHA-256 of the key that TLS
uses, and zeros.

The measurement covers Nillion's image and, through the kernel's command line, the hash of the Compose file:
compute it for the number of processors, and state it in a release.

What it leaves open:

* **replay**: there is no nonce; evidence of any age passes as long as AMD's certificates do.
* **relay** and **diversion**: it names a key, no session. Whoever has the key answers for the guest, and the
  key is renewed only with the certificate. Any guest of this image may answer.
* **reflection**: no role is bound.
* The reports are taken from VMPL 1.
* ``gpu_token`` is a token of NVIDIA's service, whose nonce is the same hash of the key; it is not read here.

Not proven here:
    No report of a running nilCC guest is public with the key that it is bound to; the tests make theirs.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from nacre.appraisal.purposes import Fields, Layout
from nacre.appraisal.systems import encodings, parts
from nacre.appraisal.systems.base import Opened, System
from nacre.trust import json

__all__ = ["SYSTEM"]

_VERSION: Final = b"\0"
_MAX_JSON: Final = 1 << 18
_WHAT: Final = "nilCC report"


def _key(given: Mapping[str, bytes]) -> Fields:
    return Fields((_VERSION + parts.key_digest(given, "nilcc/tls-key")).ljust(parts.FIELD, b"\0"))


#: ``key`` is the DER SubjectPublicKeyInfo of the certificate that TLS uses.
_TLS_KEY = Layout(
    "nilcc/tls-key",
    ("key",),
    _key,
    ("replay", "relay", "diversion", "reflection"),
    "NillionNetwork/nilcc, nilcc-attester/src/report.rs",
)


class _Environment(msgspec.Struct):
    """What the guest says of itself; nothing vouches for it."""

    nilcc_version: str = ""
    vm_type: str = ""
    cpu_count: int = 0


class _Served(msgspec.Struct):
    """``raw_report`` is hex; ``report`` says the same and is left alone."""

    raw_report: str
    environment: _Environment


def _recognises(data: bytes) -> bool:
    return data.lstrip()[:1] == b"{" and b'"raw_report"' in data and b'"nilcc_version"' in data


def _open(data: bytes, given: Mapping[str, bytes]) -> Opened:
    del given
    if data.lstrip()[:1] != b"{":
        return Opened(evidence=data)
    served = json.decode(data, _Served, what=_WHAT, limit=_MAX_JSON)
    stated = served.environment
    return Opened(
        evidence=encodings.unhex(served.raw_report, what=_WHAT),
        described={
            "nilcc_version": stated.nilcc_version[:64],
            "vm_type": stated.vm_type[:16],
            "cpu_count": f"{stated.cpu_count}",
        },
    )


SYSTEM = System(name="nilcc", title="nilCC", layouts=(_TLS_KEY,), recognises=_recognises, open=_open)
