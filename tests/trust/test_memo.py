# SPDX-License-Identifier: Apache-2.0
"""The memo is bounded, keeps what is used, and never answers for another key."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nacre.trust.memo import Memo


def _key(number: int) -> bytes:
    return number.to_bytes(32, "big")


def test_what_was_put_is_got() -> None:
    memo = Memo()
    assert memo.get(b"key") is None
    memo.put(b"key", "value")
    assert memo.get(b"key") == "value"
    assert memo.get(b"yek") is None
    memo.put(b"key", "another")
    assert memo.get(b"key") == "another"


@pytest.mark.parametrize("entries", [2, 3, 10, 100])
def test_it_is_bounded(entries: int) -> None:
    memo = Memo(entries)
    for number in range(10 * entries):
        memo.put(_key(number), number)
        assert len(memo) <= entries
    assert memo.get(_key(10 * entries - 1)) == 10 * entries - 1
    assert memo.get(_key(0)) is None


@pytest.mark.parametrize("entries", [-1, 0, 1])
def test_the_smallest_holds_two(entries: int) -> None:
    memo = Memo(entries)
    memo.put(b"a", 1)
    memo.put(b"b", 2)
    assert (memo.get(b"b"), len(memo)) == (2, 2)


def test_what_is_used_stays() -> None:
    memo = Memo(20)
    memo.put(b"used", "value")
    memo.put(b"unused", "value")
    for number in range(100):
        memo.put(_key(number), number)
        assert memo.get(b"used") == "value"
    assert memo.get(b"unused") is None


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=60), st.integers(2, 12))
def test_it_forgets_but_never_lies(steps: list[tuple[bool, int]], entries: int) -> None:
    memo = Memo(entries)
    truth: dict[bytes, int] = {}
    for turn, (puts, number) in enumerate(steps):
        key = _key(number)
        if puts:
            memo.put(key, turn)
            truth[key] = turn
            assert memo.get(key) == turn
        else:
            assert memo.get(key) in {None, truth.get(key)}
        assert len(memo) <= entries


def test_threads_share_it_without_a_lock() -> None:
    memo = Memo(64)
    wrong: list[object] = []

    def work(seed: int) -> None:
        for number in range(3000):
            key = _key((seed * number) % 100)
            found = memo.get(key)
            if found not in {None, key}:
                wrong.append(found)
            memo.put(key, key)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in (1, 3, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(memo) <= 64 + 2 * len(threads)
