# SPDX-License-Identifier: Apache-2.0
"""Statements, bare and in envelopes."""

from base64 import b64decode, b64encode
from collections.abc import Callable

import msgspec
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from nacre.appraisal.reference import intoto
from nacre.appraisal.reference.convert import Given, read, write_as
from nacre.appraisal.release import Release, match
from nacre.errors import (
    ConfigurationError,
    MalformedEvidence,
    NacreError,
    UnsupportedEvidence,
    VerificationError,
)
from nacre.trust.jwk import KeySet, read_keys
from nacre.trust.signing import SigningKey, signing_key

_A, _B, _C, _D = ("a0" * 48, "b0" * 48, "c0" * 48, "d0" * 48)


def _statement(kind: str, predicate: object, **changed: object) -> bytes:
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "image", "digest": {"sha256": "00" * 32}}],
        "predicateType": kind,
        "predicate": predicate,
    }
    return msgspec.json.encode(statement | changed)


_IMAGE = _statement(
    intoto.MULTIPLATFORM, {"snp_measurement": _A, "tdx_measurement": {"rtmr1": _B, "rtmr2": _C}}
)
_FIRMWARE = _statement(
    intoto.FIRMWARE, {"small": {"mrtd": _A, "rtmr0": _B}, "large": {"mrtd": _C, "rtmr0": _D}}
)


def test_there_and_back_is_the_same(worm: Release, given: Callable[..., Given]) -> None:
    document, notes = write_as(worm, "in-toto")
    assert notes == ()
    found = read([document], given())
    assert (found.release, found.form, found.signed) == (worm, "in-toto", False)
    assert write_as(found.release, "in-toto")[0] == document


def test_a_release_that_was_changed(worm: Release, given: Callable[..., Given]) -> None:
    document, _ = write_as(worm, "in-toto")
    with pytest.raises(MalformedEvidence) as refused:
        read([document.replace(b"d0d0", b"d0d1", 1)], given())
    assert refused.value.code == "intoto-subject"


def test_tinfoil_s_two_statements(given: Callable[..., Given]) -> None:
    found = read([_IMAGE, _FIRMWARE], given(id="model", anything=("host_data",)))
    assert found.notes == ("about image", "TDX on the machines small, large")
    release = found.release
    assert len(release.variants["tdx"]) == 2
    shown = {
        name: bytes.fromhex(value) for name, value in {"rtmr1": _B, "rtmr2": _C, "rtmr3": "00" * 48}.items()
    }
    small = {"mrtd": bytes.fromhex(_A), "rtmr0": bytes.fromhex(_B)}
    large = {"mrtd": bytes.fromhex(_C), "rtmr0": bytes.fromhex(_D)}
    assert match([release], "tdx", {**shown, **small}).release is release
    assert match([release], "tdx", {**shown, **large}).release is release
    assert match([release], "tdx", {**shown, "mrtd": small["mrtd"], "rtmr0": large["rtmr0"]}).release is None
    assert match([release], "tdx", {**shown, **small, "rtmr3": bytes(47) + b"\1"}).release is None


def test_an_image_without_firmware_is_for_snp_alone(given: Callable[..., Given]) -> None:
    with pytest.raises(UnsupportedEvidence) as refused:
        read([_IMAGE], given(id="model", anything=("host_data",)))
    (name,) = refused.value.context["actual"]  # type: ignore[misc, str-unpack]
    found = read([_IMAGE], given(id="model", anything=("host_data",), leave_out=(name,)))
    assert set(found.release.variants) == {"snp"}


@pytest.mark.parametrize(
    "documents",
    [
        [_FIRMWARE],
        [_IMAGE, _IMAGE],
        [_IMAGE, _statement("https://slsa.dev/provenance/v1", {})],
        [_statement("https://in-toto.io/attestation/scai/v0.3", {"attributes": []})],
        [_statement(intoto.MULTIPLATFORM, {"snp_measurement": _A})],
        [
            _statement(
                intoto.MULTIPLATFORM,
                {"snp_measurement": _A, "tdx_measurement": {"rtmr1": _B, "rtmr2": _C}, "x": 1},
            )
        ],
        [_statement(intoto.NACRE, {"id": "x"})],
        [_statement(intoto.NACRE, {}, _type="https://example.com")],
        [_statement(intoto.NACRE, {}, extra=1)],
        [b'{"_type": 1}'],
    ],
)
def test_what_is_refused(documents: list[bytes], given: Callable[..., Given]) -> None:
    with pytest.raises(NacreError):
        read(documents, given(id="x"))


def test_no_name_no_note(given: Callable[..., Given]) -> None:
    image = msgspec.json.decode(_IMAGE)
    image["subject"] = []
    found = read([msgspec.json.encode(image), _FIRMWARE], given(id="model", anything=("host_data",)))
    assert found.notes == ("TDX on the machines small, large",)


# ── Envelopes ────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def sealed(worm: Release, signer: SigningKey) -> bytes:
    return intoto.seal(write_as(worm, "in-toto")[0], sign=signer.sign, key_id="k")


def test_a_pinned_key_opens_it(
    worm: Release, sealed: bytes, pinned: KeySet, given: Callable[..., Given]
) -> None:
    found = read([sealed], given(pinned=pinned))
    assert (found.release, found.signed) == (worm, True)


def test_der_as_cosign_writes_it(
    worm: Release, private: ec.EllipticCurvePrivateKey, pinned: KeySet, given: Callable[..., Given]
) -> None:
    sealed = intoto.seal(
        write_as(worm, "in-toto")[0], sign=lambda data: private.sign(data, ec.ECDSA(hashes.SHA256()))
    )
    assert read([sealed], given(pinned=pinned)).release == worm


def test_ed25519(worm: Release, given: Callable[..., Given]) -> None:
    key = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    pins = read_keys(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    sealed = intoto.seal(write_as(worm, "in-toto")[0], sign=signing_key(key).sign)
    assert read([sealed], given(pinned=pins)).release == worm


def test_without_a_key_it_stays_shut(sealed: bytes, given: Callable[..., Given]) -> None:
    with pytest.raises(VerificationError) as refused:
        read([sealed], given())
    assert refused.value.code == "reference-signer"


def test_what_is_not_signed_by_whom_it_has_to_be(
    worm: Release, pinned: KeySet, given: Callable[..., Given], sealed: bytes
) -> None:
    statement = write_as(worm, "in-toto")[0]
    thief = signing_key(ec.derive_private_key(7, ec.SECP256R1()))
    envelope = msgspec.json.decode(sealed)
    payload = b64decode(envelope["payload"]).replace(b"d0", b"d1")
    too_long = b"\x30\x26\x02\x01\x01\x02\x21\x01" + bytes(32)
    documents = [
        intoto.seal(statement, sign=thief.sign, key_id="k"),
        msgspec.json.encode(envelope | {"payload": b64encode(payload).decode()}),
        msgspec.json.encode(envelope | {"signatures": []}),
        msgspec.json.encode(envelope | {"signatures": [{"sig": b64encode(b"\x30\x00").decode()}]}),
        msgspec.json.encode(envelope | {"signatures": [{"sig": b64encode(bytes(64)).decode()}]}),
        msgspec.json.encode(envelope | {"signatures": [{"sig": b64encode(too_long).decode()}]}),
    ]
    for document in documents:
        with pytest.raises(VerificationError) as refused:
            read([document], given(pinned=pinned))
        assert refused.value.code == "signature-invalid"


def test_one_signed_and_one_bare(sealed: bytes, pinned: KeySet, given: Callable[..., Given]) -> None:
    with pytest.raises(VerificationError) as refused:
        read([sealed, _IMAGE], given(pinned=pinned))
    assert refused.value.code == "reference-unsigned"


@pytest.mark.parametrize(
    "changed", [{"payloadType": "application/json"}, {"payload": "!"}, {"payload": "bm8="}, {"signatures": 1}]
)
def test_envelopes_of_another_form(
    sealed: bytes, changed: dict[str, object], pinned: KeySet, given: Callable[..., Given]
) -> None:
    with pytest.raises(MalformedEvidence):
        read([msgspec.json.encode(msgspec.json.decode(sealed) | changed)], given(pinned=pinned))


def test_a_release_still_has_to_be_one(given: Callable[..., Given]) -> None:
    with pytest.raises(ConfigurationError):
        read([_statement(intoto.NACRE, {"id": "x", "tdx": [{"mrtd": "00"}]})], given())


def test_the_vector_of_the_specification() -> None:
    message = intoto.pae("http://example.com/HelloWorld", b"hello world")
    assert message == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    secret = 97358161215184420915383655311931858321456579547487070936769975997791359926199
    signature = signing_key(ec.derive_private_key(secret, ec.SECP256R1())).sign(message)
    assert b64encode(signature).decode() == (
        "A3JqsQGtVsJ2O2xqrI5IcnXip5GToJ3F+FnZ+O88SjtR6rDAajabZKciJTfUiHqJPcIAriEGAHTVeCUjW2JIZA=="
    )


def test_both_alphabets_of_base64(
    worm: Release, sealed: bytes, pinned: KeySet, given: Callable[..., Given]
) -> None:
    envelope = msgspec.json.decode(sealed)
    signature = envelope["signatures"][0]["sig"]
    other = signature.replace("+", "-").replace("/", "_")
    assert other != signature
    document = msgspec.json.encode(envelope | {"signatures": [{"sig": other}]})
    assert read([document], given(pinned=pinned)).release == worm
