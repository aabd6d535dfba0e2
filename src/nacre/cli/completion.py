# SPDX-License-Identifier: Apache-2.0
"""``nacre completion``: scripts that make a shell complete commands and options."""

import click
from click.shell_completion import get_completion_class

from nacre.cli import terminal

__all__ = ["command"]

_SHELLS = ("bash", "zsh", "fish")


@click.command("completion")
@click.argument("shell", type=click.Choice(_SHELLS))
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
def command(shell: str, *, as_json: bool) -> None:
    """Write the completion script for SHELL.

    \b
    bash:  nacre completion bash > ~/.local/share/bash-completion/completions/nacre
    zsh:   nacre completion zsh > "${fpath[1]}/_nacre"
    fish:  nacre completion fish > ~/.config/fish/completions/nacre.fish
    """  # noqa: D301 (click needs the control character itself)
    from nacre.cli.group import root  # noqa: PLC0415 (this module is loaded by it)

    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 (click knows every shell of _SHELLS)
    script = kind(root, {}, "nacre", "_NACRE_COMPLETE").source()
    if as_json:
        import msgspec  # noqa: PLC0415

        script = msgspec.json.encode({"shell": shell, "script": script}).decode()
    terminal.out([script.rstrip("\n")])
