# SPDX-License-Identifier: Apache-2.0
"""Fixed structures, each field said once: for the parser and for inspection."""

import struct

import msgspec

__all__ = ["Layout"]


class Layout:
    """A fixed structure: the fields of a record in order, with their struct codes. Little-endian.

    Attributes:
        packed: The compiled structure.
        size: Its size in bytes.
        fields: Name, offset and size of each field.
    """

    __slots__ = ("fields", "packed", "size")

    def __init__(self, record: type[msgspec.Struct], codes: str) -> None:
        """Give the first fields of ``record`` the struct codes, separated by blanks."""
        items = codes.split()
        self.packed = struct.Struct("<" + "".join(items))
        self.size = self.packed.size
        fields = []
        offset = 0
        for name, code in zip(record.__struct_fields__, items, strict=False):
            size = struct.calcsize("<" + code)
            fields.append((name, offset, size))
            offset += size
        self.fields = tuple(fields)
