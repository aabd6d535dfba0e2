# SPDX-License-Identifier: Apache-2.0
"""Saying a Result as an EAR, and reading one, against the verification behind it.

The question is what a server pays besides verifying: the claims, their encoding and the message. The
signature itself is OpenSSL's and nobody's to save, so the first lines leave it out: everything else is done,
and a constant stands where the signature goes. The next lines give the whole, signature included.

Reading is measured against the one bare signature that it has to check.
"""

from collections.abc import Callable, Mapping

from benchmarks import cases
from benchmarks.rounds import Budget, Contender, Measured, Ratio, Row, Times, microseconds, race, ratio, serve
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from nacre.appraisal import opinions
from nacre.appraisal.ear import EarSigner
from nacre.appraisal.opinions import Expected, Stance
from nacre.appraisal.result import Result
from nacre.appraisal.verdict import Verdict
from nacre.endorsers.verifier import Verifier
from nacre.platforms.base import Endorsements
from nacre.trust import jose
from nacre.trust.jwk import read_keys

QUICK = Budget(rounds=6, pieces=0, processes=0)
FULL = Budget(rounds=40, pieces=0, processes=0)

_SECTION = "Results (EAR)"
_GOAL = 0.10
_KEY = ec.generate_private_key(ec.SECP256R1())
_ED = ed25519.Ed25519PrivateKey.generate()
_RANDOM = ec.ECDSA(SHA256())


def _recorded(case: str) -> tuple[cases.Recorded, Verifier]:
    recorded = cases.nitro() if case == "Nitro" else cases.dcap(case)
    return recorded, Verifier(recorded.policy, endorsements=Endorsements(recorded.documents))


class _Unsigned(EarSigner):
    """Does everything but the signature."""

    def __init__(self) -> None:
        super().__init__(_KEY, developer="nacre", build="0.1.0")
        self._sign = lambda _: bytes(64)


def _signer(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> EarSigner:
    return EarSigner(key, developer="nacre", build="0.1.0")


def _reading(token: bytes, at: int) -> Callable[[], object]:
    pinned = read_keys(_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    expected = Expected(at=at)
    assert opinions.verify(token, keys=pinned, expected=expected, kind="ear").stance is Stance.AFFIRMS
    return lambda: opinions.verify(token, keys=pinned, expected=expected, kind="ear")


def _measure(case: str, budget: Budget) -> tuple[list[Row], Mapping[str, float]]:
    recorded, verifier = _recorded(case)

    def warm() -> Result:
        return verifier.appraise(recorded.evidence, binding=recorded.binding, at=recorded.at)

    result = warm()
    assert result.verdict is Verdict.VERIFIED, result.problems()
    signer, other, unsigned = _signer(_KEY), _signer(_ED), _Unsigned()
    at = result.at
    token = signer.jwt(result, issued_at=at, lifetime=300).encode()
    binary = signer.cwt(result, issued_at=at, lifetime=300)
    message = jose.loads(token, what="EAR").signed
    public, der = _KEY.public_key(), _KEY.sign(message, _RANDOM)
    times = race(
        [
            Contender("warm", warm),
            Contender("JWT, unsigned", lambda: unsigned.jwt(result, issued_at=at, lifetime=300)),
            Contender("CWT, unsigned", lambda: unsigned.cwt(result, issued_at=at, lifetime=300)),
            Contender("JWT, ES256", lambda: signer.jwt(result, issued_at=at, lifetime=300)),
            Contender("JWT, EdDSA", lambda: other.jwt(result, issued_at=at, lifetime=300)),
            Contender("CWT, ES256", lambda: signer.cwt(result, issued_at=at, lifetime=300)),
            Contender("read JWT", _reading(token, at)),
            Contender("read CWT", _reading(binary, at)),
            Contender("bare check", lambda: public.verify(der, message, _RANDOM)),
        ],
        rounds=budget.rounds,
    )
    return _rows(case, times), microseconds(f"EAR, {case}", times)


def _rows(case: str, times: Times) -> list[Row]:
    def row(what: str, found: Ratio, goal: float | None = None) -> Row:
        return Row.of(_SECTION, case, what, found, goal=goal, at_least=False)

    return [
        row(
            "JWT, all but its signature, to a warm verification", ratio(times, "JWT, unsigned", "warm"), _GOAL
        ),
        row(
            "CWT, all but its signature, to a warm verification", ratio(times, "CWT, unsigned", "warm"), _GOAL
        ),
        row("JWT, ES256, whole, to a warm verification", ratio(times, "JWT, ES256", "warm")),
        row("JWT, EdDSA, whole, to a warm verification", ratio(times, "JWT, EdDSA", "warm")),
        row("CWT, ES256, whole, to a warm verification", ratio(times, "CWT, ES256", "warm")),
        row("reading a JWT, to the bare check of its signature", ratio(times, "read JWT", "bare check")),
        row("reading a CWT, to the bare check of its signature", ratio(times, "read CWT", "bare check")),
    ]


def measure(budget: Budget) -> Measured:
    """Measure over a TDX quote and a Nitro document of platforms that were seen before."""
    rows: list[Row] = []
    times: dict[str, float] = {}
    for case in ("TDX v4", "Nitro"):
        found, took = _measure(case, budget)
        rows += found
        times |= took
    return Measured(rows, times)


if __name__ == "__main__":
    serve(measure, QUICK, FULL)
