# SPDX-License-Identifier: Apache-2.0
"""Where things are in an image: what builds it and what runs in it agree on this."""

__all__ = ["APP", "BEFORE", "CONFIGURATION", "MODULES", "ROOT", "SHARED", "USER"]

#: The application's files.
APP = "/app"
#: The agent's configuration.
CONFIGURATION = "/etc/nacre/agent.json"
#: Programs that run before the agent, each to its end. Only a simulated machine's image has one: it makes
#: the device that hardware would have.
BEFORE = "/etc/nacre/boot.d"
#: Kernel modules, loaded in the order of their names.
MODULES = "/usr/lib/nacre/modules"
#: The root of an application that is of a container image: it sees nothing above.
ROOT = "/image"
#: What it sees of the machine, as everything else there does.
SHARED = ("dev", "proc", "run", "sys", "tmp")
#: The user and group that the application runs as.
USER = 1000
