# SPDX-License-Identifier: Apache-2.0
"""Evidence without end: what a busy server sees, for as long as one likes.

Quotes of a fleet of machines, more of them than a memo remembers, popular ones and rare ones, each quote
with a nonce of its own; documents of enclaves; the recorded real evidence; and now and then something
damaged. The fleet stands under roots of its own, made by the PKIs of the tests, which the policy names.
"""

import hashlib
import random
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from benchmarks import cases
from tests.platforms.dcap import pki as intel
from tests.platforms.nitro import pki as aws

from nacre.appraisal.bindings import Binding
from nacre.appraisal.policy import Policy
from nacre.appraisal.release import Release
from nacre.appraisal.verdict import Verdict
from nacre.endorsers.endorser import NO_ENDORSEMENTS
from nacre.platforms.base import Endorsements
from nacre.platforms.dcap.layout import BODY_TYPES

__all__ = ["Fleet", "Piece"]

_SIGNATURE = 64
_POINT = 64
_CERTIFICATION = 6  # header of the outer certification data
_SEED = 2026
# Of twenty pieces so many are of machines, enclaves, recorded and damaged.
_MIX = ("machine",) * 13 + ("enclave",) * 2 + ("recorded",) * 4 + ("damaged",)


class Piece(NamedTuple):
    """A piece of evidence as a server gets it.

    Attributes:
        policy: The name of the policy, of ``Fleet.policies``, that it comes under.
        evidence: The bytes.
        endorsements: The vendor's documents for it.
        binding: What it has to be bound to.
        at: When it comes, Unix seconds.
        verdict: What has to come out.
    """

    policy: str
    evidence: bytes
    endorsements: Endorsements
    binding: Binding
    at: int
    verdict: Verdict


class _Machine(NamedTuple):
    """A machine of the fleet: its quote up to the report data, what stands behind, and its key's name."""

    head: bytes
    tail: bytes
    key: str


class Fleet:
    """Makes evidence; the same in every run."""

    def __init__(self, machines: int) -> None:
        """Build the machines, their certificates and what Intel says of them."""
        self._random = random.Random(_SEED)  # noqa: S311 (nothing secret about it)
        self._world = intel.World(tee="tdx", version=4)
        self._machines = [self._machine(number) for number in range(machines)]
        self._enclaves = aws.standard()
        self._recorded = {name: cases.dcap(name) for name in cases.DCAP} | {"Nitro": cases.nitro()}
        self._documents = {
            name: Endorsements(recorded.documents) for name, recorded in self._recorded.items()
        }
        self.policies: Mapping[str, Policy] = {
            name: recorded.policy for name, recorded in self._recorded.items()
        } | {"fleet": self._policy()}

    def pieces(self, count: int) -> Iterator[Piece]:
        """Yield so many pieces of evidence."""
        chance = self._random
        names = list(self._recorded)
        for number in range(count):
            kind = _MIX[number % len(_MIX)]
            if kind == "machine":
                yield self._quote(chance.randbytes(32))
            elif kind == "enclave":
                yield self._document(chance.randbytes(32))
            elif kind == "recorded":
                yield self._real(names[number % len(names)])
            else:
                whole = self._quote(chance.randbytes(32))
                yield self._damaged(self._real(chance.choice(names)) if number & 32 else whole)

    def _machine(self, number: int) -> _Machine:
        key, pck = f"fleet-attestation-{number}", f"fleet-pck-{number}"
        world = self._world.but(
            certificates={"pck": {"key": pck, "serial": 10_000 + number}}, signers={"qe_report": pck}
        )
        signed = world.signed()
        rest = world.quote[len(signed) + 4 + _SIGNATURE + _POINT :]
        point = intel.point(key)
        report, behind = rest[_CERTIFICATION : _CERTIFICATION + 384], rest[_CERTIFICATION + 384 + 64 :]
        report = report[:320] + hashlib.sha256(point + world.qe_auth).digest() + bytes(32)
        tail = point + rest[:_CERTIFICATION] + report + intel.sign(pck, report) + behind
        return _Machine(signed[:-64], (_SIGNATURE + len(tail)).to_bytes(4, "little") + tail, key)

    def _quote(self, nonce: bytes) -> Piece:
        binding = Binding.nonce(nonce)
        machine = self._machines[int(len(self._machines) * self._random.random() ** 3)]
        signed = machine.head + (binding.digest or b"")
        size, tail = machine.tail[:4], machine.tail[4:]
        evidence = signed + size + intel.sign(machine.key, signed) + tail
        return Piece("fleet", evidence, self._world.endorsements, binding, intel.NOW, Verdict.VERIFIED)

    def _document(self, nonce: bytes) -> Piece:
        binding = Binding.nonce(nonce)
        document = self._enclaves.document(("nonce", nonce), ("user_data", binding.digest))
        return Piece("fleet", document, NO_ENDORSEMENTS, binding, aws.NOW, Verdict.VERIFIED)

    def _real(self, name: str) -> Piece:
        recorded = self._recorded[name]
        return Piece(
            name, recorded.evidence, self._documents[name], recorded.binding, recorded.at, Verdict.VERIFIED
        )

    def _damaged(self, piece: Piece) -> Piece:
        damaged = bytearray(piece.evidence)
        # In the report or the document, so that it counts: what follows a quote's end may not.
        damaged[self._random.randrange(200, 600)] ^= 1 << self._random.randrange(8)
        return piece._replace(evidence=bytes(damaged), verdict=Verdict.REJECTED)

    def _policy(self) -> Policy:
        layout = BODY_TYPES[2].layout
        report = self._world.signed()[-layout.size :]
        places = {name: slice(offset, offset + size) for name, offset, size in layout.fields}
        registers = {"mrtd": report[places["mr_td"]]}
        registers |= {name: report[places[name]] for name in ("rtmr0", "rtmr1", "rtmr2", "rtmr3")}
        pcrs = {f"pcr{index}": value for index, value in aws.pcrs().items() if index < 3}
        release = f'id = "fleet"\n[[tdx]]\n{_stated(registers)}[[nitro]]\n{_stated(pcrs)}'
        return Policy(
            id="fleet",
            platforms=("tdx", "nitro"),
            releases=(Release.parse(release),),
            anchored={"tdx": (self._world.anchor,), "nitro": (self._enclaves.anchor,)},
        )


def _stated(registers: Mapping[str, bytes]) -> str:
    return "".join(f'{name} = "{value.hex()}"\n' for name, value in registers.items())
