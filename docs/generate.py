#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Write the pages of docs/reference from the code they describe; ``--check`` only compares.

Where the README shows a ``nacre`` command with its output, the command is run and the output put there;
of ``benchmarks/RESULTS.md`` it has a few rows, and how many goals were missed.

What could not be tried here is written where it is: a docstring section ``Not proven here:`` of the
module, class or function concerned. All of them together are the page ``not-proven.md``.
"""

import argparse
import ast
import difflib
import inspect
import os
import re
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path

import click

import nacre
from nacre import platforms, reasons
from nacre.appraisal import schema
from nacre.appraisal.purposes import PURPOSES
from nacre.appraisal.release import register_key
from nacre.appraisal.result import NOT_PROVEN
from nacre.appraisal.systems import layouts
from nacre.cli.exits import Exit
from nacre.cli.group import root
from nacre.testing import capabilities

_DOCS = Path(__file__).parent
_REFERENCE = _DOCS / "reference"
_ROOT = _DOCS.parent
_SOURCE = _ROOT / "src"
_WIDTH = 100
_NOTE = "<!-- Written by docs/generate.py (`make docs`) from the code; do not edit. -->"
_BLOCK = r":\n((?:[ \t]+.*(?:\n|$)|\n)+)"
_LISTS = re.compile(rf"^(Args|Attributes|Raises|Returns|Yields|Not proven here){_BLOCK}", re.MULTILINE)
_LITERAL = re.compile(r"^::\n\n((?:    .*\n|\n)+)", re.MULTILINE)
_RESULTS = re.compile(r"(<!-- benchmarks/RESULTS.md -->\n).*(<!-- end -->)", re.DOTALL)
_SECTION = re.compile(rf"^Not proven here{_BLOCK}", re.MULTILINE)
_CONSOLE = re.compile(r"^```console\n(?=\$ nacre )(.*?)^```$", re.MULTILINE | re.DOTALL)
_PLACEHOLDER = re.compile(r"\{(\w+)(?::\w+)?\}")

#: The rows that the README has, of any table.
_HEADLINES = (
    "cold, speed against dcap-qvl",
    "platform known, speed against dcap-qvl",
    "cold, speed against epsilon-attestation-verifier",
    "signer known, speed against epsilon-attestation-verifier",
    "cold, speed against go-sev-guest",
    "VCEK known, speed against go-sev-guest",
    "whole process, wall, s",
    "first verified evidence, s",
    "written and measured, to bare SHA-384",
    "firmware known, speed against sev-snp-measure",
)
#: The same rows once more, with another library.
_LEFT_OUT = "| SGX and TDX, AWS-LC |"

_Page = Callable[[], Iterator[str]]


def _cell(text: str) -> str:
    return _PLACEHOLDER.sub(r"*\1*", text).replace("|", "\\|")


def _codes() -> Iterator[str]:
    yield "# Reason codes"
    yield (
        "Why a check or a call ended as it did. Codes are stable: programs may compare them; the words may "
        "improve. *Slanted* words stand for values of the case at hand. `nacre explain CODE` shows one entry."
    )
    for code, reason in sorted(reasons.reasons().items()):
        yield f"## {code}"
        yield f"{_cell(reason.text)}."
        if reason.hint:
            yield f"**Hint:** {_cell(reason.hint)}."
        if reason.spec:
            yield f"**Demanded by:** {reason.spec}."


def _checks() -> Iterator[str]:
    yield "# Checks"
    yield (
        "What is tested, one line each. A check is `pass`, `warn`, `fail`, `skipped`, `waived`, "
        "`not-applicable` or `error`; how these make a verdict is told in "
        "[Verdicts](../concepts/verdicts.md). The claim is the entry of the AR4SI trustworthiness vector "
        "that the check informs."
    )
    lines = [
        "| check | what it tests | when it passes | claim | demanded by |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| `{check}` | {words.title} | {_cell(words.passes)} | {words.claim} | {words.spec} |"
        for check, words in sorted(reasons.checks().items())
    ]
    yield "\n".join(lines)


def _platforms() -> Iterator[str]:
    yield "# Platforms"
    yield (
        "What each platform calls its registers in a release, which endorsements it needs, and the checks "
        "without which no verdict is complete. A register marked `value` has to have its value in a "
        'release; `stated` means a value or `"any"`; `optional` ones may be left out. Where there are '
        "alternatives, a release has to state every register of at least one."
    )
    for name in platforms.builtin_names():
        platform = platforms.get(name)
        yield f"## {platform.title} (`{name}`)"
        rows = [
            "| register | bytes | kind | in a release | alternative |",
            "| --- | ---: | --- | --- | --- |",
        ]
        rows += [
            f"| `{register_key(register)}` | {register.size} | {register.kind} | {register.required} "
            f"| {register.alternative or ''} |"
            for register in platform.registers
        ]
        yield "\n".join(rows)
        yield "**Endorsements:** " + (", ".join(f"`{role}`" for role in platform.roles) or "none") + "."
        yield "**Required checks:** " + ", ".join(f"`{check}`" for check in platform.required) + "."
        yield "**About the machine itself:** " + ", ".join(f"`{check}`" for check in platform.physical) + "."
        yield f"**Never proven:** {platform.not_proven}."
        yield f"**Policy, table `[{name}]`:**"
        yield _attributes(platform.policy)


def _attributes(kind: type) -> str:
    """Show the attributes that a record and the records it extends document."""
    blocks = [
        match[2]
        for owner in kind.__mro__
        for match in _LISTS.finditer(_plain(vars(owner).get("__doc__") or "") + "\n")
        if match[1] == "Attributes"
    ]
    return "\n".join(_items(block) for block in blocks)


def _bindings() -> Iterator[str]:
    yield "# Bindings"
    yield (
        "What evidence can be bound to; [Bindings](../concepts/bindings.md) tells why. For our own purposes "
        "the field holds"
    )
    yield (
        "```text\n"
        'digest(purpose, parts…) = SHA-512( "nacre/v1/" purpose ‖ 00 ‖ LV(part 1) ‖ LV(part 2) … )\n'
        "LV(x)                   = length of x as 4 bytes, big-endian ‖ x\n"
        "```"
    )
    yield "A missing optional part is the empty string; a nonce is exactly 32 bytes."
    rows = ["| purpose | parts, in order | alone it leaves open |", "| --- | --- | --- |"]
    rows += [
        f"| `{purpose.name}` | {', '.join(purpose.parts)} | {', '.join(purpose.unprotected) or 'nothing'} |"
        for purpose in PURPOSES.values()
    ]
    yield "\n".join(rows)
    yield "How each part is made is told at the method of [`Binding`](api.md) that bears the purpose's name."
    yield "## Layouts of other systems"
    rows = ["| layout | parts | leaves open | described in |", "| --- | --- | --- | --- |"]
    rows += [
        f"| `{layout.name}` | {', '.join(layout.parts)} | {', '.join(layout.unprotected)} | {layout.source} |"
        for layout in layouts()
    ]
    yield "\n".join(rows)


def _cli() -> Iterator[str]:
    yield "# The command `nacre`"
    yield "| exit status | meaning |\n| ---: | --- |\n" + "\n".join(
        f"| {status.value} | {status.name.lower().replace('_', ' ')} |" for status in sorted(Exit)
    )
    yield from _command(root, root.make_context("nacre", [], resilient_parsing=True, terminal_width=_WIDTH))


def _command(command: click.Command, context: click.Context) -> Iterator[str]:
    yield f"## {context.command_path}"
    yield f"```text\n{command.get_help(context).rstrip()}\n```"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None and not below.hidden:
                yield from _command(
                    below, below.make_context(name, [], parent=context, resilient_parsing=True)
                )


def _api() -> Iterator[str]:
    yield "# The Python API"
    yield _docstring(nacre)
    for name in sorted(nacre.__all__, key=str.lower):
        value = getattr(nacre, name)
        if inspect.isclass(value):
            yield from _class(name, value)
        elif inspect.isroutine(value):
            yield f"## {name}"
            yield f"```text\n{_signature(name, value)}\n```"
            yield _docstring(value)


def _class(name: str, kind: type) -> Iterator[str]:
    bases = [base.__name__ for base in kind.__bases__ if base is not object and base.__name__ != "Struct"]
    yield f"## {name}"
    if bases:
        yield f"A kind of `{', '.join(bases)}`."
    yield _docstring(kind)
    if issubclass(kind, Enum):
        yield "\n".join(f"- `{member.value}`" for member in kind)
        return
    for attribute, value in vars(kind).items():
        function = value.__func__ if isinstance(value, classmethod | staticmethod) else value
        if attribute == "__init__" and inspect.isfunction(value):
            yield f"```text\n{_signature(name, value)}\n```"
            yield _docstring(value)
        elif not attribute.startswith("_") and isinstance(value, property):
            yield f"### {name}.{attribute}"
            yield _docstring(value)
        elif not attribute.startswith("_") and inspect.isfunction(function):
            yield f"### {name}.{attribute}"
            yield f"```text\n{_signature(f'{name}.{attribute}', function)}\n```"
            yield _docstring(value)


def _signature(name: str, function: Callable[..., object]) -> str:
    """Write a signature as the formatter would, each parameter in its line where one line is too short."""
    signature = inspect.signature(function)
    kept = [item for item in signature.parameters.values() if item.name not in {"self", "cls"}]
    line = _unquoted(f"{name}{signature.replace(parameters=kept)}")
    if len(line) <= _WIDTH:
        return line
    inside = _unquoted(str(signature.replace(parameters=kept, return_annotation=inspect.Signature.empty)))
    end = line[len(name) + len(inside) :]
    parameters = re.split(r", (?=(?:\*|\w+:|/))", inside[1:-1])
    return "\n".join([f"{name}(", *(f"    {parameter}," for parameter in parameters), f"){end}"])


def _unquoted(text: str) -> str:
    """Write annotations without quotes and modules, functions without their place in memory."""
    text = re.sub(r"'([A-Z][\w |\[\]]*)'", r"\1", text)
    text = re.sub(r"<function (\w+) at \w+>", r"\1", text)
    return re.sub(r"\b(?:\w+\.)+(?=[A-Z])", "", text)


def _docstring(value: object) -> str:
    """Show a Google docstring as Markdown: its sections become lists."""
    text = _plain(inspect.getdoc(value) or "")
    text = _LISTS.sub(lambda match: f"**{match[1]}:**\n\n{_items(match[2])}\n\n", text)
    return _LITERAL.sub(lambda match: f"```python\n{inspect.cleandoc(match[1])}\n```\n\n", text).rstrip()


def _plain(docstring: str) -> str:
    """Turn reStructuredText roles and literals into Markdown."""
    text = inspect.cleandoc(docstring).replace("``", "`")
    return re.sub(r":\w+:`~?(?:\w+\.)*(\w+)`", r"`\1`", text)


def _items(block: str) -> str:
    entries = re.split(r"\n(?=\S)", textwrap.dedent(block).strip("\n"))
    return "\n".join("- " + re.sub(r"^([\w*]+):", r"`\1`:", " ".join(entry.split())) for entry in entries)


def _not_proven() -> Iterator[str]:
    yield "# Not proven here"
    yield (
        "What the tests of this project could not try, told where it is and gathered here: hardware, live "
        "services, production setups. The rest was tried: see the tests."
    )
    yield f"No evidence of any platform shows {NOT_PROVEN}."
    for path in sorted(_SOURCE.rglob("*.py")):
        for where, text in _admissions(path):
            yield f"- `{where}`: {text}"


def _admissions(path: Path) -> Iterator[tuple[str, str]]:
    module = ".".join(path.relative_to(_SOURCE).with_suffix("").parts).removesuffix(".__init__")
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        match = _SECTION.search((ast.get_docstring(node) or "") + "\n")
        if match:
            where = module if isinstance(node, ast.Module) else f"{module}.{node.name}"
            yield where, " ".join(match[1].split())


def _transcript(match: re.Match[str]) -> str:
    """Run the commands of a console block in the checkout, as a reader would, and show what they say."""
    shown = []
    for line in match[1].splitlines():
        if not line.startswith("$ "):
            continue
        words = shlex.split(line.removeprefix("$ "), comments=True)
        ran = subprocess.run(
            [sys.executable, "-m", *words],
            cwd=_ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            text=True,
            encoding="utf-8",
            env=os.environ | {"NO_COLOR": "1", "PYTHONUTF8": "1"},
        )
        shown += [line, *ran.stdout.rstrip().splitlines(), ""]
    shown.pop()
    return "```console\n" + "\n".join(shown) + "\n```"


_PAGES: dict[str, _Page] = {
    "api.md": _api,
    "bindings.md": _bindings,
    "checks.md": _checks,
    "cli.md": _cli,
    "codes.md": _codes,
    "not-proven.md": _not_proven,
    "platforms.md": _platforms,
}


def _texts() -> Iterator[tuple[Path, str]]:
    for name, page in _PAGES.items():
        yield _REFERENCE / name, "\n\n".join([_NOTE, *(part for part in page() if part)]) + "\n"
    for name, make in (*schema.SCHEMAS.items(), *capabilities.SCHEMAS.items()):
        yield _REFERENCE / name, schema.encode(make())
    readme = _ROOT / "README.md"
    text = _CONSOLE.sub(_transcript, readme.read_text(encoding="utf-8"))
    results = _ROOT / "benchmarks" / "RESULTS.md"
    if results.exists():
        shown = "\n".join(_headlines(results.read_text(encoding="utf-8")))
        text = _RESULTS.sub(lambda match: f"{match[1]}\n{shown}\n\n{match[2]}", text)
    yield readme, text


def _headlines(results: str) -> Iterator[str]:
    """Return some rows of the benchmarks' tables, each table with its head, and a word on all of them."""
    for table in re.findall(r"(?:^\|.*\n)+", results, re.MULTILINE):
        head, line, *rows = table.splitlines()
        kept = [row for row in rows if row.split("|")[1].strip() in _HEADLINES]
        if kept and not head.startswith(_LEFT_OUT):
            yield from (head, line, *kept, "")
    rows = re.findall(r"^\| .*[≤≥] .*\|$", results, re.MULTILINE)
    missed = sum("**" in row for row in rows)
    yield f"Of {len(rows)} rows that have a goal {missed} miss it: [all of them](benchmarks/RESULTS.md)."


def main() -> int:
    """Write or compare every page; 1 if one of them was out of date."""
    parser = argparse.ArgumentParser(description="Write the generated pages of docs/reference.")
    parser.add_argument("--check", action="store_true", help="compare only")
    check = parser.parse_args().check
    stale = False
    for path, text in _texts():
        name = str(path.relative_to(_ROOT))
        old = path.read_text(encoding="utf-8") if path.exists() else ""
        if text == old:
            continue
        stale = True
        if check:
            lines = difflib.unified_diff(old.splitlines(), text.splitlines(), name, "code", lineterm="", n=1)
            print("\n".join(lines))
        else:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {name}")
    return int(check and stale)


if __name__ == "__main__":
    sys.exit(main())
