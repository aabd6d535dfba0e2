# SPDX-License-Identifier: Apache-2.0
"""Which TEE this is: what lies at the paths says so. No other platform is loaded: an agent starts sooner."""

from pathlib import Path

from nacre.errors import EnclaveError
from nacre.platforms import tsm
from nacre.platforms.device import Device, DevicePaths

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
        from nacre.platforms.nitro.device import NitroDevice  # noqa: PLC0415 (as said above)

        found[paths.nsm] = NitroDevice(paths.nsm)
    if Path(paths.attestation, "quote").exists():
        from nacre.platforms.sgx.device import SgxDevice  # noqa: PLC0415

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
    if maker == tsm.SNP or (maker is None and Path(paths.sev_guest).exists()):
        from nacre.platforms.snp.device import SnpDevice  # noqa: PLC0415

        return SnpDevice(reports=paths.tsm if maker else None, node=paths.sev_guest)
    if maker == tsm.TDX or (maker is None and Path(paths.tdx_guest).exists()):
        from nacre.platforms.tdx.device import TdxDevice  # noqa: PLC0415

        return TdxDevice(
            reports=paths.tsm,
            measurements=paths.tsm_measurements,
            node=paths.tdx_guest,
            quotes=maker is not None,
        )
    return None
