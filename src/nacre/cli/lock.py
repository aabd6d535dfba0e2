# SPDX-License-Identifier: Apache-2.0
"""``nacre lock``: every input of an image by its digest."""

import sys
from pathlib import Path

import click

from nacre.build.app import Recipe
from nacre.build.debian.sources import ARCHIVE_KEYRING, Mirror, mirrors
from nacre.build.download import Download
from nacre.build.inputs import Inputs
from nacre.build.lock import FILE, Lock, insist_on_newer
from nacre.build.means import Means
from nacre.build.resolve import resolve, with_agent
from nacre.cli import terminal
from nacre.errors import BuildError, ConfigurationError

__all__ = ["command", "image_option", "inputs_option", "keyring_option", "means", "mirror_option"]

mirror_option = click.option(
    "--mirror",
    "urls",
    metavar="URL",
    multiple=True,
    help="A mirror of Debian, instead of those that this machine is configured for.",
)
inputs_option = click.option(
    "--inputs",
    "folder",
    metavar="FOLDER",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where inputs are kept; below the user's cache, if left out.",
)


keyring_option = click.option(
    "--keyring",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, resolve_path=True),
    help="Whose signatures of a --mirror's index are believed; the keys of Debian's archive, if left out.",
)
image_option = click.option(
    "--from",
    "image",
    metavar="IMAGE",
    type=click.Path(exists=True, path_type=Path),
    help="The container image that nacre.toml names: a folder (OCI layout), or what docker save wrote.",
)


@click.command("lock")
@click.argument("app", metavar="APP", type=click.Path(file_okay=False, path_type=Path))
@mirror_option
@keyring_option
@inputs_option
@image_option
@click.option(
    "--agent", "only_agent", is_flag=True, help="Keep every other input: take the agent of this Nacre."
)
@click.option("--check", is_flag=True, help="Write nothing; fail if the lock would change.")
@click.option("--json", "as_json", is_flag=True, help="Write the lock as JSON to stdout as well.")
def command(
    app: Path,
    *,
    urls: tuple[str, ...],
    keyring: str | None,
    folder: Path | None,
    image: Path | None,
    only_agent: bool,
    check: bool,
    as_json: bool,
) -> int:
    """Choose the inputs of the application's image in the folder APP, and write nacre.lock.

    Debian's packages come from signed indices, Python's and npm's by their hashes. The lock names what files
    of the image are of, and no mirror: whoever has the files builds the same bytes.
    """
    recipe = Recipe.load(app)
    if only_agent:
        made = with_agent(Lock.load(recipe.folder), recipe)
    else:
        made = resolve(recipe, means(recipe, urls, folder, offline=False, keyring=keyring, image=image))
    path = recipe.folder / FILE
    old = _old(recipe.folder)
    if old is not None:
        insist_on_newer(old, made)
    if check:
        if old != made:
            raise BuildError("lock-changed", file=str(path))
    else:
        _write(path, made)
    if as_json:
        terminal.json(made.encode().rstrip())
        return 0
    packages, wheels, modules = len(made.packages), len(made.wheels), len(made.modules)
    size = sum(one.size for one in (*made.packages, *made.wheels, *made.modules))
    terminal.out(
        [
            f"{path}: {packages} packages, {wheels} wheels, {modules} modules; {size >> 20} MiB",
            *(f"  {line}" for line in _changes(old, made)),
            *(f"  left out of the container image: {terminal.clean(line)}" for line in _left_out(made)),
        ]
    )
    return 0


def _write(path: Path, made: Lock) -> None:
    """Write a lock, whole or not at all."""
    new = path.with_name(f".{path.name}.new")
    try:
        new.write_bytes(made.encode())
        new.replace(path)
    except OSError as error:
        raise BuildError("output-unwritable", file=str(path), actual=error.strerror or "an error") from None


def means(
    recipe: Recipe,
    urls: tuple[str, ...],
    folder: Path | None,
    *,
    offline: bool,
    keyring: str | None = None,
    image: Path | None = None,
) -> Means:
    """Return how inputs are got: from mirrors that somebody named, or from this machine's."""
    suites = (recipe.build.suite, f"{recipe.build.suite}-updates")
    keys = keyring or ARCHIVE_KEYRING
    named = tuple([Mirror(url.rstrip("/"), name, keys) for url in urls for name in suites])
    seen = sys.stderr.isatty()
    return Means(
        named or mirrors(),
        Inputs(folder, offline=offline),
        Download(_progress) if seen else Download(),
        lambda words: terminal.note([f"{words} …"]),
        image,
    )


def _progress(name: str, done: int, total: int) -> None:
    share = f"{100 * done // total:3d} %" if total else f"{done >> 10} KiB"
    sys.stderr.write(f"\r\x1b[K{terminal.clean(name)[:60]}  {share}" + "\r\x1b[K" * (done == total))
    sys.stderr.flush()


def _old(folder: Path) -> Lock | None:
    try:
        return Lock.load(folder)
    except (BuildError, ConfigurationError):
        return None


def _left_out(lock: Lock) -> tuple[str, ...]:
    return lock.base.left_out if lock.base else ()


def _changes(old: Lock | None, new: Lock) -> list[str]:
    """List in words what another lock has instead."""
    if old is None:
        return []
    before, after = _versions(old), _versions(new)
    return [
        f"{name}  {before.get(name, '(new)')} → {after.get(name, '(gone)')}"
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    ]


def _versions(lock: Lock) -> dict[str, str]:
    found = {one.name: one.version for one in (*lock.packages, *lock.wheels, *lock.modules)}
    return found | ({lock.base.name or "the container image": lock.base.sha256} if lock.base else {})
