# SPDX-License-Identifier: Apache-2.0
"""The clock that the application is shown, by libfaketime where that is installed."""

import platform
from pathlib import Path

from nacre.build.app import App

__all__ = ["Clock"]

_PRELOAD = "LD_PRELOAD"
_NAME = "libfaketimeMT.so.1"
_FOLDERS = ("lib/{0}-linux-gnu/faketime", "lib64/faketime", "lib/faketime")


class Clock:
    """A clock that its host moves; time between two moves goes on as it does.

    Attributes:
        missing: Why it cannot be moved; empty if it can.
    """

    def __init__(self, file: Path, app: App) -> None:
        """Look for the library.

        Args:
            file: Where the offset is written; to be made, in a folder that the application sees.
            app: The application.
        """
        places = [Path("/usr", folder.format(platform.machine()), _NAME) for folder in _FOLDERS]
        self._library = next((place for place in places if place.is_file()), None)
        self._file = file
        self._offset = 0
        self.missing = "" if self._library else "libfaketime is not installed"
        if _PRELOAD in app.environment:
            self.missing = f"the app sets {_PRELOAD} itself"
        self.jump(0)

    @property
    def environment(self) -> dict[str, str]:
        """Variables of the application's process."""
        if self.missing:
            return {}
        return {
            _PRELOAD: str(self._library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }

    def jump(self, seconds: int) -> None:
        """Move the clock by so many seconds."""
        self._offset += seconds
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{self._offset:+}\n", encoding="ascii")
        fresh.replace(self._file)
