# SPDX-License-Identifier: Apache-2.0
"""Reports with what a host sent along, and in Azure's wrapper: verified as a whole."""

import hashlib
import struct

import pytest
from tests.platforms.snp.judging import BINDING, appraised, refused, verify
from tests.platforms.snp.pki import CSP, World

from nacre.appraisal.bindings import Binding
from nacre.appraisal.verdict import Verdict
from nacre.checks import Status
from nacre.errors import UnsupportedEvidence, VerificationError
from nacre.platforms.base import Endorsements
from nacre.platforms.snp import PLATFORM
from nacre.platforms.snp.policy import SnpPolicy

_GUIDS = {
    "vcek": "63da758de6644564adc5f4b93be8accd",
    "vlek": "a8074bc2a25a483eaae639c045a0b8a1",
    "ask": "4ab7b379bbac4fe4a02f05aef327c782",
    "ark": "c0b406a4a803495297433fb6014cd0ae",
    "crl": "92f81bc358114d3d97ffd19f88dc67ea",
}


def table(**contents: bytes) -> bytes:
    """Encode a host's certificate table."""
    offset = 24 * (len(contents) + 1)
    head, body = b"", b""
    for name, content in contents.items():
        head += bytes.fromhex(_GUIDS[name]) + struct.pack("<II", offset + len(body), len(content))
        body += content
    return head + bytes(24) + body


def _sent(world: World, **changes: bytes) -> bytes:
    contents = {world.kind: world.der("vek"), "ask": world.der("ask"), "ark": world.der("ark")}
    contents["crl"] = world.documents["crl"]
    return world.but(tail=table(**{**contents, **changes})).evidence()


_NOTHING = Endorsements({})


@pytest.mark.parametrize("kind", ["vcek", "vlek"])
@pytest.mark.parametrize("product", ["Milan", "Genoa", "Turin"])
def test_what_the_host_sent_is_used(product: str, kind: str) -> None:
    world = World(product=product, kind=kind)
    # All but the revocation list: a host would send one from before the revocation.
    claims = verify(world, evidence=_sent(world), endorsements=_NOTHING)
    (revocation,) = [check for check in claims.checks if check.id == "revocation"]
    assert revocation.status is Status.SKIPPED
    listed = Endorsements({"crl": world.documents["crl"]})
    claims = verify(world, evidence=_sent(world), endorsements=listed)
    assert claims.evidence.form == "extended"
    assert {check.status for check in claims.checks} <= {Status.PASS, Status.NOT_APPLICABLE}
    assert claims.identity.get("csp_id", CSP) == CSP


def test_what_the_verifier_has_goes_first() -> None:
    world = World()
    useless = _sent(world, vcek=b"x", ask=b"y", crl=b"z")
    verify(world, evidence=useless)
    assert refused(world, "snp.chain", evidence=useless, endorsements=_NOTHING) == "der-tag"
    # A stale list of the host's does not take the place of one that names the key.
    old = _sent(world)
    assert refused(world.but(revoked=(0,)), "revocation", evidence=old) == "certificate-revoked"


def test_the_hosts_root_is_never_an_anchor() -> None:
    """Nor is it compared: a host can send what it likes."""
    forged = World(ark={"key": "forger", "signer": "forger"}, authority={"signer": "forger"})
    genuine = World()
    code = refused(
        forged, "snp.chain", evidence=_sent(forged), endorsements=_NOTHING, anchors=(genuine.anchor,)
    )
    assert code == "signature-invalid"
    verify(genuine, evidence=_sent(genuine, ark=forged.der("ark")), endorsements=_NOTHING)


def test_a_host_that_sent_both_kinds_of_keys() -> None:
    for kind in ("vcek", "vlek"):
        world = World(kind=kind)
        other = World(kind="vlek" if kind == "vcek" else "vcek")
        evidence = _sent(world, **{other.kind: other.der("vek")})
        assert verify(world, evidence=evidence, endorsements=_NOTHING).key == kind


def test_a_table_is_shown() -> None:
    world = World()
    found = {view.name: view for view in PLATFORM.views(PLATFORM.parse(_sent(world)))}
    assert found["table.vcek"].value == 'certificate "SEV-VCEK"'
    assert "sent by the host, never an anchor" in found["table.ark"].notes
    broken = _sent(world, ask=b"no certificate")
    found = {view.name: view for view in PLATFORM.views(PLATFORM.parse(broken))}
    assert found["table.ask"].value == "14 bytes"


# ── Azure ────────────────────────────────────────────────────────────────────────────────────────────


def _azure(world: World, *, user_data: bytes | None = None, report_data: bytes | None = None) -> bytes:
    """Wrap a report as Azure's paravisor does."""
    chosen = b"" if user_data is None else b',"user-data":"' + user_data.hex().encode() + b'"'
    runtime = b'{"keys":[]' + chosen + b"}"
    data = hashlib.sha256(runtime).digest() + bytes(32) if report_data is None else report_data
    report = world.but(report={**world.report, "report_data": data}).evidence()
    size = 32 + 1184 + 20 + len(runtime)
    head = b"HCLA" + struct.pack("<IIII", 2, size, 2, 0) + bytes(12)
    return head + report + struct.pack("<5I", 20 + len(runtime), 1, 2, 1, len(runtime)) + runtime


def test_azure() -> None:
    world = World(version=3)
    claims = verify(world, evidence=_azure(world, user_data=b"U" * 64))
    assert claims.evidence.form == "hcl"
    assert claims.committed.data == b"U" * 64
    assert [check.id for check in claims.checks][-2:] == ["snp.runtime-data", "currency"]
    assert claims.evidence.report_bytes == claims.evidence.raw[32:1216]
    assert verify(world, evidence=_azure(world)).committed.data == b""
    names = [view.name for view in PLATFORM.views(claims.evidence)]
    assert "hcl.runtime" in names


def test_behind_the_hash_of_runtime_data_is_nothing() -> None:
    """Report data with more than that hash were somebody else's to choose."""
    world = World(version=3)
    runtime = hashlib.sha256(b'{"keys":[]}').digest()
    verify(world, evidence=_azure(world, report_data=runtime + bytes(32)))
    other = _azure(world, report_data=runtime + bytes(31) + b"\1")
    with pytest.raises(VerificationError) as caught:
        verify(world, evidence=other)
    assert caught.value.code == "hcl-runtime-data"


def test_an_author_that_nobody_checked_is_no_register() -> None:
    author = {"author_key_digest": b"\7" * 48}
    assert verify(World(report=author)).registers["author_key_digest"] == bytes(48)
    checked = World(report={**author, "signer_info": 1})
    assert verify(checked).registers["author_key_digest"] == b"\7" * 48


def test_a_guest_that_wraps_its_own_report_is_no_paravisor() -> None:
    """A guest below the paravisor may ask for reports too, whatever levels a policy accepts of bare ones."""
    guest = World(version=3).but(report={"vmpl": 2})
    made = appraised(guest, evidence=_azure(guest, user_data=BINDING.digest), section=SnpPolicy(vmpls=(0, 2)))
    (check,) = [check for check in made.checks if check.id == "snp.vmpl"]
    assert (check.status, check.reason) == (Status.FAIL, "snp-vmpl")


def test_azures_registers_are_the_paravisors() -> None:
    world, data = World(version=3), BINDING.digest or b""
    evidence = _azure(world, user_data=data)
    result = appraised(world, evidence=evidence)
    assert result.verdict is Verdict.WARNING
    assert [check.id for check in result.checks if check.status is Status.WARN] == ["snp.paravisor"]
    accepted = appraised(world, evidence=evidence, section=SnpPolicy(accept_paravisor=True))
    assert accepted.verdict is Verdict.VERIFIED
    # A nonce that the report has itself, and the runtime data have not, is the paravisor's affair.
    outside = _azure(world, user_data=bytes(64))
    assert appraised(world, evidence=outside).verdict is Verdict.REJECTED
    other = Binding.nonce(b"o" * 32)
    assert appraised(world, evidence=evidence, binding=other).verdict is Verdict.REJECTED


def test_runtime_data_that_the_report_does_not_commit_to() -> None:
    world = World(version=3)
    evidence = _azure(world, user_data=b"U" * 64, report_data=b"D" * 64)
    with_code = appraised(world, evidence=evidence)
    assert with_code.verdict is Verdict.REJECTED
    failed = [check for check in with_code.checks if check.status is Status.FAIL]
    assert [(check.id, check.reason) for check in failed] == [("snp.runtime-data", "hcl-runtime-data")]


def test_a_flip_in_the_wrapped_report() -> None:
    world = World(version=3)
    for offset in (32 + 0x90, 32 + 0x50, 32 + 0x2A0):
        changed = bytearray(_azure(world, user_data=b"U" * 64))
        changed[offset] ^= 1
        assert refused(world, "snp.signature", evidence=bytes(changed)) == "signature-invalid"


def test_versions_count_in_the_wrapper_too() -> None:
    changed = bytearray(_azure(World(version=3)))
    changed[32] = 1
    with pytest.raises(UnsupportedEvidence):
        PLATFORM.parse(bytes(changed))
    salvaged = PLATFORM.salvage(bytes(changed))
    assert salvaged is not None
    assert salvaged.report.version == 1
