# SPDX-License-Identifier: Apache-2.0
"""Object identifiers of kilobytes, which nobody has to sign.

Their numbers cost the square of their length, and Python refuses to write them in decimal.
"""

import time

import pytest
from tests.platforms.dcap.judging import refusal
from tests.platforms.dcap.pki import World
from tests.platforms.nitro import pki as nitro
from tests.trust.forge import LEAF, NUMBER, Draft, ListDraft, extension, key, name

from nacre.appraisal.appraise import appraise
from nacre.appraisal.policy import Policy
from nacre.appraisal.report import to_json
from nacre.appraisal.verdict import Verdict
from nacre.errors import MalformedEvidence
from nacre.platforms.base import Endorsements
from nacre.trust import oids
from nacre.trust.crl import parse_crl
from nacre.trust.pem import armour

_BEGIN = b"-----BEGIN CERTIFICATE-----"
_LONG = b"\xff" * 4000 + b"\x01"


def _critical(subject: str) -> bytes:
    extensions = (*LEAF, extension(_LONG, b"x", critical=True))
    return Draft(subject=name(subject), extensions=extensions).signed(key(3))


def test_in_a_certificate_of_a_quote() -> None:
    world = World()
    forged = _critical("Intel SGX PCK Certificate")
    chain = world.chain("pck_chain").split(_BEGIN)
    world = world.but(cert_data=armour(forged) + b"\n" + _BEGIN + _BEGIN.join(chain[2:]))
    assert refusal(world).startswith("dcap.pck-chain: ")


def test_in_a_certificate_of_a_nitro_document() -> None:
    chain = nitro.standard()
    document = chain.document(("certificate", _critical("x")))
    policy = Policy(id="test", platforms=("nitro",), anchored={"nitro": (chain.anchor,)})
    result = appraise(document, policy=policy, endorsements=Endorsements({}), at=nitro.NOW)
    assert result.verdict is Verdict.REJECTED
    assert to_json(result)


def test_in_a_revocation_list_of_a_megabyte() -> None:
    """An endorser could have kept a core busy for hours."""
    longest = b"\xff" * 1_000_000 + b"\x01"
    data = ListDraft(extensions=(NUMBER, extension(longest, b"x", critical=True))).signed(key(2))
    started = time.process_time()
    with pytest.raises(MalformedEvidence) as caught:
        parse_crl(data)
    assert time.process_time() - started < 1
    assert caught.value.code == "critical-extension"
    assert len(str(caught.value)) < 1000


def test_names_stay_names() -> None:
    assert oids.dotted(oids.ECDSA_SHA256) == "1.2.840.10045.4.3.2"
    assert oids.dotted(_LONG) == "ff" * 64 + "…"
