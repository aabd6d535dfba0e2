# SPDX-License-Identifier: Apache-2.0
"""The hermetic contract: whatever is asked is answered, as ``nacre conformance run`` would judge it."""

import base64
import functools
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.appraisal.test_schema import Validator
from tests.platforms.dcap.pki import NOW, World

from nacre import platforms, reasons
from nacre.appraisal import schema
from nacre.cli.exits import Exit
from nacre.testing import capabilities, hermetic, judging, run
from nacre.testing.cases import Case, find, load
from nacre.testing.judging import Ending, Judged
from nacre.testing.profile import ASKED
from nacre.testing.questions import PLATFORMS

_OWN = Path(__file__).parents[1] / "vectors"
_SHARED = Path(__file__).parents[3] / "shared" / "vectors"
_GROUPS = ("sgx", "tdx", "snp", "nitro", "nitro-synthetic")
_GENUINE = "tdx/google-v5-90c06f000000-e18-uptodate-cf77a6"
_SYNTHETIC = "tdx/syn-policy-debug"

Document = dict[str, object]


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _request(name: str = _GENUINE) -> Document:
    document: Document = json.loads(hermetic.encode_request(load(_OWN / name)))
    return document


def _ask(document: object, **changes: object) -> tuple[Ending, Document]:
    """Ask in-process and return what a program would end with and write."""
    if isinstance(document, dict):
        document = document | changes
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    judged = hermetic.answer(data)
    answer: Document = json.loads(hermetic.encode_answer(judged.answer))
    assert (judged.ending is Ending.ACCEPT) is (answer["verdict"] == "pass") is (answer["code"] is None)
    assert _fits("case-answer.schema.json", answer)
    assert list(answer) == ["verdict", "crypto", "code", "tcb_status", "advisory_ids", "claims", "checks"]
    return judged.ending, answer


def _refused(document: object, **changes: object) -> tuple[Ending, object]:
    ending, answer = _ask(document, **changes)
    assert (answer["verdict"], answer["crypto"]) == ("fail", "fail")
    return ending, answer["code"]


@functools.cache
def _validator(name: str) -> Validator:
    return Validator(capabilities.SCHEMAS[name]())


def _fits(name: str, document: object) -> bool:
    validator = _validator(name)
    return validator.fits(document, validator.root)


# ── The same answers as the runner's ─────────────────────────────────────────────────────────────────


def _piped(case: Case) -> Judged:
    """Ask by the contract alone: what leaves is JSON, what comes back is JSON."""
    asked = hermetic.encode_request(case)
    assert _fits("case-request.schema.json", json.loads(asked))
    judged = hermetic.answer(asked)
    answer = hermetic.read_answer(hermetic.encode_answer(judged.answer))
    assert answer == judging.judge(case).answer
    return msgspec.structs.replace(judged, answer=answer)


@pytest.mark.parametrize("group", [group for group in _GROUPS if (_OWN / group).is_dir()])
def test_every_vector_of_ours_is_answered_alike(group: str) -> None:
    assert run(_OWN / group, ask=_piped) == run(_OWN / group)


@pytest.mark.skipif(not _SHARED.is_dir(), reason="the shared vectors are not beside this checkout")
@pytest.mark.parametrize("group", _GROUPS)
def test_every_shared_vector_is_answered_alike(group: str) -> None:
    report = run(_SHARED / group, ask=_piped)
    assert report == run(_SHARED / group)
    assert report.count("disagree") == report.count("unreadable") == 0


def _command(asked: bytes, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "nacre", "conformance", "case"],
        input=asked,
        capture_output=True,
        check=False,
        env=os.environ | environment,
    )


@pytest.mark.parametrize(
    ("name", "ending"),
    [
        (_GENUINE, Ending.ACCEPT),
        (_SYNTHETIC, Ending.REJECT),
        ("sgx/syn-status-outofdate", Ending.ACCEPT),
        ("nitro/marlin-sample-2024-02", Ending.ACCEPT),
        ("nitro-synthetic/userdata-513", Ending.REJECT),
    ],
)
def test_the_command_says_the_same(name: str, ending: Ending) -> None:
    asked = hermetic.encode_request(load(_OWN / name))
    ran = _command(asked)
    assert (ran.returncode, ran.stderr) == (ending, b"")
    assert json.loads(ran.stdout) == json.loads(hermetic.encode_answer(hermetic.answer(asked).answer))


def test_the_command_answers_nonsense_too() -> None:
    for asked, ending in (
        (b"", Ending.MALFORMED),
        (b"\xff\x00", Ending.MALFORMED),
        (json.dumps(_request() | {"platform": "abacus"}).encode(), Ending.UNSUPPORTED),
        (json.dumps(_request() | {"platform": "ab\u0301acus\u202e"}).encode(), Ending.UNSUPPORTED),
    ):
        for environment in ({}, {"PYTHONIOENCODING": "ascii"}):
            ran = _command(asked, **environment)
            assert (ran.returncode, ran.stderr) == (ending, b"")
            assert json.loads(ran.stdout)["verdict"] == "fail"


_SEALED = """
import builtins, io, os, sys, time
from pathlib import Path
from nacre.cli import main
inside = tuple(str(Path(path).resolve()) for path in (sys.prefix, sys.base_prefix, *sys.path) if path)
def watch(event, arguments):
    if event.startswith(("socket.", "subprocess.", "os.system", "os.exec", "os.posix_spawn")):
        raise SystemExit(f"tried {event}")
    if event == "open" and isinstance(arguments[0], str) and not arguments[0].startswith(inside):
        raise SystemExit(f"opened {arguments[0]}")
    if event == "open" and "w" in str(arguments[1]) and ".pyc" not in arguments[0]:
        raise SystemExit(f"wrote {arguments[0]}")
def stopped():
    raise SystemExit("asked the clock")
time.time = time.time_ns = time.monotonic = stopped
sys.addaudithook(watch)
sys.exit(main(["conformance", "case"]))
"""


def test_nothing_else_is_looked_at(tmp_path: Path) -> None:
    """No network, no clock, no file but the package's own, whatever the environment suggests."""
    for name in (_GENUINE, "nitro/marlin-sample-2024-02"):
        ran = subprocess.run(
            [sys.executable, "-B", "-c", _SEALED],
            input=hermetic.encode_request(load(_OWN / name)),
            capture_output=True,
            check=False,
            cwd=tmp_path,
            env=os.environ | {"XDG_CACHE_HOME": str(tmp_path), "HTTPS_PROXY": "http://127.0.0.1:9"},
        )
        assert (ran.returncode, ran.stderr) == (0, b"")
    assert list(tmp_path.iterdir()) == []


# ── Whom to trust ────────────────────────────────────────────────────────────────────────────────────


def _world() -> Document:
    world = World()
    return {
        "platform": "tdx",
        "evidence": _text(world.quote),
        "collateral": {role: _text(data) for role, data in world.endorsements.documents.items()},
        "anchor": _text(world.der("root")),
        "time": reasons.render("{at:time}", {"at": NOW}),
    }


def _with(document: Document, **roles: str | None) -> Document:
    collateral = document["collateral"]
    assert isinstance(collateral, dict)
    return document | {"collateral": collateral | roles}


def test_no_anchor_means_the_vendor_s() -> None:
    genuine = _request()
    for absent in (genuine | {"anchor": None}, {key: genuine[key] for key in genuine if key != "anchor"}):
        assert _ask(absent)[0] is Ending.ACCEPT
    assert _ask(_world())[0] is Ending.ACCEPT
    assert _refused(_world(), anchor=None) == (Ending.REJECT, "root-not-trusted")


@pytest.mark.parametrize("role", ["root_ca", "root"])
def test_a_root_among_the_collateral_is_not_trusted_for_being_there(role: str) -> None:
    world = _world()
    root = world["anchor"]
    assert isinstance(root, str)
    assert _refused(_with(world, **{role: root}), anchor=None) == (Ending.REJECT, "root-not-trusted")


def test_a_root_named_by_its_digest() -> None:
    world, der = _world() | {"anchor": None}, World().der("root")
    digest = hashlib.sha256(der).digest()
    for form in (digest, digest.hex().encode(), digest.hex().upper().encode()):
        # The digest says which; the certificate has to come from somewhere.
        assert _ask(_with(world, root_ca=_text(der), trusted_ark_sha256=_text(form)))[0] is Ending.ACCEPT
        assert _refused(_with(world, trusted_ark_sha256=_text(form)))[0] is Ending.REJECT
    intel = platforms.get("tdx").anchors()[0].digest
    assert _ask(_with(_request() | {"anchor": None}, trusted_ark_sha256=_text(intel)))[0] is Ending.ACCEPT
    # Whoever names another root does not trust the vendor's any more.
    assert (
        _refused(_with(_request() | {"anchor": None}, trusted_ark_sha256=_text(digest)))[0] is Ending.REJECT
    )
    named = _with(world, root_ca=_text(der), trusted_ark_sha256=_text(intel))
    assert _refused(named)[0] is Ending.REJECT


def test_two_anchors_that_differ() -> None:
    other = _text(hashlib.sha256(b"other").digest())
    assert _refused(_with(_world(), trusted_ark_sha256=other)) == (Ending.MALFORMED, "case-anchors-differ")


@pytest.mark.parametrize("bad", [b"", b"\0" * 31, b"\0" * 33, b"g" * 64, b"0" * 63, b"0 " * 32, b"\xff" * 64])
def test_digests_that_are_none(bad: bytes) -> None:
    asked = _with(_world(), trusted_ark_sha256=_text(bad))
    assert _refused(asked) == (Ending.MALFORMED, "length-mismatch")


@pytest.mark.parametrize("bad", [b"", b"\x30", b"-----BEGIN CERTIFICATE-----", World().der("root") + b"\0"])
def test_an_anchor_that_is_no_certificate(bad: bytes) -> None:
    assert _refused(_world(), anchor=_text(bad))[0] is Ending.MALFORMED


def test_the_leaf_as_anchor_is_no_root() -> None:
    assert _refused(_world(), anchor=_text(World().der("pck")))[0] is Ending.REJECT


# ── What is malformed, and what is not done here ─────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"evidence": None}, "json-shape"),
        ({"evidence": 5}, "json-shape"),
        ({"evidence": "AAA"}, "case-base64"),
        ({"evidence": "AAAA\n"}, "case-base64"),
        ({"evidence": "AA=="[:3]}, "case-base64"),
        ({"evidence": "AB=="}, "case-base64"),
        ({"evidence": "-_-_"}, "case-base64"),
        ({"evidence": "ÄÄÄÄ"}, "case-base64"),
        ({"evidence": ""}, "evidence-unrecognised"),
        ({"collateral": []}, "json-shape"),
        ({"collateral": None}, "json-shape"),
        ({"collateral": {"tcb_info": 1}}, "json-shape"),
        ({"collateral": {"tcb_info": "?"}}, "case-base64"),
        ({"anchor": "?"}, "case-base64"),
        ({"anchor": 1}, "json-shape"),
        ({"time": "yesterday"}, "time-invalid"),
        ({"time": 1_700_000_000}, "json-shape"),
        ({"time": "2026-02-30T00:00:00Z"}, "time-invalid"),
        ({"time": None}, "json-shape"),
        ({"policy": []}, "json-shape"),
        ({"policy": {"allow_debug": "no"}}, "json-shape"),
        ({"policy": {"allow_debug": 0}}, "json-shape"),
        ({"platform": None}, "json-shape"),
        ({"nonce": "AAAA"}, "json-shape"),
    ],
    ids=str,
)
def test_malformed_questions(change: Document, code: str) -> None:
    ending = Ending.UNSUPPORTED if code == "evidence-unrecognised" else Ending.MALFORMED
    assert _refused(_request(), **change) == (ending, code)


@pytest.mark.parametrize("missing", ["platform", "evidence", "time"])
def test_what_a_question_has_to_have(missing: str) -> None:
    asked = _request()
    del asked[missing]
    assert _refused(asked) == (Ending.MALFORMED, "json-shape")


def test_a_member_that_is_there_twice() -> None:
    text = json.dumps(_request())
    for twice in (
        text.replace('"platform"', '"platform": "sgx", "platform"'),
        text.replace('"tcb_info"', '"tcb_info": null, "tcb_info"'),
        text.replace('"allow_debug"', '"allow_debug": true, "allow_debug"'),
        text.replace('"time"', r'"tim\u0065": "2020-01-01T00:00:00Z", "time"'),
    ):
        assert twice != text
        assert _refused(twice.encode()) == (Ending.MALFORMED, "json-duplicate-key")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "json-invalid"),
        (b"{", "json-invalid"),
        (b"{}{}", "json-invalid"),
        (b"\xef\xbb\xbf{}", "json-invalid"),
        (b'{"platform": "\xff"}', "json-invalid"),
        (b"[]", "json-shape"),
        (b"null", "json-shape"),
        (b'{"time": NaN}', "json-invalid"),
        (b'{"policy": {"max_nonce": 1' + b"0" * 400 + b"}}", "json-number"),
        (b"[" * 100_000, "json-depth"),
        (b'{"policy":' * 64 + b"1" + b"}" * 64, "json-depth"),
    ],
    ids=range(11),
)
def test_what_is_no_question(data: bytes, code: str) -> None:
    assert _refused(data)[0] is Ending.MALFORMED
    assert _refused(data)[1] in (code, "json-invalid")


def test_a_question_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hermetic, "LIMIT", 100)
    assert _refused(_request()) == (Ending.MALFORMED, "too-large")


@pytest.mark.parametrize(
    ("name", "change", "code"),
    [
        (_GENUINE, {"platform": "abacus"}, "platform-unknown"),
        (_GENUINE, {"platform": ""}, "platform-unknown"),
        (_GENUINE, {"platform": "TDX"}, "platform-unknown"),
        (_GENUINE, {"policy": {"forgive": True}}, "case-policy-key"),
        (_GENUINE, {"policy": {"forgive": None}}, "case-policy-key"),
        (_GENUINE, {"policy": {"max_nonce": 512}}, "case-policy-key"),
        (_GENUINE, {"policy": {"profile": "lenient"}}, "case-profile"),
        (_GENUINE, {"policy": {"profile": ""}}, "case-profile"),
        (_GENUINE, {"collateral": {"ocsp": "AAAA"}}, "case-role"),
        (_GENUINE, {"collateral": {"vek": None}}, "case-role"),
        ("nitro/marlin-sample-2024-02", {"policy": {"allow_migrate_ma": False}}, "case-policy-key"),
    ],
    ids=str,
)
def test_what_is_not_done_here_is_refused_not_ignored(name: str, change: Document, code: str) -> None:
    assert _refused(_request(name), **change) == (Ending.UNSUPPORTED, code)


def test_the_default_profile() -> None:
    for policy in (None, {}, {"profile": None}, {"profile": "default"}, {"allow_debug": None}):
        assert _ask(_request(), policy=policy)[0] is Ending.ACCEPT
        assert _ask(_request(_SYNTHETIC), policy=policy)[0] is Ending.REJECT
    ending, answer = _ask(_request(_SYNTHETIC), policy={"allow_debug": True})
    assert (ending, answer["crypto"]) == (Ending.ACCEPT, "pass")


@pytest.mark.parametrize(
    ("limit", "ending"), [(512, Ending.REJECT), (513, Ending.ACCEPT), (1025, Ending.MALFORMED)]
)
def test_limits_of_nitro(limit: int, ending: Ending) -> None:
    assert _ask(_request("nitro-synthetic/userdata-513"), policy={"max_user_data": limit})[0] is ending


def test_evidence_that_cannot_be_read() -> None:
    quote = load(_OWN / _GENUINE).evidence
    assert _refused(_request(), evidence=_text(quote[:-1]))[0] is Ending.MALFORMED
    assert _refused(_request(), evidence=_text(b"\x09" + quote[1:]))[0] is Ending.UNSUPPORTED
    ending, answer = _ask(_request(), evidence=_text(quote[:100] + bytes([quote[100] ^ 1]) + quote[101:]))
    assert (ending, answer["crypto"], answer["tcb_status"]) == (Ending.REJECT, "fail", None)
    assert isinstance(answer["claims"], dict)


def test_genuine_evidence_of_another_platform_proves_nothing_of_this_one() -> None:
    sgx = _request("sgx/phala-networ-v3-00a067110000-e16-configurationandswhardeningneeded-f8b810")
    assert _ask(sgx)[0] is Ending.ACCEPT
    assert _refused(sgx, platform="tdx") == (Ending.REJECT, "platform-not-accepted")
    assert _refused(sgx, platform="nitro", collateral={})[0] is not Ending.ACCEPT


def test_names_of_case_files_are_platforms_too() -> None:
    assert _ask(_request(), platform="intel-tdx") == _ask(_request(), platform="tdx")


def test_missing_collateral_is_not_accepted() -> None:
    asked = _request()
    collateral = asked["collateral"]
    assert isinstance(collateral, dict)
    for role in collateral:
        if role in ("root_ca", "pck_crl_issuer_chain"):
            continue
        ending, code = _refused(_with(asked, **{role: None}))
        assert (ending, code) == (Ending.REJECT, "endorsement-missing"), role


def test_an_error_of_ours_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(judging, "appraise", broken)
    assert _refused(_request()) == (Ending.INTERNAL, "internal")
    assert hermetic.answer(json.dumps(_request()).encode()).why == "ZeroDivisionError: oh"


@given(st.binary(max_size=200))
def test_whatever_comes_is_answered(data: bytes) -> None:
    assert _ask(data)[0] is not Ending.INTERNAL


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.sampled_from(sorted(msgspec.structs.asdict(hermetic.Request(platform="", evidence="", time="")))),
    _JSON,
)
def test_whatever_a_member_is_it_is_answered(member: str, value: object) -> None:
    assert _ask(_world(), **{member: value})[0] is not Ending.INTERNAL


# ── Capabilities and schemas ─────────────────────────────────────────────────────────────────────────


def _told() -> Mapping[str, Document]:
    told = capabilities.capabilities(version="1")
    document = json.loads(msgspec.json.encode(told))
    assert _fits("case-capabilities.schema.json", document)
    assert document["exits"] == {ending.name.lower(): ending.value for ending in Ending}
    return {platform["platform"]: platform for platform in document["platforms"]}


def test_capabilities_are_what_can_be_asked() -> None:
    told = _told()
    assert set(told) == set(platforms.builtin_names()) == set(PLATFORMS.values()) == set(ASKED)
    for name, platform in told.items():
        assert PLATFORMS[str(platform["tee"])] == name
        assert platform["roles"] == list(platforms.get(name).roles)
        assert platform["anchors"]


@pytest.mark.parametrize("name", platforms.builtin_names())
def test_capabilities_name_every_claim(name: str, vectors: Path) -> None:
    claims: set[str] = set()
    for group in (group for group in _GROUPS if group.startswith(name) and (vectors / group).is_dir()):
        for folder in find(vectors / group):
            found = judging.judge(load(folder)).answer.claims
            claims |= set(found) if isinstance(found, dict) else set()
    assert claims == set(capabilities.CLAIMS[name])


@pytest.mark.parametrize("tee", ["sgx", "tdx"])
def test_versions_are_those_that_are_read(tee: str) -> None:
    versions = _told()[tee]["versions"]
    for version in range(1, 8):
        evidence = (
            World(tee=tee, version=version).quote if version in (3, 4, 5) else bytes((version, 0)) * 700
        )
        asked = _world() | {"platform": tee, "evidence": _text(evidence)}
        assert isinstance(versions, list)
        assert (_ask(asked)[0] is not Ending.UNSUPPORTED) is (version in versions), version


@pytest.mark.parametrize("name", capabilities.SCHEMAS)
def test_the_published_schema_is_that_of_the_code(name: str, repository: Path) -> None:
    committed = (repository / "docs" / "reference" / name).read_text()
    assert committed == schema.encode(capabilities.SCHEMAS[name]()), "run make docs"
    assert "Attributes:" not in committed


def test_schema_and_reader_agree_about_questions() -> None:
    asked = _request()
    for change in (
        {"policy": {"forgive": True}},
        {"collateral": {"tcb_info": 1}},
        {"nonce": ""},
        {"time": 5},
    ):
        assert not _fits("case-request.schema.json", asked | change)
        assert _ask(asked, **change)[0] in (Ending.MALFORMED, Ending.UNSUPPORTED)


def test_the_contract_s_statuses_are_the_command_s() -> None:
    named = {Ending.ACCEPT: Exit.ACCEPTED, Ending.REJECT: Exit.REJECTED}
    for ending in Ending:
        assert ending.value == named.get(ending, Exit.__members__.get(ending.name))
