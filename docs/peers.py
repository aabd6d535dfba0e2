# SPDX-License-Identifier: Apache-2.0
"""Write docs/reference/peers.md: what other verifiers answer to the test vectors, beside what we answer.

``python -m docs.peers`` runs every peer whose tools are at hand over every case that it can be asked, one
process a case, so that a crash is an answer too. A peer is a driver below ``benchmarks/peers`` that speaks
the hermetic contract (docs/guides/conformance.md). One whose tools are missing is named as not run.
"""

import argparse
import concurrent.futures
import datetime as dt
import functools
import importlib.metadata
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec
from benchmarks.peers.drivers import PEERS, Peer

from nacre.testing import conformance
from nacre.testing.cases import Case, find, load
from nacre.testing.hermetic import encode_request
from nacre.testing.questions import PLATFORMS

_ROOT = Path(__file__).parent.parent
_PAGE = _ROOT / "docs" / "reference" / "peers.md"
_OWN = _ROOT / "tests" / "vectors"
_SHARED = _ROOT.parent / "shared" / "vectors"
_GROUPS = ("sgx", "tdx", "snp", "nitro", "nitro-synthetic")
_SECONDS = 60
_WIDEST = 160
_CURRENT = "UpToDate"

_AGREE, _ACCEPTS, _REFUSES, _STATUS = "agrees", "accepts bad", "refuses good", "other status"
_CRASHES, _STRICTER, _CALLER, _LACKS = "crashes", "stricter", "left to caller", "lacks"
_NOT_FOR_IT = "cannot be asked"
_COLUMNS = (_AGREE, _ACCEPTS, _REFUSES, _STATUS, _CRASHES, _STRICTER, _CALLER, _LACKS, _NOT_FOR_IT)


class _Told(msgspec.Struct, frozen=True):
    """What a case says of itself for people."""

    stage: str | None = None
    why: str | None = None


class _Document(msgspec.Struct, frozen=True):
    expected: _Told


class _Answer(msgspec.Struct, frozen=True):
    verdict: str
    code: str = ""
    tcb_status: str | None = None
    advisory_ids: list[str] | None = None


class _Row(NamedTuple):
    """What one peer said to one case."""

    case: str
    outcome: str
    why: str


# ── Asking ───────────────────────────────────────────────────────────────────────────────────────────


def _ask(command: list[str], question: bytes) -> tuple[int, _Answer]:
    """Return exit status and answer; whatever is no answer has the status 1 and the last words as code."""
    try:
        done = subprocess.run(command, input=question, capture_output=True, check=False, timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        return 1, _Answer("", f"no answer within {_SECONDS} s")
    if done.returncode in (0, 10, 20, 30):
        return done.returncode, msgspec.json.decode(done.stdout, type=_Answer)
    said = done.stderr.decode(errors="replace").strip().splitlines() or ["nothing"]
    panic = next((line for line in said if "panic" in line), said[-1])
    return 1, _Answer("", panic)


def _judge(peer: Peer, case: Case, status: int, answer: _Answer) -> _Row:
    """Hold an answer against what is expected."""
    said = answer.code or "refused, without a word"
    if status in (1, 20):
        return _Row(case.id, _CRASHES if status == 1 else _NOT_FOR_IT, said)
    if status == 0:
        return _accepted(case, answer)
    expected = case.expected
    if expected.verdict == "fail" or case.optional:
        return _Row(case.id, _AGREE if expected.verdict == "fail" else _LACKS, said)
    old = expected.tcb_status not in (None, _CURRENT) and peer.strict and peer.strict in said
    return _Row(case.id, _STRICTER if old else _REFUSES, said)


def _accepted(case: Case, answer: _Answer) -> _Row:
    expected = case.expected
    if expected.verdict == "fail":
        told = msgspec.json.decode((case.folder / "case.json").read_bytes(), type=_Document).expected
        mild = expected.crypto == "pass" and (told.stage or "policy").startswith("policy")
        return _Row(case.id, _CALLER if mild else _ACCEPTS, told.why or told.stage or "no")
    if answer.tcb_status not in (None, expected.tcb_status):
        return _Row(case.id, _STATUS, f"{answer.tcb_status}, where {expected.tcb_status} is right")
    if answer.advisory_ids not in (None, expected.advisory_ids):
        return _Row(case.id, _STATUS, f"other advisories than {', '.join(expected.advisory_ids or ['none'])}")
    return _Row(case.id, _AGREE, "")


def _cases(vectors: Path) -> Mapping[str, list[Case]]:
    """Read the cases of each platform."""
    found: dict[str, list[Case]] = {}
    for group in _GROUPS:
        for folder in find(vectors / group):
            case = load(folder)
            found.setdefault(case.platform, []).append(case)
    return found


def _ours(vectors: Path) -> Iterator[tuple[str, list[_Row]]]:
    """Run ourselves: the same cases through `nacre conformance run`."""
    by_platform: dict[str, list[_Row]] = {}
    for group in _GROUPS:
        if not (vectors / group).is_dir():
            continue
        for outcome in conformance.run(vectors / group).outcomes:
            by_platform.setdefault(PLATFORMS.get(outcome.tee, group), []).append(_row_of_ours(outcome))
    yield from by_platform.items()


def _row_of_ours(outcome: conformance.Outcome) -> _Row:
    if outcome.status == "unsupported":
        return _Row(outcome.case, _NOT_FOR_IT, "no platform of ours")
    if outcome.status == "agree":
        return _Row(outcome.case, _AGREE, "")
    verdict = next((one for one in outcome.differences if one.what == "verdict"), None)
    said = "; ".join(f"{one.what}: {one.actual}, not {one.expected}" for one in outcome.differences)
    if any(one.what == "error" for one in outcome.differences) or outcome.status == "unreadable":
        return _Row(outcome.case, _CRASHES, said or outcome.why)
    if verdict is None:
        return _Row(outcome.case, _STATUS, said)
    return _Row(outcome.case, _ACCEPTS if verdict.actual == "pass" else _REFUSES, outcome.why or said)


# ── The page ─────────────────────────────────────────────────────────────────────────────────────────


class _Table(NamedTuple):
    """The rows of one peer on one kind of evidence."""

    peer: str
    version: str
    platform: str
    rows: list[_Row]


def _tables(vectors: Path, folder: Path, missing: list[str]) -> Iterator[_Table]:
    cases = _cases(vectors)
    for platform, rows in _ours(vectors):
        yield _Table("Nacre", importlib.metadata.version("nacre"), platform, rows)
    for peer in PEERS:
        built = peer.build(folder)
        if built is None:
            missing.append(peer.name)
            continue
        for platform in sorted(peer.platforms):
            print(f"{peer.name} {built.version}, {platform}: {len(cases[platform])} cases", file=sys.stderr)
            questions = [encode_request(case) for case in cases[platform]]
            with concurrent.futures.ThreadPoolExecutor(2) as pool:
                answers = list(pool.map(functools.partial(_ask, built.command), questions))
            rows = [_judge(peer, case, *said) for case, said in zip(cases[platform], answers, strict=True)]
            yield _Table(peer.name, built.version, platform, rows)


def _page(tables: list[_Table], missing: list[str], day: str, own: frozenset[str]) -> Iterator[str]:
    yield "<!-- Written by `python -m docs.peers`; do not edit. -->"
    yield "# What other verifiers answer"
    yield (
        f"Every peer that could be run here, over every test vector that it can be asked, on {day}. What is "
        "right was settled by Intel's own library for SGX and TDX and by independent checks for the rest: "
        "see [Conformance](../guides/conformance.md). A case marked † is not in this repository, since its "
        "licence does not let us pass it on or its folder was left out for size."
    )
    yield (
        "Read it with care. The vectors were made by people who looked for mistakes, several of them for "
        "those of these very peers; they are no sample of what a verifier meets. An older or newer version "
        "may answer otherwise."
    )
    yield _legend()
    head = ["peer", "version", "evidence", "cases", *_COLUMNS]
    lines = [f"| {' | '.join(head)} |", "| --- | --- | --- |" + " ---: |" * (len(_COLUMNS) + 1)]
    for table in tables:
        counts = Counter(row.outcome for row in table.rows)
        cells = [table.peer, table.version, table.platform, str(len(table.rows))]
        cells += [str(counts[column] or "") for column in _COLUMNS]
        lines.append(f"| {' | '.join(cells)} |")
    yield "\n".join(lines)
    if missing:
        yield f"Not run, because its tools were not at hand: {', '.join(missing)}."
    about = {peer.name: peer.about for peer in PEERS}
    for table in tables:
        yield from _section(table, about.get(table.peer, "Through `nacre conformance run`."), own)


def _legend() -> str:
    return "\n".join(
        (
            "| column | means |",
            "| --- | --- |",
            f"| {_AGREE} | the expected verdict, status and advisories, perhaps for another reason |",
            f"| {_ACCEPTS} | accepts what is forged, stale, revoked, malformed or of another platform |",
            f"| {_REFUSES} | refuses what is good |",
            f"| {_STATUS} | the right verdict with another TCB status or other advisories |",
            f"| {_CRASHES} | ends without an answer: a panic, an exception, no end |",
            f"| {_STRICTER} | refuses every TCB status but UpToDate, by design |",
            f"| {_CALLER} | accepts what the profile's policy refuses and has no option for it |",
            f"| {_LACKS} | refuses, as it may, what the vectors call optional |",
            f"| {_NOT_FOR_IT} | says that it is not meant for this case, or takes no other root |",
        )
    )


def _section(table: _Table, about: str, own: frozenset[str]) -> Iterator[str]:
    yield f"## {table.peer}: {table.platform}"
    yield about
    told = [row for row in table.rows if row.outcome not in (_AGREE, _NOT_FOR_IT)]
    if not told:
        yield "No disagreement."
        return
    lines = ["| case | what it did | why it should not, or what it said |", "| --- | --- | --- |"]
    order = {column: place for place, column in enumerate(_COLUMNS)}
    for row in sorted(told, key=lambda row: (order[row.outcome], row.case)):
        mark = "" if row.case in own else " †"
        lines.append(f"| `{row.case}`{mark} | {row.outcome} | {_cell(row.why)} |")
    yield "\n".join(lines)


def _cell(text: str) -> str:
    """Show foreign words in one line: printable, bounded, no Markdown."""
    line = " ".join(re.sub(r"[^\x20-\x7e]", " ", text).split())
    line = re.sub(r"([\\|`*_<>\[\]])", r"\\\1", line)
    return line if len(line) <= _WIDEST else line[: _WIDEST - 1].rstrip("\\ ") + "…"


def main() -> int:
    """Run the peers and write the page."""
    parser = argparse.ArgumentParser(description="Write docs/reference/peers.md.")
    parser.add_argument(
        "--vectors", type=Path, default=_SHARED if _SHARED.is_dir() else _OWN, help="folder of the cases"
    )
    vectors = parser.parse_args().vectors
    own = frozenset(path.parent.name for path in _OWN.glob("*/*/case.json"))
    missing: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        tables = list(_tables(vectors, Path(folder), missing))
    day = dt.datetime.now(dt.UTC).date().isoformat()
    _PAGE.write_text("\n\n".join(_page(tables, missing, day, own)) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
