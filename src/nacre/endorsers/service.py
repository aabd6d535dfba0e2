# SPDX-License-Identifier: Apache-2.0
"""A vendor's service that serves endorsements, as the collector sees it.

Which documents evidence needs, and under which path, is data of its platform (``Platform.sources``); a
service knows how its kind of server is asked and how its answers are read.
"""

from typing import Protocol

import msgspec

from nacre.endorsers.facts import Facts
from nacre.endorsers.pace import Pace
from nacre.platforms.base import Source

__all__ = ["Document", "Service"]


class Document(msgspec.Struct, frozen=True):
    """A document as served, its issuer chain if one came with it, and what it says about itself."""

    document: bytes
    chain: bytes | None
    facts: Facts


class Service(Protocol):
    """Whoever serves a vendor's documents. Asked by several threads at once."""

    @property
    def scope(self) -> str:
        """The series of documents for the rollback guard; empty if it has nothing to guard."""

    @property
    def pace(self) -> Pace | None:
        """How requests are spaced, if the service asks for that; None if any number may run at once."""

    @property
    def local(self) -> bool:
        """Whether it takes no network, so that it may be asked offline."""

    def url(self, source: Source) -> str:
        """Return where a document is fetched."""

    def fetch(self, source: Source) -> Document:
        """Get one document.

        Raises:
            EndorsementsUnavailable: It could not be had; ``endorsement-unknown`` or
                ``kds-unknown`` if there is none such.
            ConfigurationError: The URL cannot be used.
        """
