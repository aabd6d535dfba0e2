# SPDX-License-Identifier: Apache-2.0
"""The endorser of somebody who chose none.

The one place that reads the environment for it: ``NACRE_PCS_URL`` names a PCCS to ask instead of Intel,
``NACRE_KDS_URL`` a cache of AMD's key service or (``file:`` and a path) a store of its documents,
``NACRE_CACHE_DIR`` the folder of the cache.
"""

import functools
import os

from nacre.endorsers.cache import Cache, default_folder
from nacre.endorsers.collector import REFRESH, Collector
from nacre.endorsers.notices import Notice, log
from nacre.endorsers.pcs import INTEL_PCS, Pcs
from nacre.endorsers.rollback import Guard
from nacre.endorsers.service import Service

__all__ = ["default_endorser", "shared_endorser"]


def default_endorser(
    *,
    offline: bool = False,
    refresh: int = REFRESH,
    notice: Notice = log,
    unsafe_allow_rollback: bool = False,
) -> Collector:
    """Make an endorser of the user's cache and, unless offline, of the network.

    Args:
        offline: Use what is cached and never the network.
        refresh: Seconds after which a valid document is fetched anew; 0 asks the network in any case.
        notice: Takes what goes wrong without stopping anything.
        unsafe_allow_rollback: Accept documents older than ones that were seen before.
    """
    folder = default_folder()
    kds = os.environ.get("NACRE_KDS_URL")
    return Collector(
        pcs=Pcs(base=os.environ.get("NACRE_PCS_URL") or INTEL_PCS),
        kds=_kds(kds, notice) if kds else None,
        cache=Cache(folder, notice=notice),
        guard=Guard(folder, notice=notice, unsafe_allow_rollback=unsafe_allow_rollback),
        refresh=refresh,
        offline=offline,
        notice=notice,
    )


def _kds(base: str, notice: Notice) -> Service:
    from nacre.endorsers.kds import Kds  # noqa: PLC0415 (few need it)

    return Kds(base=base, notice=notice)


@functools.cache
def shared_endorser(*, offline: bool = False) -> Collector:
    """Return the one default endorser of this process, so that all policies share its memory."""
    return default_endorser(offline=offline)
