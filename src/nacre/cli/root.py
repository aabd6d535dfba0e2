# SPDX-License-Identifier: Apache-2.0
"""``nacre root``: what the simulated hardware of this user signs under."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import msgspec

from nacre import reasons
from nacre.cli import terminal
from nacre.enclave.instances import Instances
from nacre.enclave.roots import FAMILIES, existing_root, reset
from nacre.errors import ConfigurationError, EnclaveError
from nacre.trust import pem
from nacre.trust.x509 import parse_certificate

__all__ = ["Exported", "Shown", "ShownCertificate", "command"]

_NONE = "no development roots; nacre run APP --tee nitro makes one"

_families = click.option(
    "--family", "-f", "families", multiple=True, type=click.Choice(tuple(FAMILIES)), help="Only this root."
)


class ShownCertificate(msgspec.Struct, frozen=True):
    """One root certificate.

    Attributes:
        name: Its subject's common name.
        sha256: Its fingerprint, hex.
        begins: The first second of its validity, RFC 3339.
        ends: The last one.
    """

    name: str
    sha256: str
    begins: str
    ends: str


class Shown(msgspec.Struct, frozen=True):
    """One development root, as ``--json`` writes it.

    Attributes:
        family: Its name.
        platforms: The platforms that share it.
        certificates: Its certificates; that of SNP has one a product line.
        problem: Why it cannot be used; empty if it can.
    """

    family: str
    platforms: tuple[str, ...]
    certificates: tuple[ShownCertificate, ...] = ()
    problem: str = ""


class Exported(msgspec.Struct, frozen=True):
    """One file that was written, as ``--json`` writes it.

    Attributes:
        path: Where it is.
        platforms: The platforms whose evidence it is to vouch for.
        sha256: The certificate's fingerprint, hex.
    """

    path: str
    platforms: tuple[str, ...]
    sha256: str


@click.group("root")
def command() -> None:
    """Show, export and reset the development roots: what simulated hardware of this user signs under.

    SGX and TDX share the root dcap. Only running an app makes a root; nothing here does.
    """


@command.command("show")
@_families
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
def show(*, families: Sequence[str], as_json: bool) -> None:
    """Show the roots that there are: their certificates, fingerprints (SHA-256) and dates."""
    shown = tuple(_shown(families))
    if as_json:
        terminal.json(msgspec.json.encode(shown))
    elif shown:
        terminal.out(_lines(shown, terminal.style(sys.stdout)))
    else:
        terminal.note([_NONE])


@command.command("export")
@click.argument("directory")
@_families
@click.option("--json", "as_json", is_flag=True, help="Say what was written as JSON.")
def export(directory: str, *, families: Sequence[str], as_json: bool) -> None:
    """Write the certificates, and no key, to DIRECTORY as PEM; nothing is overwritten.

    Who is to accept simulated evidence names them: nacre verify --root FILE, or simulated = ["FILE"]
    under [anchors.PLATFORM] in a policy.
    """
    written = []
    for family in families or FAMILIES:
        root = existing_root(family)
        for number, der in enumerate(() if root is None else root.certificates):
            path = Path(directory, f"{family}-{number}.pem")
            _create(path, pem.armour(der) + b"\n")
            written.append(Exported(str(path), FAMILIES[family], parse_certificate(der).digest.hex()))
    if as_json:
        terminal.json(msgspec.json.encode(written))
    elif written:
        terminal.out(one.path for one in written)
    else:
        terminal.note([_NONE])


@command.command("reset")
@_families
@click.option("--yes", "-y", "sure", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Say what is gone as JSON.")
def forget(*, families: Sequence[str], sure: bool, as_json: bool) -> None:
    """Forget roots, damaged ones too; the next run makes new ones.

    What was signed under the old ones, the evidence of instances that still run included, does not verify
    under the new: start those again, and have policies name the new certificates.
    """
    shown = tuple(_shown(families))
    if shown and not sure:
        _insist(shown)
    gone = [one for one in shown if reset(one.family)]
    if as_json:
        terminal.json(msgspec.json.encode(gone))
    elif gone:
        terminal.out(one.family for one in gone)
    else:
        terminal.note([_NONE])


def _shown(families: Sequence[str]) -> Iterator[Shown]:
    for family in families or FAMILIES:
        try:
            root = existing_root(family)
        except EnclaveError as error:
            yield Shown(family, FAMILIES[family], problem=str(error))
            continue
        if root is not None:
            yield Shown(family, FAMILIES[family], tuple(map(_certificate, root.certificates)))


def _certificate(der: bytes) -> ShownCertificate:
    found = parse_certificate(der)
    begins, ends = (reasons.render("{at:time}", {"at": at}) for at in (found.not_before, found.not_after))
    return ShownCertificate(found.common_name, found.digest.hex(), begins, ends)


def _lines(shown: Sequence[Shown], style: terminal.Style) -> Iterator[str]:
    for one in shown:
        yield f"{style.paint(one.family, 'bold')}, for {' and '.join(one.platforms)}, simulated"
        if one.problem:
            yield f"  {style.paint('!', 'yellow')} {terminal.clean(one.problem)}"
        for certificate in one.certificates:
            yield f"  {terminal.clean(certificate.name)}, {certificate.begins} to {certificate.ends}"
            yield f"    {certificate.sha256}"


def _insist(shown: Sequence[Shown]) -> None:
    """Ask whoever sits there, and end unless it is to be done."""
    if not sys.stdin.isatty():
        raise click.UsageError("nobody can be asked here; say --yes", click.get_current_context())
    platforms = {name for one in shown for name in one.platforms}
    running = [
        one.id
        for one in Instances.of_user().every()
        if one.mode == "simulated" and one.state in ("starting", "running") and one.platform in platforms
    ]
    lines = [f"the development roots {', '.join(one.family for one in shown)} and their keys will be gone;"]
    lines += ["evidence that was made under them will not verify under those that the next run makes"]
    if running:
        lines += [f"instances that run under them, to be started again: {', '.join(running)}"]
    terminal.note(lines)
    click.confirm("reset them?", abort=True, err=True)


def _create(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            file.write(data)
    except FileExistsError:
        raise ConfigurationError("file-exists", path=str(path)) from None
    except OSError as error:
        raise ConfigurationError("file-unwritable", path=str(path), actual=error.strerror or "?") from None
