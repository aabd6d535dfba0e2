# SPDX-License-Identifier: Apache-2.0
"""What a policy can ask of the machine itself, against whoever has it in their hands.

An interposer on the memory bus leaves no trace in a quote, and a key that was extracted from one machine
signs for any. What Intel certified about the machine (the SGX extension of its PCK certificate) is all there
is to hold on to: which machine it is, how its keys came about, and how its memory is protected. A check is
made only where the policy asks, and a certificate that does not state what is asked for fails it: a Processor
CA states neither instance nor configuration.
"""

from collections.abc import Callable, Iterable, Iterator
from operator import attrgetter

from nacre.checks import Check, Value, failed, passed
from nacre.errors import ConfigurationError
from nacre.platforms.base import PlatformPolicy
from nacre.platforms.dcap.pck import SGX_TYPES, PckExtension

__all__ = ["PHYSICAL", "LeverPolicy", "judge_levers"]

_TYPES = tuple(name.lower().replace(" ", "-") for name in SGX_TYPES)
_HEX = frozenset("0123456789abcdef")


class LeverPolicy(PlatformPolicy, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is asked of the machine itself; each line is asked for by itself, all that are there have to hold.

    Attributes:
        fmspcs: Processor models to accept, 6 bytes in hex; empty for all.
        ppids: Machines to accept by PPID, 16 bytes in hex; empty for all. A list of the very machines that
            you know is the one lever against keys that were extracted from others.
        platform_instances: Machines to accept by platform instance id, 16 bytes in hex; empty for all. It
            changes when the machine is registered anew, and only a Platform CA states it.
        cached_keys: Whether Intel's registration service has to keep the platform's root keys. ``false``
            accepts only a machine that is alone in holding them; left out, both are accepted.
        dynamic_platform: Whether packages have to be addable later. ``false`` accepts only a machine
            whose packages are those that were registered; left out, both are accepted.
        sgx_types: How memory is protected: ``standard``, ``scalable``, ``scalable-with-integrity``; empty for
            all. Integrity makes it harder to change memory, not to watch it.
        smt: Whether hyper-threading has to be on; ``false`` keeps neighbours off the core. Left out, both are
            accepted.
    """

    fmspcs: tuple[str, ...] = ()
    ppids: tuple[str, ...] = ()
    platform_instances: tuple[str, ...] = ()
    cached_keys: bool | None = None
    dynamic_platform: bool | None = None
    sgx_types: tuple[str, ...] = ()
    smt: bool | None = None

    def __post_init__(self) -> None:
        """Refuse lines that can not mean anything."""
        for key, values, size in (
            ("fmspcs", self.fmspcs, 6),
            ("ppids", self.ppids, 16),
            ("platform_instances", self.platform_instances, 16),
        ):
            for value in values:
                if len(value) != 2 * size or not set(value) <= _HEX:
                    raise ConfigurationError("policy-hex", key=key, actual=value, expected=size)
        for value in self.sgx_types:
            if value not in _TYPES:
                raise ConfigurationError("policy-range", key="sgx_types", actual=value, expected=_TYPES)


# Check, the line of the policy that asks for it, what the certificate states.
_LEVERS: tuple[tuple[str, str, Callable[[PckExtension], bytes | str | bool | None]], ...] = (
    ("dcap.model", "fmspcs", lambda pck: pck.fmspc),
    ("dcap.ppid", "ppids", lambda pck: pck.ppid),
    ("dcap.platform-instance", "platform_instances", lambda pck: pck.platform_instance),
    ("dcap.cached-keys", "cached_keys", lambda pck: pck.cached_keys),
    ("dcap.dynamic-platform", "dynamic_platform", lambda pck: pck.dynamic_platform),
    ("dcap.sgx-type", "sgx_types", lambda pck: _TYPES[pck.sgx_type]),
    ("dcap.smt", "smt", lambda pck: pck.smt),
)
#: The checks of this module.
PHYSICAL = tuple([check for check, _, _ in _LEVERS])
_asked = attrgetter(*[line for _, line, _ in _LEVERS])
_NOTHING = _asked(LeverPolicy())


def judge_levers(pck: PckExtension, policy: LeverPolicy) -> Iterable[Check]:
    """Hold what Intel certified about a machine against what the policy asks of it."""
    lines = _asked(policy)
    return () if lines == _NOTHING else _judge(pck, lines)


def _judge(pck: PckExtension, lines: Iterable[tuple[str, ...] | bool | None]) -> Iterator[Check]:
    for (check, line, read), asked in zip(_LEVERS, lines, strict=True):
        if asked is None or asked == ():
            continue
        stated = read(pck)
        expected: Value = asked if isinstance(asked, tuple) else _word(asked)
        actual = _word(stated) if isinstance(stated, bool) else stated
        if stated is None:
            yield failed(check, "lever-not-stated", line=line, expected=expected)
        elif _holds(stated, asked):
            yield passed(check, actual=actual)
        else:
            yield failed(check, "lever-refused", line=line, actual=actual, expected=expected)


def _holds(stated: bytes | str | bool, asked: tuple[str, ...] | bool) -> bool:  # noqa: FBT001 (both are read)
    if isinstance(asked, bool):
        return stated is asked
    return (stated.hex() if isinstance(stated, bytes) else stated) in asked


def _word(flag: bool) -> str:  # noqa: FBT001 (a flag to be told)
    return "true" if flag else "false"
