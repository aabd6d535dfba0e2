# SPDX-License-Identifier: Apache-2.0
"""SGX streams (``.sgxs``): an enclave as the records that a processor hashes while it is made.

A stream without unmeasured data is MRENCLAVE's preimage, byte for byte. Only what a processor would do is
taken, and each thing once: one ECREATE, at the beginning; no page twice; what is in a page right after it, no
256 bytes twice. Pages may come in any order, since loaders differ in it.

Source: fortanix/rust-sgx, ``doc/SGXS.md``; Intel SDM, volume 3D, chapter 38 (ECREATE, EADD, EEXTEND).
"""

from collections.abc import Iterator
from itertools import groupby
from struct import Struct
from typing import Final, NamedTuple

from nacre.errors import MalformedEvidence
from nacre.platforms.measuring import Measurement
from nacre.platforms.sgx.enclave_hash import CHUNK, PAGE, READ, REGULAR, TCS, WRITE, EnclaveHash, page_kind
from nacre.trust.reader import Reader

__all__ = ["measure"]

_INPUT: Final = "sgxs"
_CREATE: Final = Struct("<8sIQ44s")
_RECORD: Final = Struct("<8sQ48s")
_ECREATE, _EADD, _EEXTEND, _UNMEASURED = b"ECREATE\0", b"EADD\0\0\0\0", b"EEXTEND\0", b"UNMEASRD"
#: Read, write and execute.
_PERMISSIONS: Final = 0x07


class _Page(NamedTuple):
    """A page, where its records are in the stream, and what is in it: places and their 256 bytes."""

    offset: int
    flags: int
    start: int
    end: int
    measured: dict[int, bytes]
    unmeasured: dict[int, bytes]


def measure(stream: bytes) -> Measurement:
    """Return MRENCLAVE of a stream.

    Each step is a run of pages that follow each other and are alike: its place in the enclave is in the
    label, its place in the stream in ``offset`` and ``size``; the digest is that of its measured records.

    Raises:
        MalformedEvidence: ``truncated``; ``sgxs-record``: names the offset, and what was expected there.
    """
    reader = Reader(stream, "SGX stream")
    tag, ssa_pages, size, reserved = reader.unpack(_CREATE, "ECREATE")
    if tag != _ECREATE:
        raise _wrong(0, expected="ECREATE", actual=ascii(tag))
    if not ssa_pages or size < PAGE or size & (size - 1) or any(reserved):
        raise _wrong(0, expected="an enclave that a processor makes", actual=f"size {size:#x}")
    enclave = EnclaveHash()
    enclave.create(size=size, ssa_pages=ssa_pages)
    enclave.step(f"enclave of {size:#x} bytes", source=_INPUT, size=_CREATE.size)
    for _, run in groupby(enumerate(_pages(reader, size)), _likeness):
        pages = [page for _, page in run]
        for page in pages:
            enclave.add(page.offset, page.flags)
            for offset, content in page.measured.items():
                enclave.extend(offset, content)
        start, end = pages[0].start, pages[-1].end
        enclave.step(_label(pages), source=_INPUT, offset=start, size=end - start)
    return enclave.measurement()


def _likeness(numbered: tuple[int, _Page]) -> tuple[int, int, int]:
    """Pages that follow each other have one difference between place and number."""
    number, page = numbered
    return page.flags, len(page.measured), page.offset - number * PAGE


def _label(pages: list[_Page]) -> str:
    first, measured = pages[0], len(pages[0].measured)
    place = f"{page_kind(first.flags)} pages {first.offset:#x} to {pages[-1].offset + PAGE:#x}"
    if measured == PAGE // CHUNK:
        return place
    return f"{place}, {measured} of {PAGE // CHUNK} pieces measured" if measured else f"{place}, unmeasured"


def _pages(reader: Reader, size: int) -> Iterator[_Page]:
    known: set[int] = set()
    page: _Page | None = None
    while reader.remaining:
        at = reader.offset
        tag, offset, rest = reader.unpack(_RECORD, "record")
        if tag == _EADD:
            if page:
                yield page._replace(end=at)
            page = _Page(offset, _flags(rest, at), at, at, {}, {})
            if offset % PAGE or offset >= size or offset in known:
                raise _wrong(at, expected="a new page's place in the enclave", actual=f"{offset:#x}")
            known.add(offset)
        elif page and tag in {_EEXTEND, _UNMEASURED}:
            inside = page.offset <= offset < page.offset + PAGE and offset % CHUNK == 0
            if not inside or offset in page.measured or offset in page.unmeasured or any(rest):
                raise _wrong(at, expected=f"new bytes of the page {page.offset:#x}", actual=f"{offset:#x}")
            content = reader.take(CHUNK, "content")
            (page.measured if tag == _EEXTEND else page.unmeasured)[offset] = content
        else:
            raise _wrong(at, expected="EADD, or EEXTEND or UNMEASRD after it", actual=ascii(tag))
    if page:
        yield page._replace(end=reader.offset)


def _flags(secinfo: bytes, at: int) -> int:
    """Read what a processor takes as SECINFO of a new page."""
    flags = int.from_bytes(secinfo[:8], "little")
    kind, permissions = flags & ~_PERMISSIONS, flags & _PERMISSIONS
    sound = (kind == TCS and not permissions) or (
        kind == REGULAR and (permissions & READ or not permissions & WRITE)
    )
    if not sound or any(secinfo[8:]):
        raise _wrong(at, expected="a page that a processor adds", actual=f"flags {flags:#x}")
    return flags


def _wrong(offset: int, *, expected: str, actual: str) -> MalformedEvidence:
    return MalformedEvidence("sgxs-record", offset=offset, expected=expected, actual=actual)
