# SPDX-License-Identifier: Apache-2.0
"""The rules of the house (design, §6) that no linter knows."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[1]
_MODULES = sorted((_ROOT / "src").rglob("*.py"))
_PYTHON = sorted(
    path
    for folder in ("src", "tests", "benchmarks", "docs", "examples")
    for path in (_ROOT / folder).rglob("*.py")
)

_MODULE_LINES = 400
_FUNCTION_LINES = 50
_SHAPELESS = re.compile(r"(?:^|_)(?:utils?|helpers?|common|managers?|misc)(?:_|$)")

# The trusted core and all that it may import beyond itself.
_CORE = ("checks.py", "errors.py", "reasons.py", "trust", "platforms", "appraisal")
_OUTSIDE_CORE = {"device.py", "devices.py", "tsm.py", "simulate.py", "measure.py"}
_CORE_IMPORTS = {
    *("base64", "binascii", "bisect", "collections", "contextlib", "datetime", "enum", "functools"),
    *("hashlib", "hmac", "importlib", "itertools", "json", "math", "operator", "pathlib", "re", "string"),
    *("struct", "tomllib", "types", "typing", "zlib"),
    *("cryptography", "msgspec", "nacre"),
}
# nacre[fast], where it is installed
_CORE_OPTIONAL = {"awscrt": {"trust/keys.py"}}


def _named(path: Path) -> str:
    return path.relative_to(_ROOT).as_posix()


def _imports(tree: ast.AST) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").partition(".")[0])
    return names


@pytest.mark.parametrize("path", _PYTHON, ids=_named)
def test_licence_comes_first(path: Path) -> None:
    lines = path.read_text().splitlines()
    first = lines[1] if lines[0].startswith("#!") else lines[0]
    assert first == "# SPDX-License-Identifier: Apache-2.0"


@pytest.mark.parametrize("path", _MODULES, ids=_named)
def test_modules_stay_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= _MODULE_LINES


def _lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count a function's lines, its documentation aside."""
    words = function.body[0] if ast.get_docstring(function, clean=False) is not None else None
    told = (words.end_lineno or 0) - words.lineno + 1 if words is not None else 0
    return (function.end_lineno or 0) - function.lineno + 1 - told


@pytest.mark.parametrize("path", _MODULES, ids=_named)
def test_functions_stay_short(path: Path) -> None:
    lengths = {
        node.name: _lines(node)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {name: lines for name, lines in lengths.items() if lines > _FUNCTION_LINES} == {}


@pytest.mark.parametrize("path", _MODULES, ids=_named)
def test_names_say_something(path: Path) -> None:
    assert not _SHAPELESS.search(path.stem)
    assert not _SHAPELESS.search(path.parent.name)


@pytest.mark.parametrize("path", _MODULES, ids=_named)
def test_modules_say_what_is_public(path: Path) -> None:
    tree = ast.parse(path.read_text())
    public = [
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
    ]
    states_it = any(
        isinstance(node, ast.Assign)
        and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets)
        for node in tree.body
    )
    assert states_it or not public or path.stem.startswith("_")


@pytest.mark.parametrize("path", _MODULES, ids=_named)
def test_core_imports_two_libraries_only(path: Path) -> None:
    inside = path.relative_to(_ROOT / "src" / "nacre")
    if inside.parts[0] not in _CORE or path.name in _OUTSIDE_CORE:
        return
    optional = {name for name, where in _CORE_OPTIONAL.items() if inside.as_posix() in where}
    assert _imports(ast.parse(path.read_text())) <= _CORE_IMPORTS | optional


def _tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=_ROOT, capture_output=True, check=True, text=True)  # noqa: S607
    return [_ROOT / name for name in listed.stdout.split("\0") if name]


def test_no_tracked_file_names_a_machine() -> None:
    # Assembled, so that this file does not name one either.
    places = re.compile(rb"(?<![\w./-])/(?:" + b"|".join((b"work", b"root", b"home", b"Users")) + rb")/")
    leaks = [
        f"{_named(path)}: {match.group().decode()}"
        for path in _tracked()
        if path.is_file() and b"\0" not in (data := path.read_bytes())
        for match in places.finditer(data)
    ]
    assert not leaks


def test_no_unfinished_business() -> None:
    words = re.compile("|".join(("TO" + "DO", "FIX" + "ME", "X" + "XX", "NotImplemented" + "Error")))
    unfinished = [
        f"{_named(path)}:{number}"
        for path in _PYTHON
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if words.search(line)
    ]
    assert not unfinished
