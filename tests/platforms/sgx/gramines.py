# SPDX-License-Identifier: Apache-2.0
"""A Gramine that nobody built: constants as version 1.9 has them, and a library that does nothing."""

import struct

CONSTANTS = {
    "PAGESIZE": 0x1000,
    "DEFAULT_ENCLAVE_BASE": 0,
    "MMAP_MIN_ADDR": 0x10000,
    "STACK_PROTECTOR_CANARY_DEFAULT": 0xBADBADBADBADBADB,
    "SSA_FRAME_NUM": 2,
    "SSA_FRAME_SIZE": 0x4000,
    "SGX_GPR_SIZE": 0xB0,
    "ENCLAVE_STACK_SIZE": 0x40000,
    "ENCLAVE_SIG_STACK_SIZE": 0x10000,
    "TCS_SIZE": 0x1000,
    "TCS_OSSA": 0x10,
    "TCS_NSSA": 0x1C,
    "TCS_OENTRY": 0x20,
    "TCS_OGS_BASE": 0x38,
    "TCS_OFS_LIMIT": 0x40,
    "TCS_OGS_LIMIT": 0x44,
    "SGX_COMMON_SELF": 0,
    "SGX_COMMON_STACK_PROTECTOR_CANARY": 8,
    "SGX_ENCLAVE_SIZE": 0x58,
    "SGX_TCS_OFFSET": 0x60,
    "SGX_INITIAL_STACK_ADDR": 0x68,
    "SGX_SIG_STACK_LOW": 0x78,
    "SGX_SIG_STACK_HIGH": 0x80,
    "SGX_SSA": 0x90,
    "SGX_GPR": 0x98,
    "SGX_MANIFEST_SIZE": 0xE8,
    "SGX_HEAP_MIN": 0xF0,
    "SGX_HEAP_MAX": 0xF8,
}

# offset, address, bytes in the file, bytes in memory, permissions
SEGMENTS = ((0, 0, 0x900, 0x900, 4), (0xA00, 0x1A00, 0x1300, 0x1300, 5), (0x1E80, 0x3E80, 0x400, 0x2345, 6))
CONTENT = bytes(index * 7 % 251 for index in range(0x3000))


def constants(**changed: int | None) -> bytes:
    lines = [f"{name} = {value:#x}" for name, value in (CONSTANTS | changed).items() if value is not None]
    return "\n".join(["# DO NOT MODIFY. THIS FILE WAS AUTO-GENERATED.", "", *lines, ""]).encode()


def library(
    segments: tuple[tuple[int, int, int, int, int], ...] = SEGMENTS,
    *,
    magic: bytes = b"\x7fELF\x02\x01\x01",
    machine: int = 62,
    count: int | None = None,
) -> bytes:
    number = 1 + len(segments) if count is None else count
    header = struct.pack("<16sHHIQQQIHHHHHH", magic, 3, machine, 1, 0x1234, 64, 0, 0, 64, 56, number, 0, 0, 0)
    headers = struct.pack("<IIQQQQQQ", 2, 6, 0, 0, 0, 0, 0, 8)
    for offset, address, size, memory, permissions in segments:
        headers += struct.pack("<IIQQQQQQ", 1, permissions, offset, address, address, size, memory, 4096)
    start = header + headers
    return start + CONTENT[len(start) :]
