# SPDX-License-Identifier: Apache-2.0
"""Every reader of foreign bytes, as a function that a fuzzer can call.

A target takes any bytes. It may raise one of our errors, and nothing else; what it accepts it takes further
(views, words, the next reader), and where a second opinion is to be had it has to agree with it.
"""

import functools
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec
from cryptography import x509 as peer
from tests.fuzz import measured, results

from nacre import platforms
from nacre.appraisal import systems
from nacre.appraisal.appraise import appraise
from nacre.appraisal.bindings import Binding
from nacre.appraisal.identity import IdentityDocument
from nacre.appraisal.policy import Policy
from nacre.appraisal.reference import cmw, convert, coserv, showing
from nacre.appraisal.release import Release
from nacre.appraisal.report import to_json
from nacre.appraisal.systems import envelope as envelopes
from nacre.appraisal.verdict import Verdict
from nacre.endorsers import bundle, facts
from nacre.errors import MalformedEvidence, NacreError
from nacre.platforms.base import Claims, Endorsements
from nacre.platforms.dcap.endorsements import read_chain
from nacre.platforms.dcap.pck import SGX_EXTENSION, parse_extension
from nacre.platforms.dcap.tcb_info import parse_identity, parse_tcb_info
from nacre.testing.cases import Case, load
from nacre.trust import cbor, cose, crl, der, pem, times, x509
from nacre.trust import json as strict
from nacre.trust.keys import P256_SHA256, P384_SHA384, EcdsaScheme, raw_signature
from nacre.trust.memo import Memo
from nacre.trust.rsa import PSS_4096_SHA384
from nacre.trust.signatures import Signatures

__all__ = ["COLLATERAL", "SNP_DOCUMENTS", "TARGETS", "VECTORS", "Target", "attempt", "genuine", "leaf"]

VECTORS = Path(__file__).parent.parent / "vectors"

_MEBIBYTE = 1 << 20
_SMALL = 8 << 10  # second opinions are asked up to here: what they take is none of a reader's bounds
_LONGEST_CBOR = 64 << 10  # twice what any caller allows: the limit is the caller's
_WHAT = "fuzzed"


class Target(NamedTuple):
    """A reader under test.

    Attributes:
        name: Its name on the command line.
        run: Reads bytes; raises nothing but ``NacreError``.
        grammar: What its language is made of; see ``awkward.py``.
        words: What a mutation engine should know of the language.
    """

    name: str
    run: Callable[[bytes], object]
    grammar: str
    words: tuple[bytes, ...] = ()


def attempt(target: Target, data: bytes) -> NacreError | None:
    """Run a target over bytes; every error has to have words."""
    try:
        target.run(data)
    except NacreError as error:
        found = error
    else:
        return None
    assert str(found), found.code
    str(found.hint)
    return found


# ── Encodings ────────────────────────────────────────────────────────────────────────────────────────


def _der(data: bytes) -> None:
    """Walk over everything, without recursion, and decode each leaf as whatever it says it is."""
    places = [(0, min(len(data), 1 << 18))]
    while places:
        at, end = places.pop()
        while at < end:
            tag, start, stop = der.tagged(data, at, end)
            assert at < start <= stop <= end
            if tag & 0x20:
                places.append((start, stop))
            else:
                _der_leaf(data, tag, at, start, stop)
            at = stop


def _der_leaf(data: bytes, tag: int, at: int, start: int, stop: int) -> None:
    match tag:
        case der.INTEGER | der.ENUMERATED:
            value = der.integer(data, start, stop)
            size = (value + (value < 0)).bit_length() // 8 + 1  # a negative power of two has no ones to spare
            assert value.to_bytes(size, "big", signed=True) == data[start:stop]
        case der.BIT_STRING:
            der.bits(data, start, stop)
        case der.BOOLEAN:
            der.boolean(data, start, stop)
        case 0x17 | 0x18:
            der.seconds(data, at, stop)


def _pem(data: bytes) -> None:
    for block in pem.certificates(data):
        assert block


def _cbor(data: bytes) -> None:
    """The first byte chooses the rules."""
    rules = data[0] if data else 0
    body = data[1:]
    value = cbor.loads(
        body,
        what=_WHAT,
        limit=_LONGEST_CBOR,
        indefinite=bool(rules & 1),
        tags=bool(rules & 2),
        pairs=bool(rules & 4),
    )
    if not rules & 7 and len(body) <= _SMALL:
        assert cbor.loads(cbor.dumps(value), what=_WHAT, limit=2 * _LONGEST_CBOR) == value
    if body[0] >> 5 in (4, 5) and len(body) <= _SMALL:
        list(cbor.entries(body, 0, what=_WHAT))


def _cose(data: bytes) -> None:
    message = cose.loads(data, what=_WHAT, limit=_LONGEST_CBOR)
    assert message.payload in message.signed()
    message.require(cose.ES384, what=_WHAT)


def _json(data: bytes) -> None:
    value = strict.loads(data, what=_WHAT, limit=_MEBIBYTE)

    if len(data) > _SMALL:
        return

    def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        assert len(dict(pairs)) == len(pairs), "a member twice"
        return dict(pairs)

    assert json.loads(data, object_pairs_hook=once) == value


def _signed_json(data: bytes) -> None:
    raw, signature, value = strict.signed_member(data, "tcbInfo", what=_WHAT, limit=_MEBIBYTE)
    assert raw in data
    if len(data) > _SMALL:
        return
    assert json.loads(data) == {"tcbInfo": json.loads(raw), "signature": json.loads(data)["signature"]}
    assert bytes.fromhex(json.loads(data)["signature"]) == signature
    assert json.loads(raw) == value


def _time(data: bytes) -> None:
    times.parse_rfc3339(data.decode("utf-8", "replace"), what=_WHAT)


# ── Certificates, lists, keys ────────────────────────────────────────────────────────────────────────


def _x509(data: bytes) -> None:
    certificate = x509.parse_certificate(data)
    assert certificate.der == data
    assert str(certificate)
    for read in ("is_ca", "path_length", "key_usage"):
        _quietly(lambda read=read: getattr(certificate, read))  # type: ignore[misc]
    other = _second_opinion(lambda: peer.load_der_x509_certificate(data))
    if isinstance(other, peer.Certificate):
        assert other.tbs_certificate_bytes == certificate.tbs
        assert other.signature == certificate.signature
        if (serial := _second_opinion(lambda: other.serial_number)) is not None:
            assert serial == certificate.serial
        if (usage := _second_opinion(lambda: other.extensions)) is not None:
            assert isinstance(usage, peer.Extensions)
            assert len(usage) == len(certificate.extensions)


def _crl(data: bytes) -> None:
    found = crl.parse_crl(data)
    assert str(found)
    other = _second_opinion(lambda: peer.load_der_x509_crl(found.der))
    if isinstance(other, peer.CertificateRevocationList):
        assert other.tbs_certlist_bytes == found.tbs
        serials = _second_opinion(lambda: {entry.serial_number for entry in other})
        assert serials is None or serials == found.revoked


def _key(data: bytes) -> None:
    for scheme in (P256_SHA256, P384_SHA384):
        _quietly(functools.partial(_verify, scheme, data))
    _quietly(lambda: PSS_4096_SHA384.spki(data[:-512] or data).holds(data[-512:], data))


def _verify(scheme: EcdsaScheme, data: bytes) -> None:
    size = 2 * scheme.size
    signature = raw_signature(data[-size:], scheme)
    assert not scheme.spki(data[: -size or None]).holds(signature, data)


def _second_opinion(ask: Callable[[], object]) -> object:
    """Ask a library that refuses other things than we do; None if it refuses."""
    try:
        return ask()
    except (ValueError, TypeError, peer.InvalidVersion, peer.DuplicateExtension):
        return None


def _quietly(run: Callable[[], object]) -> None:
    """Let one of our errors pass, so that what follows is reached as well."""
    attempt(Target("", lambda _: run(), ""), b"")


# ── Evidence and endorsements ────────────────────────────────────────────────────────────────────────


def _evidence(names: tuple[str, ...], data: bytes) -> None:
    try:
        platform = platforms.detect(data)
        evidence = platform.parse(data)
    except MalformedEvidence:
        for name in names:
            salvage = getattr(platforms.get(name), "salvage", None)
            salvaged = salvage(data) if salvage else None
            if salvaged is not None:
                list(platforms.get(name).views(salvaged))
        raise
    assert evidence.raw == data
    list(platform.views(evidence))
    platform.facts(evidence)
    _quietly(lambda: platform.sources(evidence))


def _pck_extension(data: bytes) -> None:
    certificate = msgspec.structs.replace(leaf(), extensions={SGX_EXTENSION: (False, data)})
    found = parse_extension(certificate)
    assert len(found.svns) == len(found.cpusvn) == 16


def _document(parse: Callable[[bytes], object], data: bytes) -> None:
    _quietly(lambda: facts.facts(data))
    parse(data)


@functools.cache
def leaf() -> x509.Certificate:
    quote = platforms.get("tdx").parse(genuine("tdx").evidence)
    return read_chain(quote.cert_data)[0]  # type: ignore[attr-defined]


@functools.cache
def genuine(platform: str) -> Case:
    return load(
        VECTORS
        / {
            "sgx": "sgx/automata-net-v3-00606a000000-e17-swhardeningneeded-268c06",
            "tdx": "tdx/google-v5-90c06f000000-e18-uptodate-cf77a6",
            "nitro": "nitro/dstack-prod-2025-12-indefinite",
            "snp": "snp/openpcc-genoa-v3-a9e919-crl",
        }[platform]
    )


@functools.cache
def _trusting() -> Policy:
    """Return a policy that gives up all that no attacker has to break signatures for."""
    return Policy.parse(
        'accept = "WARNING"\nunsafe_waive = ["binding", "executables", "freshness"]\n'
        '[snp]\naccept_advisories = ["any"]\n'
    )


@functools.cache
def _claims(platform: str) -> Claims:
    case = genuine(platform)
    result = appraise(
        case.evidence, policy=_trusting(), endorsements=Endorsements(case.collateral), at=case.at
    )
    assert result.claims is not None
    return result.claims


_MEMO = Memo()


def _appraisal(platform: str, data: bytes) -> None:
    """Whatever is accepted says what the genuine evidence said."""
    case = genuine(platform)
    _judged(case, data, Endorsements(case.collateral))


def _judged(case: Case, data: bytes, endorsements: Endorsements) -> None:
    result = appraise(
        data,
        policy=_trusting(),
        endorsements=endorsements,
        at=case.at,
        binding=Binding.nonce(bytes(32)) if len(data) & 1 else None,
        signatures=Signatures(_MEMO),
    )
    assert to_json(result)
    assert all(result.explain().values())
    if result.verdict in (Verdict.VERIFIED, Verdict.WARNING):
        assert result.claims is not None
        assert result.claims.registers == _claims(case.platform).registers


#: The documents that ``collateral`` replaces, by the first byte of its input.
COLLATERAL = (
    "tcb_info",
    "tcb_info_issuer_chain",
    "qe_identity",
    "qe_identity_issuer_chain",
    "pck_crl",
    "root_ca_crl",
)


def _collateral(data: bytes) -> None:
    """The first byte says which document is replaced."""
    case = genuine("tdx")
    role = COLLATERAL[data[0] % len(COLLATERAL)] if data else COLLATERAL[0]
    _judged(case, case.evidence, Endorsements({**case.collateral, role: data[1:]}))


#: The documents that ``snp-endorsements`` replaces, likewise.
SNP_DOCUMENTS = ("vek", "ask", "ark", "crl")


def _snp_documents(data: bytes) -> None:
    """The first byte says which document is replaced."""
    case = genuine("snp")
    role = SNP_DOCUMENTS[data[0] % len(SNP_DOCUMENTS)] if data else SNP_DOCUMENTS[0]
    _judged(case, case.evidence, Endorsements({**case.collateral, role: data[1:]}))


# ── What people write ────────────────────────────────────────────────────────────────────────────────


def _policy(data: bytes) -> None:
    policy = Policy.parse(data.decode("utf-8", "replace"))
    for name in platforms.builtin_names():
        policy.section(name)
        policy.anchors_for(name)


def _release(data: bytes) -> None:
    Release.parse(data.decode("utf-8", "replace"))


def _bundle(data: bytes) -> None:
    found = bundle.read(data)
    packed = bundle.pack(found.endorsements, found.platform, found.collected_at)
    assert bundle.read(packed) == found


def _identity_document(data: bytes) -> None:
    assert IdentityDocument.parse(data).encode() == data


def _envelope(data: bytes) -> None:
    """Open bytes as every system would; one that recognises them also has its say about a quote."""
    for name in systems.names():
        with suppress(NacreError):
            envelopes.unwrap(data, name=name, given={})
    envelope = envelopes.recognise(data, given={})
    if envelope is not None:
        envelope.found(_claims("tdx"), 0)


_PEM_WORDS = (b"-----BEGIN CERTIFICATE-----\n", b"-----END CERTIFICATE-----\n", b"\r\n", b"\0")
_DER_WORDS = (
    bytes.fromhex("551d13"),
    bytes.fromhex("551d0f"),
    bytes.fromhex("06082a8648ce3d040302"),
    bytes.fromhex("06082a8648ce3d040303"),
    b"\x30\x82",
    b"\x01\x01\xff",
    b"\x17\x0d",
    b"\x18\x0f",
)
_JSON_WORDS = (b'{"tcbInfo":', b',"signature":"', b'"tcbLevels":[', b'"svn":', b"\\u0022", b"1e9", b"-0")
_NITRO_WORDS = (b"\xbf", b"\xff", b"hmodule_id", b"hcabundle", b"dpcrs", b"\xa1\x01\x38\x22", b"\xf6")
_SNP_WORDS = (
    *(b"HCLA", b'{"keys":[', b'"user-data":"', bytes(24), b"-----BEGIN CERTIFICATE-----\n"),
    *(bytes.fromhex("63da758de6644564adc5f4b93be8accd"), bytes.fromhex("4ab7b379bbac4fe4a02f05aef327c782")),
)
_ENVELOPE_WORDS = (
    *(b'"quote":"', b'"event_log":"[', b'"attestation":"0000', b'"imr":3', b'"event_type":134217729'),
    *(b"compose-hash", b"system-ready", b"\xd9\xea\x60", bytes.fromhex("2b0601040183e73d0108")),
)
_TOML_WORDS = (
    *(b"[[release]]\n", b"[[release.tdx]]\n", b'id = "a"\n', b"unsafe_waive = [", b"[anchors.sgx]\n", b"0x"),
    *(b'"any"', b"1979-05-27", b"'''", b"inf", b"[tdx]\n", b"accept_tcb_status = ["),
)

_MANIFEST_WORDS = (
    b"\xd9\x01\xf5",
    b"\xd9\x01\xfa",
    b"\xd9\x02\x30",
    b"\xd9\x02\x33",
    b"\xd2\x84",
    b"\x0e\xa1",
)
_REFERENCE_WORDS = (
    b'"tag-identity":',
    b'"corim-id":',
    b'"integrity-registers":',
    b'"predicateType":',
    b'"payloadType":',
    b'"mr_td":',
)


def _reference(data: bytes) -> None:
    """What is a release comes back from every form that can say all of it."""
    given = convert.Given(at=1_700_000_000, id="x")
    with suppress(NacreError):
        release = convert.read([data], given, file=_WHAT).release
        for form in ("toml", "corim", "in-toto"):
            document, _ = convert.write_as(release, form)
            assert convert.read([document], given).release == release
    assert not showing.show(data, file=_WHAT).verified


def _wrapped(data: bytes) -> None:
    """The first byte chooses the reader."""
    {0: cmw.loads, 1: cmw.parse, 2: coserv.loads}[(data[0] if data else 0) % 3](data[1:])


TARGETS: Mapping[str, Target] = {
    target.name: target
    for target in (
        Target("der", _der, "der", _DER_WORDS),
        Target("pem", _pem, "pem", _PEM_WORDS),
        Target("x509", _x509, "der", _DER_WORDS),
        Target("crl", _crl, "der", _DER_WORDS),
        Target("key", _key, "der"),
        Target("cbor", _cbor, "cbor"),
        Target("cose", _cose, "cbor", _NITRO_WORDS),
        Target("json", _json, "json", _JSON_WORDS),
        Target("signed-json", _signed_json, "json", _JSON_WORDS),
        Target("time", _time, "bytes"),
        Target("quote", functools.partial(_evidence, ("sgx", "tdx")), "quote"),
        Target("nitro-document", functools.partial(_evidence, ("nitro",)), "cbor", _NITRO_WORDS),
        Target("pck-extension", _pck_extension, "der", _DER_WORDS),
        Target("tcb-info", functools.partial(_document, parse_tcb_info), "json", _JSON_WORDS),
        Target("qe-identity", functools.partial(_document, parse_identity), "json", _JSON_WORDS),
        Target("sgx-appraisal", functools.partial(_appraisal, "sgx"), "quote"),
        Target("tdx-appraisal", functools.partial(_appraisal, "tdx"), "quote"),
        Target("nitro-appraisal", functools.partial(_appraisal, "nitro"), "cbor", _NITRO_WORDS),
        Target("snp-report", functools.partial(_evidence, ("snp",)), "bytes", _SNP_WORDS),
        Target("snp-appraisal", functools.partial(_appraisal, "snp"), "bytes", _SNP_WORDS),
        Target("snp-endorsements", _snp_documents, "der", (*_DER_WORDS, *_PEM_WORDS)),
        Target("collateral", _collateral, "json", (*_JSON_WORDS, *_PEM_WORDS, *_DER_WORDS)),
        Target("policy", _policy, "toml", _TOML_WORDS),
        Target("release", _release, "toml", _TOML_WORDS),
        Target("envelope", _envelope, "json", (*_ENVELOPE_WORDS, *_DER_WORDS)),
        Target("bundle", _bundle, "json", (b'"documents":', b'"format":', b'"nacre-endorsements/v1"')),
        Target("manifest", _reference, "cbor", _MANIFEST_WORDS),
        Target("reference", _reference, "json", _REFERENCE_WORDS),
        Target("wrapped", _wrapped, "cbor", _MANIFEST_WORDS),
        Target("identity-document", _identity_document, "cbor"),
        Target("event-log", measured.event_log, "bytes", measured.WORDS),
        Target("efi-program", measured.efi_program, "bytes", measured.WORDS),
        Target("unified-image", measured.unified_image, "bytes", measured.WORDS),
        Target("tpm-quote", measured.quote, "bytes", measured.WORDS),
        Target("td-firmware", measured.td_firmware, "bytes", measured.WORDS),
        Target("td-log", measured.td_log, "bytes", measured.WORDS),
        Target("kernel", measured.kernel, "bytes", measured.WORDS),
        Target("token", results.token, "json", results.TOKEN_WORDS),
        Target("token-claims", results.claims, "json", results.TOKEN_WORDS),
        Target("token-keys", results.keys, "json", (b'"kty":', b'"crv":"P-256"', b'"keys":[', b'"kid":')),
    )
}
