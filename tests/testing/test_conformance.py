# SPDX-License-Identifier: Apache-2.0
"""The conformance runner, and what it finds: every case agrees."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nacre import cli
from nacre.appraisal.policy import Policy
from nacre.cli.exits import Exit
from nacre.errors import ConfigurationError
from nacre.testing import Difference, Report, cases, judging, run
from nacre.testing.profile import policy_text, profile

_OWN = Path(__file__).parents[1] / "vectors"
_SHARED = Path(__file__).parents[3] / "shared" / "vectors"
_OURS = ("sgx", "tdx", "nitro", "nitro-synthetic")

Case = Callable[[str], Path]


def _told(report: Report) -> list[str]:
    bad = [outcome for outcome in report.outcomes if outcome.status in ("disagree", "unreadable")]
    return [f"{outcome.group}/{outcome.case}: {outcome.differences} {outcome.why}" for outcome in bad]


@pytest.mark.parametrize("group", _OURS)
def test_our_own_vectors_agree(group: str) -> None:
    report = run(_OWN / group)
    assert _told(report) == []
    assert report.agrees
    assert report.count("agree") == len(list((_OWN / group).iterdir()))
    assert not any(outcome.unread for outcome in report.outcomes if outcome.tee != "aws-nitro-enclave")


@pytest.mark.skipif(not _SHARED.is_dir(), reason="the shared vectors are not beside this checkout")
def test_the_shared_vectors_agree() -> None:
    report = run(_SHARED)
    assert _told(report) == []
    assert report.count("agree") >= 262
    assert {outcome.tee for outcome in report.outcomes if outcome.status == "unsupported"} >= {"tpm2"}


@pytest.mark.skipif(not _SHARED.is_dir(), reason="the shared vectors are not beside this checkout")
@pytest.mark.parametrize("group", _OURS)
def test_our_copy_is_exact(group: str) -> None:
    for folder in (_OWN / group).iterdir():
        for file in folder.iterdir():
            assert file.read_bytes() == (_SHARED / group / folder.name / file.name).read_bytes()


@pytest.mark.parametrize("group", _OURS)
def test_our_copy_is_licensed_and_listed(group: str) -> None:
    listed = (_OWN / "README.md").read_text()
    for folder in (_OWN / group).iterdir():
        source = json.loads((folder / "case.json").read_text())["source"]
        parts = (source, *source.get("collateral", {}).values())
        assert all(part["license"].startswith(("MIT", "Apache-2.0", "CC0", "none needed")) for part in parts)
        assert f"| `{group}/{folder.name}` |" in listed


@pytest.fixture
def case(tmp_path: Path) -> Case:
    """Copy one of our cases to where it can be changed."""

    def copy(name: str) -> Path:
        return Path(shutil.copytree(_OWN / name, tmp_path / "cases" / Path(name).name))

    return copy


def _edit(folder: Path, change: dict[str, object] | None = None, **inner: dict[str, object]) -> None:
    """Change members of a case, and members of its members."""
    document: dict[str, object] = json.loads((folder / "case.json").read_text())
    document |= change or {}
    for name, members in inner.items():
        part = document[name]
        assert isinstance(part, dict)
        part |= members
    (folder / "case.json").write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("verdict", "fail"),
        ("crypto", "fail"),
        ("tcb_status", "OutOfDate"),
        ("advisory_ids", ["INTEL-SA-00001"]),
        ("tcb_date", "2020-01-01T00:00:00Z"),
        ("tcb_evaluation_data_number", 1),
        ("platform_level_status", "OutOfDate"),
        ("component_statuses", []),
        ("launch_status", "OutOfDate"),
        ("current_status", "OutOfDate"),
        ("claims", {"quote_version": 4}),
        ("claims", {"report": {"mr_td": "00"}}),
        ("claims", {"unheard_of": None, "quote_version": "5"}),
    ],
)
def test_whatever_is_stated_is_compared(case: Case, name: str, value: object) -> None:
    folder = case("tdx/google-v5-90c06f000000-e18-uptodate-cf77a6")
    _edit(folder, expected={name: value})
    (outcome,) = run(folder.parent).outcomes
    assert outcome.status == "disagree"
    assert len(outcome.differences) == 1
    assert outcome.differences[0].what.startswith(name)


def test_what_is_not_stated_is_not_compared(case: Case) -> None:
    folder = case("tdx/google-v5-90c06f000000-e18-uptodate-cf77a6")
    _edit(folder, {"expected": {"verdict": "pass"}})
    assert run(folder).agrees


def test_a_status_that_nobody_evaluated_is_missed(case: Case) -> None:
    folder = case("tdx/derived-body-measurement-flip-v4-f1c8")
    _edit(folder, expected={"tcb_status": "UpToDate", "claims": None})
    (outcome,) = run(folder).outcomes
    assert outcome.differences == (Difference("tcb_status", "UpToDate", None),)


@pytest.mark.parametrize("allowed", [True, False])
def test_debug_is_the_case_s_to_allow(case: Case, allowed: bool) -> None:
    folder = case("tdx/syn-policy-debug")
    _edit(folder, policy={"allow_debug": allowed}, expected={"verdict": "pass" if allowed else "fail"})
    assert run(folder).agrees


def test_what_a_verifier_may_lack(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = case("sgx/syn-cert-type-4-with-external-chain")
    assert cases.load(folder).optional
    monkeypatch.setattr("nacre.platforms.dcap.evidence.CertType.SUPPORTED", frozenset({5}))
    assert run(folder).agrees


def test_an_error_that_escapes_is_a_disagreement(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(judging, "appraise", broken)
    (outcome,) = run(case("sgx/syn-policy-debug")).outcomes
    assert outcome.status == "disagree"
    assert outcome.differences == (Difference("error", None, "ZeroDivisionError: oh"),)


def test_a_platform_that_is_not_here_is_no_agreement(case: Case) -> None:
    folder = case("sgx/syn-policy-debug")
    _edit(folder, {"tee": "abacus", "evidence": {"beads": "b"}, "collateral": {"issuer": "me"}})
    report = run(folder)
    assert [outcome.status for outcome in report.outcomes] == ["unsupported"]
    assert not report.agrees


@pytest.mark.parametrize(
    "change",
    [
        {"evidence": "../quote.bin"},
        {"evidence": "absent.bin"},
        {"evidence": {"quote": "quote.bin"}},
        {"collateral": {"root_ca": "/etc/hostname"}},
        {"collateral": {"tcb_info": "tcb_info.json"}},
        {"collateral": {"trusted_ark_sha256": "ab" * 31}},
        {"collateral": {"trusted_ark_sha256": "root_ca.der"}},
        {"time": "yesterday"},
        {"policy": {"forgive": True}},
        {"expected": {}},
    ],
    ids=str,
)
def test_cases_that_cannot_be_run_are_failures(case: Case, change: dict[str, object]) -> None:
    good = case("sgx/syn-status-outofdate")
    bad = case("sgx/syn-policy-debug")
    _edit(bad, change)
    report = run(good.parent)
    assert report.count("agree") == 1
    assert not report.agrees
    assert {outcome.status for outcome in report.outcomes} <= {"agree", "unreadable", "disagree"}


def test_large_files_are_not_read_whole(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cases, "_MAX_FILE", 1000)
    (outcome,) = run(case("sgx/syn-policy-debug")).outcomes
    assert outcome.why.endswith("is too large")


def test_folders_without_cases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "provenance").mkdir()
    assert run(tmp_path) == Report(())
    assert not run(tmp_path).agrees
    with pytest.raises(ConfigurationError, match="there is no directory"):
        run(tmp_path / "absent")
    monkeypatch.setattr(cases, "_MAX_CASES", 1)
    with pytest.raises(ConfigurationError, match="more than 1 cases"):
        run(_OWN / "nitro")


def test_progress_is_told() -> None:
    steps: list[tuple[int, int]] = []
    run(_OWN / "nitro-synthetic", progress=lambda done, every: steps.append((done, every)))
    assert steps == [(number, 22) for number in range(1, 23)]


def test_profiles_are_policies() -> None:
    text = policy_text(cases.load(_OWN / "nitro-synthetic" / "userdata-513"))
    assert "max_user_data = 512" in text
    assert Policy.parse(text).accept == "WARNING"


def test_a_root_is_genuine_only_if_it_is_the_vendor_s() -> None:
    for name, origin in (
        ("nitro-synthetic/userdata-513", "private"),
        ("nitro/marlin-sample-2024-02", "genuine"),
    ):
        (anchor,) = profile(cases.load(_OWN / name)).anchors_for("nitro")
        assert anchor.origin == origin


def test_the_command(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    folder = case("nitro/marlin-sample-2024-02").parent
    assert cli.main(["conformance", "run", str(folder)]) == Exit.ACCEPTED
    assert "all 1 cases that were run agree" in capsys.readouterr().out
    _edit(case("sgx/syn-policy-debug"), expected={"verdict": "pass"})
    (folder / "abacus").mkdir()
    shutil.copy(folder / "syn-policy-debug" / "case.json", folder / "abacus")
    _edit(folder / "abacus", {"tee": "abacus"})
    assert cli.main(["conformance", "run", str(folder)]) == Exit.REJECTED
    out = capsys.readouterr().out
    assert '    verdict: expected "pass", got "fail"' in out
    assert "not run, nobody here verifies them: 1 (abacus 1)" in out
    assert "1 of 2 cases disagree" in out
    assert cli.main(["conformance", "run", str(folder), "--json"]) == Exit.REJECTED
    found = json.loads(capsys.readouterr().out)
    assert (found["agree"], found["disagree"], found["unsupported"], found["agrees"]) == (1, 1, 1, False)
    assert cli.main(["conformance", "run", str(folder / "abacus")]) == Exit.REJECTED
    assert "no case was run" in capsys.readouterr().out
    assert cli.main(["conformance", "run", str(folder / "absent")]) == Exit.USAGE


def test_malicious_names_cannot_drive_a_terminal(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    _edit(case("sgx/syn-policy-debug"), {"id": "\x1b[2J", "time": "\x1b[2J"})
    assert cli.main(["conformance", "run", str(case("sgx/syn-status-outofdate").parent)]) == Exit.REJECTED
    assert "\x1b" not in capsys.readouterr().out


def test_the_wheel_has_no_vectors() -> None:
    listing = subprocess.run(
        [sys.executable, "-c", "import nacre; print(*nacre.__path__)"],
        capture_output=True,
        check=True,
        text=True,
    ).stdout.split()
    assert not list(Path(listing[0]).rglob("case.json"))
