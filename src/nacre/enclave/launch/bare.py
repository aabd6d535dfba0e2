# SPDX-License-Identifier: Apache-2.0
"""``python -IS bare.py ROOM COMMAND…``: run a command in namespaces of its own, without bubblewrap.

It uses what bubblewrap uses: namespaces for the user, mounts, processes, System V objects, the host's name
and, if asked for, the network; and a new root with nothing in it but what is named. It needs Linux 5.12, and
fewer people have looked at it than at bubblewrap. The standard library alone is imported: this runs before
anything else is there.

Source: Linux, ``include/uapi/linux/{sched,mount,prctl,capability,if}.h``; ``unshare(2)``, ``pivot_root(2)``.
"""

import ctypes
import fcntl
import json
import os
import signal
import socket
import struct
import sys
from pathlib import Path
from typing import Final, NamedTuple, NoReturn

__all__ = ["Room", "main"]

_ROOT, _OLD, _TEMPORARY = Path("/"), Path("/.old"), Path("/tmp")  # noqa: S108 (its own)
_LINKS: Final = (Path("/bin"), Path("/lib"), Path("/lib64"))
_DEVICES: Final = tuple(Path("/dev") / name for name in ("null", "zero", "full", "random", "urandom"))
_FAILED = 126

_NEWNS, _NEWUTS, _NEWIPC, _NEWUSER = 0x20000, 0x4000000, 0x8000000, 0x10000000
_NEWPID, _NEWNET = 0x20000000, 0x40000000
_NOSUID, _NODEV, _NOEXEC, _BIND, _REC, _SLAVE = 2, 4, 8, 0x1000, 0x4000, 0x80000
_DETACH = 2
_HERE, _RECURSIVE, _READ_ONLY, _MOUNT_SETATTR = -100, 0x8000, 1, 442
_DEATH_SIGNAL, _DUMPABLE, _DROP, _NO_NEW_PRIVILEGES = 1, 4, 24, 38
_LAST_CAPABILITY, _CAPABILITY_VERSION = 63, 0x20080522
_SET_FLAGS, _UP = 0x8914, 0x41

_LIBC = ctypes.CDLL(None, use_errno=True)


class Room(NamedTuple):
    """What the command is given.

    Attributes:
        user: The user and group that it takes itself for.
        readable: What it reads at the same path, beside ``/usr``.
        writable: What it also changes.
        directory: Where it starts.
        network: Whether it shares the network of who starts it; else it has a loopback of its own.
        first: Whether it is the first process, with an empty environment; else that one buries orphans.
        info: A descriptor to which the number of the first process is written, in JSON; negative: none.
    """

    user: int
    readable: tuple[str, ...]
    writable: tuple[str, ...]
    directory: str = "/"
    network: bool = False
    first: bool = True
    info: int = -1

    def encode(self) -> str:
        """Return what ``main`` reads."""
        return json.dumps(self)


def main(arguments: list[str]) -> int:
    """Run the command and return its exit status."""
    room, command = Room(*json.loads(arguments[0])), arguments[1:]
    _leash()
    _unshare(room)
    reading, writing = os.pipe()
    first = os.fork()
    if first == 0:
        _first(room, command, reading, writing)
    # Who asks all processes of a group to end means the command.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.close(reading)
    if room.info >= 0:
        os.write(room.info, json.dumps({"child-pid": first}).encode())
        os.close(room.info)
    os.write(writing, b"\0")
    return _status(os.waitpid(first, 0)[1])


def _first(room: Room, command: list[str], reading: int, writing: int) -> NoReturn:
    """Be the first process of the new namespaces."""
    try:
        _leash()
        os.close(writing)
        # Nothing to read: who started this ended before the leash was on.
        if os.read(reading, 1):
            os.close(reading)
            if room.info >= 0:
                os.close(room.info)
            _build(room)
            _drop()
            if room.first:
                _execute(command, {})
            child = os.fork()
            if child == 0:
                _execute(command, dict(os.environ))
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            os._exit(_bury(child))
    except OSError as error:
        sys.stderr.write(f"sandbox: {error}\n")
        sys.stderr.flush()
    os._exit(_FAILED)


def _execute(command: list[str], environment: dict[str, str]) -> NoReturn:
    for number in (signal.SIGTERM, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvpe(command[0], command, environment)  # noqa: S606 (running it is what this is for)
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        sys.stderr.flush()
    os._exit(127)


def _bury(child: int) -> int:
    """Wait for every process of the namespace until the command itself has ended."""
    while True:
        ended, status = os.wait()
        if ended == child:
            return _status(status)


def _status(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _unshare(room: Room) -> None:
    user, group = os.geteuid(), os.getegid()
    kinds = _NEWUSER | _NEWNS | _NEWPID | _NEWIPC | _NEWUTS | (0 if room.network else _NEWNET)
    _insist(_LIBC.unshare(kinds), "namespaces")
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{room.user} {user} 1"),
        ("gid_map", f"{room.user} {group} 1"),
    ):
        Path(f"/proc/self/{name}").write_text(text, encoding="ascii")
    if not room.network:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            fcntl.ioctl(asking, _SET_FLAGS, struct.pack("16sh22x", b"lo", _UP))


def _build(room: Room) -> None:
    """Make the new root, and leave the old one."""
    _mount("none", _ROOT, "", _REC | _SLAVE)
    # What lies below comes back to sight with the old root, so any folder will do.
    _mount("tmpfs", _TEMPORARY, "tmpfs", _NOSUID | _NODEV, "mode=0755")
    os.chdir(_TEMPORARY)
    Path(_OLD.name).mkdir()
    _insist(_LIBC.syscall(_pivot_root(), b".", os.fsencode(_OLD.name)), "pivot_root")
    os.chdir(_ROOT)
    for path, kind, flags in (
        (Path("/proc"), "proc", _NOEXEC | _NODEV),
        (_TEMPORARY, "tmpfs", _NODEV),
        (Path("/dev"), "tmpfs", 0),
    ):
        path.mkdir()
        _mount(kind, path, kind, _NOSUID | flags)
    for path in _DEVICES:
        _bind(path, 0)
    Path("/dev/fd").symlink_to("/proc/self/fd")
    Path("/dev/shm").mkdir()  # noqa: S108 (its own)
    for path in (Path("/usr"), *map(Path, room.readable)):
        _bind(path, _READ_ONLY | _NOSUID | _NODEV)
    for path in _LINKS:
        before = _before(path)
        if before.is_symlink():
            path.symlink_to(before.readlink())
        elif before.is_dir():
            _bind(path, _READ_ONLY | _NOSUID | _NODEV)
    for path in map(Path, room.writable):
        _bind(path, _NOSUID | _NODEV)
    _insist(_LIBC.umount2(os.fsencode(_OLD), _DETACH), "the old root")
    _OLD.rmdir()
    _restrict(_ROOT, _READ_ONLY, 0)
    os.chdir(room.directory)


def _before(path: Path) -> Path:
    return _OLD / path.relative_to(_ROOT)


def _bind(path: Path, flags: int) -> None:
    """Show a path of the old root at the same place."""
    source = _before(path)
    if source.is_dir():
        path.mkdir(parents=True, exist_ok=True)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    _mount(source, path, "", _BIND | _REC)
    if flags:
        _restrict(path, flags, _RECURSIVE)


def _restrict(path: Path, flags: int, how: int) -> None:
    wanted = ctypes.create_string_buffer(struct.pack("=QQQQ", flags, 0, 0, 0), 32)
    _insist(_LIBC.syscall(_MOUNT_SETATTR, _HERE, os.fsencode(path), how, wanted, 32), f"protecting {path}")


def _mount(source: str | Path, target: Path, kind: str, flags: int, options: str = "") -> None:
    done = _LIBC.mount(os.fsencode(source), os.fsencode(target), kind.encode(), flags, options.encode())
    _insist(done, f"mounting {target}")


def _pivot_root() -> int:
    """Return the system call's number: the C library has no name for it."""
    return 155 if os.uname().machine == "x86_64" else 41  # as on every later architecture


def _drop() -> None:
    """Give up every privilege within the namespaces, for good."""
    for number in range(_LAST_CAPABILITY + 1):
        _LIBC.prctl(_DROP, number, 0, 0, 0)
    _insist(_LIBC.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0), "no_new_privs")
    header = ctypes.create_string_buffer(struct.pack("=Ii", _CAPABILITY_VERSION, 0), 8)
    _insist(_LIBC.capset(header, ctypes.create_string_buffer(24)), "capset")
    # The process that buries orphans is nobody's to look into; a command that is executed sets this anew.
    _insist(_LIBC.prctl(_DUMPABLE, 0, 0, 0, 0), "prctl")


def _leash() -> None:
    """End with whoever started this process."""
    _insist(_LIBC.prctl(_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0), "prctl")


def _insist(done: int, what: str) -> None:
    if done != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except OSError as failure:
        sys.stderr.write(f"sandbox: {failure}\n")
        sys.exit(_FAILED)
