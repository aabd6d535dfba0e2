# SPDX-License-Identifier: Apache-2.0
"""The signature work of one verification.

The signatures of one piece of evidence do not depend on each other's outcome. So a verification first
reads everything and notes each signature that has to hold, then settles them all at once: on several
cores if the caller lends a pool, since the verification primitives release the interpreter lock.
Nothing that was read may be acted upon before :meth:`Signatures.settle` has returned.
"""

from collections.abc import Callable
from typing import Protocol

from nacre.errors import VerificationError
from nacre.trust.memo import Recall

__all__ = ["Key", "Pool", "Scheme", "Signatures"]


class Key(Protocol):
    """A public key bound to one signature algorithm, so that no message ever chooses it."""

    @property
    def algorithm(self) -> bytes:
        """The signature algorithm of certificates that it signs: content bytes of the OID."""

    def holds(self, signature: bytes, message: bytes) -> bool:
        """Tell whether ``signature``, in the encoding that the key was made for, holds."""


class Scheme(Protocol):
    """One signature algorithm with everything that it leaves open settled."""

    def __hash__(self) -> int:
        """Schemes are few, and each is one object."""

    @property
    def name(self) -> str:
        """What messages call it."""

    @property
    def algorithm(self) -> bytes:
        """The signature algorithm of certificates: content bytes of the OID."""

    def spki(self, spki: bytes) -> Key:
        """Load a SubjectPublicKeyInfo, DER.

        Raises:
            MalformedEvidence: ``key-unusable``, for any key of another kind.
        """


class Pool(Protocol):
    """What runs half of the work elsewhere; ``ThreadPoolExecutor.submit`` fits."""

    def __call__(self, work: Callable[[], int], /) -> "Future":
        """Start some work elsewhere."""


class Future(Protocol):
    """What a pool gives back."""

    def result(self) -> int:
        """Wait for the work and return what it returned."""


# key, signature, message, check, what
_Pending = tuple[Key, bytes, bytes, str, object]
_ALL_HOLD = -1


class Signatures:
    """Collects the signatures of one verification and settles them.

    Not shared between threads; the memo may be.
    """

    __slots__ = ("_keys", "_learned", "_memo", "_pending", "_pool", "recall")

    #: ``recall(key)`` returns what an earlier verification learned under ``key``, or None: its signatures
    #: hold. Time and revocation are the caller's to check again.
    recall: Callable[[bytes], object | None]

    def __init__(self, memo: Recall | None = None, pool: Pool | None = None) -> None:
        """Recall from and remember in ``memo``; verify in parallel where there is a ``pool``."""
        self._memo = memo
        self.recall = _recall_nothing if memo is None else memo.get
        self._pool = pool
        self._pending: list[_Pending] = []
        self._learned: list[tuple[bytes, object]] = []
        self._keys: dict[bytes, Key] = {}

    def expect(self, key: Key, signature: bytes, message: bytes, *, check: str, what: object) -> None:
        """Note a signature that has to hold.

        Args:
            key: The key that made it.
            signature: In the encoding that the key was made for.
            message: What was signed.
            check: The check whose failure this would be.
            what: What errors call the signed thing; turned into words when there is such an error.
        """
        self._pending.append((key, signature, message, check, what))

    def key(self, scheme: Scheme, spki: bytes) -> Key:
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
        pending, self._pending = self._pending, []
        learned, self._learned = self._learned, []
        bad = _first_bad(pending) if self._pool is None else _first_bad_of_halves(pending, self._pool)
        if bad != _ALL_HOLD:
            _, _, _, check, what = pending[bad]
            raise VerificationError("signature-invalid", check=check, what=str(what))
        if self._memo is not None:
            for key, value in learned:
                self._memo.put(key, value)


def _recall_nothing(key: bytes) -> None:
    del key


def _first_bad(pending: list[_Pending]) -> int:
    """Return the position of the first signature that does not hold, or ``_ALL_HOLD``."""
    for position, (key, signature, message, _, _) in enumerate(pending):
        if not key.holds(signature, message):
            return position
    return _ALL_HOLD


def _first_bad_of_halves(pending: list[_Pending], pool: Pool) -> int:
    if len(pending) < 2:  # noqa: PLR2004
        return _first_bad(pending)
    theirs = pending[1::2]
    future = pool(lambda: _first_bad(theirs))
    ours, others = _first_bad(pending[0::2]), future.result()
    found = [2 * ours] if ours != _ALL_HOLD else []
    if others != _ALL_HOLD:
        found.append(2 * others + 1)
    return min(found, default=_ALL_HOLD)
