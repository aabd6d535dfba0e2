# SPDX-License-Identifier: Apache-2.0
"""What guests post to a Key Broker Service, and reports of SEV-SNP that were taken apart into JSON."""

import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.appraisal.systems.worlds import ask_tdx, outcome, tdx_world

from nacre import platforms
from nacre.appraisal import systems
from nacre.appraisal.systems import envelope
from nacre.appraisal.verdict import Verdict
from nacre.errors import MalformedEvidence
from nacre.platforms.base import Endorsements
from nacre.trust.signatures import Signatures

NONCE = bytes(range(100, 132))
JWK = {"kty": "EC", "crv": "P-256", "alg": "ECDH-ES+A256KW", "x": "AQ", "y": "Ag"}
_VECTORS = Path(__file__).parents[2] / "vectors" / "systems" / "coco"
_REAL = (_VECTORS / "snp-genoa.json").read_bytes()
#: In the dates of its certificate.
_AT = 1_770_000_000

Json = dict[str, object]


def _runtime(**more: str) -> Json:
    return {"tee-pubkey": JWK, "nonce": base64.b64encode(NONCE).decode(), **more}


def _report_data(document: Json) -> bytes:
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    return hashlib.sha384(text).digest() + bytes(16)


def _posted(quote: bytes, additional: str | None = "", changes: Json | None = None) -> bytes:
    evidence: Json = {"quote": base64.b64encode(quote).decode(), "cc_eventlog": None}
    if additional is not None:
        evidence = {"primary_evidence": evidence, "additional_evidence": additional}
    runtime = {"nonce": base64.b64encode(NONCE).decode(), "tee-pubkey": JWK}
    return json.dumps(
        {"runtime-data": runtime, "tee-evidence": evidence, "init-data": None} | (changes or {})
    ).encode()


# ── The protocol ──


@pytest.mark.parametrize("additional", ["", '{"nvidia": ["Gpu", "…"]}'])
def test_posted_evidence_is_accepted(additional: str) -> None:
    world = tdx_world(_report_data(_runtime(**{"additional-evidence": additional})))
    data = _posted(world.quote, additional)
    assert systems.recognise(data) is systems.get("coco")
    result = ask_tdx(world, data=data, system="coco", given={"nonce": NONCE}, layout="coco/kbs")
    assert result.verdict is Verdict.VERIFIED


def test_older_protocol_is_accepted() -> None:
    world = tdx_world(_report_data(_runtime()))
    data = _posted(world.quote, None)
    result = ask_tdx(world, data=data, system="coco", given={"nonce": NONCE}, layout="coco/kbs-0.3")
    assert result.verdict is Verdict.VERIFIED


def test_nonce_that_came_with_the_evidence_makes_nothing_fresh() -> None:
    world = tdx_world(_report_data(_runtime(**{"additional-evidence": ""})))
    result = ask_tdx(world, data=_posted(world.quote), system="coco", layout="coco/kbs")
    assert outcome(result, "binding") == ("pass", "")
    assert outcome(result, "freshness") == ("skipped", "freshness-unknown")


@pytest.mark.parametrize(
    "changes",
    [
        {"runtime-data": {"nonce": base64.b64encode(bytes(32)).decode(), "tee-pubkey": JWK}},
        {"runtime-data": {"nonce": base64.b64encode(NONCE).decode(), "tee-pubkey": JWK | {"x": "AQE"}}},
        {"runtime-data": {"nonce": base64.b64encode(NONCE).decode(), "tee-pubkey": JWK | {"use": "enc"}}},
    ],
    ids=["nonce", "key", "one member more"],
)
def test_other_runtime_data_is_refused(changes: Json) -> None:
    world = tdx_world(_report_data(_runtime(**{"additional-evidence": ""})))
    result = ask_tdx(world, data=_posted(world.quote, "", changes), system="coco", layout="coco/kbs")
    assert outcome(result, "binding") == ("fail", "binding-mismatch")


def test_broker_s_own_nonce_goes_before_the_one_in_the_evidence() -> None:
    world = tdx_world(_report_data(_runtime(**{"additional-evidence": ""})))
    result = ask_tdx(
        world, data=_posted(world.quote), system="coco", given={"nonce": bytes(32)}, layout="coco/kbs"
    )
    assert outcome(result, "binding") == ("fail", "binding-mismatch")


def test_devices_that_were_left_out_are_noticed() -> None:
    world = tdx_world(_report_data(_runtime(**{"additional-evidence": '{"nvidia": []}'})))
    for data, layout in ((_posted(world.quote), "coco/kbs"), (_posted(world.quote, None), "coco/kbs-0.3")):
        result = ask_tdx(world, data=data, system="coco", layout=layout)
        assert outcome(result, "binding") == ("fail", "binding-mismatch")


_BAD: dict[str, Callable[[bytes], bytes]] = {
    "no device": lambda _: b'{"tee-evidence": {}, "runtime-data": {"nonce": "", "tee-pubkey": {}}}',
    "composite of nothing": lambda _: _posted(b"").replace(b'{"quote": "", "cc_eventlog": null}', b"{}"),
    "composite in composite": lambda quote: _posted(
        quote,
        None,
        changes={"tee-evidence": {"primary_evidence": {"primary_evidence": {}}, "additional_evidence": ""}},
    ),
    "devices beside": lambda quote: _posted(
        quote,
        None,
        changes={
            "tee-evidence": {
                "quote": "AA==",
                "primary_evidence": {"quote": "AA=="},
                "additional_evidence": "",
            }
        },
    ),
    "no further devices": lambda quote: _posted(
        quote, None, changes={"tee-evidence": {"primary_evidence": {"quote": "AA=="}}}
    ),
    "two kinds": lambda _: _REAL[:-1] + b',"quote":"AA=="}',
    "unknown member": lambda quote: _posted(quote, changes={"hint": "trust me"}),
    "member twice": lambda quote: _posted(quote)[:-1] + b',"init-data":null}',
    "nonce of another alphabet": lambda quote: _posted(
        quote, changes={"runtime-data": {"nonce": "__--", "tee-pubkey": JWK}}
    ),
    "number in the key": lambda quote: _posted(
        quote, changes={"runtime-data": {"nonce": "", "tee-pubkey": {"kty": 1}}}
    ),
    "quote of another alphabet": lambda quote: _posted(
        quote, None, changes={"tee-evidence": {"quote": "A A="}}
    ),
    "bytes beyond a byte": lambda _: _REAL.replace(b'"report_data":[126', b'"report_data":[256'),
    "report data too short": lambda _: _REAL.replace(b'"report_data":[126,', b'"report_data":['),
    "no report id": lambda _: json.dumps(
        {"attestation_report": json.loads(_REAL)["attestation_report"] | {"report_id": []}}
    ).encode(),
    "unknown field": lambda _: _REAL.replace(b'"guest_svn"', b'"guest"'),
}


@pytest.mark.parametrize("name", _BAD)
def test_other_documents_are_refused(name: str) -> None:
    with pytest.raises(MalformedEvidence) as caught:
        envelope.unwrap(_BAD[name](b"quote"), name="coco", given={})
    assert str(caught.value)


def test_bare_evidence_is_its_own_envelope() -> None:
    world = tdx_world(bytes(64))
    assert envelope.unwrap(world.quote, name="coco", given={}).evidence == world.quote
    assert systems.recognise(b'{"tee-evidence": {}}') is None
    assert systems.recognise(b"tee-evidence") is None


# ── Reports in JSON ──


def test_real_report_is_the_one_that_amd_signed() -> None:
    """A report of Genoa that Trustee's own tests use, with the certificate that came with it."""
    assert systems.recognise(_REAL) is systems.get("coco")
    opened = envelope.unwrap(_REAL, name="coco", given={})
    platform = platforms.get("snp")
    claims = platform.verify(
        platform.parse(opened.evidence),
        Endorsements({**opened.opened.endorsements, **_genoa()}),
        anchors=platform.anchors(),
        at=_AT,
        signatures=Signatures(),
    )
    signed = [check.status.value for check in claims.checks if check.id == "snp.signature"]
    assert signed == ["pass"]
    assert claims.committed.data.hex().startswith("7e7320889600c7ac")


def _genoa() -> dict[str, bytes]:
    case = _VECTORS.parents[1] / "snp" / "derived-measurement-flip-genoa-v5"
    return {"ask": (case / "ask.der").read_bytes()}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"policy":196608', b'"policy":196609'),
        (b'"bootloader":10', b'"bootloader":11'),
        (b'"fmc":null', b'"fmc":0'),
        (b'"cpuid_step":2', b'"cpuid_step":1'),
        (b'"build":40', b'"build":41'),
        (b'"measurement":[106', b'"measurement":[107'),
    ],
)
def test_changed_report_is_another(old: bytes, new: bytes) -> None:
    assert old in _REAL
    same = envelope.unwrap(_REAL, name="coco", given={}).evidence
    other = envelope.unwrap(_REAL.replace(old, new), name="coco", given={}).evidence
    assert len(other) == len(same) == 1184
    assert other != same


def test_turin_orders_its_versions_in_another_way() -> None:
    tcb = b'{"fmc":null,"bootloader":10,"tee":0,"snp":23,"microcode":25}'
    assert _REAL.count(tcb) == 4
    data = _REAL.replace(tcb, b'{"fmc":1,"bootloader":2,"tee":3,"snp":4,"microcode":5}')
    report = envelope.unwrap(data, name="coco", given={}).evidence
    assert report[0x38:0x40] == bytes((1, 2, 3, 4, 0, 0, 0, 5))
    same = envelope.unwrap(_REAL, name="coco", given={}).evidence
    assert same[0x38:0x40] == bytes((10, 0, 0, 0, 0, 0, 23, 25))


def test_certificates_of_other_kinds_are_left_alone() -> None:
    data = _REAL.replace(
        b'"cert_type":"VCEK"', b'"cert_type":{"OTHER":"00000000-0000-0000-0000-000000000000"}'
    )
    assert envelope.unwrap(data, name="coco", given={}).opened.endorsements == {}
    alone = json.loads(_REAL) | {"cert_chain": None}
    assert envelope.unwrap(json.dumps(alone).encode(), name="coco", given={}).opened.endorsements == {}
