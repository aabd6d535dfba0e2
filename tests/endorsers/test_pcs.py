# SPDX-License-Identifier: Apache-2.0
"""How a PCS or PCCS is asked, and what its answers are worth."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from nacre import platforms
from nacre.endorsers.facts import facts
from nacre.endorsers.fetch import HttpFetcher, Response
from nacre.endorsers.pcs import INTEL_PCS, Pcs
from nacre.errors import ConfigurationError, EndorsementsUnavailable
from nacre.platforms.base import Source

if TYPE_CHECKING:
    from tests.endorsers.conftest import Case, Server

TCB = "/tdx/certification/v4/tcb?fmspc=90c06f000000"


@pytest.fixture
def sources(relaunch: "Case") -> dict[str, Source]:
    platform = platforms.get("tdx")
    return {source.role: source for source in platform.sources(platform.parse(relaunch.evidence))}


def _fails(pcs: Pcs, source: Source) -> EndorsementsUnavailable:
    with pytest.raises(EndorsementsUnavailable) as caught:
        pcs.fetch(source)
    assert "?" not in str(caught.value).replace("?fmspc", "")
    return caught.value


def test_every_document_of_real_evidence(
    server: "Server", fetcher: HttpFetcher, relaunch: "Case", sources: dict[str, Source]
) -> None:
    server.serve(relaunch)
    pcs = Pcs(base=server.url, fetcher=fetcher)
    for role, source in sources.items():
        found = pcs.fetch(source)
        assert found.facts == facts(relaunch.documents[role], relaunch.documents.get(source.chain_role))
        assert found.chain == relaunch.documents.get(source.chain_role)
        if role != "root_ca_crl":  # a PCCS serves it in hex
            assert found.document == relaunch.documents[role]
    assert server.requests[0] == TCB


def test_where_intel_serves(sources: dict[str, Source]) -> None:
    urls = {role: Pcs().url(source) for role, source in sources.items()}
    assert urls == {
        "tcb_info": INTEL_PCS + TCB,
        "qe_identity": INTEL_PCS + "/tdx/certification/v4/qe/identity",
        "pck_crl": INTEL_PCS + "/sgx/certification/v4/pckcrl?ca=platform&encoding=der",
        "root_ca_crl": "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der",
    }


@pytest.mark.parametrize(
    "end", ["", "/", "/sgx/certification/v4", "/sgx/certification/v4/", "/tdx/certification/v4/"]
)
def test_where_a_pccs_serves(sources: dict[str, Source], end: str) -> None:
    pcs = Pcs(base="https://localhost:8081" + end)
    assert pcs.url(sources["tcb_info"]) == "https://localhost:8081" + TCB
    assert pcs.url(sources["root_ca_crl"]) == "https://localhost:8081/sgx/certification/v4/rootcacrl"


def test_the_series_of_documents(sources: dict[str, Source]) -> None:
    early, pinned = Pcs(update="early"), Pcs(number=17)
    assert early.url(sources["tcb_info"]).endswith("fmspc=90c06f000000&update=early")
    assert early.url(sources["qe_identity"]).endswith("/qe/identity?update=early")
    assert early.url(sources["pck_crl"]) == Pcs().url(sources["pck_crl"])
    assert pinned.url(sources["qe_identity"]).endswith("?tcbEvaluationDataNumber=17")
    assert [pcs.scope for pcs in (Pcs(), early, pinned)] == ["standard", "early", ""]
    with pytest.raises(ConfigurationError) as caught:
        Pcs(update="early", number=17)
    assert caught.value.code == "pcs-options"


@pytest.mark.parametrize(
    ("status", "number", "code"),
    [
        (404, None, "endorsement-unknown"),
        (410, None, "endorsement-retired"),
        (404, 12, "endorsement-retired"),
        (410, 12, "endorsement-retired"),
        (401, None, "endorser-status"),
    ],
)
def test_what_statuses_mean(  # noqa: PLR0917 (pytest calls it)
    server: "Server",
    fetcher: HttpFetcher,
    sources: dict[str, Source],
    status: int,
    number: int | None,
    code: str,
) -> None:
    server.otherwise = lambda handler: handler.answer(b"", status=status)
    assert _fails(Pcs(base=server.url, fetcher=fetcher, number=number), sources["tcb_info"]).code == code


def test_a_platform_nobody_knows(server: "Server", fetcher: HttpFetcher, sources: dict[str, Source]) -> None:
    error = _fails(Pcs(base=server.url, fetcher=fetcher), sources["tcb_info"])
    assert (error.code, error.context["role"]) == ("endorsement-unknown", "tcb_info")
    assert "pre-production" in error.hint


class _Canned:
    """A network with one answer."""

    def __init__(self, body: bytes, headers: dict[str, str]) -> None:
        self._response = Response(body, headers)

    def get(self, url: str) -> Response:
        del url
        return self._response


def _chain(case: "Case") -> str:
    return case.documents["tcb_info_issuer_chain"].decode().replace("\n", "%0A").replace(" ", "%20")


def test_the_older_name_of_the_header(relaunch: "Case", sources: dict[str, Source]) -> None:
    canned = _Canned(relaunch.documents["tcb_info"], {"sgx-tcb-info-issuer-chain": _chain(relaunch)})
    found = Pcs(fetcher=canned).fetch(sources["tcb_info"])
    assert found.chain == relaunch.documents["tcb_info_issuer_chain"]


def test_no_chain(relaunch: "Case", sources: dict[str, Source]) -> None:
    error = _fails(Pcs(fetcher=_Canned(relaunch.documents["tcb_info"], {})), sources["tcb_info"])
    assert error.code == "endorser-chain-missing"
    assert "SGX-TCB-Info-Issuer-Chain" in str(error)


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("garbage", "endorser-garbage"),
        ("%2D%2D%2D%2D%2DBEGIN CERTIFICATE", "endorser-garbage"),
        ("%ZZ%", "endorser-garbage"),
        ("", "endorser-garbage"),
        ("A" * 70000, "endorser-too-large"),
    ],
)
def test_a_chain_that_is_none(relaunch: "Case", sources: dict[str, Source], header: str, code: str) -> None:
    canned = _Canned(relaunch.documents["tcb_info"], {"tcb-info-issuer-chain": header})
    assert _fails(Pcs(fetcher=canned), sources["tcb_info"]).code == code


@pytest.mark.parametrize("body", [b"", b"<html>login</html>", b"{", b'{"tcbInfo":{}}'])
def test_a_body_that_is_none(relaunch: "Case", sources: dict[str, Source], body: bytes) -> None:
    canned = _Canned(body, {"tcb-info-issuer-chain": _chain(relaunch)})
    error = _fails(Pcs(fetcher=canned), sources["tcb_info"])
    assert (error.code, error.context["role"]) == ("endorser-garbage", "tcb_info")


def test_the_document_of_another_platform(
    case: Callable[[str], "Case"], relaunch: "Case", sources: dict[str, Source]
) -> None:
    other = case("tdx/dstack-tee-v4-00806f050000-e17-uptodate-c39cac")
    canned = _Canned(other.documents["tcb_info"], {"tcb-info-issuer-chain": _chain(relaunch)})
    error = _fails(Pcs(fetcher=canned), sources["tcb_info"])
    assert (error.code, error.context["actual"]) == ("endorser-wrong-document", "00806f050000")


def test_another_number_than_was_asked_for(relaunch: "Case", sources: dict[str, Source]) -> None:
    canned = _Canned(relaunch.documents["tcb_info"], {"tcb-info-issuer-chain": _chain(relaunch)})
    error = _fails(Pcs(fetcher=canned, number=20), sources["tcb_info"])
    assert (error.code, error.context["actual"]) == ("endorser-wrong-document", 18)
    assert Pcs(fetcher=canned, number=18).fetch(sources["tcb_info"]).facts.number == 18
