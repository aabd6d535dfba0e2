# SPDX-License-Identifier: Apache-2.0
"""Intel's collateral: the documents, who signs what, where they are served, and their verification.

Nine signatures stand behind a quote; six of them are of collateral. Every signer is checked for its
role, not only for its chain: a PCK key that signs TCB Info is a forger with a genuine certificate.
Source: Intel PCS API v4; roles as in Intel's Quote Verification Library.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from nacre.checks import Check, passed, skipped
from nacre.errors import VerificationError
from nacre.platforms.base import Endorsements, Source
from nacre.platforms.dcap.pck import PckExtension
from nacre.platforms.dcap.tcb_info import EnclaveIdentity, TcbInfo, parse_identity, parse_tcb_info
from nacre.platforms.trail import Trail
from nacre.trust import pem
from nacre.trust.anchors import Anchor
from nacre.trust.crl import Crl, check_crl, parse_crl
from nacre.trust.keys import P256_SHA256, raw_signature
from nacre.trust.path import Role, anchor_key, check_path
from nacre.trust.signatures import Signatures
from nacre.trust.x509 import Certificate, anchor_certificate, parse_certificate

__all__ = [
    "PCK_CA",
    "PCK_LEAF",
    "ROLES",
    "TCB_SIGNER",
    "Collateral",
    "Dated",
    "Tee",
    "read_below_anchor",
    "read_chain",
    "sources",
    "validity",
    "verify_collateral",
]

_Document = TypeVar("_Document", TcbInfo, EnclaveIdentity)

#: Every document that verification takes, by role.
ROLES = (
    "tcb_info",
    "tcb_info_issuer_chain",
    "qe_identity",
    "qe_identity_issuer_chain",
    "pck_crl",
    "pck_crl_issuer_chain",
    "root_ca_crl",
    "pck_chain",
)

PCK_LEAF = Role(common_names=("Intel SGX PCK Certificate",))
PCK_CA = Role(common_names=("Intel SGX PCK Platform CA", "Intel SGX PCK Processor CA"))
TCB_SIGNER = Role(common_names=("Intel SGX TCB Signing",))

_ROOT_CRL_URL = "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der"
_TCB_CHAIN_HEADERS = ("TCB-Info-Issuer-Chain", "SGX-TCB-Info-Issuer-Chain")
_IDENTITY_CHAIN_HEADERS = ("SGX-Enclave-Identity-Issuer-Chain",)
_CRL_CHAIN_HEADERS = ("SGX-PCK-CRL-Issuer-Chain",)


_REVOCATION = passed("revocation")
_TITLES = {"tcb_info": "TCB Info", "qe_identity": "the quoting enclave's identity"}


class Tee(msgspec.Struct, frozen=True):
    """What tells SGX and TDX apart in Intel's documents.

    Attributes:
        name: ``sgx`` or ``tdx``: platform name and path element.
        tcb_info: The ``id`` of its TCB Info.
        quoting_enclave: The ``id`` of its quoting enclave's identity.
    """

    name: str
    tcb_info: str
    quoting_enclave: str


class Dated(msgspec.Struct, frozen=True):
    """A signed thing, named by its text, and the time it may be used: both ends included, Unix seconds."""

    what: object
    begins: int
    ends: int


class Collateral(msgspec.Struct, frozen=True):
    """Collateral whose signatures hold. Time, revocation and content are not checked by that.

    Attributes:
        info: TCB Info, if given.
        identity: The quoting enclave's identity, if given.
        pck_crl: The revocation list of the PCK's issuer, if given.
        root_crl: The revocation list of the root, if given.
        signers: The certificates that signed TCB Info and identity.
        revocation: The revocation check, passed if both lists are there; who is listed is yet to be seen.
        missing: Any other check that cannot be made, as skipped.
        dated: Everything that has an end.
        begins: The latest beginning of ``dated``.
        ends: The earliest end of ``dated``.
        digest: What it was verified from: documents, anchor, issuer; 96 bytes.
    """

    info: TcbInfo | None
    identity: EnclaveIdentity | None
    pck_crl: Crl | None
    root_crl: Crl | None
    signers: tuple[Certificate, ...]
    revocation: Check
    missing: tuple[Check, ...]
    dated: tuple[Dated, ...]
    begins: int
    ends: int
    digest: bytes


def sources(tee: Tee, extension: PckExtension, issuer: str) -> tuple[Source, ...]:
    """Say where Intel serves the collateral of a platform.

    Args:
        tee: Which TEE.
        extension: The SGX extension of its PCK certificate.
        issuer: The common name of the PCK's issuer.
    """
    fmspc = extension.fmspc.hex()
    ca = "processor" if "Processor" in issuer else "platform"
    return (
        Source(
            "tcb_info",
            f"/{tee.name}/certification/v4/tcb?fmspc={fmspc}",
            "tcb_info_issuer_chain",
            _TCB_CHAIN_HEADERS,
        ),
        Source(
            "qe_identity",
            f"/{tee.name}/certification/v4/qe/identity",
            "qe_identity_issuer_chain",
            _IDENTITY_CHAIN_HEADERS,
        ),
        Source(
            "pck_crl",
            f"/sgx/certification/v4/pckcrl?ca={ca}&encoding=der",
            "pck_crl_issuer_chain",
            _CRL_CHAIN_HEADERS,
        ),
        Source("root_ca_crl", _ROOT_CRL_URL, absolute=True),
    )


def read_chain(data: bytes) -> list[Certificate]:
    """Decode a PEM chain, leaf first.

    Raises:
        MalformedEvidence: It is no chain of certificates.
    """
    return [parse_certificate(der) for der in pem.certificates(data)]


def read_below(data: bytes, root: Certificate) -> list[Certificate]:
    """Decode a PEM chain, leaf first, without the root at its end.

    The root proves nothing there, the anchor does; it is left out only if it is the anchor.

    Raises:
        MalformedEvidence: It is no chain of certificates.
    """
    # Written as everybody writes it, the root need not be decoded to be known.
    text, armour = data.rstrip(b"\0\r\n"), pem.armour(root.der)
    if text.endswith(b"\n" + armour):
        return read_chain(text[: -len(armour)])
    ders = pem.certificates(data)
    return [parse_certificate(der) for der in (ders[:-1] if ders[-1] == root.der else ders)]


def read_below_anchor(
    data: bytes, anchors: Sequence[Anchor]
) -> tuple[Anchor, Certificate, list[Certificate]]:
    """Read a PCK chain below the anchor that it ends in; a root that comes along has to *be* an anchor.

    Raises:
        MalformedEvidence: It is no chain of certificates.
        VerificationError: ``root-not-trusted``.
    """
    chain: list[Certificate] = []
    found: list[tuple[Anchor, Certificate, list[Certificate]]] = []
    for anchor in anchors:
        root = anchor_certificate(anchor)
        chain = read_below(data, root)
        if chain and chain[-1].issuer == root.subject and chain[-1].issuer != chain[-1].subject:
            found.append((anchor, root, chain))
    if len(found) > 1:
        # Anchors of one name: neither their order in the policy nor what a memo knows may decide.
        signed = [
            (anchor, root, chain)
            for anchor, root, chain in found
            if anchor_key(P256_SHA256, root).holds(chain[-1].signature, chain[-1].tbs)
        ]
        found = signed or found
    if found:
        return found[0]
    last = chain[-1] if chain else None
    raise VerificationError(
        "root-not-trusted",
        check="dcap.pck-chain",
        actual=last.digest if last else b"",
        subject=last.common_name if last else "",
        expected=tuple([anchor.name for anchor in anchors]),
    )


def verify_collateral(
    endorsements: Endorsements,
    *,
    issuer: Certificate,
    issuer_digest: bytes,
    anchor: Anchor,
    signatures: Signatures,
    trail: Trail,
) -> Collateral:
    """Check who signed the collateral; signatures settle with the rest of the verification.

    Args:
        endorsements: The documents.
        issuer: The PCK's issuer, whose revocation list is wanted.
        issuer_digest: SHA-256 of that certificate.
        anchor: The root under which everything has to be.
        signatures: The signature work.
        trail: Where failures belong.
    """
    key = _digest(endorsements) + anchor.digest + issuer_digest
    known = signatures.recall(key)
    if isinstance(known, Collateral):
        return known
    work = _Work(endorsements, anchor_certificate(anchor), signatures, trail)
    trail.begin("revocation")
    root_crl = work.crl("root_ca_crl", work.root)
    pck_crl = work.crl("pck_crl", issuer)
    trail.begin("dcap.tcb-info")
    info = work.document("tcb_info", parse_tcb_info)
    trail.begin("dcap.qe-identity")
    identity = work.document("qe_identity", parse_identity)
    collateral = Collateral(
        info,
        identity,
        pck_crl,
        root_crl,
        tuple(work.signers.values()),
        next((check for check in work.missing if check.id == "revocation"), _REVOCATION),
        tuple([check for check in work.missing if check.id != "revocation"]),
        tuple(work.dated),
        max(item.begins for item in work.dated),
        min(item.ends for item in work.dated),
        key,
    )
    signatures.learn(key, collateral)
    return collateral


def _digest(endorsements: Endorsements) -> bytes:
    known = endorsements.parsed.get("dcap.digest")
    if isinstance(known, bytes):
        return known
    state = hashlib.sha256(b"nacre/dcap/collateral")
    for role in ROLES:
        document = endorsements.get(role)
        state.update(b"\0" if document is None else b"\1" + len(document).to_bytes(8, "big") + document)
    digest = state.digest()
    endorsements.parsed["dcap.digest"] = digest
    return digest


class _Work:
    """One reading of collateral: what it expects of signatures, what is missing, what has an end."""

    __slots__ = ("_endorsements", "_signatures", "_trail", "dated", "missing", "root", "signers")

    def __init__(
        self, endorsements: Endorsements, root: Certificate, signatures: Signatures, trail: Trail
    ) -> None:
        self._endorsements = endorsements
        self._signatures = signatures
        self._trail = trail
        self.root = root
        self.signers: dict[bytes, Certificate] = {}
        self.missing: list[Check] = []
        self.dated = [validity(root)]

    def crl(self, role: str, issuer: Certificate) -> Crl | None:
        """Read a revocation list that has to be the issuer's own."""
        data = self._endorsements.get(role)
        if data is None:
            self._miss(role)
            return None
        crl = parse_crl(data)
        check_crl(
            crl,
            issuer=issuer,
            key=anchor_key(P256_SHA256, issuer)
            if issuer is self.root
            else self._signatures.key(P256_SHA256, issuer.spki),
            signatures=self._signatures,
            check=self._trail.current,
        )
        self.dated.append(Dated(crl, crl.this_update, crl.next_update))
        return crl

    def document(self, role: str, parse: Callable[[bytes], _Document]) -> _Document | None:
        """Read a signed document and check that Intel's TCB signer signed it."""
        data, chain = self._endorsements.get(role), self._endorsements.get(f"{role}_issuer_chain")
        if data is None or chain is None:
            self._miss(role if data is None else f"{role}_issuer_chain")
            return None
        document = parse(data)
        what = _TITLES[role]
        self._signatures.expect(
            self._signatures.key(P256_SHA256, self._signer(chain).spki),
            raw_signature(document.signature, P256_SHA256),
            document.signed,
            check=self._trail.current,
            what=what,
        )
        self.dated.append(Dated(what, document.issued, document.next_update))
        return document

    def _signer(self, chain_pem: bytes) -> Certificate:
        known = self.signers.get(chain_pem)
        if known:
            return known
        chain = read_below(chain_pem, self.root)
        if len(chain) != 1:
            raise VerificationError(
                "chain-length", check=self._trail.current, expected=TCB_SIGNER.common_names, actual=len(chain)
            )
        check_path(
            chain,
            anchor=self.root,
            roles=(TCB_SIGNER,),
            scheme=P256_SHA256,
            signatures=self._signatures,
            check=self._trail.current,
        )
        self.signers[chain_pem] = chain[0]
        self.dated.append(validity(chain[0]))
        return chain[0]

    def _miss(self, role: str) -> None:
        self.missing.append(skipped(self._trail.current, "endorsement-missing", role=role))


def validity(certificate: Certificate) -> Dated:
    """Say when a certificate may be used."""
    return Dated(certificate, certificate.not_before, certificate.not_after)
