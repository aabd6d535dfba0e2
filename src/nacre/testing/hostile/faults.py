# SPDX-License-Identifier: Apache-2.0
"""What a hostile host can do to an enclave: one table, from which plans are drawn and lists are printed."""

from collections.abc import Mapping
from typing import Literal, get_args

import msgspec

from nacre.build.app import App

__all__ = ["DATA", "EGRESS", "FAULTS", "LIES", "NETWORK", "Kind", "Sort", "impossible"]

#: A value of the application's environment that begins so names a place on the disk that the host keeps.
DATA = "{data}"

Kind = Literal[
    "quiet",
    "drop-request",
    "drop-answer",
    "delay",
    "cut-request",
    "cut-answer",
    "repeat",
    "reorder",
    "pause",
    "restart",
    "rollback",
    "clones",
    "clock",
    "egress-drop",
    "egress-cut",
    "egress-delay",
    "egress-repeat",
    "egress-reorder",
    "lie-value",
    "lie-old",
    "lie-other",
    "lie-error",
]


class Sort(msgspec.Struct, frozen=True):
    """One sort of fault.

    Attributes:
        words: What the host does, for a list.
        weight: How many of a deck's rounds have it; the costly ones are rare.
        least: The smallest amount; what it counts stands at ``plan.Fault``.
        most: The largest amount.
    """

    words: str
    weight: int
    least: int = 0
    most: int = 0


_TABLE: Mapping[Kind, Sort] = {
    "drop-request": Sort("loses a request", 2),
    "drop-answer": Sort("delivers a request and loses its answer", 2),
    "delay": Sort("delivers a request late, while its sender waits", 2, 10, 300),
    "cut-request": Sort("delivers the first bytes of a request and hangs up", 1, 0, 200),
    "cut-answer": Sort("delivers the first bytes of an answer and hangs up", 2, 0, 400),
    "repeat": Sort("delivers a request again, up to three times", 2, 1, 3),
    "reorder": Sort("hangs up, and delivers the request after later ones", 2, 1, 3),
    "pause": Sort("stops the enclave for a moment", 1, 100, 1200),
    "restart": Sort("kills the enclave and starts it again", 1),
    "rollback": Sort("kills the enclave and starts it on an old copy of its disk", 1, 1, 8),
    "clones": Sort("runs a second enclave on a copy of the disk, and leads clients to either", 1, 2, 5),
    "clock": Sort("moves the clock, by seconds or by months, in either direction", 1),
    "egress-drop": Sort("does not connect the app to the host that it asks for", 1),
    "egress-cut": Sort("delivers the first bytes of a host's answer and hangs up", 1, 0, 400),
    "egress-delay": Sort("delivers a host's answer late", 1, 10, 300),
    "egress-repeat": Sort("delivers the app's request to a host again (not inside TLS)", 1, 1, 3),
    "egress-reorder": Sort("delivers a host's answer after another's that was to come later", 1),
    "lie-value": Sort("changes a value in a host's answer", 3, 0, 9999),
    "lie-old": Sort("gives an earlier answer to the same question", 3, 1, 8),
    "lie-other": Sort("resolves a host's name to another's address", 2, 0, 9),
    "lie-error": Sort("answers in a host's place that it failed", 1, 0, 9),
}

#: Every fault; ``quiet`` is none.
FAULTS: Mapping[Kind, Sort] = _TABLE

#: Faults of the network: they meet one connection of their round.
NETWORK: tuple[Kind, ...] = tuple(get_args(Kind)[1:8])
#: Faults that meet one connection of the app to a host that ``egress`` names.
EGRESS: tuple[Kind, ...] = tuple(get_args(Kind)[13:])
#: Those of them that forge an answer.
LIES: tuple[Kind, ...] = tuple(get_args(Kind)[18:])


def impossible(app: App) -> dict[Kind, str]:
    """Say which faults an application gives no opportunity for, and why."""
    found: dict[Kind, str] = {}
    if not any(value.startswith(DATA) for value in app.environment.values()):
        found["rollback"] = f"no value of the app's environment begins with {DATA}, so it keeps nothing"
    if not app.egress:
        found |= dict.fromkeys(EGRESS, "nacre.toml names no host under egress, so the app asks nobody")
    return found
