# SPDX-License-Identifier: Apache-2.0
"""What the host will do and what the client will ask, round by round: a function of the seed alone."""

import random
from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

__all__ = ["NETWORK", "Call", "Fault", "Kind", "Method", "Parameter", "Round", "Value", "draw"]

Kind = Literal[
    "quiet",
    "drop-request",
    "drop-answer",
    "delay",
    "cut-request",
    "cut-answer",
    "repeat",
    "pause",
    "restart",
    "rollback",
    "clones",
    "clock",
]
Value = int | str | dict[str, int]

#: Faults of the network: they meet one connection of their round.
NETWORK = ("drop-request", "drop-answer", "delay", "cut-request", "cut-answer", "repeat")

#: As many rounds as these have every fault once at least; the costly ones once only.
_DECK: Sequence[Kind] = (
    *("quiet", "quiet", "quiet", "quiet", "drop-request", "drop-request", "drop-answer", "drop-answer"),
    *("delay", "delay", "cut-request", "cut-answer", "cut-answer", "repeat", "repeat"),
    *("pause", "restart", "rollback", "clones", "clock"),
)
_LETTERS = "abcdefghijklmnopqrstuvwxyz 0123456789äß–\"'\\/{}<>\x00"
_MOST = 50
_YEAR = 365 * 86400


class Parameter(msgspec.Struct, frozen=True):
    """An argument of an invariant's method.

    Attributes:
        name: Its name.
        kind: ``int`` (1 to 50), ``str``, ``bytes`` (drawn as hex digits) or ``names``: a mapping from some of
            the names that the invariants list to whole numbers.
    """

    name: str
    kind: Literal["int", "str", "bytes", "names"]


class Method(msgspec.Struct, frozen=True):
    """A public method of the invariants."""

    name: str
    parameters: tuple[Parameter, ...] = ()


class Call(msgspec.Struct, frozen=True):
    """One call of a method."""

    method: str
    arguments: dict[str, Value]


class Fault(msgspec.Struct, frozen=True):
    """What the host does in one round.

    Attributes:
        kind: Network: ``drop-request``, ``drop-answer``, ``delay``, ``cut-request``, ``cut-answer``,
            ``repeat``. Enclave: ``pause``, ``restart``, ``rollback``, ``clones``, ``clock``. Or ``quiet``.
        amount: Milliseconds (delay, pause), bytes that pass (cut), further copies (repeat), rounds back
            (rollback), rounds that a clone lives (clones), seconds forward or back (clock).
        which: The connection of the round that a fault of the network meets, from 0.
    """

    kind: Kind
    amount: int = 0
    which: int = 0


class Round(msgspec.Struct, frozen=True):
    """One fault and one call.

    Attributes:
        number: From 0.
        fault: What the host does.
        call: What the client calls meanwhile.
        clone: Whether the call goes to the second of two clones, if there are two.
    """

    number: int
    fault: Fault
    call: Call
    clone: bool


def draw(
    seed: int, *, rounds: int, methods: Sequence[Method], names: Sequence[str] = ()
) -> tuple[Round, ...]:
    """Draw a plan.

    The faults depend on the seed only, and a shorter plan is the beginning of a longer one.

    Args:
        seed: The seed.
        rounds: How many rounds.
        methods: What can be called; at least one.
        names: The keys of mappings.
    """
    calls = random.Random(f"calls {seed}")  # noqa: S311 (it has to come out again)
    faults = _faults(random.Random(f"faults {seed}"))  # noqa: S311
    return tuple(
        Round(
            number=number,
            fault=_possible(next(faults), number),
            call=_call(calls, methods, names),
            clone=calls.random() < 0.5,  # noqa: PLR2004 (a coin)
        )
        for number in range(rounds)
    )


def _faults(chance: random.Random) -> Iterator[Fault]:
    while True:
        for kind in chance.sample(_DECK, len(_DECK)):
            yield _fault(chance, kind)


def _fault(chance: random.Random, kind: Kind) -> Fault:
    amount = {
        "delay": lambda: chance.randint(10, 300),
        "cut-request": lambda: chance.randint(0, 200),
        "cut-answer": lambda: chance.randint(0, 400),
        "repeat": lambda: chance.randint(1, 3),
        "pause": lambda: chance.randint(100, 1200),
        "rollback": lambda: chance.randint(1, 8),
        "clones": lambda: chance.randint(2, 5),
        "clock": lambda: chance.choice((-1, 1)) * int(10 ** chance.uniform(0, 7.5)) % _YEAR,
    }.get(kind, lambda: 0)()
    return Fault(kind, amount, chance.randint(0, 2) if kind in NETWORK else 0)


def _possible(fault: Fault, number: int) -> Fault:
    """Before the first round there is nothing to go back to."""
    if fault.kind != "rollback":
        return fault
    return Fault("rollback", min(fault.amount, number)) if number else Fault("restart")


def _call(chance: random.Random, methods: Sequence[Method], names: Sequence[str]) -> Call:
    method = chance.choice(methods)
    return Call(method.name, {given.name: _value(chance, given.kind, names) for given in method.parameters})


def _value(chance: random.Random, kind: str, names: Sequence[str]) -> Value:
    match kind:
        case "int":
            return chance.randint(1, _MOST)
        case "names":
            chosen = chance.sample(names, chance.randint(0, len(names)))
            return {name: chance.randint(1, _MOST) for name in chosen}
        case "bytes":
            return chance.randbytes(chance.randint(0, _MOST)).hex()
        case _:
            return "".join(chance.choices(_LETTERS, k=chance.randint(0, _MOST)))
