# SPDX-License-Identifier: Apache-2.0
"""Everything that Nacre raises.

::

    NacreError
    ├── MalformedEvidence          the bytes are not what they claim to be
    ├── UnsupportedEvidence        well-formed as far as can be told, but of a kind nobody here verifies
    ├── VerificationError          forged, expired or revoked
    ├── AppraisalError             genuine, but not what the policy wants; carries the Result
    ├── EndorsementsUnavailable    an endorser could not be asked; try again later
    ├── ConfigurationError         a policy, release or argument that cannot be used
    ├── ChannelError               an attested channel could not be made
    ├── CustodyError               the key network refused
    ├── BuildError                 an image could not be built or rebuilt
    └── EnclaveError               an enclave could not be run, or its device or agent refused

Every error has a stable ``code``, listed with its words in ``reasons.json``.
"""

from typing import TYPE_CHECKING

from nacre import reasons
from nacre.checks import Check, Context, Value

if TYPE_CHECKING:
    from nacre.appraisal.result import Result

__all__ = [
    "AppraisalError",
    "BuildError",
    "ChannelError",
    "ConfigurationError",
    "CustodyError",
    "EnclaveError",
    "EndorsementsUnavailable",
    "MalformedEvidence",
    "NacreError",
    "UnsupportedEvidence",
    "VerificationError",
]


class NacreError(Exception):
    """The root of the tree.

    Attributes:
        code: A stable reason code.
        context: The values that the message names.
    """

    def __init__(self, code: str, /, **context: Value) -> None:
        """Remember the code and its values; words are looked up when the error is shown."""
        super().__init__(code)
        self.code = code
        self.context: Context = context

    def __str__(self) -> str:
        """Say what was got and what was expected."""
        return reasons.render(reasons.reason(self.code).text, self.context)

    @property
    def hint(self) -> str:
        """What the reader can do about it; empty if nothing is known to help."""
        return reasons.render(reasons.reason(self.code).hint, self.context)


class MalformedEvidence(NacreError):
    """The bytes are not what they claim to be."""


class UnsupportedEvidence(NacreError):
    """Evidence of a kind, version or algorithm that is not verified here."""


class VerificationError(NacreError):
    """Evidence or an endorsement is forged, expired or revoked.

    Attributes:
        check: The identifier of the check that failed.
        trail: The checks made before it, in order.
    """

    def __init__(self, code: str, /, *, check: str, **context: Value) -> None:
        """Remember which check failed, and why."""
        super().__init__(code, **context)
        self.check = check
        self.trail: tuple[Check, ...] = ()


class AppraisalError(NacreError):
    """The verdict is not one that the policy accepts.

    Attributes:
        result: The whole story.
    """

    def __init__(self, code: str, /, *, result: "Result", **context: Value) -> None:
        """Carry the Result, so that callers can show why."""
        super().__init__(code, **context)
        self.result = result


class EndorsementsUnavailable(NacreError):
    """An endorser could not be reached or answered something unusable; try again later."""


class ConfigurationError(NacreError):
    """A policy, a release, a file or an argument that cannot be used."""


class ChannelError(NacreError):
    """An attested channel could not be made."""


class CustodyError(NacreError):
    """The key network refused."""


class BuildError(NacreError):
    """An image could not be built, or a rebuild differs."""


class EnclaveError(NacreError):
    """An enclave could not be run, or its device or agent refused."""
