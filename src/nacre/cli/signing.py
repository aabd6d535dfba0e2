# SPDX-License-Identifier: Apache-2.0
"""Results that are signed with a private key of the user's."""

import sys

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from nacre.appraisal.ear import PROFILE, EarSigner
from nacre.appraisal.result import Result
from nacre.cli import inputs, terminal
from nacre.cli.about import package_version
from nacre.errors import ConfigurationError
from nacre.trust.signing import PrivateKey

__all__ = ["EAR_PROFILES", "private_key", "write_ear"]

#: Seconds for which an EAR speaks.
_EAR_LIFETIME = 300
#: The profiles by short names.
EAR_PROFILES = {
    "draft-03": PROFILE,
    "2025-07": "tag:ietf.org,2025-07:ear",
    "trustee-2024": "tag:github.com,2024:confidential-containers/Trustee",
    "veraison-2023": "tag:github.com,2023:veraison/ear",
}


def private_key(name: str) -> PrivateKey:
    """Load an unencrypted PEM private key for ES256, ES384 or EdDSA.

    Raises:
        ConfigurationError: ``key-file``, or the file cannot be read.
    """
    try:
        key = load_pem_private_key(inputs.document(name), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigurationError("key-file", path=name, actual=str(error).partition("\n")[0]) from None
    if not isinstance(key, PrivateKey):
        raise ConfigurationError("key-file", path=name, actual=type(key).__name__)
    return key


def write_ear(result: Result, key_file: str, *, profile: str | None, as_cwt: bool) -> None:
    """Sign a Result as an EAR and write it to stdout: a line of text, or the bytes of a CWT.

    Raises:
        ConfigurationError: ``ear-profile-unknown``, ``ear-cwt-terminal``, or as :func:`private_key`.
    """
    tag = EAR_PROFILES.get(profile or "draft-03")
    if tag is None:
        raise ConfigurationError("ear-profile-unknown", actual=profile, expected=tuple(EAR_PROFILES))
    if as_cwt and sys.stdout.isatty():
        raise ConfigurationError("ear-cwt-terminal")
    signer = EarSigner(private_key(key_file), developer="nacre", build=package_version("nacre"))
    if as_cwt:
        terminal.binary(signer.cwt(result, issued_at=result.at, lifetime=_EAR_LIFETIME))
    else:
        terminal.out([signer.jwt(result, issued_at=result.at, lifetime=_EAR_LIFETIME, profile=tag)])
