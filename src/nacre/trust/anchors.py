# SPDX-License-Identifier: Apache-2.0
"""Trust anchors and what a chain that ends in one of them is worth.

Only the vendor roots that ship with this package are GENUINE. Whatever root a policy names itself can
make claims PRIVATE (somebody's own hardware or test PKI) or SIMULATED (a development root), never
GENUINE, and the difference is said on the first line of every Result.
"""

import functools
import hashlib
from enum import StrEnum
from pathlib import Path

import msgspec

from nacre.errors import ConfigurationError

__all__ = ["Anchor", "Origin", "private_anchor", "simulated_anchor", "vendor_anchor"]

# SHA-256 of the DER certificates under roots/; where each was found independently is in roots/README.md.
_VENDOR_ROOTS = {
    "intel-sgx-root-ca": "44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3",
    "amd-ark-genoa": "4c6598d19c18719c5dfd4a7d335f674e5bfe1d8f800cea2cf270c10d103db2f1",
    "amd-ark-milan": "69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd",
    "amd-ark-turin": "1f084161a44bb6d93778a904877d4819cafa5d05ef4193b2ded9dd9c73dd3f6a",
    "aws-nitro-root-g1": "641a0321a3e244efe456463195d606317ed7cdcc3c1756e09893f3c68f79bb5b",
}


class Origin(StrEnum):
    """Where a chain of signatures ends."""

    GENUINE = "genuine"
    PRIVATE = "private"
    SIMULATED = "simulated"


class Anchor(msgspec.Struct, frozen=True):
    """A root certificate that somebody decided to trust.

    Attributes:
        name: What messages call it.
        der: The certificate, DER.
        origin: What claims under this root are worth.
        digest: SHA-256 of ``der``, 32 bytes.
    """

    name: str
    der: bytes
    origin: Origin
    digest: bytes


@functools.cache
def vendor_anchor(name: str) -> Anchor:
    """Load a vendor root that ships with this package.

    Raises:
        ConfigurationError: ``anchor-unknown``, or ``anchor-altered`` if the file was changed.
    """
    if name not in _VENDOR_ROOTS:
        raise ConfigurationError("anchor-unknown", actual=name, expected=tuple(sorted(_VENDOR_ROOTS)))
    der = Path(__file__).with_name("roots").joinpath(f"{name}.der").read_bytes()
    digest = hashlib.sha256(der).digest()
    if digest.hex() != _VENDOR_ROOTS[name]:
        raise ConfigurationError("anchor-altered", name=name, actual=digest, expected=_VENDOR_ROOTS[name])
    return Anchor(name, der, Origin.GENUINE, digest)


def private_anchor(der: bytes, *, name: str = "private root") -> Anchor:
    """Trust a root that the policy names; a vendor root named so is still the vendor's."""
    return _own_anchor(der, name, Origin.PRIVATE)


def simulated_anchor(der: bytes, *, name: str = "development root") -> Anchor:
    """Trust a development root of simulated hardware."""
    return _own_anchor(der, name, Origin.SIMULATED)


def _own_anchor(der: bytes, name: str, origin: Origin) -> Anchor:
    digest = hashlib.sha256(der).digest()
    for vendor, expected in _VENDOR_ROOTS.items():
        if digest.hex() == expected:
            return vendor_anchor(vendor)
    return Anchor(name, der, origin, digest)
