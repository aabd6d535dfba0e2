# SPDX-License-Identifier: Apache-2.0
"""dstack: the log counts for what was measured and for nothing that is merely stated."""

import base64
import gzip
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.appraisal.systems.guests import (
    APP_ID,
    COMPOSE,
    COMPOSE_HASH,
    IMAGE,
    INSTANCE,
    MEASURED,
    RELEASE,
    RUNTIME,
    Row,
    appraised,
    attestation,
    boot,
    certificate,
    digest,
    extended,
    guest,
    release,
    row,
    rows,
    served,
    spki,
)
from tests.platforms.dcap.judging import found, policy
from tests.platforms.dcap.pki import NOW, World, der, key, pem

from nacre.appraisal.appraise import appraise
from nacre.appraisal.bindings import Binding
from nacre.appraisal.release import Release, match
from nacre.appraisal.result import Result
from nacre.appraisal.systems import get, layout
from nacre.appraisal.systems.dstack import SYSTEM
from nacre.appraisal.systems.envelope import unwrap
from nacre.appraisal.verdict import Verdict
from nacre.checks import Status
from nacre.errors import ConfigurationError, MalformedEvidence, UnsupportedEvidence
from nacre.platforms.base import Claims, Committed
from nacre.trust.anchors import Origin

NONCE = bytes(range(32))
GIVEN = {"nonce": NONCE}
ATTESTATION, QUOTE, LOG = (f"1.3.6.1.4.1.62397.1.{number}" for number in (8, 1, 2))
TABLE = f"""
[dstack]
app_id = ["{APP_ID.hex()}"]
compose_hash = ["{"00" * 32}", "{COMPOSE_HASH.hex().upper()}"]
key_provider = ["local-sgx", "kms"]
key_provider_id = ["3059"]
"""


def _ratls(key_der: bytes) -> bytes:
    return hashlib.sha512(b"ratls-cert:" + key_der).digest()


def _nonce_release(table: str = TABLE) -> Release:
    return release("dstack/nonce", table)


def _by_nonce(log: list[Row], *, shown: list[Row] | None = None, compose: bytes = b"") -> Result:
    """Appraise what GetQuote answered to our nonce: a log that was measured, and the one that is shown."""
    world = guest(log, NONCE + bytes(32))
    data = served(world.quote, log if shown is None else shown)
    given = {"nonce": NONCE} | ({"app-compose": compose} if compose else {})
    return appraised(data, world, _nonce_release(), waive=(), given=given)


def _refusals(result: Result) -> set[str]:
    assert result.verdict is Verdict.REJECTED
    return {f"{check.id}: {check.reason}" for check in result.checks if check.status is Status.FAIL}


# ── What is good ──


@pytest.mark.parametrize("version", [1, 2])
def test_a_measured_application_is_verified(version: int) -> None:
    result = _by_nonce(rows(version=version), compose=COMPOSE)
    assert result.verdict is Verdict.VERIFIED, result.problems()
    assert result.foreign is not None
    assert (result.foreign.system, result.foreign.layout) == ("dstack", "dstack/nonce")
    assert result.foreign.facts == {
        "app_id": APP_ID,
        "compose_hash": COMPOSE_HASH,
        "instance_id": INSTANCE,
        "os_image_hash": IMAGE,
        "key_provider": b"kms",
        "key_provider_id": b"3059",
    }
    assert found(result, "dstack.compose").status is Status.PASS
    assert found(result, "freshness").reason == "fresh-nonce"
    assert result.foreign.unprotected == ("relay", "diversion", "reflection")
    assert sum("machine" in line for line in result.not_proven) >= 2


def test_an_application_may_measure_what_it_likes_once_the_system_is_ready() -> None:
    own = [row("compose-hash", bytes(32)), row("a:b", b"c"), row("MINER", b"x")]
    assert _by_nonce(rows() + own).verdict is Verdict.VERIFIED


def test_a_system_that_is_not_ready_yet_has_measured_what_it_has() -> None:
    assert _by_nonce(rows(MEASURED[:-1])).verdict is Verdict.VERIFIED


def test_a_log_may_leave_digests_to_its_reader() -> None:
    assert _by_nonce([event | {"digest": ""} for event in rows()]).verdict is Verdict.VERIFIED


def test_firmware_and_kernel_are_replayed_where_the_log_has_them() -> None:
    log = [boot(0, "firmware"), boot(1, "kernel"), boot(2, "command line"), boot(1, "more"), *rows()]
    world = guest(log, NONCE + bytes(32))
    loose = _loose(log)
    result = appraised(served(world.quote, log), world, loose, waive=(), given=GIVEN)
    assert result.verdict is Verdict.VERIFIED
    assert found(result, "dstack.boot-log").status is Status.PASS
    for imr in range(3):
        changed = [event | {"digest": "ab" * 48} if event["imr"] == imr else event for event in log]
        result = appraised(served(world.quote, changed), world, loose, waive=(), given=GIVEN)
        assert _refusals(result) == {"dstack.boot-log: event-log-mismatch"}
        assert found(result, "dstack.boot-log").context["what"] == f"rtmr{imr}"
    undigested = [event | {"digest": ""} if event["imr"] == 0 else event for event in log]
    result = appraised(served(world.quote, undigested), world, loose, waive=(), given=GIVEN)
    assert found(result, "dstack.boot-log").reason == "boot-log-undigested"


def _loose(log: list[Row]) -> Release:
    """Make the release of a machine whose registers are this log's."""
    report = guest(log, b"").report
    registers = {name: f'"{bytes(value).hex()}"' for name, value in report.items() if name != "report_data"}
    lines = "\n".join(f"{name} = {value}" for name, value in registers.items())
    text = f'id = "worm-1"\nlayout = "dstack/nonce"\n[[tdx]]\nmrtd = "{"01" * 48}"\n{lines}\n'
    return Release.parse(text + TABLE)


def test_certificates_keep_three_events_of_the_firmware() -> None:
    acpi = [boot(0, word, b"ACPI DATA") for word in ("loader", "rsdp", "tables")]
    log = rows()
    world = guest(log, NONCE + bytes(32))
    result = appraised(served(world.quote, acpi + log), world, _nonce_release(), waive=(), given=GIVEN)
    assert result.verdict is Verdict.VERIFIED
    assert found(result, "dstack.boot-log").reason == "boot-log-absent"


@pytest.mark.parametrize("form", ["hex", "0x", "list", "attestation", "bare"])
def test_every_form_of_the_answer_is_recognised(form: str) -> None:
    log = rows()
    world = guest(log, NONCE + bytes(32))
    container = attestation(world.quote, log)
    data = {
        "hex": served(world.quote, log),
        "0x": served(world.quote, log, quote="0x" + world.quote.hex()),
        "list": served(world.quote, log, event_log=log),
        "attestation": json.dumps({"attestation": container.hex()}).encode(),
        "bare": container,
    }[form]
    assert SYSTEM.recognises(data)
    result = appraised(data, world, _nonce_release(), waive=(), given=GIVEN)
    assert result.verdict is Verdict.VERIFIED


# ── Attacks on the log ──


def test_a_changed_payload_with_its_digest_kept_is_found() -> None:
    log = rows()
    forged = [
        event | {"event_payload": bytes(32).hex()} if event["event"] == "compose-hash" else event
        for event in log
    ]
    result = _by_nonce(log, shown=forged)
    assert "dstack.event-log: event-digest" in _refusals(result)
    assert result.foreign is not None
    assert result.foreign.facts == {}


def test_a_changed_payload_without_digest_does_not_replay() -> None:
    forged = [
        event | {"event_payload": bytes(32).hex(), "digest": ""}
        if event["event"] == "compose-hash"
        else event
        for event in rows()
    ]
    assert "dstack.event-log: event-log-mismatch" in _refusals(_by_nonce(rows(), shown=forged))


@pytest.mark.parametrize("keep", [0, 1, 5, 8])
def test_a_truncated_log_does_not_replay(keep: int) -> None:
    refusals = _refusals(_by_nonce(rows(), shown=rows()[:keep]))
    assert "dstack.event-log: event-log-mismatch" in refusals


def test_an_event_that_was_never_measured_does_not_replay() -> None:
    shown = [*rows(), row("app-id", bytes(20))]
    assert "dstack.event-log: event-log-mismatch" in _refusals(_by_nonce(rows(), shown=shown))


def test_the_order_of_events_matters() -> None:
    assert "dstack.event-log: event-log-mismatch" in _refusals(_by_nonce(rows(), shown=rows()[::-1]))


def test_a_log_of_another_machine_does_not_replay() -> None:
    other = [(name, b"\x33" * 20 if name == "instance-id" else payload) for name, payload in MEASURED]
    assert "dstack.event-log: event-log-mismatch" in _refusals(_by_nonce(rows(), shown=rows(other)))


def test_what_an_application_measures_says_nothing_about_the_system() -> None:
    """A bad application repeats the good one's events: they come after what the system said of itself."""
    bad = [(name, b"\x44" * 32 if name == "compose-hash" else payload) for name, payload in MEASURED]
    result = _by_nonce([*rows(bad), row("compose-hash", COMPOSE_HASH)])
    assert _refusals(result) == {"executables: executables-mismatch"}
    assert found(result, "executables").context["registers"] == ("dstack.compose_hash",)


def test_the_system_measures_nothing_twice() -> None:
    bad = [*MEASURED[:3], ("compose-hash", bytes(32)), *MEASURED[3:]]
    assert "dstack.event-log: event-twice" in _refusals(_by_nonce(rows(bad)))
    scripts = [*MEASURED[:3], ("init-script-hash", b"a"), ("init-script-hash", b"b"), *MEASURED[3:]]
    assert _by_nonce(rows(scripts)).verdict is Verdict.VERIFIED


@pytest.mark.parametrize("change", [{"event_type": 4}, {"imr": 1}])
def test_only_events_with_computed_digests_are_in_the_register(change: dict[str, int]) -> None:
    """An event of another kind would keep a true digest beside a forged payload."""
    log = rows()
    forged = [
        event | {"event_payload": bytes(32).hex()} | change if event["event"] == "compose-hash" else event
        for event in log
    ]
    assert "dstack.event-log: event-type" in _refusals(_by_nonce(log, shown=forged))


def test_names_and_payloads_cannot_be_divided_anew() -> None:
    """Of the first version's digests the parts are not delimited."""
    measured = [*MEASURED[:2], ("note", b"compose-hash:" + COMPOSE_HASH), *MEASURED[3:]]
    split = rows(measured)
    divided = [
        event | {"event": "note:compose-hash", "event_payload": COMPOSE_HASH.hex()}
        if event["event"] == "note"
        else event
        for event in split
    ]
    assert digest("note:compose-hash", COMPOSE_HASH) == digest("note", b"compose-hash:" + COMPOSE_HASH)
    assert "dstack.event-log: event-name" in _refusals(_by_nonce(split, shown=divided))


def test_a_system_that_measured_no_application_shows_none() -> None:
    without = [event for event in MEASURED if event[0] != "compose-hash"]
    result = _by_nonce(rows(without), compose=COMPOSE)
    assert "executables: executables-mismatch" in _refusals(result)
    assert "dstack.compose_hash absent" in str(found(result, "executables").context["actual"])
    assert found(result, "dstack.compose").reason == "compose-hash-absent"


@pytest.mark.parametrize("payload", [b"", b"kms", b'{"name":"kms","name":"none"}', b'{"name":1}'])
def test_an_unreadable_key_provider_is_no_fact(payload: bytes) -> None:
    measured = [(name, payload if name == "key-provider" else said) for name, said in MEASURED]
    result = _by_nonce(rows(measured))
    assert result.foreign is not None
    assert "key_provider" not in result.foreign.facts
    assert _refusals(result) == {"executables: executables-mismatch"}


def test_facts_of_another_size_are_no_facts() -> None:
    measured = [(name, b"" if name == "instance-id" else said) for name, said in MEASURED]
    result = _by_nonce(rows(measured))
    assert result.verdict is Verdict.VERIFIED
    assert result.foreign is not None
    assert "instance_id" not in result.foreign.facts


def test_another_compose_file_is_refused() -> None:
    result = _by_nonce(rows(), compose=COMPOSE + b"\n")
    assert _refusals(result) == {"dstack.compose: compose-mismatch"}


def test_another_compose_hash_is_refused() -> None:
    world = guest(rows(), NONCE + bytes(32))
    other = release("dstack/nonce", f'[dstack]\ncompose_hash = ["{"ab" * 32}"]')
    result = appraised(served(world.quote, rows()), world, other, waive=(), given=GIVEN)
    assert _refusals(result) == {"executables: executables-mismatch"}
    # Of two releases the one that fits counts, wherever it stands.
    result = appraised(served(world.quote, rows()), world, other, _nonce_release(), waive=(), given=GIVEN)
    assert result.verdict is Verdict.VERIFIED


def test_a_bare_quote_shows_no_application() -> None:
    world = guest(rows(), NONCE + bytes(32))
    result = appraised(world.quote, world, _nonce_release(), name="dstack/nonce", waive=(), given=GIVEN)
    assert result.verdict is Verdict.INCOMPLETE
    assert found(result, "executables").reason == "facts-not-shown"
    plain = release("dstack/nonce")
    result = appraised(world.quote, world, plain, name="dstack/nonce", waive=(), given=GIVEN)
    assert result.verdict is Verdict.VERIFIED


_EDITS = st.lists(
    st.tuples(
        st.sampled_from(("drop", "repeat", "swap", "name", "payload", "digest", "type", "imr", "version")),
        st.integers(0, len(MEASURED) - 1),
        st.integers(0, len(MEASURED) - 1),
    ),
    min_size=1,
    max_size=4,
)


def _edited(log: list[Row], kind: str, one: int, other: int) -> list[Row]:
    """Edit a log as somebody would who wants to be taken for another application."""
    one, other = one % len(log), other % len(log)
    before, after = log[:one], log[one + 1 :]
    if kind == "drop":
        return [*before, *after] or log
    if kind == "repeat":
        return [*before, log[other], log[one], *after]
    if kind == "swap":
        swapped = [*log]
        swapped[one], swapped[other] = log[other], log[one]
        return swapped
    changes: dict[str, Row] = {
        "name": {"event": log[other]["event"]},
        "payload": {"event_payload": log[other]["event_payload"]},
        "digest": {"digest": ""},
        "type": {"event_type": other},
        "imr": {"imr": other % 4},
        "version": {"version": 1 + other % 2},
    }
    return [*before, log[one] | changes[kind], *after]


@given(_EDITS)
def test_no_edited_log_says_anything_else(edits: list[tuple[str, int, int]]) -> None:
    """What replays says what was measured; what does not says nothing."""
    genuine = rows()
    claims = _claims("tdx", rtmr3=extended(genuine), rtmr0=bytes(48), rtmr1=bytes(48), rtmr2=bytes(48))
    expected = _shown(genuine, claims)
    assert expected
    log = genuine
    for edit in edits:
        log = _edited(log, *edit)
    assert _shown(log, claims) in ({}, expected)


def _shown(log: list[Row], claims: Claims) -> Mapping[str, bytes]:
    examine = SYSTEM.open(served(b"quote", log), {}).examine
    assert examine is not None
    return examine(claims, 0).facts


# ── Bindings ──


def test_evidence_for_another_nonce_is_refused() -> None:
    world = guest(rows(), NONCE + bytes(32))
    data = served(world.quote, rows())
    result = appraised(data, world, _nonce_release(), waive=(), given={"nonce": bytes(32)})
    assert _refusals(result) == {"binding: binding-mismatch"}


@pytest.mark.parametrize("size", [0, 15, 33, 64])
def test_a_nonce_has_its_size(size: int) -> None:
    with pytest.raises(ConfigurationError) as refused:
        unwrap(b"", name="dstack/nonce", given={"nonce": bytes(size)})
    assert refused.value.code == "binding-part"


def test_tags_are_not_interchangeable() -> None:
    """Evidence over application data is none for a TLS key, though the bytes behind the tag are the same."""
    data = spki()
    committed = hashlib.sha512(b"app-data:" + data).digest()
    world = guest(rows(), committed)
    envelope = served(world.quote, rows())
    for name, declared, verdict in (
        ("dstack/app-data", "dstack/app-data", Verdict.WARNING),
        ("dstack/ratls-cert", "dstack/ratls-cert", Verdict.REJECTED),
        ("dstack/app-data", "dstack/ratls-cert", Verdict.REJECTED),
    ):
        part = {"data": data} if name == "dstack/app-data" else {"key": data}
        result = appraised(envelope, world, release(declared, TABLE), name=name, given=part)
        assert result.verdict is verdict, (name, declared)


@pytest.mark.parametrize(
    ("name", "parts", "expected"),
    [
        ("ratls-cert", {"key": spki()}, _ratls(spki())),
        ("kms-root-ca", {"key": spki()}, hashlib.sha512(b"kms-root-ca:" + spki()).digest()),
        ("zt-cert", {"key": spki()}, hashlib.sha512(b"zt-cert:" + spki()).digest()),
        ("app-data", {"data": b"a"}, hashlib.sha512(b"app-data:a").digest()),
        ("app-data-sha256", {"data": b"a"}, hashlib.sha256(b"app-data:a").digest() + bytes(32)),
        ("app-data-sha384", {"data": b"a"}, hashlib.sha384(b"app-data:a").digest() + bytes(16)),
        ("app-data-sha3-256", {"data": b"a"}, hashlib.sha3_256(b"app-data:a").digest() + bytes(32)),
        ("app-data-sha3-384", {"data": b"a"}, hashlib.sha3_384(b"app-data:a").digest() + bytes(16)),
        ("app-data-sha3-512", {"data": b"a"}, hashlib.sha3_512(b"app-data:a").digest()),
        (
            "app-key",
            {"key": base64.urlsafe_b64decode("A55pWmteJIJOj8_pI7-pzeDxy1G2q18GDv88HNRdBXkQ")},
            b"dip1::secp256k1c-pk:A55pWmteJIJOj8_pI7-pzeDxy1G2q18GDv88HNRdBXkQ",
        ),
        (
            "app-key",
            {"key": b"\xff" * 32},
            b"dip1::ed25519-pk:" + b"_" * 42 + b"8" + bytes(4),
        ),
        ("ingress", {"sha256sum": b"00  cert.pem\n"}, hashlib.sha256(b"00  cert.pem\n").digest() + bytes(32)),
        ("nonce", {"nonce": b"n" * 16}, b"n" * 16 + bytes(48)),
    ],
)
def test_layouts_are_computed_as_dstack_does(name: str, parts: dict[str, bytes], expected: bytes) -> None:
    fields = layout(f"dstack/{name}").compute(parts)
    assert fields.data == expected
    assert len(expected) == 64


def test_a_binding_of_ours_goes_before_the_layout() -> None:
    """An application in dstack may speak our own purposes; then the layout has no part in it."""
    world = guest(rows(), Binding.nonce(NONCE).digest or b"")
    envelope = unwrap(served(world.quote, rows()), name="dstack", given={}, declared={"dstack/nonce"})
    for binding, verdict in ((Binding.nonce(NONCE), Verdict.VERIFIED), (None, Verdict.INCOMPLETE)):
        result = appraise(
            envelope.evidence,
            policy=policy("tdx", world.anchor, releases=(_nonce_release(),)),
            endorsements=world.endorsements,
            at=NOW,
            binding=binding,
            envelope=envelope,
        )
        assert result.verdict is verdict
        assert result.foreign is not None
        assert result.foreign.layout == ("" if binding else "dstack/nonce")
        assert bool(result.foreign.unprotected) == (binding is None)


# ── Certificates ──


def _octets(data: bytes) -> bytes:
    return der(0x04, data)


def _carrying(quote: bytes, log: list[Row], **options: object) -> bytes:
    return certificate({ATTESTATION: _octets(attestation(quote, log))}, **options)  # type: ignore[arg-type]


def test_a_certificate_is_bound_to_its_key() -> None:
    world = guest(rows(), _ratls(spki()))
    result = appraised(_carrying(world.quote, rows()), world, release("dstack/ratls-cert", TABLE))
    assert result.verdict is Verdict.WARNING
    assert [check.id for check in result.problems()] == ["freshness"]
    assert result.foreign is not None
    assert result.foreign.layout == "dstack/ratls-cert"
    assert "replay" in result.foreign.unprotected
    assert result.foreign.described["key_sha256"] == hashlib.sha256(spki()).digest()
    # Freshness is nothing that a certificate shows.
    strict = appraised(_carrying(world.quote, rows()), world, release("dstack/ratls-cert", TABLE), waive=())
    assert strict.verdict is Verdict.INCOMPLETE


def test_info_has_the_certificate_in_it() -> None:
    world = guest(rows(), _ratls(spki()))
    info = {
        "app_id": APP_ID.hex(),
        "app_cert": pem(_carrying(world.quote, rows())).decode(),
        "tcb_info": "{}",
    }
    result = appraised(json.dumps(info).encode(), world, release("dstack/ratls-cert", TABLE))
    assert result.verdict is Verdict.WARNING
    assert result.foreign is not None
    assert result.foreign.layout == "dstack/ratls-cert"


def test_the_older_form_of_certificates_is_read() -> None:
    world = guest(rows(), _ratls(spki()))
    log = json.dumps(rows()).encode()
    older = certificate({QUOTE: _octets(world.quote), LOG: _octets(log)})
    result = appraised(older, world, release("dstack/ratls-cert", TABLE))
    assert result.verdict is Verdict.WARNING
    without = certificate({QUOTE: _octets(world.quote)})
    result = appraised(without, world, release("dstack/ratls-cert", TABLE))
    assert "dstack.event-log: event-log-mismatch" in _refusals(result)


def test_a_packed_log_is_read() -> None:
    world = guest(rows(), _ratls(spki()))
    text = json.dumps(rows()).encode()
    packed = b"ELGZv1" + gzip.compress(text)
    made = certificate({QUOTE: _octets(world.quote), LOG: _octets(packed)})
    assert appraised(made, world, release("dstack/ratls-cert", TABLE)).verdict is Verdict.WARNING
    bomb = b"ELGZv1" + gzip.compress(b" " * (1 << 20))
    for log in (packed + b"\0", packed[:-1], b"ELGZv1" + text, b"ELGZv1", bomb):
        with pytest.raises(MalformedEvidence) as refused:
            SYSTEM.open(certificate({QUOTE: _octets(b""), LOG: _octets(log)}), {})
        assert refused.value.code == "gzip-invalid"
        assert str(refused.value)


def test_a_certificate_around_somebody_elses_evidence_is_refused() -> None:
    world = guest(rows(), _ratls(spki("victim")))
    result = appraised(_carrying(world.quote, rows()), world, release("dstack/ratls-cert", TABLE))
    assert _refusals(result) == {"binding: binding-mismatch"}
    # And what the verifier knows of the key goes before what the certificate says.
    world = guest(rows(), _ratls(spki()))
    result = appraised(
        _carrying(world.quote, rows()),
        world,
        release("dstack/ratls-cert", TABLE),
        given={"key": spki("connection")},
    )
    assert _refusals(result) == {"binding: binding-mismatch"}


def test_a_certificate_that_its_own_key_did_not_sign_is_refused() -> None:
    world = guest(rows(), _ratls(spki()))
    forged = _carrying(world.quote, rows(), signer=key("attacker"))
    result = appraised(forged, world, release("dstack/ratls-cert", TABLE))
    assert _refusals(result) == {"certificate.possession: certificate-foreign-signature"}


def test_a_key_server_may_have_issued_the_certificate() -> None:
    world = guest(rows(), _ratls(spki()))
    issued = _carrying(world.quote, rows(), signer=key("kms"), issuer="dstack app CA")
    result = appraised(issued, world, release("dstack/ratls-cert", TABLE))
    assert result.verdict is Verdict.WARNING
    check = found(result, "certificate.possession")
    assert (check.status, check.actual) == (Status.NOT_APPLICABLE, "dstack app CA")


def test_a_certificate_with_evidence_in_two_forms_is_refused() -> None:
    world = guest(rows(), _ratls(spki()))
    both = {ATTESTATION: _octets(attestation(world.quote, rows())), QUOTE: _octets(world.quote)}
    with pytest.raises(MalformedEvidence) as refused:
        appraised(certificate(both), world, release("dstack/ratls-cert", TABLE))
    assert refused.value.code == "evidence-twice"
    with pytest.raises(MalformedEvidence) as refused:
        appraised(certificate({QUOTE: world.quote}), world, release("dstack/ratls-cert", TABLE))
    assert refused.value.context["what"] == "extension"


# ── Documents of SEV-SNP, and platforms where no register holds a log ──


def _claims(platform: str, **registers: bytes) -> Claims:
    return Claims(
        platform=platform,
        origin=Origin.GENUINE,
        checks=(),
        registers=registers,
        committed=Committed(bytes(64)),
        debug=False,
        issued_at=None,
        valid_until=None,
        identity={},
    )


_DOCUMENT = json.dumps(
    {
        "app_id": APP_ID.hex(),
        "compose_hash": COMPOSE_HASH.hex(),
        "instance_id": "",
        "key_provider": "kms",
        "key_provider_id": "3059",
        "version": 3,
    },
    separators=(",", ":"),
)


def test_on_snp_the_host_data_names_the_document() -> None:
    opened = SYSTEM.open(
        attestation(b"report", rows(), variant=3, document=_DOCUMENT), {"app-compose": COMPOSE}
    )
    assert opened.evidence == b"report"
    assert opened.examine is not None
    host_data = hashlib.sha256(b"dstack-mr-config-v3:\0" + _DOCUMENT.encode()).digest()
    shown = opened.examine(_claims("snp", host_data=host_data), 0)
    assert [check.status for check in shown.checks] == [Status.PASS, Status.PASS]
    assert shown.facts["compose_hash"] == COMPOSE_HASH
    assert "instance_id" not in shown.facts
    for registers in ({}, {"host_data": bytes(32)}):
        shown = opened.examine(_claims("snp", **registers), 0)
        assert (shown.checks[0].reason, shown.facts) == ("host-data-mismatch", {})


@pytest.mark.parametrize(
    "document", ["", "[]", "{}", '{"compose_hash":"zz"}', '{"compose_hash":"00","compose_hash":"11"}']
)
def test_a_document_that_is_no_configuration_proves_nothing(document: str) -> None:
    opened = SYSTEM.open(attestation(b"report", variant=3, document=document), {})
    assert opened.examine is not None
    host_data = hashlib.sha256(b"dstack-mr-config-v3:\0" + document.encode()).digest()
    shown = opened.examine(_claims("snp", host_data=host_data), 0)
    assert (shown.checks[0].reason, shown.facts) == ("host-data-unreadable", {})


def test_certificates_that_came_with_a_report_are_offered() -> None:
    world = World()
    documents = (certificate({}), world.der("root"), pem(world.der("tcb")), b"junk")
    opened = SYSTEM.open(attestation(b"report", variant=3, certificates=documents), {})
    assert opened.endorsements == {"ask": world.der("tcb"), "ark": world.der("root")}


def test_on_nitro_no_register_holds_the_log() -> None:
    opened = SYSTEM.open(attestation(b"document", rows(), variant=2), {})
    assert opened.evidence == b"document"
    assert opened.examine is not None
    shown = opened.examine(_claims("nitro"), 0)
    assert [(check.status, check.reason) for check in shown.checks] == [
        (Status.NOT_APPLICABLE, "log-unmeasured")
    ]
    assert shown.facts == {}
    # The registers say which image it is: the hash by which dstack itself calls it.
    pcrs = {f"pcr{index}": bytes((index,)) * 48 for index in range(3)}
    shown = opened.examine(_claims("nitro", **pcrs), 0)
    assert shown.facts == {"os_image_hash": hashlib.sha256(b"".join(pcrs.values())).digest()}


def test_on_nitro_the_image_hash_stands_for_the_registers() -> None:
    """And nowhere else: on TDX it is what a key server said."""
    image = hashlib.sha256(b"".join(bytes((index,)) * 48 for index in range(3))).digest()
    registers = "".join(f'pcr{index} = "any"\n' for index in range(3))
    text = f'id = "a"\n[[nitro]]\n{registers}[dstack]\nos_image_hash = ["{image.hex()}"]\n'
    stated = Release.parse(text)
    pcrs = {f"pcr{index}": bytes((index,)) * 48 for index in range(3)}
    opened = SYSTEM.open(attestation(b"document", variant=2), {})
    assert opened.examine is not None
    for changed, matches in (({}, True), ({"pcr1": bytes(48)}, False)):
        claims = _claims("nitro", **pcrs | changed)
        facts = {f"dstack.{name}": value for name, value in opened.examine(claims, 0).facts.items()}
        assert bool(match([stated], "nitro", claims.registers, facts).release) is matches
    open_tdx = RELEASE.replace(f'"{"03" * 48}"', '"any"')
    with pytest.raises(ConfigurationError):
        Release.parse(f'{open_tdx}[dstack]\nos_image_hash = ["{image.hex()}"]\n')


# ── Malformed envelopes ──


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"quote": "zz"}, "hex-invalid"),
        ({"quote": ""}, "dstack-version"),
        ({"event_log": "{"}, "json-invalid"),
        ({"event_log": "{}"}, "json-shape"),
        ({"event_log": '[{"imr":3}]'}, "json-shape"),
        ({"event_log": [row("a", b"") | {"imr": 4}]}, "json-shape"),
        ({"event_log": [row("a", b"") | {"version": 3}]}, "json-shape"),
        ({"event_log": [row("a", b"") | {"event_type": 1 << 32}]}, "json-shape"),
        ({"event_log": [row("a", b"") | {"event_payload": "0"}]}, "hex-invalid"),
        ({"event_log": [row("a", b"") | {"digest": "a b"}]}, "hex-invalid"),
        ({"event_log": [row("a", b"")] * 2049}, "too-many"),
        ({"event_log": '[{"imr":3,"imr":3,"event_type":4,"event":""}]'}, "json-duplicate-key"),
    ],
)
def test_malformed_answers_are_refused(change: dict[str, object], code: str) -> None:
    with pytest.raises((MalformedEvidence, UnsupportedEvidence)) as refused:
        SYSTEM.open(served(b"quote", [], **change), {})
    assert refused.value.code == code
    assert str(refused.value)


def test_duplicate_members_of_the_answer_are_refused() -> None:
    data = served(b"quote", rows())
    doubled = data[:-1] + b',"event_log":"[]"}'
    with pytest.raises(MalformedEvidence) as refused:
        SYSTEM.open(doubled, {})
    assert refused.value.code == "json-duplicate-key"


@pytest.mark.parametrize(
    "data", [b"", b"\0", b"\0\1", b"{}", b'{"quote":1}', b"[1]", b"\x30\x82", b"-----BEGIN CERTIFICATE-----"]
)
def test_other_bytes_are_not_recognised(data: bytes) -> None:
    assert not SYSTEM.recognises(data)


def test_the_platform_of_an_envelope_has_its_say() -> None:
    """What is opened is evidence like any other: if it does not decode, the result says so."""
    result = appraised(served(b"\1\2\3", rows()), guest(rows(), b""), _nonce_release(), given=GIVEN)
    assert _refusals(result) == {"evidence: evidence-unrecognised"}


# ── Real evidence ──


def _real(vectors: Path, name: str) -> Path:
    path = vectors / "dstack" / name
    if not path.is_file():
        pytest.skip("dstack's own fixtures are not beside this checkout")
    return path


@pytest.mark.parametrize("name", ["tdx-lite-getquote.json", "tdx-lite-attestation.json"])
def test_real_logs_replay(vectors: Path, name: str) -> None:
    """Dstack-TEE/dstack 312dc605ebaa, dstack/verifier/fixtures, Apache-2.0."""
    opened = get("dstack").open(_real(vectors, name).read_bytes(), {})
    registers = {f"rtmr{imr}": opened.evidence[376 + 48 * imr :][:48] for imr in range(4)}
    assert opened.examine is not None
    shown = opened.examine(_claims("tdx", **registers), 0)
    assert shown.checks[0].status is Status.PASS
    assert shown.facts["compose_hash"].hex().startswith("86b0e55f2fa8e4fb69d890f14f54d5612707646e")
    assert shown.facts["key_provider"] == b"kms"
    assert RUNTIME == 0x08000001
