# SPDX-License-Identifier: Apache-2.0
"""Answer one conformance case with epsilon-attestation-verifier: the hermetic contract on stdin and stdout.

The library has no time argument, only the machine's clock; that clock is set to the time of the case, as
the library sees it. No PCR is asked for, since the vectors' profile asks for none.
"""

import base64
import datetime as dt
import json
import logging
import sys
import tempfile
from contextlib import AbstractContextManager
from pathlib import Path
from unittest import mock

import epsilon_verifier
import epsilon_verifier.verifier
import msgspec

from nacre.trust.times import parse_rfc3339


class _Question(msgspec.Struct, frozen=True):
    platform: str
    evidence: bytes
    time: str
    anchor: bytes | None = None


def main() -> int:
    asked = msgspec.json.decode(sys.stdin.buffer.read(), type=_Question)
    if asked.platform != "nitro" or asked.anchor is None:
        return _say("fail", "not this kind of evidence", 20)
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root.pem"
        der = base64.encodebytes(asked.anchor).decode()
        root.write_text(f"-----BEGIN CERTIFICATE-----\n{der}-----END CERTIFICATE-----\n")
        try:
            with _clock(parse_rfc3339(asked.time, what="time")):
                found = epsilon_verifier.verify_attestation(
                    base64.b64encode(asked.evidence).decode(), aws_root_cert_path=str(root)
                )
        except Exception as error:  # noqa: BLE001 (whatever it raises is its answer)
            return _say("fail", f"{type(error).__name__}: {error}", 10)
    return _say("pass", "", 0) if found.valid else _say("fail", found.error or "invalid", 10)


def _clock(at: int) -> AbstractContextManager[object]:
    """Make the library believe that it is the time of the case."""

    class _Then(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> "_Then":
            return cls.fromtimestamp(at, tz)

    return mock.patch.object(epsilon_verifier.verifier, "datetime", _Then)


def _say(verdict: str, code: str, status: int) -> int:
    print(json.dumps({"verdict": verdict, "code": code}))
    return status


if __name__ == "__main__":
    sys.exit(main())
