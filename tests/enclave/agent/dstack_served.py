# SPDX-License-Identifier: Apache-2.0
"""dstack's socket in a loop of its own, and the published client at it."""

import asyncio
import contextlib
import threading
from collections.abc import Coroutine, Iterator
from typing import TypeVar

import dstack_sdk

from nacre.enclave.agent.config import Config
from nacre.enclave.agent.dstack import dstack_router
from nacre.enclave.agent.enclave import Enclave
from nacre.enclave.agent.listen import Listener
from nacre.enclave.agent.server import Door
from nacre.platforms.device import Device

_Done = TypeVar("_Done")


@contextlib.contextmanager
def serving(config: Config, device: Device) -> Iterator[str]:
    """Serve dstack's socket in a loop of its own, as the client blocks this thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def done(work: Coroutine[None, None, _Done]) -> _Done:
        return asyncio.run_coroutine_threadsafe(work, loop).result(20)

    async def listener() -> tuple[Enclave, Listener]:
        enclave = await Enclave.start(config, device)
        address = f"unix:{config.dstack_socket}"
        made = Listener(address, Door(dstack_router(enclave)).serve, limits=config.limits)
        await made.open()
        return enclave, made

    enclave, made = done(listener())
    try:
        yield str(config.dstack_socket)
    finally:
        done(made.close())
        enclave.close()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@contextlib.contextmanager
def client_of(path: str) -> Iterator[dstack_sdk.DstackClient]:
    """The client; its own ``with`` closes it, but gives the other client."""
    client = dstack_sdk.DstackClient(path)
    with client:
        yield client
