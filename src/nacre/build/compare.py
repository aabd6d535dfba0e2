# SPDX-License-Identifier: Apache-2.0
"""What two builds of one image differ in, file by file, and inside the files that boot, entry by entry."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from nacre.build import cpio, outputs
from nacre.build.folder import sums
from nacre.build.gramine import is_signature
from nacre.errors import NacreError
from nacre.platforms.nitro import eif

__all__ = ["Difference", "compare"]

#: How something was made is told of each build by itself.
_OWN = frozenset({outputs.PROVENANCE})
_SHOWN = 12
_LAYERS = ("platform", "application")


class Difference(msgspec.Struct, frozen=True):
    """One thing that differs.

    Attributes:
        file: The file in the output folder.
        where: The part of it, or the path of an entry in it; empty for the whole file.
        what: In which way.
    """

    file: str
    where: str
    what: str


def compare(released: Path, rebuilt: Path) -> tuple[Difference, ...]:
    """Compare two output folders.

    Raises:
        OSError: A file cannot be read.
    """
    before, after = _stated(released), _stated(rebuilt)
    found: list[Difference] = []
    for name in sorted({*before, *after}):
        if before.get(name) == after.get(name):
            continue
        if name not in after or name not in before:
            found.append(Difference(name, "", "was not built" if name not in after else "was not released"))
            continue
        one, other = (released / name).read_bytes(), (rebuilt / name).read_bytes()
        inside = list(_inside(name, one, other))
        found += inside or [Difference(name, "", _first(one, other))]
    # What boots explains what is said of it.
    return tuple(sorted(found, key=lambda one: (not one.where, one.file)))


def _stated(folder: Path) -> Mapping[str, str]:
    return {name: digest for name, digest in sums(folder).items() if not _own(name)}


def _own(name: str) -> bool:
    return name in _OWN or is_signature(name)


def _inside(name: str, one: bytes, other: bytes) -> Iterator[Difference]:
    try:
        if name == outputs.EIF:
            yield from _eif(name, one, other)
        elif name == outputs.INITRD:
            pairs = zip(cpio.archives(one), cpio.archives(other), strict=False)
            for layer, (mine, theirs) in zip(_LAYERS, pairs, strict=False):
                yield from _archive(name, layer, mine, theirs)
    except NacreError as error:
        yield Difference(name, "", f"cannot be taken apart: {error}")


def _eif(name: str, one: bytes, other: bytes) -> Iterator[Difference]:
    mine, theirs = eif.parse(one), eif.parse(other)
    ramdisks = iter(_LAYERS)
    for before, after in zip(mine.sections, theirs.sections, strict=False):
        old, new = bytes(mine.read(before)), bytes(theirs.read(after))
        if before.kind == after.kind == eif.RAMDISK:
            yield from _archive(name, next(ramdisks, before.name), old, new)
        elif before.kind != after.kind or old != new:
            yield Difference(name, before.name, _first(old, new))


def _archive(name: str, layer: str, one: bytes, other: bytes) -> Iterator[Difference]:
    if one == other:
        return
    before = {member.entry.path: member for member in cpio.read(one)}
    after = {member.entry.path: member for member in cpio.read(other)}
    differing = [path for path in sorted({*before, *after}) if _entry(before, path) != _entry(after, path)]
    for path in differing[:_SHOWN]:
        if path not in before or path not in after:
            what = "is not in the rebuilt image" if path in before else "is not in the released image"
        elif before[path].entry.kind != after[path].entry.kind:
            what = f"a {before[path].entry.kind} was released, a {after[path].entry.kind} was rebuilt"
        else:
            what = _first(b"".join(before[path].content), b"".join(after[path].content))
        yield Difference(name, f"{layer}: /{path}", what)
    if len(differing) > _SHOWN:
        yield Difference(name, layer, f"{len(differing) - _SHOWN} further entries")


def _entry(members: Mapping[str, cpio.Member], path: str) -> object:
    return members[path].entry if path in members else None


def _first(one: bytes, other: bytes) -> str:
    """Say where two contents begin to differ."""
    at, end = 0, min(len(one), len(other))
    mine, theirs = memoryview(one), memoryview(other)
    while at < end:  # the first ``at`` bytes are the same
        half = (at + end + 1) // 2
        at, end = (half, end) if mine[at:half] == theirs[at:half] else (at, half - 1)
    return f"differs from byte {at} on; {len(one)} bytes were released, {len(other)} were rebuilt"
