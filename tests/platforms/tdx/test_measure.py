# SPDX-License-Identifier: Apache-2.0
"""All registers of a TD together, and a kernel's header against QEMU itself."""

import hashlib
import shutil
import subprocess
from pathlib import Path
from typing import Self

import pytest
from tests.platforms.tdx.images import BOOT, HOB, image
from tests.platforms.tdx.linux import linux

from nacre.errors import ConfigurationError
from nacre.platforms.measuring import Part
from nacre.platforms.tdx.kernel import handed_over
from nacre.platforms.tdx.measure import measure, qemu
from nacre.platforms.tdx.mrtd import mrtd
from nacre.platforms.tdx.rtmr import Acpi, Boot, rtmr0, rtmr1, rtmr2

_FIRMWARE = image((BOOT, HOB))
_ACPI = Acpi.of(loader=b"loader", pointer=b"pointer", tables=b"tables")
_SHOWN = 0x300


@pytest.mark.parametrize(
    ("version", "order", "changes"),
    [
        ("8.2.2", "section", True),
        ("9.0.0", "page", True),
        ("10.1.5", "page", True),
        ("10.2.0", "page", False),
        ("11.0", "page", False),
    ],
)
def test_versions_of_qemu(version: str, order: str, *, changes: bool) -> None:
    boot = qemu(version, memory=1 << 30, acpi=_ACPI)
    assert (boot.order, boot.changes_kernel, boot.memory, boot.acpi) == (order, changes, 1 << 30, _ACPI)


@pytest.mark.parametrize("version", ["", "7.2.22", "10", "ten.two", "10.²", "10.-2"])
def test_versions_that_start_no_td(version: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        qemu(version, memory=1 << 30)
    assert raised.value.code == "tdx-qemu"


def test_all_registers() -> None:
    boot = qemu("9.2.0", memory=1 << 30, acpi=_ACPI)
    event = Part(
        register="rtmr3", label="compose-hash", input="runtime", digest=hashlib.sha384(b"app").digest()
    )
    made = measure(
        firmware=_FIRMWARE, kernel=linux(), initrd=b"files", command_line="quiet", boot=boot, runtime=[event]
    )
    assert made.registers == {
        **mrtd(_FIRMWARE).registers,
        **rtmr0(_FIRMWARE, boot).registers,
        **rtmr1(linux(), initrd=5, boot=boot).registers,
        **rtmr2("quiet", initrd=b"files").registers,
        "rtmr3": hashlib.sha384(bytes(48) + event.digest).digest(),
    }
    assert list(made.registers) == ["mrtd", "rtmr0", "rtmr1", "rtmr2", "rtmr3"]
    assert {part.register for part in made.parts} == set(made.registers)


def test_a_log_is_enough_for_rtmr0() -> None:
    logged = Part(register="rtmr0", label="TD HOB", input="event log", digest=bytes(48))
    boot = Boot(memory=1 << 30, pattern=(logged,))
    made = measure(firmware=_FIRMWARE, kernel=linux(), initrd=b"", command_line="", boot=boot)
    assert made.registers["rtmr0"] == rtmr0(_FIRMWARE, boot).registers["rtmr0"]


def test_what_the_image_alone_tells() -> None:
    boot = Boot(memory=1 << 30)
    made = measure(firmware=_FIRMWARE, kernel=linux(), initrd=b"", command_line="", boot=boot)
    assert list(made.registers) == ["mrtd", "rtmr1", "rtmr2", "rtmr3"]
    assert made.registers["rtmr3"] == bytes(48)


class _Machine:
    """A machine of this QEMU that never runs: its ports are read from outside."""

    def __init__(self, *options: str) -> None:
        program = shutil.which("qemu-system-x86_64")
        assert program is not None, "apt-get install qemu-system-x86"
        line = [
            program,
            "-machine",
            "q35,accel=tcg",
            "-S",
            "-nodefaults",
            "-display",
            "none",
            "-qtest",
            "stdio",
        ]
        self._process = subprocess.Popen(
            [*line, *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def item(self, key: int, size: int) -> bytes:
        """Read an item of ``fw_cfg``."""
        self._ask(f"outw 0x510 {key}")
        return bytes(int(self._ask("inb 0x511"), 16) for _ in range(size))

    def _ask(self, line: str) -> str:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(f"{line}\n")
        stdin.flush()
        for answer in stdout:
            if answer.startswith("OK"):
                return answer[2:].strip()
        raise AssertionError(line)


@pytest.mark.parametrize(
    ("mebibytes", "more"), [(256, 0x3F), (2048, 0x3F), (2815, 0x3F), (4096, 0x3F), (512, 1)]
)
def test_a_kernels_header_as_this_qemu_hands_it_over(tmp_path: Path, mebibytes: int, more: int) -> None:
    kernel = linux(more=more, highest=0x17FFFFFF)
    for name, content in (("kernel", kernel), ("initrd", b"i" * 1234567)):
        (tmp_path / name).write_bytes(content)
    options = (
        "-m",
        f"{mebibytes}M",
        "-kernel",
        str(tmp_path / "kernel"),
        "-initrd",
        str(tmp_path / "initrd"),
    )
    with _Machine(*options, "-append", "quiet") as machine:
        shown = machine.item(0x18, _SHOWN)
    changed, _ = handed_over(kernel, initrd=1234567, memory=mebibytes << 20)
    assert changed[:_SHOWN] == shown
