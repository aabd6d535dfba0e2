# SPDX-License-Identifier: Apache-2.0
"""The policy lines for Nitro enclaves, and claims held against them."""

import hashlib
from collections.abc import Iterator
from itertools import pairwise

import msgspec

from nacre.checks import Check, Status, failed, passed, warned
from nacre.errors import ConfigurationError
from nacre.platforms.base import PlatformPolicy
from nacre.platforms.nitro.evidence import MAX_FIELD, SYNTAX, NitroEvidence
from nacre.platforms.nitro.verify import NitroClaims

__all__ = ["DeniedCertificate", "NitroPolicy", "judge_enclave", "parent_register"]

_HEX = frozenset("0123456789abcdef")
_ROLE_PCR = 3
_INSTANCE_PCR = 4


class DeniedCertificate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A certificate that an operator no longer trusts.

    It is named as revocation lists do it, not by a hash of its bytes: an ECDSA signature can be written
    in two ways, so a certificate has two hashes.

    Attributes:
        issuer: The common name of its issuer.
        serial: Its serial number, lower-case hex without leading zeros.
    """

    issuer: str
    serial: str


class NitroPolicy(PlatformPolicy, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is acceptable of a Nitro enclave.

    Attributes:
        unsafe_allow_debug: Accept an enclave in debug mode, whose console the host reads and whose code
            registers are zero. Only for development.
        max_user_data: The most bytes of ``user_data``. AWS's text says 512, its CDDL 1,024.
        max_nonce: The most bytes of ``nonce``; likewise.
        check_instance_pcr: Insist that PCR4 is the measurement of the instance that the module names.
        instances: Parent instances to accept, ``i-…``; empty for all.
        instance_roles: ARNs of IAM roles of which the parent instance must have one, by PCR3; empty for all.
        regions: AWS regions to accept; empty for all.
        denied_certificates: Certificates that no path may contain.
    """

    unsafe_allow_debug: bool = False
    max_user_data: int = MAX_FIELD
    max_nonce: int = MAX_FIELD
    check_instance_pcr: bool = True
    instances: tuple[str, ...] = ()
    instance_roles: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    denied_certificates: tuple[DeniedCertificate, ...] = ()

    def __post_init__(self) -> None:
        """Refuse lines that can not mean anything."""
        for key, value in (("max_user_data", self.max_user_data), ("max_nonce", self.max_nonce)):
            if not 0 <= value <= MAX_FIELD:
                raise ConfigurationError("policy-range", key=key, actual=value, expected=f"0 to {MAX_FIELD}")
        for denied in self.denied_certificates:
            if not denied.serial or not set(denied.serial) <= _HEX or denied.serial.startswith("0"):
                raise ConfigurationError("nitro-policy-serial", actual=denied.serial)


_SHORT_LIVED = passed("revocation", "nitro-short-lived")
_SYNTAX = passed(SYNTAX)
_DEBUG_OFF = passed("debug")
_DEBUG_ALLOWED = warned("debug", "nitro-debug-allowed")
_INSTANCE = passed("nitro.instance")
_INSTANCE_OFF = Check("nitro.instance", Status.NOT_APPLICABLE, "nitro-instance-off")
_ANY_PARENT = Check("nitro.parent", Status.NOT_APPLICABLE, "nitro-any-parent")
_PARENT = passed("nitro.parent")


def parent_register(name: str) -> bytes:
    """Predict PCR3 from the ARN of an instance's role, or PCR4 from an instance's id: 48 bytes.

    Source: AWS, "Where to get an enclave's measurements".
    """
    return hashlib.sha384(bytes(48) + name.encode()).digest()


def judge_enclave(claims: NitroClaims, policy: NitroPolicy) -> Iterator[Check]:
    """Hold an enclave against the policy.

    1. ``revocation``: the signer lives three hours; no certificate is one that the operator denies.
    2. ``nitro.syntax``: the document is what AWS's syntax allows, within the policy's limits.
    3. ``debug``: no register of the code is zero.
    4. ``nitro.instance``: PCR4 measures the instance that the module's name states.
    5. ``nitro.parent``: the parent instance, its role and its region are accepted ones.
    """
    evidence = claims.evidence
    # (1)
    yield _denied(claims, policy) if policy.denied_certificates else _SHORT_LIVED
    # (2)
    yield from _syntax(evidence, policy)
    # (3)
    if not claims.debug:
        yield _DEBUG_OFF
    elif policy.unsafe_allow_debug:
        yield _DEBUG_ALLOWED
    else:
        yield failed("debug", "nitro-debug")
    # (4)
    yield _instance(evidence) if policy.check_instance_pcr else _INSTANCE_OFF
    # (5)
    if policy.instances or policy.instance_roles or policy.regions:
        yield _parent(claims, policy)
    else:
        yield _ANY_PARENT


def _denied(claims: NitroClaims, policy: NitroPolicy) -> Check:
    denied = {(entry.issuer, entry.serial) for entry in policy.denied_certificates}
    path = claims.certificates
    for certificate, issuer in pairwise(path):
        if (issuer.common_name, f"{certificate.serial:x}") in denied:
            return failed(
                "revocation",
                "nitro-denied",
                name=certificate.common_name,
                issuer=issuer.common_name,
                actual=f"{certificate.serial:x}",
            )
    return _SHORT_LIVED


def _syntax(evidence: NitroEvidence, policy: NitroPolicy) -> tuple[Check, ...]:
    bad = evidence.violations
    for name, value, limit in (
        ("user_data", evidence.user_data, policy.max_user_data),
        ("nonce", evidence.nonce, policy.max_nonce),
    ):
        # What is beyond the most that any policy allows is a violation already.
        if value is not None and limit < len(value) <= MAX_FIELD:
            bad += (
                failed(
                    SYNTAX,
                    "nitro-field",
                    name=name,
                    expected=f"at most {limit} bytes",
                    actual=f"{len(value)} bytes",
                ),
            )
    return bad or (_SYNTAX,)


def _instance(evidence: NitroEvidence) -> Check:
    expected = parent_register(evidence.instance_id)
    actual = evidence.pcrs.get(_INSTANCE_PCR)
    if actual == expected:
        return _INSTANCE
    return failed(
        "nitro.instance", "nitro-instance", name=evidence.instance_id, expected=expected, actual=actual
    )


def _parent(claims: NitroClaims, policy: NitroPolicy) -> Check:
    identity, role = claims.identity, claims.evidence.pcrs.get(_ROLE_PCR)
    for name, accepted in (("instance_id", policy.instances), ("region", policy.regions)):
        if accepted and identity[name] not in accepted:
            return failed("nitro.parent", "nitro-parent", name=name, actual=identity[name], expected=accepted)
    if policy.instance_roles and role not in {parent_register(arn) for arn in policy.instance_roles}:
        return failed("nitro.parent", "nitro-role", actual=role, expected=policy.instance_roles)
    return _PARENT
