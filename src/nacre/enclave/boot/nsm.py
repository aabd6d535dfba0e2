# SPDX-License-Identifier: Apache-2.0
"""``/dev/nsm`` in a machine without Nitro's hardware: a real character device, answered from elsewhere.

The kernel lets a program serve a character device (CUSE). Requests travel over a virtio socket to the
emulator outside, so that the driver in here is the one that runs on hardware.

Source: Linux, ``include/uapi/linux/fuse.h`` (7.31), ``fs/fuse/cuse.c``; ``include/uapi/linux/nsm.h``.
"""

import errno
import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from struct import Struct
from typing import Final

__all__ = ["main", "serve"]

_CUSE = "/dev/cuse"
_NODE = Path("/dev/nsm")
_IOCTL: Final = 0xC0200A00
_MAX_TRANSFER: Final = 1 << 16
_BUFFER: Final = _MAX_TRANSFER + 4096
_PATIENCE: Final = 5.0

_INIT, _OPEN, _RELEASE, _IOCTL_CALL, _INTERRUPT, _DESTROY = 4096, 14, 18, 39, 36, 38
_UNRESTRICTED, _RETRY = 1, 4
_IN = Struct("=IIQQIIII")
_OUT = Struct("=IiQ")
_INIT_OUT = Struct("=IIIIIIII40x")
_OPEN_OUT = Struct("=QII")
_IOCTL_IN = Struct("=QIIQII")
_IOCTL_OUT = Struct("=iIII")
_VECTOR = Struct("=QQ")
_RAW = Struct("=QQQQ")
_LENGTH = Struct(">I")

#: Answers one request of the security module.
Answer = Callable[[bytes], bytes]


class _Fault(OSError):
    """What a caller of the device is told."""


def serve(answer: Answer) -> None:
    """Be the device, until the kernel takes it away. One request at a time, as the hardware."""
    device = os.open(_CUSE, os.O_RDWR | os.O_CLOEXEC)
    while True:
        message = os.read(device, _BUFFER)
        length, opcode, unique, *_ = _IN.unpack_from(message)
        body = message[_IN.size : length]
        try:
            reply = _reply(opcode, body, answer)
        except OSError as error:
            os.write(device, _OUT.pack(_OUT.size, -(error.errno or errno.EIO), unique))
            continue
        if reply is not None:
            os.write(device, _OUT.pack(_OUT.size + len(reply), 0, unique) + reply)


def _reply(opcode: int, body: bytes, answer: Answer) -> bytes | None:
    if opcode == _INIT:
        head = _INIT_OUT.pack(7, 31, 0, _UNRESTRICTED, _MAX_TRANSFER, _MAX_TRANSFER, 0, 0)
        return head + b"DEVNAME=nsm\0"
    if opcode == _OPEN:
        return _OPEN_OUT.pack(0, 0, 0)
    if opcode == _RELEASE:
        return b""
    if opcode == _IOCTL_CALL:
        return _call(body, answer)
    if opcode in (_INTERRUPT, _DESTROY):
        return None
    raise _Fault(errno.ENOSYS, "")


def _call(body: bytes, answer: Answer) -> bytes:
    """Fetch the request in three steps: the structure, what it points to, and then there is an answer."""
    _, _, command, argument, size, room = _IOCTL_IN.unpack_from(body)
    if command != _IOCTL:
        raise _Fault(errno.ENOTTY, "")
    data = body[_IOCTL_IN.size : _IOCTL_IN.size + size]
    if size < _RAW.size:
        return _again([(argument, _RAW.size)], [])
    request_at, request_size, answer_at, answer_room = _RAW.unpack_from(data)
    if not 0 < request_size <= _MAX_TRANSFER // 2 or not 0 < answer_room <= _MAX_TRANSFER // 2:
        raise _Fault(errno.EMSGSIZE, "")
    whole = _RAW.size + request_size
    if size < whole or room < _RAW.size + answer_room:
        return _again(
            [(argument, _RAW.size), (request_at, request_size)],
            [(argument, _RAW.size), (answer_at, answer_room)],
        )
    given = answer(data[_RAW.size : whole])
    if len(given) > answer_room:
        raise _Fault(errno.EMSGSIZE, "")
    changed = _RAW.pack(request_at, request_size, answer_at, len(given))
    return _IOCTL_OUT.pack(0, 0, 0, 0) + changed + given


def _again(read: list[tuple[int, int]], written: list[tuple[int, int]]) -> bytes:
    """Ask the kernel to come again, with the caller's memory at these places."""
    vectors = b"".join(_VECTOR.pack(*one) for one in (*read, *written))
    return _IOCTL_OUT.pack(0, _RETRY, len(read), len(written)) + vectors


def _emulator(port: int) -> Answer:
    connection = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    connection.connect((socket.VMADDR_CID_HOST, port))
    stream = connection.makefile("rwb")

    def answer(request: bytes) -> bytes:
        stream.write(_LENGTH.pack(len(request)) + request)
        stream.flush()
        head = stream.read(_LENGTH.size)
        if len(head) < _LENGTH.size:
            raise _Fault(errno.EIO, "the emulator is gone")
        return stream.read(_LENGTH.unpack(head)[0])

    return answer


def main() -> None:
    """Start the device in a process of its own, and end when it is there: ``nsm.py PORT``."""
    if os.fork() != 0:
        deadline = time.monotonic() + _PATIENCE
        while not _NODE.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        sys.exit(0 if _NODE.exists() else 1)
    os.setsid()
    try:
        serve(_emulator(int(sys.argv[1])))
    except OSError as error:
        sys.stderr.write(f"nsm: the simulated device ended: {error}\n")
        os._exit(1)
