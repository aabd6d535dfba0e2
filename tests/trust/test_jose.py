# SPDX-License-Identifier: Apache-2.0
"""Signed tokens: the caller pins keys and algorithms, the token only has to agree."""

import hashlib
import hmac
import json
from base64 import b64encode
from contextlib import suppress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from tests.trust import tokens
from tests.trust.tokens import AT, ED, KEYS, P256, P384, P521, RSA, b64url, jwk, jwks, jws, pem, pki, raw_jws

from nacre.errors import (
    ConfigurationError,
    MalformedEvidence,
    NacreError,
    UnsupportedEvidence,
    VerificationError,
)
from nacre.trust import base64url, jose
from nacre.trust.jose import MAX_TOKEN, Signer, loads
from nacre.trust.jwa import ALGORITHMS, ECDSA
from nacre.trust.jwa import RSA as RSA_NAMES
from nacre.trust.jwk import MAX_KEYS, read_keys
from nacre.trust.x5c import RSA_SHA256

ANY = frozenset(ALGORITHMS)
CLAIMS = {"iss": "somebody", "answer": 42}


def verify(token: bytes, keys: bytes, algorithms: frozenset[str] = ANY, at: int = AT) -> Signer:
    return jose.verify(
        loads(token, what="token"),
        read_keys(keys),
        algorithms=algorithms,
        at=at,
        check="token.signature",
        what="token",
    )


def refused(token: bytes, keys: bytes, algorithms: frozenset[str] = ANY, at: int = AT) -> str:
    with pytest.raises((VerificationError, MalformedEvidence)) as raised:
        verify(token, keys, algorithms, at)
    assert "?" not in str(raised.value)
    return raised.value.code


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_every_algorithm(algorithm: str) -> None:
    key = KEYS[algorithm]
    token = jws(CLAIMS, key, algorithm, kid="k1")
    signer = verify(token, jwks(jwk(key, kid="k1")), frozenset({algorithm}))
    digest = hashlib.sha256(tokens.spki(key)).digest()
    assert signer == Signer("k1", digest, algorithm)
    assert json.loads(loads(token, what="token").payload) == CLAIMS
    assert verify(token, pem(key), frozenset({algorithm})).digest == digest
    flipped = token[:-3] + (b"AAA" if token[-3:] != b"AAA" else b"BAA")
    assert refused(flipped, pem(key)) in ("signature-invalid", "base64url")
    assert refused(token, pem(key), ANY - {algorithm}) == "jws-algorithm"


def test_the_names_are_complete() -> None:
    assert ECDSA | RSA_NAMES == ANY
    assert not {"none", "HS256", "HS384", "HS512"} & ANY


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE", "", "HS256", "ES256K", "RS1"])
def test_unsigned_and_unknown_algorithms(name: str) -> None:
    header = b64url(json.dumps({"alg": name}).encode())
    for signature in ("", b64url(bytes(64))):
        token = f"{header}.{b64url(b'{}')}.{signature}".encode()
        assert refused(token, pem(P256)) == "jws-algorithm"


def _unsigned(header: bytes) -> bytes:
    return f"{b64url(header)}.e30".encode()


def test_an_hmac_with_the_public_key_as_its_secret() -> None:
    for public in (pem(RSA), tokens.spki(RSA)):
        message = _unsigned(b'{"alg":"HS256"}')
        forged = message + b"." + b64url(hmac.digest(public, message, "sha256")).encode()
        assert refused(forged, pem(RSA)) == "jws-algorithm"
        renamed = _unsigned(b'{"alg":"RS256"}')
        forged = renamed + b"." + b64url(hmac.digest(public, renamed, "sha256")).encode()
        assert refused(forged, pem(RSA)) == "signature-invalid"


def test_a_key_serves_its_own_algorithm_only() -> None:
    assert refused(jws(CLAIMS, P256, "ES256"), pem(P384)) == "jws-algorithm"
    assert refused(jws(CLAIMS, RSA, "RS256"), jwks(jwk(RSA, alg="PS256"))) == "jws-algorithm"
    assert verify(jws(CLAIMS, RSA, "PS256"), jwks(jwk(RSA, alg="PS256"))).algorithm == "PS256"
    # RSASSA-PSS signature under a header that says PKCS1, and the other way round
    message = raw_jws(b'{"alg":"RS256"}', b"{}", RSA, "PS256")
    assert refused(message, pem(RSA)) == "signature-invalid"
    assert not ALGORITHMS["EdDSA"].fits(RSA.public_key())
    assert read_keys(pem(RSA)).keys[0].holds(b"", b"", algorithm="EdDSA") is False


def test_keys_in_the_header_are_never_used() -> None:
    mallory = ec.generate_private_key(ec.SECP256R1())
    for header in (
        {"jwk": jwk(mallory)},
        {"jwk": jwk(mallory, kid="k1"), "kid": "k1"},
        {"jku": "https://mallory.example/keys", "kid": "k1"},
        {"x5u": "https://mallory.example/chain", "kid": "k1"},
        {"x5c": pki(P256, mallory).x5c, "kid": "k1"},
        {"x5t#S256": b64url(bytes(32))},
    ):
        forged = jws(CLAIMS, mallory, "ES256", **header)
        assert refused(forged, jwks(jwk(P256, kid="k1"))) in ("signature-invalid", "jws-key-unnamed")
        genuine = jws(CLAIMS, P256, "ES256", **header)
        assert verify(genuine, jwks(jwk(P256, kid="k1"))).key_id == "k1"
        assert set(loads(genuine, what="token").untrusted) == set(header) - {"x5c", "kid"}


def test_the_right_key_id_with_the_wrong_key() -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    pinned = jwks(jwk(P256, kid="k1"), jwk(other, kid="k2"))
    assert refused(jws(CLAIMS, other, "ES256", kid="k1"), pinned) == "signature-invalid"
    assert verify(jws(CLAIMS, other, "ES256", kid="k2"), pinned).key_id == "k2"
    assert refused(jws(CLAIMS, other, "ES256", kid="k3"), pinned) == "jws-key-unknown"


def test_keys_are_not_tried_in_turn() -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    assert refused(jws(CLAIMS, P256), jwks(jwk(P256, kid="k1"), jwk(other, kid="k2"))) == "jws-key-unnamed"
    assert refused(jws(CLAIMS, P256, kid="k1"), pem(P256, other)) == "jws-key-unnamed"
    assert verify(jws(CLAIMS, P256, kid="any"), pem(P256)).key_id == ""


@pytest.mark.parametrize(
    ("token", "code"),
    [
        (b"", "jws-form"),
        (b"a.b", "jws-form"),
        (b"a.b.c.d", "jws-form"),
        (b"a.b.c.d.e", "jws-form"),
        (jws(CLAIMS) + b"=", "base64url"),
        (jws(CLAIMS) + b"\n", "base64url"),
        (b" " + jws(CLAIMS), "base64url"),
        (jws(CLAIMS).replace(b".", b"+.", 1), "base64url"),
        (jws(CLAIMS).replace(b".", b"/.", 1), "base64url"),
        ("é.é.é".encode(), "base64url"),
        (b"A.e30.e30", "base64url"),
        (b"e30x.e30.e30", "json-invalid"),
        (raw_jws(b'{"alg":"ES256","alg":"none"}', b"{}"), "json-duplicate-key"),
        (raw_jws(b"[]", b"{}"), "jws-header"),
        (raw_jws(b"{}", b"{}"), "jws-header"),
        (raw_jws(b'{"alg":["ES256"]}', b"{}"), "jws-header"),
        (raw_jws(b'{"alg":"ES256","kid":7}', b"{}"), "jws-header"),
        (jws(CLAIMS, x5c="MII"), "jws-header"),
        (jws(CLAIMS, x5c=[7]), "jws-header"),
        (jws(CLAIMS, x5c=["!"]), "jws-header"),
        (jws(CLAIMS, x5c=["AA=="] * 6), "too-many"),
        (b"e" * (MAX_TOKEN + 1), "too-large"),
    ],
)
def test_malformed_tokens(token: bytes, code: str) -> None:
    with pytest.raises(MalformedEvidence) as raised:
        loads(token, what="token")
    assert raised.value.code == code
    assert "?" not in str(raised.value)


@pytest.mark.parametrize("member", [{"crit": ["exp"]}, {"b64": False}, {"zip": "DEF"}, {"enc": "A256GCM"}])
def test_extensions_that_change_the_meaning(member: dict[str, object]) -> None:
    with pytest.raises(UnsupportedEvidence) as raised:
        loads(jws(CLAIMS, P256, "ES256", **member), what="token")
    assert raised.value.code == "jws-critical"


def test_spare_bits_are_zero() -> None:
    assert base64url.decode("AA", what="x") == b"\0"
    for text in ("AB", "A", "AA==", "A A", "AA\n"):
        with pytest.raises(MalformedEvidence):
            base64url.decode(text, what="x")


@given(st.binary())
def test_base64url_has_one_spelling(data: bytes) -> None:
    assert base64url.decode(base64url.encode(data), what="x") == data


@given(st.binary(max_size=60) | st.text(alphabet="AZaz09-_.{}\n=", max_size=80).map(str.encode))
def test_nothing_but_our_errors_comes_out(data: bytes) -> None:
    for read in (lambda: loads(data, what="token"), lambda: read_keys(data)):
        with suppress(NacreError):
            read()


def test_every_flipped_bit_is_refused() -> None:
    token, keys = jws(CLAIMS, kid="k1"), jwks(jwk(P256, kid="k1"))
    for place in range(8 * len(token)):
        changed = bytearray(token)
        changed[place // 8] ^= 1 << place % 8
        with pytest.raises((MalformedEvidence, UnsupportedEvidence, VerificationError)):
            verify(bytes(changed), keys)


@pytest.mark.parametrize(
    ("keys", "digest"),
    [
        ((RSA, P256), hashes.SHA256()),
        ((RSA, RSA), hashes.SHA384()),
        ((RSA, ED), hashes.SHA512()),
        ((P256, P256), hashes.SHA256()),
        ((P384, P384), hashes.SHA384()),
    ],
)
def test_a_chain_under_a_pinned_root(
    keys: tuple[tokens.Private, tokens.Private], digest: tokens.Digest
) -> None:
    made = pki(*keys, digest)
    name = next(name for name in ("ES256", "ES384", "EdDSA", "PS256") if KEYS[name] is keys[1])
    for chain in (made.x5c, made.x5c[:2]):
        signer = verify(jws(CLAIMS, keys[1], name, x5c=chain), made.root_pem)
        assert (signer.key_id, signer.anchor) == ("Token Leaf", "Token Root")
        assert signer.not_after == AT + 30 * 86400
    assert refused(jws(CLAIMS, keys[1], name), made.root_pem) == "jws-key-unnamed"
    assert refused(jws(CLAIMS, P521, "ES512", x5c=made.x5c), made.root_pem) == "jws-algorithm"
    assert refused(jws(CLAIMS, keys[1], name, x5c=made.x5c[:1]), made.root_pem) == "chain-anchor"
    late = AT + 31 * 86400
    assert refused(jws(CLAIMS, keys[1], name, x5c=made.x5c), made.root_pem, at=late) == "certificate-expired"


def test_a_chain_under_a_root_of_the_same_name() -> None:
    pinned, forged = pki(), pki(rsa.generate_private_key(65537, 2048))
    for chain in (forged.x5c, forged.x5c[:2]):
        assert refused(jws(CLAIMS, P256, x5c=chain), pinned.root_pem) == "signature-invalid"
    mixed = [forged.x5c[0], *pinned.x5c[1:]]
    assert refused(jws(CLAIMS, P256, x5c=mixed), pinned.root_pem) == "signature-invalid"


def test_a_root_does_not_sign_tokens() -> None:
    made = pki()
    token = jws(CLAIMS, RSA, "PS256", x5c=made.x5c[2:])
    assert refused(token, made.root_pem) == "leaf-is-ca"


def test_a_chain_of_a_kind_that_is_not_known() -> None:
    made = pki(ED, P256)
    assert refused(jws(CLAIMS, P256, x5c=made.x5c), made.root_pem) == "chain-anchor"
    wrong = pki(P256, P256)
    token = jws(CLAIMS, P256, x5c=[b64encode(der).decode() for der in wrong.chain])
    assert refused(token, pki().root_pem) in ("algorithm-unexpected", "key-unusable")
    with pytest.raises(MalformedEvidence) as raised:
        RSA_SHA256.spki(tokens.spki(P256))
    assert raised.value.code == "key-unusable"
    with pytest.raises(MalformedEvidence):
        RSA_SHA256.spki(b"")


def test_a_pinned_leaf_stands_for_its_key() -> None:
    made = pki()
    leaf = x509.load_der_x509_certificate(made.chain[0])
    keys = read_keys(leaf.public_bytes(Encoding.PEM))
    assert (len(keys.keys), keys.anchors) == (1, ())
    assert verify(jws(CLAIMS), leaf.public_bytes(Encoding.PEM)).key_id == ""


def test_private_keys_have_no_business_here() -> None:
    private = P256.private_bytes(
        Encoding.PEM,
        PrivateFormat.PKCS8,
        NoEncryption(),
    )
    for file in (
        private,
        pem(P256) + private,
        jwks(jwk(P256, d="AA")),
        jwks(jwk(RSA), jwk(RSA, dp="AA")),
        json.dumps(jwk(P256, d="AA")).encode(),
        jwks({"kty": "oct", "k": "AA"}),
        jwks({"kty": "oct"}),
    ):
        with pytest.raises(ConfigurationError) as raised:
            read_keys(file)
        assert raised.value.code == "keys-private"
        assert "leaked" in raised.value.hint


@pytest.mark.parametrize(
    ("file", "code"),
    [
        (jwks(jwk(P256, kid="k"), jwk(P384, kid="k")), "keys-duplicate"),
        (jwks(), "keys-none"),
        (jwks(jwk(P256, use="enc")), "keys-none"),
        (jwks(jwk(P256, key_ops=["sign"])), "keys-none"),
        (jwks(jwk(P256, key_ops="verify")), "keys-none"),
        (jwks(jwk(P256, alg="RS256")), "keys-none"),
        (jwks(jwk(P256, crv="secp256k1")), "keys-none"),
        (jwks({"kty": "OKP", "crv": "X25519", "x": "AA"}), "keys-none"),
        (b"{}", "keys-none"),
        (b"[]", "keys-form"),
        (b'{"keys":{}}', "keys-form"),
        (b'{"keys":[7]}', "keys-form"),
        (b'{"keys":[],"keys":[]}', "json-duplicate-key"),
        (b"", "json-invalid"),
        (jwks(*[jwk(P256, kid=str(n)) for n in range(MAX_KEYS + 1)]), "too-many"),
        (jwks(jwk(P256, kid=7)), "keys-parameter"),
        (jwks(jwk(P256, alg=7)), "keys-parameter"),
        (jwks(jwk(P256, x="AA")), "keys-parameter"),
        (jwks(jwk(P256, x=b64url(b"\0" + bytes(32)))), "keys-parameter"),
        (jwks(jwk(P256, x=b64url(bytes(32)))), "keys-unusable"),
        (jwks(jwk(ED, x="AA")), "keys-parameter"),
        (jwks(jwk(RSA, n="AAEC")), "keys-parameter"),
        (jwks(jwk(RSA, n="AQAB")), "keys-unusable"),
        (jwks(jwk(RSA, e=b64url(b"\x02"))), "keys-unusable"),
        (jwks(jwk(RSA, e="")), "keys-parameter"),
        (jwks(jwk(RSA, e=b64url(b"\x01" + bytes(4) + b"\x01"))), "keys-rsa-size"),
        (jwks({"kty": "RSA"}), "keys-parameter"),
        (jwks(jwk(P256, x5c=[])), "keys-parameter"),
        (jwks(jwk(P256, x5c=["!"])), "keys-parameter"),
        (jwks(jwk(P384, x5c=pki().x5c)), "keys-parameter"),
        (pem(rsa.generate_private_key(65537, 1024)), "keys-rsa-size"),  # noqa: S505 (what is refused)
        (pem(ec.generate_private_key(ec.SECP256K1())), "keys-unusable"),
        (b"-----BEGIN PUBLIC KEY-----\nAA==\n-----END PUBLIC KEY-----\n", "keys-unusable"),
    ],
)
def test_key_files_that_cannot_be_used(file: bytes, code: str) -> None:
    with pytest.raises((ConfigurationError, MalformedEvidence)) as raised:
        read_keys(file)
    assert raised.value.code == code
    assert "?" not in str(raised.value)


def test_keys_of_other_kinds_are_refused() -> None:
    public = x25519.X25519PrivateKey.generate().public_key()
    with pytest.raises(MalformedEvidence) as raised:
        read_keys(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    assert raised.value.code == "keys-unusable"


def test_what_does_not_serve_is_told() -> None:
    found = read_keys(jwks(jwk(P256, kid="k1"), jwk(P384, kid="k2", use="enc"), jwk(ED, alg="ES256")))
    assert [key.id for key in found.keys] == ["k1"]
    assert found.ignored == ("k2: use 'enc'", "key 2: alg 'ES256'")


def test_a_set_with_certificates_only() -> None:
    """Azure's key sets have no other parameters."""
    made = pki(RSA, RSA)
    found = read_keys(jwks({"kty": "RSA", "kid": "k1", "x5c": made.x5c}))
    signer = verify(jws(CLAIMS, RSA, "RS256", kid="k1"), jwks({"kty": "RSA", "kid": "k1", "x5c": made.x5c}))
    assert signer.key_id == "k1"
    assert found.keys[0].digest == hashlib.sha256(tokens.spki(RSA)).digest()
    assert read_keys(jwks(jwk(P256, x5c=pki().x5c))).keys


def test_a_single_key_is_a_set() -> None:
    assert read_keys(json.dumps(jwk(ED)).encode()).keys[0].algorithms == {"EdDSA"}
