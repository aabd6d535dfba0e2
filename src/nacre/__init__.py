# SPDX-License-Identifier: Apache-2.0
"""Nacre: verify, build, ship and operate applications in Trusted Execution Environments.

::

    import nacre

    policy = nacre.Policy.load("policy.toml")
    result = nacre.verify(evidence, policy=policy, binding=nacre.Binding.nonce(nonce))

``verify`` raises unless the evidence is accepted; ``appraise`` tells the whole story and never raises for
what the bytes say; ``Verifier`` is what servers use. Loaded as it is used.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nacre.appraisal.bindings import Binding
    from nacre.appraisal.ear import signed_ear
    from nacre.appraisal.policy import Policy
    from nacre.appraisal.release import Release
    from nacre.appraisal.report import to_json
    from nacre.appraisal.result import Result
    from nacre.appraisal.sources import CheckSource
    from nacre.appraisal.systems.envelope import Envelope, unwrap
    from nacre.appraisal.verdict import Verdict
    from nacre.checks import Check, Status
    from nacre.endorsers.api import appraise, verify
    from nacre.endorsers.bundle import load as load_endorsements
    from nacre.endorsers.verifier import Verifier
    from nacre.errors import (
        AppraisalError,
        ConfigurationError,
        EndorsementsUnavailable,
        MalformedEvidence,
        NacreError,
        UnsupportedEvidence,
        VerificationError,
    )
    from nacre.platforms.base import Endorsements
    from nacre.trust.anchors import Origin

__all__ = [
    "AppraisalError",
    "Binding",
    "Check",
    "CheckSource",
    "ConfigurationError",
    "Endorsements",
    "EndorsementsUnavailable",
    "Envelope",
    "MalformedEvidence",
    "NacreError",
    "Origin",
    "Policy",
    "Release",
    "Result",
    "Status",
    "UnsupportedEvidence",
    "Verdict",
    "VerificationError",
    "Verifier",
    "appraise",
    "load_endorsements",
    "signed_ear",
    "to_json",
    "unwrap",
    "verify",
]

_HOMES = {
    "appraisal.bindings": ("Binding",),
    "appraisal.ear": ("signed_ear",),
    "appraisal.policy": ("Policy",),
    "appraisal.release": ("Release",),
    "appraisal.report": ("to_json",),
    "appraisal.result": ("Result",),
    "appraisal.sources": ("CheckSource",),
    "appraisal.systems.envelope": ("Envelope", "unwrap"),
    "appraisal.verdict": ("Verdict",),
    "checks": ("Check", "Status"),
    "endorsers.api": ("appraise", "verify"),
    "endorsers.verifier": ("Verifier",),
    "errors": (
        "AppraisalError",
        "ConfigurationError",
        "EndorsementsUnavailable",
        "MalformedEvidence",
        "NacreError",
        "UnsupportedEvidence",
        "VerificationError",
    ),
    "platforms.base": ("Endorsements",),
    "trust.anchors": ("Origin",),
}


def __getattr__(name: str) -> object:
    if name == "load_endorsements":
        return importlib.import_module("nacre.endorsers.bundle").load
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"nacre.{home}"), name)
    raise AttributeError(name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
