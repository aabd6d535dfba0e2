# SPDX-License-Identifier: Apache-2.0
"""An SGX enclave's own view of its hardware, through Gramine's pseudo-files.

``user_report_data`` is one for the whole process: whoever writes it between our write and the quote gets
his quote, not ours. So a quote is looked at before it is taken, and asked for again if it is not about our
bytes.

Not proven here:
    A real enclave: the pseudo-files are an emulator's; names and sizes are Gramine's documentation's.

Source: Gramine, ``Documentation/attestation.rst``; Intel, SGX DCAP quote format, version 3.
"""

from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import ClassVar, Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from nacre.errors import EnclaveError
from nacre.platforms import tsm

__all__ = ["SgxDevice"]

_KIND: Final = "dcap"
#: Where the report data lies in a quote.
_REPORT_DATA: Final = slice(368, 432)
#: Where the registers lie in a quote.
_REGISTERS: Mapping[str, slice] = {"mrenclave": slice(112, 144), "mrsigner": slice(176, 208)}
_KEY_SIZE: Final = 16
_LABEL = b"nacre sealing key, sgx\0"


class SgxDevice:
    """One Gramine enclave."""

    platform: ClassVar[str] = "sgx"

    def __init__(self, directory: str) -> None:
        """Remember where the pseudo-files are."""
        self._directory = Path(directory)
        self._turn = Lock()
        self._certain = False

    def evidence(self, data: bytes, *, nonce: bytes | None = None, public_key: bytes | None = None) -> bytes:
        """Ask for a quote over 64 bytes.

        Raises:
            EnclaveError: ``device-no-field`` for a nonce or a key, ``device-size``, ``device-provider`` where
                Gramine runs without DCAP, ``device-contended``, ``device-unreachable``.
        """
        if nonce is not None or public_key is not None:
            raise EnclaveError("device-no-field", what=self.platform)
        if len(data) != tsm.DATA_SIZE:
            raise EnclaveError("device-size", what="report data", expected=tsm.DATA_SIZE, actual=len(data))
        try:
            with self._turn:
                return self._quote(data)
        except OSError as error:
            raise tsm.unreachable(str(self._directory), error) from None

    def endorsements(self) -> Mapping[str, bytes]:
        """Return nothing: Intel's service has them."""
        return {}

    def extend(self, register: str, digest: bytes) -> None:  # noqa: ARG002 (the interface's)
        """Refuse: SGX has no register that changes.

        Raises:
            EnclaveError: ``device-no-register``.
        """
        raise EnclaveError("device-no-register", what=register, expected="SGX has none")

    def registers(self) -> Mapping[str, bytes]:
        """Return MRENCLAVE and MRSIGNER, as a quote shows them."""
        quote = self.evidence(bytes(tsm.DATA_SIZE))
        return {name: quote[place] for name, place in _REGISTERS.items()}

    def entropy(self, size: int) -> bytes | None:  # noqa: ARG002 (the interface's)
        """Return None: Gramine's random bytes are the processor's already."""
        return None

    def sealing_key(self, context: bytes) -> bytes | None:
        """Derive a key of processor and MRENCLAVE; None where Gramine offers none.

        Raises:
            EnclaveError: ``device-answer``, ``device-unreachable``.
        """
        try:
            key = tsm.read(self._directory / "keys" / "_sgx_mrenclave", limit=_KEY_SIZE)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise tsm.unreachable(str(self._directory), error) from None
        if len(key) != _KEY_SIZE:
            raise EnclaveError("device-answer", what="sealing key", actual=f"{len(key)} bytes")
        return HKDF(SHA256(), 32, salt=None, info=_LABEL + context).derive(key)

    def close(self) -> None:
        """Do nothing: nothing is kept open."""

    def _quote(self, data: bytes) -> bytes:
        self._insist_on_kind()
        for _ in range(tsm.ATTEMPTS):
            tsm.write(self._directory / "user_report_data", data)
            quote = tsm.read(self._directory / "quote")
            if quote[_REPORT_DATA] == data:
                return quote
        raise EnclaveError("device-contended", what=str(self._directory), actual=tsm.ATTEMPTS)

    def _insist_on_kind(self) -> None:
        """Look at how this enclave attests; its manifest says so, for as long as it runs."""
        if self._certain:
            return
        kind = tsm.read(self._directory / "attestation_type", limit=32).decode("ascii", "replace").strip()
        if kind != _KIND:
            raise EnclaveError("device-provider", what="Gramine", expected=_KIND, actual=kind)
        self._certain = True
