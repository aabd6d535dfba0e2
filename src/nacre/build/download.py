# SPDX-License-Identifier: Apache-2.0
"""Getting files from mirrors. What they serve is believed only by its digest, so plain HTTP does as well.

Proxies are those of the environment.
"""

from collections.abc import Callable

from nacre.errors import BuildError

__all__ = ["Download"]

_PATIENCE = 60.0
_CHUNK = 1 << 18
_MAX_URL = 2048


def _silent(_name: str, _done: int, _total: int) -> None:
    """Say nothing."""


class Download:
    """Gets files by URL."""

    def __init__(self, progress: Callable[[str, int, int], None] = _silent) -> None:
        """Say who hears of progress: file name, bytes so far, bytes in all (0: unknown)."""
        self._progress = progress

    def get(self, url: str, *, limit: int) -> bytes:
        """Return what is at an address.

        Args:
            url: ``http``, ``https`` or ``file``.
            limit: The most bytes to take.

        Raises:
            BuildError: ``download-failed``, also if it ends before its length; ``download-large``;
                ``download-url``.
        """
        from http.client import HTTPException  # noqa: PLC0415 (slow to import)
        from urllib.error import HTTPError, URLError  # noqa: PLC0415
        from urllib.request import Request, urlopen  # noqa: PLC0415

        if not url.startswith(("http://", "https://", "file:///")) or len(url) > _MAX_URL or " " in url:
            raise BuildError("download-url", url=url[:_MAX_URL])
        request = Request(url, headers={"User-Agent": "nacre"})  # noqa: S310 (looked at above)
        name = url.rpartition("/")[2]
        try:
            with urlopen(request, timeout=_PATIENCE) as answer:  # noqa: S310 (looked at above)
                total = int(answer.headers.get("Content-Length") or 0)
                data = bytearray()
                while piece := answer.read(_CHUNK):
                    data += piece
                    if len(data) > limit:
                        raise BuildError("download-large", url=url, expected=limit)
                    self._progress(name, len(data), total)
                if len(data) < total:
                    raise BuildError("download-failed", url=url, actual=f"{len(data)} of {total} bytes came")
        except HTTPError as error:
            error.close()  # it is an answer as well
            raise BuildError("download-failed", url=url, actual=f"status {error.code}") from None
        except URLError as error:
            raise BuildError("download-failed", url=url, actual=str(error.reason)) from None
        except (OSError, HTTPException, ValueError) as error:
            raise BuildError("download-failed", url=url, actual=str(error) or type(error).__name__) from None
        return bytes(data)
