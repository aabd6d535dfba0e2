# SPDX-License-Identifier: Apache-2.0
"""``nacre version``: what runs here, and how far it was looked at."""

import sys

import click
import msgspec

from nacre import platforms
from nacre.cli import terminal
from nacre.cli.about import package_version
from nacre.trust import keys

__all__ = ["command"]

_AUDIT = "not independently audited"


class Versions(msgspec.Struct, frozen=True):
    """What ``--json`` writes."""

    nacre: str
    python: str
    cryptography: str
    openssl: str
    p256: str
    p384: str
    platforms: tuple[str, ...]
    audit: str


def _versions() -> Versions:
    from cryptography.hazmat.backends.openssl.backend import backend  # noqa: PLC0415 (only asked here)

    return Versions(
        nacre=package_version("nacre"),
        python=sys.version.split()[0],
        cryptography=package_version("cryptography"),
        openssl=backend.openssl_version_text(),
        p256=keys.engine(),
        p384=keys.engine(),
        platforms=platforms.builtin_names(),
        audit=_AUDIT,
    )


@click.command("version")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
def command(*, as_json: bool) -> None:
    """Show the version of nacre, of the crypto engine below it, and how far it was audited."""
    found = _versions()
    if as_json:
        terminal.json(msgspec.json.encode(found))
        return
    terminal.out(
        (
            f"nacre {found.nacre} ({found.audit})",
            f"crypto engine: {found.openssl} (cryptography {found.cryptography})",
            f"signatures: P-256 by {found.p256}, P-384 by {found.p384}",
            f"platforms: {', '.join(found.platforms)}",
            f"Python {found.python}",
        )
    )
