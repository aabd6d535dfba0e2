# SPDX-License-Identifier: Apache-2.0
"""``nacre verify`` as click sees it; :mod:`nacre.cli.verifying` does the work."""

import click

from nacre.cli import verifying
from nacre.cli.options import VERIFY, Kind, Option

__all__ = ["command"]

_HELP = """Verify the evidence in FILE, at URL, or on stdin (-), and say why.

The first line of the output is the verdict and whose hardware stands behind it. Evidence fetched from a
URL is INCOMPLETE at best: nothing shows who served it. A URL without a path is that of an enclave, which is
asked for evidence of a fresh nonce.

FILE is a quote, report or document as the device gave it, or what another system packs one in: a certificate
with evidence in it, the JSON of dstack's guest agent, and others that nacre explain --systems lists.

Exit status: 0 accepted, 10 rejected, 11 incomplete, 12 warning (not accepted), 20 unsupported evidence,
30 malformed evidence, 40 endorsements unavailable, 2 usage, 1 internal error.
"""


def _parameter(option: Option) -> click.Option:
    names = [*option.flags, option.name]
    match option.kind:
        case Kind.FLAG:
            return click.Option(names, help=option.text, is_flag=True)
        case Kind.COUNT:
            return click.Option(names, help=option.text, count=True)
        case Kind.OPTIONAL:
            return click.Option(names, help=option.text, metavar=option.metavar, is_flag=False, flag_value="")
        case Kind.VALUE:
            return click.Option(names, help=option.text, metavar=option.metavar)
        case Kind.SEVERAL:
            return click.Option(names, help=option.text, metavar=option.metavar, multiple=True)


def _run(**values: str | int | bool | tuple[str, ...] | None) -> int:
    given = {name: value for name, value in values.items() if value is not None}
    if "evidence" not in given and given.get("why_not"):
        # `--why-not FILE` alone: the word after it was meant as the evidence.
        given |= {"evidence": given["why_not"], "why_not": ""}
    if "evidence" not in given:
        raise click.UsageError("Missing argument 'FILE|URL|-'.", click.get_current_context())
    return verifying.run(verifying.Request.of(given))


command = click.Command(
    "verify",
    callback=_run,
    help=_HELP,
    params=[
        click.Argument(["evidence"], metavar="FILE|URL|-", required=False),
        *map(_parameter, VERIFY),
    ],
)
