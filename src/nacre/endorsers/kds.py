# SPDX-License-Identifier: Apache-2.0
"""AMD's Key Distribution Service, a cache that answers like it, or a store of what it answered.

AMD allows about one request in ten seconds from an address and refuses more with status 429. So requests are
spaced, one process of this machine at a time; what is told to wait waits as long as it is told, within the
deadline; and a certificate, once there, is kept for its life. Whoever verifies for strangers does better with
a store, filled once for a fleet: a stranger can make others ask for chips that do not exist.

Source: AMD, Versioned Chip Endorsement Key Certificate and KDS Interface Specification (57230), 4.

Not proven here:
    AMD's live service: a server of the tests answers as recorded answers and AMD's documentation say.
"""

from typing import Final

import msgspec

from nacre.endorsers.cache import default_folder
from nacre.endorsers.facts import Facts, facts
from nacre.endorsers.fetch import Fetcher, HttpFetcher
from nacre.endorsers.http import Limits
from nacre.endorsers.notices import Notice, log
from nacre.endorsers.pace import Pace
from nacre.endorsers.service import Document
from nacre.endorsers.store import StoreFetcher, store_folder
from nacre.errors import EndorsementsUnavailable, MalformedEvidence
from nacre.platforms.base import Source
from nacre.platforms.snp.products import PRODUCTS, of_issuer
from nacre.platforms.snp.vek import parse_extension
from nacre.trust import pem
from nacre.trust.crl import parse_crl
from nacre.trust.names import common_name_of
from nacre.trust.x509 import Certificate, parse_certificate

__all__ = ["AMD_KDS", "INTERVAL", "LIMITS", "Kds"]

#: AMD's own service.
AMD_KDS: Final = "https://kdsintf.amd.com"
#: Seconds between two requests that AMD lets pass.
INTERVAL: Final = 10.0
#: What one document may cost: room for three refusals of a busy service.
LIMITS: Final = Limits(total=60.0, retry_after=30.0, pause=10.0)

_BAD_REQUEST = 400
_TOO_MANY = 429
# What paths of AMD's service consist of: kind of key, version of the interface, product line, the rest.
_PARTS = 4


class Kds:
    """Asks AMD's key service, or whoever answers like it. Threads may share one."""

    def __init__(
        self,
        *,
        base: str = AMD_KDS,
        fetcher: Fetcher | None = None,
        pace: Pace | None = None,
        notice: Notice = log,
    ) -> None:
        """Say whom to ask.

        Args:
            base: The server; or ``file:`` and the absolute path of a store.
            fetcher: How to get a URL.
            pace: How requests are spaced; by default as AMD wants it for its own service, for others not.
            notice: Takes what goes wrong without stopping anything.
        """
        self.base = base.rstrip("/")
        folder = store_folder(base)
        self._local = folder is not None
        self._pace = pace
        if pace is None and self.base == AMD_KDS:
            self._pace = Pace("kdsintf.amd.com", default_folder(), interval=INTERVAL, notice=notice)
        if fetcher is None:
            fetcher = HttpFetcher(limits=LIMITS) if folder is None else StoreFetcher(self.base, folder)
        self._fetcher = fetcher

    @property
    def scope(self) -> str:
        """The one series of documents that AMD has."""
        return "standard"

    @property
    def pace(self) -> Pace | None:
        """How requests are spaced."""
        return self._pace

    @property
    def local(self) -> bool:
        """Whether documents come from a store on this machine."""
        return self._local

    def url(self, source: Source) -> str:
        """Return where a document is fetched."""
        return self.base + source.path

    def fetch(self, source: Source) -> Document:
        """Get one document.

        Raises:
            EndorsementsUnavailable: It could not be had (``endorser-…``), the service does not know it
                (``kds-unknown``), wants to be asked less often (``kds-throttled``), or what came is
                not what was asked for (``endorser-wrong-document``, ``endorser-garbage``).
            ConfigurationError: The URL cannot be used.
        """
        url = self.url(source)
        try:
            body = self._fetcher.get(url).body
        except EndorsementsUnavailable as error:
            raise self._explained(error, source, url) from None
        try:
            found = _checked(source, body)
        except MalformedEvidence as error:
            raise EndorsementsUnavailable(
                "endorser-garbage", role=source.role, url=url, detail=str(error)
            ) from None
        return Document(body, None, found)

    def _explained(self, error: EndorsementsUnavailable, source: Source, url: str) -> EndorsementsUnavailable:
        status = error.context.get("actual") if error.code == "endorser-status" else None
        if status == _TOO_MANY or error.code == "endorser-busy":
            return EndorsementsUnavailable("kds-throttled", url=url, expected=int(INTERVAL))
        if status == _BAD_REQUEST or error.code in ("endorser-not-found", "endorser-gone"):
            return EndorsementsUnavailable("kds-unknown", role=source.role, url=url)
        return error


def _checked(source: Source, body: bytes) -> Facts:
    """Read what a document says about itself and insist that it is the one that was asked for.

    A certificate is kept for years, so one of another chip must not get into the cache. Whether it is genuine
    is for its platform to judge.
    """
    kind, line, name = _asked_for(source)
    if source.role == "crl":
        crl = parse_crl(body)
        _insist(source, "issuer", expected=f"ARK-{line}", actual=common_name_of(crl.issuer))
        found = facts(body)
        return msgspec.structs.replace(
            found, kind="crl", number=crl.number or 0, issued=crl.this_update, fmspc=f"{line}-{kind}".lower()
        )
    if source.role == "ask":
        authority = parse_certificate(pem.certificates(body)[0])
        expected = PRODUCTS[line].ask if kind == "vcek" else PRODUCTS[line].asvk
        _insist(source, "subject", expected=expected, actual=authority.common_name)
    else:
        _insist_on_key(source, parse_certificate(body), line, name)
    return facts(body)


def _asked_for(source: Source) -> tuple[str, str, str]:
    """Take a path apart: kind of key, product line, and what is asked for of them."""
    kind, _, line, name = source.path.strip("/").split("/", _PARTS - 1)
    return kind, line, name


def _insist_on_key(source: Source, certificate: Certificate, line: str, name: str) -> None:
    """Insist on the chip and the levels of the path."""
    hwid, _, query = name.partition("?")
    found = of_issuer(common_name_of(certificate.issuer))
    product = PRODUCTS[line]
    _insist(source, "issuer", expected=product.ask, actual=common_name_of(certificate.issuer))
    extension = parse_extension(certificate, product, found[1] if found else "vcek")
    _insist(source, "chip", expected=hwid, actual=(extension.hwid or b"").hex())
    tcb = product.tcb(extension.tcb)
    levels = {"blSPL": tcb.bootloader, "teeSPL": tcb.tee, "snpSPL": tcb.snp, "ucodeSPL": tcb.microcode}
    if tcb.fmc is not None:
        levels["fmcSPL"] = tcb.fmc
    actual = "&".join(f"{level}={value:02d}" for level, value in levels.items())
    _insist(source, "TCB", expected=query, actual=actual)


def _insist(source: Source, what: str, *, expected: str, actual: str) -> None:
    if actual != expected:
        raise EndorsementsUnavailable(
            "endorser-wrong-document", role=source.role, what=what, expected=expected, actual=actual
        )
