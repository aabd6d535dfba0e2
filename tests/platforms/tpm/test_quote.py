# SPDX-License-Identifier: Apache-2.0
"""Quotes of real TPMs hold, and whatever is wrong with one is found."""

import base64
import contextlib
import hashlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import load_der_public_key
from hypothesis import given
from hypothesis import strategies as st

from nacre.errors import ConfigurationError, MalformedEvidence, NacreError, VerificationError
from nacre.platforms.tpm.quote import CHECK, attestation_key, parse, verify
from nacre.trust import pem
from nacre.trust.jwa import fitting
from nacre.trust.jwk import Key, certificate_key, read_keys
from nacre.trust.x509 import parse_certificate

_NONCE = b"nonce of this question"
_PCRS = {0: b"\1" * 32, 9: b"\2" * 32, 23: b"\3" * 32}
_PRIVATE = ec.derive_private_key(7, ec.SECP256R1())
_NUMBERS = _PRIVATE.public_key().public_numbers()
_RESTRICTED = 0x00050072


def _sized(data: bytes) -> bytes:
    return struct.pack(">H", len(data)) + data


def _selection(registers: Mapping[int, bytes], *, bank: int = 0x0B, count: int = 1, size: int = 3) -> bytes:
    chosen = sum(1 << number for number in registers).to_bytes(size, "little")
    return struct.pack(">IHB", count, bank, size) + chosen


def _attest(
    *,
    head: bytes = bytes.fromhex("ff5443478018"),
    nonce: bytes = _NONCE,
    safe: int = 1,
    selection: bytes = _selection(_PCRS),
    values: bytes = b"".join(_PCRS.values()),
    end: bytes = b"",
) -> bytes:
    clock = struct.pack(">QIIBQ", 1000, 2, 3, safe, 4)
    digest = hashlib.sha256(values).digest()
    return head + _sized(b"signer") + _sized(nonce) + clock + selection + _sized(digest) + end


def _signed(data: bytes, *, private: ec.EllipticCurvePrivateKey = _PRIVATE) -> bytes:
    r, s = decode_dss_signature(private.sign(data, ec.ECDSA(hashes.SHA256())))
    return struct.pack(">HH", 0x18, 0x0B) + b"".join(_sized(one.to_bytes(32, "big")) for one in (r, s))


def _public(
    *,
    kind: int = 0x23,
    attributes: int = _RESTRICTED,
    scheme: tuple[int, int, int] = (0x10, 0x18, 0x0B),
    rest: bytes | None = None,
) -> bytes:
    coordinates = b"".join(_sized(one.to_bytes(32, "big")) for one in (_NUMBERS.x, _NUMBERS.y))
    own = struct.pack(">HH", 3, 0x10) + coordinates if rest is None else rest
    return struct.pack(">HHIHHHH", kind, 0x0B, attributes, 0, *scheme) + own


_KEY = attestation_key(_public())


@pytest.fixture
def quotes(vectors: Path) -> Path:
    """Quotes of others, which are not kept here."""
    if not (vectors / "tpm").is_dir():
        pytest.skip("quotes of real TPMs are not beside this checkout")
    return vectors


def _case(folder: Path) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads((folder / "case.json").read_text())
    return found


def _values(folder: Path) -> dict[int, bytes]:
    stated = json.loads((folder / "pcrs.json").read_text())
    return {int(number): bytes.fromhex(value) for number, value in stated.get("values", stated).items()}


def _tpmt(der: bytes) -> bytes:
    r, s = decode_dss_signature(der)
    return struct.pack(">HH", 0x18, 0x0B) + b"".join(_sized(one.to_bytes(32, "big")) for one in (r, s))


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("gce-cos85-nonce9009-sha256", None),
        ("gce-cos85-empty-nonce-demanded", "quote-nonce"),
        ("gce-cos85-5000-duplicate-selections", "too-large"),
    ],
)
def test_quotes_signed_with_rsa(quotes: Path, name: str, code: str | None) -> None:
    folder = quotes / "tpm" / name
    key = attestation_key((folder / "ak-public-tpmt.bin").read_bytes())
    certificate = certificate_key(parse_certificate((folder / "ak-cert.der").read_bytes()))
    assert (key.digest, key.algorithms) == (certificate.digest, frozenset({"RS256"}))
    with contextlib.nullcontext() if code is None else pytest.raises(NacreError) as caught:
        quote = verify(
            attest=(folder / "quote.bin").read_bytes(),
            signature=(folder / "signature-tpmt.bin").read_bytes(),
            key=key,
            nonce=bytes.fromhex(_case(folder)["policy"]["nonce"]),
            algorithm="sha256",
            pcrs=_values(folder),
        )
        assert (quote.resets, quote.safe, quote.registers) == (10, True, tuple(range(24)))
    if code is not None:
        assert caught is not None
        assert caught.value.code == code


@pytest.mark.parametrize(
    ("name", "bank", "code"),
    [
        ("tpm/gcp-sev-vtpm-2026", "sha256", None),
        ("tpm/gcp-sev-vtpm-pcr4-changed", "sha256", "quote-digest"),
        ("nitrotpm/vaportpm-document-and-quote", "sha384", None),
    ],
)
def test_quotes_signed_on_a_curve(quotes: Path, name: str, bank: str, code: str | None) -> None:
    folder = quotes / name
    if (folder / "ak-chain.pem").exists():
        leaf = pem.certificates((folder / "ak-chain.pem").read_bytes())[0]
        key = certificate_key(parse_certificate(leaf))
    else:
        point = bytes.fromhex(_case(folder)["expected"]["claims"]["public_key"])
        public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
        key = Key("", fitting(public), b"", public)
    with contextlib.nullcontext() if code is None else pytest.raises(VerificationError) as caught:
        verify(
            attest=memoryview((folder / "quote.bin").read_bytes()),
            signature=memoryview(_tpmt((folder / "signature.bin").read_bytes())),
            key=key,
            nonce=bytes.fromhex(_case(folder)["policy"]["nonce"]),
            algorithm=bank,
            pcrs=_values(folder),
        )
    if code is not None:
        assert caught is not None
        assert (caught.value.code, caught.value.check) == (code, CHECK)


def test_a_quote_of_an_emulator(quotes: Path) -> None:
    evidence = json.loads((quotes / "tpm" / "trustee-swtpm-json" / "evidence.json").read_text())
    quote = evidence["tpm_quote"]
    attest, signature = (base64.b64decode(quote[name]) for name in ("message", "signature"))
    public = load_der_public_key(base64.b64decode(evidence["ak_public"]))
    assert isinstance(public, rsa.RSAPublicKey)
    parsed = parse(attest)
    values = [base64.b64decode(one) if len(one) == 44 else bytes.fromhex(one) for one in quote["pcrs"]]
    found = verify(
        attest=attest,
        signature=signature,
        key=Key("", fitting(public), b"", public),
        nonce=parsed.nonce,
        algorithm="sha256",
        pcrs=dict(zip(parsed.registers, values, strict=True)),
    )
    assert found == parsed


@pytest.mark.parametrize(
    ("name", "code"), [("keylime-emulator-pcr15-16-22", None), ("keylime-magic-broken", "quote-form")]
)
def test_values_that_are_not_given_are_not_quoted(quotes: Path, name: str, code: str | None) -> None:
    folder = quotes / "tpm" / name
    key = read_keys((folder / "ak.pem").read_bytes()).keys[0]
    with pytest.raises(NacreError) as caught:
        verify(
            attest=(folder / "quote.bin").read_bytes(),
            signature=(folder / "signature-tpmt.bin").read_bytes(),
            key=key,
            nonce=bytes.fromhex(_case(folder)["policy"]["nonce"]),
            algorithm="sha256",
            pcrs={},
        )
    assert caught.value.code == (code or "quote-registers")


def _verified(attest: bytes, **changes: Any) -> object:  # noqa: ANN401 (arguments of any kind)
    told: dict[str, Any] = {
        "attest": attest,
        "signature": _signed(attest),
        "key": _KEY,
        "nonce": _NONCE,
        "algorithm": "sha256",
        "pcrs": _PCRS,
    }
    return verify(**(told | changes))


def test_fields() -> None:
    quote = verify(
        attest=_attest(),
        signature=_signed(_attest()),
        key=_KEY,
        nonce=_NONCE,
        algorithm="sha256",
        pcrs=dict(reversed(_PCRS.items())),
    )
    assert (quote.signer, quote.nonce, quote.bank, quote.registers) == (
        b"signer",
        _NONCE,
        "sha256",
        (0, 9, 23),
    )
    assert (quote.clock, quote.resets, quote.restarts, quote.safe, quote.firmware) == (1000, 2, 3, True, 4)


_REFUSED = {
    "nonce": ({"nonce": b"another"}, "quote-nonce"),
    "bank": ({"algorithm": "sha384"}, "quote-bank"),
    "fewer": ({"pcrs": {0: _PCRS[0], 9: _PCRS[9]}}, "quote-registers"),
    "more": ({"pcrs": _PCRS | {1: bytes(32)}}, "quote-registers"),
    "value": ({"pcrs": _PCRS | {9: bytes(32)}}, "quote-digest"),
    "signer": (
        {"signature": _signed(_attest(), private=ec.derive_private_key(8, ec.SECP256R1()))},
        "signature-invalid",
    ),
    "scheme": (
        {"signature": struct.pack(">HH", 0x14, 0x0B) + _sized(bytes(256))},
        "signature-invalid",
    ),
}


@pytest.mark.parametrize(("changes", "code"), _REFUSED.values(), ids=_REFUSED.keys())
def test_quotes_that_do_not_hold(changes: Mapping[str, object], code: str) -> None:
    with pytest.raises(VerificationError) as caught:
        _verified(_attest(), **changes)
    assert (caught.value.code, caught.value.check) == (code, CHECK)
    assert str(caught.value)


def test_no_nonce_answers_no_question() -> None:
    with pytest.raises(VerificationError) as caught:
        _verified(_attest(nonce=b""), nonce=b"")
    assert caught.value.code == "quote-nonce"
    with pytest.raises(ConfigurationError):
        _verified(_attest(), algorithm="sha1")


_MALFORMED = {
    "magic": (_attest(head=bytes.fromhex("ff5443468018")), "quote-form"),
    "certified": (_attest(head=bytes.fromhex("ff5443478017")), "quote-form"),
    "safe": (_attest(safe=2), "quote-selection"),
    "two-banks": (_attest(selection=_selection(_PCRS, count=2)), "quote-selection"),
    "no-bank": (_attest(selection=_selection(_PCRS, count=0)), "quote-selection"),
    "sha1": (_attest(selection=_selection(_PCRS, bank=4)), "quote-selection"),
    "bitmap": (_attest(selection=_selection(_PCRS, size=5)), "quote-selection"),
    "empty-bitmap": (_attest(selection=struct.pack(">IHB", 1, 11, 0)), "quote-selection"),
    "long": (_attest(end=b"\0"), "trailing-bytes"),
    "short": (_attest()[:-1], "truncated"),
    "large": (bytes(5000), "too-large"),
}


@pytest.mark.parametrize(("attest", "code"), _MALFORMED.values(), ids=_MALFORMED.keys())
def test_quotes_that_are_none(attest: bytes, code: str) -> None:
    with pytest.raises(MalformedEvidence) as caught:
        _verified(attest)
    assert caught.value.code == code
    assert str(caught.value)


@pytest.mark.parametrize(
    ("signature", "code"),
    [
        (struct.pack(">HH", 0x18, 0x04) + bytes(4), "quote-signature"),
        (struct.pack(">HH", 0x1A, 0x0B) + bytes(4), "quote-signature"),
        (struct.pack(">HH", 0x18, 0x0B) + _sized(b"\1" * 33) + _sized(b"\1"), "quote-signature"),
        (_signed(_attest()) + b"\0", "trailing-bytes"),
        (_signed(_attest())[:-1], "truncated"),
    ],
)
def test_signatures_that_are_none(signature: bytes, code: str) -> None:
    with pytest.raises(MalformedEvidence) as caught:
        _verified(_attest(), signature=signature)
    assert caught.value.code == code


_RSA_REST = struct.pack(">HI", 2048, 0) + _sized(b"\xff" * 256)
_KEYS = {
    "unrestricted": (_public(attributes=0x00040072), "quote-key"),
    "leaves": (_public(attributes=0x00050070), "quote-key"),
    "kind": (_public(kind=0x25), "key-unusable"),
    "cipher": (_public(scheme=(6, 0x18, 0x0B)), "key-unusable"),
    "sha1": (_public(scheme=(0x10, 0x18, 0x04)), "key-unusable"),
    "hash-of-another-curve": (_public(scheme=(0x10, 0x18, 0x0C)), "key-unusable"),
    "scheme-of-rsa": (_public(scheme=(0x10, 0x14, 0x0B)), "key-unusable"),
    "curve": (_public(rest=struct.pack(">HH", 0x10, 0x10) + _sized(b"\1") * 2), "key-unusable"),
    "derivation": (_public(rest=struct.pack(">HH", 3, 0x20) + _sized(b"\1") * 2), "key-unusable"),
    "off-the-curve": (_public(rest=struct.pack(">HH", 3, 0x10) + _sized(b"\1") * 2), "key-unusable"),
    "bits": (
        _public(kind=1, scheme=(0x10, 0x14, 0x0B), rest=_RSA_REST.replace(b"\x08\0", b"\x04\0", 1)),
        "key-unusable",
    ),
    "exponent": (
        _public(kind=1, scheme=(0x10, 0x14, 0x0B), rest=struct.pack(">HI", 2048, 3) + _RSA_REST[6:]),
        "key-unusable",
    ),
    "modulus": (
        _public(kind=1, scheme=(0x10, 0x14, 0x0B), rest=struct.pack(">HI", 2048, 0) + _sized(b"\x7f" * 256)),
        "key-unusable",
    ),
    "long": (_public() + b"\0", "trailing-bytes"),
    "short": (_public()[:-1], "truncated"),
}


@pytest.mark.parametrize(("public", "code"), _KEYS.values(), ids=_KEYS.keys())
def test_keys_that_attest_nothing(public: bytes, code: str) -> None:
    with pytest.raises(MalformedEvidence) as caught:
        attestation_key(public)
    assert caught.value.code == code
    assert str(caught.value)


def test_padding_of_numbers_does_not_matter() -> None:
    signature = _signed(_attest())
    r, s = signature[6:38], signature[40:]
    longer = signature[:4] + _sized(b"\0" + r) + _sized(s.lstrip(b"\0"))
    _verified(_attest(), signature=longer)


def test_probabilistic_padding() -> None:
    private = rsa.generate_private_key(65537, 2048)
    modulus = private.public_key().public_numbers().n.to_bytes(256, "big")
    rest = struct.pack(">HI", 2048, 65537) + _sized(modulus)
    key = attestation_key(memoryview(_public(kind=1, scheme=(0x10, 0x16, 0x0B), rest=rest)))
    scheme = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    signature = struct.pack(">HH", 0x16, 0x0B) + _sized(private.sign(_attest(), scheme, hashes.SHA256()))
    _verified(_attest(), key=key, signature=signature)
    # One key has one scheme.
    plain = private.sign(_attest(), padding.PKCS1v15(), hashes.SHA256())
    with pytest.raises(VerificationError):
        _verified(_attest(), key=key, signature=struct.pack(">HH", 0x14, 0x0B) + _sized(plain))


@given(st.data())
def test_nothing_foreign_comes_of_damage(data: st.DataObject) -> None:
    attest, signature, public = bytearray(_attest()), bytearray(_SIGNATURE), bytearray(_public())
    for whole in (attest, signature, public):
        for _ in range(data.draw(st.integers(0, 2))):
            whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(NacreError):
        attestation_key(bytes(public))
    with contextlib.suppress(NacreError):
        _verified(bytes(attest), signature=bytes(signature))


_SIGNATURE = _signed(_attest())
