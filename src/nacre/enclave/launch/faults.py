# SPDX-License-Identifier: Apache-2.0
"""What a developer says is wrong with simulated hardware: ``name=value``, as its simulator takes it."""

import re
from collections.abc import Sequence
from typing import Protocol, cast, get_args, get_origin

import msgspec

from nacre.enclave.instances import Instance
from nacre.errors import EnclaveError
from nacre.platforms.simulation import Machine, Root, simulator

__all__ = ["Knob", "insist_on_faults", "knobs", "machine", "read"]

_ATTRIBUTE = re.compile(r"^ {8}(\w+): (.+)$", re.MULTILINE)


class Knob(msgspec.Struct, frozen=True):
    """One thing that can be wrong.

    Attributes:
        name: What it is called.
        values: What it may be, in words.
        text: What it means.
    """

    name: str
    values: str
    text: str


class _Faulty(Protocol):
    Faults: type[msgspec.Struct]

    def machine(self, root: Root, *, at: int, faults: msgspec.Struct) -> Machine:
        """Make a machine with something wrong."""


def knobs(platform: str) -> tuple[Knob, ...]:
    """List what can be wrong with a platform's hardware."""
    kind = _simulator(platform).Faults
    texts = {name: text for one in kind.__mro__ for name, text in _ATTRIBUTE.findall(one.__doc__ or "")}
    return tuple(
        Knob(field.name, _values(field.type), texts.get(field.name, ""))
        for field in msgspec.structs.fields(kind)
    )


def read(platform: str, given: Sequence[str]) -> msgspec.Struct:
    """Return the faults that are given as ``name=value``; a name alone means ``name=true``.

    Several values of one name are separated by commas, or given one by one.

    Raises:
        EnclaveError: ``fault-unknown``, ``fault-value``.
    """
    kind = _simulator(platform).Faults
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    values: dict[str, list[str]] = {}
    for one in given:
        name, equals, value = one.partition("=")
        if name not in fields:
            raise EnclaveError("fault-unknown", what=name, platform=platform, expected=", ".join(fields))
        values.setdefault(name, []).extend(value.split(",") if equals else ["true"])
    return kind(**{name: _converted(name, fields[name].type, said) for name, said in values.items()})


def insist_on_faults(instance: Instance) -> None:
    """Look whether there are such faults; without any, the simulator need not be loaded yet.

    Raises:
        EnclaveError: As ``read`` raises.
    """
    if instance.options.faults:
        read(instance.platform, instance.options.faults)


def machine(platform: str, root: Root, *, at: int, faults: Sequence[str]) -> Machine:
    """Make a simulated machine with which something may be wrong.

    Raises:
        EnclaveError: As ``read`` raises.
    """
    return _simulator(platform).machine(root, at=at, faults=read(platform, faults))


def _simulator(platform: str) -> _Faulty:
    return cast("_Faulty", simulator(platform))


def _converted(name: str, kind: object, said: list[str]) -> object:
    value: object = said if get_origin(kind) is tuple else said[-1]
    try:
        return msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError:
        raise EnclaveError("fault-value", what=name, expected=_values(kind), actual=",".join(said)) from None


def _values(kind: object) -> str:
    """Say what a field takes."""
    if get_origin(kind) is tuple:
        return f"any of {_values(get_args(kind)[0])}"
    if kind in (bool, int):
        return {bool: "true or false", int: "a number"}[kind]
    return ", ".join(_choices(kind))


def _choices(kind: object) -> tuple[str, ...]:
    """List the words of a literal type, or of a union of them."""
    return tuple(
        word for one in get_args(kind) for word in ([one] if isinstance(one, str) else _choices(one))
    )
