# SPDX-License-Identifier: Apache-2.0
"""The command tree. A command's module is loaded when the command is named, not before."""

import importlib
import importlib.util

import click

from nacre.cli.exits import Exit
from nacre.cli.failure import report
from nacre.errors import ConfigurationError

__all__ = ["LazyGroup", "root", "run"]

_COMMANDS = {
    "build": "Build an image and the registers that it will show.",
    "completion": "Write a completion script for a shell.",
    "conformance": "Run test vectors and compare every outcome.",
    "endorsements": "Fetch, show and pack the vendors' signed documents.",
    "explain": "Explain a reason code or a check.",
    "inspect": "Show every field of evidence, trusting none.",
    "kernel": "Build a minimal kernel for an image.",
    "lock": "Choose an image's inputs, each by its digest.",
    "logs": "Show what a simulated enclave wrote.",
    "measure": "Compute registers before any hardware reports them.",
    "policy": "Write, check and describe policies.",
    "ps": "List the simulated enclaves of this user.",
    "rebuild": "Build a release again from its source, and compare.",
    "result": "Read what other verifiers say, and check that it is they.",
    "release": "Convert and show reference values.",
    "root": "Show, export and reset the development roots.",
    "run": "Run an application in a simulated enclave.",
    "sign": "Sign an enclave image of Nitro.",
    "stop": "End simulated enclaves.",
    "test": "Run an application under a hostile host.",
    "verify": "Verify evidence and say why.",
    "version": "Show versions and the crypto engine.",
}
#: Commands that need more than the plain install: a module that is not in it, and the extra that brings it.
_EXTRAS = {
    "run": ("h11", "enclave"),
    "test": ("h11", "enclave"),
}


class LazyGroup(click.Group):
    """A group whose commands live in modules of their own, found by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Name every command."""
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Load a command.

        Raises:
            ConfigurationError: ``extra-missing``.
        """
        if cmd_name not in _COMMANDS:
            return None
        if cmd_name in _EXTRAS:
            module, extra = _EXTRAS[cmd_name]
            if importlib.util.find_spec(module) is None:
                raise ConfigurationError(
                    "extra-missing", what=f"nacre {cmd_name}", actual=module, expected=extra
                )
        command: click.Command = importlib.import_module(f"nacre.cli.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or say which one may have been meant."""
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            from nacre.cli.explain import nearest  # noqa: PLC0415 (difflib, only for mistakes)

            guess = nearest(args[0], _COMMANDS)
            raise click.UsageError(
                f"there is no command {args[0]!r}" + (f"\nhint: did you mean {guess}?" if guess else ""), ctx
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands without loading them."""
        with formatter.section("Commands"):
            formatter.write_dl(sorted(_COMMANDS.items()))


def _show_version(context: click.Context, _parameter: click.Parameter, wanted: bool) -> None:  # noqa: FBT001
    if wanted:
        context.invoke(importlib.import_module("nacre.cli.version").command, as_json=False)
        context.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show where an internal error happened; before the command.")
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show versions, as nacre version does.",
)
def root(*, debug: bool) -> None:
    """Build, ship, verify and operate applications inside Trusted Execution Environments.

    Exit status: 0 accepted, 10 rejected, 11 incomplete, 12 warning (not accepted), 20 unsupported
    evidence, 30 malformed evidence, 40 endorsements unavailable, 2 usage, 1 internal error.
    """


def run(arguments: list[str]) -> int:
    """Run a command line; mistakes in it are told like every other error."""
    try:
        status = root.main(arguments, prog_name="nacre", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help(), err=True)
        return Exit.USAGE
    except click.ClickException as error:
        message, _, hint = error.format_message().partition("\nhint: ")
        context = error.ctx if isinstance(error, click.UsageError) else None
        report(message, hint or (f"see {context.command_path} --help" if context else ""))
        return Exit.USAGE
    except click.Abort:
        raise KeyboardInterrupt from None
    return status if isinstance(status, int) else Exit.ACCEPTED
