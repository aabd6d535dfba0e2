# SPDX-License-Identifier: Apache-2.0
"""What is read, what it is bound to, and what it leaves open.

Every way in which another verifier of SGX or TDX was once fooled here, as correctly signed evidence. The
numbers are those of the must-not-fail list that these tests were written from: A whose key signed it, B
revocation and time, C TCB evaluation, D parsing, E beyond the quote. What only concerns SEV-SNP (A6, B6,
C10 to C12, D1) is not here.
"""

import inspect
import json
import time
import tracemalloc

import pytest
from tests.platforms.dcap.judging import BINDING, found, judge, refusal
from tests.platforms.dcap.pki import (
    NONCE,
    Text,
    World,
    svn_level,
)

import nacre
from nacre.appraisal.appraise import appraise
from nacre.appraisal.bindings import Binding
from nacre.appraisal.policy import Policy
from nacre.appraisal.release import Release
from nacre.appraisal.verdict import Verdict
from nacre.checks import Status
from nacre.errors import UnsupportedEvidence
from nacre.platforms import sgx, tdx
from nacre.platforms.base import Endorsements
from nacre.platforms.dcap.evidence import parse_quote
from nacre.platforms.dcap.verify import verify_quote

TEES = pytest.mark.parametrize("tee", ["sgx", "tdx"])
DOCUMENTS = pytest.mark.parametrize(
    ("role", "check"), [("tcb_info", "dcap.tcb-info"), ("qe_identity", "dcap.qe-identity")]
)


def _world(tee: str = "tdx", **changes: object) -> World:
    return World(tee=tee, version=3 if tee == "sgx" else 4).but(**changes)


# ── D. Parsing ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("size", [0, 1, 31, 33, 64, 256, 4096])
@pytest.mark.parametrize(
    ("tee", "version", "body"),
    [("sgx", 3, 0), ("sgx", 4, 0), ("sgx", 5, 0), ("tdx", 4, 0), ("tdx", 5, 2), ("tdx", 5, 3), ("tdx", 5, 4)],
)
def test_d2_every_form_of_quote(tee: str, version: int, body: int, size: int) -> None:
    """dcap-qvl 0.7.0 refuses SGX in v4 and v5 and authentication data of other than 32 bytes."""
    world = World(tee=tee, version=version, body=body, qe_auth=bytes(size))
    assert judge(world).verdict is Verdict.VERIFIED


def test_d3_lengths_that_lie() -> None:
    """go-tdx-guest 91f9a52 panics on a large authentication data length and on signature length 0."""
    for tee in ("sgx", "tdx"):
        world = _world(tee)
        quote = parse_quote(world.quote)
        fields = [(quote.auth_offset - 4, 4)]
        at = quote.auth_offset + 128 + 384 + 64
        if tee == "tdx":
            fields.append((quote.auth_offset + 130, 4))
            at += 6
        fields += [(at, 2), (at + 2 + 32 + 2, 4)]
        for offset, size in fields:
            true = int.from_bytes(world.quote[offset : offset + size], "little")
            for lie in {0, 1, true - 1, true + 1, (1 << 8 * size) - 1, 1 << 8 * size - 1} - {true}:
                changed = bytearray(world.quote)
                changed[offset : offset + size] = lie.to_bytes(size, "little")
                assert judge(world, quote=bytes(changed)).verdict is Verdict.REJECTED
                padded = bytes(changed) + bytes(70_000 - len(changed))
                assert judge(world, quote=padded).verdict is Verdict.REJECTED


@TEES
def test_d3_every_truncation(tee: str) -> None:
    """The same peer; every length of a quote but its own is refused, none escapes as another error."""
    world = _world(tee)
    for size in (*range(0, 700, 1), *range(700, len(world.quote), 31), len(world.quote) - 1):
        assert judge(world, quote=world.quote[:size]).verdict is Verdict.REJECTED


_PIECES = (
    *(b"\0", b"\xff", b"[", b'{"a":', b'"', b"0", b"30", b" ", b"\n"),
    *(b"\x30\x84\0\x10\0\0", b"\x30\x80", b"\x30\x82\xff\xff"),
    *(b"-----BEGIN CERTIFICATE-----\n", b"-----BEGIN X509 CRL-----\n", b'{"tcbInfo":{', b"\xe2\x82\xac"),
)


@pytest.mark.parametrize("piece", _PIECES, ids=repr)
def test_d3_a_megabyte_of_anything(piece: bytes) -> None:
    """The same as evidence and in the place of each document: refused at once, in little memory."""
    world = _world("sgx", cert_type=3)
    junk = (piece * (1 << 20))[: 1 << 20]
    started = time.perf_counter()
    tracemalloc.start()
    try:
        assert judge(world, quote=junk).verdict is Verdict.REJECTED
        for role in world.endorsements.documents:
            if role != "pck_crl_issuer_chain":
                documents = {**world.endorsements.documents, role: junk}
                assert judge(world, endorsements=Endorsements(documents)).verdict is Verdict.REJECTED
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 64 << 20
    assert time.perf_counter() - started < 8  # eight times a second, the limit


def test_d4_no_test_bypass() -> None:
    """OpenNHP #1732 shipped a parameter that switched verification off for tests."""
    for function in (appraise, verify_quote, sgx.PLATFORM.verify, tdx.PLATFORM.verify, parse_quote):
        for parameter in inspect.signature(function).parameters.values():
            assert not isinstance(parameter.default, bool)
            assert parameter.annotation is not bool
    weakening = {name for name in Policy.__struct_fields__ if name.startswith(("unsafe", "skip", "no_"))}
    assert weakening == {"unsafe_waive"}


def _spaced(text: bytes) -> bytes:
    return json.dumps(json.loads(text), indent=1).encode()


@DOCUMENTS
def test_d5_signed_bytes_are_the_served_bytes(role: str, check: str) -> None:
    """attestation-rs #26 signed a re-serialisation; Intel's library lets other white space pass."""
    spaced = _world(text={role: _spaced})
    assert judge(spaced).verdict is Verdict.VERIFIED
    document = spaced.endorsements.documents[role]
    compact = json.dumps(json.loads(document), separators=(",", ":")).encode()
    assert json.loads(compact) == json.loads(document)
    assert refusal(spaced.but(documents={role: compact})) == f"{check}: signature-invalid"


def _second(name: str, value: object, *, last: bool) -> Text:
    """Put a second member of a name before or behind the others, in the signed text."""
    member = f"{json.dumps(name)}:{json.dumps(value)}".encode()

    def change(text: bytes) -> bytes:
        return text[:-1] + b"," + member + b"}" if last else b"{" + member + b"," + text[1:]

    return change


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(
    ("role", "name", "value"),
    [
        ("tcb_info", "fmspc", "00806f050000"),
        ("tcb_info", "fmspc", "000000000000"),
        ("tcb_info", "nextUpdate", "2099-01-01T00:00:00Z"),
        ("tcb_info", "tcbEvaluationDataNumber", 99),
        ("tcb_info", "tcbLevels", []),
        ("qe_identity", "mrsigner", "00" * 32),
        ("qe_identity", "isvprodid", 2),
        ("qe_identity", "tcbLevels", [svn_level(0)]),
    ],
)
def test_d5_duplicate_members_under_a_valid_signature(
    role: str, name: str, value: object, last: bool
) -> None:
    """attestation-rs #26: of two members one reader sees the first and another the last."""
    check = {"tcb_info": "dcap.tcb-info", "qe_identity": "dcap.qe-identity"}[role]
    world = _world(text={role: _second(name, value, last=last)})
    assert refusal(world) == f"{check}: json-duplicate-key"


@DOCUMENTS
def test_d5_duplicate_members_that_nobody_reads(role: str, check: str) -> None:
    """Intel may add members; the same one twice is still two documents."""
    once = _second("new", 1, last=True)
    assert judge(_world(text={role: once})).verdict is Verdict.VERIFIED
    twice = _world(text={role: lambda text: once(once(text))})
    assert refusal(twice) == f"{check}: json-duplicate-key"


def _replacing(old: bytes, new: bytes) -> Text:
    def change(text: bytes) -> bytes:
        assert old in text
        return text.replace(old, new, 1)

    return change


def test_d5_duplicate_members_deeper_down() -> None:
    """The same inside a level, and with the name written in escapes."""
    for old, new in (
        (b'"pcesvn":13', b'"pcesvn":13,"pcesvn":0'),
        (b'"tcbStatus":"UpToDate"', b'"tcbStatus":"Revoked","tcbStatus":"UpToDate"'),
        (b'"fmspc":', b'"\\u0066mspc":"000000000000","fmspc":'),
        (b'"tcbType":0', b'"tcbType":0,"tcb\\u0054ype":0'),
        (b'"svn":5', b'"svn":5,"sv\\u006e":0'),
    ):
        world = _world(text={"tcb_info": _replacing(old, new)})
        assert refusal(world) == "dcap.tcb-info: json-duplicate-key"


def test_d5_second_document_in_the_wrapping() -> None:
    """A second tcbInfo member, or a second signature, beside the signed one."""
    good = _world().endorsements.documents["tcb_info"]
    evil = _world(status="Revoked").endorsements.documents["tcb_info"]
    for document in (
        good[:-1] + b',"tcbInfo":{}}',
        b'{"tcbInfo":{},' + good[1:],
        good[:-1] + b"," + evil[1:],
        good + b"\0",
        good + good,
        b"\xef\xbb\xbf" + good,
        good.replace(b'"tcbInfo"', b'"tcb\\u0049nfo"'),
        good.replace(b'"tcbInfo"', b'"TcbInfo"'),
    ):
        assert refusal(_world(documents={"tcb_info": document})).startswith("dcap.tcb-info: json-")


# ── E. Beyond the quote ──────────────────────────────────────────────────────────────────────────────


@TEES
def test_e_report_data_without_freshness(tee: str) -> None:
    """Trail of Bits, TOB-WAPI-7: genuine evidence, recorded some day, for whoever asks."""
    result = judge(_world(tee), binding=None)
    assert result.verdict is Verdict.INCOMPLETE
    assert {check.id for check in result.problems()} == {"binding", "freshness"}
    other = judge(_world(tee), binding=Binding.nonce(bytes(32)))
    assert other.verdict is Verdict.REJECTED
    assert found(other, "binding").reason == "binding-mismatch"
    assert found(other, "freshness").status is Status.SKIPPED
    # The nonce itself, unhashed, is nobody's binding: an endpoint could be asked to sign it.
    raw = _world(tee, report={"report_data": NONCE})
    assert judge(raw, binding=BINDING).verdict is Verdict.REJECTED


@TEES
def test_e_code_that_nobody_named(tee: str) -> None:
    """TOB-WAPI-13, -17: what is not measured or not compared may be anything."""
    assert judge(_world(tee), releases=()).verdict is Verdict.INCOMPLETE
    register = {"sgx": "mr_enclave", "tdx": "rtmr2"}[tee]
    world = _world(tee, report={register: b"\xee" * 32})
    assert refusal(world) == "executables: executables-mismatch"


def test_e_rtmr3_is_compared_where_it_is_stated() -> None:
    """Event logs were believed without a replay; a release states the register or says "any" aloud."""
    text = '[[tdx]]\nmrtd = "{0}"\nrtmr0 = "any"\nrtmr1 = "{1}"\nrtmr2 = "{2}"\n{3}'
    values = ["01" * 48, "03" * 48, "04" * 48]
    strict = Release.parse('id = "strict"\n' + text.format(*values, f'rtmr3 = "{"05" * 48}"'))
    assert judge(_world(), releases=(strict,)).verdict is Verdict.VERIFIED
    other = _world(report={"rtmr3": b"\6" * 48})
    assert refusal(other, releases=(strict,)) == "executables: executables-mismatch"
    with pytest.raises(nacre.ConfigurationError):
        Release.parse('id = "silent"\n' + text.format(*values, ""))


@TEES
def test_e_debug(tee: str) -> None:
    """Debug TDs and enclaves were accepted: their owner reads and writes all of their memory."""
    report = {"sgx": {"attributes": b"\7" + bytes(15)}, "tdx": {"td_attributes": b"\1\0\0\x10"}}[tee]
    world = _world(tee, report=report)
    assert refusal(world) == "debug: debug-on"
    allowed = judge(world, section={"unsafe_allow_debug": True})
    assert allowed.verdict is Verdict.WARNING
    assert allowed.claims is not None
    assert allowed.claims.debug


def test_e_migratable_td() -> None:
    """MigTD #663: a TD that the host may move to a machine that nobody attested."""
    world = _world(report={"td_attributes": b"\0\0\0\x30"})
    assert refusal(world) == "tdx.attributes: td-attributes-refused"
    service = _world(version=5, report={"mr_service_td": b"\7" * 48})
    assert refusal(service) == "tdx.service-td: service-td-refused"


def test_e_quote_of_another_platform_than_asked() -> None:
    """A quote of whatever TEE is at hand, where the policy speaks of another."""
    result = judge(_world("sgx"), accepted=("tdx",))
    assert result.verdict is Verdict.REJECTED
    assert found(result, "platform").reason == "platform-not-accepted"


def test_e_quote_that_claims_to_be_of_another_tee() -> None:
    """An SGX enclave's quote in a TDX header, and a vendor that is not Intel."""
    quote = bytearray(_world().quote)
    quote[4:8] = bytes(4)
    assert judge(_world(), quote=bytes(quote)).verdict is Verdict.REJECTED
    quote[12] ^= 1
    with pytest.raises(UnsupportedEvidence):
        sgx.PLATFORM.parse(bytes(quote))
