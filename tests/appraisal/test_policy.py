# SPDX-License-Identifier: Apache-2.0
"""Policies: what is not said is not assumed, and whatever is given up is given up by name."""

import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from nacre import platforms
from nacre.appraisal.policy import WAIVABLE, Policy
from nacre.appraisal.release import match
from nacre.appraisal.verdict import Verdict
from nacre.checks import Check, Status
from nacre.errors import ConfigurationError
from nacre.trust.anchors import Origin, vendor_anchor

RELEASE = 'id = "r"\n[[acme]]\ncode = "61616161"\nboot = "any"\n'
INLINE = '[[release]]\nid = "r"\n[[release.acme]]\ncode = "61616161"\nboot = "any"\n'
ACME = 'platforms = ["acme"]\n'


def _root(name: str) -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2040, 1, 1, tzinfo=UTC))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with a release and some roots."""
    folder = tmp_path_factory.mktemp("policies")
    (folder / "release.toml").write_text(RELEASE)
    (folder / "other.toml").write_text(RELEASE.replace('id = "r"', 'id = "s"'))
    one, other = _root("one"), _root("other")
    (folder / "one.der").write_bytes(one.public_bytes(Encoding.DER))
    (folder / "one.pem").write_bytes(one.public_bytes(Encoding.PEM))
    (folder / "other.der").write_bytes(other.public_bytes(Encoding.DER))
    (folder / "both.pem").write_bytes(one.public_bytes(Encoding.PEM) + other.public_bytes(Encoding.PEM))
    (folder / "intel.der").write_bytes(vendor_anchor("intel-sgx-root-ca").der)
    (folder / "broken.der").write_bytes(one.public_bytes(Encoding.DER)[:-1])
    (folder / "broken.pem").write_bytes(b"-----BEGIN NOTHING-----\n")
    (folder / "empty.der").write_bytes(b"")
    (folder / "large.der").write_bytes(bytes(1 << 17))
    return folder


def _refused(text: str, code: str, base: Path | None = None) -> str:
    with pytest.raises(ConfigurationError) as refused:
        Policy.parse(text, base=base)
    assert refused.value.code == code, str(refused.value)
    return str(refused.value)


def test_the_default_names_no_release_and_waives_nothing() -> None:
    policy = Policy.default()
    assert policy.id == "default"
    assert policy.accept is Verdict.VERIFIED
    assert policy.unsafe_waive == ()
    assert policy.releases == ()
    assert policy.platforms == platforms.builtin_names()
    assert policy.max_age is None
    assert not policy.require_isolated
    assert policy.outsiders == ()
    for name in policy.platforms:
        assert match(policy.releases, name, {}).check.status is Status.SKIPPED
        assert policy.section(name) == platforms.get(name).policy()
        assert policy.anchors_for(name) == platforms.get(name).anchors()


def test_an_empty_policy_says_what_the_default_says() -> None:
    policy, default = Policy.parse(""), Policy.default()
    for name in ("accept", "unsafe_waive", "releases", "platforms", "max_age", "outsiders"):
        assert getattr(policy, name) == getattr(default, name)


def test_a_policy_is_read_whole(folder: Path) -> None:
    file = folder / "policy.toml"
    file.write_text(
        'id = "mine"\naccept = "WARNING"\nunsafe_waive = ["freshness"]\n'
        'releases = ["release.toml", "other.toml"]\nplatforms = ["acme", "tdx"]\nmax_age = "5m"\n'
        '[acme]\nmodels = ["A1"]\n[anchors.acme]\nprivate = ["one.der"]\n'
    )
    policy = Policy.load(str(file))
    assert policy.id == "mine"
    assert policy.accept is Verdict.WARNING
    assert policy.unsafe_waive == ("freshness",)
    assert [release.id for release in policy.releases] == ["r", "s"]
    assert policy.platforms == ("acme", "tdx")
    assert policy.outsiders == ("acme",)
    assert policy.max_age == 300
    assert getattr(policy.section("acme"), "models") == ("A1",)  # noqa: B009 (a third party's record)
    assert [anchor.origin for anchor in policy.anchors_for("acme")] == [Origin.GENUINE, Origin.PRIVATE]


def test_sections_and_anchors_are_made_once() -> None:
    policy = Policy.parse(ACME)
    assert policy.section("acme") is policy.section("acme")
    assert policy.anchors_for("acme") is policy.anchors_for("acme")


def test_releases_can_be_written_in_the_policy(folder: Path) -> None:
    inline = Policy.parse(ACME + INLINE)
    assert inline.releases == Policy.parse(f'{ACME}releases = ["release.toml"]', base=folder).releases
    both = f'{ACME}releases = ["other.toml"]\n{INLINE}'
    assert [release.id for release in Policy.parse(both, base=folder).releases] == ["s", "r"]


def test_platforms_are_those_of_the_releases() -> None:
    tdx = (
        f'mrtd = "{"ab" * 48}"\nrtmr0 = "any"\nrtmr1 = "{"cd" * 48}"\nrtmr2 = "{"ef" * 48}"\nrtmr3 = "any"\n'
    )
    text = f'[[release]]\nid = "r"\n[[release.tdx]]\n{tdx}'
    assert Policy.parse(text).platforms == ("tdx",)
    assert Policy.parse(f'platforms = ["sgx"]\n{text}').platforms == ("sgx",)


@pytest.mark.parametrize(
    ("age", "seconds"),
    [("1", 1), ("3600", 3600), ('"30s"', 30), ('"5m"', 300), ('"2h"', 7200), ('"1d"', 86400)],
)
def test_ages(age: str, seconds: int) -> None:
    assert Policy.parse(f"max_age = {age}").max_age == seconds


@pytest.mark.parametrize(
    "age",
    [
        "0",
        "-1",
        "1.5",
        "true",
        '""',
        '"5"',
        '"m"',
        '"0m"',
        '"-5m"',
        '"5 m"',
        '"5M"',
        '"1h30m"',
        '"5m\\n"',
        '"\u0665m"',
        '"9999999999s"',
    ],
)
def test_ages_that_say_nothing(age: str) -> None:
    assert "max_age" in _refused(f"max_age = {age}", "config-value")


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ('acept = "WARNING"', "config-unknown-key", "acept"),
        ('accept = "warning"', "config-value", "accept"),
        ('accept = "INCOMPLETE"', "config-value", "accept"),
        ('accept = "REJECTED"', "config-value", "accept"),
        ('accept = ["VERIFIED"]', "config-value", "accept"),
        ('accept = "VERIFIED"\naccept = "WARNING"', "config-syntax", "policy"),
        ('unsafe_waive = "freshness"', "config-value", "unsafe_waive"),
        ('unsafe_waive = ["debug"]', "config-value", "unsafe_waive"),
        ('unsafe_waive = ["everything"]', "config-value", "unsafe_waive"),
        ('unsafe_waive = ["dcap.quote-signature"]', "config-value", "unsafe_waive"),
        ('unsafe_waive = ["freshness", "freshness"]', "config-value", "there twice"),
        ('waive = ["freshness"]', "config-unknown-key", "waive"),
        ("releases = []", "config-value", "releases"),
        ("release = []", "config-value", "release"),
        ("platforms = []", "config-value", "platforms"),
        ('platforms = ["tdx", "tdx"]', "config-value", "there twice"),
        ('platforms = ["sev"]', "platform-unknown", "sev"),
        ("id = 3", "config-value", "id"),
        ('id = ""', "config-value", "id"),
        ('id = "a\\u001b[2J"', "config-value", "id"),
        ("[acme]", "config-unknown-key", "acme"),
        (f"{ACME}acme = 3", "config-value", "acme"),
        (f"{ACME}acme = []", "config-value", "acme"),
        (f"{ACME}[acme]\nmodel = []", "config-unknown-key", "acme.model"),
        (f"{ACME}[acme]\nmodels = [3]", "config-value", "acme.models[0]"),
        (f"{ACME}[acme]\nstrict = 1", "config-value", "acme.strict"),
        (f"{ACME}[acme]\nstrict = true\n[acme]\nstrict = false", "config-syntax", "policy"),
        ("[anchors]\nprivate = []", "config-value", "anchors"),
        ("[anchors.tdx]\ngenuin = false", "config-unknown-key", "anchors.tdx.genuin"),
        ("[anchors.tdx]\ngenuine = false", "config-value", "no root is left"),
        ("[anchors.tdx]\nprivate = []", "config-value", "anchors.tdx.private"),
        ("[anchors.sev]\ngenuine = true", "config-unknown-key", "anchors.sev"),
        ("[anchors.acme]\ngenuine = true", "config-unknown-key", "anchors.acme"),
        (f"{ACME}{INLINE}{INLINE}", "config-value", "r is there twice"),
        (INLINE, "config-unknown-key", "release[0].acme"),
        (f"{ACME}{INLINE}svn = 1", "config-unknown-key", "release[0].acme[0].svn"),
        (f'{ACME}[[release]]\nid = "r"\n', "config-missing-key", "release[0]."),
        ("a." * 300 + "b = 1", "config-syntax", "dots in line 1"),
        ("x = " + "[" * 50_000, "config-syntax", "nested"),
        ("#" * ((1 << 20) + 1), "config-too-large", "bytes"),
    ],
)
def test_what_a_policy_cannot_say(text: str, code: str, said: str) -> None:
    assert said in _refused(text, code)


def test_what_a_platform_refuses_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text('[tdx]\naccept_tcb_status = ["Revoked"]\n')
    with pytest.raises(ConfigurationError) as refused:
        Policy.load(file)
    assert refused.value.context["file"] == str(file)


def test_a_third_party_platform_is_used_only_if_it_is_named() -> None:
    assert Policy.parse("").outsiders == ()
    assert Policy.parse(ACME).outsiders == ("acme",)
    assert Policy.parse('platforms = ["tdx"]').outsiders == ()


def test_a_policy_that_is_no_file_reads_no_files(folder: Path) -> None:
    for line in (
        'releases = ["release.toml"]',
        f'releases = ["{folder / "release.toml"}"]',
        '[anchors.tdx]\nprivate = ["one.der"]',
        f'[anchors.tdx]\nsimulated = ["{folder / "one.der"}"]',
    ):
        assert "no files" in _refused(ACME + line, "config-value")


def test_files_that_cannot_be_read(folder: Path) -> None:
    for name in ("none.toml", "", "."):
        with pytest.raises(ConfigurationError) as refused:
            Policy.load(folder / name)
        assert refused.value.code == "config-unreadable"
    assert "none.toml" in _refused(f'{ACME}releases = ["none.toml"]', "config-unreadable", folder)
    assert "none.der" in _refused('[anchors.tdx]\nprivate = ["none.der"]', "config-unreadable", folder)
    assert "large.der" in _refused('[anchors.tdx]\nprivate = ["large.der"]', "config-too-large", folder)


@pytest.mark.parametrize("kind", ["private", "simulated"])
@pytest.mark.parametrize("file", ["one.der", "one.pem"])
def test_roots_are_worth_what_the_policy_calls_them(folder: Path, kind: str, file: str) -> None:
    policy = Policy.parse(f'[anchors.tdx]\n{kind} = ["{file}"]', base=folder)
    vendor, own = policy.anchors_for("tdx")
    assert vendor.origin is Origin.GENUINE
    assert own.origin is Origin(kind)
    assert own.der == (folder / "one.der").read_bytes()
    assert own.name == file


def test_a_root_is_trusted_for_its_platform_only(folder: Path) -> None:
    policy = Policy.parse('[anchors.tdx]\nprivate = ["one.der"]', base=folder)
    for name in ("sgx", "nitro"):
        assert all(anchor.origin is Origin.GENUINE for anchor in policy.anchors_for(name))


def test_vendor_roots_can_be_left_out(folder: Path) -> None:
    policy = Policy.parse('[anchors.tdx]\ngenuine = false\nsimulated = ["one.der"]', base=folder)
    assert [anchor.origin for anchor in policy.anchors_for("tdx")] == [Origin.SIMULATED]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ('private = ["intel.der"]', "vendor's root"),
        ('genuine = false\nsimulated = ["intel.der"]', "vendor's root"),
        ('private = ["one.der", "one.pem"]', "there twice"),
        ('private = ["one.der"]\nsimulated = ["one.der"]', "there twice"),
        ('private = ["both.pem"]', "not one certificate"),
        ('private = ["broken.der"]', "not one certificate"),
        ('private = ["broken.pem"]', "not one certificate"),
        ('private = ["empty.der"]', "not one certificate"),
        ('private = ["release.toml"]', "not one certificate"),
    ],
)
def test_what_is_no_root(folder: Path, lines: str, said: str) -> None:
    assert said in _refused(f"[anchors.tdx]\n{lines}", "config-value", folder)


def test_the_identifier_is_of_all_that_is_asked(folder: Path) -> None:
    texts = [
        "",
        'accept = "WARNING"',
        'unsafe_waive = ["freshness"]',
        'unsafe_waive = ["binding"]',
        "max_age = 60",
        'platforms = ["tdx"]',
        ACME,
        f'{ACME}releases = ["release.toml"]',
        f'{ACME}releases = ["other.toml"]',
        f"{ACME}[acme]\nstrict = false",
        '[anchors.tdx]\nprivate = ["one.der"]',
        '[anchors.tdx]\nprivate = ["other.der"]',
        '[anchors.tdx]\nsimulated = ["one.der"]',
        '[anchors.tdx]\ngenuine = false\nprivate = ["one.der"]',
        '[anchors.sgx]\nprivate = ["one.der"]',
    ]
    identifiers = {Policy.parse(text, base=folder).id for text in texts}
    assert len(identifiers) == len(texts)
    assert all(identifier.startswith("sha256:") for identifier in identifiers)


@pytest.mark.parametrize(
    ("one", "same"),
    [
        ("max_age = 300", '# five minutes\nmax_age = "5m"'),
        ('unsafe_waive = ["binding", "freshness"]', 'unsafe_waive = ["freshness", "binding"]'),
        (f'{ACME}releases = ["release.toml"]', ACME + INLINE),
        ('[anchors.tdx]\nprivate = ["one.der"]', '[anchors.tdx]\nprivate = ["one.pem"]'),
    ],
)
def test_the_identifier_does_not_depend_on_layout(folder: Path, one: str, same: str) -> None:
    assert Policy.parse(one, base=folder).id == Policy.parse(same, base=folder).id


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("check", [*WAIVABLE, "debug", "evidence", "tdx.attributes"])
def test_a_waiver_never_covers_evidence_that_contradicts(check: str, status: Status) -> None:
    every = Policy.parse(f"unsafe_waive = {list(WAIVABLE)!r}")
    waived = every.waives(Check(check, status))
    old = check in ("freshness", "currency") and status in (Status.SKIPPED, Status.FAIL)
    assert waived == (old or (check in WAIVABLE and status is Status.SKIPPED))
    assert not Policy.default().waives(Check(check, status))


def test_a_waiver_covers_its_own_check_only() -> None:
    policy = Policy.parse('unsafe_waive = ["freshness"]')
    assert policy.waives(Check("freshness", Status.SKIPPED))
    for other in set(WAIVABLE) - {"freshness"}:
        assert not policy.waives(Check(other, Status.SKIPPED))


def test_hostile_documents_cost_little() -> None:
    line = "a" + ".a" * 255 + " = 1\n"
    started = time.process_time()
    for text in (
        line * (1 << 11),
        "[" + "a." * 254 + "a]\n",
        "x = [" + "[]," * 300_000 + "]",
        "a" * (1 << 20),
    ):
        with pytest.raises(ConfigurationError):
            Policy.parse(text)
    assert time.process_time() - started < 10


@given(st.text(max_size=300))
def test_nothing_but_our_errors(text: str) -> None:
    try:
        Policy.parse(text)
    except ConfigurationError as error:
        assert str(error)  # noqa: PT017 (most texts are refused, a few are comments)


def test_isolation_can_be_required() -> None:
    wanted = Policy.parse("require_isolated = true")
    assert wanted.require_isolated
    assert Policy.parse("require_isolated = false").id == Policy.parse("").id != wanted.id
    assert "require_isolated" in _refused('require_isolated = "yes"', "config-value")
