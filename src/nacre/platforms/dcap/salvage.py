# SPDX-License-Identifier: Apache-2.0
"""What can be read of a quote that the parser refuses. For inspection only.

Fields are read where they would be, whatever lengths and versions say; what lies beyond the end is cut
off. Verification refuses the result by its type.
"""

from nacre.platforms.dcap.evidence import QE_AUTH_OFFSET, Quote
from nacre.platforms.dcap.layout import BODY_TYPES, HEADER, TEE_SGX, BodyType, QuoteHeader

__all__ = ["SalvagedQuote", "salvage_quote"]

_VERSIONS = (3, 4, 5)
_V4 = 4
_V5 = 5


class SalvagedQuote(Quote, frozen=True, gc=False):
    """A quote that is not well-formed, as far as it could be read."""


def salvage_quote(data: bytes) -> SalvagedQuote | None:
    """Read what is there; None if not even a quoting enclave's report is."""
    if len(data) < HEADER.size:
        return None
    header = QuoteHeader(*HEADER.packed.unpack_from(data))
    if header.version not in _VERSIONS:
        return None
    body_offset = HEADER.size + (6 if header.version == _V5 else 0)
    body_type = _body_type(header, data)
    body_size = body_type.layout.size
    if header.version == _V5:
        body_size = max(body_size, int.from_bytes(data[body_offset - 4 : body_offset], "little"))
    auth_offset = body_offset + body_size + 4
    qe_offset = auth_offset + 128 + (6 if header.version >= _V4 else 0)
    if len(data) < qe_offset + QE_AUTH_OFFSET:
        return None
    qe_auth_end = qe_offset + QE_AUTH_OFFSET
    qe_auth_size = int.from_bytes(data[qe_auth_end - 2 : qe_auth_end], "little")
    cert_at = qe_auth_end + qe_auth_size
    auth_size = int.from_bytes(data[auth_offset - 4 : auth_offset], "little")
    return SalvagedQuote(
        data,
        "sgx" if body_type.tee_type == TEE_SGX else "tdx",
        header,
        body_type,
        body_type.record(*body_type.layout.packed.unpack_from(data, body_offset)),
        body_offset,
        auth_offset,
        auth_offset + auth_size,
        data[auth_offset : auth_offset + 64],
        data[auth_offset + 64 : auth_offset + 128],
        qe_offset,
        qe_auth_size,
        int.from_bytes(data[cert_at : cert_at + 2], "little"),
        int.from_bytes(data[cert_at + 2 : cert_at + 6], "little"),
    )


def _body_type(header: QuoteHeader, data: bytes) -> BodyType:
    if header.version == _V5:
        number = int.from_bytes(data[HEADER.size : HEADER.size + 2], "little")
        return BODY_TYPES.get(number, BODY_TYPES[2])
    return BODY_TYPES[1 if header.tee_type == TEE_SGX else 2]
