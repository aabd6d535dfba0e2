# SPDX-License-Identifier: Apache-2.0
"""A hostile host for an application: what it may do to an enclave, done by a seeded plan."""

from nacre.testing.hostile.events import Event
from nacre.testing.hostile.faults import FAULTS, Kind, Sort
from nacre.testing.hostile.plan import Call, Fault, Method, Only, Round, draw
from nacre.testing.hostile.running import Broken, Report, Step, run
from nacre.testing.hostile.shortening import shorten

__all__ = [
    "FAULTS",
    "Broken",
    "Call",
    "Event",
    "Fault",
    "Kind",
    "Method",
    "Only",
    "Report",
    "Round",
    "Sort",
    "Step",
    "draw",
    "run",
    "shorten",
]
