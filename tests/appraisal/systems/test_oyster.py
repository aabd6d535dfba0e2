# SPDX-License-Identifier: Apache-2.0
"""Oyster: four registers and a list of params say what runs; nothing else does."""

import base64
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.appraisal.systems.worlds import NOW, ask, ask_nitro, ask_tdx, outcome, release, tdx_world
from tests.platforms.nitro.pki import Pair, pcrs, standard

from nacre.appraisal import systems
from nacre.appraisal.release import Release
from nacre.appraisal.systems.oyster import image_id
from nacre.appraisal.verdict import Verdict
from nacre.errors import ConfigurationError
from nacre.platforms import get
from nacre.platforms.base import Endorsements
from nacre.platforms.nitro.evidence import parse_document
from nacre.trust.signatures import Signatures

_KEY = bytes(range(32))
_COMPOSE = b"services:\n  app:\n    image: worm@sha256:00\n"
_VECTORS = Path(__file__).parents[2] / "vectors" / "systems" / "oyster"

#: As the Rust SDK's own tests state them.
_PUBLISHED = {
    "aws": "a6b0824d3c47f51542b3a18e6245c408490bef88ddc8d5e1bf8b95ec7eba1602",
    "aws_pcr16": "c28909dc8803cf0edf6113f3fb81d0494f4c92b63087242200e18a5be347aacd",
    "custom": "b45dfd1807c1f4b81ef28b44682fba5d4d5522baac808a44b7302cbfda5144e7",
    "custom_pcr16": "20a182763745f956ddee6f8e9d14a66e23db836c0eb1a769a2ef4d3ab77bef1b",
}
_KEY_IN = {
    "aws": "e646f8b0071d5ba75931402522cc6a5c42a84a6fea238864e5ac9a0e12d83bd3"
    "6d0c8109d3ca2b699fce8d082bf313f5d2ae249bb275b6b6e91e0fcd9262f4bb",
    "aws_pcr16": "2af77183f4772f00e269c7ffadb0eca298bf76711bbe94471a4944ede5ada084",
}
_AT = {"aws": 1_734_075_479, "aws_pcr16": 1_745_922_760}


def _published(name: str) -> bytes:
    path = _VECTORS / f"{name}.bin"
    if not path.is_file():
        pytest.skip(f"Oyster's {path.name} is not beside this checkout")
    return path.read_bytes()


def _param(path: str, contents: bytes, *, attest: bool = True, decrypt: bool = False) -> dict[str, object]:
    text = base64.b64encode(contents).decode()
    return {"path": path, "contents": text, "should_attest": attest, "should_decrypt": decrypt}


def _digest(params: Sequence[dict[str, object]]) -> bytes:
    """Compute the digest from Oyster's description of it, one integer and one string after the other."""
    whole = hashlib.sha256()
    for param in params:
        if not param["should_attest"]:
            continue
        one = hashlib.sha256()
        for text in (
            b"/init-params/" + str(param["path"]).encode(),
            base64.b64decode(str(param["contents"])),
        ):
            one.update(len(text).to_bytes(8, "little"))
            one.update(text)
        whole.update(one.digest())
    return whole.digest()


def _list(*params: dict[str, object], digest: bytes | None = None) -> bytes:
    stated = base64.b64encode(_digest(params) if digest is None else digest).decode()
    return json.dumps({"digest": stated, "params": params}).encode()


def _pcr16(digest: bytes) -> bytes:
    return hashlib.sha384(bytes(48) + digest).digest()


_PARAMS = (_param("docker-compose.yml", _COMPOSE), _param("app/config.json", b'{"worms": 302}'))
_DIGEST = _digest(_PARAMS)


def _document(*changes: Pair, pcr16: bytes | None = None) -> bytes:
    registers = pcrs() | {16: _pcr16(_DIGEST) if pcr16 is None else pcr16}
    return standard().document(("pcrs", registers), ("public_key", _KEY), *changes)


# ── Published documents ──


@pytest.mark.parametrize("name", _PUBLISHED)
def test_image_id_is_the_published_one(name: str) -> None:
    evidence = parse_document(_published(name))
    registers = {f"pcr{index}": value for index, value in evidence.pcrs.items()}
    assert image_id(registers).hex() == _PUBLISHED[name]


@pytest.mark.parametrize("name", _AT)
def test_real_document_is_accepted_by_its_image_and_key(name: str) -> None:
    document = _published(name)
    registers = parse_document(document).pcrs
    text = "".join(f'pcr{index} = "{registers[index].hex()}"\n' for index in range(3))
    facts = f'[oyster]\nimage_id = ["{_PUBLISHED[name]}"]'
    app = Release.parse(f'id = "app"\nlayout = "oyster/key"\n{facts}\n[[nitro]]\n{text}')
    result = ask(
        document,
        system="oyster",
        platform="nitro",
        anchor=get("nitro").anchors()[0],
        given={"key": bytes.fromhex(_KEY_IN[name])},
        releases=(app,),
        at=_AT[name],
        max_age=300,
    )
    assert result.verdict is Verdict.VERIFIED
    assert result.release == "app"
    assert result.foreign
    assert result.foreign.facts == {"image_id": bytes.fromhex(_PUBLISHED[name])}


def test_user_data_that_nothing_measured_is_no_fact() -> None:
    """The mock document states user data and a PCR16 that has nothing to do with it."""
    evidence = parse_document(_published("custom_pcr16"))
    assert evidence.user_data
    assert evidence.pcrs[16] != _pcr16(evidence.user_data)


# ── Init params ──


def test_measured_params_are_accepted() -> None:
    facts = f'[oyster]\ninit_params = ["{_DIGEST.hex()}"]'
    listed = _list(*_PARAMS)
    by_hand = json.dumps({"params": _PARAMS}).encode()
    for document in (listed, base64.b64encode(listed), base64.b64encode(listed) + b"\n", by_hand):
        given = {"key": _KEY, "init-params": document}
        result = ask_nitro(_document(), system="oyster", given=given, layout="oyster/key", facts=facts)
        assert result.verdict is Verdict.VERIFIED
        assert outcome(result, "oyster.init-params") == ("pass", "")


def test_user_data_that_was_measured_shows_the_digest() -> None:
    facts = f'[oyster]\ninit_params = ["{_DIGEST.hex()}"]'
    given = {"key": _KEY, "digest": _DIGEST}
    document = _document(("user_data", _DIGEST))
    result = ask_nitro(document, system="oyster", given=given, layout="oyster/key-and-digest", facts=facts)
    assert result.verdict is Verdict.VERIFIED
    stated = _document(("user_data", _DIGEST), pcr16=_pcr16(bytes(32)))
    result = ask_nitro(stated, system="oyster", given=given, layout="oyster/key-and-digest", facts=facts)
    assert outcome(result, "executables") == ("fail", "executables-mismatch")


@pytest.mark.parametrize(
    "params",
    [
        _PARAMS[::-1],
        _PARAMS[:1],
        (*_PARAMS, _param("more", b"")),
        (_PARAMS[0], _param("app/config.json", b'{"worms": 303}')),
        (_PARAMS[0], _param("app/config.js", b'on{"worms": 302}')),
        (_PARAMS[0], _param("app/config.json", b'{"worms": 302}', attest=False)),
        (),
    ],
    ids=["reordered", "one missing", "one more", "changed", "moved boundary", "unattested", "none"],
)
def test_other_params_are_refused(params: Sequence[dict[str, object]]) -> None:
    given = {"key": _KEY, "init-params": _list(*params)}
    result = ask_nitro(_document(), system="oyster", given=given, layout="oyster/key")
    assert result.verdict is Verdict.REJECTED
    assert outcome(result, "oyster.init-params") == ("fail", "oyster-params-mismatch")


def test_unattested_params_are_named() -> None:
    """Their contents are the host's choice: the digest is right whatever they are."""
    given = {"key": _KEY, "init-params": _list(*_PARAMS, _param("secret.env", b"A=1", attest=False))}
    result = ask_nitro(_document(), system="oyster", given=given, layout="oyster/key")
    assert result.verdict is Verdict.WARNING
    assert outcome(result, "oyster.init-params") == ("warn", "oyster-params-open")
    assert [check.actual for check in result.checks if check.id == "oyster.init-params"] == [("secret.env",)]


@pytest.mark.parametrize("registers", [{}, {16: bytes(48)}], ids=["absent", "zero"])
def test_image_that_measures_no_params_proves_none(registers: dict[int, bytes]) -> None:
    document = standard().document(("pcrs", pcrs() | registers), ("public_key", _KEY), ("user_data", _DIGEST))
    given = {"key": _KEY, "init-params": _list(*_PARAMS)}
    result = ask_nitro(document, system="oyster", given=given, layout="oyster/key")
    assert result.verdict is Verdict.INCOMPLETE
    assert outcome(result, "oyster.init-params") == ("skipped", "oyster-unmeasured")
    facts = f'[oyster]\ninit_params = ["{_DIGEST.hex()}"]'
    result = ask_nitro(document, system="oyster", given={"key": _KEY}, layout="oyster/key", facts=facts)
    assert outcome(result, "executables") == ("fail", "executables-mismatch")


def test_image_id_covers_all_four_registers() -> None:
    registers = {f"pcr{index}": value for index, value in pcrs().items()} | {"pcr16": _pcr16(_DIGEST)}
    ids = {image_id(registers)}
    for name in ("pcr0", "pcr1", "pcr2", "pcr16"):
        ids.add(image_id(registers | {name: bytes([99]) * 48}))
    ids.add(image_id({**registers, "pcr0": registers["pcr1"], "pcr1": registers["pcr0"]}))
    assert len(ids) == 6
    assert image_id(registers | {"pcr3": bytes([99]) * 48, "pcr8": bytes([99]) * 48}) == image_id(registers)


def test_image_id_of_another_set_of_registers_is_refused() -> None:
    registers = {f"pcr{index}": value for index, value in pcrs().items()} | {"pcr16": _pcr16(_DIGEST)}
    facts = f'[oyster]\nimage_id = ["{image_id(registers).hex()}"]'
    given = {"key": _KEY}
    good = ask_nitro(_document(), system="oyster", given=given, layout="oyster/key", facts=facts)
    assert good.verdict is Verdict.VERIFIED
    other = _document(pcr16=_pcr16(bytes(32)))
    result = ask_nitro(other, system="oyster", given=given, layout="oyster/key", facts=facts)
    assert result.verdict is Verdict.REJECTED
    assert outcome(result, "executables") == ("fail", "executables-mismatch")


# ── Keys ──


@pytest.mark.parametrize(
    ("layout", "given", "reason"),
    [
        ("oyster/key", {"key": bytes(32)}, "binding-key-mismatch"),
        ("oyster/key", {"key": _KEY * 2}, "binding-key-mismatch"),
        ("oyster/key-and-digest", {"key": _KEY, "digest": bytes(32)}, "binding-mismatch"),
        ("oyster/key-and-digest", {"key": bytes(32), "digest": _DIGEST}, "binding-key-mismatch"),
    ],
)
def test_other_parts_are_refused(layout: str, given: dict[str, bytes], reason: str) -> None:
    result = ask_nitro(_document(("user_data", _DIGEST)), system=layout, given=given, layout=layout)
    assert result.verdict is Verdict.REJECTED
    assert outcome(result, "binding") == ("fail", reason)


def test_key_that_nobody_named_is_not_bound() -> None:
    result = ask_nitro(_document(), system="oyster", layout="oyster/key")
    assert result.verdict is Verdict.INCOMPLETE
    assert outcome(result, "binding") == ("skipped", "binding-not-given")


def test_layout_that_the_release_does_not_name_is_refused() -> None:
    result = ask_nitro(_document(), system="oyster", given={"key": _KEY}, layout="oyster/key-and-digest")
    assert outcome(result, "binding") == ("fail", "layout-undeclared")


def test_document_is_not_fresh_for_having_a_key() -> None:
    anchor = standard().anchor
    result = ask(
        _document(),
        system="oyster",
        platform="nitro",
        anchor=anchor,
        given={"key": _KEY},
        releases=(release("nitro", layout="oyster/key"),),
    )
    assert outcome(result, "freshness") == ("skipped", "freshness-unknown")


def test_evidence_of_another_platform_shows_nothing_of_oyster() -> None:
    result = ask_tdx(tdx_world(bytes(64)), system="oyster", given={"key": _KEY}, layout="oyster/key")
    assert result.verdict is Verdict.REJECTED
    assert outcome(result, "oyster.image") == ("skipped", "oyster-other-platform")
    assert outcome(result, "binding") == ("fail", "binding-field-absent")


# ── What is no list ──


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"{}",
        b"not base64!",
        b"\xff\xfe",
        _list(*_PARAMS, digest=bytes(32)),
        _list(*_PARAMS, digest=b""),
        _list(*_PARAMS, _PARAMS[0]),
        _list(_param("a", b"x", decrypt=True)),
        _list(_param("../app/id.sec", b"x")),
        _list(_param("a/./b", b"x")),
        _list(_param("/etc/passwd", b"x")),
        _list(_param("", b"x")),
        _list(*(_param(f"{number}", b"") for number in range(257))),
        _list(_param("a", b"x") | {"contents": "eA"}, digest=_digest([_param("a", b"x")])),
        _list(_param("a", b"x") | {"contents": "eB=="}),
        _list(_param("a", b"x") | {"mode": "0600"}),
        _list(*_PARAMS)[:-1] + b', "params": []}',
    ],
)
def test_lists_that_are_none_are_refused(document: bytes) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ask_nitro(_document(), system="oyster", given={"key": _KEY, "init-params": document})
    assert caught.value.code == "binding-part"
    assert str(caught.value)


@pytest.mark.parametrize(
    ("layout", "given"),
    [
        ("oyster/key", {"key": _KEY[:31]}),
        ("oyster/key", {"key": b"\x04" + _KEY * 2}),
        ("oyster/key-and-digest", {"key": _KEY, "digest": _DIGEST[:20]}),
    ],
)
def test_parts_of_another_size_are_refused(layout: str, given: dict[str, bytes]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ask_nitro(_document(), system=layout, given=given)
    assert caught.value.code == "binding-part"


def test_bare_documents_are_not_taken_for_oysters() -> None:
    assert systems.recognise(_document()) is None
    platform = get("nitro")
    claims = platform.verify(
        platform.parse(_document()),
        Endorsements({}),
        anchors=(standard().anchor,),
        at=_AT["aws"] + 10**9,
        signatures=Signatures(),
    )
    assert claims.registers["pcr16"] == _pcr16(_DIGEST)


# ── A release that knows the image id alone ──

_OPEN = 'pcr0 = "any"\npcr1 = "any"\npcr2 = "any"\n'


def _known_by(facts: str, registers: str = _OPEN) -> Release:
    return Release.parse(f'id = "app"\nlayout = "oyster/key"\n{facts}\n[[nitro]]\n{registers}')


def _asked(document: bytes, app: Release, *, system: str = "oyster") -> tuple[Verdict, tuple[str, str]]:
    anchor, given = standard().anchor, {"key": _KEY} if system == "oyster" else {}
    result = ask(
        document,
        system=system,
        platform="nitro",
        anchor=anchor,
        given=given,
        releases=(app,),
        max_age=300,
    )
    return result.verdict, outcome(result, "executables")


def test_image_id_stands_for_the_registers_that_it_is_a_digest_of() -> None:
    registers = {f"pcr{index}": value for index, value in pcrs().items()} | {"pcr16": _pcr16(_DIGEST)}
    app = _known_by(f'[oyster]\nimage_id = ["{image_id(registers).hex()}"]')
    assert _asked(_document(), app) == (Verdict.VERIFIED, ("pass", "executables-and-facts"))
    for index in (0, 1, 2, 16):
        other = standard().document(
            ("pcrs", pcrs() | {16: _pcr16(_DIGEST), index: b"\x63" * 48}), ("public_key", _KEY)
        )
        assert _asked(other, app) == (Verdict.REJECTED, ("fail", "executables-mismatch"))
    # Another system shows no such thing, and neither does a document that no system was asked about.
    assert _asked(_document(), app, system="quorumos")[1] == ("fail", "executables-mismatch")


@pytest.mark.parametrize(
    ("facts", "registers"),
    [
        ("", _OPEN),
        (f'[oyster]\ninit_params = ["{_DIGEST.hex()}"]', _OPEN),
        (f'[oyster]\nimage_id = ["{_DIGEST.hex()}"]', 'pcr0 = "any"\npcr1 = "any"\n'),
        (f'[oyster]\nimage_id = ["{_DIGEST.hex()}"]', f"{_OPEN}pcr17 = 1\n"),
    ],
    ids=["nothing", "init params alone", "one left out", "another register"],
)
def test_registers_are_left_open_for_an_image_id_only(facts: str, registers: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        _known_by(facts, registers)
    assert caught.value.code in ("config-value", "config-missing-key")


def test_older_document_states_what_the_enclave_has_and_proves_none_of_it() -> None:
    """Oyster of early 2024 has the enclave's memory and processors in its user data."""
    folder = _VECTORS.parents[1] / "nitro" / "marlin-sample-2024-02"
    document = (folder / "evidence.cbor").read_bytes()
    evidence = parse_document(document)
    assert json.loads(evidence.user_data or b"") == {"total_memory": 2_091_298_816, "total_cpus": 1}
    registers = {f"pcr{index}": value for index, value in evidence.pcrs.items()}
    result = ask(
        document,
        system="oyster",
        platform="nitro",
        anchor=get("nitro").anchors()[0],
        given={"key": evidence.public_key or b""},
        releases=(_known_by(f'[oyster]\nimage_id = ["{image_id(registers).hex()}"]'),),
        at=1_708_930_922,
        max_age=300,
    )
    assert result.verdict is Verdict.VERIFIED
    assert result.foreign
    assert set(result.foreign.facts) == {"image_id"}


# ── What its own tools take ──


def test_document_from_the_future_is_refused() -> None:
    """Marlin's SDK limits the age of a document that is older than now, and lets any later one pass."""
    later = standard().document(
        ("pcrs", pcrs() | {16: _pcr16(_DIGEST)}), ("public_key", _KEY), ("timestamp", (NOW + 3600) * 1000)
    )
    result = ask_nitro(later, system="oyster", given={"key": _KEY}, layout="oyster/key")
    assert outcome(result, "freshness") == ("fail", "evidence-from-the-future")
    assert result.verdict is Verdict.REJECTED


def test_document_without_a_release_is_not_accepted() -> None:
    """oyster-cvm skips the registers if nobody gives any, and says that verification was successful."""
    result = ask(
        _document(),
        system="oyster",
        platform="nitro",
        anchor=standard().anchor,
        given={"key": _KEY},
        max_age=300,
    )
    assert outcome(result, "executables") == ("skipped", "no-release")
    assert result.verdict is Verdict.INCOMPLETE


def test_enclave_in_debug_mode_is_refused_whatever_its_image_id() -> None:
    """Its registers are zero, so all such enclaves with one set of params have one image id."""
    registers = pcrs() | dict.fromkeys(range(3), bytes(48)) | {16: _pcr16(_DIGEST)}
    named = {f"pcr{index}": value for index, value in registers.items()}
    app = _known_by(f'[oyster]\nimage_id = ["{image_id(named).hex()}"]')
    document = standard().document(("pcrs", registers), ("public_key", _KEY))
    verdict, executables = _asked(document, app)
    assert verdict is Verdict.REJECTED
    assert executables == ("pass", "executables-and-facts")
