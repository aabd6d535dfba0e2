# SPDX-License-Identifier: Apache-2.0
"""The app's process: started in a clean environment, started again or given up by its policy.

The agent may be PID 1, so it also buries orphans. Where it is not, the app is on a leash
(:mod:`nacre.enclave.agent.leash`), so that it does not outlive an agent that was killed. What the app writes
goes line by line to the agent's own output, marked as the app's.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from nacre.enclave.agent import leash
from nacre.enclave.agent.config import Config
from nacre.reasons import printable

__all__ = ["Supervisor", "say"]

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 30.0
#: Seconds after which a process counts as having run, so that pauses begin anew.
_RAN = 60.0
_LINE = 8192
_NOT_STARTED = 127
_PATH = "/usr/local/bin:/usr/bin:/bin"


def say(who: str, text: str) -> None:
    """Write a line to the log, which is the agent's output; a full disk loses it and stops nothing."""
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(f"{moment} {who}: {printable(text)}\n")
        sys.stderr.flush()


class Supervisor:
    """Keeps one process as its policy says."""

    def __init__(self, config: Config, *, restarted: Callable[[], None]) -> None:
        """Say what to run.

        Args:
            config: The agent's configuration.
            restarted: Called before each start but the first.
        """
        self._config = config
        self._restarted = restarted
        self._process: subprocess.Popen[bytes] | None = None
        self._ended = asyncio.Event()
        self._stopping = False

    async def run(self) -> int | None:
        """Run the app until its policy has no more to do.

        Returns:
            The exit status with which the enclave has to end (policy ``halt``), or None: it goes on without.
        """
        policy = self._config.app.restart
        pause = _FIRST_PAUSE
        while True:
            started = time.monotonic()
            status = await self._once()
            if self._stopping:
                return None
            say("agent", f"the app ended with status {status}; policy: {policy}")
            if policy == "halt":
                return status
            if policy == "never" or (policy == "on-failure" and status == 0):
                return None
            pause = _FIRST_PAUSE if time.monotonic() - started >= _RAN else pause
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
            self._restarted()

    async def stop(self) -> None:
        """Ask the app to end, and end it when its grace is over."""
        self._stopping = True
        process = self._process
        if process is None or process.returncode is not None:
            return
        _kill(process, signal.SIGTERM)
        try:
            async with asyncio.timeout(self._config.limits.grace):
                await self._ended.wait()
        except TimeoutError:
            say("agent", "the app did not end when asked; killed")
        _kill(process, signal.SIGKILL)
        await self._ended.wait()

    def bury(self) -> None:
        """Take note of ended children: the app, and, as PID 1, orphans of others."""
        process = self._process
        if process is not None and process.poll() is not None:
            self._ended.set()
        if os.getpid() != 1:
            return
        with contextlib.suppress(ChildProcessError):
            while True:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                if found is None:
                    return
                if process is not None and found.si_pid == process.pid:
                    process.poll()
                    self._ended.set()
                else:
                    os.waitpid(found.si_pid, os.WNOHANG)

    def environment(self) -> dict[str, str]:
        """Return all variables of the app's process."""
        config = self._config
        own = {"NACRE_SOCKET": config.socket, "NACRE_LISTEN": config.app_socket}
        if config.dstack_socket:
            own["DSTACK_SIMULATOR_ENDPOINT"] = config.dstack_socket
            own["TAPPD_SIMULATOR_ENDPOINT"] = config.dstack_socket  # its clients of older days
        if config.egress_socket:
            own["NACRE_EGRESS"] = config.egress_socket
        return {"PATH": _PATH, "LANG": "C.UTF-8", **config.app.environment, **own}

    async def _once(self) -> int:
        with leash.held(needed=os.getpid() != 1 and not self._config.confine) as held:
            try:
                process = self._started(*held)
            except (OSError, ValueError, subprocess.SubprocessError) as error:
                say("agent", f"the app cannot be started: {getattr(error, 'strerror', None) or error}")
                return _NOT_STARTED
            return await self._kept(process)

    async def _kept(self, process: "subprocess.Popen[bytes]") -> int:
        self._ended.clear()
        self._process = process
        reading = [
            asyncio.get_running_loop().create_task(_copied(pipe, name))
            for pipe, name in ((process.stdout, "app"), (process.stderr, "app"))
            if pipe is not None
        ]
        self.bury()  # it may have ended before its process was known here
        await self._ended.wait()
        # Whatever the app left in its process group ends with it, and so do their ends of the pipes.
        _kill(process, signal.SIGKILL)
        # A grandchild elsewhere may hold them open; what it writes later is lost.
        await asyncio.wait(reading, timeout=1)
        for task in reading:
            task.cancel()
        return process.returncode if process.returncode >= 0 else 128 - process.returncode

    def _started(self, before: tuple[str, ...], stdin: int) -> "subprocess.Popen[bytes]":
        config = self._config
        user = config.app_user
        inside: tuple[str, ...] = ()
        if config.app_root is not None:
            # Whoever changes the root has to be root; who confines the application changes the user too.
            inside, user = ("--inside", config.app_root, config.app_directory, str(user or os.getuid())), None
        if not config.app.port:
            Path(config.app_socket).unlink(missing_ok=True)
        return subprocess.Popen(  # noqa: S603 (running it is what this is for)
            [*before, *config.confine, *inside, *config.app.entry],
            cwd=config.app_root or config.app_directory,
            env=self.environment(),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            user=user,
            group=user,
            extra_groups=None if user is None else (),
            umask=0o077,
        )


async def _copied(pipe: "subprocess._FILE", name: str) -> None:
    """Copy lines to the log; longer ones are cut into pieces, and nothing is kept."""
    reader = asyncio.StreamReader(limit=_LINE)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    try:
        while True:
            try:
                line = await reader.readuntil()
            except asyncio.IncompleteReadError as rest:
                line = rest.partial
            except asyncio.LimitOverrunError:
                line = await reader.read(_LINE)
            if not line:
                return
            say(name, line.decode("utf-8", "backslashreplace").rstrip("\n"))
    finally:
        transport.close()


def _kill(process: "subprocess.Popen[bytes]", number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
