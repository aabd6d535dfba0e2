# SPDX-License-Identifier: Apache-2.0
"""What an enclave claims."""

import pytest
from tests.platforms.dcap.judging import claims_of, judge, refusal
from tests.platforms.dcap.pki import World

from nacre import platforms
from nacre.appraisal.release import Release
from nacre.appraisal.verdict import Verdict
from nacre.errors import UnsupportedEvidence
from nacre.platforms import sgx

#: Register to field, offset in the report, size.
_FIELDS = {
    "mrenclave": ("mr_enclave", 64, 32),
    "mrsigner": ("mr_signer", 128, 32),
    "isvprodid": ("isv_prod_id", 256, 2),
    "isvsvn": ("isv_svn", 258, 2),
    "configid": ("config_id", 192, 64),
    "configsvn": ("config_svn", 260, 2),
    "isvextprodid": ("isv_ext_prod_id", 32, 16),
    "isvfamilyid": ("isv_family_id", 304, 16),
}


@pytest.mark.parametrize("version", [3, 4, 5])
def test_registers(version: int) -> None:
    report = {
        field: number * 257 if size == 2 else bytes((number,)) * size
        for number, (field, _, size) in enumerate(_FIELDS.values(), 1)
    }
    claims = claims_of(World(tee="sgx", version=version, report=report))
    base = 48 if version < 5 else 54
    for register, (_, offset, size) in _FIELDS.items():
        assert claims.registers[register] == claims.quote.raw[base + offset : base + offset + size]
    assert {register.name: register.size for register in sgx.PLATFORM.registers} == {
        register: size for register, (_, _, size) in _FIELDS.items()
    }
    assert claims.committed.data == claims.quote.raw[base + 320 : base + 384]
    assert claims.issued_at is None


def test_signer_and_least_version() -> None:
    """A release may name the signer, the product and the least SVN, instead of one enclave."""
    release = Release.parse(
        f'id = "signer"\n[[sgx]]\nmrsigner = "{"02" * 32}"\nisvprodid = 3\nmin_isvsvn = 4\n'
    )
    world = World(tee="sgx", version=3)
    assert judge(world, releases=(release,)).verdict is Verdict.VERIFIED
    assert judge(world.but(report={"isv_svn": 0x104}), releases=(release,)).verdict is Verdict.VERIFIED
    for report in ({"isv_svn": 3}, {"isv_prod_id": 4}, {"isv_prod_id": 0x300}, {"mr_signer": b"\2" * 31}):
        assert refusal(world.but(report=report), releases=(release,)) == ("executables: executables-mismatch")


@pytest.mark.parametrize("flags", [0x06, 0x07, 0x37])
def test_debug(flags: int) -> None:
    world = World(tee="sgx", version=3, report={"attributes": bytes((flags,))})
    assert claims_of(world).debug
    assert refusal(world) == "debug: debug-on"
    clear = world.but(report={"attributes": bytes((flags & ~2,))})
    assert not claims_of(clear).debug


def test_quotes_of_the_other_tee() -> None:
    for tee, other in (("sgx", "tdx"), ("tdx", "sgx")):
        quote = World(tee=tee).quote
        platform = platforms.get(other)
        assert not platform.detect(quote)
        with pytest.raises(UnsupportedEvidence) as caught:
            platform.parse(quote)
        assert caught.value.code == "quote-of-other-tee"
        assert str(caught.value) == f"a quote of {other} was expected, this is one of {tee}"
        assert platforms.detect(quote) is platforms.get(tee)
        assert platforms.get(tee).parse(quote).raw == quote
