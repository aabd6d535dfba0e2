# SPDX-License-Identifier: Apache-2.0
"""Only a key that a processor takes signs an enclave."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from nacre.build.gramine import is_signature
from nacre.cli.author import author
from nacre.errors import ConfigurationError

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


def written(key: Key, folder: Path) -> str:
    path = folder / "key.pem"
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return str(path)


def test_an_authors_key_signs(tmp_path: Path) -> None:
    key = rsa.generate_private_key(public_exponent=3, key_size=3072)
    found = author(written(key, tmp_path))
    assert found.modulus == key.public_key().public_numbers().n
    key.public_key().verify(found.sign(b"message"), b"message", PKCS1v15(), SHA256())


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(lambda: ec.generate_private_key(ec.SECP256R1()), id="another kind"),
        pytest.param(lambda: rsa.generate_private_key(public_exponent=3, key_size=2048), id="another size"),
    ],
)
def test_another_key_does_not(tmp_path: Path, key: object) -> None:
    assert callable(key)
    with pytest.raises(ConfigurationError) as caught:
        author(written(key(), tmp_path))
    assert caught.value.code == "author-key"


def test_what_is_no_key(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_bytes(b"key")
    with pytest.raises(ConfigurationError) as caught:
        author(str(tmp_path / "key.pem"))
    assert caught.value.code == "author-key"


def test_an_authors_signature_is_no_difference_of_a_rebuild() -> None:
    assert is_signature("gramine/worm.sig")
    for name in ("gramine/worm.manifest.sgx", "gramine/rootfs/app/worm.sig", "worm.sig", "oci/worm.sig"):
        assert not is_signature(name)
