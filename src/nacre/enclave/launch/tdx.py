# SPDX-License-Identifier: Apache-2.0
"""A machine in a trust domain of Intel TDX: QEMU's command line, from version 10.1 on.

Not proven here:
    A host with TDX and QEMU 10.1: the command line is held against QEMU's own schema. To prove it: ``start``
    on one.

Source: qemu/qemu, ``qapi/qom.json`` (``TdxGuestProperties``), ``qapi/sockets.json``.
"""

import subprocess
from pathlib import Path

from nacre.build.app import App
from nacre.enclave.launch.arguments import base64_of, word
from nacre.enclave.launch.confidential import DEVICES, QEMU, Guest, Value, line
from nacre.enclave.launch.present import absent, knows_object, spawn

__all__ = ["command", "missing", "start"]

#: Where Intel's quote generation service listens.
_QUOTES = Path("/var/run/tdx-qgs/qgs.socket")
_OBJECT = "tdx-guest"
_DIGEST = 48


def command(
    app: App,
    guest: Guest,
    *,
    quotes: Path = _QUOTES,
    config_id: bytes | None = None,
    owner: bytes | None = None,
    owner_config: bytes | None = None,
) -> tuple[str, ...]:
    """Return the command line. The debug attribute is never set.

    Args:
        app: Whose resources the machine gets.
        guest: What it boots.
        quotes: The socket of the host's quote generation service; without it there is no evidence.
        config_id: MRCONFIGID, 48 bytes; zero by default.
        owner: MROWNER, 48 bytes; zero by default.
        owner_config: MROWNERCONFIG, 48 bytes; zero by default.

    Raises:
        EnclaveError: ``launch-word``, ``launch-number``, ``launch-size``.
    """
    socket = {"type": "unix", "path": word(quotes, what="the path of the quote generation service")}
    kind: dict[str, Value] = {
        "qom-type": _OBJECT,
        "id": "tdx",
        # Linux does not boot where a page that was never accepted raises #VE.
        "sept-ve-disable": True,
        "quote-generation-socket": socket,
    }
    stated = (("mrconfigid", config_id), ("mrowner", owner), ("mrownerconfig", owner_config))
    kind |= {
        name: base64_of(value, what=name.upper(), size=_DIGEST) for name, value in stated if value is not None
    }
    return line(app, guest, kind=kind, memory={"qom-type": "memory-backend-ram"}, cpu="host")


def missing(*, quotes: Path = _QUOTES) -> tuple[str, ...]:
    """Say what is not on this machine, in words."""
    devices = {**DEVICES, quotes: "of Intel's quote generation service, qgsd"}
    lacking = absent(programs={QEMU: "QEMU 10.1 or newer"}, devices=devices)
    return lacking if knows_object(QEMU, _OBJECT) else (*lacking, f"{_OBJECT} in QEMU (10.1 or newer)")


def start(
    app: App,
    guest: Guest,
    *,
    quotes: Path = _QUOTES,
    config_id: bytes | None = None,
    owner: bytes | None = None,
    owner_config: bytes | None = None,
) -> subprocess.Popen[bytes]:
    """Start the machine; it runs as long as the process that is returned.

    Raises:
        EnclaveError: As ``command`` raises; ``launch-missing``, ``launch-failed``.
    """
    found = command(app, guest, quotes=quotes, config_id=config_id, owner=owner, owner_config=owner_config)
    return spawn(found, missing=missing(quotes=quotes))
