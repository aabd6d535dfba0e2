# SPDX-License-Identifier: Apache-2.0
"""The hostile host: carries out a plan's faults, and remembers what it did."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import msgspec

from nacre.errors import EnclaveError
from nacre.testing.hostile.guest import DATA, Guest, Setup
from nacre.testing.hostile.network import Network
from nacre.testing.hostile.plan import NETWORK, Fault, Kind, Round

__all__ = ["Event", "Host"]

_NETWORK_WORDS = {
    "drop-request": "lost the request of connection {which}",
    "drop-answer": "lost the answer on connection {which}",
    "delay": "kept the request of connection {which} for {amount} ms",
    "cut-request": "passed {amount} bytes of the request of connection {which}, then hung up",
    "cut-answer": "passed {amount} bytes of the answer on connection {which}, then hung up",
    "repeat": "delivered the request of connection {which} {amount} times more",
}


class Event(msgspec.Struct, frozen=True):
    """One thing that the host did.

    Attributes:
        round: In which round.
        kind: Which fault it was.
        words: What it came to.
    """

    round: int
    kind: Kind
    words: str


class Host:
    """Holds one enclave, or two clones of it.

    Attributes:
        events: What it did, in order.
        not_tried: Faults that cannot be tried with this application or on this machine, and why.
    """

    def __init__(self, setup: Setup, place: Path, network: Network, plan: Sequence[Round]) -> None:
        """Make the enclave's folder.

        Args:
            setup: What to run.
            place: A folder of its own.
            network: Between client and enclave.
            plan: What is going to happen.
        """
        self.events: list[Event] = []
        self.not_tried: dict[Kind, str] = {}
        self._setup, self._place, self._network = setup, place, network
        self._guest = Guest(setup, place / "0")
        self._clone: Guest | None = None
        self._clone_ends = 0
        self._thawing: asyncio.Task[None] | None = None
        # Disks that a later round goes back to.
        self._wanted = {turn.number - turn.fault.amount for turn in plan if turn.fault.kind == "rollback"}
        for turn in plan:
            if why := self._impossible(turn.fault.kind):
                self.not_tried[turn.fault.kind] = why

    async def __aenter__(self) -> Self:
        """Start the enclave."""
        await self._guest.start()
        self._network.route = self._guest.public
        return self

    async def __aexit__(self, *_: object) -> None:
        """End whatever runs."""
        if self._thawing:
            self._thawing.cancel()
        for guest in self._running():
            guest.kill()

    async def before(self, turn: Round) -> None:
        """Do this round's fault; those of the network begin to lie in wait for the call's connections."""
        fault = turn.fault
        if turn.number in self._wanted and self._setup.keeps:
            self._guest.save(self._disk(turn.number))
        if self._clone and (
            turn.number >= self._clone_ends or fault.kind in ("restart", "rollback", "clones")
        ):
            await self._network.cut()
            self._clone.kill()
            self._clone = None
        self._network.intend(fault if fault.kind in NETWORK else None)
        if fault.kind not in self.not_tried:
            await self._do(turn.number, fault)
        chosen = self._clone if self._clone and turn.clone else self._guest
        if self._network.route != chosen.public:
            self._network.route = chosen.public
            self._say(
                turn.number,
                "clones",
                f"led the client to the {'second' if chosen is self._clone else 'first'}",
            )

    async def after(self, turn: Round) -> None:
        """End this round's fault."""
        fault = turn.fault
        if self._thawing:
            await self._thawing
            self._thawing = None
        if fault.kind in NETWORK and self._network.met:
            words = _NETWORK_WORDS[fault.kind].format(which=fault.which, amount=fault.amount)
            self._say(turn.number, fault.kind, words)
        self._network.intend(None)

    async def _do(self, number: int, fault: Fault) -> None:
        match fault.kind:
            case "pause":
                for guest in self._running():
                    guest.freeze()
                self._thawing = asyncio.create_task(self._thaw(fault.amount / 1000))
                self._say(number, "pause", f"stopped the enclave for {fault.amount} ms")
            case "clock":
                self._setup.clock.jump(fault.amount)
                self._say(number, "clock", f"moved the clock by {fault.amount:+} s")
            case "restart":
                await self._end()
                await self._guest.start()
                self._say(number, "restart", "killed the enclave and started it again")
            case "rollback":
                await self._roll_back(number, fault.amount)
            case "clones":
                await self._double(number, fault.amount)

    def _running(self) -> list[Guest]:
        return [self._guest, self._clone] if self._clone else [self._guest]

    async def _end(self) -> None:
        await self._network.cut()
        self._guest.kill()

    async def _roll_back(self, number: int, back: int) -> None:
        newest = self._place / f"disk-{number}-newest"
        self._guest.save(newest)
        await self._end()
        self._guest.put_back(self._disk(number - back))
        words = f"killed the enclave and started it on its disk of round {number - back}"
        try:
            await self._guest.start()
        except EnclaveError:
            # It noticed. A host that wants to go on has to give the newest disk.
            self._guest.put_back(newest)
            await self._guest.start()
            words += "; it refused, and got the newest again"
        self._say(number, "rollback", words)

    async def _double(self, number: int, rounds: int) -> None:
        clone = Guest(self._setup, self._place / f"clone-{number}")
        copy = self._place / f"disk-{number}-clone"
        self._guest.save(copy)
        clone.put_back(copy)
        try:
            await clone.start()
        except EnclaveError:
            self._say(number, "clones", "started a clone, which refused to run")
            return
        self._clone, self._clone_ends = clone, number + rounds
        self._say(number, "clones", f"started a clone on a copy of the disk, for {rounds} rounds")

    async def _thaw(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        for guest in self._running():
            guest.thaw()

    def _impossible(self, kind: Kind) -> str:
        if kind == "rollback" and not self._setup.keeps:
            return f"no value of the app's environment begins with {DATA}, so it keeps nothing"
        if kind == "clones" and self._setup.app.port is not None:
            return "two clones would need the app's TCP port at once"
        return self._setup.clock.missing if kind == "clock" else ""

    def _disk(self, number: int) -> Path:
        return self._place / f"disk-{number}"

    def _say(self, number: int, kind: Kind, words: str) -> None:
        self.events.append(Event(number, kind, words))
