# SPDX-License-Identifier: Apache-2.0
"""Enclaves of this user on this machine: what runs, what ended, and what each of them said.

Each instance has a folder of its own: ``instance.json``, ``release.toml``, ``log``. Its sockets are in
another, since a socket's path has to be short. The folder of an instance that was stopped goes; the folder
of one that ended by itself stays, so that its log can be read.
"""

import contextlib
import ctypes
import os
import re
import secrets
import select
import shutil
import signal
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from nacre.errors import EnclaveError

__all__ = ["Instance", "Instances", "Mode", "Options", "Process", "end", "runtime_folder"]

_FILE = "instance.json"
_MAX_SIZE = 1 << 16
_ID = re.compile(r"[0-9a-f]{1,8}")
_ID_BYTES = 4
#: A socket's path has 107 bytes at most, and there are folders below this one.
_LONGEST_BASE = 46
#: In ``/proc/PID/stat``, after the name in parentheses: when it started, in ticks since the machine did.
_STARTED = 19
_ABBREVIATED = 12
_PATIENCE = 30.0
_MNT_DETACH = 2


class Process(msgspec.Struct, frozen=True):
    """A process that no later one of the same number is taken for.

    Attributes:
        pid: Its number.
        started: When it started, in clock ticks since the machine did.
    """

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> "Process | None":
        """Return the process of a number, or None where there is none (a zombie is none)."""
        try:
            fields = Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] in "ZX" else cls(pid, int(fields[_STARTED]))

    def lives(self) -> bool:
        """Say whether it still runs."""
        return Process.of(self.pid) == self


#: What vouches for an enclave's evidence: a development root, or a vendor's hardware.
Mode = Literal["simulated", "genuine"]


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a launcher is told beside the platform; each looks at its own.

    Attributes:
        kernel: A kernel's file, or the folder into which its package was unpacked; empty: look for one.
        image: The folder that ``nacre build`` wrote.
        faults: What is wrong with the simulated hardware, ``name=value``.
    """

    kernel: str = ""
    image: str = ""
    faults: tuple[str, ...] = ()


class Instance(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One enclave.

    Attributes:
        id: Eight hexadecimal digits.
        app: The application's name.
        version: Its version.
        platform: The platform, simulated or real.
        launcher: What starts it.
        mode: What vouches for its evidence.
        options: What the launcher is told.
        source: The folder of its ``nacre.toml``.
        port: The TCP port on 127.0.0.1 at which it is reached; 0 until it is.
        created: When it was made, Unix seconds.
        release: The fingerprint of its release, hex.
        runtime: The folder of its sockets.
        supervisor: The process that keeps it.
        ended: Its exit status, once it has ended.
    """

    id: str
    app: str
    version: str
    platform: str
    launcher: str = "process"
    mode: Mode = "simulated"
    options: Options = Options()
    source: str
    created: int
    release: str
    runtime: str
    port: int = 0
    supervisor: Process | None = None
    ended: int | None = None

    @property
    def state(self) -> Literal["starting", "running", "ended", "lost"]:
        """What has become of it; ``lost``: its supervisor went away without a word."""
        if self.ended is not None:
            return "ended"
        if self.supervisor is None or not self.supervisor.lives():
            return "lost"
        return "running" if self.port else "starting"

    @property
    def url(self) -> str:
        """Where it is reached."""
        return f"http://127.0.0.1:{self.port}"


class Instances:
    """All instances of one user."""

    def __init__(self, directory: Path) -> None:
        """Name the folder that has a folder for each."""
        self.directory = directory

    @classmethod
    def of_user(cls, environment: Mapping[str, str] = os.environ) -> "Instances":
        """Return those of this user: in ``$NACRE_STATE_DIR``, or below ``$XDG_STATE_HOME``.

        Raises:
            EnclaveError: ``instance-no-home``.
        """
        if given := environment.get("NACRE_STATE_DIR"):
            return cls(Path(given) / "instances")
        state = Path(environment.get("XDG_STATE_HOME") or "")
        if not state.is_absolute():  # the specification has relative ones ignored
            try:
                state = Path.home() / ".local" / "state"
            except RuntimeError:
                raise EnclaveError("instance-no-home") from None
        return cls(state / "nacre" / "instances")

    def new_id(self) -> str:
        """Make a folder that nobody else has, and return its name.

        Raises:
            EnclaveError: ``instance-folder``.
        """
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            while True:
                name = secrets.token_hex(_ID_BYTES)
                with contextlib.suppress(FileExistsError):
                    self.folder(name).mkdir(mode=0o700)
                    return name
        except OSError as error:
            raise _unusable(self.directory, error) from None

    def folder(self, name: str) -> Path:
        """Return the folder of one."""
        return self.directory / name

    def log(self, name: str) -> Path:
        """Return the file with what one said."""
        return self.folder(name) / "log"

    def write(self, instance: Instance) -> None:
        """Remember an instance; a reader sees the old state or the new one, nothing between.

        Raises:
            EnclaveError: ``instance-folder``: also where the instance was removed meanwhile.
        """
        folder = self.folder(instance.id)
        new = folder / f".{_FILE}.{os.getpid()}"
        try:
            new.write_bytes(msgspec.json.encode(instance))
            new.replace(folder / _FILE)
        except OSError as error:
            raise _unusable(folder, error) from None

    def read(self, name: str) -> Instance:
        """Return an instance of a whole id.

        Raises:
            EnclaveError: ``instance-unknown`` or ``instance-unreadable``.
        """
        try:
            with (self.folder(name) / _FILE).open("rb") as file:
                data = file.read(_MAX_SIZE)
            instance = msgspec.json.decode(data, type=Instance, strict=True)
        except FileNotFoundError:
            raise EnclaveError("instance-unknown", what=name) from None
        except (OSError, ValueError) as error:
            raise EnclaveError("instance-unreadable", what=name, actual=_problem(error)) from None
        if instance.id != name:
            raise EnclaveError("instance-unreadable", what=name, actual=f"it is about {instance.id}")
        return instance

    def every(self) -> tuple[Instance, ...]:
        """Return all that can be read, oldest first."""
        found = []
        for name in self._names():
            with contextlib.suppress(EnclaveError):
                found.append(self.read(name))
        return tuple(sorted(found, key=lambda instance: (instance.created, instance.id)))

    def find(self, start: str) -> Instance:
        """Return the one whose id starts so.

        Raises:
            EnclaveError: ``instance-unknown``, ``instance-ambiguous`` or ``instance-unreadable``.
        """
        fitting = [name for name in self._names() if name.startswith(start)] if _ID.fullmatch(start) else []
        if not fitting:
            raise EnclaveError("instance-unknown", what=start[:_ABBREVIATED])
        if len(fitting) > 1:
            raise EnclaveError("instance-ambiguous", what=start, actual=", ".join(sorted(fitting)))
        return self.read(fitting[0])

    def remove(self, instance: Instance) -> None:
        """Forget one that does not run, its log and its sockets with it."""
        _unmount(instance.runtime)
        shutil.rmtree(instance.runtime, ignore_errors=True)
        shutil.rmtree(self.folder(instance.id), ignore_errors=True)

    def _names(self) -> list[str]:
        try:
            return [path.name for path in self.directory.iterdir() if _ID.fullmatch(path.name)]
        except OSError:
            return []


def end(instance: Instance, *, patience: float = _PATIENCE) -> bool:
    """Have an instance's supervisor end it, by force if it takes too long.

    Args:
        instance: Which one.
        patience: Seconds.

    Returns:
        Whether it ended as asked, or had ended before.

    Raises:
        EnclaveError: ``instance-not-ours``.
    """
    supervisor = instance.supervisor
    if supervisor is None:
        return True
    try:
        # A descriptor means one process for good, so none that took over its number is hit.
        descriptor = os.pidfd_open(supervisor.pid)
    except ProcessLookupError:
        return True
    try:
        if not supervisor.lives():
            return True
        signal.pidfd_send_signal(descriptor, signal.SIGTERM)
        if select.select([descriptor], [], [], patience)[0]:
            return True
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        select.select([descriptor], [], [], patience)
    except ProcessLookupError:
        return True
    except PermissionError:
        raise EnclaveError("instance-not-ours", what=instance.id) from None
    finally:
        os.close(descriptor)
    return False


def runtime_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Make a folder for one instance's sockets, for this user alone, with a path short enough.

    Raises:
        EnclaveError: ``instance-folder``.
    """
    bases = (environment.get("XDG_RUNTIME_DIR"), tempfile.gettempdir())
    base = next((base for base in bases if base and _short(base) and Path(base).is_dir()), "/tmp")  # noqa: S108
    try:
        return Path(tempfile.mkdtemp(prefix="nacre-", dir=base))
    except OSError as error:
        raise _unusable(Path(base), error) from None


def _short(base: str) -> bool:
    return len(os.fsencode(base)) <= _LONGEST_BASE


def _unmount(runtime: str) -> None:
    """Unmount what a killed emulator left below a folder: nobody serves it, so whoever looks gets errors."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape").splitlines():
            path = line.split(" ")[4]
            if runtime and path.startswith(f"{runtime}/"):
                ctypes.CDLL(None).umount2(os.fsencode(path), _MNT_DETACH)


def _unusable(folder: Path, error: OSError) -> EnclaveError:
    return EnclaveError("instance-folder", what=str(folder), actual=_problem(error))


def _problem(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
