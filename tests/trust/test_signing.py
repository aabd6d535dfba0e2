# SPDX-License-Identifier: Apache-2.0
"""Private keys that sign: which algorithm a key has, and what its signatures are."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from nacre.errors import ConfigurationError
from nacre.trust.jwa import ALGORITHMS
from nacre.trust.signing import PrivateKey, signing_key

KEYS: dict[str, PrivateKey] = {
    "ES256": ec.derive_private_key(3, ec.SECP256R1()),
    "ES384": ec.derive_private_key(3, ec.SECP384R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32))),
}


@pytest.mark.parametrize("name", KEYS)
def test_a_key_signs_with_its_one_algorithm_and_always_the_same(name: str) -> None:
    key, algorithm = KEYS[name], ALGORITHMS[name]
    chosen = signing_key(key)
    assert (chosen.name, chosen.algorithm) == (name, algorithm.cose)
    signature = chosen.sign(b"message")
    algorithm.verify(key.public_key(), signature, b"message")
    assert signing_key(key).sign(b"message") == signature


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1()])
def test_short_numbers_keep_their_size(curve: ec.EllipticCurve) -> None:
    """Of 600 signatures some have an r or s with a zero byte in front."""
    key = ec.derive_private_key(5, curve)
    signatures = [signing_key(key).sign(bytes((count >> 8, count & 255))) for count in range(600)]
    size = curve.key_size // 8
    assert {len(signature) for signature in signatures} == {2 * size}
    assert any(0 in (signature[0], signature[size]) for signature in signatures)


@pytest.mark.parametrize(
    ("key", "actual"),
    [
        (ec.derive_private_key(3, ec.SECP521R1()), "secp521r1"),
        (ec.derive_private_key(3, ec.SECP256K1()), "secp256k1"),
        (rsa.generate_private_key(65537, 2048), "RSAPrivateKey"),
        (ed448.Ed448PrivateKey.generate(), "Ed448PrivateKey"),
        (KEYS["ES256"].public_key(), "ECPublicKey"),
        (b"secret", "bytes"),
    ],
)
def test_other_keys_are_refused(key: object, actual: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        signing_key(key)
    assert (refused.value.code, refused.value.context) == ("signing-key", {"actual": actual})
