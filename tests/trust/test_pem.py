# SPDX-License-Identifier: Apache-2.0
"""PEM: certificates in canonical Base64 and nothing beside them."""

import base64
import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import vector_roots

from nacre.errors import MalformedEvidence
from nacre.trust import pem

_HEAD = b"-----BEGIN CERTIFICATE-----\n"
_TAIL = b"-----END CERTIFICATE-----\n"


def _block(der: bytes, *, width: int = 64) -> bytes:
    text = base64.b64encode(der)
    lines = [text[start : start + width] for start in range(0, len(text), width)]
    return _HEAD + b"\n".join(lines) + b"\n" + _TAIL


_ONE, _TWO = _block(b"one"), _block(bytes(200))


@pytest.mark.parametrize(
    "data",
    [
        _ONE + _TWO,
        (_ONE + _TWO).replace(b"\n", b"\r\n"),
        _ONE + b"\n\r\n" + _TWO,
        b"\n" + _ONE + _TWO + b"\n\n",
        _ONE + _TWO + b"\0",
        _ONE + _TWO[:-1] + b"\0",
        (_ONE + _TWO)[:-1],
        _block(b"one", width=3) + _block(bytes(200), width=1000),
    ],
)
def test_forms_that_vendors_send(data: bytes) -> None:
    assert pem.certificates(data) == (b"one", bytes(200))


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(b"", "pem-text", id="nothing"),
        pytest.param(b"\n\0", "pem-text", id="blank"),
        pytest.param(b"\0" + _ONE, "pem-text", id="zero byte before"),
        pytest.param(_ONE + b"\0" + _TWO, "pem-text", id="zero byte between"),
        pytest.param(b"Certificate:\n" + _ONE, "pem-text", id="words before"),
        pytest.param(_ONE + b"words\n" + _TWO, "pem-text", id="words between"),
        pytest.param(_ONE + b"words", "pem-text", id="words after"),
        pytest.param(b" " + _ONE, "pem-text", id="space before"),
        pytest.param(b"\xef\xbb\xbf" + _ONE, "pem-text", id="byte order mark"),
        pytest.param(_ONE.replace(b"CERT", b"TRUSTED CERT"), "pem-text", id="another label"),
        pytest.param(_ONE + _block(b"x").replace(b"CERTIFICATE", b"PRIVATE KEY"), "pem-text", id="a key too"),
        pytest.param(_ONE.replace(_TAIL, b""), "pem-text", id="no end"),
        pytest.param(_ONE.replace(b"END CERT", b"END TRUSTED CERT"), "pem-text", id="another end"),
        pytest.param(_HEAD + _ONE, "pem-text", id="begins twice"),
        pytest.param(_ONE + _TAIL, "pem-text", id="ends twice"),
        pytest.param(_ONE.replace(b"-----\n", b"-----", 1), "pem-text", id="text beside the mark"),
        pytest.param(_ONE.replace(b"\n-----END", b"-----END"), "pem-text", id="text before the end mark"),
        pytest.param(_ONE[:-1] + _TWO, "pem-text", id="two marks on one line"),
        pytest.param(_ONE[:-1] + b" \n", "pem-text", id="space after the mark"),
        pytest.param(_HEAD + _TAIL, "pem-base64", id="empty"),
        pytest.param(_ONE.replace(b"b25l", b"b2\r5l"), "pem-base64", id="lone carriage return"),
        pytest.param(_ONE.replace(b"b25l", b"b2 5l"), "pem-base64", id="space"),
        pytest.param(_ONE.replace(b"b25l", b"b25"), "pem-base64", id="no padding"),
        pytest.param(_ONE.replace(b"b25l", b"b25l="), "pem-base64", id="too much padding"),
        pytest.param(_ONE.replace(b"b25l", b"b2=="), "pem-base64", id="bits that are lost"),
        pytest.param(_ONE.replace(b"b25l", b"b24=b24="), "pem-base64", id="padding inside"),
        pytest.param(_ONE.replace(b"b25l", b"b25_"), "pem-base64", id="the other alphabet"),
        pytest.param(_ONE.replace(b"b25l", b"Proc-Type: 4\n\nb25l"), "pem-base64", id="headers"),
        pytest.param(_ONE * 11, "too-many", id="eleven"),
        pytest.param(_ONE + b"\n" * pem.MAX_PEM_SIZE, "too-large", id="large"),
    ],
)
def test_anything_else_is_refused(data: bytes, code: str) -> None:
    with pytest.raises(MalformedEvidence) as caught:
        pem.certificates(data)
    assert caught.value.code == code
    assert str(caught.value).startswith("PEM chain ")


def test_ten_are_read() -> None:
    assert len(pem.certificates(_ONE * pem.MAX_CERTIFICATES)) == 10


def _cases(files: str) -> set[bytes]:
    """Read the files of that name in all real cases of Intel's platforms."""
    paths = (
        path for root in vector_roots() for tee in ("sgx", "tdx") for path in root.glob(f"{tee}/*/{files}")
    )
    return {path.read_bytes() for path in paths if not path.parent.name.startswith(("derived", "syn"))}


def test_every_chain_that_intel_serves_is_read() -> None:
    chains = _cases("*_issuer_chain.pem")
    assert len(chains) >= 4
    for chain in chains:
        assert len(pem.certificates(chain)) == 2


def test_every_chain_in_a_quote_is_read() -> None:
    found = re.compile(rb"-----BEGIN CERT.*-----END CERTIFICATE-----[\0\r\n]*", re.DOTALL)
    chains = {match.group() for quote in _cases("quote.bin") for match in [found.search(quote)] if match}
    assert len(chains) >= 20
    for chain in chains:
        assert len(pem.certificates(chain)) == 3


@given(
    st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=10), st.integers(1, 80), st.booleans()
)
def test_what_goes_in_comes_out(ders: list[bytes], width: int, windows: bool) -> None:
    data = b"".join(_block(der, width=width) for der in ders)
    assert pem.certificates(data.replace(b"\n", b"\r\n") if windows else data) == tuple(ders)


@given(
    st.lists(st.sampled_from([_HEAD, _TAIL, b"\n", b"\r", b"\0", b"=", b"A", b"AAAA", b"-----"]), max_size=12)
)
def test_only_our_errors(parts: list[bytes]) -> None:
    with contextlib.suppress(MalformedEvidence):
        pem.certificates(b"".join(parts))
