# SPDX-License-Identifier: Apache-2.0
"""An image for SGX: a folder that Gramine runs, its manifest, and the registers, without Gramine's own tools.

The manifest names every file by its place below the folder and its SHA-256, so the registers do not depend on
where the folder lies; what runs it has to be started in it. Links to files become files, links to folders are
mounted. Of Gramine itself three files are needed, and the release is of that Gramine alone.

Not proven here:
    A processor with SGX: manifests are held against the options of Gramine 1.9's checker, registers against
    its signer. To prove it: sign, then ``gramine-sgx NAME`` in the folder.

Source: gramineproject/gramine 1.9, ``Documentation/manifest-syntax.rst`` and
``python/graminelibos/sgx_sign.py``.
"""

import hashlib
import json
import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from nacre.build.app import App
from nacre.build.cpio import Member, arranged, file, folder
from nacre.build.layout import CONFIGURATION, MODULES
from nacre.build.outputs import GRAMINE
from nacre.build.tree import Entry
from nacre.errors import BuildError
from nacre.platforms.measuring import Measurement
from nacre.platforms.sgx.gramine import measure
from nacre.platforms.sgx.sigstruct import Terms, make

__all__ = ["AGENT", "SIGNATURE", "Enclave", "Gramine", "build", "is_signature", "place", "signature"]

#: What runs inside.
AGENT: Final = ("/usr/bin/python3", "-IB", "-m", "nacre.enclave.agent", CONFIGURATION)

#: How the name of a signature ends.
SIGNATURE: Final = ".sig"

_ROOT: Final = "rootfs"
_LIBOS: Final = "libsysdb.so"
_LIBRARIES: Final = "/usr/lib/x86_64-linux-gnu:/usr/lib"
_WRITABLE: Final = ("/run/nacre", "/tmp")  # noqa: S108 -- the inside's own memory
_LEAST_MEMORY, _MOST_MEMORY, _MOST_CPUS = 256, 1 << 20, 255
#: Threads beside one for each processor: Gramine's own, the agent's, and those of the app's start.
_MORE_THREADS: Final = 12
_MOST_LINKS: Final = 40
#: As Gramine chooses where nobody else does.
_FEATURES: Final = {
    **dict.fromkeys(("avx", "avx512", "amx"), "unspecified"),
    **dict.fromkeys(("mpx", "pkru"), "disabled"),
}
#: ATTRIBUTES of every Gramine: 64 bits, the state of x87 and SSE; the mask leaves AVX and AMX open.
_ATTRIBUTES: Final = bytes.fromhex("04000000000000000300000000000000")
_MASK: Final = bytes.fromhex("ffffffffffffffff1bfff9ffffffffff")


class Gramine(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of one Gramine that are measured.

    Attributes:
        libos: ``libsysdb.so``, its library of system calls.
        library: ``sgx/libpal.so``, what the processor enters.
        constants: ``_graminelibos_offsets.py``, where fields are.
    """

    libos: bytes
    library: bytes
    constants: bytes

    @classmethod
    def load(cls, prefix: Path) -> "Gramine":
        """Find them where one is installed: below ``/usr``, or wherever it was unpacked.

        Raises:
            BuildError: ``gramine-missing``: names the file.
        """
        return cls(
            libos=_found(prefix, f"gramine/{_LIBOS}"),
            library=_found(prefix, "gramine/sgx/libpal.so"),
            constants=_found(prefix, "_graminelibos_offsets.py"),
        )

    @property
    def digest(self) -> bytes:
        """SHA-256 over the digests of the three files: what a release needs to be built again."""
        parts = (self.libos, self.library, self.constants)
        return hashlib.sha256(b"".join([hashlib.sha256(part).digest() for part in parts])).digest()


class Enclave(NamedTuple):
    """What Gramine signs and runs.

    Attributes:
        members: The folder's content.
        manifest: ``NAME.manifest.sgx``, which is among it.
        measurement: The registers.
    """

    members: tuple[Member, ...]
    manifest: bytes
    measurement: Measurement


def build(
    app: App,
    members: Iterable[Member],
    *,
    gramine: Gramine,
    agent: Sequence[str] = AGENT,
    product: int = 0,
    revision: int = 0,
) -> Enclave:
    """Make an image.

    Args:
        app: Whose resources the enclave gets.
        members: The files inside.
        gramine: What runs it.
        agent: The command inside; the first word is a program's path.
        product: ISVPRODID.
        revision: ISVSVN; who raises it never goes back.

    Raises:
        BuildError: ``gramine-value``, ``gramine-link``; as ``cpio.arranged``.
        MalformedEvidence: ``gramine-input``.
    """
    known = {member.entry.path: member for member in arranged(members)}
    inside = [member for path, member in known.items() if not path.startswith(f"{MODULES[1:]}/")]
    files, mounts = _sorted_out(inside, known)
    libos = file(_LIBOS, gramine.libos)
    placed = [_below(member) for member in files]
    trusted = [_trusted(member) for member in (libos, *placed) if member.entry.kind != "folder"]
    lines = [
        *_head(app, libos, agent, mounts),
        f"sgx.isvprodid = {_number(product, 0, 0xFFFF)}",
        f"sgx.isvsvn = {_number(revision, 0, 0xFFFF)}",
        f"sgx.trusted_files = {_list(trusted)}",
    ]
    manifest = ("\n".join(lines) + "\n").encode()
    measured = measure(manifest, library=gramine.library, constants=gramine.constants)
    whole = (file(f"{app.name}.manifest.sgx", manifest), libos, *placed)
    return Enclave(tuple(arranged(whole)), manifest, measured)


def is_signature(name: str) -> bool:
    """Tell whether a file of a build's output is an author's signature, which nobody else can make again."""
    return posixpath.dirname(name) == GRAMINE and name.endswith(SIGNATURE)


def place(enclave: Enclave, target: Path) -> None:
    """Write the files into a folder that is there and empty.

    Raises:
        BuildError: What reading a file's content raises.
        OSError: The folder cannot be written.
    """
    for member in enclave.members:
        path = target / member.entry.path
        if member.entry.kind == "folder":
            path.mkdir()
            continue
        with path.open("xb") as stream:
            for piece in member.content:
                stream.write(piece)
        path.chmod(0o755 if member.entry.kind == "program" else 0o644)


def signature(
    manifest: bytes, *, gramine: Gramine, modulus: int, sign: Callable[[bytes], bytes], date: str
) -> bytes:
    """Return an author's signature, ``NAME.sig`` beside the manifest. Nothing is run but ``sign``.

    Args:
        manifest: Of the enclave.
        gramine: What runs it.
        modulus: As for ``sigstruct.make``, as ``sign`` is.
        sign: Signs, wherever the key is.
        date: Year, month and day: ``20261125``.

    Raises:
        MalformedEvidence: ``gramine-input``.
        ConfigurationError: ``sigstruct-signer``, ``sigstruct-term``.
    """
    measured = measure(manifest, library=gramine.library, constants=gramine.constants)
    registers = measured.registers
    stated = Terms(
        mrenclave=registers["mrenclave"],
        attributes=_ATTRIBUTES,
        attribute_mask=_MASK,
        isvprodid=int.from_bytes(registers["isvprodid"], "little"),
        isvsvn=int.from_bytes(registers["isvsvn"], "little"),
        date=date,
    )
    return make(stated, modulus=modulus, sign=sign)


def _found(prefix: Path, name: str) -> bytes:
    """Read the one file of this name, wherever the system puts libraries."""
    places = [path for path in sorted(prefix.glob(f"lib*/**/{name}")) if path.is_file()]
    contents = {path.read_bytes() for path in places}
    if len(contents) != 1:
        raise BuildError("gramine-missing", file=name, what=str(prefix), actual=len(contents))
    return contents.pop()


def _head(app: App, libos: Member, agent: Sequence[str], mounts: Mapping[str, str]) -> Iterator[str]:
    """Everything but numbers and files; what Gramine's signer would add is stated."""
    memory = max(_number(app.resources.memory, 1, _MOST_MEMORY), _LEAST_MEMORY)
    threads = _number(app.resources.cpus, 1, _MOST_CPUS) + _MORE_THREADS
    mounted = [_table(type="chroot", path=path, uri=f"file:{uri}") for path, uri in sorted(mounts.items())]
    mounted += [_table(type="tmpfs", path=path, uri="file:tmp") for path in _WRITABLE]
    yield f"loader.entrypoint = {_trusted(libos)}"
    yield f"loader.argv = {_list(_text(word) for word in agent)}"
    yield f"loader.env = {_table(LD_LIBRARY_PATH=_LIBRARIES)}"
    yield f"loader.log_level = {_text('error')}"
    yield f"libos.entrypoint = {_text(agent[0])}"
    yield f"fs.root = {_table(type='chroot', uri=f'file:{_ROOT}')}"
    yield f"fs.mounts = {_list(mounted)}"
    yield "sys.enable_sigterm_injection = true"
    yield from ("sgx.debug = false", "sgx.edmm_enable = false", "sgx.enable_stats = false")
    yield "sgx.use_exinfo = false"
    yield f"sgx.remote_attestation = {_text('dcap')}"
    yield f"sgx.file_check_policy = {_text('strict')}"
    yield f"sgx.enclave_size = {_text(f'{1 << (memory - 1).bit_length()}M')}"
    yield f"sgx.max_threads = {threads}"
    for name, choice in _FEATURES.items():
        yield f"sgx.cpu_features.{name} = {_text(choice)}"


def _sorted_out(
    members: Iterable[Member], known: Mapping[str, Member]
) -> tuple[list[Member], dict[str, str]]:
    """Turn links into files, or into what is mounted."""
    files: list[Member] = []
    mounts: dict[str, str] = {}
    for member in members:
        entry = member.entry
        if entry.kind != "link":
            files.append(member)
            continue
        found = known[_followed(entry.path, known)]
        if found.entry.kind == "folder":
            mounts[f"/{entry.path}"] = f"{_ROOT}/{found.entry.path}"
        else:
            files.append(Member(_renamed(found.entry, entry.path), found.content))
    return files, mounts


def _followed(path: str, known: Mapping[str, Member]) -> str:
    """Return what a path leads to in the image, whose root is ``/``."""
    waiting, here = path.split("/")[::-1], ""
    for _ in range(_MOST_LINKS * len(known)):
        if not waiting:
            break
        part = waiting.pop()
        if part in {"", ".", ".."}:
            here = posixpath.dirname(here) if part == ".." else here
            continue
        step = posixpath.join(here, part)
        if step not in known:
            here = ""
            break
        entry = known[step].entry
        if entry.kind == "link":
            here = "" if entry.target.startswith("/") else here
            waiting += entry.target.split("/")[::-1]
        else:
            here = step
    if waiting or not here:
        raise BuildError("gramine-link", file=path)
    return here


def _below(member: Member) -> Member:
    path = f"{_ROOT}/{member.entry.path}"
    if member.entry.kind == "folder":
        return folder(path)
    return Member(_renamed(member.entry, path), member.content)


def _renamed(entry: Entry, path: str) -> Entry:
    return msgspec.structs.replace(entry, path=path)


def _trusted(member: Member) -> str:
    return _table(uri=f"file:{member.entry.path}", sha256=member.entry.digest.hex())


def _number(value: int, least: int, most: int) -> int:
    if not least <= value <= most:
        raise BuildError("gramine-value", actual=value, expected=f"{least} to {most}")
    return value


def _text(value: str) -> str:
    """Write a string of TOML: what can be printed needs no escapes but JSON's."""
    if not value.isprintable():
        raise BuildError("gramine-value", actual=ascii(value[:80]), expected="what can be printed")
    return json.dumps(value, ensure_ascii=False)


def _table(**values: str) -> str:
    return f"{{ {', '.join(f'{key} = {_text(value)}' for key, value in values.items())} }}"


def _list(items: Iterable[str]) -> str:
    return "[\n" + "".join(f"  {item},\n" for item in items) + "]"
