# SPDX-License-Identifier: Apache-2.0
"""Every bit counts: of a quote, and of each document that it is judged by."""

import functools
import random
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from tests.platforms.dcap.judging import ACCEPTED, assert_told

from nacre.appraisal.appraise import appraise
from nacre.appraisal.verdict import Verdict
from nacre.platforms.base import Endorsements
from nacre.testing.cases import Case, load
from nacre.testing.profile import profile
from nacre.trust.memo import Memo
from nacre.trust.signatures import Signatures

_CASES = {
    "tdx-v4": "tdx/phala-networ-v4-b0c06f000000-e17-uptodate-f1c850",
    "tdx-v5": "tdx/google-v5-90c06f000000-e18-uptodate-cf77a6",
    "sgx-v3": "sgx/phala-networ-v3-00a067110000-e16-configurationandswhardeningneeded-f8b810",
}
_ROLES = (
    *("tcb_info", "tcb_info_issuer_chain", "qe_identity", "qe_identity_issuer_chain"),
    *("pck_crl", "root_ca_crl"),
)
_LETTERS = frozenset(b"abcdefABCDEF")
_CASE_BIT = 5


class _Subject:
    """One case, its policy, and a memo that never forgets the good one."""

    def __init__(self, folder: Path) -> None:
        self.case: Case = load(folder)
        self.policy = profile(self.case)
        self.memo = Memo(1 << 20)
        assert self.verdict() is Verdict.WARNING  # recorded evidence: nothing but waivers is against it

    def verdict(self, *, quote: bytes | None = None, **documents: bytes) -> Verdict:
        case = self.case
        result = appraise(
            case.evidence if quote is None else quote,
            policy=self.policy,
            endorsements=Endorsements({**case.collateral, **documents}),
            at=case.at,
            signatures=Signatures(self.memo),
        )
        if result.verdict not in ACCEPTED:
            assert_told(result)
        return result.verdict

    def harmless(self, role: str, document: bytes, bit: int) -> bool:
        """Tell whether a bit means nothing.

        There is one kind of them: upper or lower case of hex digits in the signature of a JSON document.
        The issuer chain of the PCK's revocation list is not read at all; see ``test_collateral``.
        """
        if role not in ("tcb_info", "qe_identity") or bit & 7 != _CASE_BIT:
            return False
        start = document.rindex(b'"signature":"') + len(b'"signature":"')
        return bit >> 3 >= start and document[bit >> 3] in _LETTERS


Subjects = Callable[[str], _Subject]


@pytest.fixture(scope="module")
def subjects(vectors: Path) -> Subjects:
    return functools.cache(lambda name: _Subject(vectors / _CASES[name]))


def _flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit >> 3] ^= 1 << (bit & 7)
    return bytes(changed)


def _check_quote(subject: _Subject, bits: Iterable[int]) -> None:
    quote = subject.case.evidence
    accepted = [bit for bit in bits if subject.verdict(quote=_flipped(quote, bit)) in ACCEPTED]
    assert accepted == []
    assert subject.verdict() is Verdict.WARNING


def _check_document(subject: _Subject, role: str, bits: Iterable[int]) -> None:
    document = subject.case.collateral[role]
    for bit in bits:
        verdict = subject.verdict(**{role: _flipped(document, bit)})
        assert (verdict in ACCEPTED) is subject.harmless(role, document, bit), f"bit {bit}"
    assert subject.verdict() is Verdict.WARNING


def _one_bit_each(size: int, step: int = 1) -> list[int]:
    chance = random.Random(2026)  # noqa: S311 (a sample, always the same)
    return [8 * place + chance.randrange(8) for place in range(0, size, step)]


def test_one_bit_of_every_byte_of_a_quote(subjects: Subjects) -> None:
    subject = subjects("tdx-v4")
    _check_quote(subject, _one_bit_each(len(subject.case.evidence)))


@pytest.mark.parametrize("name", ["tdx-v5", "sgx-v3"])
def test_bits_of_other_quotes(subjects: Subjects, name: str) -> None:
    subject = subjects(name)
    _check_quote(subject, _one_bit_each(len(subject.case.evidence), 17))


@pytest.mark.parametrize("role", _ROLES)
def test_bits_of_documents(subjects: Subjects, role: str) -> None:
    subject = subjects("tdx-v4")
    size = len(subject.case.collateral[role])
    # The last part, where signatures are, byte by byte.
    bits = _one_bit_each(size, max(size // 300, 1)) + _one_bit_each(size)[-140:]
    _check_document(subject, role, bits)


@pytest.mark.parametrize("role", ["tcb_info", "qe_identity"])
def test_signatures_may_be_written_in_either_case(subjects: Subjects, role: str) -> None:
    subject = subjects("tdx-v4")
    document = subject.case.collateral[role]
    bits = [bit for bit in range(_CASE_BIT, 8 * len(document), 8) if subject.harmless(role, document, bit)]
    assert 20 < len(bits) < 128
    _check_document(subject, role, bits)


@pytest.mark.soak
@pytest.mark.parametrize("name", _CASES)
def test_every_bit_of_a_quote(subjects: Subjects, name: str) -> None:
    subject = subjects(name)
    _check_quote(subject, range(8 * len(subject.case.evidence)))


@pytest.mark.soak
@pytest.mark.parametrize("role", _ROLES)
@pytest.mark.parametrize("name", _CASES)
def test_every_bit_of_a_document(subjects: Subjects, name: str, role: str) -> None:
    subject = subjects(name)
    _check_document(subject, role, range(8 * len(subject.case.collateral[role])))
