# SPDX-License-Identifier: Apache-2.0
"""RSA keys: one scheme with every parameter settled, and no other key."""

import functools
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.conftest import vector_roots
from tests.trust.forge import key as ec_key
from tests.trust.forge import number, sequence, spki, tlv

from nacre.errors import MalformedEvidence
from nacre.trust import oids
from nacre.trust.anchors import vendor_anchor
from nacre.trust.keys import P384_SHA384
from nacre.trust.rsa import PSS_4096_SHA384, PssScheme
from nacre.trust.signatures import Signatures
from nacre.trust.x509 import algorithm, anchor_certificate, parse_certificate

_MESSAGE = b"message"


@functools.cache
def _private(size: int = 4096, exponent: int = 65537) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(exponent, size)


def _spki(private: rsa.RSAPrivateKey) -> bytes:
    return private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _sign(
    *,
    digest: hashes.HashAlgorithm | None = None,
    mask: hashes.HashAlgorithm | None = None,
    salt: int = 48,
) -> bytes:
    sha384 = hashes.SHA384()
    pss = padding.PSS(padding.MGF1(mask or sha384), salt)
    return _private().sign(_MESSAGE, pss, digest or sha384)


def test_signatures_hold_or_do_not() -> None:
    loaded = PSS_4096_SHA384.spki(_spki(_private()))
    assert loaded.algorithm == PSS_4096_SHA384.algorithm == oids.RSASSA_PSS
    assert oids.dotted(oids.RSASSA_PSS) == "1.2.840.113549.1.1.10"
    assert oids.dotted(oids.RSA_ENCRYPTION) == "1.2.840.113549.1.1.1"
    signature = _sign()
    assert loaded.holds(signature, _MESSAGE)
    assert not loaded.holds(signature, _MESSAGE + b"\0")
    for bit in range(0, 4096, 97):
        flipped = bytearray(signature)
        flipped[bit >> 3] ^= 1 << (bit & 7)
        assert not loaded.holds(bytes(flipped), _MESSAGE)
    for other in (
        b"",
        b"\0",
        bytes(512),
        b"\xff" * 512,
        signature[:-1],
        signature + b"\0",
        b"\0" + signature,
    ):
        assert not loaded.holds(other, _MESSAGE)


@pytest.mark.parametrize("salt", [0, 32, 47, 49, 64])
def test_the_salt_has_48_bytes(salt: int) -> None:
    assert not PSS_4096_SHA384.spki(_spki(_private())).holds(_sign(salt=salt), _MESSAGE)


def test_both_hashes_are_sha384() -> None:
    loaded = PSS_4096_SHA384.spki(_spki(_private()))
    for hashed in (hashes.SHA256(), hashes.SHA512()):
        assert not loaded.holds(_sign(digest=hashed), _MESSAGE)
        assert not loaded.holds(_sign(mask=hashed), _MESSAGE)
    older = _private().sign(_MESSAGE, padding.PKCS1v15(), hashes.SHA384())
    assert not loaded.holds(older, _MESSAGE)


def _refused(data: bytes) -> str:
    with pytest.raises(MalformedEvidence) as caught:
        PSS_4096_SHA384.spki(data)
    assert str(caught.value) != caught.value.code
    return caught.value.code


def _public(modulus: bytes, exponent: bytes, head: str = "300d06092a864886f70d0101010500") -> bytes:
    return sequence(bytes.fromhex(head), tlv(0x03, b"\0", sequence(modulus, exponent)))


def test_other_keys() -> None:
    numbers = _private().public_key().public_numbers()
    n, e = number(numbers.n), number(numbers.e)
    assert _public(n, e) == _spki(_private())
    assert _refused(_spki(_private(3072))) == "key-unusable"
    assert _refused(_spki(_private(4096, 3))) == "key-unusable"
    assert _refused(_public(number(numbers.n - 1), e)) == "key-unusable"
    assert _refused(_public(number(numbers.n * 2), e)) == "key-unusable"
    assert _refused(_public(n, number(65539))) == "key-unusable"
    # id-RSASSA-PSS as the key's own algorithm: no vendor certifies such keys
    assert _refused(_public(n, e, "300b06092a864886f70d01010a")) == "key-unusable"
    # rsaEncryption without its NULL
    assert _refused(_public(n, e, "300b06092a864886f70d010101")) == "key-unusable"
    assert _refused(spki(ec_key(1, ec.SECP384R1))) == "key-unusable"
    for data in (
        b"",
        b"\x30\x00",
        _public(n, e) + b"\0",
        _public(n, e + b"\0"),
        _public(number(-numbers.n), e),
        _public(b"\x02\x82\x02\x02\0\0" + numbers.n.to_bytes(512, "big"), e),
        _public(n, b""),
        sequence(bytes.fromhex("300d06092a864886f70d0101010500"), tlv(0x03, b"\1", sequence(n, e))),
        sequence(bytes.fromhex("300d06092a864886f70d0101010500"), tlv(0x03, b"\0", sequence(n, e)), b"\5\0"),
        sequence(bytes.fromhex("300d06092a864886f70d0101010500"), tlv(0x03, b"\0", sequence(n, e), b"\0")),
    ):
        assert _refused(data) in ("truncated", "der-value", "der-tag", "trailing-bytes", "key-unusable")
    with pytest.raises(MalformedEvidence):
        P384_SHA384.spki(_public(n, e))


def test_another_size_is_another_scheme() -> None:
    assert PssScheme(3072).spki(_spki(_private(3072))).algorithm == oids.RSASSA_PSS
    assert "3072" in PssScheme(3072).name
    signatures = Signatures()
    data = _spki(_private())
    assert signatures.key(PSS_4096_SHA384, data) is signatures.key(PSS_4096_SHA384, data)


_HEAD = "300d06096086480165030402020500"
_STRICT = f"a00f{_HEAD}a11c301a06092a864886f70d010108{_HEAD}a203020130"


def _algorithm(parameters: str) -> bytes:
    return sequence(tlv(0x06, oids.RSASSA_PSS), bytes.fromhex(parameters))


@pytest.mark.parametrize("parameters", [f"3034{_STRICT}", f"3039{_STRICT}a303020101"])
def test_rule_pss_explicit_trailer(parameters: str) -> None:
    """The trailer's default may be written out; nothing else may differ."""
    data = _algorithm(parameters)
    assert algorithm(data, 0, len(data)) == (oids.RSASSA_PSS, bytes.fromhex(parameters), len(data))


def _neighbours() -> Iterator[str]:
    yield ""  # no parameters: SHA-1
    yield "0500"
    yield "3000"  # all defaults: SHA-1
    yield f"3039{_STRICT}a303020102"  # another trailer
    yield f"3039{_STRICT}a303020100"
    yield f"3039{_STRICT}a403020101"
    yield f"3034{_STRICT}".replace("a203020130", "a203020120")  # 32 bytes of salt
    yield f"3034{_STRICT}".replace("a203020130", "a203020131")
    yield f"3034{_STRICT}".replace("0402020500", "0402010500", 1)  # SHA-256
    yield f"3034{_STRICT}"[: -len("0402020500a203020130")] + "0402010500a203020130"  # MGF1 with SHA-256
    yield f"3034{_STRICT}".replace("010108", "010107")  # no MGF1
    yield f"302fa00f{_HEAD}a11c301a06092a864886f70d010108{_HEAD}"  # the default salt, 20
    yield "3030" + f"a00d{_HEAD}".replace("300d", "300b").replace("0500", "") + _STRICT[34:]  # no NULL


@pytest.mark.parametrize("parameters", list(_neighbours()))
def test_neighbours_of_the_parameters(parameters: str) -> None:
    data = _algorithm(parameters)
    with pytest.raises(MalformedEvidence) as caught:
        algorithm(data, 0, len(data))
    assert caught.value.code in ("algorithm-parameters", "truncated", "trailing-bytes")


def _certificates() -> list[Path]:
    return sorted(
        path
        for root in vector_roots()[:1]
        for name in ("vcek", "vlek", "ask", "ark")
        for path in root.glob(f"snp/*-crl/{name}.der")
    )


def test_genuine_certificates() -> None:
    """By the issuer's key and by no other line's, in both encodings of the parameters."""
    roots = {
        root.subject: root
        for root in (
            anchor_certificate(vendor_anchor(f"amd-ark-{line}")) for line in ("milan", "genoa", "turin")
        )
    }
    seen = set()
    for path in _certificates():
        certificate = parse_certificate(path.read_bytes())
        for subject, root in roots.items():
            holds = PSS_4096_SHA384.spki(root.spki).holds(certificate.signature, certificate.tbs)
            assert holds == (certificate.issuer == subject)
        seen.add((certificate.common_name, len(certificate.signature_parameters)))
    assert len({parameters for _, parameters in seen}) == 2
