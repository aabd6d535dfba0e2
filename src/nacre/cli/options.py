# SPDX-License-Identifier: Apache-2.0
"""The options of ``nacre verify``, written once for its two readers.

From shell to verdict there is little time, and building a command-line parser takes a third of it. So
plain command lines are read by :mod:`nacre.cli.quick`; everything else (help, completion, mistakes) by
click, whose command is made from the same table.
"""

from enum import Enum
from typing import NamedTuple

__all__ = ["VERIFY", "Kind", "Option"]


class Kind(Enum):
    """What an option takes."""

    FLAG = "flag"
    VALUE = "value"
    OPTIONAL = "optional"
    COUNT = "count"
    SEVERAL = "several"


class Option(NamedTuple):
    """One option.

    Attributes:
        flags: How it is written.
        name: The field of :class:`nacre.cli.verifying.Request`.
        kind: What it takes.
        text: What ``--help`` says.
        metavar: What ``--help`` calls its value.
    """

    flags: tuple[str, ...]
    name: str
    kind: Kind
    text: str
    metavar: str = ""


VERIFY = (
    Option(
        ("--policy", "-p"), "policy", Kind.VALUE, "What is acceptable (nacre policy init writes one).", "FILE"
    ),
    Option(
        ("--root",),
        "root",
        Kind.SEVERAL,
        "A development root to trust, without a policy: what it vouches for is SIMULATED.",
        "FILE",
    ),
    Option(("--nonce",), "nonce", Kind.VALUE, "The 32-byte nonce that was sent: hex, or @file.", "HEX|@FILE"),
    Option(
        ("--identity",),
        "identity",
        Kind.VALUE,
        "The identity document that the evidence has to name.",
        "FILE",
    ),
    Option(
        ("--as",),
        "system",
        Kind.VALUE,
        "Read it as this system's evidence, or as bound by this layout (nacre explain --systems lists them). "
        "Envelopes are recognised without it.",
        "SYSTEM[/LAYOUT]",
    ),
    Option(
        ("--part",),
        "part",
        Kind.SEVERAL,
        "What you know of what the evidence is bound to, by the layout's names: a key, a nonce, a file.",
        "NAME=HEX|@FILE",
    ),
    Option(("--at",), "at", Kind.VALUE, "Judge as of this time instead of now.", "RFC3339"),
    Option(
        ("--endorsements", "-e"),
        "endorsements",
        Kind.VALUE,
        "The vendor's documents: a bundle, or a directory of files named by role.",
        "FILE|DIR",
    ),
    Option(("--offline",), "offline", Kind.FLAG, "Do not fetch endorsements; use what is given or cached."),
    Option(("--json",), "json", Kind.FLAG, "Write the Result as JSON."),
    Option(("--ear",), "ear", Kind.FLAG, "Write an EAT Attestation Result, a JWT signed with --ear-key."),
    Option(("--ear-key",), "ear_key", Kind.VALUE, "The PEM private key that signs the EAR.", "PEM"),
    Option(
        ("--ear-profile",),
        "ear_profile",
        Kind.VALUE,
        "Its profile: draft-03 if left out; for older readers 2025-07, trustee-2024, veraison-2023.",
        "NAME",
    ),
    Option(("--ear-cwt",), "ear_cwt", Kind.FLAG, "Write the EAR as a CWT (CBOR) instead of a JWT."),
    Option(
        ("--why-not",),
        "why_not",
        Kind.OPTIONAL,
        "Show what separates the platform from UpToDate; given older endorsements, also which newer "
        "document turned a good status bad.",
        "[OLDER]",
    ),
    Option(("--quiet", "-q"), "quiet", Kind.COUNT, "Write only the first line; twice, nothing."),
    Option(("--verbose", "-v"), "verbose", Kind.COUNT, "Also show values, specifications and registers."),
)
