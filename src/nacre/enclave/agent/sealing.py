# SPDX-License-Identifier: Apache-2.0
"""What an app has encrypted for its next start: AES-256-GCM, a fresh key for each piece.

::

    "nacS" ‖ version 1 (1) ‖ salt (16) ‖ nonce (12) ‖ ciphertext ‖ tag (16)

The key is derived from the image's own by the salt, so that no key meets two nonces. Header, salt and context
are authenticated: what was sealed for one context does not open in another, and no bit can change.

Whoever keeps the pieces can still give back an older one, or none: sealing tells neither.
"""

import secrets
from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from nacre.errors import EnclaveError

__all__ = ["OVERHEAD", "seal", "unseal"]

_HEADER = b"nacS\x01"
_PURPOSE = b"nacre/v1/app-seal\0"
_SALT, _NONCE, _TAG = 16, 12, 16
#: Bytes that sealing adds.
OVERHEAD = len(_HEADER) + _SALT + _NONCE + _TAG

#: Derives 32 bytes from the image's own key and a label.
Derive = Callable[[bytes], bytes]


def seal(plaintext: bytes, *, context: bytes, derive: Derive) -> bytes:
    """Encrypt so that only the same key and context can read it."""
    salt, nonce = secrets.token_bytes(_SALT), secrets.token_bytes(_NONCE)
    cipher = AESGCM(derive(_PURPOSE + salt))
    return _HEADER + salt + nonce + cipher.encrypt(nonce, plaintext, _bound(salt, context))


def unseal(sealed: bytes, *, context: bytes, derive: Derive) -> bytes:
    """Decrypt what :func:`seal` made.

    Raises:
        EnclaveError: ``agent-unseal``: whatever is wrong with it.
    """
    header, rest = sealed[: len(_HEADER)], sealed[len(_HEADER) :]
    salt, nonce, hidden = rest[:_SALT], rest[_SALT : _SALT + _NONCE], rest[_SALT + _NONCE :]
    if header == _HEADER and len(hidden) >= _TAG:
        try:
            return AESGCM(derive(_PURPOSE + salt)).decrypt(nonce, hidden, _bound(salt, context))
        except InvalidTag:
            pass
    raise EnclaveError("agent-unseal", actual=len(sealed))


def _bound(salt: bytes, context: bytes) -> bytes:
    return _HEADER + salt + len(context).to_bytes(4, "big") + context
