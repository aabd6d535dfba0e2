# SPDX-License-Identifier: Apache-2.0
"""SGX evidence is a DCAP quote; its structures are in ``dcap/layout.py``."""

from nacre.platforms.dcap.evidence import Quote, is_quote, parse_quote

__all__ = ["Quote", "is_quote", "parse_quote"]
