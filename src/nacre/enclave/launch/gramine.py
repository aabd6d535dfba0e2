# SPDX-License-Identifier: Apache-2.0
"""An SGX enclave with Gramine: its manifest, and the commands that sign and run it.

The manifest is part of MRENCLAVE. Every file that the inside reads stands in it with its SHA-256; no other
file can be opened, the host hands in no arguments and no environment, and debugging is off. It is written as
what it is and never goes through Gramine's templates, so braces in a name mean nothing.

Not proven here:
    A processor with SGX: the manifest is held against the options of Gramine's own checker. To prove it:
    ``sign`` and ``start`` where Gramine is installed.

Source: gramineproject/gramine, ``python/graminelibos/manifest_check.py``, ``python/gramine-sgx-sign``.
"""

import json
import posixpath
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from nacre.build.app import App
from nacre.build.tree import Entry, Tree
from nacre.enclave.launch.arguments import number, word
from nacre.enclave.launch.present import absent, run, spawn
from nacre.errors import EnclaveError

__all__ = ["Library", "command", "manifest", "missing", "sign", "start"]

_RUN, _SIGN = "gramine-sgx", "gramine-sgx-sign"
_PROGRAMS = {_RUN: "of Gramine", _SIGN: "of Gramine"}
_DEVICES = {
    Path("/dev/sgx_enclave"): "of a processor with SGX and its driver",
    Path("/var/run/aesmd/aesm.socket"): "of Intel's service aesmd, which has quotes made",
}
_LEAST_MEMORY, _MOST_MEMORY, _MOST_CPUS = 256, 1 << 22, 255
#: Threads beside one for each processor: Gramine's own, the agent's, and those of the app's start.
_MORE_THREADS = 12
_LIBRARIES = "/lib:/lib/x86_64-linux-gnu:/usr/lib/x86_64-linux-gnu"
_WRITABLE = ("/run/nacre", "/tmp")  # noqa: S108 -- the inside's own memory
_MOST_LINKS = 40


class Library(msgspec.Struct, frozen=True, kw_only=True):
    """Gramine's library of system calls, the first thing that runs.

    Attributes:
        path: Of its file on the host, ``libsysdb.so``.
        digest: SHA-256.
    """

    path: Path
    digest: bytes


def manifest(
    app: App, *, library: Library, trees: Mapping[str, Tree], agent: Sequence[str], revision: int = 0
) -> bytes:
    """Return the manifest.

    Args:
        app: Whose resources the enclave gets.
        library: What runs first.
        trees: What the inside sees: absolute paths there, and the files of each.
        agent: The agent's command; the first word is a program's path inside.
        revision: ISVSVN, 0 to 65535; who raises it never goes back.

    Raises:
        EnclaveError: ``launch-word``, ``launch-number``, ``launch-size``.
    """
    program = _inside(agent[0] if agent else "")
    mounts = [_mount(inside, tree) for inside, tree in trees.items()]
    mounts += [
        f"{{ type = {_text('tmpfs')}, path = {_text(path)}, uri = {_text('file:tmp')} }}"
        for path in _WRITABLE
    ]
    first = _file(library.path, library.digest)
    files = [first, *(file for tree in trees.values() for file in _files(tree))]
    number(app.resources.cpus, what="number of processors", least=1, most=_MOST_CPUS)
    number(revision, what="revision", least=0, most=0xFFFF)
    lines = [
        f"loader.entrypoint = {first}",
        f"loader.argv = {_list([_text(word(one, what='an argument', option=True)) for one in agent])}",
        f"loader.env = {{ LD_LIBRARY_PATH = {_text(_LIBRARIES)} }}",
        f"loader.log_level = {_text('error')}",
        f"libos.entrypoint = {_text(program)}",
        f"fs.mounts = {_list(mounts)}",
        "sgx.debug = false",
        f"sgx.remote_attestation = {_text('dcap')}",
        f"sgx.enclave_size = {_text(_size(app))}",
        f"sgx.max_threads = {app.resources.cpus + _MORE_THREADS}",
        f"sgx.isvsvn = {revision}",
        f"sgx.file_check_policy = {_text('strict')}",
        f"sgx.trusted_files = {_list(files)}",
        "sys.enable_sigterm_injection = true",
    ]
    return ("\n".join(lines) + "\n").encode()


def sign(app: App, *, directory: Path, key: Path) -> tuple[str, ...]:
    """Return the command line that measures and signs ``NAME.manifest`` in a folder.

    Args:
        app: Whose name the files have.
        directory: Where they are.
        key: The private key of MRSIGNER, PEM: RSA of 3072 bits with exponent 3.

    Raises:
        EnclaveError: ``launch-word``.
    """
    stem = _stem(app, directory)
    return (
        *(_SIGN, "--manifest", f"{stem}.manifest", "--output", f"{stem}.manifest.sgx"),
        *("--sigfile", f"{stem}.sig", "--key", word(key, what="the key's path"), "--quiet"),
    )


def command(app: App, *, directory: Path) -> tuple[str, ...]:
    """Return the command line that runs what was signed, in its folder: the manifest names files from there.

    Raises:
        EnclaveError: ``launch-word``.
    """
    return ("env", f"--chdir={_stem(app, directory).rpartition('/')[0]}", _RUN, app.name)


def missing(*, devices: Mapping[Path, str] = _DEVICES) -> tuple[str, ...]:
    """Say what is not on this machine, in words; nothing, if an enclave can be started."""
    return absent(programs=_PROGRAMS, devices=devices)


def start(
    app: App, *, directory: Path, content: bytes, key: Path, devices: Mapping[Path, str] = _DEVICES
) -> subprocess.Popen[bytes]:
    """Write the manifest, sign it and run the enclave, as long as the process that is returned.

    Args:
        app: The application.
        directory: Of this enclave alone.
        content: As ``manifest`` returned it.
        key: As for ``sign``.
        devices: What has to be there.

    Raises:
        EnclaveError: ``launch-word``, ``launch-missing``, ``launch-failed``.
    """
    signing, running = sign(app, directory=directory, key=key), command(app, directory=directory)
    lacking = missing(devices=devices)
    if not lacking:
        Path(f"{_stem(app, directory)}.manifest").write_bytes(content)
    run(signing, missing=lacking)
    return spawn(running, missing=lacking)


def _stem(app: App, directory: Path) -> str:
    if "/" in app.name:
        raise EnclaveError(
            "launch-word", what="the application's name", expected="it is a path", actual=app.name
        )
    return word(directory / word(app.name, what="the application's name"), what="the folder's path")


def _inside(path: str) -> str:
    text = word(path, what="a path inside")
    if not posixpath.isabs(text) or posixpath.normpath(text) != text:
        raise EnclaveError(
            "launch-word", what="a path inside", expected="it does not begin at /", actual=text
        )
    return text


def _size(app: App) -> str:
    """Return a power of two, as SGX has it."""
    wanted = max(app.resources.memory, _LEAST_MEMORY)
    number(wanted, what="memory", least=_LEAST_MEMORY, most=_MOST_MEMORY)
    return f"{1 << (wanted - 1).bit_length()}M"


def _mount(inside: str, tree: Tree) -> str:
    outside = _text(f"file:{word(tree.folder, what='a folder')}")
    return f"{{ type = {_text('chroot')}, path = {_text(_inside(inside))}, uri = {outside} }}"


def _files(tree: Tree) -> Iterator[str]:
    known = {entry.path: entry for entry in tree.entries}
    for entry in tree.entries:
        found = _followed(entry, known)
        if found is not None and found.kind in {"file", "program"}:
            # Under the link's own name: that is what is opened.
            yield _file(tree.folder / entry.path, found.digest)


def _followed(entry: Entry, known: Mapping[str, Entry]) -> Entry | None:
    found: Entry | None = entry
    for _ in range(_MOST_LINKS):
        if found is None or found.kind != "link":
            return found
        found = known.get(posixpath.normpath(posixpath.join(posixpath.dirname(found.path), found.target)))
    return None


def _file(path: Path, digest: bytes) -> str:
    if len(digest) != 32:  # noqa: PLR2004 (SHA-256)
        raise EnclaveError("launch-size", what=f"SHA-256 of {path}", expected=32, actual=len(digest))
    uri = _text(f"file:{word(path, what='a trusted file')}")
    return f"{{ uri = {uri}, sha256 = {_text(digest.hex())} }}"


def _text(value: str) -> str:
    """Write a string of TOML: what can be printed needs no escapes but JSON's."""
    return json.dumps(value, ensure_ascii=False)


def _list(items: Sequence[str]) -> str:
    return "[\n" + "".join(f"  {item},\n" for item in items) + "]"
