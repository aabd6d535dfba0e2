# SPDX-License-Identifier: Apache-2.0
"""``nacre rebuild``: whether a release is what its source makes."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import msgspec

from nacre.appraisal.documents import read_bytes
from nacre.appraisal.release import Release
from nacre.build import agent, outputs, provenance, rebuilds, statements
from nacre.build.again import checked_out, project
from nacre.build.app import Recipe
from nacre.build.compare import Difference, compare
from nacre.build.image import Image, build, insist_on_lock, parts_of
from nacre.build.lock import Lock
from nacre.build.write import Source, write
from nacre.cli import terminal
from nacre.cli.about import package_version
from nacre.cli.build import gramine_option, runtime_of
from nacre.cli.exits import Exit
from nacre.cli.lock import image_option, inputs_option, means, mirror_option
from nacre.enclave.configure import configuration
from nacre.errors import BuildError

__all__ = ["Rebuilt", "command"]

_LONGEST = 1 << 24


class Rebuilt(msgspec.Struct, frozen=True):
    """What ``--json`` writes.

    Attributes:
        release: The release's identifier.
        fingerprint: Its fingerprint, hex.
        commit: The source that was built.
        identical: Whether everything came out the same.
        differences: What did not.
    """

    release: str
    fingerprint: str
    commit: str
    identical: bool
    differences: tuple[Difference, ...]


@click.command("rebuild")
@click.argument("release", metavar="RELEASE", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--source", metavar="REPOSITORY", help="Where the source is, if not where the release says.")
@mirror_option
@inputs_option
@image_option
@gramine_option
@click.option("--offline", is_flag=True, help="Take inputs only from where they are kept.")
@click.option("--key", metavar="FILE", help="Sign a statement of the outcome with this private key, PEM.")
@click.option("--statement", metavar="FILE", type=click.Path(path_type=Path), help="Where to write it.")
@click.option("--diffoscope", is_flag=True, help="Let diffoscope compare files that differ, if installed.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
def command(
    release: Path,
    *,
    source: str | None,
    urls: tuple[str, ...],
    folder: Path | None,
    image: Path | None,
    prefix: Path,
    offline: bool,
    key: str | None,
    statement: Path | None,
    diffoscope: bool,
    as_json: bool,
) -> int:
    """Build the release in the folder RELEASE again, from its source, and compare every file.

    The source is checked out at the commit that the release's provenance names. Exit status 0 means that
    everything is the same, 10 that something is not.
    """
    if (key is None) != (statement is None):
        raise click.UsageError("--key and --statement belong together")
    told = read_bytes(release / outputs.PROVENANCE, what="provenance", limit=_LONGEST)
    made = provenance.read(told, pinned=None)
    repository = source or made.repository
    if not repository or not made.commit:
        raise BuildError("source-unknown")
    said = Release.load(release / outputs.RELEASE)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        checked_out(repository, made.commit, place / "source")
        recipe = Recipe.load(project(place / "source", made))
        lock = Lock.load(recipe.folder)
        insist_on_lock(recipe, lock, agent=agent.digest())
        parts = parts_of(lock, means(recipe, urls, folder, offline=offline, image=image))
        runtime = runtime_of(recipe, prefix)
        made_again = build(recipe, lock, parts, configure=configuration, runtime=runtime)
        rebuilt = place / "rebuilt"
        _write(made_again, rebuilt, Source(made.repository, made.commit))
        found = _compared(release, rebuilt)
        if diffoscope and not as_json:
            _diffoscope(release, rebuilt, found)
    outcome = Rebuilt(said.id, said.fingerprint.hex(), made.commit, not found, found)
    if key is not None and statement is not None:
        signed = _statement(said, outcome, key)
        try:
            statement.write_bytes(signed)
        except OSError as error:
            actual = error.strerror or "an error"
            raise BuildError("output-unwritable", file=str(statement), actual=actual) from None
    _say(outcome, as_json=as_json)
    return Exit.REJECTED if found else Exit.ACCEPTED


def _write(image: Image, folder: Path, source: Source) -> None:
    try:
        folder.mkdir()
        write(image, folder, source=source)
    except OSError as error:
        actual = error.strerror or "an error"
        raise BuildError("output-unwritable", file=str(folder), actual=actual) from None


def _compared(release: Path, rebuilt: Path) -> tuple[Difference, ...]:
    try:
        return compare(release, rebuilt)
    except OSError as error:
        actual = error.strerror or "an error"
        raise BuildError("tree-unreadable", file=str(error.filename or release), actual=actual) from None


def _statement(release: Release, outcome: Rebuilt, key: str) -> bytes:
    from nacre.cli.signing import private_key  # noqa: PLC0415 (only to sign)
    from nacre.trust.signing import signing_key  # noqa: PLC0415

    first = outcome.differences[0] if outcome.differences else None
    written = rebuilds.statement(
        rebuilds.Rebuild(
            release=release.id,
            fingerprint=release.fingerprint,
            commit=outcome.commit,
            result="identical" if outcome.identical else "different",
            difference="" if first is None else _words(first),
            version=package_version("nacre"),
        )
    )
    return statements.sign(written, signing_key(private_key(key)))


def _say(outcome: Rebuilt, *, as_json: bool) -> None:
    if as_json:
        terminal.json(msgspec.json.encode(outcome))
        return
    style = terminal.style(sys.stdout)
    title = (
        style.paint("IDENTICAL", "bold", "green")
        if outcome.identical
        else style.paint("DIFFERENT", "bold", "red")
    )
    terminal.out(
        [
            f"{title}  {terminal.clean(outcome.release)} at commit {outcome.commit}",
            *(f"  {terminal.clean(_words(one))}" for one in outcome.differences),
        ]
    )


def _words(difference: Difference) -> str:
    where = f"{difference.file}, {difference.where}" if difference.where else difference.file
    return f"{where}: {difference.what}"


def _diffoscope(released: Path, rebuilt: Path, found: tuple[Difference, ...]) -> None:
    program = shutil.which("diffoscope")
    if program is None:
        terminal.note(["note: diffoscope is not installed"])
        return
    for name in sorted({one.file for one in found if (released / one.file).exists()}):
        subprocess.run(  # noqa: S603 (our own command line)
            [program, "--text", "-", str(released / name), str(rebuilt / name)], check=False
        )
