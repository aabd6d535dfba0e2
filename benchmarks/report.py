# SPDX-License-Identifier: Apache-2.0
"""The tables: for the terminal, for ``RESULTS.md`` and as JSON."""

import os
import platform
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
from benchmarks.rounds import Row

__all__ = ["Comparison", "Line", "Report", "machine", "markdown", "tables", "write"]

_HERE = Path(__file__).parent
_RESULTS = ("RESULTS.md", "RESULTS.json")


class Report(msgspec.Struct, frozen=True):
    """Everything that one run found.

    Attributes:
        quick: Whether it was the short run, which proves that the benchmarks run and little else.
        machine: What it ran on.
        rows: What was compared.
        microseconds: What the ratios were made of, for information: they hold on this machine, on that day.
    """

    quick: bool
    machine: Mapping[str, str]
    rows: Sequence[Row]
    microseconds: Mapping[str, float]


class Line(NamedTuple):
    """One comparison.

    Attributes:
        what: What was compared.
        cells: What came out, by the table's cases.
        missed: Which of them missed the goal.
        goal: The goal, empty if there is none.
    """

    what: str
    cells: tuple[str, ...]
    missed: tuple[bool, ...]
    goal: str


class Comparison(NamedTuple):
    """One table."""

    section: str
    cases: tuple[str, ...]
    lines: list[Line]


def machine() -> dict[str, str]:
    """Say what matters about the machine and the programs."""
    from cryptography import __version__ as cryptography
    from cryptography.hazmat.backends.openssl.backend import backend

    load = os.getloadavg()[0]
    return {
        "processor": f"{os.cpu_count()} cores, {_processor()}",
        "load": f"{load:.1f} when the run began",
        "Python": f"{platform.python_version()} ({_build()})",
        "OpenSSL": f"{backend.openssl_version_text()} in cryptography {cryptography}",
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next(
        (line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine()
    )


def _build() -> str:
    """Tell how the interpreter was built: it weighs a tenth on everything that is not cryptography."""
    words = sysconfig.get_config_var("PY_CORE_CFLAGS") or ""
    profiled = any(word.startswith(("-fprofile-use", "-fprofile-instr-use")) for word in words.split())
    return "optimised by profile" if profiled else "built without profile optimisation"


def tables(report: Report) -> Iterator[Comparison]:
    """Yield a table per section: comparisons down, evidence across."""
    for section in dict.fromkeys(row.section for row in report.rows):
        rows = [row for row in report.rows if row.section == section]
        cases = tuple(dict.fromkeys(row.case for row in rows))
        lines = []
        for what in dict.fromkeys(row.what for row in rows):
            found = {row.case: row for row in rows if row.what == what}
            goals = [_goal(row) for row in found.values() if row.goal is not None]
            cells = tuple(_cell(found.get(case)) for case in cases)
            missed = tuple(case in found and found[case].met is False for case in cases)
            lines.append(Line(what, cells, missed, goals[0] if goals else ""))
        yield Comparison(section, cases, lines)


def _cell(row: Row | None) -> str:
    if row is None:
        return ""
    least, greatest = _number(row.least, row.unit), _number(row.greatest, row.unit)
    return f"{_number(row.value, row.unit)}{_sign(row)} ({least}–{greatest})"


def _goal(row: Row) -> str:
    return f"{'≥' if row.at_least else '≤'} {_number(row.goal or 0, row.unit)}{_sign(row)}"


def _sign(row: Row) -> str:
    """Only ratios carry their unit; that of other numbers stands with what they are of."""
    return row.unit if row.unit == "x" else ""


def _number(value: float, unit: str) -> str:
    return f"{value:.{3 if unit == 's' else 1 if value >= 10 else 2}f}"


def markdown(report: Report) -> str:
    """Write the whole report as Markdown; what missed its goal is bold."""
    text = [
        "# Benchmarks",
        "",
        "Written by `make bench`; how each is measured stands in `benchmarks/*.py`. Results are medians over",
        "the rounds of one run, the least and the greatest beside them; ratios are taken within one round.",
        "Other machines give other times and much the same ratios.",
        "",
        *(f"- {name}: {value}" for name, value in report.machine.items()),
    ]
    for table in tables(report):
        columns = (table.section, *table.cases, "goal")
        text += ["", "| " + " | ".join(columns) + " |", "| --- |" + " ---: |" * (len(columns) - 1)]
        for line in table.lines:
            cells = [
                f"**{cell}**" if missed else cell
                for cell, missed in zip(line.cells, line.missed, strict=True)
            ]
            text.append("| " + " | ".join((line.what, *cells, line.goal)) + " |")
    return "\n".join(text) + "\n"


def write(report: Report) -> None:
    """Write ``RESULTS.md`` and ``RESULTS.json`` beside this file."""
    data = msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n"
    for name, content in zip(_RESULTS, (markdown(report).encode(), data), strict=True):
        (_HERE / name).write_bytes(content)
