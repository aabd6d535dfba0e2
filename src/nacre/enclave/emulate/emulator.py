# SPDX-License-Identifier: Apache-2.0
"""A whole emulated TEE: its chip, and the kernel's interface to it, in one folder."""

import ctypes
import errno
import functools
import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from nacre.enclave.emulate.chip import Chip
from nacre.enclave.emulate.fuse import Mount
from nacre.enclave.emulate.gramine import Attestation
from nacre.enclave.emulate.sockets import MessageSocket
from nacre.enclave.emulate.tsm import Measurements, Reports, ReportsAtOnce
from nacre.errors import EnclaveError
from nacre.platforms.device import DevicePaths
from nacre.platforms.simulation import Machine

__all__ = ["Emulator"]

_MNT_DETACH = 2


class Emulator:
    """Serves one machine's devices while the block lasts, and leaves nothing mounted.

    It belongs outside the enclave: it holds the keys with which simulated hardware signs.

    Attributes:
        chip: What the hardware remembers.
        endorsements: The folder with the vendor's documents, a file for each role.
        paths: Where the devices are; what this platform does not have lies at a path where nothing is.
    """

    def __init__(
        self,
        machine: Machine,
        *,
        registers: Mapping[str, bytes],
        directory: Path,
        clock: Callable[[], int],
        secret: bytes = b"",
        closing: bool = True,
    ) -> None:
        """Remember what to serve.

        Args:
            machine: The simulated machine.
            registers: Name, as in releases, to value at the start.
            directory: A folder of its own with a short path; made if need be.
            clock: Tells the time, Unix seconds.
            secret: What sealing keys are derived from; random by default, so that they end with the chip.
            closing: Whether callers' closing of a file is seen here; gVisor keeps open what it opened.
        """
        self._reports = Reports if closing else ReportsAtOnce
        self.chip = Chip(machine, registers=registers, clock=clock, secret=secret)
        self.endorsements = directory / "endorsements"
        self._machine = machine
        self._directory = directory
        self._stack = ExitStack()
        names = ("nsm", "tsm", "tsm_measurements", "sev_guest", "tdx_guest", "attestation")
        self.paths = DevicePaths(**{name: str(directory / name) for name in names})

    def __enter__(self) -> Self:
        """Begin to serve.

        Raises:
            EnclaveError: ``emulator-mount``; ``emulator-directory`` where the folder cannot be used.
        """
        with ExitStack() as stack:
            try:
                self._directory.mkdir(parents=True, exist_ok=True)
                self._hand_out()
                self._serve(stack)
            except OSError as error:
                raise EnclaveError(
                    "emulator-directory", what=str(self._directory), actual=error.strerror or str(error)
                ) from None
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Serve no more."""
        self._stack.close()

    def _hand_out(self) -> None:
        self.endorsements.mkdir(exist_ok=True)
        for role, document in self.chip.endorsements().items():
            (self.endorsements / role).write_bytes(document)

    def _serve(self, stack: ExitStack) -> None:
        match self.chip.platform:
            case "nitro":
                from nacre.enclave.emulate import nsm  # noqa: PLC0415 (others do without Nitro's code)

                module = functools.partial(nsm.answer, self.chip)
                stack.enter_context(MessageSocket(Path(self.paths.nsm), module, limit=nsm.MAX_MESSAGE))
            case "sgx":
                stack.enter_context(self._mount(self.paths.attestation, Attestation(self.chip)))
            case "tdx":
                stack.enter_context(self._mount(self.paths.tsm, self._reports(self.chip)))
                stack.enter_context(self._mount(self.paths.tsm_measurements, Measurements(self.chip)))
            case _:
                from nacre.platforms.snp.simulate import SnpMachine  # noqa: PLC0415 (likewise)

                machine = self._machine
                table = machine.certificate_table() if isinstance(machine, SnpMachine) else b""
                stack.enter_context(self._mount(self.paths.tsm, self._reports(self.chip, auxblob=table)))

    def _mount(self, path: str, tree: Attestation | Measurements | Reports) -> Mount:
        directory = Path(path)
        try:
            directory.stat()
        except OSError as error:
            # An emulator that was killed leaves a mount that nobody serves.
            if error.errno == errno.ENOTCONN:
                ctypes.CDLL(None).umount2(os.fsencode(directory), _MNT_DETACH)
        return Mount(directory, tree)
