# SPDX-License-Identifier: Apache-2.0
"""A TPM's registers: they begin at a known value and are extended, never set.

Source: TCG, TPM 2.0 Library, part 1, 17 (PCR operations); PC Client Platform TPM Profile 1.05, 4.6.
"""

import hashlib
from collections.abc import Iterable, Mapping

from nacre.errors import ConfigurationError
from nacre.platforms.measuring import Measurement, Part

__all__ = ["BANKS", "PCRS", "insist", "measured"]

#: The registers by their numbers.
PCRS: Mapping[int, str] = {number: f"pcr{number}" for number in range(24)}
#: The banks that say something. Of SHA-1 two inputs with one digest can be made.
BANKS = ("sha256", "sha384", "sha512")

#: What only a late launch resets; until then they are all ones.
_LATE = {f"pcr{number}" for number in range(17, 23)}


def insist(algorithm: str) -> None:
    """Take only a bank that says something.

    Raises:
        ConfigurationError: ``tpm-bank``.
    """
    if algorithm not in BANKS:
        raise ConfigurationError("tpm-bank", actual=algorithm, expected=BANKS)


def measured(
    parts: Iterable[Part], *, algorithm: str, starts: Mapping[str, bytes] | None = None
) -> Measurement:
    """Extend registers by the digests of parts, in order; a part without a digest only explains.

    Args:
        parts: The steps.
        algorithm: The bank, as ``hashlib`` calls its hash.
        starts: Values that registers begin at, where it is not the usual one.

    Raises:
        ConfigurationError: ``tpm-bank``.
    """
    insist(algorithm)
    size = hashlib.new(algorithm).digest_size
    begin = starts or {}
    registers: dict[str, bytes] = {}
    whole = tuple(parts)
    for part in whole:
        if part.digest:
            name = part.register
            usual = begin.get(name) or (b"\xff" if name in _LATE else b"\0") * size
            value = registers.get(name, usual) + part.digest
            registers[name] = hashlib.new(algorithm, value).digest()
    return Measurement(registers, whole)
