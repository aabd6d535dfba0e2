# SPDX-License-Identifier: Apache-2.0
"""A machine's TPM as a program sees it: commands and responses through the kernel's resource manager.

Whatever the TPM answers, nothing but ``EnclaveError`` comes out of here.

Not proven here:
    A real TPM: the one that is asked here is swtpm.

Source: TCG, TPM 2.0 Library, part 3 (CreatePrimary 24.1, Quote 18.4, PCR_Read 22.4, FlushContext
28.4), part 2 (structures).
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from struct import Struct, pack
from types import TracebackType
from typing import Final, Self

import msgspec

from nacre.errors import EnclaveError
from nacre.platforms.tpm.registers import PCRS, insist

__all__ = ["Quoted", "Tpm"]

_DEVICE = "/dev/tpmrm0"
_MAX_RESPONSE: Final = 4096
_PLAIN, _AUTHORIZED = 0x8001, 0x8002
_CREATE_PRIMARY, _QUOTE, _FLUSH_CONTEXT, _PCR_READ = 0x131, 0x158, 0x165, 0x17E
_ENDORSEMENT: Final = 0x4000000B
_HEADER = Struct(">HII")  # tag, size, code
#: One session that is none: the empty password.
_NO_PASSWORD = pack(">IIHBH", 9, 0x40000009, 0, 0, 0)
_BANKS: Mapping[str, int] = {"sha256": 0x0B, "sha384": 0x0C, "sha512": 0x0D}
_NULL: Final = 0x10
#: A key that signs nothing but what the TPM itself states, and never leaves it: ECDSA on P-256, SHA-256.
_ATTESTATION = pack(
    ">HHIHHHHHHHH",
    *(0x23, 0x0B, 0x00050072, 0),  # ECC, named by SHA-256, attributes, no policy
    *(_NULL, 0x18, 0x0B, 0x03, _NULL),  # no cipher, ECDSA with SHA-256, P-256, no derivation
    *(0, 0),  # x, y
)
#: Registers that one answer has room for.
_AT_ONCE: Final = 8
_SELECT: Final = 3


class Quoted(msgspec.Struct, frozen=True, kw_only=True):
    """What a TPM says of its registers.

    Attributes:
        public: The attestation key, ``TPMT_PUBLIC``.
        attest: What it signed, ``TPMS_ATTEST``.
        signature: ``TPMT_SIGNATURE``.
        pcrs: The registers by their numbers.
    """

    public: bytes
    attest: bytes
    signature: bytes
    pcrs: Mapping[int, bytes]


class Tpm:
    """A TPM; it is open from entering to leaving."""

    def __init__(self, path: str = _DEVICE) -> None:
        """Remember where it is."""
        self._path = Path(path)
        self._file = -1

    def __enter__(self) -> Self:
        """Open it.

        Raises:
            EnclaveError: ``tpm-device``.
        """
        try:
            self._file = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as problem:
            raise self._failed(problem.strerror or problem) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it; the kernel drops the keys that were made meanwhile."""
        os.close(self._file)

    def quote(self, nonce: bytes, *, registers: Iterable[int], algorithm: str = "sha256") -> Quoted:
        """Have registers quoted by a key of the endorsement hierarchy, the same one each time.

        Args:
            nonce: At most 32 bytes, which the TPM signs along.
            registers: Their numbers.
            algorithm: The bank.

        Raises:
            EnclaveError: ``tpm-device``; ``device-no-register``: a register or the bank is not there.
            ConfigurationError: ``tpm-bank``.
        """
        insist(algorithm)
        wanted = sorted(set(registers))
        absent = [number for number in wanted if number not in PCRS]
        if absent:
            raise EnclaveError("device-no-register", what=absent[0], expected="0 to 23")
        key, public = self._key()
        try:
            parameters = _sized(nonce) + pack(">H", _NULL) + _selection(wanted, algorithm)
            answer = self._asked(_QUOTE, key, parameters)
        finally:
            self._asked(_FLUSH_CONTEXT, b"", key)
        attest, signature = self._first(answer[4:])
        # Behind the signature there is the session, which says nothing.
        size = int.from_bytes(answer[:4], "big") - 2 - len(attest)
        pcrs = dict(self._values(wanted, algorithm))
        return Quoted(public=public, attest=attest, signature=signature[:size], pcrs=pcrs)

    def _key(self) -> tuple[bytes, bytes]:
        """Make the attestation key, and return its handle and its public area."""
        made = _sized(pack(">HH", 0, 0)) + _sized(_ATTESTATION) + _sized(b"") + pack(">I", 0)
        answer = self._asked(_CREATE_PRIMARY, pack(">I", _ENDORSEMENT), made)
        return answer[:4], self._first(answer[8:])[0]

    def _values(self, wanted: list[int], algorithm: str) -> Iterable[tuple[int, bytes]]:
        for start in range(0, len(wanted), _AT_ONCE):
            asked = wanted[start : start + _AT_ONCE]
            selection = _selection(asked, algorithm)
            answer = self._asked(_PCR_READ, b"", selection)
            # How often registers were extended so far; which are told; how many.
            rest = answer[4 + len(selection) + 4 :]
            if answer[4 : 4 + len(selection)] != selection:
                raise EnclaveError(
                    "device-no-register", what=f"{asked[0]} of {algorithm}", expected="another bank"
                )
            for number in asked:
                value, rest = self._first(rest)
                yield number, value

    def _asked(self, command: int, handles: bytes, parameters: bytes) -> bytes:
        """Give one command and return what follows the response's header."""
        tag, session = (_AUTHORIZED, _NO_PASSWORD) if handles else (_PLAIN, b"")
        body = handles + session + parameters
        try:
            os.write(self._file, _HEADER.pack(tag, _HEADER.size + len(body), command) + body)
            answer = os.read(self._file, _MAX_RESPONSE)
        except OSError as problem:
            raise self._failed(problem.strerror or problem) from None
        if len(answer) < _HEADER.size:
            raise self._failed("a short answer")
        _, size, code = _HEADER.unpack_from(answer)
        if code or size != len(answer):
            raise self._failed("response code " + hex(code))
        return answer[_HEADER.size :]

    def _first(self, data: bytes) -> tuple[bytes, bytes]:
        """Return a sized buffer, and what follows it."""
        size = int.from_bytes(data[:2], "big")
        if len(data) < 2 + size:
            raise self._failed("a short answer")
        return data[2 : 2 + size], data[2 + size :]

    def _failed(self, actual: object) -> EnclaveError:
        return EnclaveError("tpm-device", what=str(self._path), actual=str(actual))


def _sized(data: bytes) -> bytes:
    return pack(">H", len(data)) + data


def _selection(registers: Iterable[int], algorithm: str) -> bytes:
    bits = sum(1 << number for number in registers)
    return pack(">IHB", 1, _BANKS[algorithm], _SELECT) + bits.to_bytes(_SELECT, "little")
