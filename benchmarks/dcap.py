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
from benchmarks.bare import bare
from benchmarks.rounds import Budget, Contender, Measured, Row, Times, microseconds, race, ratio, serve
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from nacre import platforms
from nacre.appraisal.result import Result
from nacre.appraisal.verdict import Verdict
from nacre.endorsers.verifier import Verifier
from nacre.platforms.base import Endorsements
from nacre.platforms.dcap.endorsements import read_chain
from nacre.platforms.dcap.evidence import Quote
from nacre.trust import keys
from nacre.trust.keys import P256_SHA256, raw_signature
from nacre.trust.memo import Memo, Recall

QUICK = Budget(rounds=6, pieces=0, processes=0)
FULL = Budget(rounds=60, pieces=0, processes=0)

# A SubjectPublicKeyInfo on P-256 up to the point's coordinates.
_SPKI = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004")
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
        quote = self.quote
        own = (
            _SPKI + quote.attestation_key,
            raw_signature(quote.signature, P256_SHA256),
            quote.signed,
        )
        pck = read_chain(quote.cert_data)[0]
        certified = (pck.spki, raw_signature(quote.qe_signature, P256_SHA256), quote.qe_report)
        return bare(P256_SHA256, own), bare(P256_SHA256, certified)

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
    """Race over every recorded quote with the engine that this process has."""
    rows: list[Row] = []
    noted: dict[str, float] = {}
    engine = keys.engine()
    for name in cases.DCAP:
        bench = _Bench(name)
        on_one = _on_one_core(bench, budget)
        noted.update(microseconds(f"{name}, {engine}", on_one))
        rows += _rows_of_one(f"SGX and TDX, {engine}", name, on_one, goals=engine == "OpenSSL")
        if engine == "OpenSSL":  # AWS-LC holds the interpreter's lock, so there threads help nobody
            on_two = _on_two_cores(bench, budget)
            noted.update(microseconds(f"{name}, {engine}", on_two))
            found = ratio(on_two, "dcap-qvl, wall", "cold on two, wall")
            what = "cold on two threads, speed against dcap-qvl"
            rows.append(Row.of(f"SGX and TDX, {engine}", name, what, found, goal=1.0))
    return Measured(rows, noted, {"dcap-qvl": dcap_qvl.__version__})


def _on_one_core(bench: _Bench, budget: Budget) -> Times:
    quote, report = bench.bare()
    warm, known = bench.appraiser(), bench.known()
    for appraise in (bench.cold, known, warm):
        result = appraise()
        assert result.verdict is Verdict.VERIFIED, result.problems()
    contenders = [
        Contender("dcap-qvl", bench.peer()),
        Contender("cold", bench.cold),
        Contender("known", known),
        Contender("warm", warm),
        Contender("bare quote", quote),
        Contender("bare QE report", report),
    ]
    return race(contenders, rounds=budget.rounds)


def _rows_of_one(section: str, name: str, times: Times, *, goals: bool) -> list[Row]:
    peer, both = "dcap-qvl", ("bare quote", "bare QE report")
    compared = [
        ("cold, speed against dcap-qvl", ratio(times, peer, "cold"), 0.85, True),
        ("chain and collateral known, speed against dcap-qvl", ratio(times, peer, "known"), 3.5, True),
        ("platform known, speed against dcap-qvl", ratio(times, peer, "warm"), 6.0, True),
        ("chain and collateral known, to two signatures alone", ratio(times, "known", both), 1.4, False),
        ("platform known, to one signature alone", ratio(times, "warm", "bare quote"), 1.4, False),
    ]
    return [
        Row.of(section, name, what, found, goal=goal if goals else None, at_least=at_least)
        for what, found, goal, at_least in compared
    ]


def _on_two_cores(bench: _Bench, budget: Budget) -> Times:
    contenders = [Contender("dcap-qvl, wall", bench.peer()), Contender("cold on two, wall", bench.cold_on(2))]
    return race(contenders, rounds=budget.rounds, clock=time.perf_counter)


def _split(document: bytes) -> tuple[str, bytes]:
    """Take a document of Intel's apart as dcap-qvl wants it: the signed text and the signature."""
    signed, signature = document[document.index(b":") + 1 :].rsplit(b',"signature"', 1)
    return signed.decode(), bytes.fromhex(msgspec.json.decode(signature.strip(b":}\n "), type=str))


if __name__ == "__main__":
    serve(measure, QUICK, FULL)
