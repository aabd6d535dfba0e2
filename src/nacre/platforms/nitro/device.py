# SPDX-License-Identifier: Apache-2.0
"""The Nitro security module as an enclave sees it: requests and answers in CBOR.

The module is a character device, asked by one ioctl whose argument is two ``iovec``: the request and room
for the answer. An emulator's Unix socket takes the same CBOR, each message behind its length (32 bits,
big-endian). Either is kept open between questions. Whatever is on the other side, nothing but
``EnclaveError`` comes out of here.

Not proven here:
    A real module: the ioctl is asked of an emulated ``/dev/nsm`` in a virtual machine, the socket elsewhere.

Source: aws/aws-nitro-enclaves-nsm-api, ``src/api/mod.rs`` and ``src/driver/mod.rs`` at 8785071.
"""

import ctypes
import errno
import fcntl
import os
import re
import select
import socket
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from struct import Struct
from typing import ClassVar, Final, Protocol

import msgspec

from nacre.errors import EnclaveError, MalformedEvidence
from nacre.trust import cbor

__all__ = ["MAX_ANSWER", "MAX_REQUEST", "Module", "NitroDevice"]

#: ``_IOWR(0x0A, 0, struct nsm_message)`` where pointers have 64 bits.
_REQUEST: Final = 0xC0200A00
_MESSAGE = Struct("=QQQQ")
#: Bytes of a request and of an answer, at most.
MAX_REQUEST: Final = 0x1000
MAX_ANSWER: Final = 0x3000
_LENGTH = Struct(">I")
#: Seconds that an emulator may be silent, and after which no more of an answer is taken.
_PATIENCE: Final = 20.0
_DIGEST: Final = 48
_PCR = re.compile(r"pcr([0-9]|[12][0-9]|3[01])")
#: The first PCR that is not locked when an enclave starts.
_FREE: Final = 16
_MAX_ENTROPY: Final = 1 << 16
_WHAT = "security module"


class Module(msgspec.Struct, frozen=True):
    """What the module says of itself.

    Attributes:
        version: Major, minor, patch.
        module_id: The instance's and the enclave's name.
        max_pcrs: How many PCRs there are.
        locked: The numbers of those that can no longer be extended.
        digest: The hash of the PCRs.
    """

    version: tuple[int, int, int]
    module_id: str
    max_pcrs: int
    locked: tuple[int, ...]
    digest: str


class NitroDevice:
    """One Nitro enclave's security module."""

    platform: ClassVar[str] = "nitro"

    def __init__(self, path: str) -> None:
        """Remember where the module is; it is opened by the first question, and stays open."""
        self._path = path
        self._turn = threading.Lock()
        self._line: _Line | None = None

    def close(self) -> None:
        """Let go of the module; another question would open it again."""
        with self._turn:
            self._hang_up()

    def evidence(self, data: bytes, *, nonce: bytes | None = None, public_key: bytes | None = None) -> bytes:
        """Ask for a document.

        It has the PCRs that are locked: 0 to 15, and of the application's own those it locked itself.

        Raises:
            EnclaveError: The module refuses, or is not there.
        """
        fields = {"user_data": data, "nonce": nonce, "public_key": public_key}
        return self._bytes("Attestation", fields, "document")

    def endorsements(self) -> Mapping[str, bytes]:
        """Return nothing: the chain is in the document."""
        return {}

    def extend(self, register: str, digest: bytes) -> None:
        """Extend ``pcr16`` to ``pcr31`` by a digest of 48 bytes.

        Raises:
            EnclaveError: ``device-no-register``, ``device-size``, or the module refuses (``ReadOnlyIndex``).
        """
        matched = _PCR.fullmatch(register)
        if matched is None or int(matched[1]) < _FREE:
            raise EnclaveError("device-no-register", what=register, expected="pcr16 to pcr31")
        if len(digest) != _DIGEST:
            raise EnclaveError("device-size", what=register, expected=_DIGEST, actual=len(digest))
        self.extend_pcr(int(matched[1]), digest)

    def registers(self) -> Mapping[str, bytes]:
        """Return every PCR."""
        return {f"pcr{index}": self.pcr(index)[1] for index in range(min(self.describe().max_pcrs, 32))}

    def entropy(self, size: int) -> bytes:
        """Return random bytes of the module's generator.

        Raises:
            EnclaveError: ``device-size`` beyond 65,536 bytes; ``device-answer`` where none come.
        """
        if not 0 <= size <= _MAX_ENTROPY:
            raise EnclaveError("device-size", what="entropy", expected=_MAX_ENTROPY, actual=size)
        found = bytearray()
        while len(found) < size:
            some = self._bytes("GetRandom", None, "random")
            if not some:
                raise EnclaveError("device-answer", what=_WHAT, actual="no random bytes")
            found += some
        return bytes(found[:size])

    def sealing_key(self, context: bytes) -> bytes | None:  # noqa: ARG002 (the interface's)
        """Return None: nothing in the module outlives the enclave."""
        return None

    def describe(self) -> Module:
        """Ask the module for what it is."""
        answer = self._fields("DescribeNSM", None)
        versions = tuple(_integer(answer, f"version_{part}") for part in ("major", "minor", "patch"))
        locked = answer.get("locked_pcrs")
        name, digest = answer.get("module_id"), answer.get("digest")
        numbers = [item for item in locked if type(item) is int] if isinstance(locked, list) else None
        if not isinstance(name, str) or not isinstance(digest, str) or numbers != locked:
            raise EnclaveError("device-answer", what=_WHAT, actual="a description that is none")
        return Module(
            (versions[0], versions[1], versions[2]),
            name,
            _integer(answer, "max_pcrs"),
            tuple(numbers or ()),
            digest,
        )

    def pcr(self, index: int) -> tuple[bool, bytes]:
        """Read a PCR: whether it is locked, and its value."""
        answer = self._fields("DescribePCR", {"index": index})
        locked, value = answer.get("lock"), answer.get("data")
        if not isinstance(locked, bool) or not isinstance(value, bytes):
            raise EnclaveError("device-answer", what=_WHAT, actual="a PCR without lock or value")
        return locked, value

    def extend_pcr(self, index: int, data: bytes) -> bytes:
        """Extend a PCR: its new value is the SHA-384 of the old one and ``data``, and returned."""
        return self._bytes("ExtendPCR", {"index": index, "data": data}, "data")

    def lock_pcr(self, index: int) -> None:
        """Lock a PCR until the enclave ends."""
        self._done("LockPCR", {"index": index})

    def lock_pcrs(self, count: int) -> None:
        """Lock the PCRs below ``count``."""
        self._done("LockPCRs", {"range": count})

    def _bytes(self, name: str, fields: Mapping[str, object] | None, field: str) -> bytes:
        value = self._fields(name, fields).get(field)
        if not isinstance(value, bytes):
            raise EnclaveError("device-answer", what=_WHAT, actual=f"{name} without {field}")
        return value

    def _fields(self, name: str, fields: Mapping[str, object] | None) -> Mapping[object, object]:
        answer = self._ask(name, fields)
        inner = answer.get(name) if isinstance(answer, dict) else None
        if not isinstance(inner, dict):
            raise EnclaveError("device-answer", what=_WHAT, actual=f"no answer to {name}")
        return inner

    def _done(self, name: str, fields: Mapping[str, object]) -> None:
        if self._ask(name, fields) != name:
            raise EnclaveError("device-answer", what=_WHAT, actual=f"no answer to {name}")

    def _ask(self, name: str, fields: Mapping[str, object] | None) -> object:
        """Send one request: a map of one entry, or a bare text where it has no fields."""
        request = cbor.dumps(name if fields is None else {name: fields})
        if len(request) > MAX_REQUEST:
            raise EnclaveError("device-size", what=name, expected=MAX_REQUEST, actual=len(request))
        answer = self._exchange(request)
        try:
            value = cbor.loads(answer, what=_WHAT, limit=MAX_ANSWER, indefinite=True)
        except MalformedEvidence as error:
            raise EnclaveError("device-answer", what=_WHAT, actual=str(error)) from None
        if isinstance(value, dict) and "Error" in value:
            raise EnclaveError("device-refused", what=f"{_WHAT}, {name}", actual=str(value["Error"])[:64])
        return value

    def _exchange(self, request: bytes) -> bytes:
        try:
            with self._turn:
                return self._asked(request)
        except OSError as error:
            if error.errno == errno.EMSGSIZE:
                raise EnclaveError("device-refused", what=_WHAT, actual="InputTooLarge") from None
            words = error.strerror or str(error) or type(error).__name__
            raise EnclaveError("device-unreachable", actual=f"{self._path}: {words}") from None

    def _asked(self, request: bytes) -> bytes:
        """Ask once: a PCR that is extended twice has another value, so nothing is tried again."""
        if self._line is None or not self._line.usable():
            self._hang_up()
            self._line = _Socket(self._path) if Path(self._path).is_socket() else _Node(self._path)
        try:
            return self._line.ask(request)
        except BaseException:
            # What is left of this answer would be taken for the next one.
            self._hang_up()
            raise

    def _hang_up(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            line.close()


def _integer(answer: Mapping[object, object], name: str) -> int:
    value = answer.get(name)
    if type(value) is not int or value < 0:
        raise EnclaveError("device-answer", what=_WHAT, actual=f"{name} is no number")
    return value


class _Line(Protocol):
    """The open module."""

    def usable(self) -> bool:
        """Tell whether this process may ask here: a forked child opens one of its own."""

    def ask(self, request: bytes) -> bytes:
        """Ask once."""

    def close(self) -> None:
        """Hang up."""


class _Node:
    """The character device."""

    def __init__(self, path: str) -> None:
        self._owner = os.getpid()
        self._node = open(path, "r+b", buffering=0)  # noqa: SIM115, PTH123 (kept open)

    def usable(self) -> bool:
        return self._owner == os.getpid()

    def ask(self, request: bytes) -> bytes:
        room = ctypes.create_string_buffer(MAX_ANSWER)
        asked = ctypes.create_string_buffer(request, len(request))
        message = bytearray(
            _MESSAGE.pack(ctypes.addressof(asked), len(request), ctypes.addressof(room), MAX_ANSWER)
        )
        fcntl.ioctl(self._node, _REQUEST, message, True)  # noqa: FBT003 (fcntl knows no keywords)
        size = _MESSAGE.unpack(message)[3]
        return room.raw[: min(size, MAX_ANSWER)]

    def close(self) -> None:
        self._node.close()


class _Socket:
    """An emulator's socket."""

    def __init__(self, path: str) -> None:
        self._owner = os.getpid()
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.settimeout(_PATIENCE)
            self._socket.connect(path)
        except BaseException:
            self._socket.close()
            raise
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)

    def usable(self) -> bool:
        # Between questions nothing comes but the end.
        return self._owner == os.getpid() and not self._poll.poll(0)

    def ask(self, request: bytes) -> bytes:
        until = time.monotonic() + _PATIENCE
        self._socket.sendall(_LENGTH.pack(len(request)) + request)
        found = bytearray()
        self._receive(found, _LENGTH.size, until)
        (size,) = _LENGTH.unpack_from(found)
        if size > MAX_ANSWER:
            raise EnclaveError("device-answer", what=_WHAT, actual=f"{size} bytes, more than {MAX_ANSWER}")
        self._receive(found, _LENGTH.size + size, until)
        if len(found) > _LENGTH.size + size:
            raise EnclaveError("device-answer", what=_WHAT, actual="more bytes than it says")
        return bytes(found[_LENGTH.size :])

    def close(self) -> None:
        self._socket.close()

    def _receive(self, found: bytearray, size: int, until: float) -> None:
        """Take what there is, until it is ``size`` bytes or more: an answer mostly comes in one piece."""
        while len(found) < size:
            some = self._socket.recv(_LENGTH.size + MAX_ANSWER)
            if not some:
                raise EnclaveError("device-answer", what=_WHAT, actual=f"{len(found)} of {size} bytes")
            found += some
            if time.monotonic() > until:
                raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
