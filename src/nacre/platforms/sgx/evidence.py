# SPDX-License-Identifier: Apache-2.0
"""SGX evidence: a DCAP quote of an enclave. Its structures are in ``dcap/layout.py``."""

from nacre.platforms.dcap.evidence import Quote, is_quote, parse_quote_of

__all__ = ["looks_like", "parse_enclave_quote"]


def looks_like(data: bytes) -> bool:
    """Tell from the header whether this looks like a quote of an enclave; no promise."""
    return is_quote(data, "sgx")


def parse_enclave_quote(data: bytes) -> Quote:
    """Decode a quote of an enclave.

    Raises:
        MalformedEvidence: Lengths do not add up, or non-zero bytes follow the end.
        UnsupportedEvidence: It is of a kind that is not verified here, or of another TEE.
    """
    return parse_quote_of(data, "sgx")
