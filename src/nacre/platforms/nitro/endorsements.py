# SPDX-License-Identifier: Apache-2.0
"""What AWS vouches for Nitro enclaves with: a root, and rules for the certificates below it.

There are no documents to fetch. The chain is in the evidence; AWS publishes no revocation list to check
it against (its instructions are to turn revocation checking off) and lets the signer's certificate live
for three hours instead.

Source: AWS, "Verifying the root of trust", 3.2.3; the rest as seen in every real document.

========  ==============================================  ==========  =======================
place     subject                                         lives       below it
========  ==============================================  ==========  =======================
root      ``aws.nitro-enclaves``                          30 years    any number
regional  ``<hex>.<region>.aws.nitro-enclaves``           20 days     2 authorities
zonal     ``<hex>.zonal.<region>.aws.nitro-enclaves``     6 days      1 authority
instance  ``<instance id>.<region>.aws.nitro-enclaves``   1 day       none
signer    ``<module id>.<region>.aws``                    3 hours     no authority
========  ==============================================  ==========  =======================
"""

from nacre.trust.anchors import Anchor, vendor_anchor
from nacre.trust.keys import P384_SHA384, EcdsaScheme

__all__ = ["ROLES", "ROOTS", "SCHEME", "SIGNER_SUFFIX", "anchors"]

#: The roots that ship with this package. Those of AWS China and GovCloud are not public.
ROOTS = ("aws-nitro-root-g1",)
#: No document is needed beside the evidence.
ROLES: tuple[str, ...] = ()
#: Every certificate and every document is signed so.
SCHEME: EcdsaScheme = P384_SHA384
#: How the signer's common name ends, after module and region.
SIGNER_SUFFIX = ".aws"


def anchors() -> tuple[Anchor, ...]:
    """Return the roots that ship with this package."""
    return tuple(vendor_anchor(name) for name in ROOTS)
