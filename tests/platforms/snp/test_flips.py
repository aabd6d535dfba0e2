# SPDX-License-Identifier: Apache-2.0
"""Every bit counts: of a report, and of each document that it is judged by."""

import functools
import random
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from nacre.appraisal.appraise import appraise
from nacre.appraisal.verdict import Verdict
from nacre.platforms.base import Endorsements
from nacre.reasons import explain
from nacre.testing.cases import load
from nacre.testing.profile import profile
from nacre.trust.memo import Memo
from nacre.trust.signatures import Signatures

_CASES = {
    "milan-vcek": "snp/veraison-milan-v3-11b704-crl",
    "milan-vlek": "snp/confidential-milan-vlek-v2-affb92-nocrl",
    "genoa-vcek": "snp/project-oak-genoa-v5-6d1cef-crl",
    "turin-vcek": "snp/project-oak-turin-v5-3f44a0-nocrl",
}
_ROLES = ("vek", "ask", "ark", "crl")
_ACCEPTED = (Verdict.VERIFIED, Verdict.WARNING)


class _Subject:
    """One genuine case, its policy, and a memo that never forgets the good one."""

    def __init__(self, folder: Path) -> None:
        self.case = load(folder)
        self.policy = profile(self.case)
        self.memo = Memo(1 << 20)
        assert self.verdict() is Verdict.WARNING  # recorded evidence: nothing but waivers is against it

    def verdict(self, *, report: bytes | None = None, **documents: bytes) -> Verdict:
        question = self.case
        result = appraise(
            question.evidence if report is None else report,
            policy=self.policy,
            endorsements=Endorsements({**question.collateral, **documents}),
            at=question.at,
            signatures=Signatures(self.memo),
        )
        for check in result.checks:
            assert "{" not in explain(check)
        return result.verdict


Subjects = Callable[[str], _Subject]


@pytest.fixture(scope="module")
def subjects(vectors: Path) -> Subjects:
    return functools.cache(lambda name: _Subject(vectors / _CASES[name]))


def _flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit >> 3] ^= 1 << (bit & 7)
    return bytes(changed)


def _check_report(subject: _Subject, bits: Iterable[int]) -> None:
    report = subject.case.evidence
    accepted = [bit for bit in bits if subject.verdict(report=_flipped(report, bit)) in _ACCEPTED]
    assert accepted == []
    assert subject.verdict() is Verdict.WARNING


def _check_document(subject: _Subject, role: str, bits: Iterable[int]) -> None:
    document = subject.case.collateral[role]
    accepted = [bit for bit in bits if subject.verdict(**{role: _flipped(document, bit)}) in _ACCEPTED]
    assert accepted == []
    assert subject.verdict() is Verdict.WARNING


def _one_bit_each(size: int, step: int = 1) -> list[int]:
    chance = random.Random(2026)  # noqa: S311 (a sample, always the same)
    return [8 * place + chance.randrange(8) for place in range(0, size, step)]


def test_one_bit_of_every_byte_of_a_report(subjects: Subjects) -> None:
    _check_report(subjects("milan-vcek"), _one_bit_each(1184))


@pytest.mark.parametrize("name", ["milan-vlek", "genoa-vcek", "turin-vcek"])
def test_bits_of_other_reports(subjects: Subjects, name: str) -> None:
    _check_report(subjects(name), _one_bit_each(1184, 17))


@pytest.mark.parametrize("role", _ROLES)
def test_bits_of_documents(subjects: Subjects, role: str) -> None:
    subject = subjects("milan-vcek")
    size = len(subject.case.collateral[role])
    _check_document(subject, role, _one_bit_each(size, 5))


@pytest.mark.soak
@pytest.mark.parametrize("name", _CASES)
def test_every_bit_of_a_report(subjects: Subjects, name: str) -> None:
    _check_report(subjects(name), range(8 * 1184))


@pytest.mark.soak
@pytest.mark.parametrize("role", _ROLES)
@pytest.mark.parametrize("name", _CASES)
def test_every_bit_of_a_document(subjects: Subjects, name: str, role: str) -> None:
    subject = subjects(name)
    document = subject.case.collateral.get(role, b"")
    _check_document(subject, role, range(8 * len(document)))
