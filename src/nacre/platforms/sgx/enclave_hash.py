# SPDX-License-Identifier: Apache-2.0
"""What an SGX processor hashes while an enclave is made, and so MRENCLAVE.

MRENCLAVE is the SHA-256 of records of 64 bytes, in the order in which they are executed: one ECREATE, an EADD
for each page, an EEXTEND for each 256 bytes of a page that are measured, which follow it. Integers are
little-endian. A page that is added and not extended has a place and permissions in MRENCLAVE, and no content.

Source: Intel SDM, volume 3D, chapter 38 (ECREATE, EADD, EEXTEND), section 35.14 (SECINFO).
"""

import hashlib
from struct import Struct
from typing import Final

from nacre.platforms.measuring import Measurement, Part

__all__ = ["CHUNK", "EXECUTE", "PAGE", "READ", "REGULAR", "TCS", "WRITE", "EnclaveHash", "page_kind"]

PAGE: Final = 4096
#: Bytes that one EEXTEND measures.
CHUNK: Final = 256
#: SECINFO.FLAGS: permissions and the types that a page of a new enclave can have.
READ, WRITE, EXECUTE = 1, 2, 4
TCS, REGULAR = 0x100, 0x200

_CREATE = Struct("<8sIQ44x")
_ADD = Struct("<8sQQ40x")
_EXTEND = Struct("<8sQ48x")


class EnclaveHash:
    """MRENCLAVE in the making. Whether a processor would do it is its user's care."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._whole = hashlib.sha256()
        self._step = hashlib.sha256()
        self._parts: list[Part] = []

    def create(self, *, size: int, ssa_pages: int) -> None:
        """Make an enclave of ``size`` bytes, with ``ssa_pages`` pages for a frame of saved state."""
        self._update(_CREATE.pack(b"ECREATE", ssa_pages, size))

    def add(self, offset: int, flags: int) -> None:
        """Add the page at ``offset`` from the enclave's base, with these SECINFO.FLAGS."""
        self._update(_ADD.pack(b"EADD", offset, flags))

    def extend(self, offset: int, content: bytes) -> None:
        """Measure the 256 bytes at ``offset``."""
        self._update(_EXTEND.pack(b"EEXTEND", offset) + content)

    def step(self, label: str, *, source: str, offset: int = 0, size: int = 0, value: str = "") -> None:
        """Say that everything since the last step is one: see ``Part``; ``source`` is its input."""
        self._parts.append(
            Part(
                register="mrenclave",
                label=label,
                input=source,
                offset=offset,
                size=size,
                digest=self._step.digest(),
                value=value,
            )
        )
        self._step = hashlib.sha256()

    def measurement(self) -> Measurement:
        """Return MRENCLAVE and its steps."""
        return Measurement({"mrenclave": self._whole.digest()}, tuple(self._parts))

    def _update(self, record: bytes) -> None:
        self._whole.update(record)
        self._step.update(record)


def page_kind(flags: int) -> str:
    """Say what SECINFO.FLAGS make of a page: ``r-x``, or ``thread control``."""
    if flags & TCS:
        return "thread control"
    return "".join(
        letter if flags & bit else "-" for letter, bit in (("r", READ), ("w", WRITE), ("x", EXECUTE))
    )
