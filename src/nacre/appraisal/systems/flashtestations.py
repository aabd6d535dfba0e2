# SPDX-License-Identifier: Apache-2.0
"""Flashtestations (Flashbots): block builders that register their TDX quotes in a contract.

The report data is the Ethereum address that the builder's key signs for, 20 bytes, and the Keccak-256 of the
data that it registers, 32 bytes; the other 12 bytes are zero. (The contract does not look at those; every
real quote has zeros there, and here they are asked for.)

Keccak-256 is not SHA3-256, and no library that this package depends on has it. So the digest is a part:
compute it with a library that you trust. Of no data at all it is
``c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470``.

What it leaves open:

* **replay**: quotes have no nonce; the contract judges them once, and marks them invalid when Intel's
  collateral changes.
* **relay** and **diversion**: an address is bound, no session. Whoever has that key speaks for the builder.
* **reflection**: no role is bound.
"""

from collections.abc import Mapping
from typing import Final

from nacre.appraisal.purposes import Fields, Layout
from nacre.appraisal.systems import parts
from nacre.appraisal.systems.base import System

__all__ = ["SYSTEM"]

_WHAT: Final = "flashtestations/registration"
_ADDRESS: Final = 20
_DIGEST: Final = 32


def _registration(given: Mapping[str, bytes]) -> Fields:
    address = parts.sized(given, _WHAT, "address", _ADDRESS)
    digest = parts.sized(given, _WHAT, "extended-data-keccak256", _DIGEST)
    return Fields((address + digest).ljust(parts.FIELD, b"\0"))


_REGISTRATION = Layout(
    _WHAT,
    ("address", "extended-data-keccak256"),
    _registration,
    ("replay", "relay", "diversion", "reflection"),
    "flashbots/flashtestations, src/FlashtestationRegistry.sol and src/utils/QuoteParser.sol",
)

SYSTEM = System(name="flashtestations", title="Flashtestations", layouts=(_REGISTRATION,))
