# SPDX-License-Identifier: Apache-2.0
"""What is sealed opens for the same key and context, whole and unchanged, and never otherwise."""

import os

import pytest

from nacre.enclave.agent.keys import Keys
from nacre.enclave.agent.sealing import OVERHEAD
from nacre.errors import EnclaveError

_KEYS = Keys(b"K" * 32)


def _refused(sealed: bytes, *, context: bytes = b"context", keys: Keys = _KEYS) -> bool:
    try:
        keys.unseal(sealed, context=context)
    except EnclaveError as error:
        return error.code == "agent-unseal"
    return False


@pytest.mark.parametrize("size", [0, 1, 31, 100_000])
def test_it_opens_again_after_another_start(size: int) -> None:
    plaintext = os.urandom(size)
    sealed = _KEYS.seal(plaintext, context=b"context")
    assert len(sealed) == size + OVERHEAD
    assert Keys(b"K" * 32).unseal(sealed, context=b"context") == plaintext


def test_no_bit_can_change() -> None:
    sealed = _KEYS.seal(b"secret", context=b"context")
    for bit in range(8 * len(sealed)):
        changed = bytearray(sealed)
        changed[bit // 8] ^= 1 << bit % 8
        assert _refused(bytes(changed)), bit


def test_nothing_can_be_cut_or_added() -> None:
    sealed = _KEYS.seal(b"secret", context=b"context")
    assert all(_refused(sealed[:size]) for size in range(len(sealed)))
    assert all(_refused(sealed[start:]) for start in range(1, len(sealed)))
    assert _refused(sealed + b"\0")


def test_other_contexts_images_and_boots_read_nothing() -> None:
    sealed = _KEYS.seal(b"secret", context=b"context")
    for context in (b"", b"contex", b"context\0", b"Context"):
        assert _refused(sealed, context=context)
    assert _refused(sealed, keys=Keys(b"L" * 32))
    for_this_start = Keys(None)
    sealed = for_this_start.seal(b"secret", context=b"context")
    assert for_this_start.unseal(sealed, context=b"context") == b"secret"
    assert _refused(sealed, keys=Keys(None))


def test_parts_of_two_pieces_are_none() -> None:
    first, second = (_KEYS.seal(text, context=b"context") for text in (b"one", b"two"))
    assert all(_refused(first[:cut] + second[cut:]) for cut in range(6, len(first)))
    assert len({_KEYS.seal(b"same", context=b"") for _ in range(64)}) == 64


def test_a_derived_key_does_not_open_it() -> None:
    """An app chooses paths freely; none of them leads to the key of a piece."""
    sealed = _KEYS.seal(b"secret", context=b"context")
    salt = sealed[5:21]
    for path in ("nacre/v1/app-seal\0", "", salt.decode("latin-1")):
        derived = _KEYS.derive(path, purpose=salt.decode("latin-1"))
        assert _refused(sealed, keys=Keys(derived))
