# SPDX-License-Identifier: Apache-2.0
"""An SEV-SNP guest's own view of its hardware: configfs-tsm where the kernel has it, else its own device.

Keys for sealing come from the device alone. They are of the chip, the guest's policy and its measurement;
the firmware's version is left out, so that an update takes nothing away.

Not proven here:
    A real guest: reports come from files that an emulator serves; the three ioctls were only refused, so no
    sealing key was ever derived by one.

Source: Linux, ``include/uapi/linux/sev-guest.h``; AMD, SEV Secure Nested Paging Firmware ABI (56860), 7.2
(MSG_KEY_REQ) and 7.3 (MSG_REPORT_REQ).
"""

import ctypes
from collections.abc import Mapping
from pathlib import Path
from struct import Struct
from typing import ClassVar, Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from nacre.errors import EnclaveError, MalformedEvidence
from nacre.platforms import tsm
from nacre.platforms.snp.ghcb import parse_table

__all__ = ["SnpDevice"]

#: ``_IOWR('S', n, struct snp_guest_request_ioctl)``.
_GET_REPORT: Final = 0xC0205300
_GET_DERIVED_KEY: Final = 0xC0205301
_GET_EXT_REPORT: Final = 0xC0205302
#: Message version, request, answer, then the firmware's and the host's error.
_MESSAGE = Struct("=B7xQQII")
_REPORT_REQUEST = Struct("=64sI28x")
#: A report's request, then where the certificates go and how many bytes fit.
_EXT_REQUEST = Struct("=64sI28xQI4x")
#: Root key, fields, VMPL, guest SVN, TCB.
_KEY_REQUEST = Struct("=IIQIIQ")
_REPORT_ANSWER: Final = 4000
_KEY_ANSWER: Final = 64
_CERTIFICATES: Final = 0x4000
#: Status and size, then the report or key.
_HEADER = Struct("<II24x")
_REPORT_SIZE: Final = 1184
_REPORT_DATA: Final = slice(0x50, 0x90)
_KEY_INFO: Final = slice(0x48, 0x4C)
#: GUEST_POLICY and MEASUREMENT are mixed into a derived key.
_FIELDS: Final = 0b1001
_LABEL = b"nacre sealing key, sev-snp\0"


class SnpDevice:
    """One SEV-SNP guest."""

    platform: ClassVar[str] = "snp"

    def __init__(self, *, reports: str | None, node: str) -> None:
        """Remember where things are.

        Args:
            reports: The directory of configfs-tsm's reports, where there is one.
            node: The guest's device.
        """
        self._reports = None if reports is None else tsm.Reports(reports, by=tsm.SNP)
        self._node = node

    def evidence(self, data: bytes, *, nonce: bytes | None = None, public_key: bytes | None = None) -> bytes:
        """Ask for a report over 64 bytes.

        Raises:
            EnclaveError: ``device-no-field`` for a nonce or a key, and what the device says.
        """
        if nonce is not None or public_key is not None:
            raise EnclaveError("device-no-field", what=self.platform)
        if self._reports is not None:
            found = self._reports.ask(data).outblob
        else:
            _insist_on_size(data)
            found = self._report(_GET_REPORT, _REPORT_REQUEST.pack(data, 0))
        return _committed(found, data)

    def endorsements(self) -> Mapping[str, bytes]:
        """Return what the host put into the table beside the report; nothing where it cannot be read.

        Nobody signed the table: a verifier who gets none asks AMD.
        """
        whole = self._with_table()
        vlek = int.from_bytes(whole.outblob[_KEY_INFO], "little") >> 2 & 7 == 1
        try:
            return parse_table(whole.auxblob, vlek=vlek) if whole.auxblob else {}
        except MalformedEvidence:
            return {}

    def extend(self, register: str, digest: bytes) -> None:  # noqa: ARG002 (the interface's)
        """Refuse: SEV-SNP has no register that changes.

        Raises:
            EnclaveError: ``device-no-register``.
        """
        raise EnclaveError("device-no-register", what=register, expected="SEV-SNP has none")

    def registers(self) -> Mapping[str, bytes]:
        """Return nothing: only a report shows them."""
        return {}

    def entropy(self, size: int) -> bytes | None:  # noqa: ARG002 (the interface's)
        """Return None: the processor's generator is the kernel's already."""
        return None

    def sealing_key(self, context: bytes) -> bytes | None:
        """Derive a key of chip, policy and measurement; None where the guest's device is not there.

        Raises:
            EnclaveError: The firmware refuses.
        """
        if not Path(self._node).exists():
            return None
        answer = self._firmware(_GET_DERIVED_KEY, _KEY_REQUEST.pack(0, 0, _FIELDS, 0, 0, 0), _KEY_ANSWER)
        return HKDF(SHA256(), 32, salt=None, info=_LABEL + context).derive(answer[_HEADER.size :])

    def close(self) -> None:
        """Remove the directory of our reports."""
        if self._reports is not None:
            self._reports.close()

    def _with_table(self) -> tsm.Report:
        if self._reports is not None:
            return self._reports.ask(bytes(tsm.DATA_SIZE), auxiliary=True)
        room = ctypes.create_string_buffer(_CERTIFICATES)
        request = _EXT_REQUEST.pack(bytes(tsm.DATA_SIZE), 0, ctypes.addressof(room), _CERTIFICATES)
        return tsm.Report(self._report(_GET_EXT_REPORT, request), room.raw)

    def _report(self, command: int, request: bytes) -> bytes:
        answer = self._firmware(command, request, _REPORT_ANSWER)
        size = _HEADER.unpack_from(answer)[1]
        return answer[_HEADER.size : _HEADER.size + size]

    def _firmware(self, command: int, request: bytes, size: int) -> bytes:
        asked = ctypes.create_string_buffer(request, len(request))
        room = ctypes.create_string_buffer(size)
        message = bytearray(_MESSAGE.pack(1, ctypes.addressof(asked), ctypes.addressof(room), 0, 0))
        try:
            tsm.asked(self._node, command, message)
        except OSError as error:
            firmware, host = _MESSAGE.unpack(message)[3:]
            if firmware or host:
                words = f"firmware error {firmware:#x}, host error {host:#x}"
                raise EnclaveError("device-refused", what=self._node, actual=words) from None
            raise tsm.unreachable(self._node, error) from None
        answer = room.raw
        (status, _) = _HEADER.unpack_from(answer)
        if status:
            raise EnclaveError("device-refused", what=self._node, actual=f"firmware status {status:#x}")
        return answer


def _insist_on_size(data: bytes) -> None:
    if len(data) != tsm.DATA_SIZE:
        raise EnclaveError("device-size", what="report data", expected=tsm.DATA_SIZE, actual=len(data))


def _committed(found: bytes, data: bytes) -> bytes:
    if len(found) != _REPORT_SIZE or found[_REPORT_DATA] != data:
        raise EnclaveError("device-answer", what="report", actual="it commits to other bytes")
    return found
