# SPDX-License-Identifier: Apache-2.0
"""What a served document says about itself: when it may be used, and which one it is.

Nothing here is verified. The cache needs dates to know what is worth keeping, the rollback guard needs
numbers to compare; whether a document is genuine is for its platform to judge.
"""

from collections.abc import Iterable

import msgspec

from nacre.errors import MalformedEvidence
from nacre.trust import pem
from nacre.trust.crl import parse_crl
from nacre.trust.json import signed_member
from nacre.trust.times import parse_rfc3339
from nacre.trust.x509 import parse_certificate

__all__ = ["CERTIFICATE", "MAX_DOCUMENT", "Facts", "facts"]

#: The kind of a certificate.
CERTIFICATE = "certificate"
#: Larger documents are neither fetched nor read.
MAX_DOCUMENT = 1 << 20

_PEM_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"
_SIGNED = (("tcbInfo", "tcb"), ("enclaveIdentity", "identity"))


class Facts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a document says about itself.

    Attributes:
        begins: When it and its issuer chain begin to be valid, Unix seconds.
        ends: The last second at which all of them are.
        kind: ``tcb`` for TCB Info, ``identity`` for an enclave identity, ``certificate`` for certificates,
            ``crl`` for a revocation list whose number counts (AMD's), empty for any other list.
        number: Its ``tcbEvaluationDataNumber``, or the number of a list.
        issued: Its ``issueDate``, Unix seconds.
        fmspc: The platform family of TCB Info, hex; of AMD's lists the product line.
    """

    begins: int
    ends: int
    kind: str = ""
    number: int = 0
    issued: int = 0
    fmspc: str = ""

    def valid(self, at: int) -> bool:
        """Tell whether ``at`` is inside the document's dates."""
        return self.begins <= at <= self.ends


def facts(document: bytes, chain: bytes | None = None) -> Facts:
    """Read dates and numbers of a document and of its issuer chain.

    Args:
        document: Signed JSON of Intel's PCS, a revocation list (DER, PEM or hex), a certificate (DER) or a
            chain of them (PEM).
        chain: Its issuer chain, PEM.

    Raises:
        MalformedEvidence: It is neither, or a date cannot be read.
    """
    if len(document) > MAX_DOCUMENT:
        raise MalformedEvidence("too-large", what="document", expected=MAX_DOCUMENT, actual=len(document))
    if document.lstrip()[:1] == b"{":
        found = _signed(document)
    elif document.startswith(_PEM_CERTIFICATE):
        first, *rest = pem.certificates(document)
        found = _within(_certificate(first), rest)
    else:
        found = _binary(document)
    return _within(found, pem.certificates(chain)) if chain else found


def _within(found: Facts, chain: Iterable[bytes]) -> Facts:
    """Shorten the dates to those of certificates too."""
    for der in chain:
        certificate = parse_certificate(der)
        found = msgspec.structs.replace(
            found,
            begins=max(found.begins, certificate.not_before),
            ends=min(found.ends, certificate.not_after),
        )
    return found


def _binary(document: bytes) -> Facts:
    """Read a list in any form, or else a certificate; if it is neither, say what is wrong as a list."""
    try:
        crl = parse_crl(document)
    except MalformedEvidence:
        try:
            return _certificate(document)
        except MalformedEvidence:
            pass
        raise
    return Facts(crl.this_update, crl.next_update)


def _certificate(der: bytes) -> Facts:
    certificate = parse_certificate(der)
    return Facts(certificate.not_before, certificate.not_after, CERTIFICATE)


def _signed(document: bytes) -> Facts:
    member, kind = next(
        ((member, kind) for member, kind in _SIGNED if f'"{member}"'.encode() in document[:64]), ("", "")
    )
    if not kind:
        raise MalformedEvidence("document-unknown", actual=document[:64])
    value = signed_member(document, member, what=member, limit=MAX_DOCUMENT).value
    issued, ends = _time(value, member, "issueDate"), _time(value, member, "nextUpdate")
    number, fmspc = value.get("tcbEvaluationDataNumber"), value.get("fmspc", "")
    if type(number) is not int or not isinstance(fmspc, str):
        raise MalformedEvidence(
            "document-member", path=f"{member}.tcbEvaluationDataNumber", expected="int", actual=str(number)
        )
    return Facts(issued, ends, kind, number, issued, fmspc.lower())


def _time(value: dict[str, object], member: str, name: str) -> int:
    text = value.get(name)
    return parse_rfc3339(text if isinstance(text, str) else "", what=f"{member}.{name}")
