# SPDX-License-Identifier: Apache-2.0
"""SGX and TDX quotes, against dcap-qvl and against the bare signatures that are left to verify.

All of ours is timed at ``Verifier.appraise`` with the whole Result: policy, release and binding included.
dcap-qvl (Rust, its Python wheel) is timed at ``verify``, which checks chains, revocation and TCB status and
knows neither policy, release nor binding; it remembers nothing, so it is as fast the second time.

=====  ====================================================================  ===============
       what was seen before                                                   signatures left
=====  ====================================================================  ===============
cold   nothing: a new Verifier and a new Endorsements                                       9
known  PCK chain and collateral, with another attestation key: what a
       machine shows after its quoting enclave was restarted or updated                     2
warm   the platform with this attestation key: every further quote                          1
=====  ====================================================================  ===============
"""

import hashlib
import time
from collections.abc import Callable
from unittest import mock

import dcap_qvl
import msgspec
from benchmarks import cases
from benchmarks.rounds import Budget, Contender, Measured, Ratio, Row, microseconds, race, ratio, serve
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from nacre import platforms
from nacre.appraisal.result import Result
from nacre.appraisal.verdict import Verdict
from nacre.endorsers.verifier import Verifier
from nacre.platforms.base import Endorsements
from nacre.platforms.dcap.endorsements import read_chain
from nacre.platforms.dcap.evidence import Quote
from nacre.trust.keys import P256_SHA256, raw_signature
from nacre.trust.memo import Memo, Recall

QUICK = Budget(rounds=30, pieces=0, processes=0)
FULL = Budget(rounds=300, pieces=0, processes=0)

_SECTION = "SGX and TDX"
_Appraise = Callable[[], Result]


class _Frozen:
    """A memo that learns nothing more: each appraisal meets it as the first one did."""

    def __init__(self, memo: Recall) -> None:
        self._memo = memo

    def get(self, key: bytes) -> object | None:
        return self._memo.get(key)

    def put(self, key: bytes, value: object) -> None:
        pass


class _Amnesia(_Frozen):
    """A memo that knows nothing, for a Verifier whose threads are running already."""

    def __init__(self) -> None:
        super().__init__(Memo())


class _Bench:
    """One recorded quote and the ways of verifying it."""

    def __init__(self, name: str) -> None:
        self.recorded = cases.dcap(name)
        quote = platforms.detect(self.recorded.evidence).parse(self.recorded.evidence)
        assert isinstance(quote, Quote)
        self.quote = quote
        self._shared = Endorsements(self.recorded.documents)

    def cold(self) -> Result:
        return self._appraise(Verifier(self.recorded.policy), Endorsements(self.recorded.documents))

    def appraiser(self, memo: Recall | None = None, *, threads: int | None = None) -> _Appraise:
        """Return appraisals by one Verifier that shares its Endorsements."""
        verifier = Verifier(self.recorded.policy, memo=memo, threads=threads)
        return lambda: self._appraise(verifier, self._shared)

    def cold_on(self, threads: int) -> _Appraise:
        """Return appraisals by a Verifier with threads, to which everything is always new."""
        verifier = Verifier(self.recorded.policy, memo=_Amnesia(), threads=threads)
        return lambda: self._appraise(verifier, Endorsements(self.recorded.documents))

    def known(self) -> _Appraise:
        """Return appraisals to which chain and collateral are known, but not the attestation key."""
        memo = Memo()
        # The quote that another quoting enclave of this machine would have made. Nobody but Intel's
        # processor can sign it, so while it is learned every signature holds.
        kind = type(P256_SHA256.point(self.quote.attestation_key))
        with mock.patch.object(kind, "holds", return_value=True):
            verifier = Verifier(self.recorded.policy, memo=memo)
            verifier.appraise(self._of_another_key(), endorsements=self._shared, at=self.recorded.at)
        return self.appraiser(_Frozen(memo))

    def peer(self) -> Callable[[], object]:
        """Return dcap-qvl's verification of the same quote and documents."""
        documents = self.recorded.documents
        tcb_info, tcb_info_signature = _split(documents["tcb_info"])
        identity, identity_signature = _split(documents["qe_identity"])
        collateral = dcap_qvl.QuoteCollateralV3(
            pck_crl_issuer_chain=documents["pck_crl_issuer_chain"].decode(),
            root_ca_crl=documents["root_ca_crl"],
            pck_crl=documents["pck_crl"],
            tcb_info_issuer_chain=documents["tcb_info_issuer_chain"].decode(),
            tcb_info=tcb_info,
            tcb_info_signature=tcb_info_signature,
            qe_identity_issuer_chain=documents["qe_identity_issuer_chain"].decode(),
            qe_identity=identity,
            qe_identity_signature=identity_signature,
        )
        quote, at = self.recorded.evidence, self.recorded.at
        return lambda: dcap_qvl.verify(quote, collateral, at)

    def bare(self) -> tuple[Callable[[], None], Callable[[], None]]:
        """Return the bare verification of quote and QE report: same keys, messages and signatures."""
        pck = read_chain(self.quote.cert_data)[0]
        signer = load_der_public_key(pck.spki)
        assert isinstance(signer, ec.EllipticCurvePublicKey)
        attestation = ec.EllipticCurvePublicKey.from_encoded_point(
            ec.SECP256R1(), b"\x04" + self.quote.attestation_key
        )
        algorithm = ec.ECDSA(hashes.SHA256())
        quote_signature = raw_signature(self.quote.signature, P256_SHA256)
        report_signature = raw_signature(self.quote.qe_signature, P256_SHA256)
        signed, report = self.quote.signed, self.quote.qe_report
        return (
            lambda: attestation.verify(quote_signature, signed, algorithm),
            lambda: signer.verify(report_signature, report, algorithm),
        )

    def _appraise(self, verifier: Verifier, endorsements: Endorsements) -> Result:
        recorded = self.recorded
        return verifier.appraise(
            recorded.evidence, binding=recorded.binding, endorsements=endorsements, at=recorded.at
        )

    def _of_another_key(self) -> bytes:
        quote = self.quote
        point = (
            ec.generate_private_key(ec.SECP256R1())
            .public_key()
            .public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        )
        commits = hashlib.sha256(point[1:] + quote.qe_auth).digest() + bytes(32)
        report = quote.qe_report[: -len(commits)] + commits
        return quote.raw.replace(quote.attestation_key, point[1:]).replace(quote.qe_report, report)


def measure(budget: Budget) -> Measured:
    """Race over every recorded quote."""
    rows: list[Row] = []
    noted: dict[str, float] = {}
    for name in cases.DCAP:
        bench = _Bench(name)
        rows += _on_one_core(name, bench, budget, noted)
        rows += _on_two_cores(name, bench, budget, noted)
    facts = {"dcap-qvl": dcap_qvl.__version__}
    return Measured(rows, noted, facts)


def _on_one_core(name: str, bench: _Bench, budget: Budget, noted: dict[str, float]) -> list[Row]:
    quote, report = bench.bare()
    warm, known = bench.appraiser(), bench.known()
    for appraise in (bench.cold, known, warm):
        result = appraise()
        assert result.verdict is Verdict.VERIFIED, result.problems()
    times = race(
        [
            Contender("dcap-qvl", bench.peer()),
            Contender("cold", bench.cold),
            Contender("known", known),
            Contender("warm", warm),
            Contender("bare quote", quote),
            Contender("bare QE report", report),
        ],
        rounds=budget.rounds,
    )
    noted.update(microseconds(name, times))
    both = ("bare quote", "bare QE report")

    def row(what: str, found: Ratio, goal: float, *, at_least: bool = True) -> Row:
        return Row.of(_SECTION, name, what, found, goal=goal, at_least=at_least)

    return [
        row("cold, speed against dcap-qvl", ratio(times, "dcap-qvl", "cold"), 0.85),
        row("chain and collateral known, speed against dcap-qvl", ratio(times, "dcap-qvl", "known"), 3.5),
        row("platform known, speed against dcap-qvl", ratio(times, "dcap-qvl", "warm"), 6.0),
        row(
            "chain and collateral known, to two signatures alone",
            ratio(times, "known", both),
            1.4,
            at_least=False,
        ),
        row(
            "platform known, to one signature alone", ratio(times, "warm", "bare quote"), 1.4, at_least=False
        ),
    ]


def _on_two_cores(name: str, bench: _Bench, budget: Budget, noted: dict[str, float]) -> list[Row]:
    times = race(
        [Contender("dcap-qvl, wall", bench.peer()), Contender("cold on two, wall", bench.cold_on(2))],
        rounds=budget.rounds,
        clock=time.perf_counter,
    )
    noted.update(microseconds(name, times))
    found = ratio(times, "dcap-qvl, wall", "cold on two, wall")
    return [Row.of(_SECTION, name, "cold on two threads, speed against dcap-qvl", found, goal=1.0)]


def _split(document: bytes) -> tuple[str, bytes]:
    """Take a document of Intel's apart as dcap-qvl wants it: the signed text and the signature."""
    signed, signature = document[document.index(b":") + 1 :].rsplit(b',"signature"', 1)
    return signed.decode(), bytes.fromhex(msgspec.json.decode(signature.strip(b":}\n "), type=str))


if __name__ == "__main__":
    serve(measure, QUICK, FULL)
