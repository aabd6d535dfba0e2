# SPDX-License-Identifier: Apache-2.0
"""Statements about builds: the same for the same build, believed from pinned keys, read by other tools."""

import json
from base64 import b64decode
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from nacre.build import provenance, rebuilds, statements
from nacre.build.provenance import Material, Provenance
from nacre.build.rebuilds import Rebuild
from nacre.errors import BuildError, MalformedEvidence, NacreError, UnsupportedEvidence, VerificationError
from nacre.trust.jwk import KeySet, read_keys
from nacre.trust.signing import PrivateKey, signing_key

KEYS: tuple[PrivateKey, ...] = (
    ec.derive_private_key(0xA11CE, ec.SECP256R1()),
    ec.derive_private_key(0xA11CE, ec.SECP384R1()),
    ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32))),
)
WHOLE = Provenance(
    outputs={"nitro.eif": b"e" * 32, "kernel": b"k" * 32},
    recipe=b"r" * 32,
    lock=b"l" * 32,
    targets=("tdx", "nitro"),
    materials=(
        Material(name="deb libc6 2.36", uri="pkg:deb/debian/libc6@2.36?arch=amd64", sha256=b"c" * 32),
        Material(name="kernel", sha256=b"k" * 32),
    ),
    repository="https://example.com/worm.git",
    commit="c0" * 20,
    builder="https://example.com/ci",
    version="0.1.0",
    at=1_764_000_000,
)
LEAST = Provenance(
    outputs={}, recipe=bytes(32), lock=bytes(32), targets=(), builder="urn:example:me", version="0"
)
REBUILD = Rebuild(
    release="worm@1", fingerprint=b"f" * 32, commit="c0" * 20, result="identical", version="0.1.0"
)


def pins(key: PrivateKey) -> KeySet:
    return read_keys(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


@pytest.mark.parametrize("whole", [WHOLE, LEAST, msgspec.structs.replace(WHOLE, repository="", at=None)])
def test_what_is_written_is_read(whole: Provenance) -> None:
    assert provenance.read(provenance.statement(whole), pinned=None) == whole


def test_the_form_is_that_of_slsa() -> None:
    found = json.loads(provenance.statement(WHOLE))
    assert list(found) == ["_type", "subject", "predicateType", "predicate"]
    assert found["_type"] == "https://in-toto.io/Statement/v1"
    assert found["subject"] == [
        {"name": "kernel", "digest": {"sha256": "6b" * 32}},
        {"name": "nitro.eif", "digest": {"sha256": "65" * 32}},
    ]
    assert found["predicateType"] == "https://slsa.dev/provenance/v1"
    assert found["predicate"] == {
        "buildDefinition": {
            "buildType": provenance.BUILD_TYPE,
            "externalParameters": {"recipe": "72" * 32, "lock": "6c" * 32, "targets": ["tdx", "nitro"]},
            "resolvedDependencies": [
                {
                    "name": "source",
                    "uri": "git+https://example.com/worm.git",
                    "digest": {"gitCommit": "c0" * 20},
                },
                {
                    "name": "deb libc6 2.36",
                    "uri": "pkg:deb/debian/libc6@2.36?arch=amd64",
                    "digest": {"sha256": "63" * 32},
                },
                {"name": "kernel", "digest": {"sha256": "6b" * 32}},
            ],
        },
        "runDetails": {
            "builder": {"id": "https://example.com/ci", "version": {"nacre": "0.1.0"}},
            "metadata": {"finishedOn": "2025-11-24T16:00:00Z"},
        },
    }


def test_nothing_is_said_of_time_unless_asked() -> None:
    assert b"metadata" not in provenance.statement(LEAST)


@pytest.mark.parametrize("key", KEYS, ids=["P-256", "P-384", "Ed25519"])
def test_the_same_build_signed_twice_is_the_same_file(key: PrivateKey) -> None:
    statement = provenance.statement(WHOLE)
    sealed = statements.sign(statement, signing_key(key), key_id="k")
    assert sealed == statements.sign(statement, signing_key(key), key_id="k")
    assert provenance.read(sealed, pinned=pins(key)) == WHOLE


def test_the_envelope_is_what_other_verifiers_take() -> None:
    """Securesystemslib and cosign want ECDSA in DER, over exactly these bytes."""
    statement = provenance.statement(WHOLE)
    kind = b"application/vnd.in-toto+json"
    message = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(statement), statement)
    for key, digest in zip(KEYS, (hashes.SHA256(), hashes.SHA384(), None), strict=True):
        envelope = json.loads(statements.sign(statement, signing_key(key), key_id="k"))
        assert envelope.keys() == {"payloadType", "payload", "signatures"}
        assert (envelope["payloadType"], b64decode(envelope["payload"])) == (kind.decode(), statement)
        (signed,) = envelope["signatures"]
        assert signed.keys() == {"keyid", "sig"}
        signature = b64decode(signed["sig"])
        public = key.public_key()
        if isinstance(public, ec.EllipticCurvePublicKey):
            assert digest is not None
            public.verify(signature, message, ec.ECDSA(digest))
        else:
            public.verify(signature, message)


def test_what_is_signed_is_not_read_without_a_key_nor_with_another() -> None:
    sealed = statements.sign(provenance.statement(WHOLE), signing_key(KEYS[0]))
    for pinned, code in ((None, "reference-signer"), (pins(KEYS[1]), "signature-invalid")):
        with pytest.raises(VerificationError) as caught:
            provenance.read(sealed, pinned=pinned)
        assert caught.value.code == code


def test_what_nobody_signed_is_not_read_as_signed() -> None:
    with pytest.raises(MalformedEvidence) as caught:
        provenance.read(provenance.statement(WHOLE), pinned=pins(KEYS[0]))
    assert caught.value.code == "dsse-payload"


@pytest.mark.parametrize(
    "change",
    [
        {"recipe": b""},
        {"lock": b"l" * 31},
        {"outputs": {"kernel": b""}},
        {"commit": "HEAD"},
        {"commit": ""},
        {"repository": "ext::sh -c touch% /tmp/pwned"},
        {"repository": "--upload-pack=sh"},
        {"repository": "https://user:password@example.com/worm.git"},
        {"repository": "https://example.com/a b"},
        {"builder": "me"},
        {"materials": (Material(name="source", sha256=bytes(32)),)},
        {"materials": (Material(name="a", sha256=b""),)},
        {"at": 1 << 40},
        {"at": -(1 << 60)},
    ],
)
def test_what_could_not_be_read_again_is_not_written(change: dict[str, Any]) -> None:
    with pytest.raises(BuildError) as caught:
        provenance.statement(msgspec.structs.replace(WHOLE, **change))
    assert caught.value.code == "provenance-unusable"


Change = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda it: it.update(_type="https://in-toto.io/Statement/v2"), "intoto-predicate"),
        (lambda it: it.update(predicateType=rebuilds.PREDICATE), "intoto-predicate"),
        (lambda it: it.update(more=1), "json-shape"),
        (lambda it: it["subject"].append(it["subject"][0]), "reference-twice"),
        (lambda it: it["subject"][0].update(digest={"sha512": "00"}), "json-shape"),
        (lambda it: it["subject"][0].update(digest={"sha256": "AA" * 32}), "intoto-digest"),
        (lambda it: it["predicate"]["buildDefinition"].update(buildType="https://other"), "provenance-type"),
        (lambda it: it["predicate"]["buildDefinition"].update(internalParameters={}), "json-shape"),
        (lambda it: _dependencies(it).append(_dependencies(it)[0]), "provenance-field"),
        (lambda it: _dependencies(it)[0].update(uri="git+ext::sh"), "provenance-field"),
        (lambda it: _dependencies(it)[1].update(digest={"md5": "00"}), "provenance-field"),
        (lambda it: it["predicate"]["runDetails"].update(metadata={"finishedOn": "now"}), "time-invalid"),
    ],
)
def test_statements_of_others(change: Change, code: str) -> None:
    statement = json.loads(provenance.statement(WHOLE))
    change(statement)
    with pytest.raises(NacreError) as caught:
        provenance.read(json.dumps(statement).encode(), pinned=None)
    assert isinstance(caught.value, MalformedEvidence | UnsupportedEvidence)
    assert caught.value.code == code


def _dependencies(statement: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
    return found


# ── Rebuilders ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "rebuild",
    [REBUILD, msgspec.structs.replace(REBUILD, result="different", difference="app/main.py, byte 17")],
)
@pytest.mark.parametrize("key", KEYS, ids=["P-256", "P-384", "Ed25519"])
def test_a_rebuilders_word(rebuild: Rebuild, key: PrivateKey) -> None:
    sealed = statements.sign(rebuilds.statement(rebuild), signing_key(key))
    assert rebuilds.read(sealed, pinned=pins(key)) == rebuild


def test_a_long_difference_is_cut() -> None:
    rebuild = msgspec.structs.replace(REBUILD, result="different", difference="x" * 10_000)
    sealed = statements.sign(rebuilds.statement(rebuild), signing_key(KEYS[0]))
    assert rebuilds.read(sealed, pinned=pins(KEYS[0])).difference == "x" * 4096


@pytest.mark.parametrize(
    "rebuild",
    [
        msgspec.structs.replace(REBUILD, difference="but"),
        msgspec.structs.replace(REBUILD, result="different"),
        msgspec.structs.replace(REBUILD, commit="main"),
    ],
)
def test_a_word_that_says_nothing(rebuild: Rebuild) -> None:
    sealed = statements.sign(rebuilds.statement(rebuild), signing_key(KEYS[0]))
    with pytest.raises(MalformedEvidence) as caught:
        rebuilds.read(sealed, pinned=pins(KEYS[0]))
    assert caught.value.code == "rebuild-form"


def test_a_word_about_nothing_and_one_of_nobody() -> None:
    statement = json.loads(rebuilds.statement(REBUILD))
    sealed = statements.sign(json.dumps(statement | {"subject": []}).encode(), signing_key(KEYS[0]))
    for data in (sealed, json.dumps(statement).encode()):
        with pytest.raises(MalformedEvidence):
            rebuilds.read(data, pinned=pins(KEYS[0]))


def test_provenance_is_no_rebuild() -> None:
    sealed = statements.sign(provenance.statement(WHOLE), signing_key(KEYS[0]))
    with pytest.raises(UnsupportedEvidence):
        rebuilds.read(sealed, pinned=pins(KEYS[0]))
