# SPDX-License-Identifier: Apache-2.0
"""SecretVM (Secret Network): Docker Compose applications in TDX and SEV-SNP guests, some with a GPU.

The guest serves its evidence as text at ``/cpu`` (Intel's in hex, AMD's in base64), the GPU's at ``/gpu``.
The first half of the report data is the SHA-256 of the key that TLS uses, or, in older guests, of the whole
certificate; the second half is the nonce that the GPU's evidence was made for, and zeros without a GPU.

What it leaves open:

* **replay**: the nonce is the guest's own, so evidence of any age passes as long as its collateral does.
* **relay** and **diversion**: it names a key, no session. Whoever has the key answers for the guest; any
  guest of this image may answer.
* **reflection**: no role is bound.
* **a GPU that is not there**: with ``secretvm/tls-key`` the second half is zero, which says only that the
  guest did not bind a GPU. The GPU's own evidence is not verified here.
* RTMR3 holds the Compose file and more. Nothing that this module reads says so; a release states its value.

Not proven here:
    The only public quotes come without the key that they are bound to; of those, the half with the nonce of
    the GPU was compared.
"""

import hashlib
from collections.abc import Mapping
from typing import Final

from nacre.appraisal.purposes import Fields, Layout
from nacre.appraisal.systems import encodings, parts
from nacre.appraisal.systems.base import Opened, System
from nacre.trust import der

__all__ = ["SYSTEM"]

_HALF: Final = 32
_WHAT: Final = "SecretVM evidence"
_LEAST: Final = 1024
_SOURCE: Final = "scrtlabs/secretvm-verify, python/src/secretvm/verify/vm.py"
_OPEN: Final = ("replay", "relay", "diversion", "reflection")
_DIGITS: Final = b"0123456789abcdefABCDEF"


def _fields(given: Mapping[str, bytes], what: str) -> Fields:
    if "key" in given:
        first = parts.key_digest(given, what)
    else:
        first = hashlib.sha256(_certificate(given, what)).digest()
    nonce = parts.sized(given, what, "gpu-nonce", _HALF) if "gpu-nonce" in given else bytes(_HALF)
    return Fields(first + nonce)


def _certificate(given: Mapping[str, bytes], what: str) -> bytes:
    value = given["certificate"]
    if value[:1] != bytes((der.SEQUENCE,)):
        raise parts.wrong(
            what, "certificate", expected="a DER certificate", actual=f"{len(value)} other bytes"
        )
    return value


def _layout(name: str, *of: str) -> Layout:
    what = f"secretvm/{name}"
    return Layout(what, of, lambda given: _fields(given, what), _OPEN, _SOURCE)


#: ``key`` is a DER SubjectPublicKeyInfo, ``certificate`` DER, ``gpu-nonce`` 32 bytes.
_LAYOUTS = (
    _layout("tls-key", "key"),
    _layout("tls-key-and-gpu", "key", "gpu-nonce"),
    _layout("certificate", "certificate"),
    _layout("certificate-and-gpu", "certificate", "gpu-nonce"),
)


def _open(data: bytes, given: Mapping[str, bytes]) -> Opened:
    del given
    text = data.strip(b" \t\r\n")
    if len(text) < _LEAST or not text.isascii():
        return Opened(evidence=data)
    decode = encodings.unbase64 if text.strip(_DIGITS) else encodings.unhex
    return Opened(evidence=decode(text.decode(), what=_WHAT))


#: Hex and base64 are anybody's, so nothing is recognised as SecretVM's.
SYSTEM = System(name="secretvm", title="SecretVM", layouts=_LAYOUTS, open=_open)
