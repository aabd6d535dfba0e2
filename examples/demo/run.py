# SPDX-License-Identifier: Apache-2.0
"""Verify real evidence, offline, and refuse its tampered twins; ends with 0 only if both came out so."""

import os
import shlex
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

_HERE = Path(os.path.relpath(Path(__file__).parent))
_ACCEPTED, _REJECTED = 0, 10

# Evidence and the moment at which it was good.
_RECORDED = {
    "sgx": ("quote.bin", "2025-08-30T05:09:00Z"),
    "tdx": ("quote.bin", "2026-02-14T00:17:00Z"),
    "nitro": ("evidence.cbor", "2025-12-25T16:04:20Z"),
}


def _verify(evidence: Path, platform: str) -> int:
    words = [
        *("verify", str(evidence), "--policy", str(_HERE / f"{platform}.toml")),
        *("--endorsements", str(_HERE / platform), "--offline", "--at", _RECORDED[platform][1]),
    ]
    print(f"\n$ nacre {shlex.join(words)}", flush=True)
    return subprocess.run([sys.executable, "-m", "nacre", *words], check=False).returncode


def _tamper(evidence: bytes, platform: str) -> bytes:
    """Change one bit of the measurement of the code."""
    policy = tomllib.loads((_HERE / f"{platform}.toml").read_text())
    measurement = bytes.fromhex(next(iter(policy["release"][0][platform][0].values())))
    position = evidence.index(measurement)
    return evidence[:position] + bytes([evidence[position] ^ 1]) + evidence[position + 1 :]


def main() -> int:
    """Run every case; 1 if one of them came out otherwise."""
    surprises = []
    with tempfile.TemporaryDirectory() as folder:
        for platform, (name, _) in _RECORDED.items():
            genuine = _HERE / platform / name
            twin = Path(folder) / f"tampered-{platform}"
            twin.write_bytes(_tamper(genuine.read_bytes(), platform))
            surprises += [genuine.name] * (_verify(genuine, platform) != _ACCEPTED)
            surprises += [twin.name] * (_verify(twin, platform) != _REJECTED)
    count = len(_RECORDED)
    print(f"\n{count} genuine pieces of evidence, {count} tampered twins: ", end="")
    print(f"unexpected outcome for {', '.join(surprises)}" if surprises else "all as they should be")
    return int(bool(surprises))


if __name__ == "__main__":
    sys.exit(main())
