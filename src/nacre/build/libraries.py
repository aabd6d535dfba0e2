# SPDX-License-Identifier: Apache-2.0
"""Which of the files at hand the programs of an image need as shared libraries."""

import posixpath
from collections.abc import Iterable, Iterator, Mapping

from nacre.build.cpio import Member
from nacre.build.elf import MAGIC, Needs, read
from nacre.errors import BuildError

__all__ = ["bytes_of", "destination", "needed"]

_SYSTEM = ("usr/lib/x86_64-linux-gnu", "usr/lib", "usr/lib64")
_MERGED = ("bin", "lib", "lib64", "sbin")
_MAX_LINKS = 16


def bytes_of(member: Member) -> bytes:
    """Return a member's content."""
    return b"".join(member.content)


def _leads_to(link: Member) -> str:
    """Return where a link leads on a system with one ``usr``, relative to its root."""
    return _merged(posixpath.normpath(posixpath.join("/", link.entry.path, "..", link.entry.target)))


def destination(path: str, placed: Mapping[str, Member]) -> str:
    """Return where a path leads when every link on the way is followed; empty if that has no end.

    Args:
        path: Relative to the root.
        placed: What there is, by path.
    """
    done, parts, links = "", path.split("/")[::-1], 0
    while parts:
        part = parts.pop()
        if part in ("", ".", ".."):
            done = posixpath.dirname(done) if part == ".." else done
            continue
        here = posixpath.join(done, part)
        member = placed.get(here)
        if member is None or member.entry.kind != "link":
            done = here
            continue
        links += 1
        if links > _MAX_LINKS:
            return ""
        target = member.entry.target
        done = "" if target.startswith("/") else done
        parts += target.split("/")[::-1]
    return done


def needed(programs: Iterable[Member], available: Mapping[str, Member]) -> tuple[str, ...]:
    """Find the libraries that files need, and those need in turn, with the links that lead to them.

    Args:
        programs: Files; those that are no ELF files need nothing.
        available: What there is, by path. A library beside the file that needs it may be among it or not.

    Returns:
        Paths of ``available``, sorted.

    Raises:
        BuildError: ``elf-library``: one is not there; ``elf-malformed``.
    """
    own = {member.entry.path: member for member in programs}
    found: set[str] = set()
    waiting = list(own.values())
    while waiting:
        member = waiting.pop()
        if not next(iter(member.content), b"").startswith(MAGIC):  # a file may be large
            continue
        asked = read(bytes_of(member), file=member.entry.path)
        if asked is None:
            continue
        for name in filter(None, (asked.interpreter, *asked.libraries)):
            steps = _steps(name, asked, member.entry.path, own, available)
            for path in steps:
                if path not in found and path not in own:
                    found.add(path)
                    waiting.append(available[path])
    return tuple(sorted(found))


def _steps(
    name: str, asked: Needs, path: str, own: Mapping[str, Member], available: Mapping[str, Member]
) -> list[str]:
    """Return the links and the file that a library's name leads to; empty for the image's own file."""
    for candidate in _candidates(name, asked, path):
        steps: list[str] = []
        place = candidate
        for _ in range(_MAX_LINKS):
            if place in own:
                return steps
            member = available.get(place)
            if member is None:
                break
            steps.append(place)
            if member.entry.kind != "link":
                return steps
            place = _leads_to(member)
    raise BuildError("elf-library", file=path, actual=name)


def _candidates(name: str, asked: Needs, path: str) -> Iterator[str]:
    if "/" in name:
        yield _merged(name)
        return
    origin = posixpath.dirname(path)
    for folder in asked.folders:
        place = folder.replace("${ORIGIN}", "$ORIGIN").replace("$ORIGIN", f"/{origin}")
        yield _merged(posixpath.normpath(f"{place}/{name}"))
    for folder in _SYSTEM:
        yield f"{folder}/{name}"


def _merged(path: str) -> str:
    """Return where an absolute path leads on a system with one ``usr``, relative to its root."""
    path = path.lstrip("/")
    return f"usr/{path}" if path.split("/", maxsplit=1)[0] in _MERGED else path
