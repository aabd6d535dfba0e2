# SPDX-License-Identifier: Apache-2.0
"""Nautilus (Mysten Labs): enclaves on AWS Nitro that sign answers for contracts on Sui.

The enclave makes an Ed25519 key when it starts, and serves a document over it (``/get_attestation``, the hex
in a JSON object). A contract compares PCR0 to PCR2 and keeps the key; then it believes what that key signs.

What its layout leaves open:

* **replay**: documents have no nonce. Limit their age: ``max_age`` in the policy; AWS dates every document.
  The contract does not limit it, beyond what AWS's certificates do.
* **relay** and **diversion**: a key is bound, no session. Any enclave of this image may answer.
* **reflection**: no role is bound.
"""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from nacre.appraisal.purposes import Fields, Layout
from nacre.appraisal.systems import encodings, parts
from nacre.appraisal.systems.base import Opened, System
from nacre.trust import json

__all__ = ["SYSTEM"]

_KEY: Final = 32
_MAX_JSON: Final = 1 << 16
_WHAT: Final = "Nautilus answer"
#: A document of Nitro begins with one of these, which tells it from dstack's containers.
_BEGINS: Final = re.compile(rb'\s*\{\s*"attestation"\s*:\s*"(?:84|[dD]284)')


def _key(given: Mapping[str, bytes]) -> Fields:
    return Fields(public_key=parts.sized(given, "nautilus/key", "key", _KEY))


#: ``key`` is raw Ed25519.
_BY_KEY = Layout(
    "nautilus/key",
    ("key",),
    _key,
    ("replay", "relay", "diversion", "reflection"),
    "MystenLabs/nautilus, src/nautilus-server/src/common.rs",
)


class _Served(msgspec.Struct, forbid_unknown_fields=True):
    """``attestation`` is hex."""

    attestation: str


def _recognises(data: bytes) -> bool:
    return bool(_BEGINS.match(data))


def _open(data: bytes, given: Mapping[str, bytes]) -> Opened:
    del given
    if data.lstrip()[:1] != b"{":
        return Opened(evidence=data)
    served = json.decode(data, _Served, what=_WHAT, limit=_MAX_JSON)
    return Opened(evidence=encodings.unhex(served.attestation, what=_WHAT))


SYSTEM = System(name="nautilus", title="Nautilus", layouts=(_BY_KEY,), recognises=_recognises, open=_open)
