# SPDX-License-Identifier: Apache-2.0
"""Intel's Provisioning Certification Service, or a cache of it (PCCS).

Which documents a quote needs, and under which path, is data of its platform (``Platform.sources``); here is
how this kind of server is asked and how its answers are read. Source: Intel PCS API v4; Intel PCCS API v4.

Not proven here:
    Intel's live service and a real PCCS: a server of the tests answers as recorded answers and Intel's
    documentation say.
"""

from typing import Literal

from nacre.endorsers.facts import Facts, facts
from nacre.endorsers.fetch import Fetcher, HttpFetcher, Response
from nacre.endorsers.pace import Pace
from nacre.endorsers.service import Document
from nacre.errors import ConfigurationError, EndorsementsUnavailable, MalformedEvidence
from nacre.platforms.base import Source
from nacre.trust import pem

__all__ = ["INTEL_PCS", "Pcs"]

#: Intel's own service.
INTEL_PCS = "https://api.trustedservices.intel.com"

_MAX_CHAIN = 64 << 10
_API = "/certification/v4"
# A PCCS serves what Intel serves from another host.
_PCCS_PATHS = {"root_ca_crl": "/sgx/certification/v4/rootcacrl"}
# Documents of which several evaluation numbers are in force at a time.
_NUMBERED = frozenset({"tcb_info", "qe_identity"})


class Pcs:
    """Asks a PCS or PCCS for documents. Threads may share one."""

    def __init__(
        self,
        *,
        base: str = INTEL_PCS,
        fetcher: Fetcher | None = None,
        update: Literal["standard", "early"] = "standard",
        number: int | None = None,
    ) -> None:
        """Say whom to ask, and for which series of documents.

        Args:
            base: The server, with or without the API path that PCCS configurations name.
            fetcher: How to get a URL.
            update: ``early`` asks for new TCB levels as soon as they are published, ``standard`` when
                Intel's grace period for updates is over.
            number: A ``tcbEvaluationDataNumber`` to insist on, instead of ``update``.

        Raises:
            ConfigurationError: ``pcs-options``, for both an update other than ``standard`` and a number.
        """
        if number is not None and update != "standard":
            raise ConfigurationError("pcs-options", actual=update, number=number)
        base = base.rstrip("/")
        for tee in ("/sgx", "/tdx"):
            base = base.removesuffix(tee + _API)
        self.base = base
        self._fetcher = fetcher or HttpFetcher()
        self._update = update
        self._number = number

    @property
    def scope(self) -> str:
        """The series of documents for the rollback guard; empty if the number is pinned anyway."""
        return self._update if self._number is None else ""

    @property
    def pace(self) -> Pace | None:
        """None: Intel's service and a PCCS take requests as they come."""
        return None

    @property
    def local(self) -> bool:
        """False: it takes a network."""
        return False

    def url(self, source: Source) -> str:
        """Return where a document is fetched."""
        path = source.path
        if self.base != INTEL_PCS and source.role in _PCCS_PATHS:
            return self.base + _PCCS_PATHS[source.role]
        if source.absolute:
            return path
        option = ""
        if source.role in _NUMBERED:
            if self._number is not None:
                option = f"tcbEvaluationDataNumber={self._number}"
            elif self._update != "standard":
                option = f"update={self._update}"
        return self.base + path + (("&" if "?" in path else "?") + option if option else "")

    def fetch(self, source: Source) -> Document:
        """Get one document and its issuer chain.

        Raises:
            EndorsementsUnavailable: It could not be had (``endorser-…``), the server does not know it
                (``endorsement-unknown``), no longer has it (``endorsement-retired``), or what came is not
                what was asked for (``endorser-wrong-document``, ``endorser-garbage``).
            ConfigurationError: The URL cannot be used.
        """
        url = self.url(source)
        try:
            response = self._fetcher.get(url)
        except EndorsementsUnavailable as error:
            raise self._explained(error, source, url) from None
        chain = _chain(source, response, url)
        try:
            found = facts(response.body, chain)
        except MalformedEvidence as error:
            raise EndorsementsUnavailable(
                "endorser-garbage", role=source.role, url=url, detail=str(error)
            ) from None
        self._insist(source, found)
        return Document(response.body, chain, found)

    def _explained(self, error: EndorsementsUnavailable, source: Source, url: str) -> EndorsementsUnavailable:
        if error.code not in ("endorser-not-found", "endorser-gone"):
            return error
        if self._number is not None and source.role in _NUMBERED:
            return EndorsementsUnavailable(
                "endorsement-retired", role=source.role, url=url, number=self._number
            )
        code = "endorsement-unknown" if error.code == "endorser-not-found" else "endorsement-retired"
        return EndorsementsUnavailable(code, role=source.role, url=url, number="standard")

    def _insist(self, source: Source, found: Facts) -> None:
        fmspc = _parameter(source.path, "fmspc")
        if fmspc and found.fmspc != fmspc:
            raise EndorsementsUnavailable(
                "endorser-wrong-document", role=source.role, what="FMSPC", expected=fmspc, actual=found.fmspc
            )
        if self._number is not None and found.kind and found.number != self._number:
            raise EndorsementsUnavailable(
                "endorser-wrong-document",
                role=source.role,
                what="tcbEvaluationDataNumber",
                expected=self._number,
                actual=found.number,
            )


def _chain(source: Source, response: Response, url: str) -> bytes | None:
    """Read an issuer chain from its header: PEM, percent-encoded."""
    if not source.chain_role:
        return None
    from urllib.parse import unquote_to_bytes  # noqa: PLC0415 (only where something is fetched)

    names = [name.lower() for name in source.chain_headers]
    text = next((response.headers[name] for name in names if name in response.headers), None)
    if text is None:
        raise EndorsementsUnavailable(
            "endorser-chain-missing", role=source.role, url=url, expected=source.chain_headers
        )
    if len(text) > _MAX_CHAIN:
        raise EndorsementsUnavailable("endorser-too-large", url=url, expected=_MAX_CHAIN, actual=len(text))
    chain = unquote_to_bytes(text)
    try:
        pem.certificates(chain)
    except MalformedEvidence as error:
        raise EndorsementsUnavailable(
            "endorser-garbage", role=source.chain_role, url=url, detail=str(error)
        ) from None
    return chain


def _parameter(path: str, name: str) -> str:
    from urllib.parse import parse_qs, urlsplit  # noqa: PLC0415 (only where something is fetched)

    return parse_qs(urlsplit(path).query).get(name, [""])[0].lower()
