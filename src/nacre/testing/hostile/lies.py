# SPDX-License-Identifier: Apache-2.0
"""Lies: an honest answer and a number in, what a hostile host says instead out. Nothing here is random."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import cast

import msgspec

from nacre.testing.hostile.honest import Answer, Question

__all__ = ["another", "failed", "old", "same_question", "twisted"]

Path = tuple[str | int, ...]

#: What names a JSON-RPC message, not what it says.
_NAMES = ("jsonrpc", "id")
_PORTAL = Answer(200, b"<!doctype html><title>Welcome</title><p>Please accept the terms to go online.</p>\n")
_FAILURES = (
    Answer(500, b"Internal Server Error"),
    Answer(429, b"Too Many Requests"),
    Answer(200),
    Answer(302, b"Found"),
)
_RPC_FAILURES: Sequence[dict[str, object]] = (
    {"result": None},
    {"error": {"code": -32000, "message": "header not found"}},
    {"error": {"code": -32005, "message": "limit exceeded"}},
)
_NUMBERS: Sequence[Callable[[int], int]] = (
    lambda number: number + 1,
    lambda number: number * 1000 + 1,
    lambda number: number - 1,
    lambda number: 0 if number else 1,
    lambda number: -number or -1,
    lambda number: number + (1 << 64),
)
_TEXTS: Sequence[Callable[[str], str]] = (
    lambda text: text + "0",
    lambda text: text[::-1] if text != text[::-1] else text + "!",
    lambda text: "" if text else "x",
)


def twisted(honest: Answer, amount: int) -> Answer:
    """Change one value of JSON, but no JSON-RPC message's name; of other text, all of it."""
    found = _json(honest.body)
    if found is None:
        text = honest.body.decode("utf-8", "surrogateescape")
        body = _changed_text(text, amount).encode("utf-8", "surrogateescape")
        return msgspec.structs.replace(honest, body=body)
    leaves = list(_leaves(found))
    if not leaves:
        return msgspec.structs.replace(honest, body=b"[0]")
    path = leaves[amount % len(leaves)]
    told = _put(found, path, _changed(_get(found, path), amount // len(leaves)))
    return msgspec.structs.replace(honest, body=json.dumps(told).encode())


def old(honest: Answer, past: Sequence[Answer], amount: int) -> Answer | None:
    """Return an earlier answer to the same question, for this question's number; None: none was different.

    Args:
        honest: The answer of now.
        past: Those of before, the oldest first.
        amount: How many different ones to go back, at most.
    """
    now = _unnamed(honest.body)
    different = [answer for answer in past if _unnamed(answer.body) != now]
    if not different:
        return None
    chosen = different[-min(amount, len(different))]
    return msgspec.structs.replace(chosen, body=_named_as(chosen.body, honest.body))


def another(honest: Answer, others: Sequence[Answer], amount: int) -> Answer:
    """Return what another host says to the question; a stranger, where nobody else can be asked."""
    different = [answer for answer in others if answer.body != honest.body]
    return different[amount % len(different)] if different else _PORTAL


def failed(honest: Answer, amount: int) -> Answer:
    """Return a failure: of the protocol inside, if it is JSON-RPC, or of HTTP."""
    found = _json(honest.body)
    choice = amount % (len(_FAILURES) + len(_RPC_FAILURES))
    if choice < len(_RPC_FAILURES) and isinstance(found, dict) and "jsonrpc" in found:
        head = {name: found[name] for name in _NAMES if name in found}
        return Answer(200, json.dumps({**head, **_RPC_FAILURES[choice]}).encode())
    return _FAILURES[choice % len(_FAILURES)]


def same_question(one: Question, other: Question) -> bool:
    """Say whether two questions differ at most in a JSON-RPC message's number."""
    bare = (msgspec.structs.replace(question, body=b"") for question in (one, other))
    return len(set(bare)) == 1 and _unnamed(one.body) == _unnamed(other.body)


def _json(body: bytes) -> object:
    """Return an object or list, or None."""
    try:
        found: object = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict | list) else None


def _unnamed(body: bytes) -> object:
    found = _json(body)
    if isinstance(found, dict):
        return {name: value for name, value in found.items() if name != "id"}
    return body if found is None else found


def _named_as(body: bytes, model: bytes) -> bytes:
    told, wanted = _json(body), _json(model)
    if isinstance(told, dict) and isinstance(wanted, dict) and "id" in told and "id" in wanted:
        return json.dumps({**told, "id": wanted["id"]}).encode()
    return body


def _leaves(value: object, path: Path = ()) -> Iterator[Path]:
    if isinstance(value, dict):
        for name, inner in value.items():
            if name not in _NAMES:
                yield from _leaves(inner, (*path, name))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _leaves(inner, (*path, index))
    else:
        yield path


def _get(value: object, path: Path) -> object:
    for step in path:  # every step is there: the path is one of _leaves
        value = cast("dict[str | int, object]", value)[step]
    return value


def _put(value: object, path: Path, new: object) -> object:
    if not path:
        return new
    step, *rest = path
    if isinstance(value, dict):
        return {**value, step: _put(value[step], tuple(rest), new)}
    if isinstance(value, list) and isinstance(step, int):
        return [*value[:step], _put(value[step], tuple(rest), new), *value[step + 1 :]]
    return value


def _changed(value: object, amount: int) -> object:
    """Change a value, and keep to how it was written where that can be told: hex, decimals."""
    match value:
        case bool():
            return not value
        case int():
            return _NUMBERS[amount % len(_NUMBERS)](value)
        case float():
            return float(_NUMBERS[amount % len(_NUMBERS)](round(value))) + value % 1
        case str():
            return _changed_text(value, amount)
        case _:
            return 0


def _changed_text(text: str, amount: int) -> str:
    number = _NUMBERS[amount % len(_NUMBERS)]
    if re.fullmatch(r"0x[0-9a-f]+", text):
        value = int(text, 16)
        other = abs(number(value))
        # As many digits as before, for it may be a hash or an address.
        return f"0x{other if other != value else value + 1:0{len(text) - 2}x}"
    if re.fullmatch(r"-?[0-9]{1,80}", text):
        return str(number(int(text)))
    return _TEXTS[amount % len(_TEXTS)](text)
