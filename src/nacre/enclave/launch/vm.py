# SPDX-License-Identifier: Apache-2.0
"""A simulated enclave that is a machine of its own: QEMU, in software, boots the image.

What is real: the kernel, the first process, AF_VSOCK, the device node and its driver. What is not: nothing
keeps this machine out of the guest's memory, and a development root signs the evidence.

Never with KVM: where this runs, virtualisation may itself be nested, and stock kernels do not boot there.
"""

import contextlib
import io
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from nacre.build.app import App
from nacre.build.cpio import file, write
from nacre.build.initramfs import build
from nacre.build.kernel import Kernel
from nacre.build.layout import APP, BEFORE, CONFIGURATION, MODULES, USER
from nacre.build.tree import Tree
from nacre.enclave.agent.config import Config
from nacre.enclave.boot import nsm as device
from nacre.enclave.launch.leash import leashed
from nacre.enclave.launch.vm_measured import Measured
from nacre.enclave.vsock.backend import Vsock
from nacre.enclave.vsock.packet import PARENT
from nacre.errors import EnclaveError

__all__ = ["COMMAND_LINE", "SIMULATED_MODULES", "Vm", "configuration", "over", "qemu", "write_image"]

_QEMU = "qemu-system-x86_64"
_CID = 16
#: The guest's port of the public listener, and the host's of the security module and of the way out.
_PUBLIC, _NSM, _UPLINK = 8080, 9001, 9002
_MODULES = ("virtio_pci", "vmw_vsock_virtio_transport")
#: What the simulated device is made with.
SIMULATED_MODULES = ("cuse",)
#: The kernel's.
COMMAND_LINE = "console=ttyS0 panic=-1 random.trust_cpu=on quiet"
_POLL, _GRACE, _TAIL = 0.05, 5.0, 2000
_ASK = b"GET /.well-known/nacre/ HTTP/1.1\r\nhost: enclave\r\nconnection: close\r\n\r\n"


def configuration(app: App, *, release: bytes) -> Config:
    """Return what the agent is told in a simulated machine."""
    return Config(
        app=app,
        app_directory=APP,
        public=f"vsock:{_PUBLIC}",
        socket="/run/nacre/agent.sock",
        egress_socket="/run/nacre/egress.sock" if app.egress else None,
        uplink=f"vsock:{PARENT}:{_UPLINK}" if app.egress else None,
        release=release.hex(),
        mode="simulated",
        app_user=USER,
    )


def write_image(path: Path, app: App, tree: Tree, *, kernel: Kernel, release: bytes) -> None:
    """Write the first file system: the image, and behind it what only a simulated machine needs.

    Raises:
        BuildError: As ``initramfs.build`` and ``Kernel.load`` raise.
    """
    modules = kernel.load(_MODULES)
    names = {name for name, _ in modules}
    extra = [one for one in kernel.load(SIMULATED_MODULES) if one[0] not in names]
    encoded = configuration(app, release=release).encode()
    with path.open("wb") as stream:
        build(stream, tree, configuration=encoded, modules=modules)
        stream.write(over(extra, first=len(modules)))


def over(modules: Iterable[tuple[str, bytes]], *, first: int, told: bytes | None = None) -> bytes:
    """Return what lies over an image in a simulated machine: a further archive, which the kernel unpacks too.

    Args:
        modules: Name and content of the kernel modules of the simulated device, in order.
        first: The number of the first; those of the image have lower ones.
        told: What the agent is told instead of what the image says.
    """
    simulated = io.BytesIO()
    write(
        simulated,
        [
            file(f"{BEFORE[1:]}/nsm", _device(), program=True),
            *([] if told is None else [file(CONFIGURATION[1:], told)]),
            *(
                file(f"{MODULES[1:]}/{number:02}-{name}", content)
                for number, (name, content) in enumerate(modules, start=first)
            ),
        ],
    )
    return simulated.getvalue()


def _device() -> bytes:
    """Return the program that is the simulated device: whole, for an image has no use for it otherwise."""
    source = Path(device.__file__).read_bytes()
    return b"#!/usr/bin/python3 -IB\n" + source + f'\n\nsys.argv[1:] = ["{_NSM}"]\nmain()\n'.encode()


class Vm:
    """One machine; it runs from entering to leaving.

    Attributes:
        public: The Unix socket here through which its public listener is reached.
        log: What it and QEMU wrote, at the end of the file.
    """

    def __init__(
        self,
        image: Path,
        *,
        kernel: Kernel,
        app: App,
        nsm: Path,
        directory: Path,
        measured: Measured | None = None,
        uplink: Path | None = None,
        parameters: str = COMMAND_LINE,
    ) -> None:
        """Say what to boot.

        Args:
            image: As ``write_image`` wrote it.
            kernel: The kernel.
            app: Whose resources the machine has.
            nsm: The Unix socket of the security module's emulator.
            directory: Of this machine alone; sockets and the log are made in it.
            measured: Boots from its disk through firmware, which measures into its TPM, instead of ``image``.
            uplink: The Unix socket of an ``Uplink``, which dials for the application; without one nothing
                does, whatever the application may reach.
            parameters: The kernel's command line.

        Raises:
            EnclaveError: ``vm-missing``: QEMU is not installed.
        """
        self.public = directory / "public.sock"
        self.log = directory / "console.log"
        self._socket = directory / "vsock.sock"
        services = {_NSM: nsm} if uplink is None else {_NSM: nsm, _UPLINK: uplink}
        self._vsock = Vsock(self._socket, cid=_CID, ports={_PUBLIC: self.public}, services=services)
        self._command = command(
            image,
            kernel=kernel,
            app=app,
            socket=self._socket,
            log=self.log,
            measured=measured,
            parameters=parameters,
        )
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start it; it boots meanwhile."""
        self._vsock.__enter__()
        try:
            with self.log.open("ab") as said:
                self._process = subprocess.Popen(  # noqa: S603 (our own command line)
                    leashed(self._command), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said
                )
        except OSError as error:
            self._vsock.__exit__(None, None, None)
            raise EnclaveError("vm-failed", actual=error.strerror or "an error") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Switch it off."""
        process = self._process
        if process is not None:
            process.terminate()
            try:
                process.wait(_GRACE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._vsock.__exit__(None, None, None)

    def wait(self, *, seconds: float) -> None:
        """Wait until the agent answers.

        Raises:
            EnclaveError: ``vm-failed``: the machine ended; ``vm-silent``: it does not answer in time.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self._answers():
                return
            if self.ended() is not None:
                raise EnclaveError("vm-failed", actual=self.tail())
            if self._vsock.fault is not None:
                raise EnclaveError("vm-failed", actual=self._vsock.fault)
            time.sleep(_POLL)
        raise EnclaveError("vm-silent", expected=int(seconds), actual=self.tail())

    def ended(self) -> int | None:
        """Return QEMU's exit status if it has ended: 0 where the machine switched itself off."""
        return None if self._process is None else self._process.poll()

    def tail(self) -> str:
        """Return the end of the log."""
        with contextlib.suppress(OSError):
            return self.log.read_text(errors="replace")[-_TAIL:].strip()
        return ""

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
            asking.settimeout(_GRACE)
            asking.connect(str(self.public))
            asking.sendall(_ASK)
            return bool(asking.recv(1))
        return False


def command(
    image: Path,
    *,
    kernel: Kernel,
    app: App,
    socket: Path,
    log: Path,
    measured: Measured | None = None,
    parameters: str = COMMAND_LINE,
) -> list[str]:
    """Return QEMU's command line.

    Raises:
        EnclaveError: ``vm-missing``.
    """
    memory = max(app.resources.machine, measured.memory if measured is not None else 0)
    started = ("-kernel", os.fspath(kernel.image), "-initrd", os.fspath(image), "-append", parameters)
    return [
        qemu(),
        *("-machine", "q35,accel=tcg,memory-backend=ram"),
        # cmpxchg16b is emulated wrongly by QEMU 7.2; without rdrand there is no randomness early enough.
        *("-cpu", "qemu64,+rdrand,-cx16"),
        *("-smp", str(app.resources.cpus)),
        *("-m", f"{memory}M"),
        *("-object", f"memory-backend-memfd,id=ram,size={memory}M,share=on"),
        *("-display", "none", "-nodefaults", "-no-reboot"),
        # Not ``-serial file:``, which takes a doubled comma for two.
        *("-chardev", f"file,id=console,path={_escaped(log)},append=on", "-serial", "chardev:console"),
        *(started if measured is None else measured.options()),
        *("-chardev", f"socket,id=vsock,path={_escaped(socket)}"),
        *("-device", "vhost-user-vsock-pci,chardev=vsock"),
    ]


def qemu() -> str:
    """Return the path of QEMU.

    Raises:
        EnclaveError: ``vm-missing``.
    """
    found = shutil.which(_QEMU)
    if found is None:
        raise EnclaveError("vm-missing", what=_QEMU)
    return found


def _escaped(path: Path) -> str:
    """Double the commas, which separate QEMU's options."""
    return str(path).replace(",", ",,")
