# SPDX-License-Identifier: Apache-2.0
"""What tests of whole enclaves share: applications that try things, and a supervisor's process."""

import contextlib
import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from nacre.enclave.instances import Instance, Instances, Process
from nacre.enclave.launch.prepare import create

PATIENCE = 60.0
#: Tries what it must not be able to do, and says how each attempt ended.
INTRUDER = """
import os, socket, sys
def tried(what, work):
    try:
        print(what, "DONE", repr(work()), flush=True)
    except OSError as error:
        print(what, "refused", error.strerror, flush=True)
def connected(path):
    socket.socket(socket.AF_UNIX).connect(path)
mounted = [line.split()[1] for line in open("/proc/mounts") if line.split()[1].endswith("/device")]
here = os.path.dirname((mounted or [os.path.dirname(os.environ["NACRE_SOCKET"])])[0])
tried("device", lambda: connected(here + "/device/nsm"))
tried("public", lambda: connected(here + "/outside/public.sock"))
tried("config", lambda: open(here + "/agent.json").read(1))
tried("memory", lambda: open("/proc/1/mem", "rb").read(1))
tried("environment", lambda: open("/proc/1/environ", "rb").read(1))
tried("root", lambda: os.listdir("/proc/1/root" + here + "/device"))
for number in os.listdir("/proc/1/fd") if os.access("/proc/1/fd", os.R_OK) else ["0"]:
    tried("file-" + number, lambda: os.open("/proc/1/fd/" + number, os.O_RDONLY))
tried("signal", lambda: [os.kill(pid, 15) for pid in range(2, 400) if pid not in (os.getpid(), os.getppid())])
tried("own", lambda: open("main.py", "a"))
tried("network", lambda: socket.create_connection(("192.0.2.1", 80), 1))
tried("machine", lambda: socket.socket(socket.AF_VSOCK).close())
tried("passwords", lambda: open("/etc/shadow").read(1))
tried("agent", lambda: connected(os.environ["NACRE_SOCKET"]))
print("all tried", flush=True)
"""
#: Tidies up when it is asked to end.
CAREFUL = """
import signal, sys, time
def end(*_):
    time.sleep(0.3)
    print("tidied up", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print("ready", flush=True)
signal.pause()
"""
#: Calls the host that it declares, and one that it does not.
CALLER = """
import os, socket
def asked(target):
    calling = socket.socket(socket.AF_UNIX)
    calling.connect(os.environ["NACRE_EGRESS"])
    calling.sendall(f"CONNECT {target} HTTP/1.1\\r\\nhost: {target}\\r\\n\\r\\n".encode())
    said = b"".join(iter(lambda: calling.recv(99), b"")).decode()
    print(said.splitlines()[0], said[-5:], flush=True)
asked(os.environ["FRIEND"])
asked("127.0.0.1:9")
print("all tried", flush=True)
"""

#: Starts an enclave: see the fixture ``start``.
Start = Callable[..., "Run"]


def environment(instances: Instances) -> dict[str, str]:
    state = instances.directory.parent
    return {**os.environ, "NACRE_STATE_DIR": str(state), "NACRE_DATA_DIR": f"{state}/data"}


class Run:
    """A supervisor's process."""

    def __init__(
        self,
        instances: Instances,
        source: Path,
        *,
        platform: str,
        how: str,
        port: int,
    ) -> None:
        self.instances = instances
        self.made = create(instances, source, platform=platform, how=how)
        self.folder = instances.folder(self.made.id)
        log = instances.log(self.made.id)
        with log.open("ab") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "nacre.enclave.launch", self.made.id, str(port)],
                env=environment(instances),
                stdout=said,
                stderr=said,
            )
        self.reading = log.open()
        self.log = ""

    def running(self) -> Instance:
        self._until(lambda: self.now().port != 0)
        return self.now()

    def now(self) -> Instance:
        return self.instances.read(self.made.id)

    def said(self, text: str) -> str:
        self._until(lambda: text in self.read())
        return self.log

    def read(self) -> str:
        self.log += self.reading.read()
        return self.log

    def _until(self, true: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE
        while not true():
            assert time.monotonic() < end, self.read()
            assert self.process.poll() is None, self.read()
            time.sleep(0.02)

    def inside(self) -> list[Process]:
        """List the sandbox's processes: all that have this run's folder on their command line."""
        found = []
        for path in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if path.name.isdigit() and self.made.runtime.encode() in (path / "cmdline").read_bytes():
                    found.append(Process.of(int(path.name)))
        return [process for process in found if process is not None]

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)


def get(instance: Instance, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", instance.port, timeout=10)
    with contextlib.closing(connection):
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
