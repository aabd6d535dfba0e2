# SPDX-License-Identifier: Apache-2.0
"""``nacre kernel``: the minimal kernel of an application's image."""

from pathlib import Path

import click
import msgspec

from nacre.build.app import Recipe
from nacre.build.kernel_build import fragments
from nacre.build.resolve import kernel
from nacre.cli import terminal
from nacre.cli.lock import inputs_option, keyring_option, means, mirror_option
from nacre.errors import BuildError

__all__ = ["command"]


@click.command("kernel")
@click.argument("app", metavar="APP", type=click.Path(file_okay=False, path_type=Path))
@mirror_option
@keyring_option
@inputs_option
@click.option("--show-config", is_flag=True, help="Show what is asked of the kernel, and build nothing.")
@click.option("--json", "as_json", is_flag=True, help="Say what was built as JSON.")
def command(
    app: Path,
    *,
    urls: tuple[str, ...],
    keyring: str | None,
    folder: Path | None,
    show_config: bool,
    as_json: bool,
) -> int:
    """Build the kernel for the image of the application in the folder APP, if it is to have its own.

    It comes from Debian's source, with what the targets in nacre.toml need and no more, and is kept by its
    digest: nacre lock and nacre build find it. The first time takes minutes.
    """
    recipe = Recipe.load(app)
    if show_config:
        terminal.out(fragments(recipe.build.targets).splitlines())
        return 0
    made = kernel(recipe, means(recipe, urls, folder, offline=False, keyring=keyring))
    if made is None:
        raise BuildError("kernel-other", actual=recipe.build.kernel)
    if as_json:
        terminal.json(msgspec.json.encode(made))
        return 0
    targets = ", ".join(recipe.build.targets)
    terminal.out(
        [
            f"Linux {made.version} for {targets}: {made.size >> 10} KiB",
            f"  SHA-256  {made.sha256}",
            f"  made by  {terminal.clean(made.tools)}",
        ]
    )
    return 0
