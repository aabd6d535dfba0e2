# SPDX-License-Identifier: Apache-2.0
"""``python -ISB confine.py [--inside ROOT FOLDER USER] COMMAND…``: an app that cannot go around the agent.

In a machine the way to the host is a kind of socket (AF_VSOCK), which the kernel gives to every user. Through
it the application could reach whatever the host listens with, past the list of hosts that the release names,
and of a simulated machine even the security module, past the agent that says what may be signed. So the
kernel is told to give the application, and all that it starts, sockets of the ordinary kinds only.

An application of a container image has that image for its root, too: it would not find its own libraries
otherwise. That keeps it from nothing that other applications can reach; what does is that it is not root.

Source: Linux, ``Documentation/userspace-api/seccomp_filter.rst``; ``include/uapi/linux/seccomp.h``,
``filter.h``, ``audit.h``.
"""

import ctypes
import errno
import os
import socket
import sys
from collections.abc import Sequence
from struct import pack
from typing import Final

__all__ = ["CONFINE", "filtered", "main"]

#: What is put before an application's command line in a machine.
CONFINE: Final = ("/usr/bin/python3", "-ISB", __file__)

_FAMILIES: Final = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK)
#: By processor: what the kernel calls it, and the number of ``socket``.
_PROCESSORS: Final = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}
#: It makes sockets too, and no filter sees how.
_IO_URING_SETUP: Final = 425
#: Numbers from here on are the same calls once more, on x86-64.
_OTHER_NUMBERS: Final = 1 << 30
_NO_NEW_PRIVILEGES, _SECCOMP, _FILTER = 38, 22, 2
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER_AT, _PROCESSOR_AT, _FIRST_ARGUMENT_AT = 0, 4, 16
_ALLOW, _ERROR, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_NOT_STARTED: Final = 126
_INSIDE: Final = "--inside"


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def filtered(machine: str) -> bytes:
    """Return the filter for a processor, as instructions of BPF.

    Raises:
        KeyError: For this processor none is known.
    """
    processor, making = _PROCESSORS[machine]
    refused, absent = _ERROR | errno.EAFNOSUPPORT, _ERROR | errno.ENOSYS
    # Each of these skips those after it, and the refusal.
    families = [(_EQUAL, len(_FAMILIES) - index, 0, family) for index, family in enumerate(_FAMILIES)]
    lines = [
        (_LOAD, 0, 0, _PROCESSOR_AT),
        (_EQUAL, 1, 0, processor),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER_AT),
        (_AT_LEAST, 1, 0, _OTHER_NUMBERS),
        (_EQUAL, 0, 1, _IO_URING_SETUP),
        (_RETURN, 0, 0, absent),
        (_EQUAL, 1, 0, making),
        (_RETURN, 0, 0, _ALLOW),
        (_LOAD, 0, 0, _FIRST_ARGUMENT_AT),
        *families,
        (_RETURN, 0, 0, refused),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(pack("=HBBI", *line) for line in lines)


def main(command: Sequence[str]) -> int:
    """Become the command; returns only if that fails."""
    if command[0] == _INSIDE:
        _, root, folder, user, *command = command
        try:
            _enter(root, folder, int(user))
        except OSError as error:
            sys.stderr.write(f"{folder} in the application's image: {error.strerror}\n")
            return _NOT_STARTED
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        code = filtered(os.uname().machine)
    except KeyError as processor:
        sys.stderr.write(f"no application runs unconfined, and for {processor} there is no filter\n")
        return _NOT_STARTED
    program = _Program(len(code) // 8, code)
    if (
        libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) != 0
        or libc.prctl(_SECCOMP, _FILTER, ctypes.byref(program), 0, 0) != 0
    ):
        sys.stderr.write(f"the application cannot be confined: {os.strerror(ctypes.get_errno())}\n")
        return _NOT_STARTED
    try:
        os.execvp(command[0], list(command))  # noqa: S606 (running it is what this is for)
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
    return _NOT_STARTED


def _enter(root: str, folder: str, user: int) -> None:
    os.chroot(root)
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    os.chdir(folder)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
