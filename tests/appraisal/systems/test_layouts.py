# SPDX-License-Identifier: Apache-2.0
"""Other systems' layouts, each computed a second time from its description, and attacked part by part."""

import base64
import hashlib
import itertools
import json
from collections.abc import Callable, Mapping
from typing import NamedTuple

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.appraisal.systems.worlds import ask_tdx, key, outcome, tdx_world
from tests.platforms.dcap import pki as intel

from nacre.appraisal import systems
from nacre.appraisal.purposes import Fields, Layout
from nacre.appraisal.verdict import Verdict
from nacre.errors import ConfigurationError

NONCE = bytes(range(100, 132))
EXPORTER = bytes(range(32))
HPKE = bytes(range(200, 232))
KEY = key("server")
POINT = intel.key("server").public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
MATERIAL = b'{"format":"https://tinfoil.sh/crypto-material/v1","items":[]}'
DEVICES = b'{"format":"https://tinfoil.sh/device-evidence/v1","items":[]}'
JWK = b'{"kty":"EC","crv":"P-256","alg":"ECDH-ES+A256KW","x":"AQ","y":"Ag"}'


def _sha256(*data: bytes) -> bytes:
    return hashlib.sha256(b"".join(data)).digest()


def _sha384(*data: bytes) -> bytes:
    return hashlib.sha384(b"".join(data)).digest()


def _sha512(*data: bytes) -> bytes:
    return hashlib.sha512(b"".join(data)).digest()


class Case(NamedTuple):
    """A layout, its parts, and what the report data is by the system's own description."""

    layout: str
    parts: Mapping[str, bytes]
    data: bytes


_B64 = base64.b64encode(NONCE).decode()
_SORTED_JWK = '{"alg":"ECDH-ES+A256KW","crv":"P-256","kty":"EC","x":"AQ","y":"Ag"}'
CASES = (
    Case("gramine/ra-tls", {"key": KEY}, _sha256(KEY) + bytes(32)),
    Case("contrast/atls", {"key": KEY, "nonce": NONCE}, _sha512(KEY, NONCE)),
    Case("flashbots/ratls-1", {"key": KEY, "exporter": EXPORTER}, _sha256(POINT) + EXPORTER),
    Case(
        "flashbots/attested-tls",
        {
            "key": KEY,
            "not-before": (1_780_000_000).to_bytes(8, "big"),
            "not-after": (1_780_000_300).to_bytes(8, "big"),
            "name": b"builder.example",
        },
        _sha512(KEY, b"\0\0\0\0\x6a\x18\xa5\0", b"\0\0\0\0\x6a\x18\xa6\x2c", b"builder.example"),
    ),
    Case("atlas/tdx-quote", {"nonce": NONCE, "exporter": EXPORTER}, _sha512(NONCE, EXPORTER)),
    Case("tinfoil/v2", {"key": KEY, "hpke-key": HPKE}, _sha256(KEY) + HPKE),
    Case(
        "tinfoil/v3",
        {"nonce": NONCE, "crypto-material": MATERIAL, "device-evidence": DEVICES},
        _sha256(b"https://tinfoil.sh/report-data/v1", NONCE, _sha256(MATERIAL), _sha256(DEVICES)) + bytes(32),
    ),
    Case("secretvm/tls-key", {"key": KEY}, _sha256(KEY) + bytes(32)),
    Case("secretvm/tls-key-and-gpu", {"key": KEY, "gpu-nonce": NONCE}, _sha256(KEY) + NONCE),
    Case(
        "secretvm/certificate",
        {"certificate": b"0\x03\x02\x01\x01"},
        _sha256(b"0\x03\x02\x01\x01") + bytes(32),
    ),
    Case(
        "secretvm/certificate-and-gpu",
        {"certificate": b"0\x03\x02\x01\x01", "gpu-nonce": NONCE},
        _sha256(b"0\x03\x02\x01\x01") + NONCE,
    ),
    Case("nilcc/tls-key", {"key": KEY}, b"\0" + _sha256(KEY) + bytes(31)),
    Case(
        "coco/kbs",
        {"nonce": NONCE, "tee-pubkey": JWK, "additional-evidence": b'{"nvidia":"\xc3\xa9"}'},
        _sha384(
            b'{"additional-evidence":"{\\"nvidia\\":\\"\xc3\xa9\\"}","nonce":"%b","tee-pubkey":%b}'
            % (_B64.encode(), _SORTED_JWK.encode())
        )
        + bytes(16),
    ),
    Case(
        "coco/kbs-0.3",
        {"nonce": NONCE, "tee-pubkey": JWK},
        _sha384(b'{"nonce":"%b","tee-pubkey":%b}' % (_B64.encode(), _SORTED_JWK.encode())) + bytes(16),
    ),
    # The digest that Trustee's own test of the Attestation Service states.
    Case(
        "coco/structured",
        {"runtime-data": b'{"b": 1, "a": "test", "c": {"d": "e"}}'},
        bytes.fromhex(
            "e71ce8e70d814ba6639c3612ebee0ff1f76f650f8dbb5e47157e0f3f525cd22c4597480a186427c813ca941da78870c3"
        )
        + bytes(16),
    ),
    # A quote that flashtestations' own tests register: no data, so the digest is Keccak-256 of nothing.
    Case(
        "flashtestations/registration",
        {
            "address": bytes.fromhex("12c14e56d585dcf3b36f37476c00e78ba9363742"),
            "extended-data-keccak256": bytes.fromhex(
                "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
            ),
        },
        bytes.fromhex(
            "12c14e56d585dcf3b36f37476c00e78ba9363742"
            "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470000000000000000000000000"
        ),
    ),
)
_LAYOUTS = pytest.mark.parametrize("case", CASES, ids=lambda case: case.layout)
#: Those whose last bytes are part of a hash or a key, so that no padding is there to be wrong.
_FULL = ("contrast", "flashbots", "atlas", "tinfoil/v2", "gpu")


def _refused(case: Case, parts: Mapping[str, bytes], data: bytes | None = None) -> bool:
    """Tell whether evidence of the case is refused with these parts, or the parts themselves are."""
    world = tdx_world(case.data if data is None else data)
    try:
        result = ask_tdx(world, system=case.layout, given=parts, layout=case.layout)
    except ConfigurationError as error:
        return error.code in ("binding-part", "binding-parts") and bool(str(error))
    return outcome(result, "binding") == ("fail", "binding-mismatch") and result.verdict is Verdict.REJECTED


@_LAYOUTS
def test_is_what_the_system_describes(case: Case) -> None:
    assert systems.layout(case.layout).compute(case.parts) == Fields(case.data)
    assert len(case.data) == 64


@_LAYOUTS
def test_evidence_is_accepted(case: Case) -> None:
    result = ask_tdx(tdx_world(case.data), system=case.layout, given=case.parts, layout=case.layout)
    assert outcome(result, "binding") == ("pass", "")
    fresh = bool(systems.layout(case.layout).fresh)
    assert outcome(result, "freshness")[0] == ("pass" if fresh else "skipped")
    own = [check for check in result.checks if check.id == "oyster.image"]
    assert result.verdict is (Verdict.VERIFIED if fresh and not own else Verdict.INCOMPLETE)


@_LAYOUTS
def test_every_part_counts(case: Case) -> None:
    for name, value in case.parts.items():
        for changed in (value[:-1], value + b"\0", value[:-1] + bytes([value[-1] ^ 1]), b"", value[::-1]):
            if changed != value:
                assert _refused(case, {**case.parts, name: changed}), (name, changed)


@_LAYOUTS
def test_parts_in_another_order_are_refused(case: Case) -> None:
    for one, other in itertools.combinations(case.parts, 2):
        if case.parts[one] != case.parts[other]:
            swapped = {**case.parts, one: case.parts[other], other: case.parts[one]}
            assert _refused(case, swapped), (one, other)


@_LAYOUTS
def test_padding_is_zero(case: Case) -> None:
    for place in (0, 31, 32, 51, 52, 63):
        data = bytearray(case.data)
        data[place] ^= 0x80
        assert _refused(case, case.parts, bytes(data))
    if not case.layout.startswith(_FULL) and not case.layout.endswith(_FULL):
        assert not any(case.data[52:])


@_LAYOUTS
def test_no_part_is_left_out_or_added(case: Case) -> None:
    for name in case.parts:
        rest = {part: value for part, value in case.parts.items() if part != name}
        assert _refused(case, rest)
    with pytest.raises(ConfigurationError) as caught:
        ask_tdx(tdx_world(case.data), system=case.layout, given={**case.parts, "coyote": b"1"})
    assert caught.value.code == "part-unknown"


def test_evidence_of_one_layout_serves_no_other() -> None:
    """The key, nonce and exporter are the same in all; where two layouts are equal the release decides."""
    for case, other in itertools.permutations(CASES, 2):
        if case.data == other.data:
            assert {case.layout, other.layout} == {"gramine/ra-tls", "secretvm/tls-key"}
            result = ask_tdx(tdx_world(case.data), system=other.layout, given=other.parts, layout=case.layout)
            assert outcome(result, "binding") == ("fail", "layout-undeclared")
        else:
            assert _refused(other, other.parts, case.data)


def test_half_a_layout_leaves_the_other_half_open() -> None:
    layout = "tinfoil/v2-tls-key"
    for half in (HPKE, bytes(32)):
        world = tdx_world(_sha256(KEY) + half)
        result = ask_tdx(world, system=layout, given={"key": KEY}, layout=layout)
        assert outcome(result, "binding") == ("pass", "")
    world = tdx_world(HPKE + _sha256(KEY))
    result = ask_tdx(world, system=layout, given={"key": KEY}, layout=layout)
    assert outcome(result, "binding") == ("fail", "binding-mismatch")


# ── What every entry of the registry has to say ──


@pytest.mark.parametrize("layout", systems.layouts(), ids=lambda layout: layout.name)
def test_entry_says_what_it_leaves_open(layout: Layout) -> None:
    name = layout.name.partition("/")[0]
    assert systems.get(name).name == name
    assert set(layout.unprotected) <= {"replay", "relay", "diversion", "reflection"}
    assert bool(layout.fresh) is ("replay" not in layout.unprotected)
    assert not layout.fresh or layout.fresh in layout.parts
    assert "diversion" in layout.unprotected
    assert "/" in layout.source
    for word in layout.unprotected:
        assert f"**{word}**" in systems.about(name)


def test_every_layout_of_this_half_is_attacked_here() -> None:
    ours = ("contrast", "flashbots", "atlas", "tinfoil", "secretvm", "nilcc", "coco", "flashtestations")
    known = {layout.name for layout in systems.layouts() if layout.name.startswith(ours)}
    assert known == {case.layout for case in CASES[1:]} | {"tinfoil/v2-tls-key"}


_REFUSED_JSON: tuple[Callable[[], bytes], ...] = (
    lambda: b"",
    lambda: b"[1.5]",
    lambda: b'{"a": 9007199254740993}',
    lambda: b'{"a": 1, "a": 1}',
    lambda: b"NaN",
    lambda: b"\xff",
    lambda: b"[" * 40 + b"]" * 40,
)


@pytest.mark.parametrize("document", _REFUSED_JSON)
def test_json_that_has_no_one_form_is_refused(document: Callable[[], bytes]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        systems.layout("coco/structured").compute({"runtime-data": document()})
    assert caught.value.code == "binding-part"


def test_text_that_is_none_is_refused() -> None:
    """Bytes that are replaced in decoding would make two documents one."""
    parts = {"nonce": NONCE, "tee-pubkey": JWK, "additional-evidence": b"\xff"}
    with pytest.raises(ConfigurationError) as caught:
        systems.layout("coco/kbs").compute(parts)
    assert caught.value.code == "binding-part"


def test_canonical_json_sorts_by_utf_16() -> None:
    """RFC 8785, 3.2.3: the example's keys, and what comes of them."""
    names = ("\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "\u00f6")
    document = json.dumps({name: [None, True, -7, {}, [], '\u2028"\\/\b'] for name in names}).encode()
    order = ("\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33")
    value = '[null,true,-7,{},[],"\u2028\\"\\\\/\\b"]'
    text = "{" + ",".join(f"{json.dumps(name, ensure_ascii=False)}:{value}" for name in order) + "}"
    data = systems.layout("coco/structured").compute({"runtime-data": document}).data
    assert data == _sha384(text.encode()) + bytes(16)
