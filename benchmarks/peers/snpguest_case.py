# SPDX-License-Identifier: Apache-2.0
"""Answer one conformance case with snpguest: the hermetic contract on stdin and stdout.

The program is given as the argument. It reads a folder, so the documents of the case are written to one,
the anchor as the ARK: snpguest trusts whatever lies there under that name. It wants to be told the processor
of a report of version 2; that is the product line of the anchor.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

_SIGNER = 0x48
_VLEK = 1
_MODELS = ("milan", "genoa", "turin")


class _Question(msgspec.Struct, frozen=True):
    platform: str
    evidence: bytes
    collateral: dict[str, bytes]
    anchor: bytes | None = None


def main() -> int:
    asked = msgspec.json.decode(sys.stdin.buffer.read(), type=_Question)
    if asked.platform != "snp" or asked.anchor is None:
        return _say("fail", "not this kind of evidence", 20)
    kind = (asked.evidence[_SIGNER] >> 2) & 7 if len(asked.evidence) > _SIGNER else 0
    key, authority = ("vlek", "asvk") if kind == _VLEK else ("vcek", "ask")
    anchor_name = asked.anchor.lower()  # as DER: its common name is in it as it is
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "ark.der").write_bytes(asked.anchor)
        (folder / f"{authority}.der").write_bytes(asked.collateral.get("ask", b""))
        (folder / f"{key}.der").write_bytes(asked.collateral.get("vek", b""))
        (folder / "report.bin").write_bytes(asked.evidence)
        model = [f"--processor-model={one}" for one in _MODELS if f"ark-{one}".encode() in anchor_name]
        for words in (["certs", name], ["attestation", *model, name, str(folder / "report.bin")]):
            ran = subprocess.run(
                [sys.argv[1], "verify", *words], capture_output=True, text=True, errors="replace", check=False
            )
            if "panicked" in ran.stderr:
                sys.stderr.write(ran.stderr)
                return 1
            if ran.returncode:
                said = (ran.stderr.strip() or ran.stdout.strip() or "nothing").splitlines()
                return _say("fail", next((line for line in said if line.startswith("ERROR")), said[0]), 10)
    return _say("pass", "", 0)


def _say(verdict: str, code: str, status: int) -> int:
    print(json.dumps({"verdict": verdict, "code": code}))
    return status


if __name__ == "__main__":
    sys.exit(main())
