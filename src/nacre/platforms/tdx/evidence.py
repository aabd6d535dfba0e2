# SPDX-License-Identifier: Apache-2.0
"""TDX evidence: a DCAP quote of a TD. Its structures are in ``dcap/layout.py``."""

from nacre.platforms.dcap.evidence import Quote, is_quote, parse_quote_of

__all__ = ["looks_like", "parse_td_quote"]


def looks_like(data: bytes) -> bool:
    """Tell from the header whether this looks like a quote of a TD; no promise."""
    return is_quote(data, "tdx")


def parse_td_quote(data: bytes) -> Quote:
    """Decode a quote of a TD.

    Raises:
        MalformedEvidence: Lengths do not add up, or non-zero bytes follow the end.
        UnsupportedEvidence: It is of a kind that is not verified here, or of another TEE.
    """
    return parse_quote_of(data, "tdx")
