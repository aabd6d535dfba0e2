# SPDX-License-Identifier: Apache-2.0
"""Quotes: every length is checked, nothing but our errors comes out, whatever the bytes are."""

import random
import struct
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.platforms.dcap.judging import assert_spoken
from tests.platforms.dcap.pki import World, point

from nacre import platforms
from nacre.errors import EndorsementsUnavailable, MalformedEvidence, UnsupportedEvidence
from nacre.platforms import sgx, tdx
from nacre.platforms.dcap import layout
from nacre.platforms.dcap.evidence import MAX_QUOTE_SIZE, Quote, parse_quote
from nacre.platforms.dcap.salvage import SalvagedQuote, salvage_quote

FORMS = [
    ("sgx", 3, 1),
    ("sgx", 4, 1),
    ("sgx", 5, 1),
    ("tdx", 4, 2),
    ("tdx", 5, 2),
    ("tdx", 5, 3),
    ("tdx", 5, 4),
]
_SIZES = {1: 384, 2: 584, 3: 648, 4: 885}

forms = pytest.mark.parametrize(("tee", "version", "body"), FORMS)


def _quote(tee: str, version: int, body: int, **changes: object) -> bytes:
    return World(tee=tee, version=version, body=body).but(**changes).quote


def _refused(data: bytes, read: Callable[[bytes], object] = parse_quote) -> str:
    with pytest.raises((MalformedEvidence, UnsupportedEvidence)) as caught:
        read(data)
    assert_spoken(caught.value)
    return caught.value.code


@forms
def test_parts(tee: str, version: int, body: int) -> None:
    world = World(tee=tee, version=version, body=body, qe_auth=b"authentication")
    quote = parse_quote(world.quote)
    assert type(quote) is Quote
    assert quote.platform == tee
    assert quote.header.version == version
    assert quote.body_type.number == body
    base = 54 if version == 5 else 48
    assert (quote.body_offset, quote.auth_offset) == (base, base + _SIZES[body] + 4)
    assert quote.signed == world.signed()
    assert len(quote.signed) == base + _SIZES[body]
    assert quote.attestation_key == point("attestation")
    assert (len(quote.signature), len(quote.qe_report), len(quote.qe_signature)) == (64, 384, 64)
    assert quote.qe_auth == b"authentication"
    assert quote.cert_data == world.chain("pck_chain")
    assert world.quote[quote.cert_offset :] == quote.cert_data
    assert quote.certified_offset == quote.auth_offset + 64
    assert quote.end == len(world.quote)
    assert quote.trailing == 0


def test_structures_have_intels_sizes() -> None:
    sizes = [
        layout.HEADER.size,
        layout.SGX_REPORT.size,
        layout.TD_REPORT_10.size,
        layout.TD_REPORT_15.size,
        layout.TD_REPORT_15_EX.size,
    ]
    assert sizes == [48, 384, 584, 648, 885]
    places = {name: offset for name, offset, _ in layout.TD_REPORT_15_EX.fields}
    for name, offset in {
        "mr_seam": 16,
        "mr_signer_seam": 64,
        "seam_attributes": 112,
        "td_attributes": 120,
        "xfam": 128,
        "mr_td": 136,
        "rtmr0": 328,
        "report_data": 520,
        "tee_tcb_svn2": 584,
        "mr_service_td": 600,
        "vmid": 648,
        "td_id": 649,
        "cur_serv_td_attributes": 877,
    }.items():
        assert places[name] == offset
    places = {name: offset for name, offset, _ in layout.SGX_REPORT.fields}
    for name, offset in {"attributes": 48, "mr_enclave": 64, "mr_signer": 128, "report_data": 320}.items():
        assert places[name] == offset


@forms
def test_zero_padding_is_fine_and_nothing_else(tee: str, version: int, body: int) -> None:
    data = _quote(tee, version, body)
    assert parse_quote(data + bytes(1000)).trailing == 1000
    assert _refused(data + b"\1") == "trailing-bytes"
    assert _refused(data + bytes(999) + b"\1") == "trailing-bytes"


@forms
def test_every_truncation(tee: str, version: int, body: int) -> None:
    data = _quote(tee, version, body)
    for size in (*range(48), *range(48, len(data), 23), len(data) - 1):
        assert _refused(data[:size]) == "truncated"


def _with(data: bytes, offset: int, code: str, value: int) -> bytes:
    changed = bytearray(data)
    struct.pack_into(code, changed, offset, value)
    return bytes(changed)


@pytest.mark.parametrize("tee", ["sgx", "tdx"])
def test_headers_that_are_not_verified_here(tee: str) -> None:
    data = World(tee=tee).quote
    for version in (0, 1, 2, 6, 65535):
        assert _refused(_with(data, 0, "<H", version)) == "quote-version"
    for kind in (0, 1, 3, 4):
        assert _refused(_with(data, 2, "<H", kind)) == "attestation-key-type"
    for number in (1, 0x80, 0x82, 0x81000000, 0xFFFFFFFF):
        assert _refused(_with(data, 4, "<I", number)) == "tee-type"
    assert _refused(_with(data, 12, "<B", 0)) == "qe-vendor"
    assert _refused(_with(World(tee="sgx", version=3).quote, 4, "<I", 0x81)) == "tee-type"
    # Reserved in versions 4 and 5, informative in 3; signed, and no decision uses them.
    assert parse_quote(_with(data, 8, "<I", 77)).header.qe_svn == 77


@pytest.mark.parametrize("tee", ["sgx", "tdx"])
def test_body_descriptors(tee: str) -> None:
    data = World(tee=tee, version=5).quote
    for number in (0, 5, 6, 65535, 1 if tee == "tdx" else 2):
        assert _refused(_with(data, 48, "<H", number)) == "quote-body-type"
    size = parse_quote(data).body_type.layout.size
    for lie in (0, size - 1, size + 1, 0xFFFFFFFF):
        assert _refused(_with(data, 50, "<I", lie)) == "length-mismatch"


def test_lengths() -> None:
    for tee in ("sgx", "tdx"):
        data = World(tee=tee).quote
        quote = parse_quote(data)
        size = quote.end - quote.auth_offset
        outer = quote.auth_offset + 128
        for lie in (0, size - 1, size + 1, 0xFFFFFFFF):
            assert _refused(_with(data, quote.auth_offset - 4, "<I", lie)) == "length-mismatch"
        for lie in (0, size - 135, size - 133, 0xFFFFFFFF):
            assert _refused(_with(data, outer + 2, "<I", lie)) == "length-mismatch"
        for lie, code in ((31, "certification-data-type"), (4096, "truncated"), (4097, "too-large")):
            assert _refused(_with(data, quote.qe_offset + 448, "<H", lie)) == code
        last = quote.cert_offset - 4
        for lie, code in (
            (0, "length-mismatch"),
            (quote.cert_size - 1, "length-mismatch"),
            (quote.cert_size + 1, "truncated"),
            (32768, "truncated"),
            (32769, "too-large"),
        ):
            assert _refused(_with(data, last, "<I", lie)) == code
        for kind in (0, 6, 7, 65535):
            assert _refused(_with(data, quote.cert_offset - 6, "<H", kind)) == "certification-data-type"
        for kind in (0, 1, 5, 7):
            assert _refused(_with(data, outer, "<H", kind)) == "certification-data-type"
    third = World(tee="sgx", version=3).quote
    assert _refused(_with(third, 432, "<I", len(third) - 436 - 1)) == "length-mismatch"


def test_sizes_are_bounded() -> None:
    data = World().quote
    assert parse_quote(data.ljust(MAX_QUOTE_SIZE, b"\0")).end == len(data)
    assert _refused(data.ljust(MAX_QUOTE_SIZE + 1, b"\0")) == "too-large"


@pytest.mark.parametrize("cert_type", [1, 2, 3, 4])
def test_processors_that_are_named_otherwise(cert_type: int) -> None:
    world = World(tee="sgx", version=3, cert_type=cert_type)
    quote = sgx.PLATFORM.parse(world.quote)
    assert quote.cert_type == cert_type
    with pytest.raises(EndorsementsUnavailable) as caught:
        sgx.PLATFORM.sources(quote)
    assert caught.value.code == "pck-not-in-quote"
    assert str(cert_type) in str(caught.value)


# ── Detection ────────────────────────────────────────────────────────────────────────────────────────


def test_detection_reads_the_header_alone() -> None:
    for tee, version, body in FORMS:
        data = _quote(tee, version, body)
        assert platforms.detect(data).name == tee
        assert platforms.detect(data[:48]).name == tee
        assert sgx.PLATFORM.detect(data) != tdx.PLATFORM.detect(data)
    # What is cut off, or of another vendor, is still best explained by the reader of quotes.
    for start in (b"\3\0", b"\4\0", b"\5\0"):
        assert platforms.detect(start).name == "sgx"
        assert not tdx.PLATFORM.detect(start)
    for data in (b"", b"\3", b"\6\0", b"junk", bytes(100)):
        with pytest.raises(UnsupportedEvidence):
            platforms.detect(data)


# ── What is left of broken quotes ────────────────────────────────────────────────────────────────────


@forms
def test_salvage_reads_what_parse_reads(tee: str, version: int, body: int) -> None:
    data = _quote(tee, version, body)
    parsed, salvaged = parse_quote(data), salvage_quote(data)
    assert isinstance(salvaged, SalvagedQuote)
    for name in Quote.__struct_fields__:
        assert getattr(parsed, name) == getattr(salvaged, name)
    for broken in (data + b"junk", _with(data, 12, "<B", 0), data[:-1], _with(data, 2, "<H", 3)):
        _refused(broken)
        again = salvage_quote(broken)
        assert again is not None
        assert again.report == parsed.report


def test_salvage_gives_up() -> None:
    data = World(version=5).quote
    for size in (0, 47, 48, 100, 54 + 648 + 4 + 134 + 449):
        assert salvage_quote(data[:size]) is None
    assert salvage_quote(data[: 54 + 648 + 4 + 134 + 450]) is not None
    assert salvage_quote(_with(data, 0, "<H", 6)) is None
    assert salvage_quote(_with(data, 50, "<I", 0xFFFFFFFF)) is None
    # An unknown body is read as a TD report 1.0, which the others begin with.
    odd = salvage_quote(_with(data, 48, "<H", 9))
    assert odd is not None
    assert odd.body_type.number == 2
    assert salvage_quote(_with(data, 50, "<I", 0)) is not None


def test_what_is_salvaged_is_never_verified() -> None:
    salvaged = salvage_quote(World().quote)
    assert salvaged is not None
    for platform in (sgx.PLATFORM, tdx.PLATFORM):
        with pytest.raises(TypeError):
            platform.sources(salvaged)
        assert list(platform.views(salvaged))
        assert platform.facts(salvaged)


# ── Junk ─────────────────────────────────────────────────────────────────────────────────────────────

_WORLDS = [World(tee=tee, version=version, body=body) for tee, version, body in FORMS]


def _read_all(data: bytes) -> None:
    """Do with bytes whatever is done with bytes before anything is verified."""
    for platform in (sgx.PLATFORM, tdx.PLATFORM):
        platform.detect(data)
        try:
            quote = platform.parse(data)
        except (MalformedEvidence, UnsupportedEvidence) as error:
            assert_spoken(error)
            salvaged = platform.salvage(data)
            if salvaged is None:
                continue
            list(platform.views(salvaged))
            platform.facts(salvaged)
        else:
            list(platform.views(quote))
            platform.facts(quote)
            try:
                platform.sources(quote)
            except (MalformedEvidence, EndorsementsUnavailable) as error:
                assert_spoken(error)


@given(st.binary(max_size=1500), st.sampled_from([3, 4, 5]), st.sampled_from([0, 0x81]))
def test_junk(data: bytes, version: int, tee: int) -> None:
    _read_all(data)
    vendor = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")
    _read_all(struct.pack("<HHIHH16s", version, 2, tee, 0, 0, vendor) + data)


@given(st.data())
def test_quotes_with_pieces_moved_about(data: st.DataObject) -> None:
    quote = bytearray(data.draw(st.sampled_from(_WORLDS)).quote)
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(quote)))
        stop = min(len(quote), start + data.draw(st.integers(0, 40)))
        quote[start:stop] = data.draw(
            st.binary(max_size=40) | st.just(bytes(quote[: stop - start])) | st.just(b"")
        )
    _read_all(bytes(quote))


def test_real_quotes_with_bytes_changed(vectors: Path) -> None:
    chance = random.Random(2026)  # noqa: S311 (a sample, always the same)
    for path in sorted(vectors.glob("[st][gd]x/*/quote.bin")):
        original = path.read_bytes()
        _read_all(original)
        for _ in range(6 if len(original) > 600 else 0):
            data = bytearray(original)
            for _ in range(chance.choice((1, 1, 3, 30))):
                # Mostly where lengths and types are.
                limit = len(data) if chance.random() < 0.3 else 1300
                place = chance.randrange(min(limit, len(data)))
                data[place] = chance.choice((0, 1, 255, chance.randrange(256)))
            _read_all(bytes(data))


@pytest.mark.parametrize(
    "piece", [b"\0", b"\xff", b"\3\0", b"\4\0\2\0\x81\0\0\0", b"-----BEGIN CERTIFICATE-----\n"]
)
def test_a_megabyte_is_refused_at_once(piece: bytes) -> None:
    junk = (piece * (1 << 20))[: 1 << 20]
    head = World().quote[:1300]
    started = time.perf_counter()
    tracemalloc.start()
    try:
        for data in (junk, head + junk, junk[: 1 << 16], head + junk[: (1 << 16) - 1300]):
            _read_all(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 64 << 20
    assert time.perf_counter() - started < 4  # each takes a millisecond; a quadratic step would take minutes
