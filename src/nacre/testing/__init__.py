# SPDX-License-Identifier: Apache-2.0
"""Testing aids for users of Nacre and for other verifiers."""

from nacre.testing.conformance import Difference, Outcome, Report, run

__all__ = ["Difference", "Outcome", "Report", "run"]
