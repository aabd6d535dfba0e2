# SPDX-License-Identifier: Apache-2.0
"""Testing aids for users of Nacre and for other verifiers."""

from nacre.testing.conformance import Difference, Outcome, Report, run
from nacre.testing.simulation import Simulated, create_root, simulated

__all__ = ["Difference", "Outcome", "Report", "Simulated", "create_root", "run", "simulated"]
