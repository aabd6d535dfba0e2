# SPDX-License-Identifier: Apache-2.0
"""The CRC-32 of two byte strings behind each other, from the CRC-32 of each.

The checksum in the header of an enclave image begins with that header, which is known only when everything
else has been hashed. Like this nobody has to wait for it.

A CRC-32 is the remainder of a polynomial over two elements; ``n`` bytes more multiply it by x to the 8n.

Source: the method is zlib's ``crc32_combine`` (Mark Adler).
"""

__all__ = ["combined"]

_POLYNOMIAL = 0xEDB88320  # of CRC-32 ISO-HDLC, the coefficient of x^0 in the highest bit
_ONE = 1 << 31
_X8 = 1 << 23


def combined(first: int, second: int, size: int) -> int:
    """Return the CRC-32 of a whole.

    Args:
        first: Of its beginning.
        second: Of the rest.
        size: Bytes of the rest.
    """
    shift, square = _ONE, _X8
    while size:
        if size & 1:
            shift = _product(shift, square)
        square = _product(square, square)
        size >>= 1
    return _product(shift, first) ^ second


def _product(one: int, other: int) -> int:
    """Multiply two polynomials, modulo that of the CRC."""
    result, bit = 0, _ONE
    while bit:
        if one & bit:
            result ^= other
        other = other >> 1 ^ (_POLYNOMIAL if other & 1 else 0)
        bit >>= 1
    return result
