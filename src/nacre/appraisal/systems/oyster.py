# SPDX-License-Identifier: Apache-2.0
"""Oyster (Marlin): applications in AWS Nitro enclaves whose image is always the same.

The image is Oyster's; what makes it *this* application are its *init params*, which the host hands in when
the enclave starts: a Docker Compose file, above all. Before anything else runs, the image extends PCR16 with
the digest of those that are marked as attested, and locks it. So a document says which application runs by
four registers, and Oyster's ``image_id`` is the SHA-256 of all four::

    PCR16     SHA-384( 48 zero bytes ‖ digest )
    image_id  SHA-256( u32 big-endian 0x00010007 ‖ PCR0 ‖ PCR1 ‖ PCR2 ‖ PCR16 )
    digest    SHA-256( SHA-256(param 1) ‖ SHA-256(param 2) … ), the attested ones, in order
    param     le64(length) ‖ "/init-params/" path ‖ le64(length) ‖ contents

Older images know no PCR16; it counts as zero in their ``image_id``. Their ``user_data`` may state a digest,
but nothing measured it, so it is no fact here.

What its layouts leave open:

* **replay**: nobody asked for this document with a nonce. Limit its age: ``max_age`` in the policy; AWS dates
  every document.
* **relay** and **diversion**: it names a key, no session. Whoever has the key of one enclave of this image
  answers for all of them, and any operator may run one.
* **reflection**: no role is bound. (Scallop, Oyster's own channel, has the same document on both sides.)
* **Init params that are not attested** are the host's choice, whatever is in them, and nothing in the
  document says that there are any.
* What the Compose file names by tag and not by digest is the registry's choice.
* A container of the application may ask the enclave for documents with any ``public_key`` and ``user_data``
  (Oyster offers it a server for that). The layouts hold for the two ports that Oyster itself serves, 1300
  (X25519) and 1301 (secp256k1), only as long as the application does not do so.
"""

import functools
import hashlib
import struct
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from nacre.appraisal.purposes import Fields, Layout
from nacre.appraisal.systems import encodings, parts
from nacre.appraisal.systems.base import Fact, Found, Opened, System
from nacre.checks import Check, failed, passed, skipped, warned
from nacre.errors import ConfigurationError, MalformedEvidence
from nacre.platforms.base import Claims
from nacre.trust import json

__all__ = ["SYSTEM", "image_id"]

_PCRS = ("pcr0", "pcr1", "pcr2", "pcr16")
_BITMAP = struct.pack(">I", 1 << 0 | 1 << 1 | 1 << 2 | 1 << 16)
_ZERO = bytes(48)
_X25519, _SECP256K1 = 32, 64
_DIGEST = 32
_FOLDER = "/init-params/"
_MAX_PARAMS = 256
_MAX_JSON = 1 << 22
_WHAT = "init params"
_OPEN = ("replay", "relay", "diversion", "reflection")
_SOURCE = "marlinprotocol/oyster-monorepo, attestation/server and sdks/rs/src/attestation.rs"


def _key(given: Mapping[str, bytes]) -> Fields:
    return Fields(public_key=parts.sized(given, "oyster", "key", _X25519, _SECP256K1))


def _key_and_digest(given: Mapping[str, bytes]) -> Fields:
    return _key(given)._replace(data=parts.sized(given, "oyster", "digest", _DIGEST))


#: ``key`` is raw: 32 bytes of X25519, or x ‖ y of secp256k1, 64 bytes.
_KEY = Layout("oyster/key", ("key",), _key, _OPEN, _SOURCE)
_KEY_AND_DIGEST = Layout("oyster/key-and-digest", ("key", "digest"), _key_and_digest, _OPEN, _SOURCE)

_IMAGE_ID = Fact(
    "image_id",
    32,
    "image and attested init params, as Oyster names them",
    covers=("nitro.pcr0", "nitro.pcr1", "nitro.pcr2", "nitro.pcr16"),
)
_INIT_PARAMS = Fact("init_params", 32, "digest of the attested init params, as PCR16 holds it")


def image_id(registers: Mapping[str, bytes]) -> bytes:
    """Compute Oyster's name for what runs, 32 bytes, from registers named as in releases."""
    values = (registers.get(name, _ZERO) for name in _PCRS)
    return hashlib.sha256(_BITMAP + b"".join(values)).digest()


# ── Init params ──


class _Param(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One of them. ``contents`` is base64; encrypted if the enclave has to decrypt it."""

    path: str
    contents: str
    should_attest: bool
    should_decrypt: bool


class _Listed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The list as ``oyster-cvm`` writes it; ``digest`` is base64, and left out if people wrote it."""

    params: tuple[_Param, ...]
    digest: str | None = None


class _InitParams(NamedTuple):
    """What a list of init params comes to."""

    digest: bytes
    open: tuple[str, ...]


def _read(document: bytes) -> _InitParams:
    """Read a list, JSON or the base64 of it, and compute its digest.

    Raises:
        ConfigurationError: ``binding-part``: it is no list, or says something else than it contains.
    """
    try:
        text = document if document.lstrip()[:1] == b"{" else encodings.unbase64(_line(document), what=_WHAT)
        listed = json.decode(text, _Listed, what=_WHAT, limit=_MAX_JSON)
        stated = None if listed.digest is None else encodings.unbase64(listed.digest, what=_WHAT)
        hashes = [_hashed(param) for param in listed.params if param.should_attest]
    except MalformedEvidence as error:
        raise _refused(expected="the JSON that oyster-cvm writes, or its base64", actual=str(error)) from None
    if len(listed.params) > _MAX_PARAMS:
        raise _refused(expected=f"at most {_MAX_PARAMS} params", actual=f"{len(listed.params)}")
    paths = [param.path for param in listed.params]
    for path in paths:
        if paths.count(path) > 1:
            raise _refused(expected="every path once", actual=f"{path} twice")
    digest = hashlib.sha256(b"".join(hashes)).digest()
    if stated not in (None, digest):
        raise _refused(
            expected=f"the digest of its own params, {digest.hex()}",
            actual=stated.hex() if stated else "none",
        )
    return _InitParams(digest, tuple(param.path for param in listed.params if not param.should_attest))


def _hashed(param: _Param) -> bytes:
    if any(name in ("", ".", "..") for name in param.path.split("/")):
        raise _refused(expected="paths of plain names", actual=param.path)
    if param.should_decrypt:
        wanted = "attested params in the clear, with should_decrypt false: the digest is over the clear text"
        raise _refused(expected=wanted, actual=f"{param.path} encrypted")
    path = (_FOLDER + param.path).encode()
    contents = encodings.unbase64(param.contents, what=_WHAT)
    lengths = struct.pack("<Q", len(path)), struct.pack("<Q", len(contents))
    return hashlib.sha256(lengths[0] + path + lengths[1] + contents).digest()


def _refused(*, expected: str, actual: str) -> ConfigurationError:
    return parts.wrong("oyster", "init-params", expected=expected, actual=actual)


def _line(document: bytes) -> str:
    return document.decode("ascii", "replace").rstrip("\r\n")


# ── What the registers say ──


def _open(data: bytes, given: Mapping[str, bytes]) -> Opened:
    document = given.get("init-params")
    return Opened(
        evidence=data,
        examine=functools.partial(_examine, None if document is None else _read(document)),
        required=("oyster.image", *(() if document is None else ("oyster.init-params",))),
    )


def _examine(params: _InitParams | None, claims: Claims, at: int) -> Found:
    """Read what a verified document says of the application."""
    del at
    if claims.platform != "nitro":
        return Found((skipped("oyster.image", "oyster-other-platform", actual=claims.platform),))
    image = image_id(claims.registers)
    facts = {_IMAGE_ID.name: image}
    checks = [passed("oyster.image", actual=image)]
    measured = claims.registers.get("pcr16", _ZERO)
    stated = claims.committed.data if params is None else params.digest
    if len(stated) == _DIGEST and _extended(stated) == measured:
        facts[_INIT_PARAMS.name] = stated
    if params is not None:
        checks.append(_held(params, measured))
    return Found(tuple(checks), facts)


def _extended(digest: bytes) -> bytes:
    return hashlib.sha384(_ZERO + digest).digest()


def _held(params: _InitParams, measured: bytes) -> Check:
    expected = _extended(params.digest)
    if measured == _ZERO:
        return skipped("oyster.init-params", "oyster-unmeasured", expected=expected)
    if measured != expected:
        return failed("oyster.init-params", "oyster-params-mismatch", expected=expected, actual=measured)
    if params.open:
        return warned("oyster.init-params", "oyster-params-open", actual=params.open)
    return passed("oyster.init-params")


SYSTEM = System(
    name="oyster",
    title="Oyster",
    layouts=(_KEY, _KEY_AND_DIGEST),
    facts=(_IMAGE_ID, _INIT_PARAMS),
    documents=("init-params",),
    open=_open,
)
