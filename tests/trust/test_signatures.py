# SPDX-License-Identifier: Apache-2.0
"""Signature work: what is settled, in which order it fails, and what is learned from it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tests.trust import forge

from nacre.errors import MalformedEvidence, VerificationError
from nacre.trust.keys import P256_SHA256, P384_SHA384
from nacre.trust.memo import Memo
from nacre.trust.signatures import Pool, Signatures


class _Key:
    """A key for which every signature holds that does not say ``bad``."""

    algorithm = b""

    def __init__(self) -> None:
        self.asked: list[bytes] = []

    def holds(self, signature: bytes, message: bytes) -> bool:
        self.asked.append(message)
        return signature != b"bad"


class _Words:
    """A name that counts how often it is spelled."""

    def __init__(self) -> None:
        self.spelled = 0

    def __str__(self) -> str:
        self.spelled += 1
        return "the thing"


class _Done:
    def __init__(self, value: int) -> None:
        self._value = value

    def result(self) -> int:
        return self._value


class _Pool:
    """A pool that works at once and counts."""

    def __init__(self) -> None:
        self.jobs = 0

    def __call__(self, work: Callable[[], int], /) -> _Done:
        self.jobs += 1
        return _Done(work())


def _settle(bad: set[int], pool: Pool | None, size: int = 6) -> None:
    signatures = Signatures(pool=pool)
    key = _Key()
    for position in range(size):
        signature = b"bad" if position in bad else b"good"
        signatures.expect(
            key, signature, b"%d" % position, check=f"check.{position}", what=f"thing {position}"
        )
    signatures.settle()


@pytest.mark.parametrize(
    "pool", [None, _Pool(), ThreadPoolExecutor(2).submit], ids=["alone", "inline", "threads"]
)
@pytest.mark.parametrize("bad", [{0}, {1}, {5}, {0, 1}, {1, 2}, {2, 3}, {3, 4, 5}, {0, 5}, {1, 4}])
def test_the_first_in_order_is_reported(bad: set[int], pool: Pool | None) -> None:
    with pytest.raises(VerificationError) as caught:
        _settle(bad, pool)
    assert caught.value.code == "signature-invalid"
    assert caught.value.check == f"check.{min(bad)}"
    assert str(caught.value) == f"the signature of thing {min(bad)} does not hold"


@pytest.mark.parametrize("size", range(6))
def test_all_hold(size: int) -> None:
    for pool in (None, _Pool()):
        _settle(set(), pool, size)


def test_a_pool_is_lent_for_two_and_more() -> None:
    for size, jobs in ((0, 0), (1, 0), (2, 1), (7, 1)):
        pool = _Pool()
        _settle(set(), pool, size)
        assert pool.jobs == jobs


def test_every_signature_is_checked_once() -> None:
    for pool in (None, _Pool()):
        signatures, key = Signatures(pool=pool), _Key()
        for position in range(5):
            signatures.expect(key, b"good", b"%d" % position, check="check", what="it")
        signatures.settle()
        assert sorted(key.asked) == [b"0", b"1", b"2", b"3", b"4"]
        signatures.settle()
        assert len(key.asked) == 5


def test_names_are_spelled_for_errors_alone() -> None:
    words, signatures = _Words(), Signatures()
    signatures.expect(_Key(), b"good", b"", check="check", what=words)
    signatures.settle()
    assert words.spelled == 0
    signatures.expect(_Key(), b"bad", b"", check="check", what=words)
    with pytest.raises(VerificationError, match="the thing"):
        signatures.settle()
    assert words.spelled == 1


def test_nothing_is_learned_before_all_holds() -> None:
    memo, key = Memo(), _Key()
    signatures = Signatures(memo)
    signatures.expect(key, b"good", b"", check="check", what="it")
    signatures.learn(b"key", "value")
    assert memo.get(b"key") is None
    assert signatures.recall(b"key") is None
    signatures.settle()
    assert signatures.recall(b"key") == "value"
    assert Signatures(memo).recall(b"key") == "value"


def test_nothing_is_learned_from_what_does_not_hold() -> None:
    memo = Memo()
    signatures = Signatures(memo)
    signatures.expect(_Key(), b"good", b"", check="check", what="it")
    signatures.learn(b"before", "value")
    signatures.expect(_Key(), b"bad", b"", check="check", what="it")
    signatures.learn(b"after", "value")
    with pytest.raises(VerificationError):
        signatures.settle()
    signatures.settle()  # asking again does not help
    assert len(memo) == 0


def test_nothing_is_learned_when_a_key_breaks() -> None:
    class Broken(_Key):
        def holds(self, signature: bytes, message: bytes) -> bool:
            raise RuntimeError(signature, message)

    memo = Memo()
    signatures = Signatures(memo)
    signatures.expect(Broken(), b"good", b"", check="check", what="it")
    signatures.learn(b"key", "value")
    with pytest.raises(RuntimeError):
        signatures.settle()
    signatures.settle()
    assert len(memo) == 0


def test_a_key_is_loaded_once_for_each_algorithm() -> None:
    signatures = Signatures()
    p256, p384 = forge.spki(forge.key(2)), forge.spki(forge.key(2, ec.SECP384R1))
    loaded = signatures.key(P256_SHA256, p256)
    assert signatures.key(P256_SHA256, p256) is loaded
    assert signatures.key(P256_SHA256, forge.spki(forge.key(3))) is not loaded
    assert signatures.key(P384_SHA384, p384).algorithm == P384_SHA384.algorithm
    for scheme, spki in ((P384_SHA384, p256), (P256_SHA256, p384)):
        with pytest.raises(MalformedEvidence):
            signatures.key(scheme, spki)


def test_nothing_is_remembered_while_something_is_pending() -> None:
    memo = Memo()
    signatures = Signatures(memo)
    signatures.expect(_Key(), b"good", b"", check="check", what="it")
    signatures.remember(b"early", "value")
    assert len(memo) == 0
    signatures.settle()
    signatures.remember(b"late", "value")
    assert memo.get(b"late") == "value"


def test_without_a_memo() -> None:
    signatures = Signatures()
    signatures.learn(b"key", "value")
    signatures.settle()
    signatures.remember(b"key", "value")
    assert signatures.recall(b"key") is None
