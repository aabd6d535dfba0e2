# SPDX-License-Identifier: Apache-2.0
"""What Azure's Trusted Hardware Identity Management answers an SNP guest about its machine.

The guest asks ``http://169.254.169.254/metadata/THIM/amd/certification`` with the header ``Metadata: true``;
the answer is JSON with the VCEK and its chain as PEM. Saved as a file it serves as endorsements, but for the
revocation list. Azure containers have the same, in base64, in ``host-amd-cert-base64``.

Source: Azure/azure-cvm-tooling, ``az-snp-vtpm`` (``imds``); microsoft/confidential-sidecar-containers.

Not proven here:
    Azure's live service: the tests write its answer themselves, around recorded certificates.
"""

import msgspec

from nacre.endorsers.facts import MAX_DOCUMENT
from nacre.platforms.base import Endorsements
from nacre.trust import json

__all__ = ["is_answer", "read"]


class _Answer(msgspec.Struct, frozen=True):
    """The answer; members that only its cache needs are passed over."""

    certificate: str = msgspec.field(name="vcekCert")
    chain: str = msgspec.field(name="certificateChain")


def is_answer(data: bytes) -> bool:
    """Tell whether a file looks like such an answer."""
    return data.lstrip()[:1] == b"{" and b'"vcekCert"' in data


def read(data: bytes) -> Endorsements:
    """Read an answer; its certificates are judged where they are used.

    Raises:
        MalformedEvidence: It is not well-formed.
    """
    found = json.decode(data, _Answer, what="answer of Azure's THIM", limit=MAX_DOCUMENT)
    return Endorsements({"vek": found.certificate.encode(), "ask": found.chain.encode()})
