# SPDX-License-Identifier: Apache-2.0
"""Reference values from a CoRIM: what they cost beside the verification that uses them.

A manifest is read when a policy is, and becomes the same release as TOML would; from then on only matching
is left, for each piece of evidence. So three things are measured against one warm verification (nothing new
but the evidence itself): matching with the release that fits; matching with the one that fits behind 63
variants of other firmware; and reading a manifest for a policy that judges a thousand pieces of evidence,
matches included. For information: the worst case, 63 variants that differ in their last register alone;
reading a manifest once; and reading a signed one with its signature.

``python -m benchmarks.reference [--quick]``; ``python -m benchmarks.run --only reference``.
"""

from collections.abc import Callable

import msgspec
from benchmarks import cases
from benchmarks.rounds import Budget, Contender, Measured, Row, microseconds, race, ratio, serve
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from nacre.appraisal.reference import manifest, signed
from nacre.appraisal.reference.convert import Given, read
from nacre.appraisal.release import Release, Variant, match
from nacre.appraisal.result import Result
from nacre.appraisal.verdict import Verdict
from nacre.endorsers.verifier import Verifier
from nacre.platforms.base import Endorsements
from nacre.trust import keys
from nacre.trust.jwk import read_keys
from nacre.trust.signing import signing_key

QUICK = Budget(rounds=6, pieces=0, processes=0)
FULL = Budget(rounds=40, pieces=0, processes=0)

_SECTION = "Reference values"
_OTHERS = 63
_USES = 1000


class _Bench:
    """A piece of evidence whose release came from a manifest."""

    def __init__(self, recorded: cases.Recorded) -> None:
        self.recorded = recorded
        (release,) = recorded.policy.releases
        self.corim = manifest.write(release)
        self.given = Given(at=recorded.at)
        self.release = read([self.corim], self.given).release
        assert self.release == release
        self.policy = msgspec.structs.replace(recorded.policy, releases=(self.release,))
        result = self.warm()()
        assert result.verdict is Verdict.VERIFIED, result.problems()
        assert result.claims is not None
        self.platform = result.claims.platform
        self.registers = result.claims.registers

    def warm(self) -> Callable[[], Result]:
        verifier = Verifier(self.policy, endorsements=Endorsements(self.recorded.documents))
        recorded = self.recorded
        return lambda: verifier.appraise(recorded.evidence, binding=recorded.binding, at=recorded.at)

    def match(self) -> None:
        assert match([self.release], self.platform, self.registers).release is self.release

    def match_among(self, place: int) -> Callable[[], None]:
        """Return matching behind variants that differ in one register: the first one, or the last."""
        (variant,) = self.release.variants[self.platform]
        name, value = variant.equal[place]
        others = []
        for number in range(_OTHERS):
            equal = list(variant.equal)
            equal[place] = (name, bytes((value[0] ^ 1, number)) + value[2:])
            others.append(Variant(tuple(equal), variant.least, variant.anything))
        crowded = msgspec.structs.replace(self.release, variants={self.platform: (*others, variant)})

        def run() -> None:
            assert match([crowded], self.platform, self.registers).release is crowded

        return run

    def load(self) -> Release:
        return read([self.corim], self.given).release

    def load_and_use(self) -> None:
        releases = [self.load()]
        for _ in range(_USES):
            match(releases, self.platform, self.registers)

    def load_signed(self) -> Callable[[], Release]:
        private = ec.derive_private_key(7, ec.SECP256R1())
        key = signing_key(private)
        message = signed.dumps(self.corim, algorithm=key.algorithm, sign=key.sign, signer="bench")
        public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        given = msgspec.structs.replace(self.given, pinned=read_keys(public))
        return lambda: read([message], given).release


def measure(budget: Budget) -> Measured:
    """Race with the engine that this process has."""
    rows: list[Row] = []
    times: dict[str, float] = {}
    for name, recorded in (
        ("SGX v3", cases.dcap("SGX v3")),
        ("TDX v4", cases.dcap("TDX v4")),
        ("Nitro", cases.nitro()),
        ("SNP", cases.snp()),
    ):
        bench = _Bench(recorded)
        found = race(
            [
                Contender("warm", bench.warm()),
                Contender("match", bench.match),
                Contender("match, others' firmware", bench.match_among(0)),
                Contender("match, others' last register", bench.match_among(-1)),
                Contender("load and use", bench.load_and_use, per_call=_USES),
                Contender("load", bench.load),
                Contender("load signed", bench.load_signed()),
            ],
            rounds=budget.rounds,
        )
        for what, contender, goal in (
            ("matching, to one warm verification", "match", 0.1),
            ("matching behind 63 variants of other firmware", "match, others' firmware", 0.1),
            ("matching behind 63 variants alike to the last register", "match, others' last register", None),
            (f"reading a CoRIM for {_USES} verifications, with the matching", "load and use", 0.1),
            ("reading a CoRIM, once", "load", None),
            ("reading a signed CoRIM, once", "load signed", None),
        ):
            compared = ratio(found, contender, "warm")
            rows.append(Row.of(_SECTION, name, what, compared, goal=goal, at_least=False))
        times |= microseconds(f"{_SECTION}, {name}", found)
    return Measured(rows, times, {"engine of the reference values": keys.engine()})


if __name__ == "__main__":
    serve(measure, QUICK, FULL)
