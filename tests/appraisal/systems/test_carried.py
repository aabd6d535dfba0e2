# SPDX-License-Identifier: Apache-2.0
"""Certificates of Contrast, Flashbots and Evervault: what is in them, and what was put in their place."""

import base64
import datetime as dt
import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.appraisal.systems.guests import TODAY, attestation, certificate, spki, string
from tests.appraisal.systems.worlds import NOW, ask, ask_nitro, ask_tdx, outcome, release, tdx_world
from tests.platforms.dcap.pki import World, der, key
from tests.platforms.nitro.pki import Pair, pcrs, standard

from nacre import platforms
from nacre.appraisal import systems
from nacre.appraisal.release import Release
from nacre.appraisal.systems import envelope
from nacre.appraisal.verdict import Verdict
from nacre.errors import MalformedEvidence, UnsupportedEvidence
from nacre.platforms.nitro.evidence import parse_document
from nacre.platforms.snp.report import LAYOUT, unpack_report

NONCE = bytes(range(100, 132))
KEY = spki()
_VECTORS = Path(__file__).parents[2] / "vectors"
_SNP = _VECTORS / "snp" / "derived-measurement-flip-genoa-v5"
_CONTRAST_SNP, _CONTRAST_TDX = "1.3.9901.2.1", "1.3.9901.2.2"
_DSTACK, _DSTACK_QUOTE = "1.3.6.1.4.1.62397.1.8", "1.3.6.1.4.1.62397.1.1"


# ── Protocol buffers, written as Google's libraries do ──


def _varint(value: int) -> bytes:
    head = bytearray()
    while value > 0x7F:
        head.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*head, value))


def _field(number: int, value: bytes | int) -> bytes:
    """Write one field; proto3 leaves out what is zero or empty."""
    if not value:
        return b""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _message(*values: bytes | int | tuple[bytes, ...]) -> bytes:
    """Write fields numbered from 1."""
    written = [
        b"".join(_field(number, one) for one in value) if isinstance(value, tuple) else _field(number, value)
        for number, value in enumerate(values, 1)
    ]
    return b"".join(written)


def _cut(data: bytes, *sizes: int) -> list[bytes]:
    pieces = []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    return [*pieces, data]


def _u(data: bytes) -> int:
    return int.from_bytes(data, "little")


def _quote_message(quote: bytes, *, size: int = 0, kind: int = 6, auth: int = 0, extra: bytes = b"") -> bytes:
    """Take a quote of version 4 apart, from Intel's description of it."""
    version, key_type, tee, pce, qe, vendor, user, rest = _cut(quote, 2, 2, 4, 2, 2, 16, 20)
    body, length, signed = _cut(rest, 584, 4)
    values = _cut(body, 16, 48, 48, 8, 8, 8, 48, 48, 48, 48, 48, 48, 48, 48, 64)[:-1]
    signature, point, _, outer_size, certified = _cut(signed, 64, 64, 2, 4)
    report, qe_signature, auth_size, rest = _cut(certified, 384, 64, 2)
    auth_data, chain_type, chain_size, chain = _cut(rest, _u(auth_size), 2, 4)
    enclave = _cut(report, 16, 4, 28, 16, 32, 32, 32, 96, 2, 2, 60, 64)[:-1]
    numbers = (1, 8, 9)
    return _message(
        _message(_u(version), _u(key_type), _u(tee), qe, pce, vendor, user),
        _message(*values[:10], tuple(values[10:14]), values[14]),
        _u(length) + size,
        _message(
            signature,
            point,
            _message(
                kind,
                _u(outer_size),
                _message(
                    _message(*(_u(one) if place in numbers else one for place, one in enumerate(enclave))),
                    qe_signature,
                    _message(_u(auth_size) + auth, auth_data),
                    _message(_u(chain_type), _u(chain_size), chain),
                ),
            ),
        ),
        extra,
    )


def _report_message(data: bytes, **changes: int) -> bytes:
    """Take a report apart, from AMD's description of it."""
    one = unpack_report(data)
    family, model, stepping = one.cpuid_family, one.cpuid_model, one.cpuid_stepping
    extended = max(family - 0xF, 0)
    signature = stepping | (model & 0xF) << 4 | (family - extended) << 8 | (model >> 4) << 16 | extended << 20
    return _message(
        changes.get("version", one.version),
        one.guest_svn,
        one.policy,
        one.family_id,
        one.image_id,
        one.vmpl,
        one.signature_algo,
        _u(one.current_tcb),
        one.platform_info,
        one.signer_info,
        one.report_data,
        one.measurement,
        one.host_data,
        one.id_key_digest,
        one.author_key_digest,
        one.report_id,
        one.report_id_ma,
        _u(one.reported_tcb),
        one.chip_id,
        _u(one.committed_tcb),
        *(changes.get("build", one.current_build), one.current_minor, one.current_major),
        *(one.committed_build, one.committed_minor, one.committed_major),
        _u(one.launch_tcb),
        data[0x2A0:],
        signature,
        one.launch_mit_vector,
        one.current_mit_vector,
    )


# ── Contrast ──


def _contrast(world: World, value: bytes | None = None, **options: object) -> bytes:
    carried = _quote_message(world.quote) if value is None else value
    return certificate({_CONTRAST_TDX: carried}, **options)  # type: ignore[arg-type]


def _atls() -> World:
    return tdx_world(hashlib.sha512(KEY + NONCE).digest())


@pytest.mark.parametrize("plain", [False, True])
def test_contrast_is_accepted_for_its_nonce(*, plain: bool) -> None:
    world = _atls()
    data = _contrast(world, base64.b64encode(world.quote) if plain else None)
    assert systems.recognise(data) is systems.get("contrast")
    assert envelope.unwrap(data, name="contrast", given={"nonce": NONCE}).evidence == world.quote
    result = ask_tdx(world, data=data, system="contrast", given={"nonce": NONCE}, layout="contrast/atls")
    assert result.verdict is Verdict.VERIFIED
    assert result.foreign
    assert result.foreign.described["key_sha256"] == hashlib.sha256(KEY).digest()


def test_contrast_for_another_nonce_or_key_is_refused() -> None:
    world = _atls()
    for data, nonce in (
        (_contrast(world), bytes(32)),
        (_contrast(tdx_world(hashlib.sha512(NONCE + KEY).digest())), NONCE),
        (_contrast(tdx_world(hashlib.sha512(KEY).digest())), NONCE),
    ):
        result = ask_tdx(world, data=data, system="contrast", given={"nonce": nonce}, layout="contrast/atls")
        assert outcome(result, "binding") == ("fail", "binding-mismatch")


def test_contrast_without_a_nonce_of_ours_is_not_bound() -> None:
    world = _atls()
    result = ask_tdx(world, data=_contrast(world), system="contrast", layout="contrast/atls")
    assert outcome(result, "binding") == ("skipped", "binding-not-given")


def test_contrast_with_a_key_that_did_not_sign_is_refused() -> None:
    world = _atls()
    data = _contrast(world, signer=key("thief"))
    result = ask_tdx(world, data=data, system="contrast", given={"nonce": NONCE}, layout="contrast/atls")
    assert result.verdict is Verdict.REJECTED
    assert outcome(result, "certificate.possession") == ("fail", "certificate-foreign-signature")


@pytest.mark.parametrize("case", ["derived-measurement-flip-genoa-v5", "derived-measurement-flip-turin-v5"])
def test_contrast_gives_back_what_amd_signed(case: str) -> None:
    folder = _VECTORS / "snp" / case
    report = (folder / "report.bin").read_bytes()
    chain = _message((folder / "vcek.der").read_bytes(), (folder / "ask.der").read_bytes(), b"root")
    data = certificate({_CONTRAST_SNP: _message(_report_message(report), chain, _message(2))})
    assert systems.recognise(data) is systems.get("contrast")
    opened = envelope.unwrap(data, name="contrast", given={"nonce": NONCE})
    assert opened.evidence == report
    assert set(opened.opened.endorsements) == {"vek", "ask", "ark"}
    assert opened.opened.endorsements["vek"] == (folder / "vcek.der").read_bytes()
    platforms.get("snp").parse(opened.evidence)


def test_contrast_in_base64_gives_back_what_amd_signed() -> None:
    report = (_SNP / "report.bin").read_bytes()
    data = certificate({_CONTRAST_SNP: base64.b64encode(report)})
    opened = envelope.unwrap(data, name="contrast", given={})
    assert opened.evidence == report
    assert opened.opened.endorsements == {}


def test_every_field_of_a_quote_comes_back() -> None:
    """Whatever a quote says is what the message says; where a size lies, there is no message of it."""
    quote = _atls().quote
    back = 0
    for place in range(0, len(quote), 7):
        changed = quote[:place] + bytes([quote[place] ^ 0x55]) + quote[place + 1 :]
        data = certificate({_CONTRAST_TDX: _quote_message(changed)})
        try:
            assert envelope.unwrap(data, name="contrast", given={}).evidence == changed
        except MalformedEvidence:
            assert place >= 48 + 584
        else:
            back += 1
    assert back > len(quote) // 7 - 8


_REPORT = (_SNP / "report.bin").read_bytes()
_BAD_CONTRAST: Mapping[str, Callable[[], dict[str, bytes]]] = {
    "nothing": lambda: {_CONTRAST_TDX: b""},
    "both": lambda: {
        _CONTRAST_TDX: _quote_message(_atls().quote),
        _CONTRAST_SNP: _message(_report_message(_REPORT)),
    },
    "no message": lambda: {_CONTRAST_TDX: b"\xff" * 64},
    "size of the signature": lambda: {_CONTRAST_TDX: _quote_message(_atls().quote, size=1)},
    "size of the authentication data": lambda: {_CONTRAST_TDX: _quote_message(_atls().quote, auth=1)},
    "kind of certification data": lambda: {_CONTRAST_TDX: _quote_message(_atls().quote, kind=5)},
    "unknown field": lambda: {_CONTRAST_TDX: _quote_message(_atls().quote) + _field(6, 1)},
    "field twice": lambda: {_CONTRAST_TDX: _quote_message(_atls().quote) + _field(3, 1)},
    "message twice": lambda: {_CONTRAST_TDX: _quote_message(_atls().quote) + _field(1, _message(4))},
    "fixed-size field": lambda: {_CONTRAST_TDX: b"\x0d\0\0\0\0"},
    "number that is too long": lambda: {_CONTRAST_TDX: _varint(3 << 3) + b"\x80" * 10 + b"\1"},
    "number beyond 64 bits": lambda: {_CONTRAST_TDX: _varint(3 << 3) + b"\xff" * 9 + b"\x7f"},
    "number not of smallest form": lambda: {_CONTRAST_TDX: _varint(3 << 3) + b"\x81\x00"},
    "string for a number": lambda: {_CONTRAST_TDX: _message(_field(1, b"4"))},
    "number for a string": lambda: {_CONTRAST_TDX: _message(_message(4, 2, 0x81), 7)},
    "length past the end": lambda: {_CONTRAST_TDX: b"\x0a\x7f"},
    "report of another size": lambda: {_CONTRAST_SNP: _message(_message(3))},
    "number of another size": lambda: {_CONTRAST_SNP: _message(_report_message(_REPORT, build=256))},
    "base64 with a break": lambda: {_CONTRAST_SNP: base64.encodebytes(_REPORT)},
}


@pytest.mark.parametrize("name", _BAD_CONTRAST)
def test_other_contents_of_contrast_are_refused(name: str) -> None:
    with pytest.raises(MalformedEvidence) as caught:
        envelope.unwrap(certificate(_BAD_CONTRAST[name]()), name="contrast", given={})
    assert str(caught.value)


def test_fields_in_another_order_are_the_same_report() -> None:
    whole = _report_message(_REPORT)
    first = _field(1, unpack_report(_REPORT).version)
    assert whole.startswith(first)
    data = certificate({_CONTRAST_SNP: _message(whole[len(first) :] + first)})
    assert envelope.unwrap(data, name="contrast", given={}).evidence == _REPORT
    assert LAYOUT.size == len(_REPORT)


def test_bare_evidence_of_contrast_is_its_own_envelope() -> None:
    world = _atls()
    given = {"key": KEY, "nonce": NONCE}
    result = ask_tdx(world, system="contrast", given=given, layout="contrast/atls")
    assert result.verdict is Verdict.VERIFIED


# ── Flashbots ──


def _dated(world_of: Callable[[bytes], World] = tdx_world, name: bytes = b"ratls") -> World:
    begins, ends = (
        int((TODAY - dt.timedelta(days=1)).timestamp()),
        int((TODAY + dt.timedelta(days=1)).timestamp()),
    )
    bound = KEY + begins.to_bytes(8, "big") + ends.to_bytes(8, "big") + name
    return world_of(hashlib.sha512(bound).digest())


def _told(quote: bytes, kind: str = "self-hosted-tdx", **more: object) -> bytes:
    platform = {"attestation_type": kind, "ram_bytes": 1, "num_disks": 1, "acpi": None}
    evidence = {"quote": base64.b64encode(quote).decode(), "platform": platform}
    return json.dumps({"attestation_evidence": evidence} | more).encode()


def _flashbots(text: bytes, *, contained: bool = True, **options: object) -> bytes:
    extension = {_DSTACK: der(0x04, attestation(text))} if contained else {_DSTACK_QUOTE: der(0x04, text)}
    return certificate(extension, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("contained", [True, False])
@pytest.mark.parametrize("kind", ["self-hosted-tdx", "gcp-tdx"])
def test_flashbots_certificate_is_bound_to_itself(kind: str, *, contained: bool) -> None:
    world = _dated()
    data = _flashbots(_told(world.quote, kind), contained=contained)
    assert systems.recognise(data) is systems.get("flashbots")
    result = ask_tdx(world, data=data, system="flashbots", layout="flashbots/attested-tls")
    assert outcome(result, "binding") == ("pass", "")
    assert outcome(result, "flashbots.dates") == ("pass", "")
    assert outcome(result, "certificate.possession") == ("pass", "")
    assert result.verdict is Verdict.INCOMPLETE
    assert outcome(result, "freshness") == ("skipped", "freshness-unknown")


def test_flashbots_certificate_outside_its_dates_is_refused() -> None:
    """The quote commits to the dates, so here they are more than the maker's word."""
    world = _dated()
    result = ask(
        _flashbots(_told(world.quote)),
        system="flashbots",
        platform="tdx",
        anchor=world.anchor,
        endorsements=world.endorsements,
        releases=(release("tdx", layout="flashbots/attested-tls"),),
        at=NOW + 2 * 86_400,
    )
    assert outcome(result, "flashbots.dates") == ("fail", "attested-dates")
    assert result.verdict is Verdict.REJECTED


def test_flashbots_certificate_with_other_dates_is_refused() -> None:
    world = _dated()
    later = _flashbots(_told(world.quote), ends=TODAY + dt.timedelta(days=900))
    for data, quoted in ((later, world), (_flashbots(_told(_dated(name=b"other").quote)), world)):
        result = ask_tdx(quoted, data=data, system="flashbots", layout="flashbots/attested-tls")
        assert outcome(result, "binding") == ("fail", "binding-mismatch")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (_told(b"quote", "azure-tdx"), UnsupportedEvidence),
        (_told(b"quote", "none"), UnsupportedEvidence),
        (b'{"attestation_evidence": null}', MalformedEvidence),
        (b'{"attestation_evidence": {"quote": "AA=="}}', MalformedEvidence),
        (
            b'{"attestation_evidence": {"quote": "A", "platform": {"attestation_type": "gcp-tdx"}}}',
            MalformedEvidence,
        ),
        (b"{", MalformedEvidence),
    ],
)
def test_other_contents_of_flashbots_are_refused(text: bytes, kind: type[Exception]) -> None:
    data = _flashbots(text)
    assert systems.recognise(data) is systems.get("flashbots")
    with pytest.raises(kind):
        envelope.unwrap(data, name="flashbots", given={})


def _older(quote: bytes, kind: str = "dcap-tdx") -> bytes:
    return string(kind) + string(quote)


def _newer(quote: bytes, kind: str = "gcp-tdx", hashes: bytes = b"\0\0", boot: bytes = b"\1") -> bytes:
    return b"\1" + string(quote) + string(kind) + bytes(12) + hashes + boot


_ALL_HASHES = b"\1" + bytes(144) + b"\1" + bytes(48)


@pytest.mark.parametrize("framed", [True, False])
@pytest.mark.parametrize(
    "write", [bytes, _older, _newer, lambda quote: _newer(quote, "self-hosted-tdx", _ALL_HASHES, b"\0")]
)
def test_flashbots_message_is_accepted_for_its_session(
    write: Callable[[bytes], bytes], *, framed: bool
) -> None:
    point = key("tls").public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    world = tdx_world(hashlib.sha256(point).digest() + NONCE)
    data = write(world.quote)
    if framed and write is not bytes:
        data = len(data).to_bytes(4, "big") + data
    for exporter, binding in ((NONCE, ("pass", "")), (bytes(32), ("fail", "binding-mismatch"))):
        given = {"key": KEY, "exporter": exporter}
        result = ask_tdx(world, data=data, system="flashbots", given=given, layout="flashbots/ratls-1")
        assert outcome(result, "binding") == binding
        assert (result.verdict is Verdict.VERIFIED) is (binding[0] == "pass")


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (_older(b"", "none"), UnsupportedEvidence),
        (_older(b"quote", "azure-tdx"), UnsupportedEvidence),
        (_newer(b"quote", "azure-tdx"), UnsupportedEvidence),
        (b"\0", UnsupportedEvidence),
        (b"", MalformedEvidence),
        (_older(b"quote") + b"\0", MalformedEvidence),
        (_newer(b"quote") + b"\0", MalformedEvidence),
        (_newer(b"quote", boot=b"\2"), MalformedEvidence),
        (_newer(b"quote", hashes=b"\2\0"), MalformedEvidence),
        (_newer(b"quote")[:-4], MalformedEvidence),
        (b"\x21\0" + b"dcap-tdx", MalformedEvidence),
        (b"\x20\xff" + b"cap-tdx" + b"\0", MalformedEvidence),
        (b"\x03", MalformedEvidence),
    ],
)
def test_other_messages_of_flashbots_are_refused(data: bytes, kind: type[Exception]) -> None:
    with pytest.raises(kind) as caught:
        envelope.unwrap(data, name="flashbots", given={})
    assert str(caught.value)


def test_certificates_of_dstack_are_not_taken_for_flashbots() -> None:
    quote = tdx_world(bytes(64)).quote
    for value in (attestation(quote), b"\0\7"):
        data = certificate({_DSTACK: der(0x04, value)})
        assert systems.recognise(data) is systems.get("dstack")
    assert systems.recognise(certificate({"1.2.3": b""})) is None
    result = ask_tdx(
        tdx_world(bytes(64)), system="flashbots/ratls-1", given={"key": KEY, "exporter": NONCE}, layout=""
    )
    assert result.verdict is Verdict.REJECTED


# ── Evervault ──


def _named(*names: str) -> dict[str, bytes]:
    value = x509.SubjectAlternativeName([x509.DNSName(name) for name in names]).public_bytes()
    return {"2.5.29.17": value}


def _cage(*changes: Pair) -> bytes:
    return standard().document(("pcrs", pcrs()), ("user_data", KEY), *changes)


def _host(document: bytes) -> str:
    return f"{document.hex()}.worm.app-1.cages.evervault.com"


def test_real_certificate_of_evervault_is_accepted() -> None:
    folder = _VECTORS / "nitro" / "evervault-prod-2023-embedded-in-tls-certificate"
    data = (folder / "tls-certificate.der").read_bytes()
    assert systems.recognise(data) is systems.get("evervault")
    opened = envelope.unwrap(data, name="evervault", given={})
    assert opened.evidence == (folder / "evidence.cbor").read_bytes()
    registers = parse_document(opened.evidence).pcrs
    text = "".join(f'pcr{index} = "{registers[index].hex()}"\n' for index in range(3))
    result = ask(
        data,
        system="evervault",
        platform="nitro",
        anchor=platforms.get("nitro").anchors()[0],
        releases=(Release.parse(f'id = "cage"\nlayout = "evervault/key"\n[[nitro]]\n{text}'),),
        at=1_674_047_240,
        max_age=300,
    )
    assert outcome(result, "binding") == ("pass", "")
    assert outcome(result, "executables")[0] == "pass"


def test_evervault_is_bound_to_key_and_nonce() -> None:
    data = certificate(_named("localhost", _host(_cage(("nonce", NONCE)))))
    for given, layout, binding in (
        ({}, "evervault/key", "pass"),
        ({"nonce": NONCE}, "evervault/key-and-nonce", "pass"),
        ({"nonce": bytes(32)}, "evervault/key-and-nonce", "fail"),
    ):
        result = ask_nitro(data, system="evervault", given=given, layout=layout)
        assert outcome(result, "binding")[0] == binding
    thief = certificate(_named(_host(_cage(("user_data", spki("other"))))))
    result = ask_nitro(thief, system="evervault", layout="evervault/key")
    assert outcome(result, "binding") == ("fail", "binding-mismatch")


def test_upper_case_names_are_the_same() -> None:
    document = _cage()
    data = certificate(_named(_host(document).upper()))
    assert envelope.unwrap(data, name="evervault", given={}).evidence == document


@pytest.mark.parametrize(
    "extensions",
    [
        {},
        _named("worm.example"),
        _named(_host(_cage())[:40] + ".example"),
        _named(_host(_cage()), _host(_cage(("nonce", NONCE)))),
        _named("84" + "zz" * 1100 + ".example"),
        _named("84" + "a" * 2201 + ".example"),
        {"2.5.29.17": b"\x30\x03\x82\x01\xff"},
        {"2.5.29.17": b"\x30\x03\x82\x02a"},
        _named(*(f"{number}.example" for number in range(257))),
    ],
    ids=["no names", "host name", "too short", "two", "no hex", "odd", "no text", "malformed", "too many"],
)
def test_other_names_are_refused(extensions: dict[str, bytes]) -> None:
    with pytest.raises(MalformedEvidence) as caught:
        envelope.unwrap(certificate(extensions), name="evervault", given={})
    assert str(caught.value)


def test_other_certificates_are_not_taken_for_evervaults() -> None:
    for extensions in ({}, _named("worm.example"), {"2.5.29.17": b"\x30\x03\x82\x01\xff"}):
        assert systems.recognise(certificate(extensions)) is None
    assert systems.recognise(b"-----BEGIN CERTIFICATE-----\n") is None
    mixed = x509.SubjectAlternativeName([x509.RFC822Name("worm@example"), x509.DNSName(_host(_cage()))])
    data = certificate({"2.5.29.17": mixed.public_bytes()})
    assert systems.recognise(data) is systems.get("evervault")


def test_longer_name_does_not_take_the_documents_place() -> None:
    """Evervault's own reader takes the longest label there is, whatever is in it."""
    document = _cage()
    data = certificate(_named("zz" * 6000 + ".example", _host(document)))
    result = ask_nitro(data, system="evervault", layout="evervault/key")
    assert outcome(result, "binding") == ("pass", "")
    assert envelope.unwrap(data, name="evervault", given={}).evidence == document


def test_bare_documents_of_evervault_are_their_own_envelope() -> None:
    result = ask_nitro(_cage(), system="evervault/key", given={"key": KEY}, layout="evervault/key")
    assert result.verdict is Verdict.VERIFIED
    with pytest.raises(Exception, match="nonce"):
        ask_nitro(_cage(), system="evervault/key-and-nonce", given={"key": KEY, "nonce": b"short"})
