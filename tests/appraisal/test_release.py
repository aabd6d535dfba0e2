# SPDX-License-Identifier: Apache-2.0
"""Releases: nothing is asked by accident, and parts of two never add up to one."""

from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nacre import platforms
from nacre.appraisal.release import Match, Release, Variant, match
from nacre.checks import Status
from nacre.errors import ConfigurationError
from nacre.reasons import explain

OUTSIDERS = ("acme", "either", "lax")
A, B, C, D = b"aaaa", b"bbbb", b"cccc", b"dddd"


def _parse(text: str) -> Release:
    return Release.parse(text, outsiders=OUTSIDERS)


def _release(identifier: str, *variants: tuple[bytes, bytes]) -> Release:
    tables = "".join(f'[[acme]]\ncode = "{code.hex()}"\nboot = "{boot.hex()}"\n' for code, boot in variants)
    return _parse(f'id = "{identifier}"\n{tables}')


def _refused(text: str, code: str) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as refused:
        _parse(text)
    assert refused.value.code == code, str(refused.value)
    return refused.value


def _match(releases: Iterable[Release], **registers: bytes) -> Match:
    return match(tuple(releases), "acme", registers)


def test_a_release_is_read_whole(tmp_path: Path) -> None:
    file = tmp_path / "release.toml"
    file.write_text(
        'id = "worm-1.2.0"\nversion = "1.2.0"\nprofile = "isolated"\nraw_report_data = true\n'
        '[[acme]]\ncode = "61616161"\nboot = "any"\nproduct = 258\nmin_svn = 3\n'
        '[[acme]]\ncode = "6262626A"\nboot = "62626262"\n'
    )
    release = Release.load(file, outsiders=OUTSIDERS)
    assert (release.id, release.version, release.profile) == ("worm-1.2.0", "1.2.0", "isolated")
    assert release.raw_report_data
    assert release.variants == {
        "acme": (
            Variant((("code", A), ("product", b"\x02\x01")), (("svn", 3),), ("boot",)),
            Variant((("code", b"bbbj"), ("boot", B))),
        )
    }


def test_a_release_of_all_platforms_that_ship_can_be_written() -> None:
    lines = ['id = "all"']
    for name in platforms.builtin_names():
        lines.append(f"[[{name}]]")
        lines += [
            f'{register.name} = "{"ab" * register.size}"'
            for register in platforms.get(name).registers
            if register.kind == "bytes"
        ]
    assert set(Release.parse("\n".join(lines)).variants) == set(platforms.builtin_names())


def test_the_whole_of_one_variant_has_to_match() -> None:
    release = _release("r", (A, B), (C, D))
    for code, boot in ((A, B), (C, D)):
        found = _match([release], code=code, boot=boot)
        assert found.release is release
        assert found.check.status is Status.PASS
        assert found.check.context == {"release": "r"}
        assert explain(found.check) == "every stated register equals the release r"


def test_registers_of_two_variants_do_not_mix() -> None:
    release = _release("r", (A, B), (C, D))
    for code, boot in ((A, D), (C, B)):
        found = _match([release], code=code, boot=boot)
        assert found.release is None
        assert (found.check.status, found.check.reason) == (Status.FAIL, "executables-mismatch")


def test_registers_of_two_releases_do_not_mix() -> None:
    # Trustee keeps one list of values for each register: #238, #350, #637.
    old, new = _release("old", (A, B)), _release("new", (C, D))
    for releases in ((old, new), (new, old)):
        assert _match(releases, code=A, boot=D).release is None
        assert _match(releases, code=C, boot=B).release is None
        assert _match(releases, code=C, boot=D).release is new


def test_a_mismatch_names_what_comes_closest() -> None:
    far, near = _release("far", (A, A)), _release("near", (C, C), (A, B))
    check = _match([far, near], code=A, boot=D).check
    assert check.context["release"] == "far"
    check = _match([near, far], code=C, boot=D).check
    assert check.context == {
        "release": "near",
        "registers": ("boot",),
        "expected": (f"boot {C.hex()}",),
        "actual": (f"boot {D.hex()}",),
    }
    assert "near" in explain(check)
    assert C.hex() in explain(check)


def test_a_register_that_the_evidence_lacks_does_not_match() -> None:
    check = _match([_release("r", (A, B))], code=A).check
    assert check.status is Status.FAIL
    assert check.actual == ("boot absent",)
    assert _match([_release("r", (A, B))], code=A, boot=b"").check.actual == ("boot ",)
    assert _match([_release("r", (A, B))], code=A, boot=B[:3]).release is None


def test_without_a_release_of_the_platform_nothing_is_known() -> None:
    for releases in ((), (_release("r", (A, B)),)):
        found = match(releases, "tdx", {"code": A, "boot": B})
        assert found.release is None
        assert (found.check.status, found.check.reason) == (Status.SKIPPED, "no-release")
        assert "tdx" in explain(found.check)


@pytest.mark.parametrize(
    ("shown", "passes"),
    [(b"\x03\x00", True), (b"\x00\x01", True), (b"\x02\x00", False), (b"\x00\x00", False), (b"", False)],
)
def test_a_least_number_is_little_endian_and_may_be_higher(shown: bytes, passes: bool) -> None:
    release = _parse('id = "r"\n[[acme]]\ncode = "61616161"\nboot = "any"\nmin_svn = 3\n')
    found = _match([release], code=A, svn=shown)
    assert (found.release is release) == passes
    if not passes:
        assert found.check.expected == ("svn at least 3",)


def test_a_least_number_needs_the_register() -> None:
    release = _parse('id = "r"\n[[acme]]\ncode = "61616161"\nboot = "any"\nmin_svn = 0\n')
    assert _match([release], code=A).check.actual == ("svn absent",)


@pytest.mark.parametrize(
    "rule",
    [
        'enclave = "61616161"',
        'signer = "61616161"\nproduct = 1\nmin_svn = 0',
        'enclave = "61616161"\nmin_svn = 9',
    ],
)
def test_either_set_of_registers_tells_the_code(rule: str) -> None:
    assert _parse(f'id = "r"\n[[either]]\n{rule}\n').variants["either"]


@pytest.mark.parametrize(
    "rule",
    [
        "",
        'extra = "6161"',
        'signer = "61616161"',
        'signer = "61616161"\nproduct = 1',
        'signer = "61616161"\nmin_svn = 1',
        "product = 1\nmin_svn = 1",
        'signer = "61616161"\nproduct = "any"\nmin_svn = 1',
        'signer = "61616161"\nproduct = 1\nmin_svn = "any"',
        'signer = "any"\nproduct = 1\nmin_svn = 1',
        'enclave = "any"',
    ],
)
def test_half_a_set_of_registers_tells_nothing(rule: str) -> None:
    refused = _refused(f'id = "r"\n[[either]]\n{rule}\n', "config-missing-key")
    assert "signer with product with min_svn" in str(refused)


def test_sgx_is_told_by_measurement_or_by_signer_product_and_version() -> None:
    signer = f'mrsigner = "{"ab" * 32}"'
    Release.parse(f'id = "r"\n[[sgx]]\nmrenclave = "{"ab" * 32}"\n')
    Release.parse(f'id = "r"\n[[sgx]]\n{signer}\nisvprodid = 1\nmin_isvsvn = 2\n')
    for missing in (signer, f"{signer}\nisvprodid = 1", f"{signer}\nmin_isvsvn = 2"):
        with pytest.raises(ConfigurationError):
            Release.parse(f'id = "r"\n[[sgx]]\n{missing}\n')


CODE = 'code = "61616161"\n'
BOOT = 'boot = "any"\n'


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("", "config-missing-key", "id"),
        ('id = "r"', "config-missing-key", "[[tdx]]"),
        ('id = "r"\nacme = []\n', "config-value", "[[acme]]"),
        ('id = "r"\nacme = 3\n', "config-value", "[[acme]]"),
        ('id = "r"\nacme = [3]\n', "config-value", "[[acme]]"),
        (f'id = "r"\n[acme]\n{CODE}{BOOT}', "config-value", "[[acme]]"),
        ('id = "r"\n[[acme]]\n', "config-missing-key", "acme[0].code"),
        (f'id = "r"\n[[acme]]\n{CODE}', "config-missing-key", "acme[0].boot"),
        (f'id = "r"\n[[acme]]\n{BOOT}', "config-missing-key", "acme[0].code"),
        (f'id = "r"\n[[acme]]\ncode = "any"\n{BOOT}', "config-value", "acme[0].code"),
        (f'id = "r"\n[[acme]]\n{CODE}{BOOT}[[acme]]\n{CODE}', "config-missing-key", "acme[1].boot"),
        ('id = "r"\n[[lax]]\n', "config-value", "any code would match"),
        ('id = "r"\n[[lax]]\ncode = "any"\n', "config-value", "any code would match"),
        (f'id = "r"\n[[acme]]\n{CODE}{BOOT}Code = "61616161"\n', "config-unknown-key", "acme[0].Code"),
        (f'id = "r"\n[[acme]]\n{CODE}{BOOT}svn = 3\n', "config-unknown-key", "min_svn"),
        (f'id = "r"\n[[acme]]\n{CODE}{BOOT}{CODE}', "config-syntax", "release"),
        (f'id = "r"\nid = "s"\n[[acme]]\n{CODE}{BOOT}', "config-syntax", "release"),
        (f'id = "r"\nextra = 1\n[[acme]]\n{CODE}{BOOT}', "config-unknown-key", "extra"),
        (f'id = "r"\n[[Acme]]\n{CODE}{BOOT}', "config-unknown-key", "Acme"),
        (f"id = 3\n[[acme]]\n{CODE}{BOOT}", "config-value", "id"),
        (f'id = ""\n[[acme]]\n{CODE}{BOOT}', "config-value", "id"),
        (f'id = "a\\u001b[31m"\n[[acme]]\n{CODE}{BOOT}', "config-value", "id"),
        (f'id = "a\\n"\n[[acme]]\n{CODE}{BOOT}', "config-value", "id"),
        (f'id = "{"a" * 129}"\n[[acme]]\n{CODE}{BOOT}', "config-value", "id"),
        (f'id = "r"\nraw_report_data = "yes"\n[[acme]]\n{CODE}{BOOT}', "config-value", "raw_report_data"),
        (f'id = "r"\nraw_report_data = 1\n[[acme]]\n{CODE}{BOOT}', "config-value", "raw_report_data"),
        (f'id = "r"\nprofile = "open"\n[[acme]]\n{CODE}{BOOT}', "config-value", "profile"),
        ("id = " + "[" * 50_000, "config-syntax", "nested"),
        ("\x00", "config-syntax", "release"),
    ],
)
def test_what_a_release_cannot_say(text: str, code: str, said: str) -> None:
    assert said in str(_refused(text, code))


@pytest.mark.parametrize(
    "value",
    [
        '""',
        '"616161"',
        '"6161616161"',
        '"6161616g"',
        '"0x616161"',
        '"61 61 61"',
        '" 6161616"',
        '"\uff161616161"',
        '"ANY"',
        "61616161",
        "true",
        '["61616161"]',
        '{ value = "61616161" }',
    ],
)
def test_a_value_is_hexadecimal_and_of_its_size(value: str) -> None:
    refused = _refused(f'id = "r"\n[[acme]]\ncode = {value}\n{BOOT}', "config-value")
    assert "acme[0].code" in str(refused)
    assert "8 hexadecimal digits" in str(refused)


@pytest.mark.parametrize("value", ["-1", "65536", "true", "false", '"1"', "1.0", '"0001"', "[1]"])
@pytest.mark.parametrize("key", ["product", "min_svn"])
def test_a_number_is_a_number_of_its_size(key: str, value: str) -> None:
    refused = _refused(f'id = "r"\n[[acme]]\n{CODE}{BOOT}{key} = {value}\n', "config-value")
    assert f"acme[0].{key}" in str(refused)


def test_too_many_variants_are_refused() -> None:
    _refused('id = "r"\n' + f"[[acme]]\n{CODE}{BOOT}" * 257, "config-value")


def test_a_third_party_platform_has_to_be_named_first() -> None:
    with pytest.raises(ConfigurationError) as refused:
        Release.parse(f'id = "r"\n[[acme]]\n{CODE}{BOOT}')
    assert refused.value.code == "config-unknown-key"


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "latin").write_bytes(b'id = "\xe9"')
    (tmp_path / "large").write_bytes(b"#" * (1 << 20) + b"\n")
    for name, code in (
        ("none", "config-unreadable"),
        ("folder", "config-unreadable"),
        ("with\0zero", "config-unreadable"),
        ("latin", "config-syntax"),
        ("large", "config-too-large"),
    ):
        with pytest.raises(ConfigurationError) as refused:
            Release.load(tmp_path / name)
        assert refused.value.code == code
        assert name.replace("\0", "\\x00") in str(refused.value)


def test_the_fingerprint_is_of_what_is_said_not_of_how() -> None:
    one = _parse(f'id = "r"\nversion = ""\n[[acme]]\n{CODE}{BOOT}')
    same = _parse(f'# a comment\nid = "r"\n[[acme]]\n{BOOT}code = "61616161" # another\n')
    assert one.fingerprint == same.fingerprint
    for other in (
        f'id = "s"\n[[acme]]\n{CODE}{BOOT}',
        f'id = "r"\nraw_report_data = true\n[[acme]]\n{CODE}{BOOT}',
        f'id = "r"\n[[acme]]\ncode = "61616162"\n{BOOT}',
        f'id = "r"\n[[acme]]\n{CODE}boot = "61616161"\n',
        f'id = "r"\n[[acme]]\n{CODE}{BOOT}extra = "any"\n',
        f'id = "r"\n[[acme]]\n{CODE}{BOOT}[[acme]]\n{CODE}{BOOT}',
    ):
        assert _parse(other).fingerprint != one.fingerprint


_VALUES = st.sampled_from([A, B, C, D])
_PAIRS = st.tuples(_VALUES, _VALUES)


@given(st.lists(st.lists(_PAIRS, min_size=1, max_size=3), max_size=3), _PAIRS)
def test_a_match_is_a_variant_that_somebody_wrote(
    variants: list[list[tuple[bytes, bytes]]], shown: tuple[bytes, bytes]
) -> None:
    releases = [_release(f"r{number}", *pairs) for number, pairs in enumerate(variants)]
    found = _match(releases, code=shown[0], boot=shown[1])
    first = next((release for release, pairs in zip(releases, variants, strict=True) if shown in pairs), None)
    assert found.release is first
    assert (found.check.status is Status.PASS) == (first is not None)


@given(st.text(max_size=300))
def test_nothing_but_our_errors(text: str) -> None:
    with pytest.raises(ConfigurationError):
        _parse(text)


# ── What a release asks of other systems ──

_DSTACK = f"""
id = "app-1"
layout = "dstack/ratls-cert"

[[nitro]]
pcr0 = "{"00" * 48}"
pcr1 = "{"01" * 48}"
pcr2 = "{"02" * 48}"

[dstack]
compose_hash = ["{"AB" * 32}", "{"cd" * 32}"]
key_provider = ["kms"]
"""
_PCRS = {f"pcr{index}": bytes((index,)) * 48 for index in range(3)}
_FACTS = {"dstack.compose_hash": b"\xab" * 32, "dstack.key_provider": b"kms"}


def test_a_release_asks_for_facts_and_names_its_layout() -> None:
    release = Release.parse(_DSTACK)
    assert release.layout == "dstack/ratls-cert"
    assert release.facts == {
        "dstack.compose_hash": (b"\xab" * 32, b"\xcd" * 32),
        "dstack.key_provider": (b"kms",),
    }
    without = Release.parse(_DSTACK.replace('key_provider = ["kms"]', ""))
    other = Release.parse(_DSTACK.replace('layout = "dstack/ratls-cert"', ""))
    assert len({release.fingerprint, without.fingerprint, other.fingerprint}) == 3


def test_facts_and_registers_are_one_unit() -> None:
    release = Release.parse(_DSTACK)
    good = match([release], "nitro", _PCRS, _FACTS)
    assert good.release is release
    assert "dstack.compose_hash, dstack.key_provider" in explain(good.check)
    assert match([release], "nitro", _PCRS, _FACTS | {"dstack.compose_hash": b"\xcd" * 32}).release is release
    for changed in (
        {"dstack.compose_hash": b"\xcd" * 31},
        {"dstack.key_provider": b"none"},
        {"dstack.key_provider": b""},
        {"dstack.compose_hash": bytes(range(200, 232))},
    ):
        found = match([release], "nitro", _PCRS, _FACTS | changed)
        assert found.release is None
        assert found.check.reason == "executables-mismatch"
        assert found.check.context["registers"] == tuple(changed)
    found = match([release], "nitro", _PCRS, {})
    assert "dstack.key_provider absent" in str(found.check.actual)
    assert "dstack.key_provider kms" in str(found.check.expected)
    found = match([release], "nitro", _PCRS | {"pcr0": bytes(47)}, _FACTS)
    assert found.check.context["registers"] == ("pcr0",)


def test_facts_that_nobody_showed_leave_the_match_open() -> None:
    release = Release.parse(_DSTACK)
    found = match([release], "nitro", _PCRS)
    assert (found.release, found.check.status, found.check.reason) == (
        None,
        Status.SKIPPED,
        "facts-not-shown",
    )
    # A release that asks for none matches all the same, wherever it stands.
    plain = Release.parse(_DSTACK[: _DSTACK.index("[dstack]")].replace("app-1", "app-2"))
    assert match([release, plain], "nitro", _PCRS).release is plain
    # Registers that differ are a mismatch, whatever nobody showed.
    assert match([release], "nitro", _PCRS | {"pcr1": b""}).check.status is Status.FAIL


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("compose_hash", "compose"),
        (f'["{"AB" * 32}", "{"cd" * 32}"]', f'"{"AB" * 32}"'),
        (f'["{"AB" * 32}", "{"cd" * 32}"]', "[]"),
        ("AB" * 32, "AB" * 31),
        ("AB" * 32, "zz" * 32),
        ('["kms"]', '[""]'),
        ('["kms"]', "[1]"),
        ('["kms"]', str(["kms"] * 257)),
        ("[dstack]", "[dstck]"),
        ("[dstack]", "[[dstack]]"),
        (_DSTACK[_DSTACK.index("[dstack]") :], "[dstack]"),
        ("dstack/ratls-cert", "dstack/ratls"),
        ("dstack/ratls-cert", "evidence"),
    ],
)
def test_tables_of_other_systems_are_read_strictly(old: str, new: str) -> None:
    assert old in _DSTACK
    with pytest.raises(ConfigurationError) as refused:
        Release.parse(_DSTACK.replace(old, new))
    assert str(refused.value)
