# SPDX-License-Identifier: Apache-2.0
"""The hostile host: carries out a plan's faults, and remembers what it did."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from nacre.errors import EnclaveError
from nacre.testing.hostile.events import Log
from nacre.testing.hostile.faults import EGRESS, NETWORK
from nacre.testing.hostile.guest import Guest, Setup
from nacre.testing.hostile.network import Network
from nacre.testing.hostile.plan import Fault, Round
from nacre.testing.hostile.world import World

__all__ = ["Host"]


class Host:
    """Holds one enclave, or two clones of it."""

    def __init__(
        self,
        setup: Setup,
        place: Path,
        plan: Sequence[Round],
        *,
        network: Network,
        world: World | None,
        log: Log,
    ) -> None:
        """Make the enclave's folder.

        Args:
            setup: What to run.
            place: A folder of its own.
            plan: What is going to happen.
            network: Between client and enclave.
            world: The hosts that the enclave may ask, if it may.
            log: Where it notes what it does.
        """
        self._setup, self._place, self._network, self._world = setup, place, network, world
        self._uplink = world.serve if world else None
        self._guest = Guest(setup, place / "0", uplink=self._uplink)
        self._clone: Guest | None = None
        self._clone_ends = 0
        self._log = log
        self._thawing: asyncio.Task[None] | None = None
        self._copies = _copies(plan)

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
            await guest.kill()

    async def before(self, turn: Round) -> None:
        """Do this round's fault; those of the network begin to lie in wait for the call's connections."""
        fault = turn.fault
        self._log.round = turn.number
        if turn.number in self._copies.values():
            self._guest.save(self._disk(turn.number))
        if self._clone and (
            turn.number >= self._clone_ends or fault.kind in ("restart", "rollback", "clones")
        ):
            await self._network.cut()
            await self._clone.kill()
            self._clone = None
        self._network.intend(fault if fault.kind in NETWORK else None)
        if self._world:
            self._world.intend(fault if fault.kind in EGRESS else None)
        await self._do(turn.number, fault)
        chosen = self._clone if self._clone and turn.clone else self._guest
        if self._network.route != chosen.public:
            self._network.route = chosen.public
            if self._clone:
                self._log.say("clones", f"led the client to the {'second' if turn.clone else 'first'}")

    async def after(self) -> None:
        """End this round's fault."""
        if self._thawing:
            await self._thawing
            self._thawing = None
        self._network.intend(None)
        if self._world:
            await self._world.settled()
            self._world.intend(None)

    async def _do(self, number: int, fault: Fault) -> None:
        match fault.kind:
            case "pause":
                for guest in self._running():
                    guest.freeze()
                self._thawing = asyncio.create_task(self._thaw(fault.amount / 1000))
                self._log.say("pause", f"stopped the enclave for {fault.amount} ms")
            case "clock" if not self._setup.clock.missing:
                self._setup.clock.jump(fault.amount)
                self._log.say("clock", f"moved the clock by {fault.amount:+} s")
            case "restart":
                await self._end()
                await self._guest.start()
                self._log.say("restart", "killed the enclave and started it again")
            case "rollback":
                await self._roll_back(number)
            case "clones":
                await self._double(number, fault.amount)

    def _running(self) -> list[Guest]:
        return [self._guest, self._clone] if self._clone else [self._guest]

    async def _end(self) -> None:
        await self._network.cut()
        await self._guest.kill()

    async def _roll_back(self, number: int) -> None:
        newest, old = self._place / f"disk-{number}-newest", self._copies[number]
        self._guest.save(newest)
        await self._end()
        self._guest.put_back(self._disk(old))
        words = f"killed the enclave and started it on its disk of round {old}"
        try:
            await self._guest.start()
        except EnclaveError:
            # It noticed. A host that wants to go on has to give the newest disk.
            self._guest.put_back(newest)
            await self._guest.start()
            words += "; it refused, and got the newest again"
        self._log.say("rollback", words)

    async def _double(self, number: int, rounds: int) -> None:
        clone = Guest(self._setup, self._place / f"clone-{number}", uplink=self._uplink)
        copy = self._place / f"disk-{number}-clone"
        self._guest.save(copy)
        clone.put_back(copy)
        try:
            await clone.start()
        except EnclaveError:
            self._log.say("clones", "started a clone, which refused to run")
            return
        self._clone, self._clone_ends = clone, number + rounds
        self._log.say("clones", f"started a clone on a copy of the disk, for {rounds} rounds")

    async def _thaw(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        for guest in self._running():
            guest.thaw()

    def _disk(self, number: int) -> Path:
        return self._place / f"disk-{number}"


def _copies(plan: Sequence[Round]) -> dict[int, int]:
    """Map each round that rolls back to the one whose disk it goes back to; rounds may be missing."""
    numbers = [turn.number for turn in plan]
    return {
        turn.number: max(
            (number for number in numbers if number <= turn.number - turn.fault.amount), default=numbers[0]
        )
        for turn in plan
        if turn.fault.kind == "rollback"
    }
