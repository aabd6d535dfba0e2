# SPDX-License-Identifier: Apache-2.0
"""Who gives a Verifier its endorsements."""

from typing import Protocol, runtime_checkable

from nacre.platforms.base import Endorsements, Evidence, Platform
from nacre.trust.anchors import Origin

__all__ = ["NO_ENDORSEMENTS", "Endorser", "FixedEndorser", "RememberingEndorser"]

#: For evidence that needs none, and for appraisals that go without.
NO_ENDORSEMENTS = Endorsements({})


class Endorser(Protocol):
    """Whoever has a vendor's documents. Asked by several threads at once."""

    def endorsements(self, platform: Platform, evidence: Evidence, *, at: int) -> Endorsements:
        """Return the documents that this evidence needs.

        The same object should come back while nothing has changed: what a platform reads of the documents
        is kept in it.

        Args:
            platform: The platform of the evidence.
            evidence: Decoded evidence; nothing in it is trusted yet.
            at: The time to judge at, Unix seconds.

        Raises:
            EndorsementsUnavailable: They cannot be had now.
        """


@runtime_checkable
class RememberingEndorser(Endorser, Protocol):
    """An endorser that keeps documents and wants to know what they proved to be.

    A Verifier asks such an endorser for what it does not hold only after the evidence's own signatures
    held, so that forged evidence sets no request in motion.
    """

    def held(self, platform: Platform, evidence: Evidence, *, at: int) -> Endorsements | None:
        """Return the documents that this evidence needs if that takes no time, else None."""

    def proved(self, platform: str, endorsements: Endorsements, *, origin: Origin) -> None:
        """Take notice that every signature of these documents held, under an anchor of this origin."""

    def doubted(self, platform: Platform, evidence: Evidence, endorsements: Endorsements) -> None:
        """Take notice that these documents are not what this evidence needs them to be.

        The evidence's own signatures held, but a signature, a signer or the form of a document did not.
        Either the endorser was lied to, or the evidence is of another root than the documents.
        """


class FixedEndorser:
    """Gives everybody the same documents: a bundle, a folder."""

    def __init__(self, endorsements: Endorsements) -> None:
        """Keep the documents."""
        self._endorsements = endorsements

    def endorsements(self, platform: Platform, evidence: Evidence, *, at: int) -> Endorsements:
        """Return them."""
        del platform, evidence, at
        return self._endorsements
