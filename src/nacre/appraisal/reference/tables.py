# SPDX-License-Identifier: Apache-2.0
"""The one neutral form between all the others: the table that a release's TOML is.

A reader of another form fills such a table and hands it to :class:`Release`, which refuses whatever a
release must not be, whoever wrote it. What another form says and a table cannot is gathered by name and
refused together, unless the caller leaves it out by that name.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from nacre import platforms
from nacre.appraisal import systems
from nacre.appraisal.documents import Document
from nacre.appraisal.release import ANY, Release, ReleaseHead, Variant, register_key
from nacre.errors import ConfigurationError, UnsupportedEvidence
from nacre.platforms.base import Register

__all__ = ["Gathered", "Table", "registers_of", "release_of", "table_of", "write"]

#: What TOML makes of a release.
Table = dict[str, object]

_PLAIN: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")


class Gathered:
    """What a document says that a release has no word for.

    Attributes:
        notes: What was left out: by the caller's wish, or since it changes nothing that matches.
    """

    def __init__(self, what: str, leave_out: Iterable[str]) -> None:
        """Say what errors call the document, and what the caller gives up by name."""
        self._what = what
        self._leave_out = frozenset(leave_out)
        self._found: dict[str, None] = {}
        self.notes: list[str] = []

    def cannot(self, name: str) -> None:
        """Remember that a release cannot say this."""
        self._found[name] = None

    def note(self, text: str) -> None:
        """Remember what is lost without consequence."""
        self.notes.append(text)

    @property
    def names(self) -> tuple[str, ...]:
        """What a release cannot say, in the order of the document."""
        return tuple(self._found)

    def settle(self) -> None:
        """Refuse what nobody gave up.

        Raises:
            UnsupportedEvidence: ``reference-inexpressible``, naming all of it.
            ConfigurationError: ``reference-nothing-left-out``: a name that is not there was to be left out.
        """
        unmet = self._leave_out - self._found.keys()
        if unmet:
            raise ConfigurationError(
                "reference-nothing-left-out",
                what=self._what,
                actual=min(unmet),
                expected=self.names,
            )
        refused = tuple(name for name in self._found if name not in self._leave_out)
        if refused:
            raise UnsupportedEvidence("reference-inexpressible", what=self._what, actual=refused)
        self.notes += [f"left out as asked: {name}" for name in self._found]


def release_of(table: Table, *, file: str, outsiders: Iterable[str] = ()) -> Release:
    """Make a release of a table.

    Raises:
        ConfigurationError: It says what no release may say.
    """
    return Release.decode(Document("release", file, table), outsiders=outsiders)


def table_of(release: Release) -> Table:
    """Return the table that makes this release, keys in a fixed order, values as people write them."""
    table: Table = {}
    for field in msgspec.structs.fields(ReleaseHead):
        value = getattr(release, field.name)
        if field.required or value != field.default:
            table[field.name] = value
    table |= _facts(release.facts)
    for name, variants in release.variants.items():
        table[name] = [_variant(variant, registers_of(name)) for variant in variants]
    return table


def registers_of(platform: str) -> Mapping[str, Register]:
    """Return the registers of a platform by the key that a release gives them."""
    return {register_key(register): register for register in platforms.get(platform).registers}


def _variant(variant: Variant, registers: Mapping[str, Register]) -> Table:
    equal, least = dict(variant.equal), dict(variant.least)
    table: Table = {}
    for key, register in registers.items():
        if register.kind == "minimum" and register.name in least:
            table[key] = least[register.name]
        elif register.kind != "minimum" and register.name in equal:
            value = equal[register.name]
            table[key] = int.from_bytes(value, "little") if register.kind == "number" else value.hex()
        elif register.name in variant.anything:
            table[key] = ANY
    return table


def _facts(facts: Mapping[str, tuple[bytes, ...]]) -> Table:
    tables: dict[str, dict[str, object]] = {}
    for name, values in facts.items():
        system, _, fact = name.partition(".")
        sizes = {known.name: known.size for known in systems.get(system).facts}
        tables.setdefault(system, {})[fact] = [
            value.hex() if sizes[fact] else value.decode() for value in values
        ]
    return {**tables}


def write(table: Table) -> str:
    """Write a table as TOML, the same text for the same table."""
    lines = [f"{key} = {_value(value)}" for key, value in table.items() if not _is_table(value)]
    for key, value in table.items():
        for inner in value if isinstance(value, list) else [value]:
            if isinstance(inner, dict):
                head = f"[[{_key(key)}]]" if isinstance(value, list) else f"[{_key(key)}]"
                lines += ["", head, *(f"{_key(name)} = {_value(item)}" for name, item in inner.items())]
    return "\n".join(lines) + "\n"


def _is_table(value: object) -> bool:
    return isinstance(value, dict) or (
        isinstance(value, list) and any(isinstance(one, dict) for one in value)
    )


def _key(key: str) -> str:
    return key if key and _PLAIN.issuperset(key) else _value(key)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, str):
        # JSON's escapes are TOML's too, but for DEL, which JSON leaves as it is.
        return msgspec.json.encode(value).decode().replace("\x7f", "\\u007f")
    return str(value)
