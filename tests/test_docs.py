# SPDX-License-Identifier: Apache-2.0
"""The documentation tells the truth: pages match the code, links lead somewhere, snippets work."""

import ast
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

import nacre
from nacre import platforms
from nacre.appraisal.policy import Policy
from nacre.appraisal.release import Release, register_key
from nacre.cli.group import root

_ROOT = Path(__file__).parents[1]
_VECTORS = _ROOT / "tests" / "vectors"
_PAGES = [*sorted(_ROOT.glob("*.md")), *sorted((_ROOT / "docs").rglob("*.md"))]
_FENCE = re.compile(r"^```(\w*) ?(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)")


def _blocks(kind: str) -> list[object]:
    return [
        pytest.param(text, meaning, id=f"{page.relative_to(_ROOT)}-{number}")
        for page in _PAGES
        for number, (language, meaning, text) in enumerate(_FENCE.findall(page.read_text()))
        if language == kind
    ]


def _anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_generated_pages_match_the_code() -> None:
    program = [sys.executable, str(_ROOT / "docs" / "generate.py"), "--check"]
    checked = subprocess.run(program, capture_output=True, check=False, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr + "\nrun make docs"


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: str(page.relative_to(_ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in _LINK.findall(page.read_text()):
        target, _, anchor = link.partition("#")
        if target.startswith("https://"):
            continue
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), link
        assert not anchor or anchor in _anchors(path), link


@pytest.mark.parametrize(("text", "meaning"), _blocks("toml"))
def test_documents_can_be_used(text: str, meaning: str, tmp_path: Path) -> None:
    if meaning == "release":
        Release.parse(_filled_in(text))
        return
    for name in re.findall(r'"(\S+\.der)"', text):
        (tmp_path / name).write_bytes((_VECTORS / "nitro-synthetic" / "baseline" / "root.der").read_bytes())
    for name in re.findall(r'"(\S+\.toml)"', text):
        (tmp_path / name).write_text(_filled_in('id = "a"\n[[nitro]]\npcr0 = "…"\npcr1 = "…"\npcr2 = "…"\n'))
    Policy.parse(text, base=tmp_path)


def _filled_in(release: str) -> str:
    sizes = {
        register_key(register): register.size
        for name in platforms.builtin_names()
        for register in platforms.get(name).registers
    }
    return re.sub(r'(\w+) = "…"', lambda match: f'{match[1]} = "{"5a" * sizes[match[1]]}"', release)


@pytest.mark.parametrize(("text", "meaning"), _blocks("python"))
def test_snippets_use_what_is_there(text: str, meaning: str) -> None:
    assert not meaning
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "nacre":
            assert node.attr in nacre.__all__


@pytest.mark.parametrize(("text", "meaning"), _blocks("console"))
def test_commands_exist(text: str, meaning: str) -> None:
    assert not meaning
    for line in text.splitlines():
        words = shlex.split(line.removeprefix("$ "), comments=True) if line.startswith("$ ") else []
        if words[:1] == ["nacre"]:
            _insist_on_command(words[1:])
        elif words:
            assert words[0] == "make", line
            assert f"\n{words[1]}:" in (_ROOT / "Makefile").read_text(), line


def _insist_on_command(words: list[str]) -> None:
    command: click.Command = root
    context = click.Context(root)
    while isinstance(command, click.Group):
        below = command.get_command(context, words.pop(0))
        assert below is not None
        command = below
    known = {flag for parameter in command.params for flag in parameter.opts}
    assert {word.partition("=")[0] for word in words if word.startswith("-")} <= known


def test_commands_of_the_readme_table_exist() -> None:
    for command in re.findall(r"`nacre ([^`]+)`", (_ROOT / "README.md").read_text()):
        _insist_on_command(shlex.split(command))


def test_the_readme_protects_a_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ten lines, as they stand, refuse evidence that was recorded long ago, before anything is sent."""
    (snippet,) = [
        text
        for language, _, text in _FENCE.findall((_ROOT / "README.md").read_text())
        if language == "python"
    ]
    monkeypatch.chdir(tmp_path)
    zero = "00" * 48
    (tmp_path / "policy.toml").write_text(
        f'[[release]]\nid = "any"\n[[release.nitro]]\npcr0 = "{zero}"\npcr1 = "{zero}"\npcr2 = "{zero}"\n'
    )
    recorded = _VECTORS / "nitro" / "dstack-prod-2025-12-indefinite" / "evidence.cbor"
    sent: list[str] = []
    with pytest.raises(nacre.NacreError):
        exec(  # noqa: S102  # our own README
            snippet,
            {
                "ask_service_for_evidence": lambda nonce: recorded.read_bytes() if len(nonce) == 32 else b"",
                "send_the_secret": lambda: sent.append("secret"),
            },
        )
    assert sent == []
