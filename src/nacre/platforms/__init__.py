# SPDX-License-Identifier: Apache-2.0
"""What each TEE says and how to check it: one folder per platform, the same file names in each."""

import functools
import importlib
from collections.abc import Iterable, Mapping
from typing import cast

from nacre.errors import ConfigurationError, UnsupportedEvidence
from nacre.platforms.base import Platform

__all__ = ["builtin_names", "detect", "get", "outsiders"]

_BUILTIN = ("sgx", "tdx", "nitro", "snp")
#: How evidence of some platforms begins. Who verifies one document does not wait for the others to load.
_BY_FIRST_BYTE: Mapping[bytes, tuple[str, ...]] = {
    b"\x84": ("nitro",),
    b"\xd2": ("nitro",),
}  # COSE, tagged or not
#: An SNP report's version in 32 bits (the third byte of a quote is not zero), or Azure's wrapper around one.
_BY_FIRST_WORD: Mapping[bytes, tuple[str, ...]] = {
    version.to_bytes(4, "little"): ("snp",) for version in range(8)
} | {b"HCLA": ("snp",)}
_ENTRY_POINTS = "nacre.platforms"


def builtin_names() -> tuple[str, ...]:
    """Names of the platforms that ship with this package."""
    return _BUILTIN


@functools.cache
def get(name: str) -> Platform:
    """Load a platform by name; a built-in one is never shadowed by an outsider.

    Raises:
        ConfigurationError: ``platform-unknown``.
    """
    if name in _BUILTIN:
        return cast("Platform", importlib.import_module(f"nacre.platforms.{name}").PLATFORM)
    from importlib.metadata import entry_points  # noqa: PLC0415 (slow to import, rarely needed)

    for entry in entry_points(group=_ENTRY_POINTS, name=name):
        return cast("Platform", entry.load())
    raise ConfigurationError("platform-unknown", actual=name, expected=_BUILTIN + outsiders())


@functools.cache
def outsiders() -> tuple[str, ...]:
    """Names of installed third-party platforms; a policy has to name one before it is used."""
    from importlib.metadata import entry_points  # noqa: PLC0415 (slow to import, rarely needed)

    return tuple(sorted({entry.name for entry in entry_points(group=_ENTRY_POINTS)} - set(_BUILTIN)))


def detect(data: bytes, *, allowed_outsiders: Iterable[str] = ()) -> Platform:
    """Find the platform whose evidence this is.

    Args:
        data: The evidence.
        allowed_outsiders: Third-party platforms that may be used; built-in ones among them change nothing.

    Raises:
        UnsupportedEvidence: ``evidence-unrecognised``.
    """
    names = _BY_FIRST_BYTE.get(data[:1]) or _BY_FIRST_WORD.get(data[:4], _BUILTIN)
    for name in (*names, *allowed_outsiders):
        platform = get(name)
        if platform.detect(data):
            return platform
    raise UnsupportedEvidence("evidence-unrecognised", actual=data[:16], expected=_BUILTIN)
