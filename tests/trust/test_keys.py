# SPDX-License-Identifier: Apache-2.0
"""Keys: one curve, one hash, one encoding each; the same answers from both engines."""

import hashlib
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.trust.forge import key, spki

from nacre.errors import MalformedEvidence
from nacre.trust import keys, oids
from nacre.trust.keys import P256_SHA256, P384_SHA384, EcdsaScheme, engine, raw_signature

_MESSAGE = b"message"

# Orders of the groups, FIPS 186-4, D.1.2.
_ORDERS = {
    "ECDSA P-256": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    "ECDSA P-384": int("f" * 48 + "c7634d81f4372ddf581a0db248b0a77aecec196accc52973", 16),
}


@pytest.fixture(params=["OpenSSL", "AWS-LC"])
def _engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if request.param == "AWS-LC":
        pytest.importorskip("awscrt.crypto", reason="AWS-LC is not installed: nacre[fast]")
    else:
        monkeypatch.setitem(sys.modules, "awscrt.crypto", None)
    engine.cache_clear()
    assert engine() == request.param
    yield
    monkeypatch.undo()
    engine.cache_clear()


_SCHEMES = [
    pytest.param(P256_SHA256, ec.SECP256R1, hashes.SHA256(), id="P-256"),
    pytest.param(P384_SHA384, ec.SECP384R1, hashes.SHA384(), id="P-384"),
]
_with_schemes = pytest.mark.parametrize(("scheme", "curve", "digest"), _SCHEMES)


@pytest.mark.usefixtures("_engine")
@_with_schemes
def test_signatures_hold_or_do_not(
    scheme: EcdsaScheme, curve: type[ec.EllipticCurve], digest: hashes.HashAlgorithm
) -> None:
    private = key(5, curve)
    signature = private.sign(_MESSAGE, ec.ECDSA(digest))
    loaded = scheme.spki(spki(private))
    assert loaded.algorithm == scheme.algorithm
    assert loaded.holds(signature, _MESSAGE)
    assert not loaded.holds(signature, _MESSAGE + b"\0")
    assert not scheme.spki(spki(key(6, curve))).holds(signature, _MESSAGE)
    r, s = decode_dss_signature(signature)
    raw = r.to_bytes(scheme.size, "big") + s.to_bytes(scheme.size, "big")
    assert raw_signature(raw, scheme) == signature
    assert loaded.holds(raw_signature(raw, scheme), _MESSAGE)


@pytest.mark.usefixtures("_engine")
@_with_schemes
def test_bad_signatures_never_hold(
    scheme: EcdsaScheme, curve: type[ec.EllipticCurve], digest: hashes.HashAlgorithm
) -> None:
    private = key(5, curve)
    signature = private.sign(_MESSAGE, ec.ECDSA(digest))
    r, s = decode_dss_signature(signature)
    order = _ORDERS[scheme.name]
    zeros = bytes(2 * scheme.size)
    loaded = scheme.spki(spki(private))
    for bad in (
        b"",
        signature[:-1],
        signature + b"\0",
        b"\x30\x81" + signature[1:],  # BER
        r.to_bytes(scheme.size, "big") + s.to_bytes(scheme.size, "big"),
        b"\x30\x03\x02\x01\x01",
        raw_signature(zeros, scheme),
        encode_dss_signature(0, s),
        encode_dss_signature(r, 0),
        encode_dss_signature(r + order, s),
        encode_dss_signature(r, s + order),
        encode_dss_signature(order, s),
        encode_dss_signature(r, order),
    ):
        assert not loaded.holds(bad, _MESSAGE)


@pytest.mark.usefixtures("_engine")
@_with_schemes
def test_points_that_are_none(
    scheme: EcdsaScheme, curve: type[ec.EllipticCurve], digest: hashes.HashAlgorithm
) -> None:
    del digest
    good = spki(key(5, curve))[-2 * scheme.size :]
    assert scheme.point(good).algorithm == scheme.algorithm
    off_curve = good[:-1] + bytes((good[-1] ^ 1,))
    for bad in (
        b"",
        good[:-1],
        good + b"\0",
        b"\x04" + good,
        off_curve,
        bytes(len(good)),
        b"\xff" * len(good),
    ):
        with pytest.raises(MalformedEvidence) as caught:
            scheme.point(bad)
        assert caught.value.code == "key-unusable"
        assert scheme.name in str(caught.value)


def _compressed(private: ec.EllipticCurvePrivateKey) -> bytes:
    point = private.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    whole = spki(private)
    head = whole[: -2 * (private.key_size // 8) - 1]
    return head[:1] + bytes((len(head) - 2 + len(point),)) + head[2:-2] + bytes((len(point) + 1, 0)) + point


@pytest.mark.usefixtures("_engine")
@_with_schemes
def test_keys_of_other_kinds(
    scheme: EcdsaScheme, curve: type[ec.EllipticCurve], digest: hashes.HashAlgorithm
) -> None:
    del digest
    good = spki(key(5, curve))
    other = ec.SECP384R1 if curve is ec.SECP256R1 else ec.SECP256R1
    public = PublicFormat.SubjectPublicKeyInfo
    for bad in (
        b"",
        good[:-1],
        good + b"\0",
        _compressed(key(5, curve)),
        spki(key(5, other)),
        spki(key(5, ec.SECP256K1)),
        ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32))
        .public_key()
        .public_bytes(Encoding.DER, public),
        rsa.RSAPublicNumbers(3, (1 << 2047) + 9).public_key().public_bytes(Encoding.DER, public),
    ):
        with pytest.raises(MalformedEvidence) as caught:
            scheme.spki(bad)
        assert caught.value.code == "key-unusable"


@_with_schemes
def test_raw_signatures_have_one_size(
    scheme: EcdsaScheme, curve: type[ec.EllipticCurve], digest: hashes.HashAlgorithm
) -> None:
    del curve, digest
    for size in (0, 2 * scheme.size - 1, 2 * scheme.size + 1):
        with pytest.raises(MalformedEvidence) as caught:
            raw_signature(bytes(size), scheme)
        assert caught.value.code == "signature-size"


def test_algorithms_of_certificates() -> None:
    assert (P256_SHA256.algorithm, P384_SHA384.algorithm) == (oids.ECDSA_SHA256, oids.ECDSA_SHA384)


@_with_schemes
def test_the_peer_knows_the_algorithm(
    scheme: EcdsaScheme, curve: type[ec.EllipticCurve], digest: hashes.HashAlgorithm
) -> None:
    # Verification is by the same algorithm object as its own, which costs more to import.
    ours, theirs = scheme._ecdsa, ec.ECDSA(digest)
    assert isinstance(ours, ec.EllipticCurveSignatureAlgorithm)
    assert isinstance(ours.algorithm, type(theirs.algorithm))
    assert ours.deterministic_signing == theirs.deterministic_signing
    assert isinstance(scheme._curve, curve)


class _StandIn:
    """What awscrt's key does, without awscrt: tells what it was asked."""

    def __init__(self, spki: bytes) -> None:
        if spki.endswith(b"\0"):
            raise RuntimeError(spki)
        self.spki = spki

    @classmethod
    def new_key_from_der_data(cls, spki: bytes) -> "_StandIn":
        return cls(spki)

    def verify(self, digest: bytes, signature: bytes) -> bool:
        return signature == b"good" and digest == hashlib.sha384(_MESSAGE).digest()


@pytest.fixture
def _stand_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    module = ModuleType("awscrt.crypto")
    module.EC = _StandIn  # type: ignore[attr-defined]
    package = ModuleType("awscrt")
    package.crypto = module  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "awscrt", package)
    monkeypatch.setitem(sys.modules, "awscrt.crypto", module)
    engine.cache_clear()
    yield
    engine.cache_clear()


@pytest.mark.usefixtures("_stand_in")
def test_aws_lc_is_asked_where_it_is_installed() -> None:
    assert engine() == "AWS-LC"
    loaded = P384_SHA384.spki(spki(key(5, ec.SECP384R1)))
    assert isinstance(loaded, keys._AwslcKey)
    assert loaded.algorithm == oids.ECDSA_SHA384
    assert loaded.holds(b"good", _MESSAGE)
    assert not loaded.holds(b"good", b"another message")
    assert not loaded.holds(b"bad", _MESSAGE)
    assert isinstance(P256_SHA256.spki(spki(key(5))), keys._AwslcKey)
    with pytest.raises(MalformedEvidence) as caught:
        P384_SHA384.point(bytes(96))
    assert caught.value.code == "key-unusable"


@pytest.mark.usefixtures("_stand_in")
def test_a_process_can_stay_with_openssl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "_openssl_only", [])
    keys.stay_with_openssl()
    assert engine() == "OpenSSL"
    assert isinstance(P384_SHA384.spki(spki(key(5, ec.SECP384R1))), keys._OpensslKey)
