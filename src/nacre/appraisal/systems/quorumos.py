# SPDX-License-Identifier: Apache-2.0
"""QuorumOS (Turnkey): one image for AWS Nitro enclaves, and a manifest that people approve.

The manifest says which application runs and who may say so. A document has its hash in ``user_data`` and the
enclave's ephemeral key in ``public_key``: two uncompressed points of P-256, 130 bytes, to encrypt to and to
verify with (older versions: another encoding of one key).

Since 2026 the enclave also extends one register with both before anything else runs, and locks all of them::

    commitment  SHA-384( {"domain":D,"ephemeralPublicKey":hex,"manifestHash":hex} )
    register    SHA-384( 48 zero bytes ‖ commitment )

PCR16 and ``qos-setup-manifest-pcr-commitment-v1`` while the enclave waits for its key, PCR17 and
``qos-live-manifest-pcr-commitment-v1`` for the application's. Only that makes the hash a fact here: fields
can be chosen by whoever may ask the device for a document, a locked register can not.

What its layout leaves open:

* **replay**: documents have no nonce. Limit their age: ``max_age`` in the policy; AWS dates every document.
* **relay** and **diversion**: a key is bound, no session. Any enclave with this manifest may answer.
* **reflection**: no role is bound.
* The manifest's own claims (who approved it, which registers it names) are for whoever reads it. QuorumOS
  also wants PCR3, the role of the parent instance, to be as in the manifest: state it in the release.

Not proven here:
    No document with the commitments of 2026 is public; the tests make theirs. There is one of 2022, without
    them.
"""

import functools
import hashlib
from collections.abc import Mapping
from typing import Final

from nacre.appraisal.purposes import Fields, Layout
from nacre.appraisal.systems import parts
from nacre.appraisal.systems.base import Fact, Found, Opened, System
from nacre.checks import failed, passed, skipped
from nacre.platforms.base import Claims

__all__ = ["SYSTEM"]

_HASH: Final = 32
_ZERO: Final = bytes(48)
_MAX_KEY: Final = 1024
_KINDS: Final = {
    "live": ("pcr17", "qos-live-manifest-pcr-commitment-v1"),
    "setup": ("pcr16", "qos-setup-manifest-pcr-commitment-v1"),
}
_MANIFEST_HASH: Final = Fact("manifest_hash", 32, "SHA-256 of the manifest, as a locked register holds it")
_KIND: Final = Fact("kind", 0, "whose key it is: live (the application's) or setup (before its key came)")


def _manifest(given: Mapping[str, bytes]) -> Fields:
    what = "quorumos/manifest"
    key = given["key"]
    if not 0 < len(key) <= _MAX_KEY:
        raise parts.wrong(what, "key", expected=f"1 to {_MAX_KEY} bytes", actual=f"{len(key)} bytes")
    return Fields(data=parts.sized(given, what, "manifest-hash", _HASH), public_key=key)


#: ``key`` is the field as it is, ``manifest-hash`` the SHA-256 of the manifest without its approvals.
_MANIFEST = Layout(
    "quorumos/manifest",
    ("manifest-hash", "key"),
    _manifest,
    ("replay", "relay", "diversion", "reflection"),
    "tkhq/qos, docs/attestation_verification.md",
)


def _open(data: bytes, given: Mapping[str, bytes]) -> Opened:
    del given
    return Opened(evidence=data, examine=_examine, required=("quorumos.commitment",))


def _examine(claims: Claims, at: int) -> Found:
    """Find the register that holds manifest and key of a verified document."""
    del at
    if claims.platform != "nitro":
        return Found((skipped("quorumos.commitment", "quorumos-other-platform", actual=claims.platform),))
    digest, key = claims.committed.data, claims.committed.public_key or b""
    held = {kind: claims.registers.get(register, _ZERO) for kind, (register, _) in _KINDS.items()}
    for kind, value in held.items():
        if len(digest) == _HASH and value == _register(kind, digest, key):
            facts = {_MANIFEST_HASH.name: digest, _KIND.name: kind.encode()}
            return Found((passed("quorumos.commitment", actual=kind),), facts)
    if set(held.values()) == {_ZERO}:
        return Found((skipped("quorumos.commitment", "quorumos-uncommitted"),))
    expected = _register("live", digest, key)
    return Found(
        (failed("quorumos.commitment", "quorumos-mismatch", expected=expected, actual=held["live"]),)
    )


@functools.lru_cache(maxsize=8)
def _register(kind: str, digest: bytes, key: bytes) -> bytes:
    text = (
        f'{{"domain":"{_KINDS[kind][1]}","ephemeralPublicKey":"{key.hex()}","manifestHash":"{digest.hex()}"}}'
    )
    return hashlib.sha384(_ZERO + hashlib.sha384(text.encode()).digest()).digest()


SYSTEM = System(
    name="quorumos", title="QuorumOS", layouts=(_MANIFEST,), facts=(_MANIFEST_HASH, _KIND), open=_open
)
