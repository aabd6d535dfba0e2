# SPDX-License-Identifier: Apache-2.0
"""Which versions run here."""

from importlib import metadata

__all__ = ["package_version"]


def package_version(package: str) -> str:
    """Return the version of an installed package."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "(run from a source tree)"
