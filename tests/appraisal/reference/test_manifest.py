# SPDX-License-Identifier: Apache-2.0
"""Releases as manifests: the same release comes back, and no manifest makes one that nobody released."""

from collections.abc import Callable, Mapping

import pytest
from tests.appraisal.reference.conftest import AT

from nacre.appraisal.reference import corim, manifest, profiles
from nacre.appraisal.reference.convert import Given, read
from nacre.appraisal.release import Release, match
from nacre.errors import (
    ConfigurationError,
    MalformedEvidence,
    NacreError,
    UnsupportedEvidence,
    VerificationError,
)
from nacre.trust import cbor
from nacre.trust.cbor import Tag

_OLD, _NEW = (
    {name: bytes([1]) * 48 for name in ("mrtd", "rtmr1", "rtmr2")},
    {name: bytes([2]) * 48 for name in ("mrtd", "rtmr1", "rtmr2")},
)
_ANY = bytes(48)
_OPEN = [{0: name, 1: {4: Tag(563, [_ANY, _ANY])}} for name in ("rtmr0", "rtmr3")]
_TDX = {0: {1: "Intel", 2: "TDX"}}


def _digests(values: Mapping[str, bytes]) -> dict[int, object]:
    """Return a measurement of these registers."""
    return {1: {14: {name: [[7, value]] for name, value in values.items()}}}


def _corim(
    *triples: object,
    extra: Mapping[object, object] | None = None,
    comid: Mapping[object, object] | None = None,
) -> bytes:
    tag = {1: {0: "c"}, 4: {0: list(triples)}, **(comid or {})}
    return corim.dumps(
        {0: "app", 1: [Tag(506, cbor.dumps(tag))], 3: Tag(32, profiles.NACRE), **(extra or {})}
    )


def test_there_and_back_is_the_same(worm: Release, given: Callable[..., Given]) -> None:
    octets = manifest.write(worm)
    found = read([octets], given())
    assert found.release == worm
    assert found.release.fingerprint == worm.fingerprint
    assert found.notes == ()
    assert not found.signed
    assert manifest.write(found.release) == octets


def test_each_variant_is_a_comid_of_its_own(worm: Release) -> None:
    found = corim.loads(manifest.write(worm))
    assert [len(comid.references) for comid in found.comids] == [1] * 5
    assert [comid.id for comid in found.comids][:2] == ["worm@1.2.0/sgx/0", "worm@1.2.0/sgx/1"]


def test_a_third_party_platform(given: Callable[..., Given]) -> None:
    release = Release.parse('id = "x"\n[[acme]]\ncode = "01020304"\nboot = "any"', outsiders=("acme",))
    found = corim.loads(manifest.write(release))
    assert found.comids[0].references[0].environment.model == "acme"
    with pytest.raises(ConfigurationError) as refused:
        read([manifest.write(release)], given())
    assert refused.value.code == "config-unknown-key"


# ── Mixtures ─────────────────────────────────────────────────────────────────────────────────────────


def test_registers_of_two_releases_do_not_mix(given: Callable[..., Given]) -> None:
    """A manifest with an old and a new version accepts each of them and nothing between."""
    octets = _corim([_TDX, [_digests(_OLD), *_OPEN]], [_TDX, [_digests(_NEW), *_OPEN]])
    release = read([octets], given()).release
    assert len(release.variants["tdx"]) == 2
    for shown in (_OLD, _NEW):
        assert match([release], "tdx", {**shown, "rtmr0": _ANY, "rtmr3": _ANY}).release is release
    for name in _OLD:
        mixed = {**_OLD, name: _NEW[name], "rtmr0": _ANY, "rtmr3": _ANY}
        assert match([release], "tdx", mixed).release is None


def test_a_variant_in_pieces_is_no_variant(given: Callable[..., Given]) -> None:
    """Two triples of one environment, each with half of the registers, are not put together."""
    halves = [{name: _OLD[name]} for name in _OLD]
    with pytest.raises(ConfigurationError) as refused:
        read([_corim(*[[_TDX, [_digests(half), *_OPEN]] for half in halves])], given())
    assert refused.value.code == "config-missing-key"


@pytest.mark.parametrize(
    "twice",
    [
        [_digests(_OLD), _digests(_NEW)],
        [_digests(_OLD), {0: "mrtd", 1: {2: [[7, bytes([2]) * 48]]}}],
        [_digests(_OLD), {0: "mrtd", 1: {4: Tag(563, [_ANY, _ANY])}}],
        [{1: {14: {"mrtd": [[7, bytes([1]) * 48], [7, bytes([2]) * 48]]}}}],
    ],
)
def test_a_register_with_two_values_is_refused(twice: list[object], given: Callable[..., Given]) -> None:
    with pytest.raises(MalformedEvidence) as refused:
        read([_corim([_TDX, [*twice, *_OPEN]])], given())
    assert refused.value.code == "reference-twice"


# ── What a release cannot say ────────────────────────────────────────────────────────────────────────

_GOOD = [_TDX, [_digests(_OLD), *_OPEN]]


@pytest.mark.parametrize(
    ("octets", "name"),
    [
        (_corim([_TDX, [{1: {14: {"mrtd": [[7, _ANY]]}, 11: "x"}}, *_OPEN]]), "name of integrity registers"),
        (_corim([_TDX, [_digests(_OLD), {0: "rtmr0", 1: {0: {0: "1"}}}]]), "value of rtmr0"),
        (
            _corim([_TDX, [_digests(_OLD), {0: "rtmr0", 1: {4: Tag(563, [_ANY, bytes([1]) * 48])}}]]),
            "value of rtmr0",
        ),
        (_corim([_TDX, [_digests(_OLD), {0: "rtmr0", 1: {1: 7}}]]), "value of rtmr0"),
        (_corim([_TDX, [_digests(_OLD), {0: "rtmr0", 1: {4: Tag(999, b"")}}]]), "value of rtmr0"),
        (_corim([_TDX, [_digests(_OLD), {0: "rtmr9", 1: {4: Tag(560, _ANY)}}]]), "measurement rtmr9"),
        (_corim([_TDX, [_digests(_OLD), {1: {11: "x"}}]]), "measurement without a key"),
        (
            _corim([_TDX, [_digests({**_OLD, "rtmr9": _ANY})]]),
            "integrity register 'rtmr9'",
        ),
        (_corim([_TDX, [{1: {14: {"mrtd": [[1, bytes(32)]]}}}]]), "algorithm 1 of mrtd"),
        (_corim([_TDX, [{1: {14: {"mrtd": [["mine", bytes(48)]]}}}]]), "algorithm mine of mrtd"),
        (_corim([{0: {1: "ACME", 2: "TDX"}}, [_digests(_OLD)]]), "an environment of Nacre release"),
        (_corim(_GOOD, extra={2: [{0: "https://example.com"}]}), "manifests that it depends on"),
        (_corim(_GOOD, extra={-2: 1}), "extension -2"),
        (_corim(_GOOD, comid={3: [{0: "c", 1: 1}]}), "linked tags"),
        (_corim(_GOOD, comid={-1: 1}), "extension -1"),
        (
            corim.dumps(
                {0: "a", 1: [Tag(505, cbor.dumps({0: "x"})), Tag(777, b"")], 3: Tag(32, profiles.NACRE)}
            ),
            "a CoSWID tag, a tag of kind 777",
        ),
    ],
)
def test_refused_by_name_unless_left_out(octets: bytes, name: str, given: Callable[..., Given]) -> None:
    with pytest.raises(UnsupportedEvidence) as refused:
        read([octets], given())
    assert refused.value.code == "reference-inexpressible"
    assert name in str(refused.value)
    names = refused.value.context["actual"]
    assert isinstance(names, tuple)
    if _enough(octets):
        notes = read([octets], given(leave_out=names)).notes
        assert notes == tuple(f"left out as asked: {name}" for name in names)
    else:
        with pytest.raises(ConfigurationError) as lacking:
            read([octets], given(leave_out=names))
        assert lacking.value.code == "config-missing-key"


def _enough(octets: bytes) -> bool:
    """Tell whether the registers of a variant are all there."""
    return all(name.encode() in octets for name in (*_OLD, "rtmr0", "rtmr3")) and b"ACME" not in octets


def test_only_what_is_there_can_be_left_out(given: Callable[..., Given]) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read([_corim(_GOOD)], given(leave_out=("instance",)))
    assert refused.value.code == "reference-nothing-left-out"


def test_who_had_a_part_in_it_is_a_note(given: Callable[..., Given]) -> None:
    octets = _corim(_GOOD, extra={5: [{0: "ACME", 2: [1]}]})
    assert read([octets], given()).notes == ("named in the manifest: ACME",)


@pytest.mark.parametrize("extension", [1, {1: "x"}, {"id": "y"}, {"tdx": []}, {"colour": "red"}, {"sgx": 1}])
def test_an_extension_that_says_something_else(extension: object, given: Callable[..., Given]) -> None:
    with pytest.raises(NacreError):
        read([_corim(_GOOD, extra={-1: extension})], given())


def test_an_identifier_of_bytes(given: Callable[..., Given]) -> None:
    found = read([_corim(_GOOD, extra={0: bytes(16)})], given())
    assert found.release.id == "00" * 16


@pytest.mark.parametrize(("at", "code"), [(AT - 2, "reference-not-yet-valid"), (AT + 2, "reference-expired")])
def test_a_manifest_has_its_time(at: int, code: str, given: Callable[..., Given]) -> None:
    octets = _corim(_GOOD, extra={4: {0: Tag(1, AT - 1), 1: Tag(1, AT + 1)}})
    assert read([octets], given()).release.id == "app"
    with pytest.raises(VerificationError) as refused:
        read([octets], given(at=at))
    assert refused.value.code == code


@pytest.mark.parametrize(
    "profile", [None, Tag(32, "https://example.com/mine"), "mine", Tag(111, b"\x2a\x03")]
)
def test_an_unknown_profile_is_not_interpreted(profile: object, given: Callable[..., Given]) -> None:
    content: dict[object, object] = {0: "app", 1: [Tag(506, cbor.dumps({1: {0: "c"}, 4: {0: [_GOOD]}}))]}
    with pytest.raises(UnsupportedEvidence) as refused:
        read([corim.dumps(content if profile is None else {**content, 3: profile})], given())
    assert refused.value.code == "corim-profile-unknown"


# ── AMD's profile, as far as a release has the registers ─────────────────────────────────────────────

_AMD = {0: {0: Tag(111, bytes.fromhex("2b060104019c780301"))}}


def _amd(*measurements: object, environment: object = _AMD) -> bytes:
    comid = {1: {0: "c"}, 4: {0: [[environment, list(measurements)]]}}
    return corim.dumps({0: "app", 1: [Tag(506, cbor.dumps(comid))], 3: Tag(32, profiles.AMD_SNP)})


@pytest.mark.parametrize(
    ("octets", "name"),
    [
        (_amd({0: 641, 1: {2: [[7, bytes(48)]]}}, {0: 647, 1: {1: Tag(552, 7)}}), "measurement 647"),
        (_amd({0: 641, 1: {2: [[7, bytes(48)]]}}, environment={**_AMD, 1: Tag(560, bytes(64))}), "instance"),
        (_amd({0: 641, 1: {2: [[7, bytes(48)]]}, 2: [Tag(554, "k")]}), "authorized-by"),
        (_amd({0: 641, 1: {2: [[7, bytes(48)]]}}, {0: 640, 1: {4: Tag(560, bytes(64))}}), "measurement 640"),
    ],
)
def test_of_amd_s_profile_a_release_has_no_word(
    octets: bytes, name: str, given: Callable[..., Given]
) -> None:
    with pytest.raises(UnsupportedEvidence) as refused:
        read([octets], given())
    assert name in str(refused.value)


def test_amd_s_measurement(given: Callable[..., Given]) -> None:
    octets = _amd({0: 641, 1: {2: [[7, b"m" * 48]]}}, {0: 1, 1: {1: Tag(553, 4)}})
    release = read([octets], given(anything=("host_data",))).release
    assert ("measurement", b"m" * 48) in release.variants["snp"][0].equal
    assert release.variants["snp"][0].least == (("guest_svn", 4),)
    assert read([manifest.write(release)], given()).release == release


def test_other_profiles_have_no_registers_of_ours(given: Callable[..., Given]) -> None:
    psa = {0: {0: Tag(560, bytes(32))}}
    part = {0: "psa.software-component", 1: {2: [[1, bytes(32)]]}}
    comid = {1: {0: "c"}, 4: {0: [[psa, [part]]]}}
    octets = corim.dumps(
        {0: "app", 1: [Tag(506, cbor.dumps(comid))], 3: Tag(32, "tag:arm.com,2025:psa#1.0.0")}
    )
    with pytest.raises(UnsupportedEvidence, match="an environment of Arm PSA"):
        read([octets], given())


# ── Bytes that are no manifest ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("octets", "code"),
    [
        (bytes.fromhex("d901f5a2006161006162"), "cbor-duplicate-key"),
        (b"\xd9\x01\xf5" + b"\x81" * 5000, "cbor-depth"),
        (b"\xd9\x01\xf5\xbb\xff\xff\xff\xff\xff\xff\xff\xff", "cbor-count"),
        (b"\xd9\x01\xf5\x5b\xff\xff\xff\xff\xff\xff\xff\xff", "truncated"),
        (b"\xd9\x01\xf5\xa0", "cbor-shape"),
        (b"\xd9\x01\xf5\xa1\x00\x61a\x00", "trailing-bytes"),
        (b"\xd9\x01\xf5\xbf\x00\x61a\xff", "cbor-item"),
        (b"\xd9\x01\xf5\xa1\x00\xf9\x3c\x00", "cbor-item"),
        (b"\xd9\x01\xf5" + bytes(1 << 20), "too-large"),
        (_corim([_TDX, [{1: {2: [[7, bytes(47)]]}}]]), "cbor-shape"),
        (_corim([_TDX, [{1: {14: {"mrtd": [[1, bytes(48)]]}}}]]), "cbor-shape"),
        (_corim([{}, [_digests(_OLD)]]), "cbor-shape"),
        (_corim([_TDX, []]), "cbor-shape"),
        (corim.dumps({0: "a", 1: [Tag(506, bytes.fromhex("a2010001a0"))]}), "cbor-duplicate-key"),
        (corim.dumps({0: "a", 1: [Tag(506, b"\x81" * 40)]}), "cbor-depth"),
    ],
)
def test_refused_before_it_means_anything(octets: bytes, code: str, given: Callable[..., Given]) -> None:
    with pytest.raises(MalformedEvidence) as refused:
        read([octets], given())
    assert refused.value.code == code


def test_every_flipped_bit_is_another_release_or_none(given: Callable[..., Given]) -> None:
    """Nothing is signed here, but no flip may end in a foreign exception or in the same values."""
    octets = manifest.write(Release.parse(f'id = "x"\n[[sgx]]\nmrenclave = "{"a0" * 32}"'))
    release = read([octets], given()).release
    named = range(octets.index(b"x/sgx/0"), octets.index(b"x/sgx/0") + 7)
    for position in range(len(octets)):
        for bit in range(8):
            changed = bytearray(octets)
            changed[position] ^= 1 << bit
            try:
                found = read([bytes(changed)], given(leave_out=())).release
            except NacreError:
                continue
            # The CoMID's own name says nothing that matches.
            assert found.fingerprint != release.fingerprint or position in named
