# SPDX-License-Identifier: Apache-2.0
"""The interface of a platform: what is to be written to add a TEE.

A platform is a folder with the same file names as the others and one object, ``PLATFORM``, in its
``__init__.py`` that satisfies :class:`Platform`. Everything here is pure: endorsements, anchors and time
are arguments.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, Protocol

import msgspec

from nacre.checks import Check
from nacre.trust.anchors import Anchor, Origin
from nacre.trust.signatures import Signatures

__all__ = [
    "NO_ENDORSEMENTS",
    "Claims",
    "Committed",
    "Endorsements",
    "Evidence",
    "FieldView",
    "Platform",
    "PlatformPolicy",
    "Register",
    "Source",
]


class Evidence(Protocol):
    """Decoded evidence. Knows no trust: everything in it is what somebody says."""

    @property
    def platform(self) -> str:
        """The name of the platform that reads it."""

    @property
    def raw(self) -> bytes:
        """The bytes, exactly as they came."""


class Endorsements(msgspec.Struct, frozen=True):
    """A vendor's signed documents, by role, exactly as served.

    Attributes:
        documents: Role to bytes. Roles are the platform's (``tcb_info``, ``pck_crl`` …).
        parsed: What the platform made of the documents, kept here because it depends on nothing else.
            Holds no verdict and nothing about signatures.
    """

    documents: Mapping[str, bytes]
    parsed: dict[str, object] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Keep the documents as they are now: whoever goes on with his own mapping changes nothing here."""
        msgspec.structs.force_setattr(self, "documents", dict(self.documents))
        # What was made of other documents (``msgspec.structs.replace``) says nothing about these.
        msgspec.structs.force_setattr(self, "parsed", {})

    def get(self, role: str) -> bytes | None:
        """Return the document of a role, if there is one."""
        return self.documents.get(role)


#: Nothing beside the evidence.
NO_ENDORSEMENTS = Endorsements({})


class Committed(msgspec.Struct, frozen=True):
    """The bytes that the attester chose and the evidence commits to.

    Attributes:
        data: Where a binding's digest goes: report data (64 bytes), Nitro's ``user_data``.
        nonce: A separate nonce field, on platforms that have one (Nitro).
        public_key: A separate key field, on platforms that have one (Nitro).
        fields: Whether the platform has those separate fields at all.
        hashed: Whether ``data`` is the SHA-256 of a binding's digest, on platforms whose field is too
            small for it (TPM, NVIDIA, App Attest).
    """

    data: bytes
    nonce: bytes | None = None
    public_key: bytes | None = None
    fields: bool = False
    hashed: bool = False


class Claims(msgspec.Struct, frozen=True, kw_only=True):
    """What evidence proved, once every signature held. Made by ``Platform.verify`` alone.

    Attributes:
        platform: The platform's name.
        origin: GENUINE, PRIVATE or SIMULATED: what the anchor of the chain is worth.
        checks: Each check made on the way, in order; some may be skipped or failed for currency.
        registers: Name to value of every measurement register, named as in releases.
        committed: What the evidence commits to.
        debug: Whether the TEE's owner can look inside.
        issued_at: When the evidence was made, Unix seconds, if it says so itself.
        valid_until: When the first certificate or endorsement of the chain ends, Unix seconds.
        identity: What tells this machine or instance from others, as far as evidence shows it.
    """

    platform: str
    origin: Origin
    checks: tuple[Check, ...]
    registers: Mapping[str, bytes]
    committed: Committed
    debug: bool
    issued_at: int | None
    valid_until: int | None
    identity: Mapping[str, bytes | str | bool]


class PlatformPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The part of a policy that only one platform understands; each platform derives its own."""


class Register(msgspec.Struct, frozen=True):
    """A measurement register that a release may or must state.

    Attributes:
        name: As in ``Claims.registers`` and in a release.
        size: Bytes.
        required: ``value``: a release has to state its value. ``stated``: it has to state a value or
            say ``"any"``. ``optional``: it may leave it out.
        kind: ``bytes``: hex in a release, has to be equal. ``number``: an integer in a release,
            little-endian in claims, has to be equal. ``minimum``: an integer that a release writes as
            ``min_<name>``; claims have to be at least that.
        alternative: 0, or the number of a set of registers that together say which code this is. Where a
            platform has such sets, a release has to state every register of at least one with its value
            (SGX: MRENCLAVE is one, MRSIGNER with ISVPRODID and the least ISVSVN is another).
    """

    name: str
    size: int
    required: str
    kind: str = "bytes"
    alternative: int = 0


class FieldView(msgspec.Struct, frozen=True):
    """One field of evidence as ``nacre inspect`` shows it.

    Attributes:
        name: Dotted path, the vendor's words.
        offset: First byte in the evidence, or None for a derived value.
        size: Bytes, or None.
        value: For people: hex, number or text.
        notes: Decoded flags and meanings.
    """

    name: str
    offset: int | None
    size: int | None
    value: str
    notes: tuple[str, ...] = ()


class Source(msgspec.Struct, frozen=True):
    """Where an endorsement can be fetched: URLs as data.

    Attributes:
        role: The role of the document.
        path: Path and query below the endorser's base, or a whole URL.
        chain_role: The role of the issuer chain that comes in a response header, if one does.
        chain_headers: Names of that header, newest first.
        absolute: Whether ``path`` is a whole URL.
        endorser: Whose service it is: ``intel-pcs`` or ``amd-kds``.
        alternatives: Further paths, where evidence leaves open what it is; the n-th alternatives of all
            sources belong together.
    """

    role: str
    path: str
    chain_role: str = ""
    chain_headers: tuple[str, ...] = ()
    absolute: bool = False
    endorser: str = "intel-pcs"
    alternatives: tuple[str, ...] = ()


class Platform(Protocol):
    """One kind of TEE."""

    name: ClassVar[str]
    title: ClassVar[str]
    #: Every endorsement role that ``verify`` takes.
    roles: ClassVar[tuple[str, ...]]
    #: The registers of a release for this platform.
    registers: ClassVar[tuple[Register, ...]]
    #: The checks without which no verdict is complete, in the order in which they are made.
    required: ClassVar[tuple[str, ...]]
    #: Those of its checks by which a policy can ask something of the machine itself, against whoever has it
    #: in their hands. A check that a policy does not ask for is not applicable or not made at all.
    physical: ClassVar[tuple[str, ...]]
    #: What no evidence of this platform shows, in half a sentence: "not proven: …".
    not_proven: ClassVar[str]
    #: The type of this platform's part of a policy.
    policy: ClassVar[type[PlatformPolicy]]

    def detect(self, data: bytes) -> bool:
        """Tell from the first bytes whether this is evidence of this platform; cheap, no promise."""

    def parse(self, data: bytes) -> Evidence:
        """Decode evidence.

        Raises:
            MalformedEvidence: It is not well-formed.
            UnsupportedEvidence: It is of a version or algorithm that is not verified here.
        """

    def anchors(self) -> tuple[Anchor, ...]:
        """Return the vendor roots that ship with the package."""

    def sources(self, evidence: Evidence) -> Sequence[Source]:
        """Say which endorsements this evidence needs and where the vendor serves them."""

    def verify(
        self,
        evidence: Evidence,
        endorsements: Endorsements,
        *,
        anchors: Sequence[Anchor],
        at: int,
        signatures: Signatures,
    ) -> Claims:
        """Check signatures, chains, revocation and currency.

        Args:
            evidence: What ``parse`` returned.
            endorsements: The vendor's documents. A missing one makes checks skipped, never passed.
            anchors: The roots to trust.
            at: The time to judge at, Unix seconds.
            signatures: Collects the signature work; fresh for each call.

        Raises:
            VerificationError: Forged, revoked, or not what it claims; names the check that failed.
            MalformedEvidence: A part could not be decoded.
        """

    def judge(self, claims: Claims, policy: PlatformPolicy, *, at: int) -> Iterable[Check]:
        """Hold claims against the platform's part of the policy."""

    def views(self, evidence: Evidence) -> Iterable[FieldView]:
        """List every field of evidence, for inspection."""

    def facts(self, evidence: Evidence, endorsements: Endorsements = NO_ENDORSEMENTS) -> Mapping[str, object]:
        """Return the values in evidence under the names of the shared test vectors, bytes as hex.

        Args:
            evidence: What ``parse`` or ``salvage`` returned.
            endorsements: What goes with it, for platforms whose evidence does not say by itself how it is to
                be read (SEV-SNP before report version 3).
        """

    def salvage(self, data: bytes) -> Evidence | None:
        """Read what can be read of evidence that ``parse`` refuses; for inspection, never verified."""
