# SPDX-License-Identifier: Apache-2.0
"""A program that runs as long as the enclave does, beside a supervisor that does other things meanwhile."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import msgspec

from nacre.errors import EnclaveError

__all__ = ["Spawned", "spawned"]

#: Asks a program to end.
Ask = Callable[[asyncio.subprocess.Process], Awaitable[None]]

#: Seconds for the agent and the app to end when asked; the app's own grace is shorter.
_GRACE = 20.0


async def _terminate(process: asyncio.subprocess.Process) -> None:
    process.terminate()


class Spawned(msgspec.Struct, frozen=True):
    """What was started.

    Attributes:
        public: Where its agent is called.
        process: The program.
    """

    public: str
    process: asyncio.subprocess.Process

    async def wait(self) -> int:
        """Wait until it ends by itself, and return its exit status."""
        return await self.process.wait()


@contextlib.asynccontextmanager
async def spawned(
    command: Sequence[str],
    *,
    public: str,
    log: Path,
    ask: Ask = _terminate,
    passed: Sequence[int] = (),
) -> AsyncIterator[Spawned]:
    """Start a program; afterwards it is asked to end, and made to.

    Args:
        command: Its command line.
        public: Where its agent is going to be called.
        log: What it writes goes to the end of this file.
        ask: Asks it to end.
        passed: Descriptors that it is given; here they are closed.

    Raises:
        EnclaveError: ``run-failed``.
    """
    try:
        with log.open("ab") as said:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                pass_fds=passed,
                # A terminal's signals are for this process, which ends the inside in order.
                start_new_session=True,
            )
    except OSError as error:
        raise EnclaveError("run-failed", actual=error.strerror or str(error)) from None
    finally:
        for one in passed:
            os.close(one)
    try:
        yield Spawned(public, process)
    finally:
        await _end(process, ask)


async def _end(process: asyncio.subprocess.Process, ask: Ask) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            await ask(process)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), _GRACE)
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
