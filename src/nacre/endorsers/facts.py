# SPDX-License-Identifier: Apache-2.0
"""What a served document says about itself: when it may be used, and which one it is.

Nothing here is verified. The cache needs dates to know what is worth keeping, the rollback guard needs
numbers to compare; whether a document is genuine is for its platform to judge.
"""

import msgspec

from nacre.errors import MalformedEvidence
from nacre.trust import pem
from nacre.trust.crl import parse_crl
from nacre.trust.json import signed_member
from nacre.trust.times import parse_rfc3339
from nacre.trust.x509 import parse_certificate

__all__ = ["MAX_DOCUMENT", "Facts", "facts"]

#: Larger documents are neither fetched nor read.
MAX_DOCUMENT = 1 << 20

_SIGNED = (("tcbInfo", "tcb"), ("enclaveIdentity", "identity"))


class Facts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a document says about itself.

    Attributes:
        begins: When it and its issuer chain begin to be valid, Unix seconds.
        ends: The last second at which all of them are.
        kind: ``tcb`` for TCB Info, ``identity`` for an enclave identity, empty for anything else.
        number: Its ``tcbEvaluationDataNumber``.
        issued: Its ``issueDate``, Unix seconds.
        fmspc: The platform family of TCB Info, hex.
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
        document: Signed JSON of Intel's PCS, or a revocation list (DER, PEM or hex).
        chain: Its issuer chain, PEM.

    Raises:
        MalformedEvidence: It is neither, or a date cannot be read.
    """
    if len(document) > MAX_DOCUMENT:
        raise MalformedEvidence("too-large", what="document", expected=MAX_DOCUMENT, actual=len(document))
    found = _signed(document) if document.lstrip()[:1] == b"{" else _crl(document)
    for der in pem.certificates(chain) if chain else ():
        certificate = parse_certificate(der)
        found = msgspec.structs.replace(
            found,
            begins=max(found.begins, certificate.not_before),
            ends=min(found.ends, certificate.not_after),
        )
    return found


def _crl(document: bytes) -> Facts:
    crl = parse_crl(document)
    return Facts(crl.this_update, crl.next_update)


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
