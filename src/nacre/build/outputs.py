# SPDX-License-Identifier: Apache-2.0
"""The names of what ``nacre build`` writes: what starts an image finds its parts by them."""

from collections.abc import Mapping
from typing import Final

__all__ = [
    "COMMAND_LINE",
    "CORIM",
    "EIF",
    "FIRMWARE",
    "GRAMINE",
    "INITRD",
    "KERNEL",
    "LOCK",
    "OCI",
    "PROVENANCE",
    "RELEASE",
    "REPORT",
    "SBOM",
    "SUMS",
]

#: What the kernel is told, without a line break.
COMMAND_LINE: Final = "cmdline"
#: The registers, as a CoRIM.
CORIM: Final = "release.corim"
#: The image for Nitro, which a simulated machine boots as well.
EIF: Final = "nitro.eif"
#: The firmware of confidential guests, by platform.
FIRMWARE: Final[Mapping[str, str]] = {"snp": "firmware-snp.fd", "tdx": "firmware-tdx.fd"}
#: A folder: what Gramine signs and runs.
GRAMINE: Final = "gramine"
#: The first file system of confidential guests.
INITRD: Final = "initrd"
#: What boots.
KERNEL: Final = "kernel"
#: What all of it was made from.
LOCK: Final = "nacre.lock"
#: A folder: the files as a container image.
OCI: Final = "oci"
#: How it was made (SLSA).
PROVENANCE: Final = "provenance.json"
#: The registers of every platform, for policies.
RELEASE: Final = "release.toml"
#: What can be attacked.
REPORT: Final = "report.json"
#: What is in it (CycloneDX).
SBOM: Final = "sbom.cdx.json"
#: The SHA-256 of everything else.
SUMS: Final = "SHA256SUMS"
