# SPDX-License-Identifier: Apache-2.0
"""Turns at the device: one at a time, bounded, and nobody waits for ever."""

import asyncio
import subprocess
import sys
import threading
import time

import pytest

from nacre.enclave.agent.asking import Asking
from nacre.errors import EnclaveError


def _code(error: BaseException | object) -> str:
    assert isinstance(error, EnclaveError), error
    return error.code


def test_device_that_hangs_is_given_up_and_waiting_is_bounded() -> None:
    stuck = threading.Event()

    async def run() -> tuple[str, int, int]:
        asking = Asking(seconds=0.2)
        first = asyncio.create_task(asking.ask(stuck.wait))
        others = [asyncio.create_task(asking.ask(int)) for _ in range(200)]
        found = await asyncio.gather(first, *others, return_exceptions=True)
        codes = [_code(error) for error in found]
        stuck.set()
        await asyncio.sleep(0.1)
        assert await asking.ask(int) == 0  # once it answers again, everything goes on
        asking.close()
        return codes[0], codes.count("agent-device-silent"), codes.count("agent-busy")

    assert asyncio.run(run()) == ("agent-device-silent", 128, 73)


def test_foreign_errors_do_not_cross() -> None:
    def gone() -> None:
        raise FileNotFoundError(2, "No such file")

    async def run() -> None:
        asking = Asking(seconds=1)
        with pytest.raises(EnclaveError) as refused:
            await asking.ask(gone)
        assert refused.value.code == "device-unreachable"
        asking.close()

    asyncio.run(run())


def test_device_that_hangs_keeps_no_agent_from_ending() -> None:
    program = (
        "import asyncio, time\nfrom nacre.enclave.agent.asking import Asking\n"
        "async def run():\n try:\n  await Asking(seconds=0.1).ask(lambda: time.sleep(60))\n"
        " except Exception as error:\n  print(error.code)\nasyncio.run(run())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=10
    )
    assert done.stdout == "agent-device-silent\n"


def test_device_is_let_go_after_the_last_turn_and_in_its_thread() -> None:
    order: list[object] = []
    done = threading.Event()

    def slow() -> None:
        time.sleep(0.1)
        order.append(threading.current_thread().name)

    def last() -> None:
        order.append(threading.current_thread().name)
        done.set()

    async def run() -> None:
        asking = Asking(seconds=5)
        waiting = asyncio.create_task(asking.ask(slow))
        await asyncio.sleep(0)
        asking.close(last)
        await waiting

    asyncio.run(run())
    assert done.wait(5)
    assert order == ["device", "device"]
