# SPDX-License-Identifier: Apache-2.0
"""Nautilus: one raw key in a document, and the object that it is served in."""

import json
from pathlib import Path

import pytest
from tests.appraisal.systems.guests import attestation, rows, served
from tests.appraisal.systems.worlds import ask, ask_nitro, outcome
from tests.platforms.dcap.pki import World
from tests.platforms.nitro.pki import standard

from nacre import platforms
from nacre.appraisal import systems
from nacre.appraisal.release import Release
from nacre.appraisal.systems import envelope
from nacre.appraisal.verdict import Verdict
from nacre.errors import ConfigurationError, MalformedEvidence
from nacre.platforms.nitro.evidence import parse_document

_KEY = bytes(range(32))
_REAL = Path(__file__).parents[2] / "vectors" / "nitro" / "nautilus-weather-2025-04"


def _served(document: bytes, **more: object) -> bytes:
    return json.dumps({"attestation": document.hex()} | more).encode()


def test_real_document_is_accepted_for_its_key() -> None:
    """The weather example of its authors, as its server would send it."""
    document = (_REAL / "evidence.cbor").read_bytes()
    registers = parse_document(document).pcrs
    text = "".join(f'pcr{index} = "{registers[index].hex()}"\n' for index in range(3))
    app = Release.parse(f'id = "weather"\nlayout = "nautilus/key"\n[[nitro]]\n{text}')
    key = bytes.fromhex("e8e62201dbe293b703c759f653107acbc2c911fa1d2e66f2c747bec95971a2af")
    for given, binding in (({"key": key}, ("pass", "")), ({"key": _KEY}, ("fail", "binding-key-mismatch"))):
        result = ask(
            _served(document),
            system="nautilus",
            platform="nitro",
            anchor=platforms.get("nitro").anchors()[0],
            given=given,
            releases=(app,),
            at=1_744_683_925,
            max_age=300,
        )
        assert outcome(result, "binding") == binding
        assert outcome(result, "executables") == ("pass", "")


def test_answer_is_told_from_dstacks() -> None:
    document = standard().document(("public_key", _KEY))
    assert systems.recognise(_served(document)) is systems.get("nautilus")
    assert systems.recognise(_served(b"\xd2" + document)) is systems.get("nautilus")
    assert systems.recognise(_served(attestation(World().quote))) is systems.get("dstack")
    assert systems.recognise(served(World().quote, rows())) is systems.get("dstack")


def test_answer_or_bare_document_is_accepted() -> None:
    document = standard().document(("public_key", _KEY))
    for data in (document, _served(document)):
        result = ask_nitro(data, system="nautilus", given={"key": _KEY}, layout="nautilus/key")
        assert result.verdict is Verdict.VERIFIED


@pytest.mark.parametrize(
    "data",
    [b"{", b"{}", _served(b"", hint=1), b'{"attestation": "8"}', b'{"attestation": "", "attestation": ""}'],
)
def test_other_answers_are_refused(data: bytes) -> None:
    with pytest.raises(MalformedEvidence):
        envelope.unwrap(data, name="nautilus", given={})


@pytest.mark.parametrize("key", [b"", _KEY[:31], b"\x00" + _KEY])
def test_key_of_another_size_is_refused(key: bytes) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ask_nitro(standard().document(), system="nautilus", given={"key": key})
    assert caught.value.code == "binding-part"
