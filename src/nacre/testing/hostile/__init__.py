# SPDX-License-Identifier: Apache-2.0
"""A hostile host for an application: what it may do to an enclave, done by a seeded plan."""

from nacre.testing.hostile.host import Event
from nacre.testing.hostile.plan import Fault, Method, Round, draw
from nacre.testing.hostile.running import Broken, Report, run

__all__ = ["Broken", "Event", "Fault", "Method", "Report", "Round", "draw", "run"]
