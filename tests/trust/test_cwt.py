# SPDX-License-Identifier: Apache-2.0
"""Signed CBOR tokens: the same rules as for JSON ones, and nothing outside the protected header."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.trust.tokens import ED, KEYS, P256, RSA, Private, jwk, jwks, pem, sign

from nacre.errors import MalformedEvidence, NacreError, UnsupportedEvidence, VerificationError
from nacre.trust import cbor, cwt
from nacre.trust.jwa import ALGORITHMS
from nacre.trust.jwk import read_keys

ANY = frozenset(ALGORITHMS)


def message(
    header: object,
    key: Private = P256,
    algorithm: str = "ES256",
    *,
    tags: bytes = b"\xd2",
    unprotected: object = None,
) -> bytes:
    protected = header if isinstance(header, bytes) else cbor.dumps(header)
    signed = cbor.dumps(["Signature1", protected, b"", b"\xa0"])
    return tags + cbor.dumps([protected, unprotected or {}, b"\xa0", sign(key, algorithm, signed)])


def verify(token: bytes, keys: bytes, algorithms: frozenset[str] = ANY) -> str:
    read = cwt.loads(token, what="token")
    signer = cwt.verify(read, read_keys(keys), algorithms=algorithms, check="token.signature", what="token")
    return signer.key_id


def refused(token: bytes, keys: bytes, algorithms: frozenset[str] = ANY) -> str:
    with pytest.raises((MalformedEvidence, UnsupportedEvidence, VerificationError)) as raised:
        verify(token, keys, algorithms)
    assert "?" not in str(raised.value)
    return raised.value.code


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
@pytest.mark.parametrize("tags", [b"", b"\xd2", b"\xd8\x3d\xd2"])
def test_every_algorithm(algorithm: str, tags: bytes) -> None:
    key = KEYS[algorithm]
    token = message({1: ALGORITHMS[algorithm].cose, 4: b"k1"}, key, algorithm, tags=tags)
    assert verify(token, jwks(jwk(key, kid="k1")), frozenset({algorithm})) == "k1"
    assert refused(token, pem(key), ANY - {algorithm}) == "jws-algorithm"
    assert refused(token, pem(ED if key is RSA else RSA)) == "jws-algorithm"


@pytest.mark.parametrize(
    ("token", "code"),
    [
        (message({1: -7}, tags=b"\xd8\x3d"), "cwt-tag"),
        (message({1: -7}, tags=b"\xd8\x3e"), "cbor-item"),
        (message({1: -7}, unprotected={4: b"k1"}), "cose-header"),
        (message({}), "cose-header"),
        (message([]), "cose-header"),
        (message({1: "ES256"}), "cose-header"),
        (message({1: True}), "cose-header"),
        (message({1: -7, 4: "k1"}), "cose-header"),
        (message(b"\xa2\x01\x26\x01\x26"), "cbor-duplicate-key"),
        (message(b""), "truncated"),
        (message({1: -7, 2: [3]}), "jws-critical"),
        (message({1: 5}), "jws-algorithm"),
        (message({1: -7, 4: b"k2"}), "jws-key-unknown"),
        (message({1: -7, 4: b"\xff\xfe"}), "jws-key-unknown"),
        (message({1: -7, 4: b"k\n"}), "jws-key-unknown"),
        (message({1: -7}, KEYS["ES384"], "ES384"), "signature-invalid"),
        (message({1: -7}, ED), "signature-invalid"),
        (b"", "truncated"),
    ],
)
def test_what_is_refused(token: bytes, code: str) -> None:
    assert refused(token, jwks(jwk(P256, kid="k1"))) == code


def test_a_key_id_that_is_no_text_is_told_in_hex() -> None:
    assert cwt.loads(message({1: -7, 4: b"\xff\xfe"}), what="token").key_id == "fffe"
    assert cwt.loads(message({1: 5}), what="token").algorithm == "5"


@given(st.binary(max_size=60))
def test_nothing_but_our_errors_comes_out(data: bytes) -> None:
    for head in (b"", b"\xd2\x84", b"\xd8\x3d\xd2\x84"):
        with suppress(NacreError):
            cwt.loads(head + data, what="token")
