# SPDX-License-Identifier: Apache-2.0
"""The Nitro security module's side of its interface: one CBOR request, one CBOR answer.

Refusals have the module's own names. Source: aws/aws-nitro-enclaves-nsm-api, ``src/api/mod.rs`` at 8785071;
which refusal is due when, where that does not say, as in qemu/qemu, ``hw/virtio/virtio-nsm.c``.
"""

import os
from collections.abc import Callable, Mapping

from nacre.enclave.emulate.chip import Chip
from nacre.errors import MalformedEvidence
from nacre.platforms.nitro.device import MAX_ANSWER, MAX_REQUEST
from nacre.trust import cbor

__all__ = ["MAX_MESSAGE", "answer"]

#: Bytes that a caller may send; what is more than a request may have is refused in words.
MAX_MESSAGE = 2 * MAX_REQUEST

_PCRS = 32
_RANDOM = 256
#: Bytes of what a document takes in, at most.
_LIMITS = {"user_data": 512, "nonce": 512, "public_key": 1024}

_Fields = Mapping[object, object]


class _RefusedError(Exception):
    """Carries one of the module's error names."""


def answer(chip: Chip, request: bytes) -> bytes:
    """Answer one request; there is none, however odd, without an answer."""
    try:
        reply = _reply(chip, request)
    except _RefusedError as refusal:
        reply = {"Error": str(refusal)}
    encoded = cbor.dumps(reply)
    return encoded if len(encoded) <= MAX_ANSWER else cbor.dumps({"Error": "BufferTooSmall"})


def _reply(chip: Chip, request: bytes) -> object:
    if len(request) > MAX_REQUEST:
        raise _RefusedError("InputTooLarge")
    try:
        asked = cbor.loads(request, what="request", limit=MAX_REQUEST, indefinite=True)
    except MalformedEvidence:
        raise _RefusedError("InvalidOperation") from None
    if isinstance(asked, str) and asked in _BARE:
        return _BARE[asked](chip)
    if isinstance(asked, dict) and len(asked) == 1:
        ((name, fields),) = asked.items()
        if name in _WITH_FIELDS and isinstance(fields, dict):
            return _WITH_FIELDS[name](chip, fields)
    raise _RefusedError("InvalidOperation")


def _describe_nsm(chip: Chip) -> object:
    return {
        "DescribeNSM": {
            "version_major": 1,
            "version_minor": 0,
            "version_patch": 0,
            "module_id": "i-0000000000000000-enc0000000000000000",
            "max_pcrs": _PCRS,
            "locked_pcrs": sorted(chip.locked),
            "digest": "SHA384",
        }
    }


def _get_random(_: Chip) -> object:
    return {"GetRandom": {"random": os.urandom(_RANDOM)}}


def _describe_pcr(chip: Chip, fields: _Fields) -> object:
    index = _index(fields)
    return {"DescribePCR": {"lock": index in chip.locked, "data": chip.registers[f"pcr{index}"]}}


def _extend_pcr(chip: Chip, fields: _Fields) -> object:
    index, data = _index(fields), fields.get("data")
    if not isinstance(data, bytes) or not data:
        raise _RefusedError("InvalidArgument")
    value = chip.extend_pcr(index, data)
    if value is None:
        raise _RefusedError("ReadOnlyIndex")
    return {"ExtendPCR": {"data": value}}


def _lock_pcr(chip: Chip, fields: _Fields) -> object:
    if not chip.lock(_index(fields)):
        raise _RefusedError("ReadOnlyIndex")
    return "LockPCR"


def _lock_pcrs(chip: Chip, fields: _Fields) -> object:
    count = _integer(fields, "range")
    if count > _PCRS:
        raise _RefusedError("InvalidIndex")
    chip.lock(*range(count))
    return "LockPCRs"


def _attestation(chip: Chip, fields: _Fields) -> object:
    given: dict[str, bytes | None] = {}
    for name, limit in _LIMITS.items():
        value = fields.get(name)
        if value is not None and not isinstance(value, bytes):
            raise _RefusedError("InvalidArgument")
        if value is not None and len(value) > limit:
            raise _RefusedError("InputTooLarge")
        given[name] = value
    document = chip.evidence(given["user_data"] or b"", nonce=given["nonce"], public_key=given["public_key"])
    return {"Attestation": {"document": document}}


def _index(fields: _Fields) -> int:
    index = _integer(fields, "index")
    if index >= _PCRS:
        raise _RefusedError("InvalidIndex")
    return index


def _integer(fields: _Fields, name: str) -> int:
    value = fields.get(name)
    if type(value) is not int or value < 0:
        raise _RefusedError("InvalidArgument")
    return value


_BARE: Mapping[object, Callable[[Chip], object]] = {"DescribeNSM": _describe_nsm, "GetRandom": _get_random}
_WITH_FIELDS: Mapping[object, Callable[[Chip, _Fields], object]] = {
    "DescribePCR": _describe_pcr,
    "ExtendPCR": _extend_pcr,
    "LockPCR": _lock_pcr,
    "LockPCRs": _lock_pcrs,
    "Attestation": _attestation,
}
