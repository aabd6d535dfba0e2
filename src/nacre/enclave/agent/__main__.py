# SPDX-License-Identifier: Apache-2.0
"""``python -m nacre.enclave.agent CONFIG.json``."""

import asyncio
import ctypes
import resource
import sys

import msgspec

from nacre.enclave.agent.config import Config
from nacre.enclave.agent.running import run
from nacre.enclave.agent.supervise import say
from nacre.errors import NacreError

_USAGE, _FAILED = 64, 78
_PR_SET_DUMPABLE = 4


def main(arguments: list[str], *, confine: tuple[str, ...] = ()) -> int:
    """Run an agent; the exit status is 78 where it could not start.

    Args:
        arguments: The file of its configuration.
        confine: What is put before the app's command line, whatever the configuration says.
    """
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m nacre.enclave.agent CONFIG.json\n")
        return _USAGE
    # Keys lie in this process's memory: no core file takes them out, no process of the same user reads them.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    try:
        config = Config.load(arguments[0])
        return asyncio.run(run(msgspec.structs.replace(config, confine=(*confine, *config.confine))))
    except NacreError as error:
        say("agent", f"{error.code}: {error}" + (f" ({error.hint})" if error.hint else ""))
        return _FAILED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
