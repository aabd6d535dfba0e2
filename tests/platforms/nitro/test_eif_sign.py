# SPDX-License-Identifier: Apache-2.0
"""Who signed an image, and what."""

from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tests.platforms.nitro import images

from nacre.errors import BuildError, MalformedEvidence, NacreError, VerificationError
from nacre.platforms.nitro import eif
from nacre.platforms.nitro.eif_sign import EifSignature, Signer, check_signature, read_signature, sign
from nacre.trust import cbor, cose, pem
from nacre.trust.signing import signing_key

PCR0 = bytes(range(48))
DAY = 24 * 3600


def _section(data: bytes) -> eif.Eif:
    return eif.parse(
        images.raw(
            *((eif.KERNEL, b"k"), (eif.CMDLINE, b"c"), (eif.RAMDISK, b"r")),
            (eif.SIGNATURE, data),
        )
    )


def _signature() -> EifSignature:
    found = read_signature(_section(sign(PCR0, images.signer())))
    assert found is not None
    return found


def test_what_is_signed_is_read() -> None:
    signature = _signature()
    assert signature.certificate == images.certificate()
    assert signature.message.payload.hex() == (
        "a26e72656769737465725f696e646578006e72656769737465725f76616c75659830"
        + cbor.dumps(list(PCR0)).hex()[4:]
    )
    check_signature(signature, pcr0=PCR0, at=images.NOW)


@pytest.mark.parametrize(
    ("code", "pcr0", "at"),
    [
        ("eif-signature-other", bytes(48), images.NOW),
        ("certificate-expired", PCR0, images.NOW + DAY + 1),
        ("certificate-not-yet-valid", PCR0, images.NOW - DAY - 1),
    ],
)
def test_signatures_of_other_things_and_times(code: str, pcr0: bytes, at: int) -> None:
    with pytest.raises(VerificationError) as caught:
        check_signature(_signature(), pcr0=pcr0, at=at)
    assert (caught.value.code, caught.value.check) == (code, "nitro.image")


def test_another_key_signed() -> None:
    signature = EifSignature(images.certificate(1), _signature().message)
    with pytest.raises(VerificationError) as caught:
        check_signature(signature, pcr0=PCR0, at=images.NOW)
    assert caught.value.code == "eif-signature"


def test_another_algorithm() -> None:
    message = cose.Sign1(cbor.dumps({1: cose.ES256}), 0, b"", bytes(96), tagged=False)
    with pytest.raises(MalformedEvidence) as caught:
        check_signature(EifSignature(images.certificate(), message), pcr0=PCR0, at=images.NOW)
    assert caught.value.code == "cose-algorithm"


def _pair(certificate: object, message: object) -> bytes:
    parts = [cbor.dumps("signing_certificate"), cbor.dumps(certificate)]
    return b"\x81\xa2" + b"".join([*parts, cbor.dumps("signature"), cbor.dumps(message)])


_PEM = pem.armour(images.certificate())


@pytest.mark.parametrize(
    ("code", "data"),
    [
        ("truncated", b""),
        ("eif-signature-form", cbor.dumps({})),
        ("eif-signature-form", cbor.dumps([])),
        ("eif-signature-form", cbor.dumps([{}, {}])),
        ("eif-signature-form", cbor.dumps([1])),
        ("eif-signature-form", cbor.dumps([{"signing_certificate": [], "signature": []}])),  # other order
        ("eif-signature-form", _pair(_PEM, list(b"x"))),
        ("eif-signature-form", _pair([256], [])),
        ("eif-signature-form", _pair([-1], [])),
        ("eif-signature-form", _pair([True], [])),
        ("pem-text", _pair([], [])),
        ("too-many", _pair(list(_PEM + b"\n" + _PEM), [])),
        ("truncated", _pair(list(_PEM), [])),
        ("cose-form", _pair(list(_PEM), list(cbor.dumps([])))),
        ("cbor-count", b"\x9a\xff\xff\xff\xff"),
    ],
)
def test_sections_that_are_no_signature(code: str, data: bytes) -> None:
    with pytest.raises(MalformedEvidence) as caught:
        read_signature(_section(data))
    assert caught.value.code == code
    assert str(caught.value)


def _refused(certificate: bytes, how: Callable[[bytes], bytes]) -> NacreError:
    with pytest.raises(NacreError) as caught:
        sign(PCR0, Signer(certificate, how))
    assert str(caught.value)
    return caught.value


def test_a_key_that_is_not_the_certificates_does_not_sign() -> None:
    error = _refused(images.certificate(1), signing_key(images.key()).sign)
    assert isinstance(error, BuildError)
    assert error.code == "eif-signer"


def test_a_service_that_returns_der_or_nothing() -> None:
    assert _refused(images.certificate(), lambda _: b"").code == "signature-size"


def test_a_certificate_of_another_curve() -> None:
    how = signing_key(images.key()).sign
    assert _refused(images.certificate(0, ec.SECP256R1), how).code == "key-unusable"


@pytest.mark.parametrize(
    "certificate",
    [b"", b"\x30\x00", images.certificate().replace(b"\x2b\x81\x04\x00\x22", b"\x2b\x81\x04\x00\x7f")],
)
def test_certificates_that_are_none_or_of_an_unknown_curve(certificate: bytes) -> None:
    assert _refused(certificate, signing_key(images.key()).sign).code == "eif-certificate"


def test_a_certificate_too_long_for_the_section(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nacre.platforms.nitro.eif_sign.MAX_SIGNATURE", 100)
    assert _refused(images.certificate(), images.signer().sign).code == "eif-too-large"
