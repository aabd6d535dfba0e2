# SPDX-License-Identifier: Apache-2.0
"""Attack surface reports: what is there is listed, what is new is named, what nobody can know is said."""

import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from nacre.build.app import App
from nacre.build.components import Component
from nacre.build.cpio import file, folder, link
from nacre.build.hardening import PROTECTS, WIDENS
from nacre.build.kernels import Ready
from nacre.build.surface import Change, Item, Surface, changes, items, surface
from nacre.build.surface_text import compared, lines
from nacre.errors import BuildError

_APP = App(name="worm", version="1.0", entry=("python3", "main.py"))
_CONFIG = """# Linux
CONFIG_MODULES=y
CONFIG_IO_URING=y
CONFIG_FUSE_FS=m
# CONFIG_DEVMEM is not set
CONFIG_NET=y
"""
_KERNEL = Ready(version="6.12.1", image=bytes(1 << 20), config=_CONFIG)
_ELF = b"\x7fELF\x02\x01\x01"
_MEMBERS = (
    folder("usr"),
    file("usr/bin/python3.11", _ELF, program=True),
    link("usr/bin/python3", "python3.11"),
    file("usr/lib/libc.so.6", _ELF, program=True),
    file("usr/lib/plugin.so", _ELF),
    file("usr/lib/object", _ELF),
    file("usr/lib/nacre/modules/00-vsock.ko", _ELF),
    file("init", b"#!/usr/bin/python3 -IB\n", program=True),
    file("app/data.sh", b"#!/bin/sh\n"),
    file("app/empty", b""),
    file("app/bin/tool", b"no header", program=True),
)


def _report(app: App = _APP, **more: object) -> Surface:
    return surface(app, files=items(_MEMBERS), kernel=_KERNEL, **more)  # type: ignore[arg-type]


def _of(*files: Item) -> Surface:
    return surface(_APP, files=files, kernel=_KERNEL)


def _file(path: str, mode: int = 0o755, kind: int = stat.S_IFREG, head: bytes = _ELF[:4]) -> Item:
    return Item(path=path, mode=kind | mode, head=head)


def test_files_by_what_they_are() -> None:
    found = _report()
    assert found.programs == ("/usr/bin/python3.11",)
    assert found.libraries == ("/usr/lib/libc.so.6", "/usr/lib/object", "/usr/lib/plugin.so")
    assert found.modules == ("/usr/lib/nacre/modules/00-vsock.ko",)
    assert found.scripts == ("/init",)
    assert found.interpreters == ("/usr/bin/python3", "/usr/bin/python3.11")
    assert (found.shells, found.tools, found.special) == ((), (), ())
    assert (found.files, found.size) == (
        9,
        sum(one.entry.size for one in _MEMBERS if one.entry.kind != "link"),
    )


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *((name, "shells") for name in ("sh", "bash", "dash", "busybox", "zsh", "pwsh")),
        *((name, "interpreters") for name in ("python3", "perl5.36", "node", "lua5.4", "gawk", "java")),
        *(
            (name, "tools")
            for name in ("apt-get", "pip3.11", "curl", "nc", "gcc-12", "g++", "gdb", "ssh", "su")
        ),
        *(
            (name, "")
            for name in ("ssh-agentless", "ld-linux-x86-64.so.2", "worm", "nodes", "bashful", "shh")
        ),
    ],
)
def test_names_that_help_an_attacker(name: str, kind: str) -> None:
    found = _of(_file(f"usr/bin/{name}"), _file(f"bin/{name}", 0o777, stat.S_IFLNK, b""))
    listed = {each for each in ("shells", "interpreters", "tools") if getattr(found, each)}
    assert listed == ({kind} if kind else set())
    if kind:
        assert getattr(found, kind) == (f"/bin/{name}", f"/usr/bin/{name}")
    # What nobody may start is a file like others.
    assert not getattr(_of(_file(f"usr/share/{name}", 0o644)), kind or "tools")


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (_file("bin/su", 0o4755), ("setuid /bin/su",)),
        (_file("bin/wall", 0o2755), ("setgid /bin/wall",)),
        (_file("bin/both", 0o6777), ("setgid /bin/both", "setuid /bin/both", "writable by all /bin/both")),
        (_file("tmp", 0o1777, stat.S_IFDIR, b""), ()),
        (_file("srv", 0o777, stat.S_IFDIR, b""), ("writable by all /srv",)),
        (_file("srv", 0o2755, stat.S_IFDIR, b""), ()),
        (_file("dev/mem", 0o600, stat.S_IFCHR, b""), ("device /dev/mem",)),
        (_file("dev/sda", 0o600, stat.S_IFBLK, b""), ("device /dev/sda",)),
        (_file("run/pipe", 0o600, stat.S_IFIFO, b""), ("pipe /run/pipe",)),
        (_file("run/socket", 0o600, stat.S_IFSOCK, b""), ("socket /run/socket",)),
        (_file("bin/link", 0o777, stat.S_IFLNK, b""), ()),
    ],
)
def test_files_that_are_more_than_files(item: Item, expected: tuple[str, ...]) -> None:
    assert _of(item).special == expected


def test_the_kernel() -> None:
    found = _report()
    assert (found.kernel_version, found.kernel_size, found.kernel_options) == ("6.12.1", 1 << 20, 4)
    assert found.kernel_widens == ("FUSE_FS", "IO_URING", "MODULES")
    assert found.kernel_lacks == tuple(sorted(PROTECTS))
    hardened = "".join(f"CONFIG_{name}=y\n" for name in PROTECTS)
    better = surface(_APP, files=(), kernel=replace(_KERNEL, config=hardened))
    assert (better.kernel_widens, better.kernel_lacks) == ((), ())


def test_what_the_application_declares() -> None:
    app = replace(_APP, port=8080, egress=("b.org:443", "a.org:443"), raw_report_data=True)
    component = Component(kind="wheel", name="h11", version="0.16", sha256="")
    found = _report(
        app, components=[component, component], calls_refused=["socket(AF_VSOCK)", "io_uring_setup"]
    )
    assert found.listens == ("agent: the attested channel", "application: 127.0.0.1:8080, behind the agent")
    assert found.egress == ("a.org:443", "b.org:443")
    assert found.grants == ("chooses all 64 bytes that evidence commits to",)
    assert found.components == ("wheel h11 0.16",)
    assert found.calls_refused == ("io_uring_setup", "socket(AF_VSOCK)")
    assert _report().listens[1] == "application: the Unix socket NACRE_LISTEN, behind the agent"
    assert _report().grants == ()


def test_a_report_is_read_as_it_was_written() -> None:
    found = _report()
    assert Surface.decode(found.encode()) == found
    assert b'"format": "nacre-surface/v1"' in found.encode()
    assert found.encode().endswith(b"}\n")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        _report().encode().replace(b"v1", b"v2"),
        _report().encode().replace(b'"files": 9', b'"files": -9'),
        _report().encode().replace(b'"files"', b'"filez"'),
        _report().encode().replace(b'"size"', b'"files"'),
    ],
)
def test_a_report_that_is_none(data: bytes) -> None:
    with pytest.raises(BuildError) as raised:
        Surface.decode(data)
    assert raised.value.code == "surface-malformed"


@given(st.binary(max_size=64))
def test_any_bytes_are_no_report(data: bytes) -> None:
    with pytest.raises(BuildError):
        Surface.decode(data)


def test_what_changed() -> None:
    before = _report()
    after = surface(
        replace(_APP, version="1.1", egress=("a.org:443",)),
        files=items([*_MEMBERS[1:], file("bin/sh", _ELF, program=True)]),
        kernel=replace(_KERNEL, config="CONFIG_MODULES=y\nCONFIG_KEXEC=y\n"),
    )
    assert changes(before, before) == ()
    assert changes(before, after) == (
        Change(name="application", added=("worm 1.1",), removed=("worm 1.0",)),
        Change(name="files", by=1),
        Change(name="size", by=7),
        Change(name="kernel_options", by=-2),
        Change(name="programs", added=("/bin/sh",)),
        Change(name="shells", added=("/bin/sh",)),
        Change(name="egress", added=("a.org:443",)),
        Change(name="kernel_widens", added=("KEXEC",), removed=("FUSE_FS", "IO_URING")),
    )
    assert list(compared(changes(before, after))) == [
        "+ application: worm 1.1",
        "- application: worm 1.0",
        "  +1 files",
        "  +7 bytes of files",
        "  -2 options of the kernel",
        "+ programs: /bin/sh",
        "+ shells: /bin/sh",
        "+ may reach: a.org:443",
        "+ kernel has: KEXEC (another kernel can be started: kexec_load(2))",
        "- kernel has: FUSE_FS (file systems can be made by programs)",
        "- kernel has: IO_URING (calls that filters do not see: io_uring_setup(2))",
    ]
    assert list(compared(())) == ["nothing changed"]


def test_a_report_in_words() -> None:
    text = "\n".join(lines(_report()))
    assert text.startswith("worm 1.0: what can be attacked\n")
    assert "libraries       3\n" in text
    assert "shells          none\n" in text
    assert "calls refused   none: it may make every call that the kernel has\n" in text
    assert "kernel has      FUSE_FS: file systems can be made by programs\n" in text
    assert "                MODULES: code can be loaded into the kernel\n" in text
    assert text.endswith("no file tells.")
    assert "libraries       /usr/lib/libc.so.6\n" in "\n".join(lines(_report(), whole=True))


def test_names_do_not_steer_the_terminal() -> None:
    found = _of(_file("bin/\x1b[2Jsh\n", 0o4755))
    for text in (*lines(found, whole=True), *compared(changes(_of(), found))):
        assert text.isprintable()


def test_a_report_of_a_newer_nacre_is_shown() -> None:
    newer = replace(_report(), kernel_widens=("TELEPATHY",))
    assert "kernel has      TELEPATHY: not known to this Nacre" in list(lines(newer))
    assert "TELEPATHY" not in WIDENS
