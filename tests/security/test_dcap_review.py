# SPDX-License-Identifier: Apache-2.0
"""What an attack on this verifier of SGX and TDX found, each with the verdict that it must not give."""

import msgspec
import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from tests.platforms.dcap.judging import found, judge, refusal
from tests.platforms.dcap.pki import (
    DAY,
    NOW,
    QE_SVN,
    SVNS,
    TDX_SVNS,
    Json,
    Spec,
    World,
    certificate,
    der,
    extension_fields,
    level,
    module,
    pair,
    svn_level,
)

from nacre.appraisal.report import to_json
from nacre.appraisal.verdict import Verdict
from nacre.checks import Status
from nacre.platforms.base import Endorsements
from nacre.trust.anchors import private_anchor
from nacre.trust.memo import Memo

_NAME = "Intel SGX Root CA"
_OTHER = Spec(_NAME, path_length=1, serial=21, key="other-root")
_OLD = (NOW - 900 * DAY, NOW - 1900 * DAY)


# ── Anchors ──────────────────────────────────────────────────────────────────────────────────────────


def test_neither_order_nor_memo_chooses_between_roots_of_one_name() -> None:
    """The first root by name was taken; with a memo that knew the chain, the right one."""
    world = World(chains={"pck_chain": ("pck", "pck-ca")})
    other = private_anchor(certificate("other", _OTHER, _NAME, "other-root").public_bytes(Encoding.DER))
    memo = Memo()
    assert judge(world, memo=memo).verdict is Verdict.VERIFIED
    for anchors in ((world.anchor, other), (other, world.anchor)):
        assert judge(world, anchors=anchors).verdict is Verdict.VERIFIED
        assert judge(world, anchors=anchors, memo=memo).verdict is Verdict.VERIFIED
    assert refusal(world, anchors=(other,)) == "dcap.pck-chain: signature-invalid"
    assert refusal(world, anchors=(other, other), memo=memo) == "dcap.pck-chain: signature-invalid"


# ── Memo ─────────────────────────────────────────────────────────────────────────────────────────────


def test_documents_that_change_in_place_are_other_documents() -> None:
    """Their digest was taken once, so a memo went on to vouch for a list without the revoked one."""
    world, memo = World(), Memo()
    documents = dict(world.endorsements.documents)
    endorsements = Endorsements(documents)
    assert judge(world, endorsements=endorsements, memo=memo).verdict is Verdict.VERIFIED
    revoked = {"pck_crl": {"revoked": (world.spec("pck").serial,)}}
    documents["pck_crl"] = world.but(crls=revoked).endorsements.documents["pck_crl"]
    # The object keeps what it was made of, with a memo and without.
    assert endorsements.documents != documents
    for recalled in (memo, None):
        assert judge(world, endorsements=endorsements, memo=recalled).verdict is Verdict.VERIFIED
    changed = msgspec.structs.replace(endorsements, documents=documents)
    for recalled in (memo, None):
        said = refusal(world, endorsements=changed, memo=recalled)
        assert said == "revocation: certificate-revoked"


# ── Grace ────────────────────────────────────────────────────────────────────────────────────────────


def _graced(world: World) -> str:
    return refusal(world, section={"tcb_grace_days": 30})


def test_a_new_level_gives_no_grace_to_what_was_old_before() -> None:
    """Each new TCB recovery made platforms acceptable again that had been refused for years."""
    levels = [
        level(sgx=(9, *SVNS[1:]), date=NOW - 5 * DAY),
        level("OutOfDate", sgx=(7, *SVNS[1:]), date=_OLD[0]),
        level("OutOfDate", date=_OLD[1]),
    ]
    assert _graced(World(info={"tcbLevels": levels})) == "dcap.tcb-status: tcb-status-refused"
    one_behind = World(info={"tcbLevels": [levels[0], level("OutOfDate", date=_OLD[0])]})
    assert judge(one_behind, section={"tcb_grace_days": 30}).verdict is Verdict.VERIFIED


def _behind(make: str) -> tuple[Json, Json]:
    """Return an old level that was outdated long ago, in TCB Info or in the identity."""
    svn = TDX_SVNS[0] if make == "module" else QE_SVN
    levels = [svn_level(svn + 1, date=_OLD[0]), svn_level(svn, "OutOfDate", date=_OLD[1])]
    info: Json = {"tcbLevels": [level(date=NOW - 5 * DAY)]}
    if make == "module":
        return info | {"tdxModuleIdentities": [module(levels=levels)]}, {}
    return info, {"tcbLevels": levels}


@pytest.mark.parametrize("make", ["module", "enclave"])
def test_a_new_platform_level_gives_no_grace_to_module_and_quoting_enclave(make: str) -> None:
    """The platform was up to date since five days, so what beside it was old for years had grace."""
    info, identity = _behind(make)
    assert _graced(World(info=info, identity=identity)) == "dcap.tcb-status: tcb-status-refused"
    young = judge(World(info=info, identity=identity), section={"tcb_grace_days": 900})
    assert young.verdict is Verdict.VERIFIED


# ── What runs now ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("now", ["OutOfDate", "Revoked"])
def test_a_good_launch_does_not_speak_for_an_older_module_that_runs_now(now: str) -> None:
    """Intel's library lets a good launch stand, whatever replaced the module since; so does the status."""
    levels = [svn_level(5), svn_level(2, now, advisories=("INTEL-SA-00002",))]
    world = World(
        version=5,
        report={"tee_tcb_svn2": bytes((2, *TDX_SVNS[1:]))},
        info={"tdxModuleIdentities": [module(levels=levels)]},
    )
    result = judge(world)
    assert result.verdict is Verdict.REJECTED
    assert found(result, "dcap.tcb-status").status is Status.PASS
    assert found(result, "tdx.tcb-now").actual == now
    ignored = judge(world, section={"unsafe_ignore_current_tcb": True})
    assert found(ignored, "tdx.tcb-now").status is Status.WARN
    if now == "OutOfDate":
        statuses = ("UpToDate", now)
        accepted = judge(world, section={"accept_tcb_status": statuses})
        assert found(accepted, "tdx.tcb-now").context["advisories"] == ("INTEL-SA-00002",)
        lived_with = {"accept_tcb_status": statuses, "accept_advisories": ("INTEL-SA-00002",)}
        assert judge(world, section=lived_with).verdict is Verdict.VERIFIED


def test_an_older_module_of_the_same_status_has_advisories_of_its_own() -> None:
    """Both are OutOfDate, which the policy accepts; it lives with the advisories of the launch alone."""
    levels = [
        svn_level(9),
        svn_level(5, "OutOfDate", advisories=("INTEL-SA-00001",)),
        svn_level(2, "OutOfDate", advisories=("INTEL-SA-00001", "INTEL-SA-00002")),
    ]
    world = World(
        version=5,
        report={"tee_tcb_svn2": bytes((2, *TDX_SVNS[1:]))},
        info={"tdxModuleIdentities": [module(levels=levels)]},
    )
    section = {"accept_tcb_status": ("OutOfDate",), "accept_advisories": ("INTEL-SA-00001",)}
    assert refusal(world, section=section) == "tdx.tcb-now: tcb-now-worse"
    assert judge(world.but(report={}), section=section).verdict is Verdict.VERIFIED
    both = section | {"accept_advisories": ("INTEL-SA-00001", "INTEL-SA-00002")}
    assert judge(world, section=both).verdict is Verdict.VERIFIED


# ── Service TDs ──────────────────────────────────────────────────────────────────────────────────────


def test_a_report_without_the_field_does_not_hide_a_service_td() -> None:
    """A host can ask for a quote of version 4, which has no field for whoever may migrate the TD."""
    migratable = {"td_attributes": (1 << 28 | 1 << 29).to_bytes(8, "little")}
    section = {"td_attributes": ("SEPT_VE_DISABLE", "MIGRATABLE"), "service_tds": ("aa" * 48,)}
    shown = World(version=5, report={**migratable, "mr_service_td": b"\xbb" * 48})
    assert refusal(shown, section=section) == "tdx.service-td: service-td-refused"
    hidden = judge(World(version=4, report=migratable), section=section)
    assert hidden.verdict is Verdict.INCOMPLETE
    assert found(hidden, "tdx.service-td").status is Status.SKIPPED


# ── Mode ─────────────────────────────────────────────────────────────────────────────────────────────


def test_measured_code_does_not_run_in_another_mode() -> None:
    """MRENCLAVE covers no attributes: a host signs the pages anew and starts them in 32-bit mode."""
    world = World(tee="sgx", version=3, report={"attributes": b"\x01" + bytes(15)})
    assert refusal(world) == "sgx.mode: sgx-mode-32"
    assert judge(world, section={"allow_32_bit": True}).verdict is Verdict.VERIFIED
    assert judge(World(tee="sgx", version=3)).verdict is Verdict.VERIFIED


# ── Numbers ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_number_of_kilobytes_is_an_outcome() -> None:
    """Nobody's signature is needed for it, and Python refuses to write it in decimal."""
    fields = extension_fields() | {5: pair((5,), der(0x0A, b"\x01" * 4000))}
    result = judge(World(fields=fields))
    assert result.verdict is Verdict.REJECTED
    assert found(result, "dcap.pck-chain").actual == "4000 bytes"
    assert to_json(result)
