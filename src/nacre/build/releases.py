# SPDX-License-Identifier: Apache-2.0
"""``release.toml`` of what was built: the registers that it shows on every platform."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from nacre.appraisal.release import ANY, NAME
from nacre.build.app import App
from nacre.platforms.measuring import Measurement

__all__ = ["Variant", "release_text"]

#: Registers that change while the application runs, or that the host's machine decides.
_OPEN: Mapping[str, tuple[str, ...]] = {"tdx": ("rtmr0", "rtmr3")}
#: What a measurement tells and a release need not state.
_UNSTATED: Mapping[str, frozenset[str]] = {"nitro": frozenset({"pcr8"})}
_LONGEST_VERSION = 128


class Variant(NamedTuple):
    """Registers that belong together.

    Attributes:
        about: How the image is started to show them, for people; empty if there is one way only.
        measurement: The registers.
    """

    about: str
    measurement: Measurement


def release_text(app: App, measured: Mapping[str, Sequence[Variant]], *, about: str) -> str:
    """Write a release, as TOML.

    Args:
        app: The application.
        measured: Platform to the sets of registers that it may show there.
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
    for platform, variants in measured.items():
        for variant in variants:
            lines += ["", *([f"# {variant.about}"] if variant.about else []), f"[[{platform}]]"]
            lines += _registers(platform, variant.measurement.registers)
    return "\n".join([*lines, ""])


def _registers(platform: str, values: Mapping[str, bytes]) -> Iterable[str]:
    left_out = _UNSTATED.get(platform, frozenset())
    # A register of zeros is one that nothing was measured into: a signature's, where nobody signed.
    stated = {key: value for key, value in values.items() if key not in left_out or any(value)}
    yield from (f'{key} = "{value.hex()}"' for key, value in stated.items())
    yield from (f'{key} = "{ANY}"' for key in _OPEN.get(platform, ()) if key not in stated)


def _quoted(text: str) -> str:
    # A string of JSON is one of TOML, but for the one control character that JSON leaves as it is.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
