# SPDX-License-Identifier: Apache-2.0
"""The registry of other systems: small entries that say what they leave open."""

from collections.abc import Mapping

import pytest
from tests.platforms.dcap.pki import World

from nacre import platforms
from nacre.appraisal import systems
from nacre.appraisal.purposes import PURPOSES, Fields, Layout
from nacre.appraisal.result import UNPROTECTED
from nacre.appraisal.systems.base import Opened, System
from nacre.appraisal.systems.envelope import Envelope, recognise, unwrap
from nacre.errors import ConfigurationError
from nacre.platforms.base import Claims, Committed
from nacre.trust.anchors import Origin

_CLAIMS = Claims(
    platform="tdx",
    origin=Origin.GENUINE,
    checks=(),
    registers={},
    committed=Committed(bytes(64)),
    debug=False,
    issued_at=None,
    valid_until=None,
    identity={},
)


def _concatenated(parts: Mapping[str, bytes]) -> Fields:
    return Fields(b"".join(parts.values()))


def _layout(name: str, *parts: str, fresh: str = "") -> Layout:
    return Layout(name, parts, _concatenated, ("relay",), "a test", fresh)


_KEY = _layout("acme/key", "key")
_PAIR = _layout("acme/pair", "key", "nonce", fresh="nonce")
_NONCE = _layout("acme/nonce", "nonce", fresh="nonce")


def _open(data: bytes, given: Mapping[str, bytes]) -> Opened:
    del given
    return Opened(evidence=data[4:], parts={"key": b"K"} if b"key" in data else {})


_ACME = System(
    name="acme",
    title="Acme",
    layouts=(_KEY, _PAIR, _NONCE),
    documents=("file",),
    recognises=lambda data: data.startswith(b"ACME"),
    open=_open,
)


@pytest.fixture
def acme(monkeypatch: pytest.MonkeyPatch) -> System:
    """A system of this test."""
    monkeypatch.setattr(systems, "get", lambda _: _ACME)
    monkeypatch.setattr(systems, "names", lambda: ("acme",))
    return _ACME


@pytest.mark.parametrize("name", systems.names())
def test_every_system_says_what_it_is(name: str) -> None:
    system = systems.get(name)
    assert system.name == name
    assert system.title
    assert systems.get(name) is system
    text = systems.about(name)
    assert len(text.splitlines()) > 5
    for layout in system.layouts:
        assert layout.name.startswith(f"{name}/")
        assert systems.layout(layout.name) is layout
        assert set(layout.unprotected) <= set(UNPROTECTED)
        # A layout either has something of the verifier's in it, or says that evidence may be of any age.
        assert ("replay" in layout.unprotected) == (not layout.fresh)
        assert not layout.fresh or layout.fresh in layout.parts
        assert layout.source
        assert layout.parts
        for words in layout.unprotected:
            assert words in text
        assert not set(layout.parts) & set(system.documents)


def test_names_are_given_once_and_never_like_a_purpose_or_a_platform() -> None:
    names = [layout.name for layout in systems.layouts()]
    assert len(set(names)) == len(names)
    assert not set(names) & set(PURPOSES)
    assert not set(systems.names()) & {*platforms.builtin_names(), *PURPOSES}


@pytest.mark.parametrize(
    ("name", "code"),
    [("other", "system-unknown"), ("dstack/other", "layout-unknown"), ("", "system-unknown")],
)
def test_unknown_names_are_refused(name: str, code: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        systems.layout(name)
    assert refused.value.code == code
    with pytest.raises(ConfigurationError) as refused:
        unwrap(b"", name=name, given={})
    assert refused.value.code == code
    with pytest.raises(ConfigurationError):
        systems.about("other")


@pytest.mark.parametrize("data", [b"", b"{}", b"\x84", b"junk" * 100, World().quote])
def test_what_is_nobodys_envelope_is_not_recognised(data: bytes) -> None:
    assert recognise(data, given={}) is None


# ── How an envelope is bound ──


def _name(envelope: Envelope | None) -> str | None:
    assert envelope is not None
    return envelope.layout.name if envelope.layout else None


def test_a_layout_is_told_by_what_the_verifier_gave(acme: System) -> None:
    assert acme.recognises(b"ACMEdata")
    assert _name(recognise(b"ACMEdata", given={})) is None
    assert _name(recognise(b"ACMEdata", given={"key": b"k"})) == "acme/key"
    assert _name(recognise(b"ACMEdata", given={"key": b"k", "nonce": b"n"})) == "acme/pair"
    assert _name(recognise(b"ACMEdata", given={"nonce": b"n"})) == "acme/nonce"
    assert _name(recognise(b"ACMEdata", given={"file": b"f"})) is None
    with pytest.raises(ConfigurationError) as refused:
        recognise(b"ACME key", given={"nonce": b"n"})
    assert (refused.value.code, refused.value.context["expected"]) == (
        "layout-unclear",
        ("acme/pair", "acme/nonce"),
    )


def test_a_layout_is_told_by_the_release(acme: System) -> None:
    del acme
    declared = {"acme/pair", "other/key", ""}
    envelope = recognise(b"ACME key", given={"nonce": b"n"}, declared=declared)
    assert _name(envelope) == "acme/pair"
    assert envelope is not None
    assert envelope.binding is not None
    assert (envelope.binding.digest, envelope.binding.fresh) == (b"Kn", True)
    # Without what it needs there is no binding, which leaves the verdict open.
    bare = recognise(b"ACMEdata", given={}, declared=declared)
    assert bare is not None
    assert bare.binding is None
    # Two releases that disagree decide nothing.
    assert _name(recognise(b"ACMEdata", given={}, declared={"acme/key", "acme/pair"})) is None


def test_what_is_named_goes_first(acme: System) -> None:
    del acme
    envelope = unwrap(b"ACME key", name="acme/key", given={}, declared={"acme/pair"})
    assert _name(envelope) == "acme/key"
    assert envelope.binding is not None
    assert (envelope.binding.digest, envelope.binding.fresh) == (b"K", False)
    assert envelope.evidence == b" key"
    # What the verifier knows goes before what the envelope has.
    ours = unwrap(b"ACME key", name="acme/key", given={"key": b"k"})
    assert ours.binding is not None
    assert ours.binding.digest == b"k"
    with pytest.raises(ConfigurationError) as refused:
        unwrap(b"ACMEdata", name="acme/pair", given={"key": b"k"})
    assert refused.value.code == "binding-parts"


def test_unknown_parts_are_refused(acme: System) -> None:
    del acme
    with pytest.raises(ConfigurationError) as refused:
        unwrap(b"ACMEdata", name="acme", given={"kee": b"k"})
    assert (refused.value.code, refused.value.context["expected"]) == (
        "part-unknown",
        ("file", "key", "nonce"),
    )


def test_a_nonce_that_came_along_makes_nothing_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    brought = Opened(evidence=b"", layout=_NONCE, parts={"nonce": b"n"})
    system = System(name="acme", title="Acme", layouts=(_NONCE,), open=lambda *_: brought)
    monkeypatch.setattr(systems, "get", lambda _: system)
    envelope = unwrap(b"", name="acme", given={})
    assert envelope.binding is not None
    assert not envelope.binding.fresh
    envelope = unwrap(b"", name="acme", given={"nonce": b"n"})
    assert envelope.binding is not None
    assert envelope.binding.fresh


def test_systems_that_examine_nothing_find_nothing(acme: System) -> None:
    del acme
    assert unwrap(b"ACMEdata", name="acme", given={}).found(_CLAIMS, 0) is None


def test_evidence_may_come_bare() -> None:
    system = System(name="plain", title="Plain", layouts=())
    assert not system.recognises(b"anything")
    assert system.open(b"anything", {}) == Opened(evidence=b"anything")
