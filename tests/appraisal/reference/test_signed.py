# SPDX-License-Identifier: Apache-2.0
"""Signed manifests, as somebody would make them who wants his own values to be believed."""

import hashlib
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.appraisal.reference.conftest import AT
from tests.trust import forge

from nacre.appraisal.reference import manifest, signed
from nacre.appraisal.reference.convert import Given, read
from nacre.appraisal.reference.corim import Validity
from nacre.appraisal.release import Release
from nacre.errors import MalformedEvidence, NacreError, VerificationError
from nacre.trust import cbor
from nacre.trust.cbor import Tag
from nacre.trust.jwk import KeySet, read_keys
from nacre.trust.signing import SigningKey, signing_key

_META = cbor.dumps({0: {0: "ACME"}})


@pytest.fixture(scope="module")
def message(worm: Release, signer: SigningKey) -> bytes:
    return signed.dumps(manifest.write(worm), algorithm=signer.algorithm, sign=signer.sign, signer="ACME")


def _pins(key: object) -> KeySet:
    return read_keys(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))  # type: ignore[attr-defined]


def _sealed(
    signer: SigningKey,
    payload: bytes | None,
    header: dict[object, object],
    loose: object = None,
    covered: bytes = b"",
) -> bytes:
    """Sign whatever the header says, correctly."""
    protected = cbor.dumps(header)
    covered = covered or payload or b""
    signature = signer.sign(cbor.dumps(["Signature1", protected, b"", covered]))
    return cbor.dumps(Tag(18, [protected, {} if loose is None else loose, payload, signature]))


def _header(**changed: object) -> dict[object, object]:
    header: dict[object, object] = {1: -7, 3: "application/rim+cbor", 8: _META}
    for key, value in changed.items():
        number = int(key[1:])
        if value is None:
            header.pop(number, None)
        else:
            header[number] = value
    return header


def test_a_pinned_key_opens_it(
    message: bytes, pinned: KeySet, worm: Release, given: Callable[..., Given]
) -> None:
    found = read([message], given(pinned=pinned))
    assert found.release == worm
    assert found.signed
    assert found.form == "corim"


def test_it_is_the_same_every_time(worm: Release, signer: SigningKey, message: bytes) -> None:
    again = signed.dumps(manifest.write(worm), algorithm=signer.algorithm, sign=signer.sign, signer="ACME")
    assert again == message


def test_without_a_pinned_key_nothing_opens_it(message: bytes, given: Callable[..., Given]) -> None:
    with pytest.raises(VerificationError) as refused:
        read([message], given())
    assert refused.value.code == "reference-signer"


def test_every_flipped_bit_is_refused(signer: SigningKey, pinned: KeySet) -> None:
    corim = manifest.write(Release.parse(f'id = "x"\n[[sgx]]\nmrenclave = "{"a0" * 32}"'))
    message = signed.dumps(corim, algorithm=signer.algorithm, sign=signer.sign, signer="ACME")
    for position in range(len(message)):
        for bit in range(8):
            changed = bytearray(message)
            changed[position] ^= 1 << bit
            with pytest.raises(NacreError):
                signed.verify(signed.loads(bytes(changed)), pinned=pinned, at=AT)


def test_every_cut_is_refused(message: bytes) -> None:
    for size in range(len(message)):
        with pytest.raises(MalformedEvidence):
            signed.loads(message[:size])


def test_the_right_key_id_with_the_wrong_key(worm: Release, pinned: KeySet) -> None:
    thief = signing_key(ec.derive_private_key(7, ec.SECP256R1()))
    stolen = _sealed(thief, manifest.write(worm), _header(k4=pinned.keys[0].digest))
    with pytest.raises(VerificationError) as refused:
        signed.verify(signed.loads(stolen), pinned=pinned, at=AT)
    assert refused.value.code == "signature-invalid"


@pytest.mark.parametrize("algorithm", [0, 5, 6, 7, 4, -65535, 1 << 20])
def test_no_algorithm_and_hmac_are_no_signatures(worm: Release, signer: SigningKey, algorithm: int) -> None:
    with pytest.raises(MalformedEvidence) as refused:
        signed.loads(_sealed(signer, manifest.write(worm), _header(k1=algorithm)))
    assert refused.value.code == "corim-header"
    assert str(algorithm) in str(refused.value)


def test_an_hmac_under_the_public_key(worm: Release, pinned: KeySet) -> None:
    import hmac

    public = pinned.keys[0].digest
    forged = _sealed(
        SigningKey("HS256", 5, lambda data: hmac.digest(public, data, "sha256")),
        manifest.write(worm),
        _header(k1=5),
    )
    with pytest.raises(MalformedEvidence):
        signed.verify(signed.loads(forged), pinned=pinned, at=AT)


def test_another_algorithm_than_the_key_s(worm: Release, signer: SigningKey, pinned: KeySet) -> None:
    other = _sealed(signer, manifest.write(worm), _header(k1=-35))
    with pytest.raises(VerificationError) as refused:
        signed.verify(signed.loads(other), pinned=pinned, at=AT)
    assert refused.value.code == "reference-signer"


@pytest.mark.parametrize(
    ("header", "loose"),
    [
        (_header(k2=[99], k99=1), {}),
        (_header(k2=["x"]), {}),
        (_header(k2=[4]), {}),
        (_header(k1=None), {}),
        (_header(k1="ES256"), {}),
        (_header(k3=None), {}),
        (_header(k3="application/cbor"), {}),
        (_header(k8=None), {}),
        (_header(k8=b"\xa0"), {}),
        (_header(k8=b"\xff"), {}),
        (_header(k15={2: "me"}), {}),
        (_header(k15={1: "me", 5: 1}), {}),
        (_header(k15={1: "another"}), {}),
        (_header(), {1: -7}),
        (_header(), {8: _META}),
        (_header(k4=b"1"), {4: b"1"}),
        (_header(), {4: 1}),
        (_header(), {33: 1}),
        (_header(), [1]),
        (_header(), None),
    ],
)
def test_headers_that_are_refused(
    worm: Release, signer: SigningKey, header: dict[object, object], loose: object
) -> None:
    payload = manifest.write(worm)
    protected = cbor.dumps(header)
    signature = signer.sign(cbor.dumps(["Signature1", protected, b"", payload]))
    with pytest.raises(MalformedEvidence):
        signed.loads(cbor.dumps(Tag(18, [protected, loose, payload, signature])))


def test_headers_that_are_allowed(worm: Release, signer: SigningKey, pinned: KeySet) -> None:
    header = _header(k2=[1], k15={1: "ACME", 4: AT + 1, 5: AT - 1}, k77="whatever")
    message = signed.loads(_sealed(signer, manifest.write(worm), header, {4: b"kid", 99: 1}))
    assert message.key_id == b"kid"
    assert message.validity == Validity(AT - 1, AT + 1)
    signed.verify(message, pinned=pinned, at=AT)


def test_cwt_claims_alone_name_the_signer(worm: Release, signer: SigningKey) -> None:
    message = signed.loads(_sealed(signer, manifest.write(worm), _header(k8=None, k15={1: "me", 4: AT})))
    assert (message.signer, message.validity) == ("me", Validity(None, AT))


def test_two_validities_that_differ(worm: Release, signer: SigningKey) -> None:
    meta = cbor.dumps({0: {0: "me"}, 1: {1: Tag(1, AT)}})
    with pytest.raises(MalformedEvidence, match="one signer with one validity"):
        signed.loads(_sealed(signer, manifest.write(worm), _header(k8=meta, k15={1: "me", 4: AT + 1})))


@pytest.mark.parametrize(
    ("at", "code"), [(AT - 11, "reference-not-yet-valid"), (AT + 11, "reference-expired")]
)
def test_a_signature_has_its_time(
    worm: Release, signer: SigningKey, pinned: KeySet, at: int, code: str
) -> None:
    octets = signed.dumps(
        manifest.write(worm),
        algorithm=signer.algorithm,
        sign=signer.sign,
        signer="ACME",
        key_id=b"1",
        validity=Validity(AT - 10, AT + 10),
    )
    message = signed.loads(octets)
    signed.verify(message, pinned=pinned, at=AT - 10)
    signed.verify(message, pinned=pinned, at=AT + 10)
    with pytest.raises(VerificationError) as refused:
        signed.verify(message, pinned=pinned, at=at)
    assert refused.value.code == code


def test_a_validity_without_a_start(worm: Release, signer: SigningKey) -> None:
    validity = Validity(None, AT)
    octets = signed.dumps(
        manifest.write(worm), algorithm=-7, sign=signer.sign, signer="ACME", validity=validity
    )
    assert signed.loads(octets).validity == validity


# ── Hash envelopes and detached manifests ────────────────────────────────────────────────────────────


def test_a_hash_envelope(
    worm: Release, signer: SigningKey, pinned: KeySet, given: Callable[..., Given]
) -> None:
    corim = manifest.write(worm)
    digest = hashlib.sha384(corim).digest()
    header = _header(k3=None, k258=-43, k259="application/rim+cbor", k260="https://example.com/x.corim")
    octets = _sealed(signer, digest, header)
    assert read([octets], given(pinned=pinned, preimage=corim)).release == worm
    for preimage in (None, corim + b"\0", corim[:-1]):
        with pytest.raises(MalformedEvidence) as refused:
            signed.loads(octets, preimage=preimage)
        assert refused.value.code == "corim-payload"


@pytest.mark.parametrize(
    ("header", "payload"),
    [
        (_header(k258=-43, k259="application/rim+cbor"), True),
        (_header(k3=None, k258=-43), True),
        (_header(k3=None, k258=-43, k259="application/rim+cbor"), False),
        (_header(k3=None, k258=-1, k259="application/rim+cbor"), True),
    ],
)
def test_half_a_hash_envelope(
    worm: Release, signer: SigningKey, header: dict[object, object], payload: bool
) -> None:
    corim = manifest.write(worm)
    digest = hashlib.sha384(corim).digest() if payload else None
    with pytest.raises(MalformedEvidence):
        signed.loads(_sealed(signer, digest, header), preimage=corim)


def test_a_detached_manifest(worm: Release, signer: SigningKey, pinned: KeySet) -> None:
    corim = manifest.write(worm)
    octets = _sealed(signer, None, _header(), covered=corim)
    message = signed.loads(octets, preimage=corim)
    assert signed.verify(message, pinned=pinned, at=AT) == message.corim
    with pytest.raises(MalformedEvidence):
        signed.loads(octets)
    other = signed.loads(octets, preimage=corim.replace(b"1.2.0", b"1.2.1"))
    with pytest.raises(VerificationError):
        signed.verify(other, pinned=pinned, at=AT)


def test_a_manifest_beside_one_that_is_inside(message: bytes, worm: Release) -> None:
    with pytest.raises(MalformedEvidence, match="inside alone"):
        signed.loads(message, preimage=manifest.write(worm))


# ── Forms ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\xd2",
        b"\xd2\x80",
        cbor.dumps([b"", {}, b"", b""]),
        cbor.dumps(Tag(98, [b"", {}, b"", []])),
        cbor.dumps(Tag(18, [b"", {}, b"", b"", b""])),
        cbor.dumps(Tag(18, [{}, {}, b"", b""])),
        cbor.dumps(Tag(18, [b"\xa0", {}, b"", b""])),
        cbor.dumps(Tag(18, [b"\x9f\xff", {}, b"", b""])),
        b"\xd2\x84\x5b\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\xd2" + b"\x81" * 4096,
        bytes.fromhex("d2844ba2012601") + bytes(40),
    ],
)
def test_what_is_no_message(octets: bytes) -> None:
    with pytest.raises(MalformedEvidence):
        signed.loads(octets)


def test_a_payload_that_is_no_manifest(signer: SigningKey) -> None:
    with pytest.raises(MalformedEvidence, match="tag 501 was expected"):
        signed.loads(_sealed(signer, b"\xa0", _header()))


# ── Chains ───────────────────────────────────────────────────────────────────────────────────────────

_ROOT = ec.derive_private_key(0xB00, ec.SECP256R1())
_OTHER = ec.derive_private_key(0xBAD, ec.SECP256R1())


def _pem(der: bytes) -> bytes:
    from nacre.trust import pem

    return pem.armour(der) + b"\n"


def _leaf(private: ec.EllipticCurvePrivateKey, root: ec.EllipticCurvePrivateKey) -> bytes:
    return forge.Draft(issuer=forge.name("root"), subject=forge.name("ACME"), key=private).signed(root)


def _authority(root: ec.EllipticCurvePrivateKey) -> bytes:
    name = forge.name("root")
    return forge.Draft(issuer=name, subject=name, key=root, extensions=forge.AUTHORITY).signed(root)


def _chain(
    private: ec.EllipticCurvePrivateKey, root: ec.EllipticCurvePrivateKey = _ROOT
) -> tuple[bytes, bytes]:
    return _leaf(private, root), _authority(root)


def test_a_chain_under_a_pinned_authority(
    worm: Release, signer: SigningKey, private: ec.EllipticCurvePrivateKey
) -> None:
    leaf, root = _chain(private)
    pins = read_keys(_pem(root))
    for chain in (leaf, [leaf, root]):
        for header, loose in ((_header(k33=chain), {}), (_header(), {33: chain})):
            message = signed.loads(_sealed(signer, manifest.write(worm), header, loose))
            assert signed.verify(message, pinned=pins, at=AT) == message.corim


def test_a_chain_is_worth_nothing_by_itself(
    worm: Release, signer: SigningKey, private: ec.EllipticCurvePrivateKey, pinned: KeySet
) -> None:
    leaf, root = _chain(private)
    stranger = read_keys(_pem(_authority(_OTHER)))
    message = signed.loads(_sealed(signer, manifest.write(worm), _header(k33=[leaf, root])))
    for pins in (stranger, _pins(ec.derive_private_key(9, ec.SECP384R1()))):
        with pytest.raises(VerificationError):
            signed.verify(message, pinned=pins, at=AT)
    # A pinned key needs no chain, and a chain does it no harm.
    signed.verify(message, pinned=pinned, at=AT)


def test_a_chain_of_another_key(worm: Release, private: ec.EllipticCurvePrivateKey) -> None:
    leaf, root = _chain(private)
    thief = signing_key(ec.derive_private_key(7, ec.SECP256R1()))
    message = signed.loads(_sealed(thief, manifest.write(worm), _header(k33=leaf)))
    with pytest.raises(VerificationError) as refused:
        signed.verify(message, pinned=read_keys(_pem(root)), at=AT)
    assert refused.value.code == "signature-invalid"


def test_a_chain_has_its_time(worm: Release, signer: SigningKey, private: ec.EllipticCurvePrivateKey) -> None:
    leaf, root = _chain(private)
    message = signed.loads(_sealed(signer, manifest.write(worm), _header(k33=leaf)))
    with pytest.raises(VerificationError) as refused:
        signed.verify(message, pinned=read_keys(_pem(root)), at=AT + 100 * 366 * 86_400)
    assert refused.value.code == "certificate-expired"


# ── Keys ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "key",
    [
        ec.derive_private_key(3, ec.SECP384R1()),
        ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32))),
    ],
    ids=["ES384", "EdDSA"],
)
def test_other_keys(worm: Release, key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> None:
    chosen = signing_key(key)
    octets = signed.dumps(manifest.write(worm), algorithm=chosen.algorithm, sign=chosen.sign, signer="ACME")
    message = signed.loads(octets)
    assert signed.verify(message, pinned=_pins(key), at=AT) == message.corim


def test_rsa_pss_is_read(worm: Release) -> None:
    from nacre.trust.jwa import ALGORITHMS

    key = rsa.generate_private_key(65537, 2048)
    algorithm = ALGORITHMS["PS256"]
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    scheme = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    signer = SigningKey(algorithm.name, algorithm.cose, lambda data: key.sign(data, scheme, hashes.SHA256()))
    message = signed.loads(_sealed(signer, manifest.write(worm), _header(k1=algorithm.cose)))
    assert signed.verify(message, pinned=_pins(key), at=AT) == message.corim
