# SPDX-License-Identifier: Apache-2.0
"""``/init``: the first process of an enclave that is a machine. It becomes the agent.

Nothing is asked of the network or of the host: all that runs lies in the image, which was measured.
"""

import ctypes
import errno
import fcntl
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import Final

from nacre.build.layout import BEFORE, CONFIGURATION, MODULES, ROOT, SHARED
from nacre.enclave.agent.__main__ import main as agent
from nacre.enclave.agent.supervise import say
from nacre.enclave.boot.confine import CONFINE
from nacre.enclave.boot.heartbeat import beat

__all__ = ["main"]

_NOSUID, _NODEV, _NOEXEC = 2, 4, 8
_MOUNTS: Final = (
    ("proc", "/proc", "proc", _NOSUID | _NODEV | _NOEXEC, "hidepid=2"),
    ("sysfs", "/sys", "sysfs", _NOSUID | _NODEV | _NOEXEC, ""),
    ("devtmpfs", "/dev", "devtmpfs", _NOSUID | _NOEXEC, "mode=0755"),
    ("securityfs", "/sys/kernel/security", "securityfs", _NOSUID | _NODEV | _NOEXEC, ""),
    ("configfs", "/sys/kernel/config", "configfs", _NOSUID | _NODEV | _NOEXEC, ""),
    ("tmpfs", "/run", "tmpfs", _NOSUID | _NODEV | _NOEXEC, "mode=0755"),
    ("tmpfs", "/tmp", "tmpfs", _NOSUID | _NODEV | _NOEXEC, "mode=1777"),  # noqa: S108 (the image's own)
)
#: A kernel may have been built without them.
_OPTIONAL = {"securityfs", "configfs"}
_BIND_ALL: Final = 0x1000 | 0x4000
_SET_FLAGS, _UP = 0x8914, 1
_POWER_OFF: Final = 0x4321FEDC
_FAILED = 70

_LIBC = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Prepare the machine, be the agent, and turn the machine off at the end, whatever happens."""
    try:
        _mount()
        _load(Path(MODULES))
        _answer_itself()
        simulated = sorted(Path(BEFORE).glob("*"))
        if not simulated and not beat():
            say("init", "the parent instance did not answer the heartbeat")
        for program in simulated:
            subprocess.run([program], check=True, env={})  # noqa: S603 (measured like this file)
        # The app makes its socket beside the agent's, and cannot take those away.
        Path("/run/nacre").mkdir()
        Path("/run/nacre").chmod(0o1777)
        status = agent([CONFIGURATION], confine=CONFINE)
    except (OSError, subprocess.SubprocessError) as error:
        say("init", f"the machine cannot be prepared: {error}")
        status = _FAILED
    say("init", f"the agent ended with status {status}")
    sys.stderr.flush()
    os.sync()
    _LIBC.reboot(_POWER_OFF)


def _mount() -> None:
    for source, target, kind, flags, options in _MOUNTS:
        if kind in _OPTIONAL and not Path(target).is_dir():
            continue
        done = _LIBC.mount(source.encode(), target.encode(), kind.encode(), flags, options.encode())
        if done != 0 and kind not in _OPTIONAL:
            raise OSError(ctypes.get_errno(), f"{target}: {os.strerror(ctypes.get_errno())}")
    for name in SHARED if Path(ROOT).is_dir() else ():
        if _LIBC.mount(f"/{name}".encode(), f"{ROOT}/{name}".encode(), None, _BIND_ALL, None) != 0:
            raise OSError(ctypes.get_errno(), f"{ROOT}/{name}: {os.strerror(ctypes.get_errno())}")


def _answer_itself() -> None:
    """Let the agent reach an application with a port: 127.0.0.1 answers once its interface is up."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            fcntl.ioctl(asking, _SET_FLAGS, struct.pack("16sh22x", b"lo", _UP))
    except OSError as error:  # a kernel without IPv4 runs applications that have no port
        say("init", f"127.0.0.1 does not answer: {error}")


def _load(folder: Path) -> None:
    """Load kernel modules in the order of their files' names."""
    for path in sorted(folder.glob("*.ko")):
        module = path.read_bytes()
        if _LIBC.init_module(module, ctypes.c_ulong(len(module)), b"") == 0:
            continue
        # One image may have the drivers of several platforms; those of others find no hardware.
        if ctypes.get_errno() != errno.ENODEV:
            raise OSError(ctypes.get_errno(), f"{path.name}: {os.strerror(ctypes.get_errno())}")
