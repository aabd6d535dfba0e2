# SPDX-License-Identifier: Apache-2.0
"""``python -m nacre``."""

import sys

from nacre.cli import main

sys.exit(main())
