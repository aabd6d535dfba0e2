# SPDX-License-Identifier: Apache-2.0
"""One application in three simulated TEEs: all answer alike, all prove what they are; the rest is refused.

No TEE is needed, and none is there: the evidence is signed by a development root that this run makes for
itself. What is shown is the way, which on hardware is the same.
"""

import contextlib
import json
import os
import secrets
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import nacre
from nacre.enclave import envelope
from nacre.enclave.launch.process import insist_on_sandbox
from nacre.enclave.roots import development_root
from nacre.platforms.tdx.simulate import Faults
from nacre.testing import simulated

_WORM = Path(os.path.relpath(Path(__file__).with_name("worm")))
_TEES = ("nitro", "snp", "tdx")
#: What nothing shows yet: who passed an answer on, and the agent's log on Nitro and SEV-SNP, whose evidence
#: has no register for it. All else has to pass.
_AT_BEST: Mapping[str, frozenset[str]] = {
    "nitro": frozenset({"agent.events", "channel"}),
    "snp": frozenset({"agent.events", "channel"}),
    "tdx": frozenset({"channel"}),
}
_STEP = json.dumps({"ticks": 100, "stimuli": {"nose": 40}, "at": 0}).encode()

Started = Mapping[str, str]


class Said(NamedTuple):
    """A verdict, and the checks that did not pass."""

    verdict: str
    missing: frozenset[str]


def _verify(what: str, policy: str, *more: str) -> Said:
    words = ["verify", what, "--policy", policy, *more, "--json"]
    print(f"\n$ nacre {shlex.join(words)}", flush=True)
    ran = subprocess.run([sys.executable, "-m", "nacre", *words], check=False, stdout=subprocess.PIPE)
    result = json.loads(ran.stdout)
    lacking = {
        check["id"]: check["status"]
        for check in result["checks"]
        if check["status"] not in ("pass", "not-applicable")
    }
    why = ", ".join(f"{name} {status}" for name, status in lacking.items())
    print(f"{result['verdict']}  {result['origin'].upper()} {result['platform']} evidence: {why}", flush=True)
    return Said(result["verdict"], frozenset(lacking))


@contextlib.contextmanager
def _own_folders() -> Iterator[Path]:
    """Keep roots and instances of this run away from the user's own."""
    with tempfile.TemporaryDirectory(prefix="nacre-") as name:
        kept = {key: os.environ.get(key) for key in ("NACRE_STATE_DIR", "NACRE_DATA_DIR")}
        os.environ |= dict.fromkeys(kept, name)
        try:
            yield Path(name)
        finally:
            print("\n$ nacre stop --all", flush=True)
            subprocess.run([sys.executable, "-m", "nacre", "stop", "--all"], check=False)
            for key, value in kept.items():
                os.environ.pop(key)
                if value is not None:
                    os.environ[key] = value


def _started(apps: Mapping[str, tuple[Path, str]]) -> dict[str, Started]:
    """Start applications at once, each on its TEE."""
    running = {}
    for name, (app, tee) in apps.items():
        words = ["run", str(app), "--tee", tee, "--detach", "--json"]
        print(f"$ nacre {shlex.join(words)} &", flush=True)
        running[name] = subprocess.Popen([sys.executable, "-m", "nacre", *words], stdout=subprocess.PIPE)
    return {name: json.loads(process.communicate()[0]) for name, process in running.items()}


def _stepped(url: str) -> str:
    request = urllib.request.Request(f"{url}/step", data=_STEP, method="POST")  # noqa: S310 (as below)
    with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310 (the address is ours)
        return str(json.load(answer)["trace"])


def _tampered(folder: Path) -> Path:
    copy = folder / "worm"
    shutil.copytree(_WORM, copy)
    creature = copy / "src" / "worm" / "creature.py"
    creature.write_text(creature.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    return copy


def _replayed(enclave: Started, folder: Path) -> Said:
    """Answer a new question with what was said to an old one."""
    old, new = secrets.token_hex(32), secrets.token_hex(32)
    asked = f"{enclave['url']}{envelope.PATH}?nonce={old}"
    with urllib.request.urlopen(asked, timeout=20) as answer:  # noqa: S310 (the address is ours)
        said = envelope.decode(answer.read())
    (folder / "identity.cbor").write_bytes(said.identity)
    recorded = _recorded(folder / "old-answer", said.evidence, said.endorsements)
    words = ("--nonce", new, "--identity", str(folder / "identity.cbor"))
    return _verify(recorded[0], enclave["policy"], *recorded[1:], *words)


def _outdated(enclave: Started, folder: Path) -> Said:
    """Ask a machine whose firmware is old, under the same root and with the same registers."""
    nonce, now = secrets.token_bytes(32), int(time.time())
    release = tomllib.loads(Path(enclave["policy"]).with_name("release.toml").read_text(encoding="utf-8"))
    old = simulated(
        "tdx",
        development_root("dcap", at=now),
        at=now,
        faults=Faults(tcb="out_of_date"),
        data=nacre.Binding.nonce(nonce).committed(fields=False).data,
        registers={name: bytes.fromhex(text) for name, text in release["tdx"][0].items() if text != "any"},
    )
    recorded = _recorded(folder / "old-firmware", old.evidence, old.endorsements.documents)
    return _verify(recorded[0], enclave["policy"], *recorded[1:], "--nonce", nonce.hex())


def _recorded(folder: Path, evidence: bytes, endorsements: Mapping[str, bytes]) -> tuple[str, ...]:
    """Write evidence and endorsements to files, and say how to verify them."""
    folder.mkdir()
    for role, document in endorsements.items():
        (folder / f"{role}.der").write_bytes(document)
    (folder / "evidence").write_bytes(evidence)
    return (str(folder / "evidence"), "--endorsements", str(folder), "--offline")


def show() -> list[str]:
    """Run it, and name what came out otherwise than it should have."""
    try:
        insist_on_sandbox()
    except nacre.NacreError as error:
        print(f"\nnot shown: three simulated enclaves: {error}")
        return []
    surprises = []
    with _own_folders() as folder:
        enclaves = _started({tee: (_WORM, tee) for tee in _TEES} | {"tampered": (_tampered(folder), "tdx")})
        policies = {tee: enclaves[tee]["policy"] for tee in _TEES}
        surprises += [
            f"{tee}, simulated"
            for tee in _TEES
            if _verify(enclaves[tee]["url"], policies[tee]) != Said("INCOMPLETE", _AT_BEST[tee])
        ]
        traces = {tee: _stepped(enclaves[tee]["url"]) for tee in _TEES}
        print(f"\n100 steps of the worm: {', '.join(f'{tee} {trace[:16]}' for tee, trace in traces.items())}")
        if len(set(traces.values())) != 1:
            surprises.append("the traces")
        refused = {
            "executables": _verify(enclaves["tampered"]["url"], policies["tdx"]),  # a line more in the source
            "binding": _replayed(enclaves["tdx"], folder),
            "dcap.tcb-status": _outdated(enclaves["tdx"], folder),
        }
    return surprises + [
        check for check, said in refused.items() if said.verdict != "REJECTED" or check not in said.missing
    ]


if __name__ == "__main__":
    sys.exit(", ".join(show()) or 0)
