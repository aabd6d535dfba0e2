# SPDX-License-Identifier: Apache-2.0
"""What the host will do and what the client will ask, round by round: a function of the seed alone."""

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import msgspec

from nacre.testing.hostile.faults import EGRESS, FAULTS, NETWORK, Kind

__all__ = ["Call", "Fault", "Method", "Only", "Parameter", "Round", "Value", "draw", "keep"]

Value = int | str | dict[str, int]
#: The numbers of rounds that are left of a plan, and whether with their fault.
Only = Mapping[int, bool]

#: One round in so many is quiet, beside the deck's faults.
_QUIET = 5
#: Most calls make few connections.
_WHICH = (0, 0, 0, 1, 2)
_LETTERS = "abcdefghijklmnopqrstuvwxyz 0123456789äß–\"'\\/{}<>\x00"
_MOST = 50
_YEAR = 365 * 86400


class Parameter(msgspec.Struct, frozen=True):
    """An argument of an invariant's method.

    Attributes:
        name: Its name.
        kind: ``int`` (1 to 50), ``str``, ``bytes`` (drawn as hex digits) or ``names``: a mapping from some of
            the names that the invariants list to whole numbers; ``property``: a number from which Hypothesis
            draws all arguments.
    """

    name: str
    kind: Literal["int", "str", "bytes", "names", "property"]


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
        kind: One of ``faults.FAULTS``, or ``quiet``.
        amount: Milliseconds (delay, egress-delay, pause), bytes that pass (cut-*, egress-cut), further copies
            (repeat, egress-repeat), later connections that are answered first (reorder), rounds back
            (rollback), rounds that a clone lives (clones), seconds forward or back (clock), answers back
            (lie-old), which of the possible lies (other lies).
        which: The connection of the round that a fault of the network or of the egress meets, from 0.
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
    seed: int,
    *,
    rounds: int,
    methods: Sequence[Method],
    names: Sequence[str] = (),
    kinds: Sequence[Kind] = tuple(FAULTS),
) -> tuple[Round, ...]:
    """Draw a plan.

    The faults depend on the seed and their kinds only, and a shorter plan is the beginning of a longer one.

    Args:
        seed: The seed.
        rounds: How many rounds.
        methods: What can be called; at least one.
        names: The keys of mappings.
        kinds: What the host may do.
    """
    calls = random.Random(f"calls {seed}")  # noqa: S311 (it has to come out again)
    faults = _faults(random.Random(f"faults {seed}"), kinds)  # noqa: S311
    return tuple(
        Round(
            number=number,
            fault=_possible(next(faults), number),
            call=_call(calls, methods, names),
            clone=calls.random() < 0.5,  # noqa: PLR2004 (a coin)
        )
        for number in range(rounds)
    )


def keep(plan: Sequence[Round], only: Only) -> tuple[Round, ...]:
    """Leave some rounds of a plan, and of some only the call."""
    return tuple(
        turn if only[turn.number] else msgspec.structs.replace(turn, fault=Fault("quiet"))
        for turn in plan
        if turn.number in only
    )


def _faults(chance: random.Random, kinds: Sequence[Kind]) -> Iterator[Fault]:
    """Yield decks, each of which has every fault once at least."""
    deck = [kind for kind, sort in FAULTS.items() if kind in kinds for _ in range(sort.weight)]
    deck += ["quiet"] * (len(deck) // _QUIET + 1)
    while True:
        for kind in chance.sample(deck, len(deck)):
            yield _fault(chance, kind)


def _fault(chance: random.Random, kind: Kind) -> Fault:
    if kind == "quiet":
        return Fault(kind)
    if kind == "clock":
        return Fault(kind, chance.choice((-1, 1)) * min(int(10 ** chance.uniform(0, 7.5)), _YEAR))
    amount = chance.randint(FAULTS[kind].least, FAULTS[kind].most)
    return Fault(kind, amount, chance.choice(_WHICH) if kind in (*NETWORK, *EGRESS) else 0)


def _possible(fault: Fault, number: int) -> Fault:
    """Before the first round there is nothing to go back to."""
    if fault.kind != "rollback":
        return fault
    return Fault("rollback", min(fault.amount, number)) if number else Fault("quiet")


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
        case "property":
            return chance.getrandbits(32)
        case "bytes":
            return chance.randbytes(chance.randint(0, _MOST)).hex()
        case _:
            return "".join(chance.choices(_LETTERS, k=chance.randint(0, _MOST)))
