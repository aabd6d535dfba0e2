# SPDX-License-Identifier: Apache-2.0
"""Evidence, for the purposes that somebody may ask for: ``evidence`` anybody, ``app-data`` the app.

Nobody hands in a digest: each function composes its own from parts, so that no caller can have evidence made
that speaks for another purpose. There is no function for ``channel`` or ``custody``: those belong to whoever
holds the key, and come with the code that holds it.

Evidence is never kept: an answer is for one nonce. Endorsements are, since they depend on none.
"""

import hashlib
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from nacre.appraisal.bindings import Binding
from nacre.appraisal.systems.eventlog import Event
from nacre.enclave import envelope
from nacre.enclave.agent.asking import Asking
from nacre.enclave.agent.log import EventLog
from nacre.enclave.envelope import Envelope
from nacre.errors import EnclaveError
from nacre.platforms.device import Device

__all__ = ["Documents", "Witness"]

#: Platforms with fields of their own for nonce and key.
_WITH_FIELDS = ("nitro",)
_REPORT_DATA = 64
#: Seconds after which the device is asked again for what it hands out, and the folder is read again.
_KEEP = 300.0
_DSTACK_HASHES = {
    "sha256": "sha256",
    "sha384": "sha384",
    "sha512": "sha512",
    "sha3-256": "sha3_256",
    "sha3-384": "sha3_384",
    "sha3-512": "sha3_512",
}
_MAX_DOCUMENT = 1 << 20


class Documents(msgspec.Struct, frozen=True):
    """Endorsements as they are, and as they are written."""

    by_role: Mapping[str, bytes]
    written: msgspec.Raw


class Witness:
    """Asks the device for evidence."""

    def __init__(
        self, device: Device, asking: Asking, *, identity: bytes, log: EventLog, folder: str | None = None
    ) -> None:
        """Remember whom to ask.

        Args:
            device: The device.
            asking: The turns at it.
            identity: The identity document, encoded.
            log: The events that go with each answer.
            folder: Endorsements; a file's name without its ending is the role.
        """
        self.platform = device.platform
        self._device = device
        self._asking = asking
        self._identity = identity
        self._log = log
        self._folder = Path(folder) if folder else None
        self._documents: Documents | None = None
        self._kept_until = 0.0

    async def public(self, nonce: bytes) -> bytes:
        """Answer a nonce of 32 bytes: an encoded envelope of purpose ``evidence``.

        Raises:
            ConfigurationError: ``nonce-size``.
            EnclaveError: The device's.
        """
        binding = Binding.nonce(nonce, identity=self._identity)
        return await self._answer(binding, purpose="evidence", nonce=nonce)

    async def app_data(self, data: bytes) -> bytes:
        """Answer the app: an encoded envelope of purpose ``app-data`` over at most 4,096 bytes.

        Raises:
            ConfigurationError: ``binding-part``.
            EnclaveError: The device's.
        """
        return await self._answer(Binding.app_data(data), purpose="app-data", data=data)

    async def raw(self, report_data: bytes) -> bytes:
        """Return bare evidence over 64 bytes as they are; whoever calls this has asked the release first.

        Raises:
            EnclaveError: ``agent-report-data``, or the device's.
        """
        if len(report_data) != _REPORT_DATA:
            raise EnclaveError("agent-report-data", expected=_REPORT_DATA, actual=len(report_data))
        return await self._asking.ask(lambda: self._device.evidence(report_data))

    async def quoted(self, report_data: bytes) -> tuple[bytes, tuple[Event, ...]]:
        """Like :meth:`raw`, with the events of the same moment."""
        if len(report_data) != _REPORT_DATA:
            raise EnclaveError("agent-report-data", expected=_REPORT_DATA, actual=len(report_data))
        return await self._asking.ask(lambda: (self._device.evidence(report_data), self._log.events))

    async def dstack_data(self, data: bytes, *, algorithm: str) -> tuple[bytes, tuple[Event, ...]]:
        """Return bare evidence as dstack tags an app's data: a hash over ``app-data:`` and the data.

        Raises:
            EnclaveError: ``dstack-hash``, or the device's.
        """
        name = _DSTACK_HASHES.get(algorithm)
        if name is None:
            raise EnclaveError("dstack-hash", actual=algorithm[:32], expected=tuple(sorted(_DSTACK_HASHES)))
        digest = hashlib.new(name, b"app-data:" + data).digest()
        return await self.quoted(digest.ljust(_REPORT_DATA, b"\0"))

    async def dstack_key(self, spki: bytes) -> tuple[bytes, tuple[Event, ...]]:
        """Return bare evidence as dstack's certificates bind their key (``ratls-cert:``, SHA-512)."""
        return await self.quoted(hashlib.sha512(b"ratls-cert:" + spki).digest())

    async def documents(self) -> Documents:
        """Return the endorsements: the folder's, and what the device hands out, which goes before."""
        if self._documents is None or time.monotonic() >= self._kept_until:
            by_role = _read(self._folder) if self._folder else {}
            by_role |= await self._asking.ask(self._device.endorsements)
            self._documents = Documents(by_role, envelope.encode_documents(by_role))
            self._kept_until = time.monotonic() + _KEEP
        return self._documents

    async def _answer(
        self,
        binding: Binding,
        *,
        purpose: envelope.Purpose,
        nonce: bytes | None = None,
        data: bytes | None = None,
    ) -> bytes:
        documents = await self.documents()
        evidence, events = await self._asking.ask(self._question(binding))
        whole = Envelope(
            platform=self.platform,
            evidence=evidence,
            identity=self._identity,
            purpose=purpose,
            nonce=nonce,
            data=data,
        )
        return envelope.encode(whole, documents=documents.written, events=events)

    def _question(self, binding: Binding) -> Callable[[], tuple[bytes, msgspec.Raw]]:
        committed = binding.committed(fields=self.platform in _WITH_FIELDS)

        def question() -> tuple[bytes, msgspec.Raw]:
            # The log of this moment: events are added in turns of the same thread.
            return self._device.evidence(
                committed.data, nonce=committed.nonce, public_key=committed.public_key
            ), self._log.encoded()

        return question


def _read(folder: Path) -> dict[str, bytes]:
    """Read a folder's files; that one cannot be read makes an answer poorer and not wrong."""
    found = {}
    try:
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            if entry.is_file() and not entry.name.startswith(".") and entry.stat().st_size <= _MAX_DOCUMENT:
                found[Path(entry.name).stem] = Path(entry.path).read_bytes()
    except OSError:
        return found
    return found
