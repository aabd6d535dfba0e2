# SPDX-License-Identifier: Apache-2.0
"""What a kernel shows of a TDX or SEV-SNP guest's hardware: reports (configfs) and registers (sysfs)."""

import errno
import os
import stat
from typing import ClassVar

from nacre.enclave.emulate.chip import Chip
from nacre.enclave.emulate.fuse import Names
from nacre.platforms import tsm

__all__ = ["Measurements", "Reports", "ReportsAtOnce"]

_DIRECTORY = stat.S_IFDIR | 0o755
_READABLE = stat.S_IFREG | 0o444
_WRITABLE = stat.S_IFREG | 0o200
_BOTH = stat.S_IFREG | 0o644
_FILES = {
    "inblob": _WRITABLE,
    "outblob": _READABLE,
    "auxblob": _READABLE,
    "provider": _READABLE,
    "generation": _READABLE,
}
_PROVIDERS = {"tdx": tsm.TDX, "snp": tsm.SNP}
_DATA_SIZE = 64
_DIGEST = 48
#: Reports that may be there at a time.
_MAX_ENTRIES = 1024


def _refused(number: int) -> OSError:
    return OSError(number, os.strerror(number))


class _Entry:
    def __init__(self) -> None:
        self.data: bytes | None = None
        self.generation = 0


class Reports:
    """``/sys/kernel/config/tsm/report``: each directory made in it is one report."""

    deferred: ClassVar[bool] = True

    def __init__(self, chip: Chip, *, auxblob: bytes = b"", provider: str | None = None) -> None:
        """Show a chip.

        Args:
            chip: The chip.
            auxblob: What the host adds to each report.
            provider: Who says to make the reports; the platform's own by default.
        """
        self._chip = chip
        self._auxblob = auxblob
        self._provider = provider or _PROVIDERS[chip.platform]
        self._entries: dict[str, _Entry] = {}

    def mode(self, names: Names) -> int | None:
        """Return a node's type and permissions."""
        if not names:
            return _DIRECTORY
        if names[0] not in self._entries:
            return None
        return _DIRECTORY if len(names) == 1 else _FILES.get("/".join(names[1:]))

    def names(self, names: Names) -> tuple[str, ...]:
        """List the reports, or a report's files."""
        return tuple(_FILES) if names else tuple(self._entries)

    def mkdir(self, names: Names) -> None:
        """Make room for a report."""
        if len(names) != 1:
            raise _refused(errno.EPERM)
        if names[0] in self._entries:
            raise _refused(errno.EEXIST)
        if len(self._entries) >= _MAX_ENTRIES:
            raise _refused(errno.ENOSPC)
        self._entries[names[0]] = _Entry()

    def rmdir(self, names: Names) -> None:
        """Remove a report, its files with it."""
        if len(names) != 1:
            raise _refused(errno.EPERM)
        if self._entries.pop(names[0], None) is None:
            raise _refused(errno.ENOENT)

    def write(self, names: Names, data: bytes) -> None:
        """Take what the report is to commit to."""
        entry = self._entry(names)
        if names[1] != "inblob":
            raise _refused(errno.EACCES)
        if not 0 < len(data) <= _DATA_SIZE:
            raise _refused(errno.EINVAL)
        entry.data = data
        entry.generation += 1

    def read(self, names: Names) -> bytes:
        """Return a file; reading ``outblob`` has the report made."""
        entry = self._entry(names)
        if names[1] == "provider":
            return self._provider.encode() + b"\n"
        if names[1] == "generation":
            return b"%d\n" % entry.generation
        if entry.data is None or names[1] == "inblob":
            raise _refused(errno.EINVAL)
        if names[1] == "auxblob":
            return self._auxblob
        return self._chip.evidence(entry.data.ljust(_DATA_SIZE, b"\0"))

    def _entry(self, names: Names) -> _Entry:
        entry = self._entries.get(names[0])
        if entry is None:
            raise _refused(errno.ENOENT)
        return entry


class ReportsAtOnce(Reports):
    """The same for callers whose closing is not seen: what they write counts as soon as it is written."""

    deferred: ClassVar[bool] = False


class Measurements:
    """``…/tdx_guest/measurements``: the registers, of which software may extend RTMR2 and RTMR3."""

    deferred: ClassVar[bool] = False

    def __init__(self, chip: Chip) -> None:
        """Show a chip."""
        self._chip = chip
        self._files = {
            **{f"{name}:sha384": name for name in ("mrtd", "rtmr0", "rtmr1", "rtmr2", "rtmr3")},
            **{name: name for name in ("mrconfigid", "mrowner", "mrownerconfig")},
        }

    def mode(self, names: Names) -> int | None:
        """Return a node's type and permissions."""
        if not names:
            return _DIRECTORY
        register = self._files.get("/".join(names))
        if register is None:
            return None
        return _BOTH if register in ("rtmr2", "rtmr3") else _READABLE

    def names(self, names: Names) -> tuple[str, ...]:  # noqa: ARG002 (the interface's)
        """List the registers."""
        return tuple(self._files)

    def read(self, names: Names) -> bytes:
        """Return a register."""
        return self._chip.registers.get(self._files[names[0]], bytes(_DIGEST))

    def write(self, names: Names, data: bytes) -> None:
        """Extend a register."""
        register = self._files[names[0]]
        if register not in ("rtmr2", "rtmr3"):
            raise _refused(errno.EACCES)
        if len(data) != _DIGEST:
            raise _refused(errno.EINVAL)
        self._chip.extend(register, data)

    def mkdir(self, names: Names) -> None:  # noqa: ARG002 (the interface's)
        """Refuse."""
        raise _refused(errno.EPERM)

    def rmdir(self, names: Names) -> None:  # noqa: ARG002 (the interface's)
        """Refuse."""
        raise _refused(errno.EPERM)
