# SPDX-License-Identifier: Apache-2.0
"""The verifiers that ours is compared with, each behind a driver that speaks the hermetic contract.

Go modules, crates and npm packages are fetched with their ordinary clients and built outside of the tree; the
Python ones are those of ``requirements/bench.txt``.
"""

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

__all__ = ["PEERS", "Built", "Peer"]

_DRIVERS = Path(__file__).parent


class Peer(NamedTuple):
    """Another verifier.

    Attributes:
        name: What it is called.
        platforms: The kinds of evidence that it is meant for.
        build: Given a folder, makes the driver; returns its command and the version of the library, or None
            where a tool is missing.
        about: What has to be known to read its row.
        strict: What it says where it refuses a TCB status beside UpToDate, which is its design.
    """

    name: str
    platforms: frozenset[str]
    build: Callable[[Path], "Built | None"]
    about: str
    strict: str = ""


class Built(NamedTuple):
    """A driver that can be started."""

    command: list[str]
    version: str


def _python(distribution: str, script: str) -> Callable[[Path], Built | None]:
    def build(_folder: Path) -> Built | None:
        try:
            version = importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            return None
        return Built([sys.executable, str(_DRIVERS / script)], version)

    return build


def _go(module: str, *arguments: str) -> Callable[[Path], Built | None]:
    def build(folder: Path) -> Built | None:
        if shutil.which("go") is None:
            return None
        program = folder / "google"
        if not program.exists():
            _run(["go", "build", "-o", str(program), "."], _DRIVERS / "google")
        listed = _run(["go", "list", "-m", "-f", "{{.Version}}", module], _DRIVERS / "google")
        return Built([str(program), module.rpartition("/")[2], *arguments], listed.strip())

    return build


def _cargo(folder: Path) -> Built | None:
    if shutil.which("cargo") is None:
        return None
    source = shutil.copytree(_DRIVERS / "virtee", folder / "virtee")
    target = Path(os.environ.get("CARGO_TARGET_DIR") or source / "target")
    _run(["cargo", "build", "--release", "--quiet", "--target-dir", str(target)], source)
    (version,) = re.findall(r'^sev = .*"=([\d.]+)"', (source / "Cargo.toml").read_text(), re.MULTILINE)
    return Built([str(target / "release" / "virtee-case")], version)


def _snpguest(_folder: Path) -> Built | None:
    program = shutil.which("snpguest")
    if program is None:
        return None
    version = _run([program, "--version"], _DRIVERS).split()[-1]
    return Built([sys.executable, str(_DRIVERS / "snpguest_case.py"), program], version)


def _npm(folder: Path) -> Built | None:
    if shutil.which("npm") is None:
        return None
    source = shutil.copytree(
        _DRIVERS / "evervault", folder / "evervault", ignore=shutil.ignore_patterns("node_modules")
    )
    _run(["npm", "ci", "--silent", "--ignore-scripts"], source)
    (version,) = json.loads((source / "package.json").read_text())["dependencies"].values()
    return Built(["node", str(source / "case.mjs")], version)


def _run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr}")
    return done.stdout


_SEV, _TDX = "github.com/google/go-sev-guest", "github.com/google/go-tdx-guest"
PEERS = (
    Peer(
        "dcap-qvl",
        frozenset({"sgx", "tdx"}),
        _python("dcap-qvl", "dcap_qvl_case.py"),
        "Phala's verifier in Rust, through its Python wheel. It is given the anchor of the case and leaves "
        "the TCB status to its caller.",
    ),
    Peer(
        "go-tdx-guest",
        frozenset({"tdx"}),
        _go(_TDX),
        "Google's library, with `GetCollateral` and `CheckRevocations` on. It has no status to return: what "
        "is not UpToDate is an error.",
        strict='is not "UpToDate"',
    ),
    Peer(
        "go-tdx-guest, default options",
        frozenset({"tdx"}),
        _go(_TDX, "--defaults"),
        "The same without `GetCollateral` and `CheckRevocations`, which are off unless somebody turns them "
        "on. Then no document of Intel's is looked at, and what is wrong with those of a case does not "
        "reach it: counted as accepted all the same.",
    ),
    Peer(
        "go-sev-guest",
        frozenset({"snp"}),
        _go(_SEV),
        "Google's library: `verify` with the case's anchor as trusted root and `CheckRevocations` where the "
        "case has a list, then `validate` with a guest policy that allows all but debugging and migration.",
    ),
    Peer(
        "go-sev-guest, default options",
        frozenset({"snp"}),
        _go(_SEV, "--defaults"),
        "The same with the roots that it has built in and without `CheckRevocations`; cases under other "
        "roots cannot be asked. It takes ARK and ASK from itself and reads no list, so what is wrong with "
        "those of a case does not reach it: counted as accepted all the same.",
    ),
    Peer(
        "sev (virtee)",
        frozenset({"snp"}),
        _cargo,
        "The crate below snpguest. It checks the signatures, with the case's anchor handed to it as ARK. "
        "Dates, revocation, security patch levels, chip id and guest policy are its caller's.",
    ),
    Peer(
        "snpguest",
        frozenset({"snp"}),
        _snpguest,
        "`snpguest verify certs` and `snpguest verify attestation` over a folder with the case's documents; "
        "the anchor lies there as ARK. It looks at no dates, no revocation list and no guest policy.",
    ),
    Peer(
        "evervault",
        frozenset({"nitro"}),
        _npm,
        "`@evervault/wasm-attestation-bindings`, with the clock set to the time of the case. It knows AWS's "
        "root and no other, so cases under made-up roots cannot be asked.",
    ),
    Peer(
        "epsilon",
        frozenset({"nitro"}),
        _python("epsilon-attestation-verifier", "epsilon_case.py"),
        "`epsilon-attestation-verifier`, with the case's root and the clock set to the time of the case.",
    ),
)
