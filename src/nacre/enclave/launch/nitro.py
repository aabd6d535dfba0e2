# SPDX-License-Identifier: Apache-2.0
"""An enclave of AWS Nitro: what ``nitro-cli`` is told on the parent instance, and how its answers are read.

Not proven here:
    A parent instance: command lines are held against the options of ``nitro-cli``'s own source, answers
    written by the tests. To prove it: ``start`` on an instance with enclaves enabled.

Source: aws/aws-nitro-enclaves-cli, ``src/lib.rs`` and ``src/common/json_output.rs``.
"""

import re
from pathlib import Path
from typing import TypeVar

import msgspec

from nacre.build.app import App
from nacre.enclave.launch.arguments import number, word
from nacre.enclave.launch.present import absent, run
from nacre.errors import EnclaveError

__all__ = ["Running", "command", "describe", "list_command", "missing", "start", "stop", "terminate"]

_T = TypeVar("_T")

_CLI = "nitro-cli"
_PROGRAMS = {_CLI: "of AWS's package aws-nitro-enclaves-cli"}
_DEVICE = Path("/dev/nitro_enclaves")
_COMES = "of a parent instance with enclaves enabled and the driver nitro_enclaves loaded"
#: Context identifiers: below are hypervisor, loopback, host and parent; above is "any".
_FIRST_CID, _LAST_CID = 4, (1 << 32) - 2
_LEAST_MEMORY, _MOST = 64, 1 << 31
_ID = re.compile(r"i-[0-9a-f]{1,32}-enc[0-9a-f]{1,32}")
_DEBUG = "DEBUG_MODE"


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """An enclave as ``nitro-cli`` reports it.

    Attributes:
        identifier: ``i-…-enc…``.
        cid: Its context identifier on AF_VSOCK.
        cpus: Virtual processors.
        memory: MiB.
        state: ``RUNNING`` …; empty in the answer to starting it.
        flags: ``NONE`` or ``DEBUG_MODE``; empty in the answer to starting it.
    """

    identifier: str = msgspec.field(name="EnclaveID")
    cid: int = msgspec.field(name="EnclaveCID")
    cpus: int = msgspec.field(name="NumberOfCPUs")
    memory: int = msgspec.field(name="MemoryMiB")
    state: str = msgspec.field(name="State", default="")
    flags: str = msgspec.field(name="Flags", default="")


class _Terminated(msgspec.Struct, frozen=True):
    identifier: str = msgspec.field(name="EnclaveID")
    terminated: bool = msgspec.field(name="Terminated")


def command(app: App, *, eif: Path, cid: int, debug: bool = False) -> tuple[str, ...]:
    """Return the command line that starts an image.

    Args:
        app: Whose resources the enclave gets.
        eif: The image.
        cid: The enclave's context identifier on AF_VSOCK.
        debug: Lets the parent read the console. PCR0 to PCR2 of its evidence are then zero.

    Raises:
        EnclaveError: ``launch-word``, ``launch-number``.
    """
    line = (
        *(_CLI, "run-enclave", "--eif-path", word(eif, what="the image's path")),
        *("--cpu-count", number(app.resources.cpus, what="number of processors", least=1, most=_MOST)),
        *("--memory", number(max(app.resources.memory, _LEAST_MEMORY), what="memory", least=1, most=_MOST)),
        *("--enclave-cid", number(cid, what="context identifier", least=_FIRST_CID, most=_LAST_CID)),
    )
    return (*line, "--debug-mode") if debug else line


def list_command() -> tuple[str, ...]:
    """Return the command line that lists the enclaves of this parent."""
    return (_CLI, "describe-enclaves")


def terminate(identifier: str) -> tuple[str, ...]:
    """Return the command line that ends one enclave.

    Raises:
        EnclaveError: ``launch-word``: it is not an enclave's identifier.
    """
    if not _ID.fullmatch(identifier):
        raise EnclaveError(
            "launch-word", what="the enclave", expected="it is not i-…-enc…", actual=identifier
        )
    return (_CLI, "terminate-enclave", "--enclave-id", identifier)


def missing(*, device: Path = _DEVICE) -> tuple[str, ...]:
    """Say what is not on this machine, in words; nothing, if an enclave can be started."""
    return absent(programs=_PROGRAMS, devices={device: _COMES})


def start(app: App, *, eif: Path, cid: int, debug: bool = False, device: Path = _DEVICE) -> Running:
    """Start an enclave.

    Raises:
        EnclaveError: As ``command`` raises; ``launch-missing``, ``launch-failed``, ``launch-answer``;
            ``launch-debug``: it runs in debug mode, and nobody asked for that: it was ended again.
    """
    line = command(app, eif=eif, cid=cid, debug=debug)
    started = _read(run(line, missing=missing(device=device)), Running)
    shown = [one for one in describe(device=device) if one.identifier == started.identifier]
    if not debug and any(_DEBUG in one.flags for one in shown):
        stop(started.identifier, device=device)
        raise EnclaveError("launch-debug", what=started.identifier)
    return started


def describe(*, device: Path = _DEVICE) -> tuple[Running, ...]:
    """Return the enclaves of this parent.

    Raises:
        EnclaveError: ``launch-missing``, ``launch-failed``, ``launch-answer``.
    """
    return _read(run(list_command(), missing=missing(device=device)), tuple[Running, ...])


def stop(identifier: str, *, device: Path = _DEVICE) -> None:
    """End one enclave.

    Raises:
        EnclaveError: As ``terminate`` raises; ``launch-missing``, ``launch-failed``; ``launch-answer``: it
            still runs.
    """
    answer = _read(run(terminate(identifier), missing=missing(device=device)), _Terminated)
    if not answer.terminated or answer.identifier != identifier:
        raise EnclaveError("launch-answer", what=_CLI, actual=f"{identifier} was not terminated")


def _read(answer: bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(answer, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise EnclaveError("launch-answer", what=_CLI, actual=str(error)) from None
