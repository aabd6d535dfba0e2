# SPDX-License-Identifier: Apache-2.0
"""What a simulated process shows as its registers: stand-ins for those of a real image.

A process has no image, so nothing is measured as hardware measures. Every register is a hash of the
application's files, its ``nacre.toml``, the version of Nacre and the platform's name: another byte of these
makes other registers, the same bytes make the same ones on every machine. What hardware would measure
beside (firmware, kernel, the agent's own files) is not in them. Only a simulator ever shows such values.
"""

import hashlib
import importlib.metadata
from collections.abc import Mapping

import msgspec

from nacre import platforms
from nacre.build import releases
from nacre.build.app import App
from nacre.build.releases import Variant
from nacre.build.tree import Tree
from nacre.errors import EnclaveError
from nacre.platforms.measuring import Measurement

__all__ = ["registers", "release_text"]

_DOMAIN = b"nacre-simulated-process/v1\0"
#: The registers that stand for the code.
_MEASURED: Mapping[str, tuple[str, ...]] = {
    "nitro": ("pcr0", "pcr1", "pcr2"),
    "sgx": ("mrenclave",),
    "snp": ("measurement", "host_data"),
    "tdx": ("mrtd", "rtmr0", "rtmr1", "rtmr2"),
}


def registers(platform: str, app: App, tree: Tree, *, version: str | None = None) -> Mapping[str, bytes]:
    """Derive the registers of a simulated process.

    Args:
        platform: The platform's name.
        app: The application.
        tree: Its files.
        version: Of Nacre; the installed one by default.

    Returns:
        Name, as in releases, to value of the register's size.

    Raises:
        EnclaveError: ``simulated-platform``.
    """
    if platform not in _MEASURED:
        raise EnclaveError("simulated-platform", what=platform, expected=", ".join(_MEASURED))
    sizes = {register.name: register.size for register in platforms.get(platform).registers}
    whole = hashlib.sha512(_DOMAIN)
    whole.update(
        msgspec.json.encode(
            {
                "nacre": version or importlib.metadata.version("nacre"),
                "platform": platform,
                "app": app,
                "tree": tree.digest.hex(),
            },
            order="sorted",
        )
    )
    return {
        name: hashlib.sha512(_DOMAIN + name.encode() + b"\0" + whole.digest()).digest()[: sizes[name]]
        for name in _MEASURED[platform]
    }


def release_text(
    app: App,
    measured: Mapping[str, Mapping[str, bytes]],
    *,
    about: str = "Registers of simulated processes: no hardware ever shows these.",
) -> str:
    """Write the release of what runs without hardware, as TOML.

    Args:
        app: The application.
        measured: Platform to what ``registers`` returned for it.
        about: The file's first line.
    """
    variants = {platform: (Variant("", Measurement(values, ())),) for platform, values in measured.items()}
    return releases.release_text(app, variants, about=about)
