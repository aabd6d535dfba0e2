# SPDX-License-Identifier: Apache-2.0
"""Nothing but our own errors, nothing but bounded memory, and no bit that does not count."""

import random
import time
import tracemalloc
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.platforms.nitro.pki import NOW, Pair, envelope, payload, standard

from nacre.errors import MalformedEvidence, UnsupportedEvidence, VerificationError
from nacre.platforms.base import Endorsements
from nacre.platforms.nitro import PLATFORM
from nacre.platforms.nitro.policy import NitroPolicy
from nacre.reasons import explain
from nacre.trust.memo import Memo
from nacre.trust.signatures import Signatures

_AT = 1_766_678_660  # 2025-12-25T16:04:20Z
_MEMO = Memo()


def _whole_way(document: bytes, *, at: int = NOW) -> bool:
    """Go as far as the document lets; tell whether it was verified."""
    try:
        evidence = PLATFORM.parse(document)
        list(PLATFORM.views(evidence))
        PLATFORM.facts(evidence)
        anchors = (standard().anchor, *PLATFORM.anchors())
        claims = PLATFORM.verify(
            evidence, Endorsements({}), anchors=anchors, at=at, signatures=Signatures(_MEMO)
        )
    except (MalformedEvidence, UnsupportedEvidence, VerificationError) as error:
        str(error)
        return False
    for check in PLATFORM.judge(claims, NitroPolicy(), at=at):
        explain(check)
    return True


@pytest.fixture(scope="module")
def real(vectors: Path) -> bytes:
    return (vectors / "nitro/dstack-prod-2025-12-indefinite/evidence.cbor").read_bytes()


def _flipped(document: bytes, bits: Iterable[int]) -> None:
    assert _whole_way(document, at=_AT)
    changed = bytearray(document)
    for bit in bits:
        changed[bit >> 3] ^= 1 << (bit & 7)
        assert not _whole_way(bytes(changed), at=_AT), f"bit {bit}"
        changed[bit >> 3] ^= 1 << (bit & 7)


def test_one_bit_of_every_byte_counts(real: bytes) -> None:
    chance = random.Random(2026)  # noqa: S311 (a sample, always the same)
    _flipped(real, [8 * place + chance.randrange(8) for place in range(len(real))])


@pytest.mark.soak
def test_every_bit_counts(real: bytes) -> None:
    _flipped(real, range(8 * len(real)))


def test_every_cut_counts(real: bytes) -> None:
    for size in range(0, len(real), 7):
        assert not _whole_way(real[:size])


@given(st.binary(max_size=300))
def test_junk(data: bytes) -> None:
    assert not _whole_way(data)
    assert not _whole_way(envelope(data, bytes(96)))


@given(st.data())
def test_pieces_of_a_document_moved_about(data: st.DataObject) -> None:
    document = bytearray(standard().document())
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(document)))
        stop = min(len(document), start + data.draw(st.integers(0, 40)))
        document[start:stop] = data.draw(
            st.binary(max_size=40) | st.just(bytes(document[: stop - start])) | st.just(b"")
        )
    _whole_way(bytes(document))


_KEYS = st.integers(-2, 40) | st.text("ab", max_size=2) | st.binary(max_size=2)
_ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64 - 1)
    | st.binary(max_size=80)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(
            st.integers(-2, 40) | st.text("ab", max_size=2) | st.binary(max_size=2), inner, max_size=5
        )
    ),
    max_leaves=8,
)
_NAMES = st.sampled_from(
    ["module_id", "digest", "timestamp", "pcrs", "certificate", "cabundle", "nonce", "user_data", "new"]
)


@given(st.lists(st.tuples(_NAMES, _ANY), max_size=3), st.booleans())
def test_signed_nonsense(changes: list[Pair], indefinite: bool) -> None:
    _whole_way(standard().document(*changes, indefinite=indefinite))


@given(_ANY, st.binary(max_size=100), _ANY)
def test_envelopes_of_nonsense(body: object, signature: bytes, header: object) -> None:
    _whole_way(envelope(body, signature, unprotected=header))
    _whole_way(envelope(payload(standard()), signature, protected=body))


@pytest.mark.parametrize(
    "piece", [b"\x80", b"\x9f", b"\xa1\x00", b"\x81", b"\x84", b"\xff", b"\x40", b"\xbf"]
)
def test_a_megabyte_is_bounded(piece: bytes) -> None:
    body = piece * ((1 << 20) // len(piece))
    documents = [body, envelope(body, bytes(96)), b"\x84\x44\xa1\x01\x38\x22\xa0" + body]
    started = time.perf_counter()
    tracemalloc.start()
    try:
        for document in documents:
            PLATFORM.detect(document)
            assert not _whole_way(document)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 64 << 20
    assert time.perf_counter() - started < 10  # a quadratic step would take minutes
