# SPDX-License-Identifier: Apache-2.0
"""Inside: the agent, and ``Client`` for apps to ask it. Outside: what starts an enclave or stands in for it.

Nothing is loaded before it is used.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nacre.enclave.client import AsyncClient, Client
    from nacre.errors import EnclaveError

__all__ = ["AsyncClient", "Client", "EnclaveError"]

_HOMES = {"AsyncClient": "enclave.client", "Client": "enclave.client", "EnclaveError": "errors"}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(importlib.import_module(f"nacre.{_HOMES[name]}"), name)
    raise AttributeError(name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
