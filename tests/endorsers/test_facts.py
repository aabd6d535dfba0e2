# SPDX-License-Identifier: Apache-2.0
"""What served documents say about themselves."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nacre.endorsers.facts import CERTIFICATE, MAX_DOCUMENT, Facts, facts
from nacre.errors import MalformedEvidence
from nacre.trust import pem

if TYPE_CHECKING:
    from tests.endorsers.conftest import Case


def test_tcb_info(relaunch: "Case") -> None:
    found = facts(relaunch.documents["tcb_info"])
    assert found == Facts(1740566240, 1743158240, "tcb", 18, 1740566240, "90c06f000000")


def test_an_identity(relaunch: "Case") -> None:
    found = facts(relaunch.documents["qe_identity"])
    assert (found.kind, found.number, found.fmspc) == ("identity", 18, "")


@pytest.mark.parametrize("role", ["pck_crl", "root_ca_crl"])
def test_revocation_lists_in_every_form(relaunch: "Case", role: str) -> None:
    crl = relaunch.documents[role]
    found = facts(crl)
    assert found.valid(relaunch.at)
    assert (found.kind, found.number) == ("", 0)
    assert facts(crl.hex().encode()) == found


def test_a_chain_shortens_the_dates(case: Callable[[str], "Case"], relaunch: "Case") -> None:
    # Intel's TCB signing certificate of 2018 ended on 2025-05-21.
    alone = facts(relaunch.documents["tcb_info"])
    assert facts(relaunch.documents["tcb_info"], relaunch.documents["tcb_info_issuer_chain"]) == alone
    late = case("tdx/dstack-tee-v4-b0c06f000000-e17-tcb-level-f7d98e").documents["tcb_info"]
    assert facts(late, relaunch.documents["tcb_info_issuer_chain"]).ends == 1747824610
    assert facts(late, relaunch.documents["tcb_info_issuer_chain"]).ends < facts(late).ends


def test_both_ends_are_valid() -> None:
    found = Facts(10, 20)
    assert [found.valid(at) for at in (9, 10, 20, 21)] == [False, True, True, False]


@pytest.mark.parametrize(
    "change",
    [
        (rb'"issueDate":"[^"]*"', b'"issueDate":7'),
        (rb'"nextUpdate":"[^"]*",', b""),
        (rb'"nextUpdate":"2025', b'"nextUpdate":"soon'),
        (rb'"tcbEvaluationDataNumber":18', b'"tcbEvaluationDataNumber":"18"'),
        (rb'"tcbEvaluationDataNumber":18', b'"tcbEvaluationDataNumber":true'),
        (rb'"fmspc":"90c06f000000"', b'"fmspc":0'),
        (rb'"fmspc":"90c06f000000"', b'"fmspc":"90c06f000000","fmspc":"000000000000"'),
        (rb"^.*$", b"{}"),
        (rb"^.*$", b'{"tcbInfo":[],"signature":"00"}'),
        (rb"^.*$", b""),
        (rb"^.*$", b"<html>not found</html>"),
        (rb"^.*$", bytes(MAX_DOCUMENT + 1)),
    ],
)
def test_anything_else_is_malformed(relaunch: "Case", change: tuple[bytes, bytes]) -> None:
    with pytest.raises(MalformedEvidence):
        facts(re.sub(change[0], change[1], relaunch.documents["tcb_info"], count=1, flags=re.DOTALL))


def test_a_chain_that_is_none(relaunch: "Case") -> None:
    with pytest.raises(MalformedEvidence):
        facts(relaunch.documents["tcb_info"], b"no chain")


@given(st.binary(max_size=300) | st.binary(max_size=200).map(lambda tail: b'{"tcbInfo":{' + tail))
def test_nothing_else_is_raised(data: bytes) -> None:
    with pytest.raises(MalformedEvidence):
        facts(data)


def test_certificates_of_amd(vectors: Path) -> None:
    folder = vectors / "snp/confidential-milan-v3-05b743-crl"
    vek, ask, ark = ((folder / name).read_bytes() for name in ("vcek.der", "ask.der", "ark.der"))
    found = facts(vek)
    assert (found.kind, found.number, found.fmspc) == (CERTIFICATE, 0, "")
    assert found.ends - found.begins > 6 * 365 * 86400
    chain = facts(pem.armour(ask) + b"\n" + pem.armour(ark) + b"\n")
    assert (chain.kind, chain.begins, chain.ends) == (
        CERTIFICATE,
        max(facts(ask).begins, facts(ark).begins),
        min(facts(ask).ends, facts(ark).ends),
    )


def test_what_is_neither_list_nor_certificate_is_called_a_bad_list(vectors: Path) -> None:
    crl = (vectors / "snp/confidential-milan-v3-05b743-crl/crl.der").read_bytes()
    with pytest.raises(MalformedEvidence) as caught:
        facts(crl[:-1])
    assert caught.value.context["what"] == "CRL"
