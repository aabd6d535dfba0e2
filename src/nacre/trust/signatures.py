# SPDX-License-Identifier: Apache-2.0
"""The signature work of one verification.

The signatures of one piece of evidence do not depend on each other's outcome. So a verification first
reads everything and notes each signature that has to hold, then settles them all at once: on several
cores if the caller lends a pool, since the verification primitives release the interpreter lock.
Nothing that was read may be acted upon before :meth:`Signatures.settle` has returned.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol

from nacre.errors import VerificationError
from nacre.trust.memo import Recall

if TYPE_CHECKING:
    from nacre.trust.keys import EcdsaScheme

__all__ = ["Key", "Pool", "Signatures"]


class Key(Protocol):
    """A public key bound to one signature algorithm, so that no message ever chooses it."""

    @property
    def algorithm(self) -> bytes:
        """The signature algorithm of certificates that it signs: content bytes of the OID."""

    def holds(self, signature: bytes, message: bytes) -> bool:
        """Tell whether ``signature``, in the encoding that the key was made for, holds."""


class Pool(Protocol):
    """What runs half of the work elsewhere; ``ThreadPoolExecutor.submit`` fits."""

    def __call__(self, work: Callable[[], "_Pending | None"], /) -> "Future":
        """Start some work elsewhere."""


class Future(Protocol):
    """What a pool gives back."""

    def result(self) -> "_Pending | None":
        """Wait for the work and return what it returned."""


class _Pending(NamedTuple):
    position: int
    key: Key
    signature: bytes
    message: bytes
    check: str
    what: object


class Signatures:
    """Collects the signatures of one verification and settles them.

    Not shared between threads; the memo may be.
    """

    __slots__ = ("_keys", "_learned", "_memo", "_pending", "_pool")

    def __init__(self, memo: Recall | None = None, pool: Pool | None = None) -> None:
        """Recall from and remember in ``memo``; verify in parallel where there is a ``pool``."""
        self._memo = memo
        self._pool = pool
        self._pending: list[_Pending] = []
        self._learned: list[tuple[bytes, object]] = []
        self._keys: dict[bytes, Key] = {}

    def recall(self, key: bytes) -> object | None:
        """Return what an earlier verification learned under ``key``: its signatures hold.

        Time and revocation are the caller's to check again.
        """
        return None if self._memo is None else self._memo.get(key)

    def expect(self, key: Key, signature: bytes, message: bytes, *, check: str, what: object) -> None:
        """Note a signature that has to hold.

        Args:
            key: The key that made it.
            signature: In the encoding that the key was made for.
            message: What was signed.
            check: The check whose failure this would be.
            what: What errors call the signed thing; turned into words when there is such an error.
        """
        self._pending.append(_Pending(len(self._pending), key, signature, message, check, what))

    def key(self, scheme: "EcdsaScheme", spki: bytes) -> Key:
        """Load a key, each one once: an issuer's is needed for every signature it made.

        Raises:
            MalformedEvidence: ``key-unusable``.
        """
        key = self._keys.get(spki)
        if key is None or key.algorithm != scheme.algorithm:
            key = self._keys[spki] = scheme.spki(spki)
        return key

    def learn(self, key: bytes, value: object) -> None:
        """Remember ``value`` under ``key`` if everything that is pending turns out to hold."""
        self._learned.append((key, value))

    def remember(self, key: bytes, value: object) -> None:
        """Remember ``value`` at once: something that follows from what has been settled."""
        if self._memo is not None and not self._pending:
            self._memo.put(key, value)

    def settle(self) -> None:
        """Verify all pending signatures.

        Raises:
            VerificationError: ``signature-invalid``, for the first in order that does not hold.
        """
        pending = self._pending
        if self._pool is not None and len(pending) > 1:
            theirs, ours = pending[1::2], pending[0::2]
            future = self._pool(lambda: _first_bad(theirs))
            bad = [_first_bad(ours), future.result()]
        else:
            bad = [_first_bad(pending)]
        worst = min((item for item in bad if item is not None), default=None, key=lambda item: item.position)
        if worst is not None:
            raise VerificationError("signature-invalid", check=worst.check, what=str(worst.what))
        pending.clear()
        if self._memo is not None:
            for key, value in self._learned:
                self._memo.put(key, value)
        self._learned.clear()


def _first_bad(pending: list[_Pending]) -> _Pending | None:
    for item in pending:
        if not item.key.holds(item.signature, item.message):
            return item
    return None
