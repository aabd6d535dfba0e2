# SPDX-License-Identifier: Apache-2.0
"""ID blocks are those of virtee/sev-snp-measure, and what firmware checks holds."""

import base64
import json
from collections.abc import Callable, Iterator

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from tests.conftest import vector_roots

from nacre.errors import ConfigurationError
from nacre.platforms.snp.identity import IdentityKey, authentication, block, key_digest
from nacre.trust.signing import signing_key

_PATH = next(
    root / "measure/snp/id_block.json"
    for root in vector_roots()
    if (root / "measure/snp/id_block.json").is_file()
)
_SAYS = json.loads(_PATH.read_bytes())
_POLICY = 0x30000


def _key(number: int, curve: ec.EllipticCurve) -> IdentityKey:
    private = ec.derive_private_key(number, curve)
    return IdentityKey(private.public_key(), signing_key(private).sign)


_ID, _AUTHOR = _key(11, ec.SECP384R1()), _key(12, ec.SECP384R1())


def _nobody(_: bytes) -> bytes:
    return b""


def test_the_block() -> None:
    digest = base64.b64decode(_SAYS["ld_b64"])
    assert block(digest, policy=_POLICY) == base64.b64decode(_SAYS["id_block_b64"])
    whole = block(digest, policy=1 << 63, guest_svn=7, family_id=b"f" * 16, image_id=b"i" * 16)
    assert whole[48:] == (b"f" * 16 + b"i" * 16 + b"\1\0\0\0" + b"\7\0\0\0" + b"\0\0\0\0\0\0\0\x80")


@pytest.mark.parametrize("name", ["id_key", "author_key"])
def test_digests_of_keys(name: str) -> None:
    public = load_pem_public_key(_SAYS[f"{name}_pem"].encode())
    assert isinstance(public, ec.EllipticCurvePublicKey)
    assert key_digest(IdentityKey(public, _nobody)) == base64.b64decode(_SAYS[f"{name}_hash_b64"])


def _holds(key: IdentityKey, field: bytes, message: bytes) -> None:
    r, s = (int.from_bytes(field[at : at + 72], "little") for at in (0, 72))
    key.public.verify(encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA384()))
    assert field[144:] == bytes(368)


def test_both_signatures_hold() -> None:
    identity = block(bytes(48), policy=_POLICY)
    found = authentication(identity, key=_ID, author=_AUTHOR)
    assert (len(found), found[:8]) == (4096, b"\1\0\0\0\1\0\0\0")
    id_key = found[576:1604]
    _holds(_ID, found[64:576], identity)
    _holds(_AUTHOR, found[1664:2176], id_key)
    assert authentication(identity, key=_AUTHOR)[576:1604] == found[2176:3204]


def test_without_an_author() -> None:
    found = authentication(block(bytes(48), policy=_POLICY), key=_ID)
    assert found[:8] == b"\1\0\0\0\0\0\0\0"
    assert not any(found[1604:])


def _wrong_sizes() -> Iterator[Callable[[], bytes]]:
    digest = bytes(48)
    yield lambda: block(digest[:32], policy=_POLICY)
    yield lambda: block(digest, policy=_POLICY, family_id=bytes(15))
    yield lambda: block(digest, policy=_POLICY, image_id=bytes(17))
    yield lambda: block(digest, policy=1 << 64)
    yield lambda: block(digest, policy=-1)
    yield lambda: block(digest, policy=_POLICY, guest_svn=1 << 32)


@pytest.mark.parametrize("made", [*_wrong_sizes()])
def test_values_of_other_sizes(made: Callable[[], bytes]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        made()
    assert caught.value.code == "snp-identity"
    assert str(caught.value)


@pytest.mark.parametrize("key", [_key(11, ec.SECP256R1()), IdentityKey(_ID.public, _nobody)])
def test_keys_that_do_not_fit(key: IdentityKey) -> None:
    with pytest.raises(ConfigurationError) as caught:
        authentication(bytes(96), key=key)
    assert caught.value.code == "snp-identity"
