# SPDX-License-Identifier: Apache-2.0
"""MRENCLAVE of an application with Gramine, from what is loaded: its manifest and Gramine's own library.

From the top of the enclave down: the manifest with a zero at its end, the threads' saved state, control pages
and local storage, their stacks, the library; below is the heap, whose pages are added and not measured. Where
the fields are in a thread's local storage depends on Gramine's version: Gramine installs a file that says so.

Not proven here:
    An enclave of a real Gramine: layout and sizes are those of the source of Gramine 1.9, and its own signer
    gave the same value for made-up libraries. To prove it: compare with ``gramine-sgx-sigstruct-view``.

Source: gramineproject/gramine, ``python/graminelibos/sgx_sign.py``, ``pal/src/host/linux-sgx/pal_tcb.h``.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from struct import pack_into
from typing import Annotated, Final, NamedTuple

import msgspec

from nacre.errors import MalformedEvidence
from nacre.platforms.measuring import Measurement, Part
from nacre.platforms.sgx import elf
from nacre.platforms.sgx.enclave_hash import (
    CHUNK,
    EXECUTE,
    PAGE,
    READ,
    REGULAR,
    TCS,
    WRITE,
    EnclaveHash,
    page_kind,
)

__all__ = ["measure"]

_MANIFEST, _LIBRARY, _CONSTANTS, _PARAMETERS = "manifest", "library", "constants", "parameters"
_CONSTANT: Final = re.compile(r"([A-Z][A-Z0-9_]*) = (0x[0-9a-f]{1,16})")
_SIZE: Final = re.compile(r"([1-9][0-9]{0,15})([KMG]?)")
_UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
#: The largest enclave that is measured.
_MOST: Final = 1 << 40
_LIMIT: Final = 0xFFF
_DATA: Final = READ | WRITE | REGULAR
#: What a thread's pages hold, by the names of Gramine's constants.
_NAMES: Final = (
    *("PAGESIZE", "DEFAULT_ENCLAVE_BASE", "MMAP_MIN_ADDR", "STACK_PROTECTOR_CANARY_DEFAULT"),
    *("SSA_FRAME_NUM", "SSA_FRAME_SIZE", "SGX_GPR_SIZE", "ENCLAVE_STACK_SIZE", "ENCLAVE_SIG_STACK_SIZE"),
    *("TCS_SIZE", "TCS_OSSA", "TCS_NSSA", "TCS_OENTRY", "TCS_OGS_BASE", "TCS_OFS_LIMIT", "TCS_OGS_LIMIT"),
    *("SGX_COMMON_SELF", "SGX_COMMON_STACK_PROTECTOR_CANARY", "SGX_ENCLAVE_SIZE", "SGX_TCS_OFFSET"),
    *("SGX_INITIAL_STACK_ADDR", "SGX_SIG_STACK_LOW", "SGX_SIG_STACK_HIGH", "SGX_SSA", "SGX_GPR"),
    *("SGX_MANIFEST_SIZE", "SGX_HEAP_MIN", "SGX_HEAP_MAX"),
)


#: Those with one possible value, and those that count bytes of whole pages.
_EXACT: Final = {"PAGESIZE": PAGE, "TCS_SIZE": PAGE, "DEFAULT_ENCLAVE_BASE": 0, "SSA_FRAME_NUM": 2}
_PAGES: Final = frozenset({"MMAP_MIN_ADDR", "SSA_FRAME_SIZE", "ENCLAVE_STACK_SIZE", "ENCLAVE_SIG_STACK_SIZE"})
_MOST_PAGES: Final = 1 << 24


class _Sgx(msgspec.Struct, frozen=True):
    """What the manifest has to say; everything else is measured as text."""

    enclave_size: str
    max_threads: Annotated[int, msgspec.Meta(ge=1, le=4096)]
    isvprodid: Annotated[int, msgspec.Meta(ge=0, le=0xFFFF)]
    isvsvn: Annotated[int, msgspec.Meta(ge=0, le=0xFFFF)]
    edmm_enable: bool = False


class _Manifest(msgspec.Struct, frozen=True):
    sgx: _Sgx


class _Area(NamedTuple):
    """Pages of one kind, all of which are measured."""

    name: str
    address: int
    flags: int
    pages: bytes
    source: str = _PARAMETERS
    offset: int = 0
    size: int = 0


class _Places(NamedTuple):
    """Where things begin; stacks are those of each thread."""

    manifest: int
    ssa: int
    tcs: int
    tls: int
    stacks: tuple[int, ...]
    signal_stacks: tuple[int, ...]
    library: int


def measure(manifest: bytes, *, library: bytes, constants: bytes) -> Measurement:
    """Return the registers that a manifest decides: MRENCLAVE, ISVPRODID and ISVSVN.

    Args:
        manifest: ``NAME.manifest.sgx``, as Gramine's signer wrote it.
        library: Gramine's ``sgx/libpal.so``.
        constants: Gramine's ``_graminelibos_offsets.py``, of the same version.

    Raises:
        MalformedEvidence: ``truncated``; ``gramine-input``: names what does not fit.
    """
    sgx = _decoded(manifest)
    known = _known(constants)
    loaded = elf.parse(library)
    size, text = _bytes(sgx.enclave_size), manifest + b"\0"
    places = _placed(size, sgx.max_threads, known, len(text), loaded.size)
    enclave = EnclaveHash()
    enclave.create(size=size, ssa_pages=known["SSA_FRAME_SIZE"] // PAGE)
    enclave.step("enclave", source=_MANIFEST, value=sgx.enclave_size)
    threads = _threads(places, known, size=size, entry=loaded.entry, manifest=len(text))
    for area in (*_above(places, known, text), *threads, *_stacks(places, known), *_loaded(places, loaded)):
        _add(enclave, area)
    if not sgx.edmm_enable:
        for address in range(known["MMAP_MIN_ADDR"], places.library, PAGE):
            enclave.add(address, READ | WRITE | EXECUTE | REGULAR)
        enclave.step("heap, unmeasured", source=_PARAMETERS, value=f"up to {places.library:#x}")
    numbers = {"isvprodid": sgx.isvprodid, "isvsvn": sgx.isvsvn}
    values = {name: number.to_bytes(2, "little") for name, number in numbers.items()}
    measured = enclave.measurement()
    stated = [
        Part(register=name, label=name, input=_MANIFEST, digest=value, value=str(numbers[name]))
        for name, value in values.items()
    ]
    return Measurement({**measured.registers, **values}, (*measured.parts, *stated))


def _add(enclave: EnclaveHash, area: _Area) -> None:
    for place in range(0, len(area.pages), PAGE):
        enclave.add(area.address + place, area.flags)
        for piece in range(place, place + PAGE, CHUNK):
            enclave.extend(area.address + piece, area.pages[piece : piece + CHUNK])
    enclave.step(f"{area.name} at {area.address:#x}", source=area.source, offset=area.offset, size=area.size)


def _placed(size: int, threads: int, known: Mapping[str, int], manifest: int, library: int) -> _Places:
    """Give everything its place, from the top down."""
    top = size

    def below(length: int) -> int:
        nonlocal top
        top -= length + -length % PAGE
        if top < known["MMAP_MIN_ADDR"]:
            raise _wrong(_MANIFEST, "an enclave that everything fits into", f"{size:#x} bytes")
        return top

    return _Places(
        manifest=below(manifest),
        ssa=below(threads * known["SSA_FRAME_SIZE"] * known["SSA_FRAME_NUM"]),
        tcs=below(threads * PAGE),
        tls=below(threads * PAGE),
        stacks=tuple([below(known["ENCLAVE_STACK_SIZE"]) for _ in range(threads)]),
        signal_stacks=tuple([below(known["ENCLAVE_SIG_STACK_SIZE"]) for _ in range(threads)]),
        library=below(library),
    )


def _above(places: _Places, known: Mapping[str, int], text: bytes) -> Iterator[_Area]:
    pages = text + bytes(-len(text) % PAGE)
    yield _Area("manifest", places.manifest, READ | REGULAR, pages, _MANIFEST, 0, len(text) - 1)
    frames = len(places.stacks) * known["SSA_FRAME_SIZE"] * known["SSA_FRAME_NUM"]
    yield _Area("saved state", places.ssa, _DATA, bytes(frames))


def _threads(
    places: _Places, known: Mapping[str, int], *, size: int, entry: int, manifest: int
) -> Iterator[_Area]:
    """Make the control pages and the local storage of all threads."""
    threads = len(places.stacks)
    control, storage = bytearray(threads * PAGE), bytearray(threads * PAGE)
    for thread, (stack, signal_stack) in enumerate(zip(places.stacks, places.signal_stacks, strict=True)):
        here = thread * PAGE
        saved = places.ssa + thread * known["SSA_FRAME_SIZE"] * known["SSA_FRAME_NUM"]
        for code, name, value in (
            ("<Q", "TCS_OSSA", saved),
            ("<I", "TCS_NSSA", known["SSA_FRAME_NUM"]),
            ("<Q", "TCS_OENTRY", places.library + entry),
            ("<Q", "TCS_OGS_BASE", places.tls + here),
            ("<I", "TCS_OFS_LIMIT", _LIMIT),
            ("<I", "TCS_OGS_LIMIT", _LIMIT),
        ):
            pack_into(code, control, here + known[name], value)
        for name, value in {
            "SGX_COMMON_SELF": places.tls + here,
            "SGX_COMMON_STACK_PROTECTOR_CANARY": known["STACK_PROTECTOR_CANARY_DEFAULT"],
            "SGX_ENCLAVE_SIZE": size,
            "SGX_TCS_OFFSET": places.tcs + here,
            "SGX_INITIAL_STACK_ADDR": stack + known["ENCLAVE_STACK_SIZE"],
            "SGX_SIG_STACK_LOW": signal_stack,
            "SGX_SIG_STACK_HIGH": signal_stack + known["ENCLAVE_SIG_STACK_SIZE"],
            "SGX_SSA": saved,
            "SGX_GPR": saved + known["SSA_FRAME_SIZE"] - known["SGX_GPR_SIZE"],
            "SGX_MANIFEST_SIZE": manifest,
            "SGX_HEAP_MIN": known["MMAP_MIN_ADDR"],
            "SGX_HEAP_MAX": places.library,
        }.items():
            pack_into("<Q", storage, here + known[name], value)
    yield _Area("thread control", places.tcs, TCS, bytes(control))
    yield _Area("thread-local storage", places.tls, _DATA, bytes(storage))


def _stacks(places: _Places, known: Mapping[str, int]) -> Iterator[_Area]:
    for name, addresses, size in (
        ("stack", places.stacks, known["ENCLAVE_STACK_SIZE"]),
        ("signal stack", places.signal_stacks, known["ENCLAVE_SIG_STACK_SIZE"]),
    ):
        for address in addresses:
            yield _Area(name, address, _DATA, bytes(size))


def _loaded(places: _Places, library: elf.Library) -> Iterator[_Area]:
    for segment in library.segments:
        flags = REGULAR
        for bit, flag in ((4, READ), (2, WRITE), (1, EXECUTE)):
            flags |= flag if segment.permissions & bit else 0
        yield _Area(
            f"{page_kind(flags)} pages",
            places.library + segment.address,
            flags,
            segment.pages,
            _LIBRARY,
            segment.offset,
            segment.size,
        )


def _decoded(manifest: bytes) -> _Sgx:
    try:
        return msgspec.convert(tomllib.loads(manifest.decode()), _Manifest).sgx
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError, RecursionError) as error:
        raise _wrong(_MANIFEST, "what Gramine's signer writes", str(error)[:200]) from None


def _bytes(text: str) -> int:
    found = _SIZE.fullmatch(text)
    size = int(found[1]) * _UNITS[found[2]] if found else 0
    if size < PAGE or size & (size - 1) or size > _MOST:
        raise _wrong(_MANIFEST, "a power of two as enclave_size, at most 1 TiB", text[:40])
    return size


def _known(constants: bytes) -> Mapping[str, int]:
    """Read Gramine's constants, of which all that matter have to be there and possible."""
    lines = constants.decode("ascii", "replace").splitlines()
    found = {match[1]: int(match[2], 16) for match in map(_CONSTANT.fullmatch, lines) if match}
    lacking = [name for name in _NAMES if name not in found]
    if lacking:
        raise _wrong(_CONSTANTS, "Gramine's _graminelibos_offsets.py", f"no {lacking[0]}")
    known = {name: found[name] for name in _NAMES}
    for name, value in known.items():
        if name in _EXACT:
            sound = value == _EXACT[name]
        elif name in _PAGES:
            sound = value % PAGE == 0 and 0 < value <= _MOST_PAGES
        else:
            sound = value <= PAGE - 8 or name == "STACK_PROTECTOR_CANARY_DEFAULT"
        if not sound:
            raise _wrong(_CONSTANTS, f"a {name} that is possible", f"{value:#x}")
    return known


def _wrong(what: str, expected: str, actual: str) -> MalformedEvidence:
    return MalformedEvidence("gramine-input", what=what, expected=expected, actual=actual)
