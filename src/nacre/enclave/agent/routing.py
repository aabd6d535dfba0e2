# SPDX-License-Identifier: Apache-2.0
"""Requests, answers, and which handler a request is for. Knows no sockets.

A handler is ``async (Request) -> Response``. Whatever ``NacreError`` it raises becomes an answer with the
error's code; see :func:`refusal`.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from nacre.errors import EnclaveError, NacreError
from nacre.trust import json

__all__ = ["MAX_BODY", "Handler", "Peer", "Refusal", "Request", "Response", "Router", "refusal"]

#: Bytes of a request to the agent itself.
MAX_BODY = 1 << 20

_JSON = (("content-type", "application/json"),)
_BAD_REQUEST, _UNAVAILABLE = 400, 503
#: What else than a bad request a refusal is; every error of the device is 503.
_STATUS = {
    "agent-no-route": 404,
    "agent-no-method": 405,
    "agent-undeclared": 403,
    "agent-purpose": 403,
    "agent-busy": _UNAVAILABLE,
    "agent-device-silent": 504,
    "agent-too-slow": 408,
    "agent-headers": 431,
    "agent-upgrade": 501,
    "egress-undeclared": 403,
    "dstack-raw-undeclared": 403,
    "egress-unreachable": 502,
    "app-absent": 502,
    "app-broken": 502,
    "app-slow": 504,
    "too-large": 413,
}

_Shape = TypeVar("_Shape")


class Peer(msgspec.Struct, frozen=True):
    """The process at the other end of a Unix socket, as the kernel names it."""

    pid: int
    uid: int
    gid: int


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One request, whole.

    Attributes:
        method: In capitals.
        path: As it came, without the query.
        query: What follows the question mark, as it came.
        headers: Names in lower case, and values.
        body: At most :data:`MAX_BODY` bytes.
        peer: Who asks, where the kernel tells.
    """

    method: str
    path: str
    query: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    peer: Peer | None = None

    def parameter(self, name: str) -> str:
        """Return the one parameter of the query, as it came.

        Raises:
            EnclaveError: ``agent-query``: it is missing, there twice, or there is another.
        """
        found, _, value = self.query.partition("=")
        if found != name or "&" in value:
            raise EnclaveError("agent-query", expected=name, actual=self.query[:64] or "nothing")
        return value

    def decode(self, shape: type[_Shape]) -> _Shape:
        """Read the body as JSON.

        Raises:
            MalformedEvidence: It is not, or not of that shape.
        """
        return json.decode(self.body, shape, what="request", limit=MAX_BODY)


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """One answer, whole."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = _JSON
    body: bytes = b""
    #: Words beside the status, for clients that show nothing else.
    reason: str = ""

    @classmethod
    def json(cls, value: object, *, status: int = 200) -> "Response":
        """Answer with a JSON document."""
        return cls(status=status, body=msgspec.json.encode(value))


class Refusal(msgspec.Struct, frozen=True):
    """The body of every answer that refuses.

    Attributes:
        error: The code, as in the reference of codes.
        message: What was got and what was expected.
        hint: What helps; may be empty.
    """

    error: str
    message: str
    hint: str = ""


def refusal(error: NacreError) -> Response:
    """Make an answer of an error."""
    unavailable = error.code.startswith("device-")
    status = _STATUS.get(error.code, _UNAVAILABLE if unavailable else _BAD_REQUEST)
    answer = Response.json(Refusal(error.code, str(error), error.hint), status=status)
    return msgspec.structs.replace(answer, reason=error.code)


Handler = Callable[[Request], Awaitable[Response]]


class Router:
    """Which handler answers which method and path; both have to be exactly as registered."""

    def __init__(self) -> None:
        """Begin without any."""
        self._routes: dict[str, dict[str, Handler]] = {}

    def add(self, method: str, path: str, handler: Handler) -> None:
        """Register a handler; a second one for the same method and path is a mistake of the caller."""
        methods = self._routes.setdefault(path, {})
        if method in methods:
            raise ValueError(path)
        methods[method] = handler

    def routes(self) -> tuple[tuple[str, str], ...]:
        """List methods and paths, sorted."""
        return tuple(sorted((method, path) for path, methods in self._routes.items() for method in methods))

    async def answer(self, request: Request) -> Response:
        """Answer a request; refusals are answers too."""
        try:
            return await self._find(request)(request)
        except NacreError as error:
            return refusal(error)

    def _find(self, request: Request) -> Handler:
        methods = self._routes.get(request.path)
        if methods is None:
            raise EnclaveError("agent-no-route", actual=request.path[:128])
        handler = methods.get(request.method)
        if handler is None:
            raise EnclaveError("agent-no-method", actual=request.method[:16], expected=tuple(sorted(methods)))
        return handler
