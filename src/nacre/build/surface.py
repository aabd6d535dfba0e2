# SPDX-License-Identifier: Apache-2.0
"""What of an image can be attacked: counted from its files, its kernel's configuration and what it declares.

It is a list of what is there, and no judgement: a smaller one is better than a larger one, and a new line in
it wants a reason. What a program does with what is there nobody can read off its file.
"""

import posixpath
import re
import stat
from collections.abc import Iterable, Iterator
from typing import Annotated, Final, Literal

import msgspec

from nacre.build.app import App
from nacre.build.components import Component
from nacre.build.cpio import Member
from nacre.build.hardening import unprotected, widening
from nacre.build.kernels import Ready, options
from nacre.errors import BuildError, MalformedEvidence
from nacre.trust import json

__all__ = ["Change", "Item", "Surface", "changes", "items", "surface"]

_FORMAT: Final = "nacre-surface/v1"
_MAX_SIZE = 1 << 24
_WHAT = "attack surface report"
_ELF, _SCRIPT = b"\x7fELF", b"#!"
_HEAD = 4
_MODES = {"folder": 0o040755, "file": 0o100644, "program": 0o100755, "link": 0o120777}
_LIBRARY = re.compile(r"\.so(\.[0-9.]+)?$")
_MODULE = re.compile(r"\.ko(\.(gz|xz|zst))?$")
_SHELL = re.compile(r"(ba|da|a|z|k|mk|c|tc|fi|r|rba|pw)?sh|busybox|toybox")
_INTERPRETER = re.compile(
    r"(python|perl|ruby|php|lua|luajit|tclsh|node|guile|gawk|java)[0-9.]*|nodejs|deno|bun|[mn]?awk|Rscript|julia|erl"
)
_TOOL = re.compile(
    # what brings further programs in
    r"apt|apt-get|dpkg|rpm|yum|dnf|apk|pacman|pip[0-9.]*|uv|npm|npx|yarn|pnpm|gem|cargo|go|conda|nix|snap|flatpak"
    # what talks to others
    r"|curl|wget|nc|ncat|netcat|socat|ssh|sshd|scp|sftp|rsync|telnet|ftp|tcpdump|nmap"
    # what builds or takes apart
    r"|cc|gcc[0-9.-]*|g\+\+[0-9.-]*|clang[0-9.-]*|ld|as|make|gdb|strace|ltrace|perf|bpftool|openssl|su|sudo|mount"
)
_Names = tuple[str, ...]
_Count = Annotated[int, msgspec.Meta(ge=0)]


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One file as far as it matters here.

    Attributes:
        path: In the image, without a slash before it.
        mode: Kind and permissions, as ``stat`` tells them.
        size: Bytes.
        head: The first four bytes of its content.
    """

    path: str
    mode: int
    size: int = 0
    head: bytes = b""


class Surface(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A report. Names are sorted.

    Attributes:
        format: ``nacre-surface/v1``.
        application: Name and version.
        files: How many files there are.
        size: Bytes of them.
        kernel_version: Of the kernel.
        kernel_size: Bytes of it.
        kernel_options: How many of its options are set.
        components: What all is made of: kind, name, version.
        programs: Files that the processor runs.
        scripts: Files that an interpreter runs, and that may be started.
        libraries: Code that programs load.
        modules: Code that the kernel loads.
        interpreters: Programs that run what they are given.
        shells: Those of them that are for people.
        tools: What is useful to whoever got in: package managers, clients, compilers, debuggers.
        special: Files that are more than files: setuid, setgid, writable by all, devices, pipes, sockets.
        listens: Where something waits for others.
        egress: Hosts that the application may reach, through the agent.
        grants: What the application is allowed beyond the usual.
        calls_refused: System calls that the application is refused; it may make all others.
        kernel_widens: Options of the kernel that give more to work with.
        kernel_lacks: Options that would take something away and are not set.
    """

    format: Literal["nacre-surface/v1"] = _FORMAT
    application: str
    files: _Count
    size: _Count
    kernel_version: str
    kernel_size: _Count
    kernel_options: _Count
    components: _Names
    programs: _Names
    scripts: _Names
    libraries: _Names
    modules: _Names
    interpreters: _Names
    shells: _Names
    tools: _Names
    special: _Names
    listens: _Names
    egress: _Names
    grants: _Names
    calls_refused: _Names
    kernel_widens: _Names
    kernel_lacks: _Names

    def encode(self) -> bytes:
        """Return what ``decode`` reads: JSON, indented, with a line's end."""
        members = {"format": self.format, **msgspec.to_builtins(self)}
        return msgspec.json.format(msgspec.json.encode(members), indent=1) + b"\n"

    @classmethod
    def decode(cls, data: bytes) -> "Surface":
        """Read a report.

        Raises:
            BuildError: ``surface-malformed``.
        """
        try:
            return json.decode(data, cls, what=_WHAT, limit=_MAX_SIZE)
        except MalformedEvidence as error:
            raise BuildError("surface-malformed", actual=str(error)) from None


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What is different in one respect.

    Attributes:
        name: Which, as the report has it.
        added: Names that are there now.
        removed: Names that no longer are.
        by: Of a number, how much it grew.
    """

    name: str
    added: _Names = ()
    removed: _Names = ()
    by: int = 0


def items(members: Iterable[Member]) -> Iterator[Item]:
    """Look at an image's entries; of a file's content only the beginning is read.

    Raises:
        BuildError: As reading a file raises.
    """
    for entry, content in members:
        head = b""
        if entry.kind in ("file", "program"):
            head = next(iter(content), b"")[:_HEAD]
        yield Item(path=entry.path, mode=_MODES[entry.kind], size=entry.size, head=head)


def surface(
    app: App,
    *,
    files: Iterable[Item],
    kernel: Ready,
    components: Iterable[Component] = (),
    calls_refused: Iterable[str] = (),
) -> Surface:
    """Make a report.

    Args:
        app: What the application declares.
        files: All files of the image.
        kernel: What boots, with its configuration.
        components: What it is made of.
        calls_refused: System calls that whoever starts the application refuses it.
    """
    found = _Sorted()
    for item in files:
        found.add(item)
    known = options(kernel.config)
    return Surface(
        application=f"{app.name} {app.version}",
        files=found.files,
        size=found.size,
        kernel_version=kernel.version,
        kernel_size=len(kernel.image),
        kernel_options=len(known),
        components=tuple(sorted({f"{one.kind} {one.name} {one.version}".rstrip() for one in components})),
        programs=found.of("programs"),
        scripts=found.of("scripts"),
        libraries=found.of("libraries"),
        modules=found.of("modules"),
        interpreters=found.of("interpreters"),
        shells=found.of("shells"),
        tools=found.of("tools"),
        special=found.of("special"),
        listens=_listens(app),
        egress=tuple(sorted(app.egress)),
        grants=("chooses all 64 bytes that evidence commits to",) if app.raw_report_data else (),
        calls_refused=tuple(sorted(calls_refused)),
        kernel_widens=widening(known),
        kernel_lacks=unprotected(known),
    )


def changes(before: Surface, after: Surface) -> tuple[Change, ...]:
    """Tell what one report has that another had not, and the other way round; nothing where both agree."""
    found = []
    for name in Surface.__struct_fields__:
        old, new = getattr(before, name), getattr(after, name)
        if isinstance(new, tuple):
            change = Change(
                name=name,
                added=tuple([one for one in new if one not in old]),
                removed=tuple([one for one in old if one not in new]),
            )
        elif isinstance(new, int):
            change = Change(name=name, by=new - old)
        else:
            change = Change(
                name=name, added=(new,) if new != old else (), removed=(old,) if new != old else ()
            )
        if change.added or change.removed or change.by:
            found.append(change)
    return tuple(found)


class _Sorted:
    """Files by what they are."""

    def __init__(self) -> None:
        self.files = self.size = 0
        self._names: dict[str, list[str]] = {}

    def of(self, kind: str) -> _Names:
        return tuple(sorted(self._names.get(kind, ())))

    def add(self, item: Item) -> None:
        path = f"/{item.path}"
        for word in _special(item.mode):
            self._put("special", f"{word} {path}")
        runs = stat.S_ISLNK(item.mode)
        if stat.S_ISREG(item.mode):
            self.files += 1
            self.size += item.size
            kind = _kind(item)
            if kind:
                self._put(kind, path)
            runs = kind in ("programs", "scripts")
        if runs:
            self._name(path)

    def _put(self, kind: str, name: str) -> None:
        self._names.setdefault(kind, []).append(name)

    def _name(self, path: str) -> None:
        # A link is as good as what it leads to: what counts is the name that somebody would call.
        name = posixpath.basename(path)
        for kind, pattern in (("shells", _SHELL), ("interpreters", _INTERPRETER), ("tools", _TOOL)):
            if pattern.fullmatch(name):
                self._put(kind, path)


def _kind(item: Item) -> str:
    if _MODULE.search(item.path):
        return "modules"
    executable = bool(item.mode & 0o111)
    if item.head == _ELF:
        return "programs" if executable and not _LIBRARY.search(item.path) else "libraries"
    return "scripts" if executable and item.head.startswith(_SCRIPT) else ""


def _special(mode: int) -> Iterator[str]:
    if stat.S_ISREG(mode) and mode & stat.S_ISUID:
        yield "setuid"
    if stat.S_ISREG(mode) and mode & stat.S_ISGID:
        yield "setgid"
    # Of a folder with the sticky bit everybody may add to it, as to /tmp.
    if mode & stat.S_IWOTH and not stat.S_ISLNK(mode) and not (stat.S_ISDIR(mode) and mode & stat.S_ISVTX):
        yield "writable by all"
    for test, word in (
        (stat.S_ISBLK, "device"),
        (stat.S_ISCHR, "device"),
        (stat.S_ISFIFO, "pipe"),
        (stat.S_ISSOCK, "socket"),
    ):
        if test(mode):
            yield word


def _listens(app: App) -> _Names:
    place = "the Unix socket NACRE_LISTEN" if app.port is None else f"127.0.0.1:{app.port}"
    return ("agent: the attested channel", f"application: {place}, behind the agent")
