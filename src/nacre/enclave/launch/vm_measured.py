# SPDX-License-Identifier: Apache-2.0
"""What a measured boot needs beside QEMU: firmware, a disk that it starts from, and a TPM that remembers it.

The firmware is OVMF, the TPM is swtpm: both real programs, neither of them protected from this machine.
"""

import os
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from nacre.enclave.launch.leash import leashed
from nacre.errors import EnclaveError

__all__ = ["Measured"]

_CODE, _VARIABLES = Path("/usr/share/OVMF/OVMF_CODE_4M.fd"), Path("/usr/share/OVMF/OVMF_VARS_4M.fd")
_BOOT = "::/EFI/BOOT/BOOTX64.EFI"
#: Bytes of the disk beside the file that is started; FAT32 is never smaller than half of it.
_SPACE = 64 << 20
#: In the machine's folder; the TPM's programs take a path's comma for its end.
_STATE, _SOCKET = "tpm", "tpm.sock"
_PATIENCE, _POLL = 60.0, 0.02


class Measured:
    """A disk and a TPM; the TPM runs from entering to leaving.

    Attributes:
        memory: MiB that the machine needs at least.
    """

    def __init__(self, image: bytes, *, directory: Path) -> None:
        """Write the disk.

        Args:
            image: As ``uki.assemble`` made it.
            directory: Of this machine alone.

        Raises:
            EnclaveError: ``vm-missing``: a program or the firmware is not installed; ``vm-failed``: the disk
                cannot be written.
        """
        for program in ("swtpm", "swtpm_setup", "mformat", "mmd", "mcopy", str(_CODE), str(_VARIABLES)):
            if shutil.which(program) is None and not Path(program).is_file():
                raise EnclaveError("vm-missing", what=program)
        self.memory = 512 + 4 * (len(image) >> 20)
        self._directory = directory
        self._disk = directory / "disk.img"
        self._state = directory / _STATE
        self._socket = directory / _SOCKET
        self._variables = directory / "variables.fd"
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._write(image)
        except OSError as error:
            raise EnclaveError("vm-failed", actual=f"{error.filename}: {error.strerror}") from None

    def __enter__(self) -> Self:
        """Start the TPM.

        Raises:
            EnclaveError: ``vm-failed``: it does not start.
        """
        # One bank is enough, and the firmware hashes everything once for each.
        self._run("swtpm_setup", "--tpm2", "--tpmstate", _STATE, "--pcr-banks", "sha256", "--overwrite")
        command = ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={_STATE}"]
        command += ["--ctrl", f"type=unixio,path={_SOCKET}"]
        said = self._state / "said"
        with said.open("wb") as stream:
            self._process = subprocess.Popen(  # noqa: S603 (our own command line)
                leashed(command),
                cwd=self._directory,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
            )
        deadline = time.monotonic() + _PATIENCE
        while not self._socket.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.__exit__(None, None, None)
                words = said.read_text(errors="replace").strip() or "no socket"
                raise EnclaveError("vm-failed", actual=f"swtpm: {words}")
            time.sleep(_POLL)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the TPM."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
        self._socket.unlink(missing_ok=True)

    def options(self) -> tuple[str, ...]:
        """Return QEMU's options; they take the place of kernel, first file system and command line."""
        code, variables, disk, tpm = (
            str(path).replace(",", ",,") for path in (_CODE, self._variables, self._disk, self._socket)
        )
        return (
            *("-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={code}"),
            *("-drive", f"if=pflash,unit=1,format=raw,file={variables}"),
            *("-chardev", f"socket,id=tpm,path={tpm}", "-tpmdev", "emulator,id=tpm0,chardev=tpm"),
            *("-device", "tpm-crb,tpmdev=tpm0"),
            *("-drive", f"if=none,id=disk,format=raw,readonly=on,file={disk}"),
            *("-device", "virtio-blk-pci,drive=disk,bootindex=1"),
        )

    def _write(self, image: bytes) -> None:
        self._state.mkdir()
        shutil.copyfile(_VARIABLES, self._variables)
        started = self._directory / "started.efi"
        started.write_bytes(image)
        with self._disk.open("wb") as disk:
            disk.truncate((len(image) + _SPACE) >> 20 << 20)
        on_disk = ("-i", str(self._disk))
        self._run("mformat", *on_disk, "-F", "::")
        self._run("mmd", *on_disk, "::/EFI", "::/EFI/BOOT")
        self._run("mcopy", *on_disk, str(started), _BOOT)
        started.unlink()

    def _run(self, *command: str) -> None:
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "MTOOLS_SKIP_CHECK": "1",
            "HOME": "/nonexistent",
        }
        done = subprocess.run(  # noqa: S603 (our own command lines)
            command, cwd=self._directory, env=environment, capture_output=True, check=False, text=True
        )
        if done.returncode != 0:
            raise EnclaveError(
                "vm-failed", actual=f"{command[0]}: {done.stderr.strip() or done.stdout.strip()}"
            )
