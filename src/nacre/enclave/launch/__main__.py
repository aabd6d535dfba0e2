# SPDX-License-Identifier: Apache-2.0
"""``python -m nacre.enclave.launch ID PORT``: supervise an instance that was made, away from any terminal."""

import asyncio
import sys

from nacre.enclave.instances import Instances
from nacre.enclave.launch.supervise import supervise
from nacre.errors import NacreError

__all__ = ["main"]

_FAILED = 78


def main(arguments: list[str]) -> int:
    """Run until it ends; what goes wrong is said on stderr, which is the instance's log."""
    name, port = arguments
    instances = Instances.of_user()
    try:
        return asyncio.run(supervise(instances, instances.read(name), port=int(port)))
    except NacreError as error:
        sys.stderr.write(f"supervisor: {error.code}: {error}\n")
        return _FAILED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
