# SPDX-License-Identifier: Apache-2.0
"""What a stranger gets: locks, metadata, changelog."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

_ROOT = Path(__file__).parents[1]
_PROJECT = tomllib.loads((_ROOT / "pyproject.toml").read_text())
_LOCKS = sorted((_ROOT / "requirements").glob("*.txt"))

_PIN = re.compile(r"[a-z0-9-]+==[\w.]+(?: ; [\w .'<>=!()]+)? \\")
_HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}(?: \\)?")


def _pins(lock: Path) -> dict[str, str]:
    lines = (line.split(" ")[0] for line in lock.read_text().splitlines() if not line.startswith(" "))
    return dict(line.split("==") for line in lines)


def _group(name: str) -> Iterator[str]:
    for item in _PROJECT["dependency-groups"][name]:
        if isinstance(item, str):
            yield item
        else:
            yield from _group(item["include-group"])


@pytest.mark.parametrize("lock", _LOCKS, ids=lambda lock: lock.stem)
def test_locks_are_pins_and_hashes_and_nothing_else(lock: Path) -> None:
    """No index, no URL, no path, no package without its digest."""
    lines = lock.read_text().splitlines()
    assert lines
    assert [line for line in lines if not (_PIN.fullmatch(line) or _HASH.fullmatch(line))] == []
    pinned = [index for index, line in enumerate(lines) if _PIN.fullmatch(line)]
    assert all(_HASH.fullmatch(lines[index + 1]) for index in pinned)


@pytest.mark.parametrize(
    ("lock", "wanted"),
    [
        ("runtime", _PROJECT["project"]["dependencies"]),
        ("build", [*_group("build"), *_PROJECT["build-system"]["requires"]]),
        ("dev", [*_PROJECT["project"]["dependencies"], *_group("dev")]),
        ("bench", [*_PROJECT["project"]["dependencies"], *_group("bench")]),
    ],
)
def test_locks_hold_what_the_project_asks_for(lock: str, wanted: list[str]) -> None:
    pins = _pins(_ROOT / "requirements" / f"{lock}.txt")
    for line in wanted:
        requirement = Requirement(line)
        assert requirement.name in pins
        assert requirement.specifier.contains(pins[requirement.name])


def test_locks_agree() -> None:
    pins: dict[str, str] = {}
    for lock in _LOCKS:
        for name, version in _pins(lock).items():
            assert pins.setdefault(name, version) == version


def test_the_core_needs_two_libraries() -> None:
    names = {Requirement(line).name for line in _PROJECT["project"]["dependencies"]}
    assert names == {"cryptography", "msgspec", "click", "rich"}


def test_the_changelog_knows_this_version() -> None:
    version = _PROJECT["project"]["version"]
    log = (_ROOT / "CHANGELOG.md").read_text()
    assert f"## [{version}]" in log or "## [Unreleased]" in log


def test_makefile_targets() -> None:
    """The names that the documentation uses."""
    targets = set(re.findall(r"^([a-z]+):", (_ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"demo", "test", "check", "bench", "soak", "docs"} <= targets
