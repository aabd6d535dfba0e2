# SPDX-License-Identifier: Apache-2.0
"""Lists of an RVPS: read where they leave no choice, written where they say no more than the release."""

from base64 import b64encode
from collections.abc import Callable

import msgspec
import pytest

from nacre.appraisal.reference.convert import Given, read, write_as
from nacre.appraisal.release import Release, match
from nacre.errors import ConfigurationError, MalformedEvidence, NacreError, UnsupportedEvidence

_A, _B, _C, _D = ("a0" * 48, "b0" * 48, "c0" * 48, "d0" * 48)
_OPEN = ("rtmr0", "rtmr3")
_LISTS = {"mr_td": [_A], "rtmr_1": [_B], "rtmr_2": [_C]}


def _json(value: object) -> bytes:
    return msgspec.json.encode(value)


def test_one_value_each(given: Callable[..., Given]) -> None:
    found = read([_json(_LISTS)], given(id="x", anything=_OPEN))
    assert found.form == "rvps"
    (variant,) = found.release.variants["tdx"]
    assert dict(variant.equal)["rtmr1"] == bytes.fromhex(_B)
    assert variant.anything == _OPEN


@pytest.mark.parametrize(
    "document",
    [
        {"version": "0.1.0", "type": "sample", "payload": b64encode(_json(_LISTS)).decode()},
        [{"name": name, "value": value} for name, value in _LISTS.items()],
        [
            {"version": "0.1.0", "name": name, "value": value[0], "expiration": "2027-01-01T00:00:00Z"}
            for name, value in _LISTS.items()
        ],
        {f"rvps:///github.com/coco/{name}:v1": value for name, value in _LISTS.items()},
    ],
)
def test_the_other_forms_say_the_same(document: object, given: Callable[..., Given]) -> None:
    said = given(id="x", anything=_OPEN)
    assert read([_json(document)], said).release == read([_json(_LISTS)], said).release


def test_when_a_value_ends_is_a_note(given: Callable[..., Given]) -> None:
    stored = [{"name": "mr_enclave", "value": ["a0" * 32], "expiration": "2027-01-01T00:00:00Z"}]
    assert read([_json(stored)], given(id="x")).notes == (
        "mr_enclave is to be used until 2027-01-01T00:00:00Z",
    )


def test_one_register_with_several_values_leaves_no_choice(given: Callable[..., Given]) -> None:
    release = read([_json({**_LISTS, "rtmr_2": [_C, _D, _C]})], given(id="x", anything=_OPEN)).release
    assert len(release.variants["tdx"]) == 2


def test_lists_of_two_releases_are_refused(given: Callable[..., Given]) -> None:
    """Trustee's policy would accept the kernel of one with the command line of the other."""
    with pytest.raises(UnsupportedEvidence) as refused:
        read([_json({**_LISTS, "rtmr_1": [_B, _A], "rtmr_2": [_C, _D]})], given(id="x", anything=_OPEN))
    assert refused.value.code == "reference-union"
    assert "rtmr1, rtmr2" in str(refused.value)


def test_what_is_not_mentioned_is_not_open(given: Callable[..., Given]) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read([_json(_LISTS)], given(id="x", anything=("rtmr0",)))
    assert refused.value.code == "config-missing-key"
    with pytest.raises(ConfigurationError) as refused:
        read([_json(_LISTS)], given(id="x", anything=(*_OPEN, "rtmr1")))
    assert refused.value.code == "reference-not-open"


def test_a_name_is_needed(given: Callable[..., Given]) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read([_json(_LISTS)], given(anything=_OPEN))
    assert refused.value.code == "reference-no-id"


def test_other_names_are_refused_by_name(given: Callable[..., Given]) -> None:
    lists = {**_LISTS, "xfam": ["e702060000000000"]}
    with pytest.raises(UnsupportedEvidence, match="xfam"):
        read([_json(lists)], given(id="x", anything=_OPEN))
    notes = read([_json(lists)], given(id="x", anything=_OPEN, leave_out=("xfam",))).notes
    assert notes == ("left out as asked: xfam",)


@pytest.mark.parametrize(
    "document",
    [
        {"mr_td": []},
        {"mr_td": [1]},
        {"mr_td": [_A], "rvps:///x/mr_td": [_B]},
        {"type": "sample", "version": "0.1.0", "payload": "!"},
        {"type": "sample", "version": "0.1.0", "payload": "bm8="},
        {"type": "sample"},
        [{"name": "mr_td", "value": [_A], "colour": "red"}],
        [{"name": "mr_td"}],
        {"mr_td": ["a0"]},
        {"mr_td": _A, "mr_td ": 7},
    ],
)
def test_what_is_malformed(document: object, given: Callable[..., Given]) -> None:
    with pytest.raises(NacreError):
        read([_json(document)], given(id="x", anything=_OPEN))


def test_duplicate_names_are_refused(given: Callable[..., Given]) -> None:
    with pytest.raises(MalformedEvidence) as refused:
        read([b'{"mr_td":["a"],"mr_td":["b"]}'], given(id="x"))
    assert refused.value.code == "json-duplicate-key"


# ── Writing ──────────────────────────────────────────────────────────────────────────────────────────

_ONE = f"""
id = "x"
[[tdx]]
mrtd = "{_A}"
rtmr0 = "any"
rtmr1 = "{_B}"
rtmr2 = "{_C}"
rtmr3 = "any"
"""


def test_there_and_back_is_the_same(given: Callable[..., Given]) -> None:
    release = Release.parse(_ONE)
    document, notes = write_as(release, "rvps")
    assert msgspec.json.decode(document) == _LISTS
    assert list(msgspec.json.decode(document)) == sorted(_LISTS)
    assert notes == ("id", "rtmr_0 is left open by not being there", "rtmr_3 is left open by not being there")
    assert read([document], given(id="x", anything=_OPEN)).release == release
    assert write_as(release, "rvps")[0] == document


def test_two_variants_that_would_mix_are_not_written() -> None:
    """The union of their lists would accept evidence that the release refuses."""
    other = _ONE.replace('id = "x"', "").replace(_B, _D).replace(_C, _A)
    release = Release.parse(_ONE + other)
    mixed = {
        "mrtd": bytes.fromhex(_A),
        "rtmr1": bytes.fromhex(_B),
        "rtmr2": bytes.fromhex(_A),
        "rtmr0": b"",
        "rtmr3": b"",
    }
    assert match([release], "tdx", mixed).release is None
    with pytest.raises(UnsupportedEvidence) as refused:
        write_as(release, "rvps")
    assert refused.value.code == "reference-union"


def test_two_variants_that_differ_in_one_register_are() -> None:
    release = Release.parse(_ONE + _ONE.replace('id = "x"', "").replace(_C, _D))
    assert msgspec.json.decode(write_as(release, "rvps")[0])["rtmr_2"] == [_C, _D]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (f'id = "x"\n[[sgx]]\nmrsigner = "{"a0" * 32}"\nisvprodid = 1\nmin_isvsvn = 1', "sgx min_isvsvn"),
        (_ONE.replace('id = "x"', 'id = "x"\nprofile = "isolated"'), "profile"),
        (_ONE + _ONE.replace('id = "x"', "").replace('rtmr3 = "any"', f'rtmr3 = "{_D}"'), "tdx rtmr3"),
        ('id = "x"\n' + "[[nitro]]\n" + "\n".join(f'pcr{n} = "{_A}"' for n in range(3)), "nitro pcr0"),
    ],
)
def test_what_lists_cannot_say_is_not_written(text: str, name: str) -> None:
    with pytest.raises(UnsupportedEvidence) as refused:
        write_as(Release.parse(text), "rvps")
    assert refused.value.code == "reference-unwritable"
    assert name in str(refused.value)
