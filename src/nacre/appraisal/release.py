# SPDX-License-Identifier: Apache-2.0
"""Releases: the registers that one published version of an application shows.

A release lists, for each platform, one or more *variants* (two firmware versions of a cloud, say). A
variant is one unit: evidence matches it if every register that it states is as it states. Registers of
one variant never complete another, so that parts of an old and of a new version do not add up to
something that nobody ever released.
"""

import binascii
import hashlib
import re
from collections.abc import Container, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import msgspec

from nacre import platforms
from nacre.appraisal.documents import Document, read_text
from nacre.checks import Check, failed, passed, skipped
from nacre.errors import ConfigurationError
from nacre.platforms.base import Register

if TYPE_CHECKING:
    from nacre.appraisal.systems.base import Fact

__all__ = [
    "ANY",
    "MAX_VARIANTS",
    "NAME",
    "Match",
    "Release",
    "ReleaseHead",
    "Variant",
    "fact_text",
    "match",
    "register_key",
]

#: What a release writes for a register that may be anything.
ANY = "any"
#: What identifiers of releases and policies look like: they end up in logs, tokens and terminals.
#: It ends as it does since ``$`` lets a line break pass in Python, and JSON Schema knows no ``\Z``.
NAME = r"^[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127}(?![\s\S])"

#: Variants on one platform, values of one fact.
MAX_VARIANTS = 256
_HEX = re.compile(r"[0-9A-Fa-f]*", re.ASCII)


class ReleaseHead(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a release says beside its registers.

    Attributes:
        id: The release's identifier.
        version: The application's version, for people.
        profile: ``isolated``: no egress and no input but through the attested channel.
        raw_report_data: Whether this code lets somebody else choose all bytes that evidence commits to.
            Such evidence can speak for any purpose, so every other binding is warned about.
        layout: The one layout of another system in which this code binds evidence (``dstack/ratls-cert``).
            Evidence bound so is accepted without opening raw report data to everything.
    """

    id: Annotated[str, msgspec.Meta(pattern=NAME)]
    version: Annotated[str, msgspec.Meta(max_length=128)] = ""
    profile: Literal["", "isolated"] = ""
    raw_report_data: bool = False
    layout: Annotated[str, msgspec.Meta(max_length=64)] = ""


class Variant(msgspec.Struct, frozen=True):
    """One set of registers that belong together.

    Attributes:
        equal: Name and value of every register that has to be equal.
        least: Name and least value of every register that may be higher.
        anything: Names of the registers that were left open with ``"any"``.
    """

    equal: tuple[tuple[str, bytes], ...]
    least: tuple[tuple[str, int], ...] = ()
    anything: tuple[str, ...] = ()

    def differences(self, registers: Mapping[str, bytes]) -> Iterator[tuple[str, str, str]]:
        """Yield name, expected and actual value of each register that is not as stated."""
        for name, value in self.equal:
            actual = registers.get(name)
            if actual != value:
                yield name, value.hex(), "absent" if actual is None else actual.hex()
        for name, least in self.least:
            actual = registers.get(name)
            number = -1 if actual is None else int.from_bytes(actual, "little")
            if number < least:
                yield name, f"at least {least}", "absent" if actual is None else str(number)


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """One published version of an application.

    Attributes:
        id: The release's identifier.
        version: The application's version, for people.
        profile: ``isolated``, or empty.
        raw_report_data: Whether somebody else may choose what evidence of this code commits to.
        layout: The one layout of another system in which this code binds evidence, or empty.
        variants: Platform to the sets of registers that the release may show there.
        facts: ``system.name`` to the acceptable values of what the release asks of other systems, bytes
            (text as UTF-8). All of it belongs to every variant.
        fingerprint: SHA-256 of all of the above, 32 bytes, however the document was laid out.
        matched: The passing check, made once.
    """

    id: str
    version: str
    profile: str
    raw_report_data: bool
    layout: str
    variants: Mapping[str, tuple[Variant, ...]]
    facts: Mapping[str, tuple[bytes, ...]]
    fingerprint: bytes
    matched: Check

    @classmethod
    def load(cls, path: str | Path, *, outsiders: Iterable[str] = ()) -> "Release":
        """Read a release file.

        Args:
            path: The TOML file.
            outsiders: Third-party platforms whose registers it may state.

        Raises:
            ConfigurationError: The file cannot be read, or what it says cannot be used.
        """
        text = read_text(Path(path), what="release")
        return cls.parse(text, file=str(path), outsiders=outsiders)

    @classmethod
    def parse(cls, text: str, *, file: str = "(text)", outsiders: Iterable[str] = ()) -> "Release":
        """Read a release from TOML text; ``file`` is what errors call it.

        Raises:
            ConfigurationError: What it says cannot be used.
        """
        return cls.decode(Document.parse(text, what="release", file=file), outsiders=outsiders)

    @classmethod
    def decode(cls, document: Document, *, outsiders: Iterable[str] = ()) -> "Release":
        """Make a release of a TOML table.

        Raises:
            ConfigurationError: What it says cannot be used.
        """
        names = (*platforms.builtin_names(), *outsiders)
        own = ReleaseHead.__struct_fields__
        others = [key for key in document.table if key not in own and key not in names]
        facts = dict(_facts(document, others, (*own, *names))) if others else {}
        head = document._replace(
            table={key: value for key, value in document.table.items() if key in own}
        ).convert(ReleaseHead)
        covered = frozenset(_covered(facts)) if facts else ()
        variants = {
            name: tuple(_variants(document, name, covered)) for name in names if name in document.table
        }
        if not variants:
            raise document.missing(" or ".join(f"[[{name}]]" for name in names))
        return cls(
            id=head.id,
            version=head.version,
            profile=head.profile,
            raw_report_data=head.raw_report_data,
            layout=_layout(document, head.layout),
            variants=variants,
            facts=facts,
            fingerprint=hashlib.sha256(msgspec.json.encode((head, variants, facts), order="sorted")).digest(),
            matched=passed("executables", "executables-and-facts", release=head.id, facts=tuple(facts))
            if facts
            else passed("executables", release=head.id),
        )


class Match(NamedTuple):
    """What came of holding registers against releases.

    Attributes:
        release: The release that matched, as a whole.
        check: The ``executables`` check.
    """

    release: Release | None
    check: Check


def match(
    releases: Iterable[Release],
    platform: str,
    registers: Mapping[str, bytes],
    facts: Mapping[str, bytes] | None = None,
) -> Match:
    """Find the release that evidence shows, all registers of one variant and all facts together.

    Args:
        releases: The releases that a policy names.
        platform: The platform of the evidence.
        registers: What the evidence shows.
        facts: What another system shows by it, by ``system.name``; None if no system was asked.
    """
    rivals = []
    unseen: Release | None = None
    for release in releases:
        for variant in release.variants.get(platform, ()):
            for name, value in variant.equal:
                if registers.get(name) != value:
                    break
            else:
                if not variant.least or not any(variant.differences(registers)):
                    if not release.facts or (facts is not None and not any(_unlike(release, facts))):
                        return Match(release, release.matched)
                    unseen = unseen or release
            rivals.append((release, variant))
    if not rivals:
        return Match(None, skipped("executables", "no-release", platform=platform))
    if unseen is not None and facts is None:
        asked = tuple(unseen.facts)
        return Match(None, skipped("executables", "facts-not-shown", release=unseen.id, expected=asked))
    return Match(None, _closest(rivals, registers, facts or {}))


def _unlike(release: Release, facts: Mapping[str, bytes]) -> Iterator[tuple[str, str, str]]:
    """Yield name, expected and actual value of each fact that is not as the release asks."""
    for name, values in release.facts.items():
        actual = facts.get(name)
        if actual not in values:
            yield name, " or ".join(map(fact_text, values)), "absent" if actual is None else fact_text(actual)


def fact_text(value: bytes) -> str:
    """Write a fact for people: text as it is, anything else in hexadecimal."""
    text = value.decode("ascii", "replace")
    return text if text.isprintable() and "\ufffd" not in text else value.hex()


def _closest(
    rivals: Iterable[tuple[Release, Variant]], registers: Mapping[str, bytes], facts: Mapping[str, bytes]
) -> Check:
    """Explain a mismatch by the variant that has the fewest differences; the first of equals."""
    differing = [
        (release, [*variant.differences(registers), *_unlike(release, facts)]) for release, variant in rivals
    ]
    release, differences = min(differing, key=lambda rival: len(rival[1]))
    return failed(
        "executables",
        "executables-mismatch",
        release=release.id,
        registers=tuple(name for name, _, _ in differences),
        expected=tuple(f"{name} {expected}" for name, expected, _ in differences),
        actual=tuple(f"{name} {actual}" for name, _, actual in differences),
    )


def register_key(register: Register) -> str:
    """Return what a release calls a register."""
    return f"min_{register.name}" if register.kind == "minimum" else register.name


def _layout(document: Document, name: str) -> str:
    if name:
        from nacre.appraisal import systems  # noqa: PLC0415 (most releases name none)

        try:
            systems.layout(name)
        except ConfigurationError as error:
            raise document.wrong("layout", str(error)) from None
    return name


def _facts(
    document: Document, names: Iterable[str], known_otherwise: tuple[str, ...]
) -> Iterator[tuple[str, tuple[bytes, ...]]]:
    """Read the tables of other systems: each key lists the values that are acceptable."""
    from nacre.appraisal import systems  # noqa: PLC0415 (most releases name none)

    for system in names:
        if system not in systems.names():
            raise document.unknown(system, (*known_otherwise, *systems.names()))
        table = document.table[system]
        known = {fact.name: fact for fact in systems.get(system).facts}
        if not isinstance(table, dict) or not table:
            raise document.wrong(system, f"a table [{system}] with at least one key was expected")
        below = document.below(system, table)
        for key, values in table.items():
            if key not in known:
                raise below.unknown(key, known)
            if not isinstance(values, list) or not 0 < len(values) <= MAX_VARIANTS:
                raise below.wrong(key, f"a list of 1 to {MAX_VARIANTS} values was expected")
            yield f"{system}.{key}", tuple(_fact_value(below, key, known[key], value) for value in values)


def _fact_value(document: Document, key: str, fact: "Fact", value: object) -> bytes:
    if isinstance(value, str) and value:
        if not fact.size:
            return value.encode()
        if len(value) == 2 * fact.size and _HEX.fullmatch(value):
            return binascii.unhexlify(value)
    wanted = f"{2 * fact.size} hexadecimal digits" if fact.size else "text"
    raise document.wrong(key, f"{wanted} expected, got {_shown(value)}")


def _covered(facts: Iterable[str]) -> Iterator[str]:
    """Name the registers, ``platform.name``, of which some stated fact is a digest."""
    from nacre.appraisal import systems  # noqa: PLC0415 (as above)

    for name in facts:
        system, _, stated = name.partition(".")
        for fact in systems.get(system).facts:
            if fact.name == stated:
                yield from fact.covers


def _variants(document: Document, platform: str, covered: Container[str]) -> Iterator[Variant]:
    tables = document.table[platform]
    if not isinstance(tables, list) or not tables or len(tables) > MAX_VARIANTS:
        raise document.wrong(platform, f"1 to {MAX_VARIANTS} tables [[{platform}]] were expected")
    for position, table in enumerate(tables):
        if not isinstance(table, dict):
            raise document.wrong(platform, f"1 to {MAX_VARIANTS} tables [[{platform}]] were expected")
        yield _variant(document.below(f"{platform}[{position}]", table), platform, covered)


def _variant(document: Document, platform: str, covered: Container[str]) -> Variant:
    registers = platforms.get(platform).registers
    known = {register_key(register): register for register in registers}
    equal: list[tuple[str, bytes]] = []
    least: list[tuple[str, int]] = []
    anything: list[str] = []
    for key in document.table:
        if key not in known:
            raise document.unknown(key, known)
    for key, register in known.items():
        if key not in document.table:
            if register.required != "optional":
                raise document.missing(key)
        elif document.table[key] == ANY:
            if register.required == "value" and f"{platform}.{register.name}" not in covered:
                raise document.wrong(key, f"a value is required here, {ANY!r} is not enough")
            anything.append(register.name)
        elif register.kind == "minimum":
            least.append((register.name, _number(document, key, register)))
        else:
            equal.append((register.name, _value(document, key, register)))
    valued = {name for name, _ in (*equal, *least)}
    _identify(document, registers, valued.union(name for name in anything if f"{platform}.{name}" in covered))
    return Variant(tuple(equal), tuple(least), tuple(anything))


def _identify(document: Document, registers: Iterable[Register], valued: set[str]) -> None:
    """Insist that the stated values say which code this is: nothing asked must never pass."""
    alternatives: dict[int, list[Register]] = {}
    for register in registers:
        if register.alternative:
            alternatives.setdefault(register.alternative, []).append(register)
    sets = list(alternatives.values())
    if sets and not any(all(register.name in valued for register in group) for group in sets):
        raise document.missing(
            ", or ".join(" with ".join(register_key(register) for register in group) for group in sets)
        )
    if not valued:
        raise document.wrong("(whole)", "no register has a value, so any code would match")


def _value(document: Document, key: str, register: Register) -> bytes:
    if register.kind == "number":
        return _number(document, key, register).to_bytes(register.size, "little")
    value = document.table[key]
    digits = 2 * register.size
    if not isinstance(value, str) or len(value) != digits or not _HEX.fullmatch(value):
        raise document.wrong(key, f"{digits} hexadecimal digits or {ANY!r} expected, got {_shown(value)}")
    return binascii.unhexlify(value)


def _number(document: Document, key: str, register: Register) -> int:
    value = document.table[key]
    most = (1 << 8 * register.size) - 1
    # bool is an int in Python, not in a release.
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise document.wrong(key, f"an integer from 0 to {most} expected, got {_shown(value)}")
    return value


def _shown(value: object) -> str:
    return f"{len(value)} characters" if isinstance(value, str) else type(value).__name__
