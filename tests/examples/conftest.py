# SPDX-License-Identifier: Apache-2.0
"""The examples are programs of their own: their folders are found as their readers find them."""

import sys
from pathlib import Path

_WORM = Path(__file__).parents[2] / "examples" / "worm"
sys.path[:0] = [str(_WORM / "src")]
