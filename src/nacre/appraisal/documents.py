# SPDX-License-Identifier: Apache-2.0
"""Strict reading of the TOML documents that people write: policies and releases.

Unknown keys, duplicate keys and wrong types are errors that name the file and the key.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from nacre.errors import ConfigurationError

__all__ = ["Document", "read_bytes", "read_text"]

_MAX_TEXT = 1 << 18
# tomllib's work grows with the square of a dotted key's length; no honest line has this many dots.
_MAX_DOTS = 256
_UNKNOWN_FIELD = re.compile(r"Object contains unknown field `(?P<field>.*?)`(?: - at `\$(?P<at>.*)`)?")
_MISSING_FIELD = re.compile(r"Object missing required field `(?P<field>.*?)`(?: - at `\$(?P<at>.*)`)?")
_ELSE_WRONG = re.compile(r"(?P<problem>.*?)(?: - at `\$(?P<at>.*)`)?", re.DOTALL)

T = TypeVar("T", bound=msgspec.Struct)


def read_bytes(path: Path, *, what: str, limit: int = _MAX_TEXT) -> bytes:
    """Read a file of at most ``limit`` bytes.

    Raises:
        ConfigurationError: ``config-unreadable``, ``config-too-large``.
    """
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except (OSError, ValueError) as error:
        problem = getattr(error, "strerror", None) or "not a path"
        raise ConfigurationError("config-unreadable", what=what, file=str(path), actual=problem) from None
    if len(data) > limit:
        raise ConfigurationError("config-too-large", what=what, file=str(path), expected=limit)
    return data


def read_text(path: Path, *, what: str) -> str:
    """Read a UTF-8 file.

    Raises:
        ConfigurationError: ``config-unreadable``, ``config-too-large``, ``config-syntax``.
    """
    data = read_bytes(path, what=what)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            "config-syntax", what=what, file=str(path), actual=f"byte {error.start} is not UTF-8"
        ) from None


class Document(NamedTuple):
    """A parsed document and what errors call it.

    Attributes:
        what: ``policy`` or ``release``.
        file: The file's name, or where else the text came from.
        table: The TOML table.
        prefix: The dotted key of the table inside the file, empty for the file itself.
    """

    what: str
    file: str
    table: dict[str, object]
    prefix: str = ""

    @classmethod
    def parse(cls, text: str, *, what: str, file: str) -> "Document":
        """Parse TOML; duplicate keys are errors.

        Raises:
            ConfigurationError: ``config-syntax``, ``config-too-large``.
        """
        import tomllib  # noqa: PLC0415 (slow to import; policies made in code do not need it)

        if len(text) > _MAX_TEXT:
            raise ConfigurationError("config-too-large", what=what, file=file, expected=_MAX_TEXT)
        for number, line in enumerate(text.split("\n"), 1):
            if line.count(".") > _MAX_DOTS:
                problem = f"more than {_MAX_DOTS} dots in line {number}"
                raise ConfigurationError("config-syntax", what=what, file=file, actual=problem)
        try:
            table = tomllib.loads(text)
            # Has no integers beyond 64 bits, and neither has TOML; tomllib reads them of any length.
            msgspec.msgpack.encode(table)
        except RecursionError:
            problem = "nested too deeply"
        except OverflowError:
            problem = "an integer beyond 64 bits"
        except ValueError as error:
            problem = str(error)
        else:
            return cls(what, file, table)
        raise ConfigurationError("config-syntax", what=what, file=file, actual=problem)

    def key(self, name: str) -> str:
        """Return the dotted key of one of this table's members."""
        return f"{self.prefix}.{name}" if self.prefix else name

    def below(self, name: str, table: dict[str, object]) -> "Document":
        """Return a table inside this one."""
        return Document(self.what, self.file, table, self.key(name))

    def wrong(self, name: str, problem: str) -> ConfigurationError:
        """Make the error for a member that cannot be what it is."""
        return ConfigurationError(
            "config-value", what=self.what, file=self.file, key=self.key(name), actual=problem
        )

    def unknown(self, name: str, known: Iterable[str]) -> ConfigurationError:
        """Make the error for a member that nobody knows."""
        return ConfigurationError(
            "config-unknown-key",
            what=self.what,
            file=self.file,
            key=self.key(name),
            expected=tuple(sorted(known)),
        )

    def missing(self, name: str) -> ConfigurationError:
        """Make the error for a member that has to be there."""
        return ConfigurationError("config-missing-key", what=self.what, file=self.file, key=self.key(name))

    def convert(self, kind: type[T]) -> T:
        """Turn the table into a record; unknown keys and wrong types are errors.

        Raises:
            ConfigurationError: ``config-unknown-key``, ``config-missing-key``, ``config-value``, or what
                the record itself refuses.
        """
        try:
            return msgspec.convert(self.table, kind)
        except ConfigurationError as error:
            context = {"what": self.what, "file": self.file, **error.context}
            raise ConfigurationError(error.code, **context) from None
        except msgspec.ValidationError as error:
            raise self._explain(str(error), kind) from None

    def _explain(self, message: str, kind: type[msgspec.Struct]) -> ConfigurationError:
        if unknown := _UNKNOWN_FIELD.fullmatch(message):
            at = unknown["at"] or ""
            known = () if at else [field.encode_name for field in msgspec.structs.fields(kind)]
            return self.unknown(f"{at}.{unknown['field']}".lstrip("."), known)
        if missing := _MISSING_FIELD.fullmatch(message):
            return self.missing(f"{missing['at'] or ''}.{missing['field']}".lstrip("."))
        wrong = _ELSE_WRONG.fullmatch(message)
        at, problem = (wrong["at"] or "", wrong["problem"]) if wrong else ("", message)
        return self.wrong(at.lstrip(".") or "(whole)", problem)
