# SPDX-License-Identifier: Apache-2.0
"""QuorumOS: the manifest counts as far as a locked register holds it."""

import hashlib
import json
from pathlib import Path

import pytest
from tests.appraisal.systems.worlds import ask_nitro, ask_tdx, outcome, tdx_world
from tests.platforms.nitro.pki import Pair, pcrs, standard

from nacre.appraisal import systems
from nacre.appraisal.systems import envelope
from nacre.appraisal.verdict import Verdict
from nacre.errors import ConfigurationError
from nacre.platforms.nitro.evidence import parse_document

MANIFEST = hashlib.sha256(b"manifest").digest()
KEY = b"\x04" + bytes(range(64)) + b"\x04" + bytes(range(64, 128))
GIVEN = {"manifest-hash": MANIFEST, "key": KEY}
LAYOUT = "quorumos/manifest"


def _committed(domain: str, digest: bytes = MANIFEST, key: bytes = KEY) -> bytes:
    """Compute the register from QuorumOS's description."""
    preimage = {
        "domain": f"qos-{domain}-manifest-pcr-commitment-v1",
        "ephemeralPublicKey": key.hex(),
        "manifestHash": digest.hex(),
    }
    commitment = hashlib.sha384(json.dumps(preimage, separators=(",", ":")).encode()).digest()
    return hashlib.sha384(bytes(48) + commitment).digest()


def _document(registers: dict[int, bytes], *changes: Pair) -> bytes:
    return standard().document(
        ("pcrs", pcrs() | registers), ("user_data", MANIFEST), ("public_key", KEY), *changes
    )


def _live(*changes: Pair) -> bytes:
    return _document({16: _committed("setup", key=KEY[::-1]), 17: _committed("live")}, *changes)


@pytest.mark.parametrize(
    ("registers", "kind"),
    [
        ({16: _committed("setup", key=KEY[::-1]), 17: _committed("live")}, "live"),
        ({16: _committed("setup"), 17: _committed("live", key=KEY[::-1])}, "setup"),
    ],
)
def test_committed_manifest_is_accepted(registers: dict[int, bytes], kind: str) -> None:
    facts = f'[quorumos]\nmanifest_hash = ["{MANIFEST.hex()}"]\nkind = ["{kind}"]'
    result = ask_nitro(_document(registers), system="quorumos", given=GIVEN, layout=LAYOUT, facts=facts)
    assert result.verdict is Verdict.VERIFIED
    other = f'[quorumos]\nkind = ["{"setup" if kind == "live" else "live"}"]'
    result = ask_nitro(_document(registers), system="quorumos", given=GIVEN, layout=LAYOUT, facts=other)
    assert outcome(result, "executables") == ("fail", "executables-mismatch")


@pytest.mark.parametrize(
    "registers",
    [
        {17: _committed("setup")},
        {16: _committed("live")},
        {17: _committed("live", digest=bytes(32))},
        {17: _committed("live", key=KEY[:65])},
        {17: hashlib.sha384(bytes(48) + MANIFEST).digest()},
        {16: b"\1" * 48},
    ],
    ids=["setup in live's", "live in setup's", "another manifest", "half the key", "hash alone", "something"],
)
def test_other_commitments_are_refused(registers: dict[int, bytes]) -> None:
    result = ask_nitro(_document(registers), system="quorumos", given=GIVEN, layout=LAYOUT)
    assert result.verdict is Verdict.REJECTED
    assert outcome(result, "quorumos.commitment") == ("fail", "quorumos-mismatch")


def test_manifest_that_no_register_holds_is_no_fact() -> None:
    """As a real document of 2022 has it: the fields are right, and somebody may have chosen them."""
    for registers in ({}, {16: bytes(48), 17: bytes(48)}):
        facts = f'[quorumos]\nmanifest_hash = ["{MANIFEST.hex()}"]'
        document = _document(registers)
        result = ask_nitro(document, system="quorumos", given=GIVEN, layout=LAYOUT)
        assert result.verdict is Verdict.INCOMPLETE
        assert outcome(result, "binding") == ("pass", "")
        assert outcome(result, "quorumos.commitment") == ("skipped", "quorumos-uncommitted")
        result = ask_nitro(document, system="quorumos", given=GIVEN, layout=LAYOUT, facts=facts)
        assert result.verdict is Verdict.REJECTED


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"manifest-hash": bytes(32), "key": KEY}, "binding-mismatch"),
        ({"manifest-hash": MANIFEST, "key": KEY[65:] + KEY[:65]}, "binding-key-mismatch"),
        ({"manifest-hash": MANIFEST, "key": KEY[:65]}, "binding-key-mismatch"),
    ],
)
def test_other_parts_are_refused(given: dict[str, bytes], reason: str) -> None:
    result = ask_nitro(_live(), system="quorumos", given=given, layout=LAYOUT)
    assert outcome(result, "binding") == ("fail", reason)


@pytest.mark.parametrize(
    "given", [GIVEN | {"manifest-hash": MANIFEST[:31]}, GIVEN | {"key": b""}, GIVEN | {"key": bytes(1025)}]
)
def test_parts_of_another_size_are_refused(given: dict[str, bytes]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ask_nitro(_live(), system="quorumos", given=given)
    assert caught.value.code == "binding-part"


def test_documents_without_fields_hold_nothing() -> None:
    for changes in ((("user_data", None),), (("public_key", None),), (("user_data", MANIFEST[:31]),)):
        result = ask_nitro(_live(*changes), system="quorumos", given=GIVEN, layout=LAYOUT)
        assert result.verdict is Verdict.REJECTED
        assert outcome(result, "quorumos.commitment") == ("fail", "quorumos-mismatch")


def test_evidence_of_another_platform_commits_to_nothing() -> None:
    result = ask_tdx(tdx_world(bytes(64)), system="quorumos", given=GIVEN, layout=LAYOUT)
    assert outcome(result, "quorumos.commitment") == ("skipped", "quorumos-other-platform")
    assert result.verdict is Verdict.REJECTED


def test_real_document_of_2022_has_no_commitment(vectors: Path) -> None:
    folder = vectors / "nitro" / "qos-2022-publickey800"
    if not folder.is_dir():
        pytest.skip("the shared vectors are not beside this checkout")
    document = (folder / "evidence.cbor").read_bytes()
    evidence = parse_document(document)
    assert evidence.public_key
    assert not any(evidence.pcrs.get(index, b"").strip(b"\0") for index in (16, 17))
    fields = systems.layout(LAYOUT).compute(
        {"manifest-hash": evidence.user_data or b"", "key": evidence.public_key}
    )
    assert fields.public_key == evidence.public_key
    assert envelope.unwrap(document, name="quorumos", given={}).evidence == document
