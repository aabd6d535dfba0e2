# SPDX-License-Identifier: Apache-2.0
"""Blame falls on the document that turned a status, and on no other."""

import json
from pathlib import Path

import msgspec
import pytest

from nacre.appraisal.appraise import appraise
from nacre.appraisal.policy import Policy
from nacre.platforms.base import Endorsements
from nacre.platforms.dcap.changes import changes
from nacre.platforms.dcap.claims import DcapClaims
from nacre.platforms.dcap.tcb import TcbReport
from nacre.platforms.dcap.tcb_info import TcbStatus
from nacre.trust.times import parse_rfc3339

_OLD = "phala-networ-v4-b0c06f000000-e17-uptodate-f1c850"
_NEW = "phala-networ-v4-b0c06f000000-e20-outofdate-f1c850"


def _evaluated(folder: Path) -> TcbReport:
    case = json.loads((folder / "case.json").read_text())
    documents = {role: (folder / name).read_bytes() for role, name in case["collateral"].items() if name}
    result = appraise(
        (folder / "quote.bin").read_bytes(),
        policy=Policy.default(),
        endorsements=Endorsements(documents),
        at=parse_rfc3339(case["time"], what="time"),
    )
    assert isinstance(result.claims, DcapClaims)
    assert result.claims.tcb is not None
    return result.claims.tcb


@pytest.fixture(scope="module")
def old(vectors: Path) -> TcbReport:
    return _evaluated(vectors / "tdx" / _OLD)


@pytest.fixture(scope="module")
def new(vectors: Path) -> TcbReport:
    return _evaluated(vectors / "tdx" / _NEW)


def test_newer_tcb_info_turned_a_good_status_bad(old: TcbReport, new: TcbReport) -> None:
    info, identity = changes(old, new)
    assert (info.document, info.was, info.becomes, info.decisive) == (
        "tcb_info",
        TcbStatus.UP_TO_DATE,
        TcbStatus.OUT_OF_DATE,
        True,
    )
    assert (info.old_number, info.new_number) == (17, 20)
    assert info.old_issued < info.new_issued
    assert (identity.document, identity.was, identity.decisive) == (
        "qe_identity",
        TcbStatus.OUT_OF_DATE,
        False,
    )


def test_a_newer_identity_can_be_the_one(new: TcbReport) -> None:
    (level, *rest) = new.identity.levels
    strict = msgspec.structs.replace(
        new.identity,
        number=new.identity.number + 1,
        levels=(msgspec.structs.replace(level, status=TcbStatus.REVOKED), *rest),
    )
    after = msgspec.structs.replace(new, identity=strict, status=TcbStatus.REVOKED)
    (change,) = changes(new, after)
    assert (change.document, change.becomes, change.decisive) == ("qe_identity", TcbStatus.REVOKED, True)


def test_nothing_changed(new: TcbReport) -> None:
    assert list(changes(new, new)) == []
