# SPDX-License-Identifier: Apache-2.0
"""The process that holds an application's invariants; the harness starts it."""

import sys

from nacre.testing.hostile.client import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
