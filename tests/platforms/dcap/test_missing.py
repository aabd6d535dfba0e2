# SPDX-License-Identifier: Apache-2.0
"""Whatever is left out, the verdict is INCOMPLETE or REJECTED, never better."""

import functools
from itertools import combinations

import pytest
from tests.platforms.dcap.judging import ACCEPTED, BINDING, found, judge
from tests.platforms.dcap.pki import World, pem

from nacre.appraisal.bindings import Binding
from nacre.appraisal.result import Result
from nacre.appraisal.verdict import Verdict
from nacre.checks import Status
from nacre.platforms import get
from nacre.platforms.base import Endorsements
from nacre.platforms.dcap.endorsements import ROLES
from nacre.trust.memo import Memo

_NEEDED = tuple(role for role in ROLES if role != "pck_crl_issuer_chain")
_OTHERS = ("evidence", "anchors", "release", "binding", "nonce")
#: Leaving these out makes a verdict worse than INCOMPLETE: nothing can be said for the evidence at all.
_FATAL = {"evidence", "anchors"}
_KEY_BINDING = Binding.response_key(key=b"key", not_after=2**32)

FORMS = pytest.mark.parametrize(
    ("tee", "cert_type"), [("sgx", 5), ("sgx", 3), ("sgx", 4), ("tdx", 5), ("tdx", 3)]
)


@functools.cache
def _world(tee: str, cert_type: int, *, fresh: bool = True) -> World:
    world = World(tee=tee, version=3 if tee == "sgx" else 4, cert_type=cert_type)
    if cert_type == 4:
        world = world.but(cert_data=pem(world.der("pck")))
    return world if fresh else world.but(report={"report_data": _KEY_BINDING.digest or b""})


def _without(tee: str, cert_type: int, missing: tuple[str, ...], memo: Memo | None = None) -> Result:
    world = _world(tee, cert_type, fresh="nonce" not in missing)
    documents = {role: data for role, data in world.endorsements.documents.items() if role not in missing}
    binding = _KEY_BINDING if "nonce" in missing else BINDING
    return judge(
        world,
        quote=b"" if "evidence" in missing else None,
        endorsements=Endorsements(documents),
        anchors=() if "anchors" in missing else None,
        binding=None if "binding" in missing else binding,
        memo=memo,
        releases=() if "release" in missing else None,
    )


def _inputs(cert_type: int) -> tuple[str, ...]:
    return (*(role for role in _NEEDED if role != "pck_chain" or cert_type != 5), *_OTHERS)


@FORMS
def test_nothing_missing(tee: str, cert_type: int) -> None:
    assert _without(tee, cert_type, ()).verdict is Verdict.VERIFIED
    assert _without(tee, cert_type, ("pck_crl_issuer_chain",)).verdict is Verdict.VERIFIED
    if cert_type == 5:
        assert _without(tee, cert_type, ("pck_chain",)).verdict is Verdict.VERIFIED


@FORMS
def test_up_to_three_inputs_missing(tee: str, cert_type: int) -> None:
    memo = Memo()
    _without(tee, cert_type, (), memo)
    _without(tee, cert_type, ("nonce",), memo)
    for count in (1, 2, 3):
        for missing in combinations(_inputs(cert_type), count):
            result = _without(tee, cert_type, missing, memo)
            expected = Verdict.REJECTED if _FATAL & set(missing) else Verdict.INCOMPLETE
            # Without the chain, nobody looks for an anchor.
            if "pck_chain" in missing and "evidence" not in missing:
                expected = Verdict.INCOMPLETE
            assert result.verdict is expected, missing
            if count < 3:
                cold = _without(tee, cert_type, missing)
                assert cold.verdict is expected
                assert [(check.id, check.status) for check in cold.checks] == [
                    (check.id, check.status) for check in result.checks
                ]


@FORMS
def test_everything_missing(tee: str, cert_type: int) -> None:
    assert _without(tee, cert_type, _inputs(cert_type)).verdict is Verdict.REJECTED
    rest = tuple(name for name in _inputs(cert_type) if name not in _FATAL)
    assert _without(tee, cert_type, rest).verdict is Verdict.INCOMPLETE


@FORMS
def test_empty_documents_are_not_missing_ones(tee: str, cert_type: int) -> None:
    world = _world(tee, cert_type)
    for role in _inputs(cert_type)[: -len(_OTHERS)]:
        documents = {**world.endorsements.documents, role: b""}
        result = judge(world, endorsements=Endorsements(documents))
        assert result.verdict is Verdict.REJECTED, role


@FORMS
def test_every_required_check_is_shown(tee: str, cert_type: int) -> None:
    """Each required check is among the checks, passed or not, whatever was missing."""
    required = {*get(tee).required, "executables", "binding", "freshness"}
    for missing in ((), *((name,) for name in _inputs(cert_type))):
        result = _without(tee, cert_type, missing)
        shown = {check.id for check in result.checks}
        if missing == ("evidence",):
            assert shown == {"evidence"}
        elif missing and missing[0].startswith(("tcb_info", "qe_identity")):
            # Without a TCB evaluation there is nothing to judge; its status says so.
            assert required - shown == {"dcap.advisories", "dcap.tcb-number"}
        else:
            assert required <= shown


@FORMS
def test_waivers_give_up_one_thing_each(tee: str, cert_type: int) -> None:
    world = _world(tee, cert_type)
    cases: list[tuple[str, dict[str, object], Endorsements | None]] = [
        ("binding", {"binding": None}, None),
        ("executables", {"releases": ()}, None),
    ]
    for role in ("pck_crl", "root_ca_crl"):
        rest = {name: data for name, data in world.endorsements.documents.items() if name != role}
        cases.append(("revocation", {}, Endorsements(rest)))
    for name, options, endorsements in cases:
        waive = (name, "freshness") if name == "binding" else (name,)
        result = judge(world, endorsements=endorsements, waive=waive, **options)  # type: ignore[arg-type]
        assert result.verdict is Verdict.WARNING
        assert found(result, name).status is Status.WAIVED
        other = tuple({"binding", "executables", "revocation", "currency", "freshness"} - {name})
        result = judge(world, endorsements=endorsements, waive=other, **options)  # type: ignore[arg-type]
        assert result.verdict is Verdict.INCOMPLETE
    # No waiver gives up what Intel's documents say.
    everything = ("binding", "executables", "revocation", "currency", "freshness")
    for role in ("tcb_info", "qe_identity"):
        rest = {name: data for name, data in world.endorsements.documents.items() if name != role}
        assert judge(world, endorsements=Endorsements(rest), waive=everything).verdict not in ACCEPTED
    assert judge(world, anchors=[], waive=everything).verdict not in ACCEPTED
    assert judge(world, quote=b"", waive=everything).verdict not in ACCEPTED
