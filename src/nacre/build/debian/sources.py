# SPDX-License-Identifier: Apache-2.0
"""Where this machine gets Debian's packages, from its own configuration. No lock ever names a mirror.

Source: sources.list(5), both forms.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

__all__ = ["ARCHIVE_KEYRING", "Mirror", "mirrors"]

_FOLDER = Path("/etc/apt")
_ONE_LINE = re.compile(r"deb\s+(?:\[(?P<options>[^\]]*)\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)\s+(?P<parts>.+)")
#: The keys of Debian itself.
ARCHIVE_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


class Mirror(msgspec.Struct, frozen=True):
    """Who serves one suite.

    Attributes:
        url: Without a slash at its end.
        suite: The suite (``bookworm``, ``bookworm-security`` …).
        keyring: The file with the keys that its index is signed by.
    """

    url: str
    suite: str
    keyring: str = ARCHIVE_KEYRING


def mirrors(*, folder: Path = _FOLDER) -> tuple[Mirror, ...]:
    """Return the mirrors of component ``main`` that this machine is configured for, in their order."""
    files = [folder / "sources.list", *sorted((folder / "sources.list.d").glob("*.*"))]
    found: dict[Mirror, None] = {}
    for file in files:
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        if file.suffix == ".sources":
            found.update(dict.fromkeys(_deb822(text)))
        elif file.suffix == ".list":
            found.update(dict.fromkeys(_one_line(text)))
    return tuple(found)


def _one_line(text: str) -> Iterator[Mirror]:
    for line in text.splitlines():
        match = _ONE_LINE.fullmatch(line.partition("#")[0].strip())
        if match and "main" in match["parts"].split():
            options = dict(one.partition("=")[::2] for one in (match["options"] or "").split())
            yield Mirror(match["uri"].rstrip("/"), match["suite"], options.get("signed-by", ARCHIVE_KEYRING))


def _deb822(text: str) -> Iterator[Mirror]:
    for paragraph in re.split(r"\n\s*\n", text):
        lines = (line for line in paragraph.splitlines() if line.strip() and not line.startswith("#"))
        fields = _fields(lines)
        words = {name: value.split() for name, value in fields.items()}
        if "deb" not in words.get("types", []) or "main" not in words.get("components", []):
            continue
        if fields.get("enabled", "yes").strip().lower() == "no":
            continue
        # A key may also stand there itself; then it is no path, and the default's keys have to do.
        keyring = fields.get("signed-by", "").strip()
        for url in words.get("uris", []):
            for suite in words.get("suites", []):
                yield Mirror(url.rstrip("/"), suite, keyring if keyring.startswith("/") else ARCHIVE_KEYRING)


def _fields(lines: Iterable[str]) -> dict[str, str]:
    fields: dict[str, str] = {}
    name = ""
    for line in lines:
        if line[0].isspace():
            fields[name] = f"{fields.get(name, '')}\n{line.strip()}"
        else:
            name, _, value = line.partition(":")
            name = name.lower()
            fields[name] = value.strip()
    return fields
