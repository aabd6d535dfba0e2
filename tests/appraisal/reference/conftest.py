# SPDX-License-Identifier: Apache-2.0
"""Vectors of other implementations, a release with everything in it, and keys."""

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from nacre.appraisal.reference.convert import Given
from nacre.appraisal.release import Release
from nacre.trust.jwk import KeySet, read_keys
from nacre.trust.signing import SigningKey, signing_key

AT = 1_764_000_000

WORM = f"""
id = "worm@1.2.0"
version = "1.2.0 \\"quoted\\" \\u007f"
profile = "isolated"
raw_report_data = true

[[sgx]]
mrenclave = "{"a0" * 32}"

[[sgx]]
mrsigner = "{"b0" * 32}"
isvprodid = 3
min_isvsvn = 2
configid = "{"c0" * 64}"
min_configsvn = 1

[[tdx]]
mrtd = "{"d0" * 48}"
rtmr0 = "any"
rtmr1 = "{"d1" * 48}"
rtmr2 = "{"d2" * 48}"
rtmr3 = "{"00" * 48}"
mrconfigid = "{"d4" * 48}"

[[tdx]]
mrtd = "{"e0" * 48}"
rtmr0 = "any"
rtmr1 = "{"e1" * 48}"
rtmr2 = "{"e2" * 48}"
rtmr3 = "any"

[[nitro]]
pcr0 = "{"f0" * 48}"
pcr1 = "{"f1" * 48}"
pcr2 = "{"f2" * 48}"
pcr16 = "any"
"""


@pytest.fixture(scope="session")
def rats() -> Path:
    """The files of other implementations: our own copy, which is complete."""
    return Path(__file__).parents[2] / "vectors" / "rats"


@pytest.fixture(scope="session")
def worm() -> Release:
    """A release with every kind of register and two variants that must not mix."""
    return Release.parse(WORM)


@pytest.fixture(scope="session")
def given() -> Callable[..., Given]:
    """Say what a caller says; now is ``AT``."""

    def make(**said: object) -> Given:
        return Given(at=said.pop("at", AT), **said)  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="session")
def private() -> ec.EllipticCurvePrivateKey:
    """The signer's key."""
    return ec.derive_private_key(0xA11CE, ec.SECP256R1())


@pytest.fixture(scope="session")
def signer(private: ec.EllipticCurvePrivateKey) -> SigningKey:
    """What signs with it."""
    return signing_key(private)


@pytest.fixture(scope="session")
def pinned(private: ec.EllipticCurvePrivateKey) -> KeySet:
    """What whoever trusts the signer pins."""
    return read_keys(private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
