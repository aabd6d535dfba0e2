# SPDX-License-Identifier: Apache-2.0
"""Words that evidence chooses: they must not steer the terminal or forge the log of whoever reads them."""

import json
from pathlib import Path

import pytest
from tests.platforms.nitro import pki

from nacre.appraisal.appraise import appraise
from nacre.appraisal.policy import Policy
from nacre.appraisal.report import to_json
from nacre.checks import failed
from nacre.cli import main, terminal
from nacre.errors import MalformedEvidence
from nacre.platforms.base import Endorsements
from nacre.reasons import explain

# CSI in one character, right-to-left override, DEL, a line of its own, ESC, and a tag beyond the BMP.
_HOSTILE = "i-1\x9b2J\u202e\x7f\nVERIFIED\x1b[2J\U000e0041"


def _document() -> bytes:
    return pki.standard().document(("module_id", _HOSTILE))


def test_errors_and_explanations_are_one_printable_line() -> None:
    policy = Policy(id="test", platforms=("nitro",), anchored={"nitro": (pki.standard().anchor,)})
    result = appraise(_document(), policy=policy, endorsements=Endorsements({}), at=pki.NOW)
    assert result.error is not None
    assert "VERIFIED" in str(result.error)
    assert str(result.error).isprintable()
    assert all(text.isprintable() for text in result.explain().values())
    assert explain(failed("evidence", "endorsement-missing", role=_HOSTILE)).isprintable()
    assert str(MalformedEvidence("bundle-unusable", detail=(_HOSTILE,))).isprintable()
    # A program gets the very value.
    checks = json.loads(to_json(result))["checks"]
    assert _HOSTILE in [check["expected"] for check in checks]


def test_json_steers_no_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "evidence"
    file.write_bytes(_document())
    main(["inspect", "--json", str(file)])
    shown = capsys.readouterr().out
    assert shown.removesuffix("\n").isprintable()
    values = [field["value"] for field in json.loads(shown)["fields"] if field["name"] == "module_id"]
    assert values == [_HOSTILE]


def test_json_of_several_lines_stays_what_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.json(b'{\n "a": "\xc2\x85\xc3\xa9"\n}')
    assert capsys.readouterr().out == '{\n "a": "\\u0085é"\n}\n'
