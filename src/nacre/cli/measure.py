# SPDX-License-Identifier: Apache-2.0
"""``nacre measure``: the registers that hardware will report, before any hardware sees them."""

import sys
from pathlib import Path

import click
import msgspec

from nacre.cli import terminal
from nacre.cli.exits import Exit
from nacre.cli.measured import Measured, compared, compared_lines, lines, saved, uncompared
from nacre.cli.measuring import TEES, Given, measured
from nacre.errors import ConfigurationError

__all__ = ["command"]

_PAIR = 2


def _hex(text: str) -> int:
    return int(text, 16)


@click.command("measure")
@click.argument("files", nargs=-1, metavar="[FILE|FOLDER]…")
@click.option("--tee", type=click.Choice(TEES), help="The TEE, where the file does not tell.")
@click.option("--explain", is_flag=True, help="Show which bytes of which input make each register.")
@click.option("--diff", is_flag=True, help="Compare two: name the first input that differs.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON; a later --diff reads it.")
@click.option("--firmware", metavar="FILE", help="The machine's firmware, OVMF.")
@click.option("--kernel", metavar="FILE", help="The kernel that the host starts.")
@click.option("--initrd", metavar="FILE", multiple=True, help="Its first file system; Nitro: each, in order.")
@click.option("--cmdline", "command_line", metavar="TEXT", help="The kernel's command line.")
@click.option("--cpus", type=click.IntRange(min=1), help="SEV: virtual processors.")
@click.option("--cpu-type", metavar="MODEL", help="SEV: as after QEMU's -cpu, or a CPUID signature.")
@click.option("--vmm", "host", type=click.Choice(("qemu", "ec2", "gce")), help="SEV: the host; else qemu.")
@click.option(
    "--features",
    type=_hex,
    metavar="HEX",
    help="SEV-SNP: SEV_FEATURES in hex, else 1; 21 from Linux 6.11 on.",
)
@click.option("--memory", metavar="MIB", type=click.IntRange(min=1), help="TDX: the machine's memory.")
@click.option("--qemu", metavar="VERSION", help="TDX: the version of QEMU that starts the machine.")
@click.option("--acpi", metavar="LOG", help="TDX: an event log of such a machine; RTMR0 needs it.")
@click.option("--gramine", metavar="FOLDER", help="SGX: where Gramine is installed, else /usr.")
@click.option("--role", metavar="ARN", help="Nitro: the role of the parent instance, for PCR3.")
@click.option("--instance", metavar="ID", help="Nitro: the parent instance, for PCR4.")
@click.option("--bank", metavar="HASH", help="TPM: the hash of its registers, else sha256.")
@click.option(
    "--phase", "phases", metavar="NAME", multiple=True, help="TPM: what systemd measures, in order."
)
def command(files: tuple[str, ...], *, explain: bool, diff: bool, as_json: bool, **options: object) -> int:
    """Compute the registers that hardware will report, from what will be started.

    A FILE is one that tells what it is: an enclave image (EIF), an SGX stream (.sgxs) or signature (.sig),
    Gramine's manifest (.manifest.sgx), a unified kernel image, an event log of a TPM, of a TD or of dstack,
    a container image's archive, or what --json wrote. A FOLDER is one that nacre build wrote, a container
    image (OCI layout) or a release of dstack's. Otherwise options name the parts. The registers of evidence
    are shown too, unverified.

    With --diff two files are compared, or a file with the parts; it exits with 10 if they differ.
    """
    given = msgspec.convert({name: value for name, value in options.items() if value is not None}, Given)
    sources = [*([""] if _parts_alone(files, given) else []), *files]
    wanted = _PAIR if diff else 1
    if len(sources) != wanted:
        raise ConfigurationError("measure-inputs", expected=wanted, actual=len(sources))
    found = [measured(source, given) for source in sources]
    terminal.note(
        [f"warning: {terminal.clean(f'{one.source}: {one.warning}')}" for one in found if one.warning]
    )
    return (
        _differences(*found, as_json=as_json)
        if diff
        else _registers(*found, explain=explain, as_json=as_json)
    )


def _parts_alone(files: tuple[str, ...], given: Given) -> bool:
    """Tell whether options describe an input of their own; beside a folder they replace parts of it."""
    return given.describes and not any(Path(file).is_dir() for file in files)


def _registers(found: Measured, *, explain: bool, as_json: bool) -> int:
    if as_json:
        terminal.json(msgspec.json.encode(saved(found)))
    else:
        style, columns = terminal.style(sys.stdout), terminal.width(sys.stdout)
        terminal.out(lines(found, style, columns, explain=explain))
    return Exit.ACCEPTED


def _differences(one: Measured, other: Measured, *, as_json: bool) -> int:
    differences = compared(one, other)
    if as_json:
        terminal.json(msgspec.json.encode(differences))
    else:
        terminal.out(compared_lines(differences, one, other, terminal.style(sys.stdout)))
        terminal.note([*uncompared(one, other), *([] if differences else ["no register differs"])])
    return Exit.REJECTED if differences else Exit.ACCEPTED
