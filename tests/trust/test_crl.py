# SPDX-License-Identifier: Apache-2.0
"""Revocation lists: complete, direct, current, and their issuer's."""

import base64
import contextlib

import pytest
from cryptography import x509 as peer
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import vector_roots
from tests.trust.forge import (
    AUTHORITY,
    BEGINS,
    ECDSA_SHA384,
    ENDS,
    NOW,
    NUMBER,
    Draft,
    ListDraft,
    constraints,
    entry,
    extension,
    key,
    name,
    number,
    sequence,
    tlv,
    usage,
    utc,
)

from nacre.errors import MalformedEvidence, VerificationError
from nacre.trust import der, oids
from nacre.trust.crl import MAX_CRL_SIZE, MAX_ENTRIES, check_crl, check_crl_current, parse_crl
from nacre.trust.keys import P256_SHA256, P384_SHA384
from nacre.trust.signatures import Signatures
from nacre.trust.x509 import parse_certificate

_CHECK = "revocation"
_REASON = extension(oids.CRL_REASON, b"\x0a\x01\x01")


@pytest.fixture(scope="module")
def lists() -> list[bytes]:
    """Every distinct list of the vectors, DER."""
    found = {
        path.read_bytes()
        for root in vector_roots()
        for pattern in ("*/*/*crl.der", "*/*/*crl.pem")
        for path in root.glob(pattern)
        if path.is_file()
    }
    return sorted(found)


def test_every_list_of_the_vectors_reads_the_same_elsewhere(lists: list[bytes]) -> None:
    assert len(lists) >= 10
    for data in lists:
        ours, theirs = parse_crl(data), peer.load_der_x509_crl(data)
        assert ours.tbs == theirs.tbs_certlist_bytes
        assert ours.issuer == theirs.issuer.public_bytes()
        assert theirs.next_update_utc is not None
        assert (ours.this_update, ours.next_update) == (
            int(theirs.last_update_utc.timestamp()),
            int(theirs.next_update_utc.timestamp()),
        )
        assert ours.revoked == {revoked.serial_number for revoked in theirs}
        assert ours.number == theirs.extensions.get_extension_for_class(peer.CRLNumber).value.crl_number
        assert ours.signature == theirs.signature
        assert oids.dotted(ours.signature_algorithm) == theirs.signature_algorithm_oid.dotted_string


def test_the_three_encodings(lists: list[bytes]) -> None:
    data = lists[0]
    pem = b"-----BEGIN X509 CRL-----\n" + base64.encodebytes(data) + b"-----END X509 CRL-----\n"
    for form in (
        data,
        pem,
        pem.replace(b"\n", b"\r\n"),
        data.hex().encode(),
        data.hex().upper().encode() + b"\n",
    ):
        assert parse_crl(form) == parse_crl(data)


def _signed(draft: ListDraft) -> bytes:
    return draft.signed(key(3))


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(b"", "truncated", id="nothing"),
        pytest.param(b"zz", "crl-encoding", id="no hex"),
        pytest.param(b"308", "crl-encoding", id="odd hex"),
        pytest.param(b"30 82", "crl-encoding", id="spaced hex"),
        pytest.param(b"0x3082", "crl-encoding", id="marked hex"),
        pytest.param(b"-----BEGIN CERTIFICATE-----\n", "pem-text", id="another label"),
        pytest.param(b"f" * (2 * MAX_CRL_SIZE + 1), "too-large", id="large"),
        pytest.param(b"\x30\x84" + bytes(MAX_CRL_SIZE), "too-large", id="large DER"),
        pytest.param(_signed(ListDraft()) + b"\0", "trailing-bytes", id="trailing"),
        pytest.param(_signed(ListDraft()).hex().encode() + b"00", "trailing-bytes", id="trailing hex"),
        pytest.param(_signed(ListDraft(version=b"")), "crl-version", id="version 1"),
        pytest.param(_signed(ListDraft(version=number(2))), "crl-version", id="version 3"),
        pytest.param(_signed(ListDraft(dates=utc(BEGINS))), "der-tag", id="no next update"),
        pytest.param(_signed(ListDraft(tail=b"")), "truncated", id="no extensions"),
        pytest.param(_signed(ListDraft(extensions=())), "der-value", id="empty list of extensions"),
        pytest.param(_signed(ListDraft(revoked=sequence())), "der-value", id="empty list of entries"),
        pytest.param(_signed(ListDraft(extensions=(NUMBER, NUMBER))), "duplicate-extension", id="twice"),
        pytest.param(
            _signed(ListDraft(extensions=(extension(oids.CRL_NUMBER, b"\x02\x01\x05\0"),))),
            "trailing-bytes",
            id="number",
        ),
        pytest.param(
            _signed(ListDraft(extensions=(extension(oids.CRL_NUMBER, number(-5)),))),
            "der-value",
            id="negative number",
        ),
        pytest.param(
            _signed(ListDraft(extensions=(NUMBER, extension(b"\x55", b"x", critical=True)))),
            "critical-extension",
            id="critical",
        ),
        pytest.param(
            _signed(
                ListDraft(extensions=(NUMBER, extension(oids.DELTA_CRL_INDICATOR, number(1), critical=True)))
            ),
            "crl-kind",
            id="delta list",
        ),
        pytest.param(
            _signed(ListDraft(extensions=(NUMBER, extension(oids.DELTA_CRL_INDICATOR, number(1))))),
            "crl-kind",
            id="delta list, not critical",
        ),
        pytest.param(
            _signed(
                ListDraft(
                    extensions=(NUMBER, extension(oids.ISSUING_DISTRIBUTION_POINT, sequence(), critical=True))
                )
            ),
            "crl-kind",
            id="partial list",
        ),
        pytest.param(
            _signed(ListDraft(entries=[entry(1, extension(oids.CERTIFICATE_ISSUER, b"x", critical=True))])),
            "critical-extension",
            id="indirect list",
        ),
        pytest.param(
            _signed(ListDraft(entries=[entry(1, extension(oids.CERTIFICATE_ISSUER, b"x"))])),
            "crl-kind",
            id="indirect list, not critical",
        ),
        pytest.param(
            _signed(ListDraft(entries=[entry(1, extension(b"\x55", b"x", critical=True))])),
            "critical-extension",
            id="critical in an entry",
        ),
        pytest.param(
            _signed(ListDraft(entries=[entry(1, extension(oids.CRL_REASON, b"\x0a\x01\x08"))])),
            "crl-kind",
            id="removed from the list",
        ),
        pytest.param(
            _signed(ListDraft(entries=[entry(1, _REASON, _REASON)])), "duplicate-extension", id="reason twice"
        ),
        pytest.param(_signed(ListDraft(entries=[entry(-1)])), "serial-number", id="negative"),
        pytest.param(_signed(ListDraft(entries=[entry(1 << 168)])), "serial-number", id="long"),
        pytest.param(_signed(ListDraft(entries=[entry(1, date=b"251301000000Z")])), "der-value", id="date"),
        pytest.param(
            _signed(ListDraft(entries=[entry(1), entry(2, date=b"251301000000Z")])), "der-value", id="date 2"
        ),
        pytest.param(_signed(ListDraft(entries=[sequence(number(1))])), "truncated", id="no date"),
        pytest.param(
            _signed(ListDraft(entries=[sequence(number(1)), entry(2)])), "truncated", id="no date, then one"
        ),
        pytest.param(
            _signed(ListDraft(entries=[sequence(number(1), utc(BEGINS), sequence())])),
            "der-value",
            id="no extension",
        ),
        pytest.param(_signed(ListDraft(entries=[b"\x31" + entry(1)[1:]])), "der-tag", id="a set"),
        pytest.param(
            _signed(ListDraft(entries=[sequence(b"\x03" + number(1)[1:], utc(BEGINS))])), "der-tag", id="bits"
        ),
        pytest.param(
            _signed(ListDraft(entries=[sequence(b"\x02\x02\x00\x01", utc(BEGINS))])),
            "der-value",
            id="padded serial",
        ),
        pytest.param(
            _signed(ListDraft(entries=[sequence(b"\x02\x00", utc(BEGINS), b"\x05\0")])),
            "der-value",
            id="none",
        ),
        pytest.param(_signed(ListDraft(entries=[b"\x30\x81" + entry(1)[1:]])), "der-length", id="long form"),
        pytest.param(
            _signed(ListDraft(entries=[entry(1), b"\x30\x7f" + entry(2)[2:]])), "truncated", id="overflow"
        ),
    ],
)
def test_other_lists_are_refused(data: bytes, code: str) -> None:
    with pytest.raises(MalformedEvidence) as caught:
        parse_crl(data)
    assert caught.value.code == code
    assert "CRL " in str(caught.value)
    assert "?" not in str(caught.value)


def test_the_algorithm_outside_is_the_one_inside() -> None:
    data = _signed(ListDraft())
    at = data.rindex(oids.ECDSA_SHA256)
    with pytest.raises(MalformedEvidence) as caught:
        parse_crl(data[: at + 7] + b"\x03" + data[at + 8 :])
    assert caught.value.code == "algorithm-mismatch"


def test_entries_of_every_size() -> None:
    serials = [0, 1, 0x7F, 0x80, 0xFF, 0x100, (1 << 159) - 1, (1 << 160) - 1, (1 << 167) - 1]
    long = extension(b"\x55", bytes(200))
    entries = [entry(serial) for serial in serials] + [entry(2, _REASON), entry(3, _REASON), entry(4, long)]
    crl = parse_crl(_signed(ListDraft(entries=entries, extensions=(extension(b"\x55", b"x"),))))
    assert crl.revoked == {*serials, 2, 3, 4}
    assert crl.number is None


def test_the_number_of_entries_is_limited() -> None:
    entries = [entry(serial) for serial in range(MAX_ENTRIES)]
    assert len(parse_crl(_signed(ListDraft(entries=entries))).revoked) == MAX_ENTRIES
    with pytest.raises(MalformedEvidence) as caught:
        parse_crl(_signed(ListDraft(entries=[*entries, entry(1)])))
    assert caught.value.code == "too-many"


_ISSUER = Draft(issuer=name("Root"), subject=name("Root"), key=key(21), extensions=AUTHORITY)


def _check(data: bytes, issuer: Draft = _ISSUER) -> None:
    signatures = Signatures()
    certificate = parse_certificate(issuer.signed(issuer.key))
    loaded = P256_SHA256.spki(certificate.spki)
    check_crl(parse_crl(data), issuer=certificate, key=loaded, signatures=signatures, check=_CHECK)
    signatures.settle()


def test_a_list_of_its_issuer() -> None:
    _check(ListDraft(issuer=name("Root"), entries=[entry(1)]).signed(key(21)))


@pytest.mark.parametrize(
    ("draft", "issuer", "by", "code"),
    [
        (ListDraft(issuer=name("Other")), _ISSUER, 21, "crl-issuer-mismatch"),
        (ListDraft(issuer=name("Root", tag=0x13)), _ISSUER, 21, "crl-issuer-mismatch"),
        (ListDraft(issuer=name("Root")), _ISSUER, 22, "signature-invalid"),
        (ListDraft(issuer=name("Root"), algorithm=ECDSA_SHA384), _ISSUER, 21, "algorithm-unexpected"),
        (
            ListDraft(issuer=name("Root")),
            Draft(subject=name("Root"), key=key(21), extensions=(constraints(ca=False),)),
            21,
            "not-a-ca",
        ),
        (
            ListDraft(issuer=name("Root")),
            Draft(subject=name("Root"), key=key(21), extensions=(constraints(), usage(b"\x02\x04"))),
            21,
            "key-usage",
        ),
    ],
)
def test_lists_of_others(draft: ListDraft, issuer: Draft, by: int, code: str) -> None:
    with pytest.raises(VerificationError) as caught:
        _check(draft.signed(key(by)), issuer)
    assert (caught.value.code, caught.value.check) == (code, _CHECK)
    assert "?" not in str(caught.value)


def test_the_key_says_which_algorithm() -> None:
    assert P384_SHA384.algorithm == oids.ECDSA_SHA384


def test_currency_includes_both_ends() -> None:
    crl = parse_crl(_signed(ListDraft(issuer=name("Root"))))
    for at in (crl.this_update, NOW, crl.next_update):
        check_crl_current(crl, at=at, check=_CHECK)
    for at, code in ((crl.this_update - 1, "crl-not-yet-valid"), (crl.next_update + 1, "crl-expired")):
        with pytest.raises(VerificationError) as caught:
            check_crl_current(crl, at=at, check=_CHECK)
        assert (caught.value.code, caught.value.check) == (code, _CHECK)
        assert 'revocation list of "Root"' in str(caught.value)
        assert "?" not in str(caught.value)


def test_generalized_dates() -> None:
    crl = parse_crl(_signed(ListDraft(dates=utc(ENDS) + tlv(0x18, b"20500101000000Z"))))
    assert crl.next_update == 2524608000


def test_every_flipped_bit_is_seen_or_refused() -> None:
    data = _signed(ListDraft(entries=[entry(300, _REASON), entry(400)]))
    original = parse_crl(data)
    for position in range(8 * len(data)):
        changed = bytearray(data)
        changed[position // 8] ^= 1 << position % 8
        with contextlib.suppress(MalformedEvidence):
            crl = parse_crl(bytes(changed))
            assert (crl.tbs, crl.signature) != (original.tbs, original.signature)
    for size in range(len(data)):
        with pytest.raises(MalformedEvidence):
            parse_crl(data[:size])


@given(st.lists(st.integers(0, (1 << 167) - 1), min_size=1, max_size=20), st.booleans())
def test_serial_numbers_come_back(serials: list[int], reason: bool) -> None:
    entries = [entry(serial, *([_REASON] if reason else [])) for serial in serials]
    assert parse_crl(_signed(ListDraft(entries=entries))).revoked == set(serials)


def _plain_entries(data: bytes) -> set[int]:
    """Read entries the long way, one element after the other."""
    serials = set()
    at, end = der.whole(data, der.SEQUENCE)
    assert at != end
    while at != end:
        at, stop = der.element(data, at, end, der.SEQUENCE)
        start, at = der.element(data, at, stop, der.INTEGER)
        assert stop - start < 40
        serials.add(der.unsigned(data, start, at))
        _, at = der.seconds(data, at, stop)
        assert data[at:stop] in {b"", sequence(_REASON)}
        at = stop
    return serials


def test_no_flipped_bit_holds() -> None:
    data = ListDraft(issuer=name("Root"), entries=[entry(300, _REASON)]).signed(key(21))
    for position in range(8 * len(data)):
        changed = bytearray(data)
        changed[position // 8] ^= 1 << position % 8
        with pytest.raises((MalformedEvidence, VerificationError)):
            _check(bytes(changed))


_PIECES = st.sampled_from(
    [
        entry(1),
        entry(2),
        entry(0x80, _REASON),
        entry(0x81, _REASON),
        sequence(number(1)),
        b"\x30",
        b"\x02",
        bytes(20),
    ]
)


@given(st.lists(_PIECES | st.binary(max_size=3), min_size=1, max_size=5))
def test_the_fast_way_and_the_long_way_agree(pieces: list[bytes]) -> None:
    revoked = sequence(*pieces)
    fast = slow = None
    with contextlib.suppress(MalformedEvidence):
        fast = parse_crl(_signed(ListDraft(revoked=revoked))).revoked
    with contextlib.suppress(MalformedEvidence, AssertionError):
        slow = _plain_entries(revoked)
    assert fast == slow


@given(st.lists(_PIECES | st.binary(max_size=4), max_size=5))
def test_only_our_errors(pieces: list[bytes]) -> None:
    for data in (sequence(*pieces), sequence(sequence(*pieces)), b"".join(pieces)):
        with contextlib.suppress(MalformedEvidence):
            parse_crl(data)
