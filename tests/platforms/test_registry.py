# SPDX-License-Identifier: Apache-2.0
"""Which platforms there are, and that strangers come last and only when asked."""

import importlib.metadata
from collections.abc import Iterator

import pytest
from tests.platforms.dcap.pki import World

from nacre import platforms
from nacre.errors import ConfigurationError, UnsupportedEvidence
from nacre.platforms.base import Platform


class _Entry:
    """An entry point of a third-party package."""

    def __init__(self, name: str, platform: object) -> None:
        self.name = name
        self._platform = platform

    def load(self) -> object:
        return self._platform


class _Greedy:
    """A platform that says of everything that it is its own."""

    name = "acme"

    def detect(self, data: bytes) -> bool:
        del data
        return True


_GREEDY = _Greedy()


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install strangers, some under the names of built-in platforms."""
    entries = [
        _Entry("acme", _GREEDY),
        _Entry("sgx", _GREEDY),
        _Entry("tdx", _GREEDY),
        _Entry("nitro", _GREEDY),
        _Entry("snp", _GREEDY),
    ]

    def entry_points(*, group: str, name: str | None = None) -> list[_Entry]:
        assert group == "nacre.platforms"
        return [entry for entry in entries if name in (None, entry.name)]

    _forget()
    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
    yield
    _forget()


def _forget() -> None:
    platforms.get.cache_clear()
    platforms.outsiders.cache_clear()


def test_built_in_platforms() -> None:
    assert platforms.builtin_names() == ("sgx", "tdx", "nitro", "snp")
    for name in platforms.builtin_names():
        platform = platforms.get(name)
        assert platform.name == name
        assert platform.title
        assert platform is platforms.get(name)


def test_strangers_never_shadow_a_built_in_platform() -> None:
    for name in platforms.builtin_names():
        platform: object = platforms.get(name)
        assert platform is not _GREEDY
    assert platforms.outsiders() == ("acme",)
    stranger: object = platforms.get("acme")
    assert stranger is _GREEDY


def test_strangers_come_last_and_only_if_they_are_named() -> None:
    quote = World().quote
    for allowed in ((), ("acme",), ("tdx", "acme"), ("acme", "tdx")):
        assert platforms.detect(quote, allowed_outsiders=allowed).name == "tdx"
    with pytest.raises(UnsupportedEvidence) as caught:
        platforms.detect(b"acme evidence")
    assert caught.value.code == "evidence-unrecognised"
    assert "61636d65" in str(caught.value)
    stranger: object = platforms.detect(b"acme evidence", allowed_outsiders=("acme",))
    assert stranger is _GREEDY


@pytest.mark.parametrize("name", ["", "SGX", "sgx ", "unknown", "nacre.platforms.sgx", "../sgx"])
def test_names_that_nobody_has(name: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        platforms.get(name)
    assert caught.value.code == "platform-unknown"
    assert "acme" in str(caught.value)
    with pytest.raises(ConfigurationError):
        platforms.detect(b"", allowed_outsiders=(name,))


def _builtin() -> list[Platform]:
    return [platforms.get(name) for name in platforms.builtin_names()]


def test_what_every_platform_says_of_itself() -> None:
    for platform in _builtin():
        assert len(set(platform.required)) == len(platform.required)
        assert {"revocation", "currency", "debug"} <= set(platform.required)
        assert len({register.name for register in platform.registers}) == len(platform.registers)
        for register in platform.registers:
            assert register.required in ("value", "stated", "optional")
            assert register.kind in ("bytes", "number", "minimum")
            assert register.size > 0
        assert platform.policy() == platform.policy()
        assert {anchor.origin for anchor in platform.anchors()} == {"genuine"}
