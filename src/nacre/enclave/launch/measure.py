# SPDX-License-Identifier: Apache-2.0
"""What a simulated process shows as its registers: stand-ins for those of a real image.

A process has no image, so nothing is measured as hardware measures. Every register is a hash of the
application's files, its ``nacre.toml``, the version of Nacre and the platform's name: another byte of these
makes other registers, the same bytes make the same ones on every machine. What hardware would measure
beside (firmware, kernel, the agent's own files) is not in them. Only a simulator ever shows such values.
"""

import hashlib
import importlib.metadata
import json
import re
from collections.abc import Mapping

import msgspec

from nacre import platforms
from nacre.appraisal.release import ANY, NAME
from nacre.build.app import App
from nacre.build.tree import Tree
from nacre.errors import EnclaveError

__all__ = ["registers", "release_text"]

_DOMAIN = b"nacre-simulated-process/v1\0"
#: The registers that stand for the code, and those that change while it runs.
_MEASURED: Mapping[str, tuple[str, ...]] = {
    "nitro": ("pcr0", "pcr1", "pcr2"),
    "sgx": ("mrenclave",),
    "snp": ("measurement", "host_data"),
    "tdx": ("mrtd", "rtmr0", "rtmr1", "rtmr2"),
}
_OPEN: Mapping[str, tuple[str, ...]] = {"tdx": ("rtmr3",)}
_LONGEST_VERSION = 128


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
    name = f"{app.name}/{app.version}"
    head = {
        "id": name if re.fullmatch(NAME, name) else app.name,
        "version": app.version[:_LONGEST_VERSION],
        "profile": "isolated" if app.profile == "isolated" else "",
    }
    lines = [f"# {about}"]
    lines += [f"{key} = {_quoted(value)}" for key, value in head.items() if value]
    if app.raw_report_data:
        lines.append("raw_report_data = true")
    for platform, values in measured.items():
        lines += ["", f"[[{platform}]]"]
        lines += [f'{key} = "{value.hex()}"' for key, value in values.items()]
        lines += [f'{key} = "{ANY}"' for key in _OPEN.get(platform, ())]
    return "\n".join([*lines, ""])


def _quoted(text: str) -> str:
    # A string of JSON is one of TOML, but for the one control character that JSON leaves as it is.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
