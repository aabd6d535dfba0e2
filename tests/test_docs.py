# SPDX-License-Identifier: Apache-2.0
"""The documentation tells the truth: pages match the code, links lead somewhere, snippets work."""

import ast
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import nacre
from nacre import platforms
from nacre.appraisal.policy import Policy
from nacre.appraisal.release import Release, register_key
from nacre.build.app import App
from nacre.cli.group import root

_ROOT = Path(__file__).parents[1]
_VECTORS = _ROOT / "tests" / "vectors"
_DOCS = _ROOT / "docs"
_PAGES = [*sorted(_ROOT.glob("*.md")), *sorted(_DOCS.rglob("*.md"))]
_OTHERS = [
    path
    for folder in ("benchmarks", "examples", "tests")
    for path in sorted((_ROOT / folder).rglob("*.md"))
    if not {"node_modules", "rats"} & {*path.parts}  # other people's
]
_FENCE = re.compile(r"^```(\w*) ?(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
_CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)
_NEEDED = ("xmlns", "role", "prefers-color-scheme: dark", "<title", "<desc")


def _blocks(kind: str) -> list[object]:
    return [
        pytest.param(text, meaning, id=f"{page.relative_to(_ROOT)}-{number}")
        for page in _PAGES
        for number, (language, meaning, text) in enumerate(_FENCE.findall(page.read_text()))
        if language == kind
    ]


def _anchors(page: Path) -> set[str]:
    """Name the headings of a page as GitHub does: the second of one name is ``name-1``."""
    outside = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    found: list[str] = []
    for title in re.findall(r"^#+ (.+)$", outside, re.MULTILINE):
        shown = re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", title)
        name = re.sub(r"[^\w -]", "", shown.lower()).replace(" ", "-")
        found.append(f"{name}-{found.count(name)}" if name in found else name)
    return set(found)


def _links(page: Path) -> Iterator[tuple[str, Path, str]]:
    """Yield the links of a page to what is in this repository, images too: as written, where to, anchor."""
    for link in _LINK.findall(_CODE.sub("`", page.read_text())):
        target, _, anchor = link.partition("#")
        if not re.match(r"(https|mailto):", target):
            yield link, (page.parent / target).resolve() if target else page, anchor


def test_generated_pages_match_the_code() -> None:
    program = [sys.executable, str(_ROOT / "docs" / "generate.py"), "--check"]
    checked = subprocess.run(program, capture_output=True, check=False, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr + "\nrun make docs"


@pytest.mark.parametrize("page", [*_PAGES, *_OTHERS], ids=lambda page: str(page.relative_to(_ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link, path, anchor in _links(page):
        assert path.exists(), link
        assert path.is_relative_to(_ROOT), link
        assert not anchor or anchor in _anchors(path), link


def test_every_page_is_in_the_index() -> None:
    """Who starts at docs/README.md finds everything."""
    indexes = (_DOCS / "README.md", _DOCS / "decisions" / "README.md")
    reached = {path for index in indexes for _, path, _ in _links(index)}
    pages = {path for kind in ("*.md", "*.schema.json") for path in _DOCS.rglob(kind)}
    assert pages - reached - {_DOCS / "README.md"} == set()


@pytest.mark.parametrize("picture", sorted(_DOCS.rglob("*.svg")), ids=lambda path: path.name)
def test_pictures_are_small_and_read_in_the_dark(picture: Path) -> None:
    text = picture.read_text()
    assert len(text) < 8 << 10
    for needed in _NEEDED:
        assert needed in text
    colours = text[text.index("<style>") : text.index("</style>")]
    light, dark = colours.split("@media (prefers-color-scheme: dark)")
    coloured = re.compile(r"\.?([\w.]+)(?:, \.\w+)* \{[^}]*#[0-9a-f]{6}")
    assert set(coloured.findall(light)) == set(coloured.findall(dark))
    assert "#" not in re.sub(r"url\(#\w\)", "", text[text.index("</style>") :])
    assert any(picture == path for page in _PAGES for _, path, _ in _links(page))


@pytest.mark.parametrize(
    "page", [*sorted((_DOCS / "limitations").glob("*.md")), _DOCS / "concepts" / "appraisal.md"]
)
def test_lines_of_a_policy_are_called_as_they_are(page: Path) -> None:
    known = {"user_data"} | set(Policy.__struct_fields__)  # AWS's own name for its field
    for name in platforms.builtin_names():
        platform = platforms.get(name)
        known |= {*platform.policy.__struct_fields__, *(register.name for register in platform.registers)}
    named = re.findall(r"`([a-z]+(?:_[a-z0-9]+)+)(?: = [^`]+)?`", page.read_text())
    assert set(named) - known <= {"unsafe_"}
    assert named


@pytest.mark.parametrize(("text", "meaning"), _blocks("toml"))
def test_documents_can_be_used(text: str, meaning: str, tmp_path: Path) -> None:
    if meaning == "release":
        Release.parse(_filled_in(text))
        return
    if meaning == "app":
        (tmp_path / "nacre.toml").write_text(text)
        App.load(tmp_path)
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
