# SPDX-License-Identifier: Apache-2.0
"""The network side of verification: getting, keeping and carrying vendors' signed documents.

Loaded as it is used: a verification that needs no network does not load any of it.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nacre.endorsers.bundle import Bundle, load, pack, read
    from nacre.endorsers.cache import Cache
    from nacre.endorsers.collector import Collector
    from nacre.endorsers.defaults import default_endorser
    from nacre.endorsers.endorser import Endorser, FixedEndorser
    from nacre.endorsers.fetch import Fetcher, HttpFetcher, fetch_evidence
    from nacre.endorsers.http import Limits
    from nacre.endorsers.kds import AMD_KDS, Kds
    from nacre.endorsers.notices import Notice
    from nacre.endorsers.pcs import INTEL_PCS, Pcs
    from nacre.endorsers.rollback import Guard
    from nacre.endorsers.verifier import Verifier

__all__ = [
    "AMD_KDS",
    "INTEL_PCS",
    "Bundle",
    "Cache",
    "Collector",
    "Endorser",
    "Fetcher",
    "FixedEndorser",
    "Guard",
    "HttpFetcher",
    "Kds",
    "Limits",
    "Notice",
    "Pcs",
    "Verifier",
    "default_endorser",
    "fetch_evidence",
    "load",
    "pack",
    "read",
]

_HOMES = {
    "bundle": ("Bundle", "load", "pack", "read"),
    "cache": ("Cache",),
    "collector": ("Collector",),
    "defaults": ("default_endorser",),
    "endorser": ("Endorser", "FixedEndorser"),
    "fetch": ("Fetcher", "HttpFetcher", "fetch_evidence"),
    "http": ("Limits",),
    "kds": ("AMD_KDS", "Kds"),
    "notices": ("Notice",),
    "pcs": ("INTEL_PCS", "Pcs"),
    "rollback": ("Guard",),
    "verifier": ("Verifier",),
}


def __getattr__(name: str) -> object:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{home}"), name)
    raise AttributeError(name)
