# SPDX-License-Identifier: Apache-2.0
"""An SGX enclave with Gramine: the command that runs what ``nacre build`` made and signed.

Not proven here:
    A processor with SGX: the command is held against Gramine's own, the manifest (``nacre.build.gramine``)
    against its schema. To prove it: ``nacre run --launcher gramine`` where Gramine is installed.

Source: gramineproject/gramine, ``pal/src/host/linux-sgx/gramine-sgx.in``.
"""

from collections.abc import Mapping
from pathlib import Path

from nacre.build.app import App
from nacre.enclave.launch.arguments import word
from nacre.enclave.launch.present import absent
from nacre.errors import EnclaveError

__all__ = ["command", "missing"]

_RUN = "gramine-sgx"
_DEVICES = {
    Path("/dev/sgx_enclave"): "of a processor with SGX and its driver",
    Path("/var/run/aesmd/aesm.socket"): "of Intel's service aesmd, which has quotes made",
}


def command(app: App, *, directory: Path) -> tuple[str, ...]:
    """Return the command line that runs what was signed, in its folder: the manifest names files from there.

    Raises:
        EnclaveError: ``launch-word``.
    """
    if "/" in app.name:
        raise EnclaveError(
            "launch-word", what="the application's name", expected="it is a path", actual=app.name
        )
    folder = word(directory, what="the folder's path")
    return ("env", f"--chdir={folder}", _RUN, word(app.name, what="the application's name"))


def missing(*, devices: Mapping[Path, str] = _DEVICES) -> tuple[str, ...]:
    """Say what is not on this machine, in words; nothing, if an enclave can be started."""
    return absent(programs={_RUN: "of Gramine"}, devices=devices)
