# SPDX-License-Identifier: Apache-2.0
"""Whatever is left out, the verdict is INCOMPLETE or REJECTED, never better."""

import functools
from itertools import combinations

import pytest
from tests.platforms.snp.judging import BINDING, appraised
from tests.platforms.snp.pki import World

from nacre.appraisal.bindings import Binding
from nacre.appraisal.result import Result
from nacre.appraisal.verdict import Verdict
from nacre.checks import Status
from nacre.platforms.base import Endorsements
from nacre.platforms.snp import PLATFORM
from nacre.trust.memo import Memo

_ROLES = ("vek", "ask", "crl")
_INPUTS = (*_ROLES, "evidence", "anchors", "release", "binding", "nonce")
_FATAL = {"evidence", "anchors"}
_KEY_BINDING = Binding.response_key(key=b"key", not_after=2**32)

_KINDS = pytest.mark.parametrize(("product", "kind"), [("Genoa", "vcek"), ("Turin", "vlek")])


@functools.cache
def _world(product: str, kind: str, *, fresh: bool = True) -> World:
    data = (BINDING if fresh else _KEY_BINDING).digest or b""
    return World(product=product, kind=kind, report={"report_data": data})


@functools.cache
def _evidence(product: str, kind: str, *, fresh: bool) -> bytes:
    return _world(product, kind, fresh=fresh).evidence()


def _without(product: str, kind: str, missing: tuple[str, ...], memo: Memo | None = None) -> Result:
    fresh = "nonce" not in missing
    world = _world(product, kind, fresh=fresh)
    documents = {role: data for role, data in world.documents.items() if role not in missing}
    options: dict[str, object] = {"releases": ()} if "release" in missing else {}
    if "binding" in missing:
        options["binding"] = None
    elif not fresh:
        options["binding"] = _KEY_BINDING
    if "anchors" in missing:
        options["anchors"] = ()
    return appraised(
        world,
        evidence=b"" if "evidence" in missing else _evidence(product, kind, fresh=fresh),
        endorsements=Endorsements(documents),
        memo=memo,
        **options,  # type: ignore[arg-type]
    )


@_KINDS
def test_nothing_missing(product: str, kind: str) -> None:
    assert _without(product, kind, ()).verdict is Verdict.VERIFIED


@_KINDS
def test_up_to_three_inputs_missing(product: str, kind: str) -> None:
    memo = Memo()
    for count in (1, 2, 3):
        for missing in combinations(_INPUTS, count):
            warm, cold = _without(product, kind, missing, memo), _without(product, kind, missing)
            expected = Verdict.REJECTED if _FATAL & set(missing) else Verdict.INCOMPLETE
            # Without certificates nobody looks for an anchor.
            if {"vek", "ask"} & set(missing) and "evidence" not in missing:
                expected = Verdict.INCOMPLETE
            for result in (warm, cold):
                assert result.verdict is expected, missing
            assert [(check.id, check.status) for check in cold.checks] == [
                (check.id, check.status) for check in warm.checks
            ]


@_KINDS
def test_everything_missing(product: str, kind: str) -> None:
    assert _without(product, kind, _INPUTS).verdict is Verdict.REJECTED
    rest = tuple(name for name in _INPUTS if name not in _FATAL)
    assert _without(product, kind, rest).verdict is Verdict.INCOMPLETE


@_KINDS
@pytest.mark.parametrize("role", [*_ROLES, "ark"])
def test_empty_documents_are_not_missing_ones(product: str, kind: str, role: str) -> None:
    world = _world(product, kind)
    result = appraised(world, endorsements=Endorsements({**world.documents, role: b""}))
    assert result.verdict is Verdict.REJECTED


@_KINDS
def test_every_required_check_is_shown(product: str, kind: str) -> None:
    required = {*PLATFORM.required, "executables", "binding", "freshness"}
    for missing in ((), *((name,) for name in _INPUTS)):
        shown = {check.id for check in _without(product, kind, missing).checks}
        assert required <= shown or missing == ("evidence",)


def test_waivers_give_up_one_thing_each() -> None:
    world = _world("Genoa", "vcek")
    unlisted = Endorsements({role: world.documents[role] for role in ("vek", "ask")})
    result = appraised(world, endorsements=unlisted, waive=("revocation",))
    assert result.verdict is Verdict.WARNING
    assert [check.id for check in result.checks if check.status is Status.WAIVED] == ["revocation"]
    others = ("binding", "executables", "currency", "freshness")
    assert appraised(world, endorsements=unlisted, waive=others).verdict is Verdict.INCOMPLETE
    # No waiver gives up the certificates.
    everything = (*others, "revocation")
    for role in ("vek", "ask"):
        rest = Endorsements({name: data for name, data in world.documents.items() if name != role})
        assert appraised(world, endorsements=rest, waive=everything).verdict is Verdict.INCOMPLETE


def test_code_and_host_data() -> None:
    world = _world("Genoa", "vcek")
    for report in ({"measurement": b"m" * 48}, {"report_data": bytes(64)}):
        other = world.but(report={**world.report, **report})
        assert appraised(other).verdict is Verdict.REJECTED
    # The release says "any" of it.
    assert appraised(world.but(report={**world.report, "host_data": bytes(32)})).verdict is Verdict.VERIFIED
