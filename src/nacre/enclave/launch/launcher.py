# SPDX-License-Identifier: Apache-2.0
"""What every launcher is: it knows what it needs, what the enclave will show, and how to start it.

All that is the same for every enclave on this machine (its port, its log, its end) is in ``supervise``.
"""

import importlib
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final, Protocol, cast

from nacre.build.app import App
from nacre.build.tree import Tree
from nacre.enclave.instances import Instance, Mode
from nacre.errors import EnclaveError

__all__ = ["HARDWARE", "NAMES", "Inside", "Launcher", "find"]

#: Those that simulate nothing.
HARDWARE: Final = ("nitro", "gramine", "tdx", "snp")
#: Name to module of this package.
_MODULES: Final = {
    "process": "process",
    "gvisor": "gvisor",
    "vm": "machine",
    **dict.fromkeys(HARDWARE, "hardware"),
}
NAMES: Final = tuple(_MODULES)


class Inside(Protocol):
    """An enclave that was started, until the block that started it ends."""

    @property
    def public(self) -> str:
        """Where the agent is called: ``unix:PATH`` or ``vsock:CID:PORT``."""

    async def wait(self) -> int:
        """Wait until it ends by itself, and return its exit status."""


class Launcher(Protocol):
    """One way to start an enclave; a module.

    Attributes:
        MODE: Whether a development root or a vendor's hardware vouches for the evidence.
        PATIENCE: Seconds within which the agent has to answer.
    """

    MODE: Mode
    PATIENCE: float

    @staticmethod
    def limits() -> str:
        """Say what it does not protect from, or prove."""

    @staticmethod
    def insist(instance: Instance) -> None:
        """Look for what is needed on this machine.

        Raises:
            EnclaveError: Something is missing; it says what.
        """

    @staticmethod
    def release(instance: Instance, app: App, tree: Tree, folder: Path) -> str:
        """Return the release that the enclave is going to show, as TOML.

        Args:
            instance: What is going to be started.
            app: Its application.
            tree: The application's files.
            folder: The instance's own; what has to be made first stays there.

        Raises:
            EnclaveError, BuildError: It cannot be told.
        """

    @staticmethod
    def start(instance: Instance, app: App, folder: Path) -> AbstractAsyncContextManager[Inside]:
        """Start it; leaving the block asks it to end, and makes it.

        Args:
            instance: What to start.
            app: Its application.
            folder: The instance's own folder: its release, its log.

        Raises:
            EnclaveError: It cannot be started.
        """


def find(name: str) -> Launcher:
    """Return a launcher, loaded when asked for.

    Raises:
        EnclaveError: ``launcher-unknown``.
    """
    if name not in NAMES:
        raise EnclaveError("launcher-unknown", what=name, expected=", ".join(NAMES))
    return cast("Launcher", importlib.import_module(f"nacre.enclave.launch.{_MODULES[name]}"))
