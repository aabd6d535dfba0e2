# SPDX-License-Identifier: Apache-2.0
"""Processors that a virtual machine can be given, by the names that QEMU knows them under.

A virtual processor starts with its own CPUID signature in RDX, and its first state is measured. All versions
of one model (``EPYC-Milan-v2``, ``EPYC-IBPB`` …) have the same.

Source: AMD, CPUID Specification (25481), Fn0000_0001_EAX; QEMU, ``target/i386/cpu.c``, ``builtin_x86_defs``.
"""

import re
from typing import Final

from nacre.errors import ConfigurationError

__all__ = ["MODELS", "cpu_signature", "signature"]


def cpu_signature(family: int, model: int, stepping: int) -> int:
    """Return what CPUID says in EAX of Fn0000_0001, 32 bits."""
    base = min(family, 0xF)
    return (family - base) << 20 | model >> 4 << 16 | base << 8 | (model & 0xF) << 4 | stepping


#: Name of a model, without version, to CPUID signature.
MODELS: Final = {
    "EPYC": cpu_signature(0x17, 0x01, 2),
    "EPYC-Rome": cpu_signature(0x17, 0x31, 0),
    "EPYC-Milan": cpu_signature(0x19, 0x01, 1),
    "EPYC-Genoa": cpu_signature(0x19, 0x11, 0),
    "EPYC-Turin": cpu_signature(0x1A, 0x00, 0),
}
_VERSION = re.compile(r"-v[1-9][0-9]?$")
_NUMBER = re.compile(r"0x[0-9a-f]{1,8}", re.IGNORECASE)


def signature(name: str) -> int:
    """Return the CPUID signature of a processor.

    Args:
        name: As QEMU calls it, with or without version, or the signature itself, as ``0x800f12``.

    Raises:
        ConfigurationError: ``snp-cpu``.
    """
    if _NUMBER.fullmatch(name):
        return int(name, 16)
    model = "EPYC" if name == "EPYC-IBPB" else _VERSION.sub("", name)
    if model not in MODELS:
        raise ConfigurationError("snp-cpu", actual=name, expected=", ".join(MODELS))
    return MODELS[model]
