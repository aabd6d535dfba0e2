# SPDX-License-Identifier: Apache-2.0
"""Which TEE this is: what lies at the paths says so."""

from pathlib import Path

from nacre.errors import EnclaveError
from nacre.platforms import tsm
from nacre.platforms.device import Device, DevicePaths
from nacre.platforms.nitro.device import NitroDevice
from nacre.platforms.sgx.device import SgxDevice
from nacre.platforms.snp import device as snp
from nacre.platforms.tdx import device as tdx

__all__ = ["find"]


def find(paths: DevicePaths) -> Device:
    """Return the device that is there.

    The kernel's reports go before a guest's own device, which stays for what they do not offer. A TEE inside
    another (Gramine in a TDX guest) shows two: then nobody guesses which is meant.

    Raises:
        EnclaveError: ``device-none``, or ``device-several``: leave one path in the configuration.
    """
    found: dict[str, Device] = {}
    if Path(paths.nsm).exists():
        found[paths.nsm] = NitroDevice(paths.nsm)
    if Path(paths.attestation, "quote").exists():
        found[paths.attestation] = SgxDevice(paths.attestation)
    guest = _guest(paths)
    if guest is not None:
        found[guest.platform] = guest
    if not found:
        looked = (paths.nsm, paths.tsm, paths.sev_guest, paths.tdx_guest, paths.attestation)
        raise EnclaveError("device-none", what=", ".join(looked))
    if len(found) > 1:
        raise EnclaveError("device-several", actual=", ".join(found))
    return next(iter(found.values()))


def _guest(paths: DevicePaths) -> Device | None:
    maker = tsm.provider(paths.tsm)
    if maker == snp.PROVIDER or (maker is None and Path(paths.sev_guest).exists()):
        return snp.SnpDevice(reports=paths.tsm if maker else None, node=paths.sev_guest)
    if maker == tdx.PROVIDER or (maker is None and Path(paths.tdx_guest).exists()):
        return tdx.TdxDevice(
            reports=paths.tsm,
            measurements=paths.tsm_measurements,
            node=paths.tdx_guest,
            quotes=maker is not None,
        )
    return None
