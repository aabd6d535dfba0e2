# SPDX-License-Identifier: Apache-2.0
"""What Tinfoil, Atlas, nilCC and SecretVM serve: documents around evidence, and what they say of keys."""

import base64
import gzip
import hashlib
import json
from collections.abc import Callable, Mapping

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from tests.appraisal.systems.guests import (
    COMPOSE,
    COMPOSE_HASH,
    Row,
    certificate,
    guest,
    row,
    rows,
    served,
    spki,
)
from tests.appraisal.systems.worlds import NOW, ask_tdx, outcome, tdx_world
from tests.platforms.dcap.pki import World
from tests.platforms.snp import pki as amd

from nacre.appraisal import systems
from nacre.appraisal.appraise import appraise
from nacre.appraisal.policy import Policy
from nacre.appraisal.release import Release
from nacre.appraisal.result import Result
from nacre.appraisal.systems import envelope
from nacre.appraisal.verdict import Verdict
from nacre.errors import MalformedEvidence, UnsupportedEvidence
from nacre.platforms.base import Endorsements
from nacre.reasons import explain

NONCE = bytes(range(100, 132))
EXPORTER = bytes(range(32))
HPKE = bytes(range(200, 232))
KEY = spki()
KEY_DIGEST = hashlib.sha256(KEY).digest()

Json = dict[str, object]


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _ask_snp(
    data: bytes, world: amd.World, *, layout: str, given: Mapping[str, bytes] | None = None
) -> Result:
    """Ask for a report with the certificates that came along, and what only AMD serves."""
    name = layout.partition("/")[0]
    opened = envelope.unwrap(data, name=name, given=given or {})
    registers = f'measurement = "{(b"M" * 48).hex()}"\nhost_data = "any"\n'
    release = Release.parse(f'id = "app"\nlayout = "{layout}"\n[[snp]]\n{registers}')
    policy = Policy(id="test", releases=(release,), platforms=("snp",), anchored={"snp": (world.anchor,)})
    result = appraise(
        opened.evidence,
        policy=policy,
        endorsements=Endorsements({**world.documents, **opened.opened.endorsements}),
        at=NOW,
        envelope=opened,
    )
    assert all(explain(check) for check in result.checks)
    return result


# ── Tinfoil, version 2 ──


def _v2(evidence: bytes, kind: str = "tdx-guest", **more: object) -> bytes:
    body = _b64(gzip.compress(evidence))
    return json.dumps({"format": f"https://tinfoil.sh/predicate/{kind}/v2", "body": body} | more).encode()


def test_tinfoil_document_is_bound_to_both_keys() -> None:
    world = tdx_world(KEY_DIGEST + HPKE)
    data = _v2(world.quote)
    assert systems.recognise(data) is systems.get("tinfoil")
    given = {"key": KEY, "hpke-key": HPKE}
    result = ask_tdx(world, data=data, system="tinfoil", given=given, layout="tinfoil/v2")
    assert outcome(result, "binding") == ("pass", "")
    assert outcome(result, "freshness") == ("skipped", "freshness-unknown")
    for wrong in ({"key": spki("thief")}, {"hpke-key": bytes(32)}):
        result = ask_tdx(world, data=data, system="tinfoil", given=given | wrong, layout="tinfoil/v2")
        assert outcome(result, "binding") == ("fail", "binding-mismatch")


def test_tinfoil_document_of_amd_brings_its_certificate() -> None:
    world = amd.World(report={"report_data": KEY_DIGEST + HPKE})
    report = world.evidence()
    data = _v2(report, "sev-snp-guest", vcek=_b64(world.documents["vek"]))
    opened = envelope.unwrap(data, name="tinfoil", given={})
    assert opened.evidence == report
    assert opened.opened.endorsements == {"vek": world.documents["vek"]}
    result = _ask_snp(data, world, layout="tinfoil/v2", given={"key": KEY, "hpke-key": HPKE})
    assert outcome(result, "binding") == ("pass", "")
    assert outcome(result, "executables")[0] == "pass"


def _spelled(key: bytes) -> list[str]:
    text = base64.b32encode(key).decode().rstrip("=").lower()
    pieces = [text[at : at + 20] for at in range(0, len(text), 20)]
    return [f"{number:02}{piece}.hpke.worm.tinfoil.sh" for number, piece in enumerate(pieces)]


def _bundle(world: World, names: list[str], **more: object) -> bytes:
    value = x509.SubjectAlternativeName([x509.DNSName(name) for name in names]).public_bytes()
    der = certificate({"2.5.29.17": value})
    pem = x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM).decode()
    document = json.loads(_v2(world.quote))
    return json.dumps(
        {"domain": "worm", "enclaveAttestationReport": document, "digest": "", "enclaveCert": pem} | more
    ).encode()


def test_tinfoil_bundle_is_bound_to_the_keys_of_its_certificate() -> None:
    world = tdx_world(KEY_DIGEST + HPKE)
    names = ["worm.tinfoil.sh", *reversed(_spelled(HPKE))]
    data = _bundle(world, names, vcek="", sigstoreBundle={"any": 1})
    assert systems.recognise(data) is systems.get("tinfoil")
    result = ask_tdx(world, data=data, system="tinfoil", layout="tinfoil/v2")
    assert outcome(result, "binding") == ("pass", "")
    assert outcome(result, "certificate.possession") == ("pass", "")
    assert result.foreign
    assert result.foreign.described == {
        "certificate": 'certificate "ratls"',
        "key_sha256": KEY_DIGEST,
        "hpke_key": HPKE,
    }
    other = _bundle(world, ["worm.tinfoil.sh", *_spelled(bytes(32))])
    result = ask_tdx(world, data=other, system="tinfoil", layout="tinfoil/v2")
    assert outcome(result, "binding") == ("fail", "binding-mismatch")


@pytest.mark.parametrize("names", [["worm"], ["00!.hpke.worm"], _spelled(HPKE[:31]), _spelled(HPKE)[1:]])
def test_tinfoil_bundle_without_a_body_key_is_bound_to_the_tls_key(names: list[str]) -> None:
    world = tdx_world(KEY_DIGEST + HPKE)
    data = _bundle(world, names)
    result = ask_tdx(world, data=data, system="tinfoil", layout="tinfoil/v2-tls-key")
    assert outcome(result, "binding") == ("pass", "")


# ── Tinfoil, version 3 ──

_DEVICES = b'{"format":"https://tinfoil.sh/device-evidence/v1","items":[]}'


def _material(*items: Json, kind: str = "crypto-material") -> bytes:
    return json.dumps({"format": f"https://tinfoil.sh/{kind}/v1", "items": items}).encode()


def _item(name: str, kind: str, data: bytes) -> Json:
    return {"id": name, "format": f"https://tinfoil.sh/key/{kind}/v1", "data": data.hex()}


_KEYS = (_item("tls", "spki-fp-sha256", KEY_DIGEST), _item("hpke", "x25519-hpke", HPKE))
_MATERIAL = _material(*_KEYS)


def _fresh_data(material: bytes = _MATERIAL, devices: bytes = _DEVICES, nonce: bytes = NONCE) -> bytes:
    hashes = hashlib.sha256(material).digest() + hashlib.sha256(devices).digest()
    return hashlib.sha256(b"https://tinfoil.sh/report-data/v1" + nonce + hashes).digest() + bytes(32)


def _v3(evidence: bytes, material: bytes = _MATERIAL, kind: str = "tdx-quote", **more: object) -> bytes:
    hashes = {
        "crypto_material_hash": hashlib.sha256(material).hexdigest(),
        "device_evidence_hash": hashlib.sha256(_DEVICES).hexdigest(),
    }
    document: Json = {
        "format": "https://tinfoil.sh/predicate/attestation/v3",
        "challenge": {
            "nonce": NONCE.hex(),
            "report_data": "",
            "report_data_algorithm": "https://tinfoil.sh/report-data/v1",
        },
        "cpu_evidence": {
            "format": f"https://tinfoil.sh/format/{kind}/v1",
            "report_base64": _b64(evidence),
            "endorsed": hashes,
        },
        "crypto_material": _b64(material),
        "device_evidence": _b64(_DEVICES),
        "collateral": [],
    }
    return json.dumps(document | more).encode()


@pytest.mark.parametrize("given", [{"key": KEY}, {"hpke-key": HPKE}, {"key": KEY, "hpke-key": HPKE}])
def test_tinfoil_answer_is_accepted_for_nonce_and_keys(given: dict[str, bytes]) -> None:
    world = tdx_world(_fresh_data())
    data = _v3(world.quote)
    assert systems.recognise(data) is systems.get("tinfoil")
    result = ask_tdx(world, data=data, system="tinfoil", given={"nonce": NONCE, **given}, layout="tinfoil/v3")
    assert result.verdict is Verdict.VERIFIED
    assert result.foreign
    assert result.foreign.described == {"key_sha256": KEY_DIGEST, "hpke_key": HPKE}


@pytest.mark.parametrize(
    ("given", "outcomes"),
    [
        ({}, ("skipped", "tinfoil-no-key")),
        ({"key": spki("thief")}, ("fail", "tinfoil-other-key")),
        ({"key": KEY, "hpke-key": bytes(32)}, ("fail", "tinfoil-other-key")),
    ],
)
def test_tinfoil_answer_about_other_keys_is_not_accepted(
    given: dict[str, bytes], outcomes: tuple[str, str]
) -> None:
    world = tdx_world(_fresh_data())
    result = ask_tdx(
        world,
        data=_v3(world.quote),
        system="tinfoil",
        given={"nonce": NONCE, **given},
        layout="tinfoil/v3",
    )
    assert outcome(result, "tinfoil.keys") == outcomes
    assert result.verdict is (Verdict.INCOMPLETE if outcomes[0] == "skipped" else Verdict.REJECTED)


def test_tinfoil_answer_with_a_key_of_another_kind_endorses_none() -> None:
    material = _material(_item("tls", "ssh", KEY_DIGEST), _item("hpke", "spki-fp-sha256", HPKE))
    world = tdx_world(_fresh_data(material))
    given = {"nonce": NONCE, "key": KEY}
    result = ask_tdx(
        world, data=_v3(world.quote, material), system="tinfoil", given=given, layout="tinfoil/v3"
    )
    assert outcome(result, "tinfoil.keys") == ("fail", "tinfoil-other-key")


def test_tinfoil_answer_to_another_nonce_or_with_other_sections_is_refused() -> None:
    """The sections count as they were sent: the same keys in another order are others."""
    for data in (
        _fresh_data(nonce=bytes(32)),
        _fresh_data(_material(*_KEYS[::-1])),
        _fresh_data(devices=_DEVICES + b"\n"),
        _fresh_data(_DEVICES, _MATERIAL),
    ):
        world = tdx_world(data)
        result = ask_tdx(
            world,
            data=_v3(world.quote),
            system="tinfoil",
            given={"nonce": NONCE, "key": KEY},
            layout="tinfoil/v3",
        )
        assert outcome(result, "binding") == ("fail", "binding-mismatch")


def test_tinfoil_nonce_that_came_with_the_answer_makes_nothing_fresh() -> None:
    world = tdx_world(_fresh_data())
    result = ask_tdx(world, data=_v3(world.quote), system="tinfoil", given={"key": KEY}, layout="tinfoil/v3")
    assert outcome(result, "binding") == ("pass", "")
    assert outcome(result, "freshness") == ("skipped", "freshness-unknown")


def _collateral(world: amd.World, *, chain: bool) -> Json:
    pem = "".join(
        x509.load_der_x509_certificate(world.der(level)).public_bytes(Encoding.PEM).decode()
        for level in ("ask", "ark")
    )
    data = {"vcek_der_base64": _b64(world.documents["vek"])} | ({"cert_chain_pem": pem} if chain else {})
    return {
        "id": "vcek",
        "role": "endorsement",
        "format": "https://tinfoil.sh/collateral/amd-vcek/v1",
        "subjects": ["cpu"],
        "data": data,
    }


@pytest.mark.parametrize("chain", [True, False])
def test_tinfoil_answer_of_amd_brings_its_certificates(*, chain: bool) -> None:
    world = amd.World(report={"report_data": _fresh_data()})
    other = {"id": "code", "role": "reference-values", "format": "https://x", "data": {}}
    data = _v3(world.evidence(), kind="sev-snp-report", collateral=[_collateral(world, chain=chain), other])
    opened = envelope.unwrap(data, name="tinfoil", given={})
    found = {"vek": world.documents["vek"]}
    if chain:
        found |= {"ask": world.der("ask"), "ark": world.der("ark")}
    assert opened.opened.endorsements == found
    result = _ask_snp(data, world, layout="tinfoil/v3", given={"nonce": NONCE, "key": KEY})
    assert outcome(result, "binding") == ("pass", "")
    assert outcome(result, "tinfoil.keys") == ("pass", "")


_BAD: Mapping[str, Callable[[], bytes]] = {
    "format": lambda: _v2(b"", "nitro-enclave"),
    "member": lambda: _v2(b"", hint=1),
    "no gzip": lambda: json.dumps(json.loads(_v2(b"")) | {"body": _b64(b"evidence")}).encode(),
    "gzip cut short": lambda: json.dumps(
        json.loads(_v2(b"")) | {"body": _b64(gzip.compress(b"evidence")[:-1])}
    ).encode(),
    "gzip with more behind": lambda: json.dumps(
        json.loads(_v2(b"")) | {"body": _b64(gzip.compress(b"evidence") + b"\0")}
    ).encode(),
    "bomb": lambda: _v2(bytes(1 << 24)),
    "certificate": lambda: _bundle(tdx_world(bytes(64)), ["worm"], enclaveCert="worm"),
    "algorithm": lambda: _v3(
        b"", challenge={"nonce": NONCE.hex(), "report_data": "", "report_data_algorithm": "md5"}
    ),
    "evidence": lambda: _v3(b"", kind="sgx-quote"),
    "nonce": lambda: _v3(b"").replace(NONCE.hex().encode(), b"no nonce"),
    "keys twice": lambda: _v3(b"", _material(_KEYS[0], _KEYS[0])),
    "keys of another kind": lambda: _v3(b"", _material(kind="device-evidence")),
    "key without hex": lambda: _v3(b"", _material(_KEYS[0] | {"data": "0x00"})),
    "keys member": lambda: _v3(b"", _material(_KEYS[0] | {"use": "sig"})),
    "version 3 member": lambda: _v3(b"", hint=1),
    "collateral": lambda: _v3(
        b"",
        collateral=[
            {
                "id": "",
                "role": "",
                "format": "https://tinfoil.sh/collateral/amd-vcek/v1",
                "data": {"vcek": ""},
            }
        ],
    ),
}


@pytest.mark.parametrize("name", _BAD)
def test_other_documents_of_tinfoil_are_refused(name: str) -> None:
    with pytest.raises((MalformedEvidence, UnsupportedEvidence)) as caught:
        envelope.unwrap(_BAD[name](), name="tinfoil", given={})
    assert str(caught.value)


# ── Atlas ──

_CERTIFICATE = certificate({"1.2.3": b""})
_NAMED = row("New TLS Certificate", hashlib.sha256(_CERTIFICATE).hexdigest().encode())
_BOUND = hashlib.sha512(NONCE + EXPORTER).digest()
_SESSION = {"nonce": NONCE, "exporter": EXPORTER}


def _atlas(log: list[Row], report_data: bytes = _BOUND, **others: object) -> tuple[World, bytes]:
    world = guest(log, report_data)
    return world, b'{"quote": ' + served(world.quote, log, **others) + b"}"


def test_atlas_answer_is_accepted_for_its_session() -> None:
    world, data = _atlas([*rows(), _NAMED])
    assert systems.recognise(data) is systems.get("atlas")
    given = _SESSION | {"certificate": _CERTIFICATE, "app-compose": COMPOSE}
    facts = f'[atlas]\ncompose_hash = ["{COMPOSE_HASH.hex()}"]'
    result = ask_tdx(world, data=data, system="atlas", given=given, layout="atlas/tdx-quote", facts=facts)
    assert result.verdict is Verdict.VERIFIED
    for check in ("atlas.certificate", "dstack.event-log", "dstack.compose"):
        assert outcome(result, check)[0] == "pass"


def test_atlas_log_may_come_as_an_array() -> None:
    log = [*rows(), _NAMED]
    world, data = _atlas(log, event_log=log)
    given = _SESSION | {"certificate": _CERTIFICATE}
    result = ask_tdx(world, data=data, system="atlas", given=given, layout="atlas/tdx-quote")
    assert outcome(result, "atlas.certificate") == ("pass", "")


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        ([*rows()], "atlas-no-certificate"),
        ([*rows(), _NAMED, row("New TLS Certificate", b"00" * 32)], "atlas-other-certificate"),
        ([*rows(), row("New TLS Certificate", b"\xff")], "atlas-other-certificate"),
        (
            [*rows(), row("Old TLS Certificate", bytes.fromhex(str(_NAMED["event_payload"])))],
            "atlas-no-certificate",
        ),
    ],
    ids=["none", "an older one", "no text", "another name"],
)
def test_atlas_certificate_has_to_be_the_last_one_measured(log: list[Row], reason: str) -> None:
    world, data = _atlas(log)
    given = _SESSION | {"certificate": _CERTIFICATE}
    result = ask_tdx(world, data=data, system="atlas", given=given, layout="atlas/tdx-quote")
    assert outcome(result, "atlas.certificate") == ("fail", reason)
    assert result.verdict is Verdict.REJECTED


def test_atlas_certificate_of_a_log_that_was_not_measured_proves_nothing() -> None:
    world, _ = _atlas([*rows()])
    data = b'{"quote": ' + served(world.quote, [*rows(), _NAMED]) + b"}"
    given = _SESSION | {"certificate": _CERTIFICATE}
    result = ask_tdx(world, data=data, system="atlas", given=given, layout="atlas/tdx-quote")
    assert outcome(result, "dstack.event-log")[0] == "fail"
    assert outcome(result, "atlas.certificate") == ("skipped", "not-reached")


def test_atlas_answer_for_another_session_is_refused() -> None:
    for bound in (hashlib.sha512(EXPORTER + NONCE).digest(), hashlib.sha512(NONCE).digest()):
        world, data = _atlas([*rows()], bound)
        result = ask_tdx(world, data=data, system="atlas", given=_SESSION, layout="atlas/tdx-quote")
        assert outcome(result, "binding") == ("fail", "binding-mismatch")
    world, data = _atlas([*rows()])
    result = ask_tdx(world, data=data, system="atlas", layout="atlas/tdx-quote")
    assert outcome(result, "binding") == ("skipped", "binding-not-given")


def test_atlas_answer_is_an_object_in_an_object() -> None:
    world, data = _atlas([*rows()])
    for other in (data[:-1] + b', "hint": 1}', b'{"quote": {}}', b'{"quote": {"quote": "00"}, "quote": {}}'):
        with pytest.raises((MalformedEvidence, UnsupportedEvidence)):
            envelope.unwrap(other, name="atlas", given={"certificate": _CERTIFICATE})
    assert systems.recognise(served(world.quote, [*rows()])) is systems.get("dstack")
    assert envelope.unwrap(world.quote, name="atlas", given={}).evidence == world.quote


# ── nilCC ──


def _nilcc(report: bytes, **more: object) -> bytes:
    environment = {"nilcc_version": "0.3.0", "vm_type": "cpu", "cpu_count": 4}
    return json.dumps(
        {"report": {"version": 3}, "raw_report": report.hex(), "gpu_token": None, "environment": environment}
        | more
    ).encode()


def test_nilcc_report_is_bound_to_the_key() -> None:
    world = amd.World(report={"report_data": b"\0" + KEY_DIGEST + bytes(31)})
    data = _nilcc(world.evidence())
    assert systems.recognise(data) is systems.get("nilcc")
    result = _ask_snp(data, world, layout="nilcc/tls-key", given={"key": KEY})
    assert outcome(result, "binding") == ("pass", "")
    assert result.foreign
    assert result.foreign.described == {"nilcc_version": "0.3.0", "vm_type": "cpu", "cpu_count": "4"}
    result = _ask_snp(data, world, layout="nilcc/tls-key", given={"key": spki("thief")})
    assert outcome(result, "binding") == ("fail", "binding-mismatch")


@pytest.mark.parametrize(
    "report_data", [b"\1" + KEY_DIGEST + bytes(31), KEY_DIGEST + bytes(32), b"\0" + KEY_DIGEST + b"\1" * 31]
)
def test_nilcc_report_of_another_version_is_refused(report_data: bytes) -> None:
    world = amd.World(report={"report_data": report_data})
    result = _ask_snp(_nilcc(world.evidence()), world, layout="nilcc/tls-key", given={"key": KEY})
    assert outcome(result, "binding") == ("fail", "binding-mismatch")


@pytest.mark.parametrize(
    "data", [_nilcc(b"", raw_report="0"), _nilcc(b"", raw_report=1), b'{"raw_report": "00"}', b"{"]
)
def test_other_answers_of_nilcc_are_refused(data: bytes) -> None:
    with pytest.raises(MalformedEvidence):
        envelope.unwrap(data, name="nilcc", given={})


def test_bare_reports_are_their_own_envelope() -> None:
    report = amd.World().evidence()
    for name in ("nilcc", "tinfoil", "secretvm"):
        assert envelope.unwrap(report, name=name, given={}).evidence == report


# ── SecretVM ──


def test_secretvm_text_is_decoded() -> None:
    quote, report = tdx_world(KEY_DIGEST + bytes(32)).quote, amd.World().evidence()
    for text in (quote.hex(), quote.hex().upper() + "\n", f" {quote.hex()}\r\n"):
        assert envelope.unwrap(text.encode(), name="secretvm", given={}).evidence == quote
    assert envelope.unwrap(base64.b64encode(report) + b"\n", name="secretvm", given={}).evidence == report
    assert systems.recognise(quote.hex().encode()) is None


@pytest.mark.parametrize("text", [b"0" * 2001, b"A" * 2001, b"not a quote " * 200])
def test_other_text_of_secretvm_is_refused(text: bytes) -> None:
    with pytest.raises(MalformedEvidence):
        envelope.unwrap(text, name="secretvm", given={})


def test_secretvm_with_a_gpu_is_not_one_without() -> None:
    """A real quote of SecretVM's tests and the nonce of its GPU's evidence: the second half is the nonce."""
    nonce = bytes.fromhex("a768bb3a38c48d3636b9e8250a3b12da05f557eca0b484bf9d8fa5719c0341bd")
    world = tdx_world(KEY_DIGEST + nonce)
    data = world.quote.hex().encode()
    for layout, given, binding in (
        ("secretvm/tls-key-and-gpu", {"key": KEY, "gpu-nonce": nonce}, "pass"),
        ("secretvm/tls-key-and-gpu", {"key": KEY, "gpu-nonce": bytes(32)}, "fail"),
        ("secretvm/tls-key", {"key": KEY}, "fail"),
    ):
        result = ask_tdx(world, data=data, system=layout, given=given, layout=layout)
        assert outcome(result, "binding")[0] == binding
