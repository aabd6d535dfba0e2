# SPDX-License-Identifier: Apache-2.0
"""Every benchmark: ``python -m benchmarks.run [--quick] [--json] [--only SECTION]``.

Prints the tables and, after a full run of everything, writes them to ``RESULTS.md`` and ``RESULTS.json``.
``--quick`` takes a minute or two and shows that all of it runs; its numbers prove little. Each section is a
process of its own, so that none meets the imports, the caches or the memory of another.

The exit status is 0 whether or not the goals were met: a busy machine is not a fault of the code.
"""

import argparse
import subprocess
import sys

import msgspec
from benchmarks import report
from benchmarks.cases import ROOT
from benchmarks.report import Report
from benchmarks.rounds import Measured
from rich.console import Console
from rich.table import Table
from rich.text import Text

_OPENSSL, _AWSLC = ("--engine", "OpenSSL"), ("--engine", "AWS-LC")
_SECTIONS = {
    "dcap": [["benchmarks.dcap", *_OPENSSL], ["benchmarks.dcap", *_AWSLC]],
    "nitro": [["benchmarks.nitro", *_OPENSSL], ["benchmarks.nitro", *_AWSLC]],
    "snp": [["benchmarks.snp", *_OPENSSL], ["benchmarks.snp", *_AWSLC]],
    "results": [["benchmarks.results", *_OPENSSL]],
    "reference": [["benchmarks.reference", *_OPENSSL]],
    "eif": [["benchmarks.eif"]],
    "snp_measure": [["benchmarks.snp_measure"]],
    "agent": [["benchmarks.agent"]],
    "boot": [["benchmarks.boot"]],
    "image": [["benchmarks.image"]],
    "startup": [["benchmarks.startup"]],
    "memory": [["benchmarks.memory", *_OPENSSL]],
}


def main() -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run")
    parser.add_argument("--quick", action="store_true", help="a minute or two; to see that it runs")
    parser.add_argument("--json", action="store_true", help="JSON on stdout instead of the table")
    parser.add_argument("--only", choices=_SECTIONS, action="append", help="one section; may be repeated")
    arguments = parser.parse_args()
    talk = Console(stderr=True)
    sections = arguments.only or list(_SECTIONS)
    machine = report.machine()
    found: list[Measured] = []
    for section in sections:
        for words in _SECTIONS[section]:
            with talk.status(f"measuring: {' '.join(words)}"):
                found.append(_measure([*words, *(["--quick"] if arguments.quick else [])]))
    whole = Report(
        arguments.quick,
        machine | {name: value for measured in found for name, value in measured.facts.items()},
        [row for measured in found for row in measured.rows],
        {name: value for measured in found for name, value in measured.microseconds.items()},
    )
    if arguments.json:
        sys.stdout.write(msgspec.json.encode(whole).decode() + "\n")
    else:
        _show(whole)
    if not arguments.quick and len(sections) == len(_SECTIONS):
        report.write(whole)
        talk.print("written to benchmarks/RESULTS.md and RESULTS.json")
    return 0


def _measure(words: list[str]) -> Measured:
    done = subprocess.run([sys.executable, "-m", *words], cwd=ROOT, stdout=subprocess.PIPE, check=True)
    return msgspec.json.decode(done.stdout, type=Measured)


def _show(whole: Report) -> None:
    console = Console()
    for name, value in whole.machine.items():
        console.print(f"{name}: {value}", highlight=False)
    for compared in report.tables(whole):
        table = Table(compared.section, *compared.cases, "goal", highlight=False)
        for line in compared.lines:
            cells = [
                Text(cell, style="red" if missed else "")
                for cell, missed in zip(line.cells, line.missed, strict=True)
            ]
            table.add_row(line.what, *cells, line.goal)
        console.print(table)


if __name__ == "__main__":
    sys.exit(main())
