# SPDX-License-Identifier: Apache-2.0
"""Evidence as other systems bind and ship it: one small module per system, loaded when it is named."""

import functools
import importlib
from typing import cast

from nacre.appraisal.purposes import Layout
from nacre.appraisal.systems.base import System
from nacre.errors import ConfigurationError

__all__ = ["about", "get", "layout", "layouts", "names", "recognise"]

#: By module name, where the system's own name is no identifier. In the order in which envelopes are tried.
_MODULES = {
    "ra-tls": "ratls",
    "gramine": "gramine",
    # What these ship looks like dstack's at first sight, so they are tried before it.
    "flashbots": "flashbots",
    "atlas": "atlas",
    "nautilus": "nautilus",
    "dstack": "dstack",
    "oyster": "oyster",
    "contrast": "contrast",
    "tinfoil": "tinfoil",
    "secretvm": "secretvm",
    "nilcc": "nilcc",
    "coco": "coco",
    "quorumos": "quorumos",
    "flashtestations": "flashtestations",
    "evervault": "evervault",
}


def names() -> tuple[str, ...]:
    """Name every system."""
    return tuple(_MODULES)


@functools.cache
def get(name: str) -> System:
    """Load a system.

    Raises:
        ConfigurationError: ``system-unknown``.
    """
    if name not in _MODULES:
        raise ConfigurationError("system-unknown", actual=name, expected=names())
    return cast("System", importlib.import_module(f"{__name__}.{_MODULES[name]}").SYSTEM)


def about(name: str) -> str:
    """Say what a system is, and what its layouts do not protect against.

    Raises:
        ConfigurationError: ``system-unknown``.
    """
    get(name)
    return importlib.import_module(f"{__name__}.{_MODULES[name]}").__doc__ or ""


def layout(name: str) -> Layout:
    """Return the layout of a name, ``system/variant``.

    Raises:
        ConfigurationError: ``system-unknown``, ``layout-unknown``.
    """
    system = get(name.partition("/")[0])
    for known in system.layouts:
        if known.name == name:
            return known
    expected = tuple(known.name for known in system.layouts)
    raise ConfigurationError("layout-unknown", actual=name, expected=expected)


def layouts() -> tuple[Layout, ...]:
    """Return the layouts of every system, in the systems' order."""
    return tuple(known for name in names() for known in get(name).layouts)


def recognise(data: bytes) -> System | None:
    """Find the system whose envelope this is; for bytes that are no platform's evidence."""
    return next((system for system in map(get, names()) if system.recognises(data)), None)
