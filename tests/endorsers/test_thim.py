# SPDX-License-Identifier: Apache-2.0
"""What Azure's THIM answers a guest, saved as a file."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nacre.appraisal.policy import Policy
from nacre.appraisal.verdict import Verdict
from nacre.endorsers import bundle
from nacre.endorsers.verifier import Verifier
from nacre.errors import ConfigurationError
from nacre.platforms.base import Endorsements
from nacre.trust import pem

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.endorsers.conftest import Chip

MILAN = "snp/confidential-milan-v3-05b743-crl"
POLICY = """
id = "lenient"
accept = "WARNING"
platforms = ["snp"]
unsafe_waive = ["freshness", "binding", "executables"]
[snp]
accept_advisories = ["any"]
"""


@pytest.fixture
def answer(recorded: "Callable[[str], Chip]") -> dict[str, str]:
    chip = recorded(MILAN)
    return {
        "vcekCert": pem.armour(chip.documents["vek"]).decode() + "\n",
        "tcbm": "DB18000000000004",
        "certificateChain": chip.documents["ask"].decode(),
        "cacheControl": "86400",
    }


def _written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "thim.json"
    path.write_text(text)
    return path


def test_it_serves_as_endorsements(
    tmp_path: Path, answer: dict[str, str], recorded: "Callable[[str], Chip]"
) -> None:
    loaded = bundle.load(_written(tmp_path, json.dumps(answer, indent=1)))
    assert sorted(loaded.documents) == ["ask", "vek"]
    chip = recorded(MILAN)
    verifier = Verifier(Policy.parse(POLICY), endorsements=loaded)
    # Nobody was looked up in a revocation list.
    assert verifier.appraise(chip.evidence.raw, at=chip.at).verdict is Verdict.INCOMPLETE
    whole = Endorsements({**loaded.documents, "crl": chip.documents["crl"]})
    assert verifier.verify(chip.evidence.raw, endorsements=whole, at=chip.at).verdict is Verdict.WARNING


@pytest.mark.parametrize(
    "text",
    [
        '{"vcekCert":1,"certificateChain":""}',
        '{"vcekCert":""}',
        '{"vcekCert":"","vcekCert":"","certificateChain":""}',
        '{"vcekCert":',
    ],
)
def test_what_is_no_answer(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        bundle.load(_written(tmp_path, text))
    assert caught.value.code == "bundle-unusable"
    assert "THIM" in str(caught.value)
