# SPDX-License-Identifier: Apache-2.0
"""What the hosts that an application asks would honestly answer, as its invariants state it.

The attribute ``world`` of the invariants maps each ``host:port`` to one of two things: a function
``(method, path, body) -> (status, body)``, or, for JSON-RPC 2.0 over HTTP, a mapping from a method's name to
its result, or to a function of its parameters that returns the result.
"""

import json
import socketserver
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias, cast

import msgspec

__all__ = ["Answer", "Question", "World", "answer", "serve"]

Handler: TypeAlias = Callable[[str, str, bytes], tuple[int, bytes]] | Mapping[str, object]
World: TypeAlias = Mapping[str, Handler]

_OK, _BAD_REQUEST = 200, 400
_NO_METHOD, _INVALID = -32601, -32600


class Question(msgspec.Struct, frozen=True):
    """What the application asks.

    Attributes:
        host: ``host:port``, as in ``egress``.
        method: Of HTTP, in capitals.
        path: With the query.
        body: As it came.
    """

    host: str
    method: str
    path: str
    body: bytes


class Answer(msgspec.Struct, frozen=True):
    """What it is told.

    Attributes:
        status: Of HTTP.
        body: The body.
        problem: Why there is no honest answer: the invariants' own failure.
    """

    status: int
    body: bytes = b""
    problem: str = ""


def answer(world: World, question: Question) -> Answer:
    """Answer honestly; whatever the invariants' functions raise is a problem of theirs."""
    try:
        handler = world[question.host]
        if isinstance(handler, Mapping):
            return _called(handler, question.body)
        status, body = handler(question.method, question.path, question.body)
        return Answer(int(status), bytes(body))
    except Exception as error:  # noqa: BLE001 (any code of the application's)
        return Answer(0, problem=f"world, {question.host}: {type(error).__name__}: {error}")


def serve(world: Callable[[], World], path: Path) -> None:
    """Answer from another thread, one question after the other, as long as the process lives.

    Args:
        world: Returns the honest world at this moment.
        path: The Unix socket to listen at; each connection is one line, and its answer.
    """

    class _Asked(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            question = msgspec.json.decode(self.rfile.readline(), type=Question)
            self.wfile.write(msgspec.json.encode(answer(world(), question)) + b"\n")

    server = socketserver.UnixStreamServer(str(path), _Asked)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def _called(methods: Mapping[str, object], body: bytes) -> Answer:
    """Answer JSON-RPC, one call or a batch."""
    try:
        calls = json.loads(body)
    except ValueError:
        return Answer(_BAD_REQUEST, b"not JSON")
    answers = [_one(methods, call) for call in (calls if isinstance(calls, list) else [calls])]
    return Answer(_OK, json.dumps(answers if isinstance(calls, list) else answers[0]).encode())


def _one(methods: Mapping[str, object], call: object) -> dict[str, object]:
    if not isinstance(call, dict) or not isinstance(call.get("method"), str):
        error = {"code": _INVALID, "message": "Invalid Request"}
        return {"jsonrpc": "2.0", "id": None, "error": error}
    head = {"jsonrpc": "2.0", "id": call.get("id")}
    if call["method"] not in methods:
        return {**head, "error": {"code": _NO_METHOD, "message": "Method not found"}}
    result, given = methods[call["method"]], call.get("params", [])
    if callable(result):
        function = cast("Callable[..., object]", result)
        result = function(**given) if isinstance(given, dict) else function(*given)
    return {**head, "result": result}
