# SPDX-License-Identifier: Apache-2.0
"""A TDX guest's own view of its hardware: quotes through configfs-tsm, registers through sysfs.

``/dev/tdx_guest`` alone gives a TDREPORT, which only the same machine can check; so without the kernel's
reports, which ask the host's quoting service, there is no evidence, and only the registers can be read.

Not proven here:
    A real guest: reports and registers come from files that an emulator serves; the ioctl was only refused.

Source: Linux, ``Documentation/ABI/testing/{configfs-tsm-report,sysfs-devices-virtual-misc-tdx_guest}`` and
``include/uapi/linux/tdx-guest.h``; Intel, TDX Module ABI (348551), TDREPORT_STRUCT.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Final

from nacre.errors import EnclaveError
from nacre.platforms import tsm

__all__ = ["TdxDevice"]

#: ``_IOWR('T', 1, struct tdx_report_req)``: 64 bytes in, 1,024 bytes out.
_GET_REPORT0: Final = 0xC4405401
_REQUEST_SIZE: Final = 64 + 1024
_DIGEST: Final = 48
#: Where the quoted report data lies, by the quote's version.
_REPORT_DATA: Mapping[int, int] = {4: 568, 5: 574}
#: Files of the kernel's measurement registers.
_FILES: Mapping[str, str] = {
    "mrtd": "mrtd:sha384",
    "mrconfigid": "mrconfigid",
    "mrowner": "mrowner",
    "mrownerconfig": "mrownerconfig",
    **{f"rtmr{index}": f"rtmr{index}:sha384" for index in range(4)},
}
#: Those that software inside may extend.
_RUNTIME: Final = ("rtmr2", "rtmr3")
#: Where the registers begin in an answer to the ioctl, 48 bytes each, in the order of ``_FILES``:
#: the request's 64 bytes, 512 bytes of the TDREPORT, attributes and XFAM.
_REGISTERS: Final = 64 + 512 + 16


class TdxDevice:
    """One TDX guest."""

    platform: ClassVar[str] = "tdx"

    def __init__(self, *, reports: str, measurements: str, node: str, quotes: bool = True) -> None:
        """Remember where things are.

        Args:
            reports: The directory of configfs-tsm's reports.
            measurements: The directory of the measurement registers.
            node: The guest's device.
            quotes: Whether there is a provider of quotes at all.
        """
        self._reports = tsm.Reports(reports, by=tsm.TDX)
        self._directory = reports
        self._measurements = Path(measurements)
        self._node = node
        self._quotes = quotes

    def evidence(self, data: bytes, *, nonce: bytes | None = None, public_key: bytes | None = None) -> bytes:
        """Ask for a quote over 64 bytes.

        Raises:
            EnclaveError: ``device-no-quote`` where only TDREPORTs are to be had, ``device-no-field`` for a
                nonce or a key, and those of ``tsm.Reports``.
        """
        if nonce is not None or public_key is not None:
            raise EnclaveError("device-no-field", what=self.platform)
        if not self._quotes:
            raise EnclaveError("device-no-quote", what=self._node, expected=self._directory)
        quote = self._reports.ask(data).outblob
        at = _REPORT_DATA.get(int.from_bytes(quote[:2], "little"), 0)
        if not at or quote[at : at + len(data)] != data:
            raise EnclaveError("device-answer", what="quote", actual="it commits to other bytes")
        return quote

    def endorsements(self) -> Mapping[str, bytes]:
        """Return nothing: Intel's service has them."""
        return {}

    def extend(self, register: str, digest: bytes) -> None:
        """Extend ``rtmr2`` or ``rtmr3`` by a digest of 48 bytes.

        Raises:
            EnclaveError: ``device-no-register``, also where the kernel does not offer its registers;
                ``device-size``, ``device-unreachable``.
        """
        if register not in _RUNTIME or not self._measurements.is_dir():
            raise EnclaveError(
                "device-no-register", what=register, expected=f"rtmr2, rtmr3 in {self._measurements}"
            )
        if len(digest) != _DIGEST:
            raise EnclaveError("device-size", what=register, expected=_DIGEST, actual=len(digest))
        try:
            tsm.write(self._measurements / _FILES[register], digest)
        except OSError as error:
            raise tsm.unreachable(str(self._measurements), error) from None

    def registers(self) -> Mapping[str, bytes]:
        """Return the registers: the kernel's, else those of a TDREPORT; empty where there is neither."""
        try:
            if self._measurements.is_dir():
                return {
                    name: tsm.read(self._measurements / file, limit=_DIGEST) for name, file in _FILES.items()
                }
            message = bytearray(_REQUEST_SIZE)
            tsm.asked(self._node, _GET_REPORT0, message)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise tsm.unreachable(self._node, error) from None
        places = range(_REGISTERS, len(message), _DIGEST)
        return {name: bytes(message[at : at + _DIGEST]) for name, at in zip(_FILES, places, strict=False)}

    def entropy(self, size: int) -> bytes | None:  # noqa: ARG002 (the interface's)
        """Return None: the processor's generator is the kernel's already."""
        return None

    def sealing_key(self, context: bytes) -> bytes | None:  # noqa: ARG002 (the interface's)
        """Return None: a TDX guest has no key that outlives it."""
        return None

    def close(self) -> None:
        """Remove the directory of our reports."""
        self._reports.close()
