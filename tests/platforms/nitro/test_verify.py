# SPDX-License-Identifier: Apache-2.0
"""Forged documents, and every way in which another verifier was once fooled."""

import re
from collections.abc import Mapping

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from tests.platforms.nitro.pki import (
    DAY,
    HOUR,
    INSTANCE,
    MODULE,
    NOW,
    Chain,
    envelope,
    issue,
    key,
    payload,
    pcrs,
    standard,
)

from nacre.checks import Status
from nacre.errors import MalformedEvidence, VerificationError
from nacre.platforms.base import Claims, Endorsements, Evidence, PlatformPolicy
from nacre.platforms.nitro import PLATFORM
from nacre.platforms.nitro.policy import DeniedCertificate, NitroPolicy
from nacre.platforms.nitro.verify import NitroClaims
from nacre.trust import cbor
from nacre.trust.anchors import Anchor, Origin, private_anchor, simulated_anchor, vendor_anchor
from nacre.trust.memo import Memo
from nacre.trust.signatures import Signatures
from nacre.trust.x509 import parse_certificate

_P384_ORDER = int(
    "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973", 16
)


def _verify(
    document: bytes, *anchors: Anchor, at: int = NOW, memo: Memo | None = None, chain: Chain | None = None
) -> NitroClaims:
    return PLATFORM.verify(
        PLATFORM.parse(document),
        Endorsements({}),
        anchors=anchors or ((chain or standard()).anchor,),
        at=at,
        signatures=Signatures(memo),
    )


def _refused(document: bytes, check: str, *anchors: Anchor, chain: Chain | None = None) -> str:
    with pytest.raises(VerificationError) as caught:
        _verify(document, *anchors, chain=chain)
    assert caught.value.check == check
    assert str(caught.value) != caught.value.code
    before = ("nitro.document", "nitro.chain", "nitro.signature")
    held = before[: before.index(check)]
    assert tuple(made.id for made in caught.value.trail) == held
    return caught.value.code


def _chain_refused(chain: Chain, *anchors: Anchor) -> str:
    return _refused(chain.document(), "nitro.chain", *anchors, chain=chain)


def _malformed(document: bytes) -> str:
    with pytest.raises(MalformedEvidence) as caught:
        PLATFORM.parse(document)
    assert str(caught.value) != caught.value.code
    return caught.value.code


@pytest.mark.parametrize("indefinite", [False, True])
def test_claims(indefinite: bool) -> None:
    fields = (("public_key", b"key"), ("user_data", b""), ("nonce", b"n" * 32))
    claims = _verify(standard().document(*fields, indefinite=indefinite))
    assert claims.platform == claims.evidence.platform == "nitro"
    assert claims.origin is Origin.PRIVATE
    assert all(check.status is Status.PASS for check in claims.checks)
    assert [check.id for check in claims.checks] == list(PLATFORM.required[:4])
    assert claims.registers["pcr1"] == b"\2" * 48
    assert len(claims.registers) == 16
    assert claims.committed.data == b""
    assert claims.committed.nonce == b"n" * 32
    assert claims.committed.public_key == b"key"
    assert claims.committed.fields
    assert not claims.debug
    assert claims.issued_at == NOW
    assert claims.valid_until == NOW + 2 * HOUR
    assert claims.identity == {"module_id": MODULE, "instance_id": INSTANCE, "region": "us-east-1"}
    assert [found.der for found in claims.certificates] == list(reversed(standard().certificates))


def test_origin_is_the_anchors() -> None:
    anchor = simulated_anchor(standard().certificates[0])
    assert _verify(standard().document(), anchor).origin is Origin.SIMULATED


# ── Envelope ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("protected", "code"),
    [
        (b"\xa1\x01\x26", "cose-algorithm"),  # ES256
        (b"\xa1\x01\x20", "cose-algorithm"),  # -1: QEMU's device
        (b"\xa1\x01\x38\x23", "cose-algorithm"),  # ES512
        (b"\xa0", "cose-algorithm"),
        (b"\x80", "cose-algorithm"),
        (b"\xa1\x01\x65ES384", "cose-algorithm"),
        (b"", "truncated"),
        (b"\xa2\x01\x38\x22\x04\x40", "cose-header"),
        (b"\xa2\x01\x38\x22\x01\x38\x22", "cbor-duplicate-key"),
        (b"\xa1\x01\x39\x00\x22", "cbor-not-minimal"),
        (b"\xa1\x01\x38\x22\x00", "trailing-bytes"),
        (b"\xbf\x01\x38\x22\xff", "cbor-item"),
    ],
)
def test_the_protected_header_states_the_algorithm_and_nothing_else(protected: bytes, code: str) -> None:
    # Correctly signed over that very header, so only the rule stands in the way.
    document = standard().sign(payload(standard()), protected=protected)
    assert _refused(document, "nitro.document") == code


@pytest.mark.parametrize("header", [{1: -35}, {4: b"kid"}])
def test_the_unprotected_header_is_empty(header: Mapping[object, object]) -> None:
    body = payload(standard())
    document = envelope(body, standard().signature(body), unprotected=header)
    assert _refused(document, "nitro.document") == "cose-header"


def test_an_algorithm_outside_the_protected_header_does_not_count() -> None:
    body = payload(standard())
    document = envelope(body, standard().signature(body, b""), protected=b"", unprotected={1: -35})
    assert _refused(document, "nitro.document") == "cose-header"


@pytest.mark.parametrize("cut", [0, 1, 95])
def test_a_short_signature(cut: int) -> None:
    body = payload(standard())
    assert _refused(envelope(body, standard().signature(body)[:cut]), "nitro.document") == "signature-size"


def test_a_signature_in_der() -> None:
    body = payload(standard())
    raw = standard().signature(body)
    der = encode_dss_signature(int.from_bytes(raw[:48], "big"), int.from_bytes(raw[48:], "big"))
    assert _refused(envelope(body, der), "nitro.document") == "signature-size"


def test_r_and_s_at_the_edges() -> None:
    body = payload(standard())
    raw = standard().signature(body)
    r, s = raw[:48], raw[48:]
    edges = [bytes(48), _P384_ORDER.to_bytes(48, "big"), b"\xff" * 48, (1).to_bytes(48, "big")]
    for bad in [bytes(96), *(edge + s for edge in edges), *(r + edge for edge in edges)]:
        assert _refused(envelope(body, bad), "nitro.signature") == "signature-invalid"


def test_tagged_and_untagged() -> None:
    document = standard().document()
    assert _verify(b"\xd2" + document).evidence.message.tagged
    assert _malformed(b"\xd2\xd2" + document) == "cbor-item"
    assert _malformed(b"\xd1" + document) == "cbor-item"


@pytest.mark.parametrize(
    "parts",
    [
        [b"", {}, b"", b"", b""],
        [b"", {}, b""],
        {},
        [b"", {}, None, b""],
        [b"", {}, b"", None],
        [{1: -35}, {}, b"", b""],
        [b"", [], b"", b""],
        [b"", None, b"", b""],
        b"",
        "text",
    ],
)
def test_something_else_than_an_envelope(parts: object) -> None:
    assert _malformed(cbor.dumps(parts)) == "cose-form"


def test_an_envelope_of_indefinite_length() -> None:
    assert _malformed(b"\x9f" + standard().document()[1:] + b"\xff") == "cbor-item"


def test_trailing_bytes_everywhere() -> None:
    assert _malformed(standard().document() + b"\0") == "trailing-bytes"
    assert _malformed(standard().sign(payload(standard()) + b"\0")) == "trailing-bytes"
    for place in range(5):
        ders = list(standard().certificates)
        ders[place] += b"\0"
        document = standard().document(("cabundle", ders[:-1]), ("certificate", ders[-1]))
        code = _refused(document, "nitro.chain")
        assert code == ("nitro-root" if place == 0 else "trailing-bytes")


def test_size_is_looked_at_first() -> None:
    assert _malformed(b"\x84" * 20_481) == "too-large"
    assert _malformed(standard().document(("nonce", bytes(16_384)))) == "too-large"


# ── Roots ────────────────────────────────────────────────────────────────────────────────────────────


def test_awss_root_is_what_ships() -> None:
    assert PLATFORM.anchors() == (vendor_anchor("aws-nitro-root-g1"),)
    assert _chain_refused(standard(), *PLATFORM.anchors()) == "nitro-root"


def test_no_anchor_trusts_nothing() -> None:
    with pytest.raises(VerificationError) as caught:
        PLATFORM.verify(
            PLATFORM.parse(standard().document()),
            Endorsements({}),
            anchors=(),
            at=NOW,
            signatures=Signatures(),
        )
    assert caught.value.code == "nitro-root"


def test_the_root_comes_first() -> None:
    bundle = standard().bundle
    for other in (bundle[::-1], bundle[1:], (*bundle[1:], bundle[0])):
        assert _refused(standard().document(("cabundle", other)), "nitro.chain") == "nitro-root"


def test_a_namesake_of_the_root() -> None:
    impostor = issue({level: {"key": f"evil {level}"} for level in ("root", "regional")})
    assert _refused(impostor.document(), "nitro.chain", standard().anchor) == "nitro-root"
    mixed = standard().document(("cabundle", (standard().bundle[0], *impostor.bundle[1:])))
    assert _refused(mixed, "nitro.chain") == "signature-invalid"


def test_a_root_is_pinned_by_its_bytes() -> None:
    again = issue()  # the same root, key and name, with another signature
    assert again.certificates[0] != standard().certificates[0]
    assert _refused(again.document(), "nitro.chain", standard().anchor) == "nitro-root"


def test_a_key_in_the_document_is_no_anchor() -> None:
    alone = issue({"leaf": {"ca": None}}, order=("leaf",))
    assert _malformed(alone.document()) == "nitro-field"
    document = alone.document(("cabundle", [alone.leaf]))
    assert _refused(document, "nitro.chain", standard().anchor) == "nitro-root"


def test_any_of_several_anchors() -> None:
    assert _verify(standard().document(), *PLATFORM.anchors(), standard().anchor).origin is Origin.PRIVATE


# ── Paths ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"leaf": {"ca": True}}, "leaf-is-ca"),
        ({"leaf": {"usage": ("content_commitment",)}}, "key-usage"),
        ({"instance": {"ca": False}}, "not-a-ca"),
        ({"instance": {"ca": None}}, "not-a-ca"),
        ({"zonal": {"ca": False}}, "not-a-ca"),
        ({"instance": {"usage": ("digital_signature",)}}, "key-usage"),
        ({"regional": {"usage": ("crl_sign",)}}, "key-usage"),
        ({"zonal": {"path_length": 0}}, "path-too-long"),
        ({"regional": {"path_length": 1}}, "path-too-long"),
        ({"regional": {"path_length": 0}}, "path-too-long"),
        ({"root": {"path_length": 2}}, "path-too-long"),
        ({"leaf": {"issuer": "someone else"}}, "issuer-mismatch"),
        ({"zonal": {"issuer": "someone else"}}, "issuer-mismatch"),
        ({"regional": {"issuer": "someone else"}}, "issuer-mismatch"),
        ({"leaf": {"signer": "stranger"}}, "signature-invalid"),
        ({"instance": {"signer": "stranger"}}, "signature-invalid"),
        ({"regional": {"signer": "stranger"}}, "signature-invalid"),
        ({"leaf": {"critical": "1.2.3.4"}}, "critical-extension"),
        ({"zonal": {"critical": "1.2.3.4"}}, "critical-extension"),
        ({"instance": {"curve": ec.SECP256R1()}}, "key-unusable"),
        ({"leaf": {"name": "i-1-enc1.us-east-1.aws"}}, "nitro-signer-name"),
        ({"leaf": {"name": f"{MODULE}0.us-east-1.aws"}}, "nitro-signer-name"),
        ({"leaf": {"ends": NOW - 1}}, "certificate-expired"),
        ({"leaf": {"begins": NOW + 1}}, "certificate-not-yet-valid"),
        ({"regional": {"ends": NOW - 1}}, "certificate-expired"),
        ({"root": {"ends": NOW - 1}}, "certificate-expired"),
    ],
    ids=lambda value: re.sub(" object at 0x[0-9a-f]+", "", str(value)),
)
def test_a_path_that_does_not_hold(changes: Mapping[str, Mapping[str, object]], code: str) -> None:
    assert _chain_refused(issue(changes)) == code


def test_certificates_are_signed_with_sha384() -> None:
    assert _chain_refused(issue({"leaf": {"digest": hashes.SHA256()}})) == "algorithm-unexpected"
    assert _chain_refused(issue({"regional": {"digest": hashes.SHA512()}})) == "algorithm-unexpected"


def test_a_signer_has_a_key_on_p384() -> None:
    chain = issue({"leaf": {"curve": ec.SECP256R1()}})
    chain = Chain(chain.certificates, key("stranger"), chain.anchor)
    assert _chain_refused(chain) == "key-unusable"


def test_a_path_out_of_order() -> None:
    root, regional, zonal, instance = standard().bundle
    for bundle in ([root, zonal, regional, instance], [root, regional, instance], [root, instance]):
        code = _refused(standard().document(("cabundle", bundle)), "nitro.chain")
        assert code in ("issuer-mismatch", "path-too-long")


def test_shorter_paths_are_paths() -> None:
    chain = issue(order=("root", "instance", "leaf"))
    assert len(_verify(chain.document(), chain=chain).certificates) == 3


def test_a_long_bundle_costs_nothing() -> None:
    document = standard().document(("cabundle", [*standard().bundle, *(b"x" for _ in range(5))]))
    assert _malformed(document) == "nitro-field"


def test_no_certificate_is_a_certificate() -> None:
    assert _refused(standard().document(("certificate", bytes(64))), "nitro.chain") == "der-tag"
    assert _refused(standard().document(("certificate", b"")), "nitro.chain")


# ── Signature ────────────────────────────────────────────────────────────────────────────────────────


def test_another_key() -> None:
    other = Chain(standard().certificates, key("stranger"), standard().anchor)
    assert _refused(other.document(), "nitro.signature") == "signature-invalid"


def test_a_payload_changed_after_signing() -> None:
    body = payload(standard())
    changed = payload(standard(), ("pcrs", pcrs() | {0: b"\xee" * 48}))
    assert _refused(envelope(changed, standard().signature(body)), "nitro.signature") == "signature-invalid"


def test_the_signature_is_over_the_bytes_received() -> None:
    definite, indefinite = (payload(standard(), indefinite=flag) for flag in (False, True))
    for sent, signed in ((definite, indefinite), (indefinite, definite)):
        assert _refused(envelope(sent, standard().signature(signed)), "nitro.signature")


def test_the_first_thing_wrong_is_reported() -> None:
    chain = issue({"leaf": {"signer": "stranger"}})
    other = Chain(chain.certificates, key("stranger"), chain.anchor)
    assert _refused(other.document(), "nitro.chain", chain=chain) == "signature-invalid"


# ── Time ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("at", "code"),
    [
        (NOW - HOUR - 1, "certificate-not-yet-valid"),
        (NOW - HOUR, ""),
        (NOW + 2 * HOUR, ""),
        (NOW + 2 * HOUR + 1, "certificate-expired"),
        (NOW + 100 * DAY, "certificate-expired"),
        (0, "certificate-not-yet-valid"),
    ],
)
def test_currency_is_reported(at: int, code: str) -> None:
    memo = Memo()
    for _ in range(2):  # time is checked again for what is remembered
        claims = _verify(standard().document(), at=at, memo=memo)
        currency = claims.checks[3]
        assert currency.id == "currency"
        assert currency.reason == code
        assert currency.status is (Status.FAIL if code else Status.PASS)
        if code:
            assert {"what", "not_before", "not_after"} <= set(currency.context)
        assert [check.status for check in claims.checks[:3]] == [Status.PASS] * 3


def test_the_documents_own_time_counts() -> None:
    for made_at in (NOW - HOUR - 1, NOW + 2 * HOUR + 1, 1, 2**64 // 1000):
        document = standard().document(("timestamp", made_at * 1000))
        assert _refused(document, "nitro.chain").startswith("certificate-")


def test_milliseconds_are_cut_off() -> None:
    claims = _verify(standard().document(("timestamp", NOW * 1000 + 999)))
    assert claims.issued_at == NOW
    assert _refused(standard().document(("timestamp", 999)), "nitro.chain") == "certificate-not-yet-valid"


# ── What is remembered ───────────────────────────────────────────────────────────────────────────────


def _signatures(document: bytes, memo: Memo, chain: Chain, monkeypatch: pytest.MonkeyPatch) -> int:
    noted: list[str] = []
    expect = Signatures.expect

    def counted(self: Signatures, *args: object, what: str, check: str) -> None:
        noted.append(what)
        expect(self, *args, what=what, check=check)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Signatures, "expect", counted)
        _verify(document, memo=memo, chain=chain)
    return len(noted)


def test_what_is_known_is_not_verified_again(monkeypatch: pytest.MonkeyPatch) -> None:
    memo = Memo()
    chain = issue()
    assert _signatures(chain.document(), memo, chain, monkeypatch) == 5
    assert _signatures(chain.document(("nonce", b"1")), memo, chain, monkeypatch) == 1

    def again(level: str) -> Chain:
        """Issue from this level on, with the levels above as they are."""
        place = ["root", "regional", "zonal", "instance", "leaf"].index(level)
        return Chain((*chain.certificates[:place], *issue().certificates[place:]), chain.signer, chain.anchor)

    for expected, level in ((2, "leaf"), (3, "instance"), (4, "zonal"), (5, "regional")):
        other = again(level)
        assert _signatures(other.document(), memo, other, monkeypatch) == expected
        assert _signatures(other.document(), memo, other, monkeypatch) == 1


def test_nothing_is_learned_from_a_forgery() -> None:
    memo = Memo()
    other = Chain(standard().certificates, key("stranger"), standard().anchor)
    with pytest.raises(VerificationError):
        _verify(other.document(), memo=memo)
    assert len(memo) == 0


def test_what_is_known_is_known_under_its_anchor() -> None:
    memo = Memo()
    _verify(standard().document(), memo=memo)
    with pytest.raises(VerificationError) as caught:
        _verify(standard().document(), *PLATFORM.anchors(), memo=memo)
    assert caught.value.code == "nitro-root"


def test_an_authority_is_no_signer_though_it_is_known() -> None:
    memo = Memo()
    _verify(standard().document(), memo=memo)
    # The instance's key signs, its certificate in the signer's place: a path that was verified already.
    thief = Chain(standard().bundle, key("instance"), standard().anchor)
    for remembered in (memo, None):
        with pytest.raises(VerificationError) as caught:
            _verify(thief.document(), memo=remembered)
        assert caught.value.code == "leaf-is-ca"


def test_a_signer_is_no_authority_though_it_is_known() -> None:
    memo = Memo()
    _verify(standard().document(), memo=memo)
    forged = issue({"leaf": {"signer": "leaf", "issuer": f"{MODULE}.us-east-1.aws"}})
    chain = Chain((*standard().certificates, forged.leaf), forged.signer, standard().anchor)
    for remembered in (memo, None):
        with pytest.raises(VerificationError) as caught:
            _verify(chain.document(), memo=remembered)
        assert caught.value.code == "not-a-ca"


def test_path_lengths_above_what_is_known_still_count() -> None:
    memo = Memo()
    free = {"path_length": None}
    limited = issue({"regional": {"path_length": 1}, "zonal": free, "instance": free})
    root, regional, zonal, _, _ = limited.certificates
    short_leaf = issue({"zonal": free}, order=("zonal", "leaf")).leaf  # no instance in between
    short = Chain((root, regional, zonal, short_leaf), limited.signer, limited.anchor)
    _verify(short.document(), memo=memo, chain=limited)
    for remembered in (memo, None):
        with pytest.raises(VerificationError) as caught:
            _verify(limited.document(), memo=remembered, chain=limited)
        assert caught.value.code == "path-too-long"


def test_denied_certificates_are_looked_up_again() -> None:
    memo = Memo()
    claims = _verify(standard().document(), memo=memo)
    claims = _verify(standard().document(), memo=memo)
    leaf = claims.certificates[0]
    denied = DeniedCertificate(issuer=claims.certificates[1].common_name, serial=f"{leaf.serial:x}")
    policy = NitroPolicy(denied_certificates=(denied,))
    assert next(iter(PLATFORM.judge(claims, policy, at=NOW))).status is Status.FAIL


def test_a_certificate_is_denied_whatever_its_signature_looks_like() -> None:
    # (r, s) and (r, n - s) both verify: the same certificate with another hash.
    leaf = parse_certificate(standard().leaf)
    r, s = decode_dss_signature(leaf.signature)
    twin_signature = encode_dss_signature(r, _P384_ORDER - s)
    body = leaf.tbs + bytes.fromhex("300a06082a8648ce3d040303") + _tlv(3, b"\0" + twin_signature)
    twin = _tlv(0x30, body)
    claims = _verify(standard().document(("certificate", twin)))
    assert claims.certificates[0].digest != leaf.digest
    denied = DeniedCertificate(issuer=claims.certificates[1].common_name, serial=f"{leaf.serial:x}")
    policy = NitroPolicy(denied_certificates=(denied,))
    assert next(iter(PLATFORM.judge(claims, policy, at=NOW))).reason == "nitro-denied"


def _tlv(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 128:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 + len(length))) + length + content


def test_an_anchor_that_is_no_certificate() -> None:
    junk = private_anchor(b"junk")
    document = standard().document(("cabundle", [b"junk", *standard().bundle[1:]]))
    assert _refused(document, "nitro.chain", junk)


def test_evidence_of_another_platform() -> None:
    class Foreign:
        platform = "sgx"
        raw = b""

    foreign: Evidence = Foreign()
    for use in (PLATFORM.sources, PLATFORM.views, PLATFORM.facts):
        with pytest.raises(TypeError):
            use(foreign)
    claims: Claims = _verify(standard().document())
    with pytest.raises(TypeError):
        PLATFORM.judge(claims, PlatformPolicy(), at=NOW)
