# SPDX-License-Identifier: Apache-2.0
"""The application's invariants, in a process of their own: its code never meets ours.

Run as ``python -m nacre.testing.hostile FOLDER SOURCE SOCKET WORLD``. It writes a line of JSON that says
what can be called, then answers each call, a line of JSON, with a line. Meanwhile it answers at the socket
WORLD for the hosts that the application asks, if the invariants say how.
"""

import contextlib
import http.client
import importlib.util
import inspect
import io
import os
import socket
import sys
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Literal, cast

import msgspec

from nacre.testing.hostile import honest, properties
from nacre.testing.hostile.plan import Call, Method, Parameter, Value

__all__ = ["Ended", "Offer", "main"]

_PATIENCE = 10.0
_LONGEST = 1 << 24
_KINDS: Mapping[object, Literal["int", "str", "bytes", "names"]] = {
    int: "int",
    str: "str",
    bytes: "bytes",
    Mapping[str, int]: "names",
    dict[str, int]: "names",
}


class Offer(msgspec.Struct, frozen=True):
    """What can be called, or why nothing can.

    Attributes:
        methods: The public methods of the invariants.
        names: The keys of mappings.
        hosts: Those that the invariants answer for.
        problem: Why nothing can be called.
    """

    methods: tuple[Method, ...] = ()
    names: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    problem: str = ""


class Ended(msgspec.Struct, frozen=True):
    """How a call ended.

    Attributes:
        how: ``held``, ``unanswered`` (the network failed) or ``broken``.
        words: What the invariant says.
    """

    how: Literal["held", "unanswered", "broken"]
    words: str = ""


def main(arguments: list[str]) -> int:
    """Serve calls until stdin ends."""
    folder, source, path, world = arguments
    # What the application's code prints must not be taken for an answer.
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    sys.path.insert(0, source)
    try:
        module = _load(Path(folder) / "invariants.py")
        invariants = module.Invariants(_sender(path))
        offer = _offer(invariants)
        honest.serve(lambda: cast("honest.World", invariants.world), Path(world))
    except Exception as error:  # noqa: BLE001 (any code of the application's)
        offer, invariants = Offer(problem=_words(error)), None
    _write(output, offer)
    for line in sys.stdin.buffer if not offer.problem else ():
        _write(output, _called(invariants, offer, msgspec.json.decode(line, type=Call)))
    return 0


def _write(output: io.BufferedWriter, answer: Offer | Ended) -> None:
    output.write(msgspec.json.encode(answer) + b"\n")
    output.flush()


def _load(file: Path) -> ModuleType:
    specification = importlib.util.spec_from_file_location("invariants", file)
    if specification is None or specification.loader is None:
        raise ImportError(file.name)
    module = importlib.util.module_from_spec(specification)
    sys.modules["invariants"] = module
    specification.loader.exec_module(module)
    return module


def _offer(invariants: object) -> Offer:
    methods = tuple(
        Method(name, _parameters(name, function))
        for name, function in inspect.getmembers(type(invariants), inspect.isfunction)
        if not name.startswith("_")
    )
    if not methods:
        raise TypeError("Invariants has no public method")
    names, hosts = (tuple(getattr(invariants, name, ())) for name in ("names", "world"))
    return Offer(methods, names, hosts)


def _parameters(method: str, function: Callable[..., object]) -> tuple[Parameter, ...]:
    if properties.inner(function):
        return (Parameter("drawn", "property"),)
    hints = typing.get_type_hints(function)
    found = []
    for name in list(inspect.signature(function).parameters)[1:]:
        if hints.get(name) not in _KINDS:
            raise TypeError(method, name, "has to be int, str, bytes or Mapping[str, int]")
        found.append(Parameter(name, _KINDS[hints[name]]))
    return tuple(found)


def _called(invariants: object, offer: Offer, call: Call) -> Ended:
    method = next(method for method in offer.methods if method.name == call.method)
    try:
        _call(invariants, method, call)
    except OSError:
        return Ended("unanswered")
    except Exception as error:  # noqa: BLE001 (whatever it does not expect is broken, too)
        return Ended("broken", _words(error))
    return Ended("held")


def _call(invariants: object, method: Method, call: Call) -> None:
    kinds = {given.name: given.kind for given in method.parameters}
    arguments: dict[str, Value | bytes] = {
        name: bytes.fromhex(cast("str", value)) if kinds[name] == "bytes" else value
        for name, value in call.arguments.items()
    }
    function = getattr(type(invariants), call.method)
    if inner := properties.inner(function):
        found = properties.drawn(function, invariants, cast("int", arguments["drawn"]))
        try:
            inner(invariants, **found)
        except AssertionError as error:
            given = ", ".join(f"{name}={value!r}" for name, value in found.items())
            words = f"{_words(error)}, with {given}"
            raise AssertionError(words) from error
    else:
        function(invariants, **arguments)


def _words(error: Exception) -> str:
    words = str(error)
    if isinstance(error, AssertionError):
        return words or "an assertion without words"
    return f"{type(error).__name__}: {words}"


def _sender(path: str) -> Callable[[str, str, bytes], tuple[int, bytes]]:
    """Return what sends a request on a connection of its own; only a whole answer is one."""

    def send(method: str, target: str, body: bytes) -> tuple[int, bytes]:
        head = f"{method} {target} HTTP/1.1\r\nHost: enclave\r\nConnection: close\r\n"
        head += f"Content-Length: {len(body)}\r\n\r\n"
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as client:
            client.settimeout(_PATIENCE)
            client.connect(path)
            client.sendall(head.encode() + body)
            data = bytearray()
            while piece := client.recv(1 << 16):
                data += piece
                if len(data) > _LONGEST:
                    raise ConnectionError("the answer is too long")
        return _read(bytes(data))

    return send


class _Received:
    """What ``http.client`` takes for a socket."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, *_: object) -> io.BytesIO:
        return io.BytesIO(self._data)


def _read(data: bytes) -> tuple[int, bytes]:
    if b"\r\n\r\n" not in data:
        raise ConnectionError("the answer ended early")
    try:
        answer = http.client.HTTPResponse(cast("socket.socket", _Received(data)))
        answer.begin()
        return answer.status, answer.read()
    except http.client.HTTPException as error:
        raise ConnectionError("the answer ended early") from error
