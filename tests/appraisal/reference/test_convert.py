# SPDX-License-Identifier: Apache-2.0
"""From any form into any other, what is said beside the documents, and what can be shown of them."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from tests.appraisal.reference.conftest import AT, WORM

from nacre.appraisal.policy import Policy
from nacre.appraisal.reference import cmw, corim, coserv, intoto, manifest, signed, templates
from nacre.appraisal.reference.convert import FORMS, Given, read, write_as
from nacre.appraisal.reference.corim import Validity
from nacre.appraisal.reference.showing import show
from nacre.appraisal.release import Release
from nacre.errors import (
    ConfigurationError,
    MalformedEvidence,
    NacreError,
    UnsupportedEvidence,
    VerificationError,
)
from nacre.trust import cbor
from nacre.trust.cbor import Tag
from nacre.trust.jwk import KeySet
from nacre.trust.signing import SigningKey

_LOSSLESS = [form for form in FORMS if form != "rvps"]
_MRENCLAVE = {"integrity-registers": {"mrenclave": {"key-type": "text", "value": ["sha-256;" + "A" * 43]}}}
_OURS = {
    "tag-identity": {"id": "x"},
    "triples": {
        "reference-values": [
            {
                "environment": {"class": {"vendor": "Intel", "model": "SGX"}},
                "measurements": [{"value": _MRENCLAVE}],
            }
        ]
    },
}
_SGX = Release.parse(f'id = "x"\n[[sgx]]\nmrenclave = "{"a0" * 32}"')


@pytest.mark.parametrize("first", _LOSSLESS)
@pytest.mark.parametrize("second", _LOSSLESS)
def test_all_ways_round(first: str, second: str, worm: Release, given: Callable[..., Given]) -> None:
    once = read([write_as(worm, first)[0]], given()).release
    twice = read([write_as(once, second)[0]], given()).release
    assert twice == worm
    assert write_as(twice, first)[0] == write_as(worm, first)[0]


def test_toml_is_read_as_it_is(worm: Release, given: Callable[..., Given]) -> None:
    assert read([WORM.encode()], given()).release == worm


def test_what_is_not_signed_is_not_taken_for_signed(
    pinned: KeySet, given: Callable[..., Given], worm: Release
) -> None:
    for form in FORMS:
        release = _SGX if form == "rvps" else worm
        with pytest.raises(VerificationError) as refused:
            read([write_as(release, form)[0]], given(pinned=pinned))
        assert refused.value.code == "reference-unsigned"


def test_several_documents_of_a_form_that_has_one(worm: Release, given: Callable[..., Given]) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read([manifest.write(worm)] * 2, given())
    assert refused.value.code == "reference-several"


@pytest.mark.parametrize("document", [b"\x7fELF", b"\xff\xfe", b'{"a": 1}', b"[1]", b"[]", b'"x"'])
def test_what_is_nothing_known(document: bytes, given: Callable[..., Given]) -> None:
    with pytest.raises(NacreError):
        read([document], given(id="x"))


def test_a_payload_beside_what_has_none(worm: Release, given: Callable[..., Given]) -> None:
    for form in FORMS:
        with pytest.raises(ConfigurationError) as refused:
            read([write_as(_SGX if form == "rvps" else worm, form)[0]], given(preimage=b"x"))
        assert refused.value.code == "reference-payload"


def test_the_name_can_be_given(worm: Release, given: Callable[..., Given]) -> None:
    assert read([manifest.write(worm)], given(id="other")).release.id == "other"


def test_only_what_nobody_stated_can_be_opened(given: Callable[..., Given]) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read([WORM.encode()], given(anything=("mrtd",)))
    assert refused.value.code == "reference-not-open"


def test_tables_that_are_no_tables(given: Callable[..., Given]) -> None:
    for text in (b'id = "x"\nsgx = [1]', b'id = ["x"]', b'id = "x"\nsgx = 1', b'id = "x"\ncolour = [1]'):
        with pytest.raises(ConfigurationError):
            read([text], given(anything=("mrenclave",)))


# ── A policy that names a manifest ───────────────────────────────────────────────────────────────────


def test_a_policy_names_a_manifest(tmp_path: Path, worm: Release) -> None:
    (tmp_path / "worm.corim").write_bytes(manifest.write(worm))
    (tmp_path / "policy.toml").write_text('releases = ["worm.corim"]')
    assert Policy.load(tmp_path / "policy.toml").releases == (worm,)


@pytest.mark.parametrize("name", ["worm.corim", "worm.cbor"])
def test_a_policy_names_what_it_cannot_use(
    tmp_path: Path, name: str, worm: Release, signer: SigningKey
) -> None:
    whole = manifest.write(worm)
    ends = dict(corim.loads(whole).content) | {4: {1: Tag(1, AT)}}
    documents = [
        b"",
        WORM.encode(),
        signed.dumps(whole, algorithm=-7, sign=signer.sign, signer="me"),
        corim.dumps(ends),
        corim.dumps({**corim.loads(whole).content, 3: "other"}),
    ]
    (tmp_path / "policy.toml").write_text(f'releases = ["{name}"]')
    for document in documents:
        (tmp_path / name).write_bytes(document)
        with pytest.raises(ConfigurationError) as refused:
            Policy.load(tmp_path / "policy.toml")
        assert refused.value.code == "config-manifest"
        assert name in str(refused.value)


# ── Showing ──────────────────────────────────────────────────────────────────────────────────────────


def test_show_says_what_is_there(worm: Release, signer: SigningKey) -> None:
    octets = signed.dumps(
        manifest.write(worm),
        algorithm=-7,
        sign=signer.sign,
        signer="ACME",
        key_id=b"\x01",
        validity=Validity(0, 1 << 39),
    )
    shown = show(octets, file="x")
    assert shown.title == "signed CoRIM"
    assert shown.facts["signer"] == "ACME"
    assert shown.facts["key"] == "01"
    assert shown.facts["signed for"] == f"from 1970-01-01T00:00:00Z until second {1 << 39}"
    assert shown.facts["profile"].endswith("(Nacre release)")
    assert shown.facts["release raw_report_data"] == "True"
    assert shown.problem == ""
    assert not shown.verified
    values = dict(pair for part in shown.parts for pair in part.values)
    assert values["rtmr0 raw-value"] == "any"
    assert values["isvsvn svn"] == "at least 2"
    assert values["mrenclave"] == f"sha-256 {'a0' * 32}"


def test_show_every_form(worm: Release, signer: SigningKey) -> None:
    sealed = intoto.seal(write_as(worm, "in-toto")[0], sign=signer.sign)
    for document, title in (
        (write_as(worm, "toml")[0], "release"),
        (write_as(worm, "corim")[0], "unsigned CoRIM"),
        (write_as(worm, "in-toto")[0], "in-toto statement"),
        (sealed, "in-toto statement in a DSSE envelope"),
        (write_as(_SGX, "rvps")[0], "RVPS document"),
        (msgspec.json.encode(_OURS), "cocli template"),
    ):
        shown = show(document, file="x")
        assert shown.title == title
        assert bool(shown.problem) == (title == "cocli template")  # it has no profile
        assert shown.parts


def test_show_says_why_there_is_no_release() -> None:
    assert "xfam" in show(b'{"xfam": ["00"]}', file="x").problem
    octets = corim.dumps({0: bytes(16), 1: [Tag(777, 1)], 4: {1: Tag(1, AT)}, 5: [{0: "me", 2: [1]}]})
    shown = show(octets, file="x")
    assert "profile" in shown.problem
    assert shown.facts["id"] == "00000000-0000-0000-0000-000000000000"
    assert shown.facts["valid"] == "until 2025-11-24T16:00:00Z"
    assert shown.facts["also"] == "a tag of kind 777"


def test_show_long_and_strange_values() -> None:
    environment = {
        0: {0: Tag(560, b"c"), 1: "v", 2: "m", 3: 0, 4: 1},
        1: Tag(550, bytes(7)),
        2: Tag(37, bytes(16)),
    }
    values = {4: Tag(563, [b"\1", b"\2"]), 11: "x" * 200, -9: [{1: b""}], 15: Tag(564, [None, 3])}
    comid = {
        1: {0: "c"},
        4: {0: [[environment, [{0: Tag(111, b"\x2a\x03"), 1: values}]]], 5: [[environment, [environment]]]},
    }
    shown = show(corim.dumps({0: "x", 1: [Tag(506, cbor.dumps(comid))]}), file="x")
    also, part = shown.parts
    assert also.values == (("also", "membership triples"),)
    assert part.name == (
        "CoMID c: v m 63 layer 0 index 1 instance 550(00000000000000) "
        "group 00000000-0000-0000-0000-000000000000"
    )
    told = dict(part.values)
    assert told["1.2.3 raw-value"] == "01 under the mask 02"
    assert told["1.2.3 name"].endswith("…")
    assert told["1.2.3 extension -9"] == "[{1: }]"
    assert told["1.2.3 int-range"] == "564([None, 3])"


@pytest.mark.parametrize("document", [b"\xff", b"[1]", b'{"a": {}}', b"id = 1", b"\xd9\x01\xf5\xa0"])
def test_show_refuses_what_is_nothing(document: bytes) -> None:
    with pytest.raises(NacreError):
        show(document, file="x")


def test_show_facts_of_other_systems() -> None:
    text = (
        f'id = "x"\n[dstack]\ncompose_hash = ["{"ab" * 32}"]\n[[tdx]]\nmrtd = "{"d0" * 48}"\nrtmr0 = "any"\n'
        f'rtmr1 = "{"d0" * 48}"\nrtmr2 = "{"d0" * 48}"\nrtmr3 = "any"'
    )
    assert show(text.encode(), file="x").parts[0].name == "dstack"


# ── Templates ────────────────────────────────────────────────────────────────────────────────────────

_COMID = {
    "lang": "en",
    "tag-identity": {"id": "43BBE37F-2E61-4B33-AED3-53CFF1428B16", "version": 1},
    "entities": [{"name": "ACME", "regid": "https://acme.example", "roles": ["creator"]}],
    "linked-tags": [{"target": "other", "rel": "replaces"}],
    "triples": {
        "reference-values": [
            {
                "environment": {
                    "class": {"id": {"type": "oid", "value": "2.999.128"}, "vendor": "v", "layer": 1},
                    "instance": {"type": "ueid", "value": "AQICAgICAgI="},
                    "group": {"type": "uuid", "value": "43bbe37f-2e61-4b33-aed3-53cff1428b16"},
                },
                "measurements": [
                    {
                        "key": {"type": "string", "value": "k"},
                        "value": {
                            "version": {"value": "1.0", "scheme": "semver"},
                            "svn": {"type": "min-value", "value": 2},
                            "digests": ["sha-256;" + "A" * 43, [7, "A" * 64]],
                            "flags": {"is-debug": False},
                            "raw-value": {"type": "bytes", "value": "AQI="},
                            "integrity-registers": {
                                "rtmr0": {"key-type": "text", "value": ["sha-384:" + "A" * 64]},
                                "1": {"key-type": "uint", "value": ["sha-256:" + "A" * 43]},
                            },
                            "cryptokeys": [{"type": "bytes", "value": "AQI="}],
                        },
                    }
                ],
            }
        ]
    },
}
_CORIM = {
    "corim-id": "app",
    "profile": {"type": "oid", "value": "1.2.3"},
    "validity": {"not-before": "2021-12-31T00:00:00Z", "not-after": "2045-12-31T00:00:00Z"},
    "dependent-rims": [{"href": "https://a.example", "thumbprint": [1, "A" * 43]}],
    "entities": [{"name": "ACME", "roles": ["manifestCreator"]}],
}


def test_a_template_says_all_that_it_says() -> None:
    found = corim.loads(templates.manifest(_CORIM, _COMID))
    (comid,) = found.comids
    assert found.profile == "1.2.3"
    assert found.validity == Validity(1640908800, 2398291200)
    assert comid.id == bytes.fromhex("43bbe37f2e614b33aed353cff1428b16")
    assert comid.version == 1
    reference = comid.references[0]
    assert reference.environment.class_id == Tag(111, bytes.fromhex("88378100"))
    values = reference.measurements[0].values
    assert values[1] == Tag(553, 2)
    assert values[14] == {"rtmr0": [[7, bytes(48)]], 1: [[1, bytes(32)]]}


def test_a_template_of_a_release(given: Callable[..., Given]) -> None:
    head = {"corim-id": "worm", "profile": "urn:uuid:3b6eeec0-d825-4ea0-a7a6-429acf822e06"}
    found = read([msgspec.json.encode(head), msgspec.json.encode(_OURS)], given())
    assert found.form == "cocli"
    assert found.release.variants["sgx"][0].equal == (("mrenclave", bytes(32)),)
    with pytest.raises(UnsupportedEvidence):
        read([msgspec.json.encode(_OURS)], given())


def _changed(path: str, value: object) -> object:
    whole = msgspec.json.decode(msgspec.json.encode(_COMID))
    *way, last = path.split(".")
    at = whole
    for step in way:
        at = at[int(step) if step.isdecimal() else step]
    at[int(last) if last.isdecimal() else last] = value
    return whole


_VALUE = "triples.reference-values.0.measurements.0.value"
_ENVIRONMENT = "triples.reference-values.0.environment"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("colour", 1),
        ("lang", 1),
        ("tag-identity", []),
        ("tag-identity.id", 1),
        ("tag-identity.version", []),
        ("entities", {}),
        ("entities.0.roles", ["king"]),
        ("entities.0.roles", [1]),
        (f"{_ENVIRONMENT}.class.id", {"type": "oid", "value": "1"}),
        (f"{_ENVIRONMENT}.class.id", {"type": "oid", "value": "1.x"}),
        (f"{_ENVIRONMENT}.class.id", {"type": "oid", "value": f"1.2.{1 << 70}"}),
        (f"{_ENVIRONMENT}.class.id", {"type": "psa.impl-id", "value": "AA=="}),
        (f"{_ENVIRONMENT}.class.id", {"type": "uuid", "value": "x"}),
        (f"{_ENVIRONMENT}.class.id", {"type": "uuid"}),
        (f"{_ENVIRONMENT}.class.id", {"type": [], "value": 1}),
        (f"{_VALUE}.digests", ["sha-256"]),
        (f"{_VALUE}.digests", ["md5;AAAA"]),
        (f"{_VALUE}.digests", ["sha-256;A"]),
        (f"{_VALUE}.digests", [[1]]),
        (f"{_VALUE}.digests", ["sha-256;AAAA"]),
        (f"{_VALUE}.raw-value", {"type": "bytes", "value": "A"}),
        (f"{_VALUE}.raw-value", {"type": "bytes", "value": ""}),
        (f"{_VALUE}.flags", {"is-debug": "no"}),
        (f"{_VALUE}.integrity-registers.rtmr0", {"value": []}),
        ("triples.reference-values.0", {"environment": {}}),
    ],
)
def test_templates_that_say_something_else(path: str, value: object) -> None:
    with pytest.raises(MalformedEvidence):
        corim.loads(templates.manifest(_changed(path, value)))


@pytest.mark.parametrize(
    "head",
    [
        _CORIM | {"validity": {"not-after": "2045-12-31"}},
        _CORIM | {"validity": {"not-after": "soon"}},
        _CORIM | {"profile": {"type": "name", "value": "x"}},
    ],
)
def test_heads_that_say_something_else(head: object) -> None:
    with pytest.raises(MalformedEvidence):
        templates.manifest(head, _COMID)


def test_a_head_alone_is_no_manifest() -> None:
    with pytest.raises(MalformedEvidence, match="CoMID templates beside"):
        templates.manifest(_CORIM)


# ── CMW and CoSERV that are none ─────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "value",
    [
        1,
        {},
        {"__cmwc_t": "x"},
        {"__cmwc_t": 1, "a": [1, b""]},
        {b"a": [1, b""]},
        [1],
        [1, b"", 1, 1],
        [1, "text"],
        [None, b""],
        [True, b""],
        [1, b"", 0],
        [1, b"", -1],
        [1, b"", True],
        [1, b"", 1 << 32],
        Tag(1668546816, b""),
        Tag(1668546817 + 255, b""),
        Tag(1668546817 + 256 * 255, b""),
        Tag(1668546817, "x"),
    ],
)
def test_no_cmw(value: object) -> None:
    with pytest.raises(MalformedEvidence):
        cmw.loads(cbor.dumps(value))


def test_cmw_in_cmw_has_an_end() -> None:
    value: object = [1, b""]
    for _ in range(12):
        value = {"a": value}
    with pytest.raises(MalformedEvidence, match="less deep"):
        cmw.loads(cbor.dumps(value))
    assert cmw.loads(cbor.dumps(Tag(1668546817, b"x"))) == cmw.Record(0, b"x")


@pytest.mark.parametrize(
    "value",
    [
        {},
        {0: "p"},
        {0: "p", 1: {}},
        {0: "p", 1: {0: 2, 2: 0}},
        {0: "p", 1: {0: 3, 1: {0: [[{1: "v"}]]}, 2: 0}},
        {0: "p", 1: {0: 2, 1: {0: [[{1: "v"}]]}}},
        {0: "p", 1: {0: 2, 1: {0: [[{1: "v"}]]}, 2: 0, 3: [{0: "x"}]}},
        {0: "p", 1: {0: 2, 3: [{0: "x"}]}},
        {0: "p", 1: {3: [{0: "x"}]}, 2: {}},
        {0: "p", 1: {3: [{0: "x"}]}, 2: {10: "tomorrow"}},
    ],
)
def test_no_coserv(value: object) -> None:
    with pytest.raises(MalformedEvidence):
        coserv.loads(cbor.dumps(value))


def test_manifests_asked_for_by_name() -> None:
    found = coserv.loads(cbor.dumps({0: Tag(111, b"\x2a"), 1: {3: [{0: "x"}]}}))
    assert (found.asked, found.wanted, found.answered, found.expires) == ("", "", False, "")
