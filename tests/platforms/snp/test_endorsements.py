# SPDX-License-Identifier: Apache-2.0
"""What a report needs and where AMD serves it."""

import json
from pathlib import Path

import msgspec
import pytest

from nacre.errors import EndorsementsUnavailable
from nacre.platforms.snp.endorsements import ENDORSER, ROLES, ROOTS, anchors, sources
from nacre.platforms.snp.evidence import SnpEvidence, parse
from nacre.platforms.snp.products import PRODUCTS

MILAN = "snp/confidential-milan-v3-05b743-crl"
TURIN = "snp/project-oak-turin-v5-3f44a0-nocrl"
OLD_GENOA = "snp/syn-format-v2-genoa"
VLEK = "snp/confidential-milan-vlek-v2-affb92-nocrl"
HIDDEN = bytes(64)


def read(vectors: Path, name: str) -> SnpEvidence:
    return parse((vectors / name / "report.bin").read_bytes())


def changed(evidence: SnpEvidence, **fields: object) -> SnpEvidence:
    """Change what a report says; nobody looks at its signature here."""
    report = msgspec.structs.replace(evidence.report, **fields)
    return msgspec.structs.replace(evidence, report=report)


def paths(evidence: SnpEvidence) -> dict[str, tuple[str, ...]]:
    found = sources(evidence)
    assert {source.endorser for source in found} == {ENDORSER}
    assert {source.role for source in found} <= set(ROLES)
    return {source.role: (source.path, *source.alternatives) for source in found}


def test_a_report_that_says_its_product_line(vectors: Path) -> None:
    evidence = read(vectors, MILAN)
    chip = evidence.report.chip_id.hex()
    assert paths(evidence) == {
        "vek": (f"/vcek/v1/Milan/{chip}?blSPL=04&teeSPL=00&snpSPL=24&ucodeSPL=219",),
        "ask": ("/vcek/v1/Milan/cert_chain",),
        "crl": ("/vcek/v1/Milan/crl",),
    }


def test_turin_has_its_own_parameters(vectors: Path) -> None:
    """Turin: eight bytes of CHIP_ID, another order of levels, and the FMC (go-sev-guest #153, #193)."""
    evidence = read(vectors, TURIN)
    reported = evidence.report.reported_tcb
    (path,) = paths(evidence)["vek"]
    head, _, query = path.partition("?")
    assert head == "/vcek/v1/Turin/3b42092f69c656d3"
    assert query == (
        f"blSPL={reported[1]:02d}&teeSPL={reported[2]:02d}&snpSPL={reported[3]:02d}"
        f"&ucodeSPL={reported[7]:02d}&fmcSPL={reported[0]:02d}"
    )


def test_the_reported_tcb_counts_and_not_the_current_one(vectors: Path) -> None:
    """go-sev-guest (#72, #73) asked for the key of the TCB that runs; keys are of the reported one."""
    evidence = changed(read(vectors, MILAN), current_tcb=bytes([9, 9, 0, 0, 0, 0, 9, 9]))
    assert paths(evidence) == paths(read(vectors, MILAN))


def test_an_old_report_may_be_of_either(vectors: Path) -> None:
    found = paths(read(vectors, OLD_GENOA))
    assert [[path.split("/")[3] for path in role] for role in found.values()] == [["Milan", "Genoa"]] * 3
    assert found["vek"][0].replace("Milan", "Genoa") == found["vek"][1]


def test_an_old_report_with_a_short_chip_id_is_of_turin(vectors: Path) -> None:
    evidence = read(vectors, OLD_GENOA)
    short = changed(evidence, chip_id=evidence.report.chip_id[:8] + bytes(56))
    assert paths(short)["crl"] == ("/vcek/v1/Turin/crl",)


def test_what_the_host_sent_is_not_asked_for(vectors: Path) -> None:
    folder = vectors / OLD_GENOA
    vek, ask = (folder / "vcek.der").read_bytes(), (folder / "ask.der").read_bytes()
    evidence = read(vectors, OLD_GENOA)
    both = msgspec.structs.replace(evidence, certificates={"vek": vek, "ask": ask, "crl": b"stale"})
    # The product line is then the issuer's word; the host's list is no substitute for a current one.
    assert paths(both) == {"crl": ("/vcek/v1/Genoa/crl",)}
    alone = msgspec.structs.replace(evidence, certificates={"vek": vek})
    assert paths(alone) == {"ask": ("/vcek/v1/Genoa/cert_chain",), "crl": ("/vcek/v1/Genoa/crl",)}


@pytest.mark.parametrize("vek", [b"", b"no certificate", b"ask"])
def test_what_a_host_sent_may_be_anything(vectors: Path, vek: bytes) -> None:
    if vek == b"ask":  # a certificate, of somebody unknown: an ASK is issued by an ARK
        vek = (vectors / OLD_GENOA / "ask.der").read_bytes()
    evidence = msgspec.structs.replace(read(vectors, OLD_GENOA), certificates={"vek": vek})
    assert paths(evidence)["crl"] == ("/vcek/v1/Milan/crl", "/vcek/v1/Genoa/crl")


def test_a_vlek_comes_from_the_cloud_alone(vectors: Path) -> None:
    evidence = read(vectors, VLEK)
    with pytest.raises(EndorsementsUnavailable) as caught:
        sources(evidence)
    assert caught.value.code == "snp-vlek-not-sent"
    assert "certificate table" in caught.value.hint
    vek = (
        vectors / VLEK / json.loads((vectors / VLEK / "case.json").read_text())["collateral"]["vek"]
    ).read_bytes()
    sent = msgspec.structs.replace(evidence, certificates={"vek": vek})
    assert paths(sent) == {"ask": ("/vlek/v1/Milan/cert_chain",), "crl": ("/vlek/v1/Milan/crl",)}


def test_a_chip_that_the_host_hides(vectors: Path) -> None:
    evidence = changed(read(vectors, MILAN), chip_id=HIDDEN)
    with pytest.raises(EndorsementsUnavailable) as caught:
        sources(evidence)
    assert caught.value.code == "snp-chip-hidden"
    sent = msgspec.structs.replace(evidence, certificates={"vek": b"any"})
    assert paths(sent)["crl"] == ("/vcek/v1/Milan/crl",)


@pytest.mark.parametrize("signer_info", [2, 7 << 2, 2 << 2])
def test_nothing_makes_up_for_a_report_that_nobody_signed(vectors: Path, signer_info: int) -> None:
    assert sources(changed(read(vectors, MILAN), signer_info=signer_info)) == ()


def test_one_root_a_product_line() -> None:
    assert [anchor.name for anchor in anchors()] == list(ROOTS)
    assert len(ROOTS) == len(PRODUCTS)
