# SPDX-License-Identifier: Apache-2.0
"""Nitro documents, against the bare signatures and against the fastest peer in Python.

Run once for each engine, since a process has one: ``--engine OpenSSL`` makes as if awscrt were not there.

Five signatures stand behind a document: its own and those of four certificates (the root is pinned). Once
the signer's certificate is known, one is left. The bare calls verify the very same messages with the same
keys, loaded before the clock starts, through the library that Nacre itself uses.

The peer is ``epsilon-attestation-verifier`` (pure Python over ``cryptography`` and ``cbor2``), of those on
PyPI the fastest when they were compared; it remembers nothing. It knows no time but now, so it is told to
let expired certificates pass, and its log, which would say so each time, is off.
"""

import base64
import logging
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

import epsilon_verifier
from benchmarks import cases
from benchmarks.bare import bare
from benchmarks.rounds import Budget, Contender, Measured, Row, microseconds, race, ratio, serve

from nacre import platforms
from nacre.appraisal.result import Result
from nacre.appraisal.verdict import Verdict
from nacre.endorsers.verifier import Verifier
from nacre.platforms.base import Endorsements
from nacre.platforms.nitro.evidence import NitroEvidence
from nacre.trust import keys
from nacre.trust.keys import P384_SHA384, raw_signature
from nacre.trust.x509 import parse_certificate

QUICK = Budget(rounds=6, pieces=0, processes=0)
FULL = Budget(rounds=60, pieces=0, processes=0)

_SECTION = "Nitro"
_NO_DOCUMENTS = Endorsements({})


class _Bench:
    """The recorded document and the ways of verifying it."""

    def __init__(self) -> None:
        self.recorded = cases.nitro()
        document = platforms.get("nitro").parse(self.recorded.evidence)
        assert isinstance(document, NitroEvidence)
        self.document = document

    def cold(self) -> Result:
        return self._appraise(Verifier(self.recorded.policy, endorsements=_NO_DOCUMENTS))

    def warm(self) -> Callable[[], Result]:
        verifier = Verifier(self.recorded.policy, endorsements=_NO_DOCUMENTS)
        return lambda: self._appraise(verifier)

    def bare(self) -> tuple[Callable[[], None], Callable[[], None]]:
        """Return the bare verification of all five signatures, and of the document's alone."""
        document = self.document
        path = [parse_certificate(der) for der in (*document.cabundle, document.certificate)]
        links = [(issuer.spki, below.signature, below.tbs) for issuer, below in pairwise(path)]
        signature = raw_signature(document.message.signature, P384_SHA384)
        own = (path[-1].spki, signature, document.message.signed())
        return bare(P384_SHA384, own, *links), bare(P384_SHA384, own)

    def peer(self, folder: Path) -> Callable[[], object]:
        """Return the peer's verification of the same document."""
        logging.disable(logging.CRITICAL)
        root = folder / "root.pem"
        der = base64.encodebytes(self.document.cabundle[0]).decode()
        root.write_text(f"-----BEGIN CERTIFICATE-----\n{der}-----END CERTIFICATE-----\n")
        encoded = base64.b64encode(self.recorded.evidence).decode()
        pcrs = {f"expected_pcr{index}": self.document.pcrs[index].hex() for index in range(3)}

        def verify() -> object:
            return epsilon_verifier.verify_attestation(
                encoded, aws_root_cert_path=str(root), allow_expired=True, **pcrs
            )

        assert getattr(verify(), "valid", False)
        return verify

    def _appraise(self, verifier: Verifier) -> Result:
        return verifier.appraise(self.recorded.evidence, binding=self.recorded.binding, at=self.recorded.at)


def measure(budget: Budget) -> Measured:
    """Race with the engine that this process has."""
    bench = _Bench()
    warm = bench.warm()
    for appraise in (bench.cold, warm):
        result = appraise()
        assert result.verdict is Verdict.VERIFIED, result.problems()
    all_five, own = bench.bare()
    with tempfile.TemporaryDirectory() as folder:
        times = race(
            [
                Contender("peer", bench.peer(Path(folder))),
                Contender("cold", bench.cold),
                Contender("warm", warm),
                Contender("bare, five", all_five),
                Contender("bare, one", own),
            ],
            rounds=budget.rounds,
        )
    engine = keys.engine()
    # The floors are OpenSSL's, the race is AWS-LC's; the others are there for information.
    five, one, race_goal = (1.2, 1.15, None) if engine == "OpenSSL" else (None, None, 2.0)

    def row(what: str, above: str, below: str, goal: float | None, *, at_least: bool = True) -> Row:
        return Row.of(_SECTION, engine, what, ratio(times, above, below), goal=goal, at_least=at_least)

    rows = [
        row("cold, to its five signatures alone", "cold", "bare, five", five, at_least=False),
        row(
            "signer known, to its one signature alone",
            "warm",
            "bare, one",
            one,
            at_least=False,
        ),
        row("cold, speed against epsilon-attestation-verifier", "peer", "cold", race_goal),
        row("signer known, speed against epsilon-attestation-verifier", "peer", "warm", race_goal),
    ]
    facts = {"epsilon-attestation-verifier": version("epsilon-attestation-verifier")}
    if engine == "AWS-LC":
        facts["awscrt"] = version("awscrt")
    return Measured(rows, microseconds(f"Nitro, {engine}", times), facts)


if __name__ == "__main__":
    serve(measure, QUICK, FULL)
