# SPDX-License-Identifier: Apache-2.0
"""SEV-SNP reports, against the bare signatures and against others' verifiers.

Run once for each engine, since a process has one: ``--engine OpenSSL`` makes as if awscrt were not there.

Four signatures stand behind a report: its own (ECDSA P-384) and, by RSA-4096, those of the VCEK, the ASK and
the revocation list; the ARK is pinned. Once the VCEK is known, one is left. The bare calls verify the very
same messages with the same keys, loaded before the clock starts, through the library that Nacre itself uses.

The others do what they do: ``go-sev-guest`` with revocation checks on, which are of the ASK alone, and a
guest policy; ``tinfoil`` looks at no revocation list; ``secretvm-verify`` reads what AMD signed from its
cache on disk each time, which it cannot do without. None of them remembers anything. Go is a program of its
own that says how much processor time it spent. Whoever is missing is left out, with a word on stderr.
"""

import base64
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks import cases
from benchmarks.bare import bare, bare_pss
from benchmarks.rounds import Budget, Contender, Measured, Row, microseconds, race, ratio, serve

from nacre import platforms
from nacre.appraisal.result import Result
from nacre.appraisal.verdict import Verdict
from nacre.endorsers.verifier import Verifier
from nacre.platforms.base import Endorsements
from nacre.platforms.snp.evidence import SnpEvidence
from nacre.platforms.snp.report import SIGNED_SIZE
from nacre.trust import keys, pem
from nacre.trust.anchors import vendor_anchor
from nacre.trust.crl import parse_crl
from nacre.trust.keys import P384_SHA384, raw_signature
from nacre.trust.x509 import anchor_certificate, parse_certificate

QUICK = Budget(rounds=6, pieces=0, processes=0)
FULL = Budget(rounds=60, pieces=0, processes=0)

_SECTION = "SEV-SNP"
_GO = Path(__file__).parent / "peers" / "go-sev-guest"
_LINE = "Genoa"
_LIFE = 365 * 86400


class _Bench:
    """The recorded report and the ways of verifying it."""

    def __init__(self) -> None:
        self.recorded = cases.snp()
        evidence = platforms.get("snp").parse(self.recorded.evidence)
        assert isinstance(evidence, SnpEvidence)
        self.report = evidence.report

    def cold(self) -> Result:
        # As a process begins: nothing parsed, nothing remembered.
        return self._appraise(self._verifier())

    def warm(self) -> Callable[[], Result]:
        verifier = self._verifier()
        return lambda: self._appraise(verifier)

    def bare(self) -> tuple[Callable[[], None], Callable[[], None]]:
        """Return the bare verification of all four signatures, and of the report's alone."""
        documents, report = self.recorded.documents, self.report
        vek, ask, crl = (
            parse_certificate(documents["vek"]),
            parse_certificate(documents["ask"]),
            parse_crl(documents["crl"]),
        )
        ark = anchor_certificate(vendor_anchor(f"amd-ark-{_LINE.lower()}"))
        above = bare_pss(
            (ark.spki, ask.signature, ask.tbs),
            (ask.spki, vek.signature, vek.tbs),
            (ark.spki, crl.signature, crl.tbs),
        )
        signature = raw_signature(report.r[47::-1] + report.s[47::-1], P384_SHA384)
        own = bare(P384_SHA384, (vek.spki, signature, self.recorded.evidence[:SIGNED_SIZE]))

        def everything() -> None:
            above()
            own()

        return everything, own

    def _verifier(self) -> Verifier:
        return Verifier(self.recorded.policy, endorsements=Endorsements(self.recorded.documents))

    def _appraise(self, verifier: Verifier) -> Result:
        return verifier.appraise(self.recorded.evidence, binding=self.recorded.binding, at=self.recorded.at)


class _Go:
    """go-sev-guest in a process of its own."""

    def __init__(self, program: Path) -> None:
        self._process = subprocess.Popen(
            [program, cases.SNP], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.timed(1)

    def timed(self, calls: int) -> float:
        """Verify so many times; return the seconds that took there."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{calls}\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def run(self) -> None:
        """Verify once."""
        self.timed(1)

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def _peers(bench: _Bench, folder: Path, stack: contextlib.ExitStack) -> Iterator[tuple[Contender, str]]:
    """Yield whoever is there, with its version."""
    for name, make in (("go-sev-guest", _go), ("tinfoil", _tinfoil), ("secretvm-verify", _secretvm)):
        try:
            yield make(bench, folder, stack)
        except (PackageNotFoundError, ImportError, OSError, subprocess.CalledProcessError) as error:
            said = getattr(error, "stderr", "") or str(error)
            sys.stderr.write(f"{name} is left out: {said}\n")


def _go(_bench: _Bench, folder: Path, stack: contextlib.ExitStack) -> tuple[Contender, str]:
    go = shutil.which("go")
    if go is None:
        raise ImportError("Go is not installed")
    program = folder / "go-sev-guest"
    _run([go, "build", "-o", str(program), "."])
    found = _run([go, "list", "-m", "-f", "{{.Version}}", "github.com/google/go-sev-guest"])
    peer = _Go(program)
    stack.callback(peer.close)
    return Contender("go-sev-guest", peer.run, timed=peer.timed), found.strip()


def _run(command: list[str]) -> str:
    return subprocess.run(command, cwd=_GO, check=True, capture_output=True, text=True).stdout


def _tinfoil(bench: _Bench, _folder: Path, _stack: contextlib.ExitStack) -> tuple[Contender, str]:
    found = version("tinfoil")
    from tinfoil.attestation.attestation_sev import verify_sev_report
    from tinfoil.attestation.validate_sev import ValidationOptions

    encoded = base64.b64encode(bench.recorded.evidence).decode()
    vcek = bench.recorded.documents["vek"]
    options = ValidationOptions()

    def verify() -> object:
        return verify_sev_report(encoded, is_compressed=False, vcek_der=vcek, validation_options=options)

    verify()
    return Contender("tinfoil", verify), found


def _secretvm(bench: _Bench, folder: Path, _stack: contextlib.ExitStack) -> tuple[Contender, str]:
    found = version("secretvm-verify")
    warnings.simplefilter("ignore")  # at each VCEK, for its serial number 0
    os.environ["SECRETVM_VERIFY_CACHE_DIR"] = str(folder)
    from secretvm.verify import _kds_cache, amd

    documents, report = bench.recorded.documents, amd._amd_parse_report(bench.recorded.evidence)
    ark = anchor_certificate(vendor_anchor(f"amd-ark-{_LINE.lower()}")).der
    chain = b"\n".join(pem.armour(der) for der in (documents["ask"], ark)) + b"\n"
    key = amd._vcek_cache_key(_LINE, report["chip_id"], report["reported_tcb"])
    for kind, name, data in (
        ("vcek", key, documents["vek"]),
        ("cert_chain", _LINE, chain),
        ("crl", _LINE, documents["crl"]),
    ):
        _kds_cache.put(kind, name, data, _LIFE)
    text = bench.recorded.evidence.hex()

    def verify() -> object:
        return amd.check_sev_cpu_attestation(text, product=_LINE)

    result = amd.check_sev_cpu_attestation(text, product=_LINE)
    assert result.valid, result.errors
    return Contender("secretvm-verify", verify), found


def measure(budget: Budget) -> Measured:
    """Race with the engine that this process has."""
    bench = _Bench()
    warm = bench.warm()
    for appraise in (bench.cold, warm):
        result = appraise()
        assert result.verdict is Verdict.VERIFIED, result.problems()
    all_four, own = bench.bare()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        peers = list(_peers(bench, Path(folder), stack))
        times = race(
            [
                *[contender for contender, _ in peers],
                Contender("cold", bench.cold),
                Contender("warm", warm),
                Contender("bare, four", all_four),
                Contender("bare, one", own),
            ],
            rounds=budget.rounds,
        )
    engine = keys.engine()
    # The floors are OpenSSL's; the others are there for information.
    goal = 1.2 if engine == "OpenSSL" else None

    def row(what: str, above: str, below: str, goal: float | None = None, *, at_least: bool = True) -> Row:
        return Row.of(_SECTION, engine, what, ratio(times, above, below), goal=goal, at_least=at_least)

    rows = [
        row("cold, to its four signatures alone", "cold", "bare, four", goal, at_least=False),
        row("VCEK known, to its one signature alone", "warm", "bare, one", goal, at_least=False),
    ]
    for contender, _ in peers:
        rows.append(row(f"cold, speed against {contender.name}", contender.name, "cold"))
        rows.append(row(f"VCEK known, speed against {contender.name}", contender.name, "warm"))
    facts = {contender.name: found for contender, found in peers}
    return Measured(rows, microseconds(f"SEV-SNP, {engine}", times), facts)


if __name__ == "__main__":
    serve(measure, QUICK, FULL)
