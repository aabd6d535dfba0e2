# SPDX-License-Identifier: Apache-2.0
"""``nacre policy``: write, check and describe policies."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import msgspec

from nacre import platforms
from nacre.appraisal import schema as schemas
from nacre.appraisal.policy import WAIVABLE, Policy
from nacre.appraisal.release import register_key
from nacre.cli import terminal
from nacre.errors import ConfigurationError
from nacre.platforms.base import Register

__all__ = ["command"]

_HEAD = """\
# What is acceptable of evidence. What is not said here is refused or left unproven, never assumed.
id = "my-app/production"

# Check it with: nacre policy check {file}
# All lines:     nacre policy schema policy

# Evidence that states its own time (Nitro) may be this old if no nonce was sent: 30s, 5m, 1h.
# max_age = "5m"

# The code that may run. Several releases may be accepted at a time; each holds as a whole. They may also
# stand in files of their own: releases = ["release-1.0.0.toml"]
[[release]]
id = "my-app@1.0.0"
version = "1.0.0"
"""
_SECTIONS = {
    "sgx": """\
[sgx]
# The only TCB status that is accepted unless others are named, each with the advisories behind it.
accept_tcb_status = ["UpToDate"]
# accept_advisories = ["INTEL-SA-00615"]
""",
    "tdx": """\
[tdx]
# The only TCB status that is accepted unless others are named, each with the advisories behind it.
accept_tcb_status = ["UpToDate"]
# accept_advisories = ["INTEL-SA-00615"]
# Azure and some Google TDs run without SEPT_VE_DISABLE:
# require_sept_ve_disable = false
""",
    "snp": """\
[snp]
# The bulletins of AMD to live with; the minimum TCBs behind them are this package's, for AMD signs none.
accept_advisories = []
# accept_advisories = ["AMD-SB-3020"]
# Software can get the root keys of Milan out of its chips. That is a warning unless the line is refused:
# refuse_products = ["Milan"]
# The only machines that are accepted: the one lever against keys that were extracted from others.
# chips = ["…"]  # HWID, 128 hexadecimal digits, on Turin 16
# Of machines that sign with a key of their cloud (VLEK), the clouds:
# providers = ["…"]
# Older firmware that the host could put back without a trace:
# allow_provisional_firmware = true
# On Azure the registers are those of the paravisor, not of the guest:
# accept_paravisor = true
""",
}


class Checked(msgspec.Struct, frozen=True):
    """What ``check --json`` writes."""

    id: str
    accept: str
    platforms: tuple[str, ...]
    releases: tuple[str, ...]
    given_up: tuple[str, ...]


@click.group("policy")
def command() -> None:
    """Write, check and describe policies."""


@command.command("init")
@click.argument("file", default="policy.toml")
@click.option(
    "--platform",
    "-p",
    "names",
    multiple=True,
    type=click.Choice(platforms.builtin_names()),
    help="A platform that the code runs on; all, if left out.",
)
@click.option("--json", "as_json", is_flag=True, help="Say what was written as JSON.")
def init(file: str, *, names: Sequence[str], as_json: bool) -> None:
    """Write a policy to start from to FILE (policy.toml; - for stdout); nothing is overwritten."""
    chosen = tuple(dict.fromkeys(names)) or platforms.builtin_names()
    text = "\n".join(_template(file, chosen))
    if file == "-":
        terminal.out([text.rstrip("\n")])
        return
    try:
        with Path(file).open("x", encoding="utf-8") as target:
            target.write(text)
    except FileExistsError:
        raise ConfigurationError("file-exists", path=file) from None
    except OSError as error:
        raise ConfigurationError("file-unwritable", path=file, actual=error.strerror or "?") from None
    if as_json:
        terminal.json(msgspec.json.encode({"written": file, "platforms": chosen}))
    else:
        terminal.note([f"wrote {file}: fill in the registers of your image, then: nacre policy check {file}"])


def _template(file: str, names: Sequence[str]) -> Iterator[str]:
    yield _HEAD.format(file=file)
    for name in names:
        yield f"[[release.{name}]]"
        for register in platforms.get(name).registers:
            yield _register(register)
        yield ""
    for name in names:
        if name in _SECTIONS:
            yield _SECTIONS[name]


def _register(register: Register) -> str:
    key = register_key(register)
    if register.kind != "bytes":
        return f"# {key} = 0"
    asked = register.required != "optional" or register.alternative == 1
    line = f'{key} = ""  # {2 * register.size} hexadecimal digits'
    if register.required == "stated":
        line += ', or "any"'
    return line if asked else f"# {line}"


@command.command("check")
@click.argument("file")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
def check(file: str, *, as_json: bool) -> None:
    """Check the policy in FILE and everything it names, and tell what it gives up."""
    policy = Policy.load(file)
    found = Checked(
        id=policy.id,
        accept=policy.accept.value,
        platforms=policy.platforms,
        releases=tuple(release.id for release in policy.releases),
        given_up=tuple(_given_up(policy)),
    )
    if as_json:
        terminal.json(msgspec.json.encode(found))
    else:
        terminal.out(_lines(found, terminal.style(sys.stdout)))


def _given_up(policy: Policy) -> Iterator[str]:
    for name in policy.unsafe_waive:
        yield f"{name}: {' or '.join(sorted(WAIVABLE[name]))} is accepted (unsafe_waive)"
    if not policy.releases:
        yield "no release is named: no verdict is better than INCOMPLETE"
    for name, section in policy.sections.items():
        defaults = platforms.get(name).policy()
        for field in section.__struct_fields__:
            value = getattr(section, field)
            if value != getattr(defaults, field):
                yield f"{name}: {field} = {msgspec.json.encode(value).decode()}"
    for name, roots in policy.roots.items():
        for anchor in roots.own:
            yield f"{name}: trusts {anchor.name}, a {anchor.origin} root"


def _lines(found: Checked, style: terminal.Style) -> Iterator[str]:
    yield f"{style.paint('ok', 'bold', 'green')}  {found.id}"
    for name, values in (("platforms", found.platforms), ("releases", found.releases)):
        yield f"  {style.paint(f'{name:<10}', 'dim')} {terminal.clean(', '.join(values)) or '(none)'}"
    accepts = found.accept if found.accept == "VERIFIED" else f"{found.accept} and better"
    yield f"  {style.paint('accepts', 'dim')}    {accepts}"
    if found.given_up:
        yield "  otherwise than by default:"
        for line in found.given_up:
            yield f"    {style.paint('!', 'yellow')} {terminal.clean(line)}"


@command.command("schema")
@click.argument("which", type=click.Choice(("policy", "release", "result")), default="policy")
@click.option("--json", "as_json", is_flag=True, help="Write JSON; the schema is JSON anyway.")
def schema(which: str, *, as_json: bool) -> None:  # noqa: ARG001 (every command has it)
    """Write the JSON Schema of policies, releases or results."""
    make = {
        "policy": schemas.policy_schema,
        "release": schemas.release_schema,
        "result": schemas.result_schema,
    }[which]
    terminal.out([schemas.encode(make()).rstrip("\n")])
