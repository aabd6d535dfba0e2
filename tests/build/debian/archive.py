# SPDX-License-Identifier: Apache-2.0
"""A small archive of Debian's kind, signed by a key of its own: what an image needs, and nothing real."""

import hashlib
import io
import lzma
import subprocess
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

PYTHON = "3.11"
KERNEL = "6.1.0-1-cloud-amd64"
_OPTIONS = (
    *("BLK_DEV_INITRD", "BINFMT_SCRIPT", "DEVTMPFS", "PROC_FS", "SYSFS", "TMPFS", "UNIX", "VSOCKETS"),
    *("VIRTIO_VSOCKETS", "VIRTIO_PCI", "SERIAL_8250_CONSOLE"),
)
CONFIG = "".join(f"CONFIG_{name}=y\n" for name in _OPTIONS)
#: What the files of the real packages are, in the places where they lie.
CONTENTS: Mapping[str, Mapping[str, bytes]] = {
    "python3-minimal": {"usr/share/doc/python3-minimal/copyright": b"free"},
    "python3.11-minimal": {"usr/bin/python3.11": b"not a program\n"},
    "libpython3.11-minimal": {"usr/lib/python3.11/os.py": b"name = 'posix'\n"},
    "libpython3.11-stdlib": {"usr/lib/python3.11/json/__init__.py": b"# reads\n"},
    "libc6": {"lib/x86_64-linux-gnu/libc.so.6": b"not a library\n"},
    "busybox-static": {"bin/busybox": b"#!busybox\n"},
    "tool": {"usr/bin/tool": b"#!/usr/bin/python3\n", "usr/share/man/tool.1": b"how\n"},
    "linux-image-cloud-amd64": {},
    f"linux-image-{KERNEL}": {
        f"boot/vmlinuz-{KERNEL}": b"MZ kernel",
        f"boot/config-{KERNEL}": CONFIG.encode(),
        f"lib/modules/{KERNEL}/modules.builtin": b"",
    },
}
_DEPENDS = {
    "python3-minimal": "python3.11-minimal (>= 3.11.2-1~)",
    "python3.11-minimal": "libpython3.11-minimal (= 1.0-1), libc6 (>= 2.36)",
    "libpython3.11-stdlib": "libpython3.11-minimal, nothing-real | libc6",
    "linux-image-cloud-amd64": f"linux-image-{KERNEL} (= 1.0-1)",
    "tool": "libc6, libc6:any (>= 2.14)",
}
_VERSIONS = {"libc6": "2.36-9+deb12u1", "python3.11-minimal": "3.11.2-6"}


def entry(
    name: str, content: bytes = b"", *, mode: int = 0o644, **fields: object
) -> tuple[tarfile.TarInfo, bytes]:
    """Return one entry of a package; ``fields`` are attributes of ``TarInfo``."""
    found = tarfile.TarInfo(name)
    found.size, found.mode = len(content), mode
    for field, value in fields.items():
        setattr(found, field, value)
    return found, content


def data(entries: Iterable[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    """Return a tar archive."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for one, content in entries:
            archive.addfile(one, io.BytesIO(content))
    return stream.getvalue()


def ar(*members: tuple[str, bytes]) -> bytes:
    """Return an archive of ar's."""
    head = b"%-16s%-12d%-6d%-6d%-8o%-10d`\n"
    return b"!<arch>\n" + b"".join(
        head % (name.encode(), 0, 0, 0, 0o100644, len(content)) + content + b"\n" * (len(content) % 2)
        for name, content in members
    )


def deb(entries: Iterable[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    """Return a package."""
    packed = lzma.compress(data(entries), preset=0)
    return ar(("debian-binary", b"2.0\n"), ("control.tar.xz", b""), ("data.tar.xz", packed))


class Key(NamedTuple):
    """Who signs.

    Attributes:
        home: GnuPG's folder, with the private key.
        keyring: The public key, in a file.
    """

    home: Path
    keyring: Path

    @classmethod
    def make(cls, place: Path) -> "Key":
        """Make a key; GnuPG's folder has to have a short path, for the socket of its agent."""
        place.mkdir(mode=0o700)
        key = cls(place, place / "keyring.gpg")
        key.run("--passphrase", "", "--quick-gen-key", "Tester <tester@example.org>", "ed25519", "sign", "0")
        key.run("--output", str(key.keyring), "--export")
        return key

    def run(self, *words: str, stdin: bytes = b"") -> bytes:
        """Run GnuPG."""
        line = ["gpg", "--homedir", str(self.home), "--batch", "--quiet", "--no-tty", *words]
        return subprocess.run(line, input=stdin, check=True, capture_output=True).stdout

    def end(self) -> None:
        """Let GnuPG's agent end."""
        line = ["gpgconf", "--homedir", str(self.home), "--kill", "all"]
        subprocess.run(line, check=False, capture_output=True)


class Archive:
    """A mirror in a folder."""

    def __init__(self, folder: Path, key: Key) -> None:
        """Choose the place; nothing is there before ``publish``."""
        self.folder = folder
        self.key = key
        self.packages = {
            name: deb([entry(f"./{path}", content, mode=0o755) for path, content in files.items()])
            for name, files in CONTENTS.items()
        }
        self.depends = dict(_DEPENDS)
        self.versions = dict(_VERSIONS)

    @property
    def url(self) -> str:
        """Where it is served."""
        return self.folder.as_uri()

    def path(self, name: str) -> Path:
        """Return where a package is."""
        return self.folder / "pool" / f"{name}_1_amd64.deb"

    def publish(self, *suites: str, codename: str = "", at: str = "Wed, 25 Nov 2026 00:00:00 UTC") -> None:
        """Write packages, lists and signed indices."""
        for suite in suites or ("bookworm", "bookworm-updates"):
            folder = self.folder / "dists" / suite
            (folder / "main/binary-amd64").mkdir(parents=True, exist_ok=True)
            text = "\n".join(map(self._paragraph, self.packages)) if not suite.endswith("-updates") else ""
            packed = lzma.compress(text.encode(), preset=0)
            (folder / "main/binary-amd64/Packages.xz").write_bytes(packed)
            listed = f" {hashlib.sha256(packed).hexdigest()} {len(packed)} main/binary-amd64/Packages.xz\n"
            index = f"Origin: Tester\nCodename: {codename or suite}\nDate: {at}\nSHA256:\n{listed}"
            (folder / "InRelease").write_bytes(self.key.run("--clearsign", stdin=index.encode()))
        for name, content in self.packages.items():
            self.path(name).parent.mkdir(exist_ok=True)
            self.path(name).write_bytes(content)

    def _paragraph(self, name: str) -> str:
        content = self.packages[name]
        return (
            f"Package: {name}\nVersion: {self.versions.get(name, '1.0-1')}\nArchitecture: amd64\n"
            f"Depends: {self.depends.get(name, '')}\nDescription: {name}\n and more words\n"
            f"Filename: pool/{name}_1_amd64.deb\nSize: {len(content)}\n"
            f"SHA256: {hashlib.sha256(content).hexdigest()}\n"
        )
