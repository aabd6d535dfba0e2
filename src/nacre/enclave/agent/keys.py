# SPDX-License-Identifier: Apache-2.0
"""The keys of one start of an enclave: made inside, never written down, and gone with it.

Three identity keys (Ed25519, P-256, X25519) stand in the identity document. With the first two the agent
signs for the app, but never the app's bytes as they are: what is signed is::

    "nacre/v1/app-signature" ‖ 00 ‖ u32 big-endian length ‖ message

so that no signature made for an app can be taken for one of the agent's own statements.

Keys for the app are derived by HKDF-SHA-256 (RFC 5869) from the device's sealing key, which only this image
on this machine gets. Where the hardware has none they come from random bytes and end with this start.
"""

import secrets
from typing import Literal

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, x25519
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from nacre.enclave.agent import sealing

__all__ = ["Algorithm", "Keys", "Lasting", "statement"]

Algorithm = Literal["ed25519", "p256"]
#: How long derived keys live: as long as the image on this machine, or as this start.
Lasting = Literal["image", "boot"]

_SIGNATURE = b"nacre/v1/app-signature\0"
_DERIVE = b"nacre/v1/app-key\0"
_SEALING_CONTEXT = b"nacre/v1/agent"
_KEY = 32


def statement(message: bytes) -> bytes:
    """Return what is really signed when an app has ``message`` signed."""
    return _SIGNATURE + _lv(message)


def _lv(part: bytes) -> bytes:
    return len(part).to_bytes(4, "big") + part


class Keys:
    """The identity keys of this start, and what apps derive from its sealing key."""

    def __init__(self, sealing_key: bytes | None) -> None:
        """Make the identity keys.

        Args:
            sealing_key: The device's, 32 bytes, for :attr:`context`; None where there is none.
        """
        self._ed25519 = ed25519.Ed25519PrivateKey.generate()
        self._p256 = ec.generate_private_key(ec.SECP256R1())
        self._x25519 = x25519.X25519PrivateKey.generate()
        self._root = secrets.token_bytes(_KEY) if sealing_key is None else sealing_key
        self.lasting: Lasting = "boot" if sealing_key is None else "image"

    #: What the device is asked for a sealing key with.
    context = _SEALING_CONTEXT

    def __repr__(self) -> str:
        """Show no key, wherever this is printed."""
        return f"Keys(lasting={self.lasting!r})"

    def public(self) -> dict[str, bytes]:
        """Return the public keys by name, DER SubjectPublicKeyInfo."""
        form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return {
            "ed25519": self._ed25519.public_key().public_bytes(*form),
            "p256": self._p256.public_key().public_bytes(*form),
            "x25519": self._x25519.public_key().public_bytes(*form),
        }

    def sign(self, message: bytes, *, algorithm: Algorithm) -> bytes:
        """Sign :func:`statement` of a message: Ed25519, 64 bytes; P-256 with SHA-256, DER."""
        if algorithm == "ed25519":
            return self._ed25519.sign(statement(message))
        return self._p256.sign(statement(message), ec.ECDSA(hashes.SHA256()))

    def derive(self, path: str, *, purpose: str = "") -> bytes:
        """Derive 32 bytes for the app: the same for the same path and purpose, unrelated for any other."""
        return self._expand(_DERIVE + _lv(path.encode()) + _lv(purpose.encode()))

    def seal(self, plaintext: bytes, *, context: bytes) -> bytes:
        """Encrypt so that only :meth:`unseal` under the same sealing key and context can read it."""
        return sealing.seal(plaintext, context=context, derive=self._expand)

    def unseal(self, sealed: bytes, *, context: bytes) -> bytes:
        """Decrypt what :meth:`seal` made.

        Raises:
            EnclaveError: ``agent-unseal``.
        """
        return sealing.unseal(sealed, context=context, derive=self._expand)

    def _expand(self, info: bytes) -> bytes:
        return HKDF(hashes.SHA256(), _KEY, salt=None, info=info).derive(self._root)
