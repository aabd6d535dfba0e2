# SPDX-License-Identifier: Apache-2.0
"""The doors: the public one, where all but the agent's own paths goes to the app, and those of the app."""

import posixpath
from urllib.parse import unquote

from nacre.enclave.agent.config import Config
from nacre.enclave.agent.connection import Connection
from nacre.enclave.agent.enclave import Enclave
from nacre.enclave.agent.proxy import Proxy
from nacre.enclave.agent.routing import Request, Response, Router
from nacre.enclave.envelope import PATH
from nacre.errors import EnclaveError

__all__ = ["Door", "PublicDoor", "public_router"]

_OURS = "/.well-known/nacre"
#: Anybody's web page may ask, and nothing in between may keep the answer.
_OPEN = (("access-control-allow-origin", "*"), ("cache-control", "no-store"))
_NONCE_DIGITS = 64
_HEX = frozenset("0123456789abcdefABCDEF")


def public_router(enclave: Enclave) -> Router:
    """Return what the agent answers to the world."""
    router = Router()

    async def evidence(request: Request) -> Response:
        return Response(body=await enclave.evidence(_nonce(request)))

    router.add("GET", PATH, evidence)
    return router


def _nonce(request: Request) -> bytes:
    text = request.parameter("nonce")
    if len(text) != _NONCE_DIGITS or not _HEX.issuperset(text):
        raise EnclaveError("agent-nonce", expected=_NONCE_DIGITS, actual=len(text))
    return bytes.fromhex(text)


class Door:
    """A socket on which a router answers everything."""

    def __init__(self, router: Router) -> None:
        """Say who answers."""
        self._router = router

    async def serve(self, connection: Connection) -> None:
        """Answer until the caller is done."""
        while await connection.next():
            if not await answered(connection, self._router):
                return


async def answered(
    connection: Connection, router: Router, *, extra: tuple[tuple[str, str], ...] = ()
) -> bool:
    """Answer one request from a router; False if the connection is of no more use."""
    try:
        request = await connection.whole()
    except EnclaveError as error:
        await connection.refuse(error)
        return False
    await connection.answer(await router.answer(request), extra=extra)
    return True


class PublicDoor:
    """The one socket that the world can reach."""

    def __init__(self, router: Router, config: Config) -> None:
        """Say who answers the agent's own paths, and where the app is."""
        self._router = router
        self._config = config

    async def serve(self, connection: Connection) -> None:
        """Answer until the caller is done."""
        config = self._config
        proxy = Proxy(socket=config.app_socket, port=config.app.port, limits=config.limits)
        try:
            while await connection.next():
                if is_ours(connection.request.target):
                    if not await answered(connection, self._router, extra=_OPEN):
                        return
                    continue
                try:
                    await proxy.forward(connection)
                except EnclaveError as error:
                    await connection.refuse(error)
                    return
        finally:
            proxy.close()


def is_ours(target: bytes) -> bool:
    """Tell whether a path is the agent's however it is spelled, so that no app answers in its name."""
    path = unquote(target.partition(b"?")[0].decode("latin-1")).replace("\\", "/").lower()
    path = posixpath.normpath("/" + path.lstrip("/"))
    return path == _OURS or path.startswith(_OURS + "/")
