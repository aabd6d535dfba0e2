# SPDX-License-Identifier: Apache-2.0
"""The two layers of an image: the platform, which is the same for every application, and the application.

The platform is Python, the agent as ``/init`` and what both need. There is no shell, no package manager and
no other program in an image unless the application asks for it.
"""

import posixpath
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from nacre.build import agent
from nacre.build.cpio import Member, arranged, file, folder, link
from nacre.build.layout import APP, MODULES, ROOT, USER
from nacre.build.libraries import bytes_of, destination, needed
from nacre.build.stdlib import unused
from nacre.errors import BuildError

__all__ = [
    "AGENT_PLACE",
    "AGENT_WHEELS",
    "GROUPS",
    "USERS",
    "Files",
    "application",
    "contributors",
    "platform",
    "python_packages",
]

#: What the agent imports of others.
AGENT_WHEELS = frozenset({"cffi", "cryptography", "h11", "msgspec"})

_INIT = b"""#!/usr/bin/python3 -ISB
import sys

sys.path.append("/usr/lib/python3/dist-packages")
from nacre.enclave.boot.init import main

main()
"""
#: The files ``/etc/passwd`` and ``/etc/group``.
USERS = f"root:x:0:0:::\napp:x:{USER}:{USER}::{APP}:\n".encode()
GROUPS = f"root:x:0:\napp:x:{USER}:\n".encode()
AGENT_PLACE = "usr/lib/python3/dist-packages"
#: Whatever lies there is run or believed by the agent.
_OURS = ("etc/nacre/", f"{MODULES[1:]}/", f"{AGENT_PLACE}/nacre/", f"{ROOT[1:]}/")
_CERTIFICATES = "usr/share/ca-certificates/mozilla/"
_BUNDLE = "etc/ssl/certs/ca-certificates.crt"
_BUSYBOX = "usr/bin/busybox"
#: What people look for who look around; busybox has more under its own name.
_COMMANDS = (
    *(
        "ash",
        "cat",
        "cp",
        "df",
        "dmesg",
        "du",
        "env",
        "find",
        "free",
        "grep",
        "head",
        "id",
        "kill",
        "less",
        "ls",
    ),
    *("mkdir", "more", "mv", "ps", "pwd", "rm", "rmdir", "sed", "sh", "sleep", "sort", "stat", "tail", "top"),
    *("touch", "uname", "uptime", "vi", "wc", "xargs"),
)
#: What no program reads, or only programs that no image has.
_UNREAD = (
    *("usr/share/doc/", "usr/share/man/", "usr/share/info/", "usr/share/lintian/", "usr/share/bug/"),
    *("usr/share/locale/", "usr/share/doc-base/", "usr/share/menu/", "usr/share/applications/"),
    *("usr/share/pixmaps/", "usr/share/icons/", "usr/share/bash-completion/", "usr/share/python3/"),
    *("usr/share/binfmts/", "usr/share/debhelper/", "usr/share/perl5/debconf", "var/", "etc/cron", "boot/"),
    *("usr/include/", "usr/lib/pkgconfig/", "etc/apt/", "etc/dpkg/", "etc/init.d/", "usr/lib/systemd/"),
)


class Files(NamedTuple):
    """Everything that packages bring.

    Attributes:
        whole: By package: what is taken as it is.
        others: By path: the package and the file, taken if it is a library that something needs.
    """

    whole: Mapping[str, tuple[Member, ...]]
    others: Mapping[str, tuple[str, Member]]


def python_packages(version: str) -> tuple[str, ...]:
    """Return the packages that Python is in."""
    return (f"python{version}-minimal", f"libpython{version}-minimal", f"libpython{version}-stdlib")


def platform(
    files: Files, *, python: str, wheels: Iterable[Member], modules: Iterable[tuple[str, bytes]]
) -> tuple[Member, ...]:
    """List the platform's files.

    Args:
        files: Of the packages.
        python: Python's version, ``3.11``.
        wheels: What the agent imports of others, below any folder.
        modules: Name and content of kernel modules, in the order in which they are loaded.

    Raises:
        BuildError: ``elf-…``; ``tree-unreadable``; ``lock-incomplete``: a package of Python's is not there.
    """
    packages = python_packages(python)
    for name in packages:
        if name not in files.whole:
            raise BuildError("lock-incomplete", what=name)
    interpreter = [
        member for name in packages for member in files.whole[name] if _used(member.entry.path, python)
    ]
    loaded = [
        file(f"{MODULES[1:]}/{number:02}-{name}", content) for number, (name, content) in enumerate(modules)
    ]
    own = [
        file("init", _INIT, program=True),
        file("etc/passwd", USERS),
        file("etc/group", GROUPS),
        *(folder(name) for name in ("dev", "proc", "run", "sys", "tmp")),
        *(link(name, f"usr/{name}") for name in ("bin", "lib", "lib64", "sbin")),
        *(folder(f"usr/{name}") for name in ("bin", "lib", "lib64", "sbin")),
        link("usr/bin/python3", f"python{python}"),
        *agent.members(below=AGENT_PLACE),
        *(one for one in wheels if _run_by_agent(one.entry.path)),
        *loaded,
    ]
    return _with_libraries([*own, *interpreter], files, ())


def application(
    files: Files,
    *,
    python: str,
    tree: Iterable[Member],
    wheels: Iterable[Member],
    below: Iterable[Member],
) -> tuple[Member, ...]:
    """List the application's files: those of the layer that lies over the platform's.

    Args:
        files: Of the packages.
        python: Python's version.
        tree: The application's own files, where they lie in the image.
        wheels: What it imports, where it lies in the image.
        below: The platform's files.

    Raises:
        BuildError: ``elf-…``; ``image-twice``: two inputs have different files of one name;
            ``image-parent``: one's file is another's folder; ``image-path``; ``image-ours``: an input
            brings what the agent alone answers for.
    """
    present = {member.entry.path: member for member in below}
    whole = [
        member
        for name, members in files.whole.items()
        if name not in python_packages(python)
        for member in members
        if not member.entry.path.startswith(_UNREAD)
    ]
    whole += _as_scripts_would(whole)
    wanted = [*tree, *wheels, *whole]
    found = tuple(_new(_with_libraries(wanted, files, present.values()), present))
    for member in found:
        if member.entry.path.startswith(_OURS):
            raise BuildError("image-ours", file=member.entry.path)
    arranged((*present.values(), *found))  # a folder of one may be a file or a link of the other
    return found


def _as_scripts_would(members: Iterable[Member]) -> list[Member]:
    """Make what packages make when they are installed, which they are not here."""
    found: list[Member] = []
    known = {member.entry.path: member for member in members}
    certificates = [known[path] for path in sorted(known) if path.startswith(_CERTIFICATES)]
    if certificates:  # update-ca-certificates
        found.append(file(_BUNDLE, b"".join(bytes_of(one) for one in certificates)))
        found.append(link("usr/lib/ssl/cert.pem", f"/{_BUNDLE}"))
    if _BUSYBOX in known:
        found += [link(f"usr/bin/{name}", "busybox") for name in _COMMANDS]
    return found


def contributors(members: Iterable[Member], files: Files) -> frozenset[str]:
    """Return the packages that at least one file of an image is of."""
    kept = {member.entry.path for member in members}
    return frozenset(
        {name for name, own in files.whole.items() if any(one.entry.path in kept for one in own)}
        | {package for path, (package, _) in files.others.items() if path in kept}
    )


def _with_libraries(own: list[Member], files: Files, below: Iterable[Member]) -> tuple[Member, ...]:
    """Add the libraries that files need, and drop links that lead nowhere."""
    available = {path: member for path, (_, member) in files.others.items()}
    for members in files.whole.values():
        available.update({member.entry.path: member for member in members})
    present = {member.entry.path: member for member in (*below, *own)}
    libraries = [available[path] for path in needed(own, {**available, **present}) if path not in present]
    whole = [*own, *libraries]
    placed = {member.entry.path: member for member in (*below, *whole)}
    paths = set(placed)
    for path in placed:
        while (path := posixpath.dirname(path)) and path not in paths:
            paths.add(path)
    return tuple(
        [one for one in whole if one.entry.kind != "link" or destination(one.entry.path, placed) in paths]
    )


def _new(members: Iterable[Member], present: Mapping[str, Member]) -> Iterator[Member]:
    """Leave out what the layer below has, if it is the same."""
    seen: dict[str, Member] = dict(present)
    for member in members:
        known = seen.get(member.entry.path)
        if known is None:
            seen[member.entry.path] = member
            yield member
        elif known.entry != member.entry:
            raise BuildError("image-twice", file=member.entry.path)


def _used(path: str, python: str) -> bool:
    if path.startswith(f"usr/lib/python{python}/"):
        return not unused(path)
    return path == f"usr/bin/python{python}"


def _run_by_agent(path: str) -> bool:
    """Tell what of the agent's wheels is ever run: of cffi only the part that is compiled."""
    name = path.removeprefix(f"{AGENT_PLACE}/")
    return not name.startswith(("cffi", "pycparser")) and ".libs/" not in name
