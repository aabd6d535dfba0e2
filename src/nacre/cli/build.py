# SPDX-License-Identifier: Apache-2.0
"""``nacre build``: the image of an application, and the registers that it will show."""

from pathlib import Path

import click
import msgspec

from nacre.appraisal.documents import read_bytes
from nacre.build import agent, outputs
from nacre.build.app import Recipe
from nacre.build.folder import replace, stated, unchanged
from nacre.build.gramine import SIGNATURE, Enclave, Gramine, signature
from nacre.build.image import build, insist_on_lock, origin, parts_of
from nacre.build.lock import Lock
from nacre.build.surface import Surface, changes
from nacre.build.surface_text import compared, lines
from nacre.build.write import Source, write
from nacre.cli import terminal
from nacre.cli.author import Author, author
from nacre.cli.lock import image_option, inputs_option, means, mirror_option
from nacre.enclave.configure import configuration
from nacre.errors import BuildError

__all__ = ["Built", "command", "gramine_option", "runtime_of"]

gramine_option = click.option(
    "--gramine",
    "prefix",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default="/usr",
    help="Where Gramine is installed, for SGX; /usr, if left out.",
)


def runtime_of(recipe: Recipe, prefix: Path) -> Gramine | None:
    """Return the Gramine that an image needs, if it needs one.

    Raises:
        BuildError: ``gramine-missing``.
    """
    return Gramine.load(prefix) if "sgx" in recipe.build.targets else None


_LONGEST = 1 << 24
#: No processor looks at a signature's date, and two builds say the same.
_DATE = "19700101"


class Built(msgspec.Struct, frozen=True):
    """What ``--json`` writes.

    Attributes:
        app: The application's name.
        version: Its version.
        folder: Where the image is.
        lock: The SHA-256 of the lock, hex.
        unchanged: Whether it was there already.
        files: Name to SHA-256, hex.
    """

    app: str
    version: str
    folder: str
    lock: str
    unchanged: bool
    files: dict[str, str]


@click.command("build")
@click.argument("app", metavar="APP", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--output",
    "-o",
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder to write; dist in APP, if left out.",
)
@mirror_option
@inputs_option
@image_option
@gramine_option
@click.option("--sgx-key", metavar="FILE", help="Sign the SGX image: RSA, 3072 bits, exponent 3, PEM.")
@click.option("--offline", is_flag=True, help="Take inputs only from where they are kept.")
@click.option("--report", "shown", is_flag=True, help="Show what of the image can be attacked.")
@click.option(
    "--against",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Another release's report.json, to be compared with; with --report.",
)
@click.option("--json", "as_json", is_flag=True, help="Say what was built as JSON.")
def command(
    app: Path,
    *,
    output: Path | None,
    urls: tuple[str, ...],
    folder: Path | None,
    image: Path | None,
    prefix: Path,
    sgx_key: str | None,
    offline: bool,
    shown: bool,
    against: Path | None,
    as_json: bool,
) -> int:
    """Build the image of the application in the folder APP, as nacre.toml and nacre.lock say.

    The same files give the same bytes on any machine. Beside the image are its registers for every target,
    what it is made of, how it was made, and what of it can be attacked.
    """
    recipe = Recipe.load(app)
    lock = Lock.load(recipe.folder)
    code = agent.digest()
    insist_on_lock(recipe, lock, agent=code)
    place = output or recipe.folder / "dist"
    if not lock.base and place.resolve().is_relative_to((recipe.folder / recipe.app.source).resolve()):
        raise BuildError("output-inside", file=str(place), actual=recipe.app.source)
    runtime = runtime_of(recipe, prefix)
    signer = author(sgx_key) if sgx_key else None
    modulus = signer.modulus if signer else 0
    source = Source.of(recipe.folder, output=place, files=recipe.folder / recipe.app.source)
    # Of another commit the same image has another provenance.
    made_from = " ".join((origin(recipe, lock, agent=code, runtime=runtime, author=modulus), *source)).strip()
    same = unchanged(place, made_from)
    if not same:
        parts = parts_of(lock, means(recipe, urls, folder, offline=offline, image=image))
        made = build(
            recipe,
            lock,
            parts,
            configure=configuration,
            runtime=runtime,
        )

        def whole(new: Path) -> None:
            write(made, new, source=source)
            if signer and runtime and made.enclave:
                _sign(made.enclave, recipe, new, runtime=runtime, signer=signer)

        replace(place, whole, origin=made_from)
    _say(recipe, lock, place, same=same, as_json=as_json)
    if shown and not as_json:
        _report(place, against)
    return 0


def _sign(enclave: Enclave, recipe: Recipe, folder: Path, *, runtime: Gramine, signer: Author) -> None:
    signed = signature(
        enclave.manifest, gramine=runtime, modulus=signer.modulus, sign=signer.sign, date=_DATE
    )
    (folder / outputs.GRAMINE / f"{recipe.app.name}{SIGNATURE}").write_bytes(signed)


def _say(recipe: Recipe, lock: Lock, place: Path, *, same: bool, as_json: bool) -> None:
    files = dict(stated(place))
    app = recipe.app
    if as_json:
        built = Built(app.name, app.version, str(place), lock.digest, same, files)
        terminal.json(msgspec.json.encode(built))
        return
    terminal.out(
        [
            f"{app.name} {app.version} in {place}{' (nothing has changed)' if same else ''}",
            *(
                f"  {digest[:16]}  {(place / name).stat().st_size:>10}  {name}"
                for name, digest in files.items()
                if "/" not in name
            ),
        ]
    )


def _report(place: Path, against: Path | None) -> None:
    now = _surface(place / outputs.REPORT)
    terminal.out(["", *map(terminal.clean, lines(now))])
    if against is not None:
        found = compared(changes(_surface(against), now))
        terminal.out(["", f"Compared with {against}:", *map(terminal.clean, found)])


def _surface(path: Path) -> Surface:
    return Surface.decode(read_bytes(path, what="report", limit=_LONGEST))
