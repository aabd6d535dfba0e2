# SPDX-License-Identifier: Apache-2.0
"""``nacre sign``: sign an enclave image of Nitro, so that PCR8 names the signer."""

from pathlib import Path

import click
import msgspec

from nacre.build.parallel import threads
from nacre.cli import inputs, terminal
from nacre.cli.signing import private_key
from nacre.errors import BuildError
from nacre.platforms.nitro import eif, eif_write
from nacre.platforms.nitro.eif_sign import Signer
from nacre.trust import pem
from nacre.trust.signing import signing_key

__all__ = ["Signed", "command"]


class Signed(msgspec.Struct, frozen=True):
    """What ``--json`` writes.

    Attributes:
        file: The signed image.
        registers: Name to value, hex: PCR0, PCR1 and PCR2 are those of the image that was signed.
    """

    file: str
    registers: dict[str, str]


@click.command("sign")
@click.argument("image", metavar="IMAGE", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--key", metavar="FILE", required=True, help="The private key, PEM, of P-384.")
@click.option("--certificate", metavar="FILE", required=True, help="Its certificate, PEM: PCR8 measures it.")
@click.option(
    "--output", "-o", metavar="FILE", required=True, type=click.Path(path_type=Path), help="What to write."
)
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
def command(image: Path, *, key: str, certificate: str, output: Path, as_json: bool) -> int:
    """Sign the enclave image IMAGE of Nitro, or sign it anew.

    Signing the same image with the same key gives the same bytes, and changes no register but PCR8. Nothing
    is overwritten.
    """
    found = pem.certificates(inputs.document(certificate))
    if len(found) != 1:
        raise BuildError("sign-certificate", actual=len(found))
    signer = Signer(found[0], signing_key(private_key(key)).sign)
    made = eif_write.assemble(
        eif_write.parts_of(eif.parse(image.read_bytes())), signer=signer, together=threads
    )
    try:
        with output.open("xb") as stream:
            stream.writelines(made.chunks)
    except OSError as error:
        raise BuildError("output-unwritable", file=str(output), actual=error.strerror or "?") from None
    registers = {name: value.hex() for name, value in made.measurement.registers.items()}
    if as_json:
        terminal.json(msgspec.json.encode(Signed(str(output), registers)))
    else:
        terminal.out([str(output), *(f'  {name} = "{value}"' for name, value in registers.items())])
    return 0
