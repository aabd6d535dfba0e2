# SPDX-License-Identifier: Apache-2.0
"""What Gramine shows an SGX enclave of its hardware: the pseudo-files of ``/dev/attestation``."""

import errno
import os
import stat
from typing import ClassVar

from nacre.enclave.emulate.chip import Chip
from nacre.enclave.emulate.fuse import Names

__all__ = ["Attestation"]

_DIRECTORY = stat.S_IFDIR | 0o755
_READABLE = stat.S_IFREG | 0o444
_BOTH = stat.S_IFREG | 0o644
_NODES: dict[Names, int] = {
    (): _DIRECTORY,
    ("attestation_type",): _READABLE,
    ("user_report_data",): _BOTH,
    ("quote",): _READABLE,
    ("keys",): _DIRECTORY,
    ("keys", "_sgx_mrenclave"): _READABLE,
}
_DATA_SIZE = 64


def _refused(number: int) -> OSError:
    return OSError(number, os.strerror(number))


class Attestation:
    """``/dev/attestation`` of one enclave."""

    deferred: ClassVar[bool] = False

    def __init__(self, chip: Chip, *, kind: str = "dcap") -> None:
        """Show a chip; ``kind`` is the attestation type."""
        self._chip = chip
        self._kind = kind
        self._data = bytes(_DATA_SIZE)

    def mode(self, names: Names) -> int | None:
        """Return a node's type and permissions."""
        return _NODES.get(names)

    def names(self, names: Names) -> tuple[str, ...]:
        """List a directory."""
        return tuple(node[-1] for node in _NODES if node and node[:-1] == names)

    def read(self, names: Names) -> bytes:
        """Return a file; reading ``quote`` has it made."""
        if names == ("attestation_type",):
            return self._kind.encode()
        if names == ("user_report_data",):
            return self._data
        if names == ("quote",):
            return self._chip.evidence(self._data)
        return self._chip.sealing_key("mrenclave")[:16]

    def write(self, names: Names, data: bytes) -> None:
        """Take the report data; what is missing is zero."""
        if names != ("user_report_data",):
            raise _refused(errno.EACCES)
        if len(data) > _DATA_SIZE:
            raise _refused(errno.EINVAL)
        self._data = data.ljust(_DATA_SIZE, b"\0")

    def mkdir(self, names: Names) -> None:  # noqa: ARG002 (the interface's)
        """Refuse."""
        raise _refused(errno.EPERM)

    def rmdir(self, names: Names) -> None:  # noqa: ARG002 (the interface's)
        """Refuse."""
        raise _refused(errno.EPERM)
