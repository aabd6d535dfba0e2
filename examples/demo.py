# SPDX-License-Identifier: Apache-2.0
"""Verify real evidence offline, refuse its tampered twins, then run simulated enclaves; 0 if all is well."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import enclaves

_FOLDER = Path(os.path.relpath(Path(__file__).with_name("verify")))
_ACCEPTED, _REJECTED = 0, 10

# Evidence, its twin with one bit of the code's measurement changed, and the moment at which it was good.
_RECORDED = {
    "sgx": ("quote.bin", "tampered.bin", "2025-08-30T05:09:00Z"),
    "tdx": ("quote.bin", "tampered.bin", "2026-02-14T00:17:00Z"),
    "snp": ("report.bin", "tampered.bin", "2025-09-20T09:10:50Z"),
    "nitro": ("document.cbor", "tampered.cbor", "2025-12-25T16:04:20Z"),
}


def _verify(folder: Path, evidence: str, at: str) -> int:
    words = ["verify", str(folder / evidence), "--policy", str(folder / "policy.toml")]
    if (folder / "endorsements").is_dir():
        words += ["--endorsements", str(folder / "endorsements")]
    words += ["--offline", "--at", at]
    print(f"\n$ nacre {shlex.join(words)}", flush=True)
    return subprocess.run([sys.executable, "-m", "nacre", *words], check=False).returncode


def main() -> int:
    """Run every case; 1 if one of them came out otherwise."""
    surprises = []
    for platform, (genuine, tampered, at) in _RECORDED.items():
        for evidence, outcome in ((genuine, _ACCEPTED), (tampered, _REJECTED)):
            if _verify(_FOLDER / platform, evidence, at) != outcome:
                surprises.append(f"{platform}/{evidence}")
    surprises += enclaves.show()
    if surprises:
        print(f"\nunexpected outcome for {', '.join(surprises)}")
    else:
        print("\nall of it came out as it should")
    return int(bool(surprises))


if __name__ == "__main__":
    sys.exit(main())
