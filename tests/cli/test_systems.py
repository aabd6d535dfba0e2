# SPDX-License-Identifier: Apache-2.0
"""``nacre verify`` for other systems' evidence, and ``nacre explain`` about them."""

import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from tests.appraisal.systems.guests import (
    COMPOSE,
    COMPOSE_HASH,
    RELEASE,
    attestation,
    certificate,
    guest,
    rows,
    served,
    spki,
)
from tests.platforms.dcap.pki import World, der

import nacre as api
from nacre import cli
from nacre.appraisal import systems
from nacre.cli import quick
from nacre.cli.exits import Exit
from nacre.trust import cbor

Run = Callable[..., subprocess.CompletedProcess[str]]
Shell = Callable[..., tuple[int, str, str]]

NONCE = bytes(range(32))
AT = "2026-06-01T12:00:00Z"
_DSTACK = "1.3.6.1.4.1.62397.1.8"


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Shell:
    """Run a command in this process: its status, what it wrote, and what it complained of."""

    def run(*words: str | Path) -> tuple[int, str, str]:
        status = cli.main([str(word).replace("TMP", str(tmp_path)) for word in words])
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def _prepared(
    folder: Path, world: World, data: bytes, *, layout: str = "dstack/nonce", waive: str = "[]"
) -> list[str]:
    """Lay out a policy, a release, endorsements and the evidence, and return the words that verify it."""
    (folder / "root.der").write_bytes(world.anchor.der)
    head = f'layout = "{layout}"\n' if layout else ""
    table = f'\n[dstack]\ncompose_hash = ["{COMPOSE_HASH.hex()}"]\n'
    (folder / "release.toml").write_text(head + RELEASE + table)
    asked = f'id = "p"\nunsafe_waive = {waive}\nreleases = ["release.toml"]\n'
    (folder / "policy.toml").write_text(f'{asked}[anchors.tdx]\nprivate = ["root.der"]\n')
    (folder / "collateral").mkdir(exist_ok=True)
    for role, document in world.endorsements.documents.items():
        suffix = ".json" if document.startswith(b"{") else ".pem" if document.startswith(b"-") else ".der"
        (folder / "collateral" / (role + suffix)).write_bytes(document)
    (folder / "evidence").write_bytes(data)
    (folder / "app-compose.json").write_bytes(COMPOSE)
    (folder / "nonce").write_bytes(NONCE)
    words = f"verify TMP/evidence -p TMP/policy.toml -e TMP/collateral --offline --at {AT}"
    return words.split()


@pytest.fixture
def dstack(tmp_path: Path) -> list[str]:
    """The words that verify what a guest agent answered to our nonce."""
    world = guest(rows(), NONCE + bytes(32))
    return _prepared(tmp_path, world, served(world.quote, rows()))


_PARTS = ("--part", "nonce=@TMP/nonce", "--part", "app-compose=@TMP/app-compose.json")


def test_a_dstack_application_is_verified(shell: Shell, dstack: list[str]) -> None:
    status, out, err = shell(*dstack, *_PARTS)
    assert (status, err) == (Exit.ACCEPTED, "")
    assert out.startswith("VERIFIED  PRIVATE Intel TDX evidence")
    assert "  system    dstack\n  layout    dstack/nonce\n" in out
    assert "dstack, by the evidence\n" in out
    assert f"compose_hash     {COMPOSE_HASH.hex()}" in out
    assert "Compose file is the measured one" in out
    assert out.count("Not proven: ") >= 4


def test_json_names_system_layout_and_what_is_open(shell: Shell, dstack: list[str]) -> None:
    status, out, _ = shell(*dstack, *_PARTS, "--json")
    assert status == Exit.ACCEPTED
    foreign = json.loads(out)["foreign"]
    assert (foreign["system"], foreign["layout"]) == ("dstack", "dstack/nonce")
    assert foreign["unprotected"] == ["relay", "diversion", "reflection"]
    assert foreign["facts"]["compose_hash"] == COMPOSE_HASH.hex()
    assert foreign["facts"]["key_provider"] == "kms"


def test_a_system_and_a_layout_can_be_named(shell: Shell, dstack: list[str]) -> None:
    assert shell(*dstack, "--as", "dstack", *_PARTS)[0] == Exit.ACCEPTED
    assert shell(*dstack, "--as", "dstack/nonce", "--part", f"nonce={NONCE.hex()}")[0] == Exit.ACCEPTED
    status, out, _ = shell(*dstack, "--as", "dstack/app-data", "--part", "data=00")
    assert status == Exit.REJECTED
    assert "[layout-undeclared]" in out
    assert 'layout = "dstack/app-data"' in out


def test_without_parts_the_verdict_stays_open(shell: Shell, dstack: list[str]) -> None:
    status, out, _ = shell(*dstack)
    assert status == Exit.INCOMPLETE
    assert "[binding-not-given]" in out


def test_a_wrong_nonce_or_file_is_refused(shell: Shell, dstack: list[str], tmp_path: Path) -> None:
    assert shell(*dstack, "--part", f"nonce={bytes(32).hex()}")[0] == Exit.REJECTED
    (tmp_path / "app-compose.json").write_bytes(COMPOSE + b"\n")
    status, out, _ = shell(*dstack, *_PARTS)
    assert status == Exit.REJECTED
    assert "[compose-mismatch]" in out


def test_a_certificate_is_recognised(shell: Shell, tmp_path: Path) -> None:
    digest = hashlib.sha512(b"ratls-cert:" + spki()).digest()
    world = guest(rows(), digest)
    made = certificate({_DSTACK: der(0x04, attestation(world.quote, rows()))})
    words = _prepared(tmp_path, world, made, layout="dstack/ratls-cert", waive='["freshness"]')
    status, out, _ = shell(*words)
    assert status == Exit.WARNING
    assert "dstack, by its own word\n" in out
    assert hashlib.sha256(spki()).hexdigest() in out
    assert "it may be of any age" in " ".join(out.split())
    (tmp_path / "key").write_bytes(spki("connection"))
    assert shell(*words, "--part", "key=@TMP/key")[0] == Exit.REJECTED
    assert shell(*words, "--as", "gramine")[0] == Exit.MALFORMED


def test_documents_that_came_along_serve_where_nothing_else_may(shell: Shell, tmp_path: Path) -> None:
    key_hash = cbor.dumps([1, hashlib.sha256(spki()).digest()])
    claims = cbor.dumps({"pubkey-hash": key_hash})
    world = World(report={"report_data": hashlib.sha256(claims).digest()})
    documents = world.endorsements.documents
    places = ("tcb_info", "tcb_info_issuer_chain", "pck_crl", "root_ca_crl", "pck_crl_issuer_chain")
    listed = [documents[role] for role in (*places, "qe_identity", "qe_identity_issuer_chain")]
    tag = b"\xd9\xea\x60"
    made = certificate(
        {
            "2.23.133.5.4.9": tag + cbor.dumps([world.quote, claims]),
            "2.23.133.5.4.2": tag + cbor.dumps([1, *listed]),
        }
    )
    words = _prepared(tmp_path, world, made, layout="ra-tls/key", waive='["freshness"]')
    (tmp_path / "release.toml").write_text('layout = "ra-tls/key"\n' + RELEASE)
    without = [word for word in words if word not in ("-e", "TMP/collateral")]
    status, out, _ = shell(*without)
    assert (status, out.partition("\n")[0]) == (Exit.WARNING, "WARNING  PRIVATE Intel TDX evidence")
    # What the user gives goes before.
    (tmp_path / "collateral" / "tcb_info.json").unlink()
    assert shell(*words)[0] == Exit.INCOMPLETE


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--part", "nonce"), "NAME=HEX or NAME=@FILE"),
        (("--part", "=00"), "NAME=HEX or NAME=@FILE"),
        (("--part", "nonce=zz"), "NAME=HEX or NAME=@FILE"),
        (("--part", "nonce=@TMP/missing"), "missing"),
        (("--part", "nonce=00", "--part", "nonce=00"), "given twice"),
        (("--part", "other=00"), "no part called other"),
        (("--part", "key=00"), "not clear which layout"),
        (("--part", "nonce=00"), "16 to 32 bytes"),
        (("--as", "dtack"), "no system is called dtack"),
        (("--as", "dstack/other"), "no layout is called dstack/other"),
        ((*_PARTS, "--nonce", NONCE.hex()), "--nonce is a binding of its own"),
    ],
)
def test_mistakes_are_told(
    shell: Shell, dstack: list[str], tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    if words[-1] == "key=00":
        text = (tmp_path / "release.toml").read_text().replace('layout = "dstack/nonce"\n', "")
        (tmp_path / "release.toml").write_text(text)
    status, out, err = shell(*dstack, *words)
    assert (status, out) == (Exit.USAGE, "")
    assert message in " ".join(err.split())


def test_parts_need_an_envelope(shell: Shell, dstack: list[str], tmp_path: Path) -> None:
    (tmp_path / "evidence").write_bytes(guest(rows(), NONCE + bytes(32)).quote)
    status, _, err = shell(*dstack, "--part", "nonce=00")
    assert status == Exit.USAGE
    assert "--as" in err
    status, out, _ = shell(*dstack, "--as", "dstack", "--part", f"nonce={NONCE.hex()}")
    assert status == Exit.INCOMPLETE
    assert "[facts-not-shown]" in out


def test_junk_stays_unsupported(shell: Shell, dstack: list[str], tmp_path: Path) -> None:
    (tmp_path / "evidence").write_bytes(b"{}")
    status, out, _ = shell(*dstack)
    assert status == Exit.UNSUPPORTED
    assert "[evidence-unrecognised]" in out


def test_a_malformed_envelope_has_a_result_too(shell: Shell, dstack: list[str], tmp_path: Path) -> None:
    (tmp_path / "evidence").write_bytes(b'{"quote": "zz", "event_log": "[]"}')
    for words in ((), ("--at", AT)):
        status, out, err = shell(*dstack[:-2], *words, "--json")
        assert (status, err) == (Exit.MALFORMED, "")
        document = json.loads(out)
        assert document["verdict"] == "REJECTED"
        assert document["error"]["code"] == "hex-invalid"
        assert document["evidence"] == hashlib.sha256((tmp_path / "evidence").read_bytes()).hexdigest()
    unread = attestation(b"", variant=0)[:1] + b"\x07"
    (tmp_path / "evidence").write_bytes(unread)
    status, out, _ = shell(*dstack, "--as", "dstack")
    assert status == Exit.UNSUPPORTED
    assert "[dstack-platform]" in out


def test_endorsements_are_packed_for_envelopes(shell: Shell, dstack: list[str], tmp_path: Path) -> None:
    packed = tmp_path / "packed.json"
    words = ("endorsements", "pack", tmp_path / "evidence", "--from", tmp_path / "collateral", "-o", packed)
    assert shell(*words)[0] == Exit.ACCEPTED
    at = dstack.index("-e")
    assert shell(*dstack[:at], "-e", packed, *dstack[at + 2 :], *_PARTS)[0] == Exit.ACCEPTED


def test_both_readers_of_command_lines_agree(dstack: list[str]) -> None:
    request = quick.parse([*dstack[1:], *_PARTS, "-v", "-v", "--as", "dstack"])
    assert request is not None
    assert (request.system, request.verbose) == ("dstack", 2)
    assert request.part == (_PARTS[1], _PARTS[3])
    assert quick.parse([*dstack[1:], "--part"]) is None
    assert quick.parse([*dstack[1:], "--as", "a", "--as", "b"]) is None


def test_a_process_of_its_own(nacre: Run, dstack: list[str], tmp_path: Path) -> None:
    words = [word.replace("TMP", str(tmp_path)) for word in (*dstack, *_PARTS)]
    ran = nacre(*words)
    assert (ran.returncode, ran.stderr) == (Exit.ACCEPTED, "")
    # click reads them alike.
    slow = nacre("verify", f"--part={words[-1]}", *words[1:-2])
    assert (slow.returncode, slow.stdout) == (Exit.ACCEPTED, ran.stdout)


def test_python_opens_envelopes_too(tmp_path: Path, dstack: list[str]) -> None:
    del dstack
    policy = api.Policy.load(tmp_path / "policy.toml")
    envelope = api.unwrap((tmp_path / "evidence").read_bytes(), name="dstack/nonce", given={"nonce": NONCE})
    assert isinstance(envelope, api.Envelope)
    known = api.Endorsements(guest(rows(), NONCE + bytes(32)).endorsements.documents)
    at = 1_780_315_200
    result = api.verify(envelope, policy=policy, endorsements=known, at=at)
    assert result.verdict is api.Verdict.VERIFIED
    verifier = api.Verifier(policy, endorsements=known, clock=lambda: at)
    assert verifier.verify(envelope).foreign == result.foreign
    other = api.unwrap((tmp_path / "evidence").read_bytes(), name="dstack/nonce", given={"nonce": bytes(32)})
    refused = api.appraise(other, policy=policy, endorsements=known, at=at)
    assert refused.verdict is api.Verdict.REJECTED
    # Without endorsements of its own a verifier still knows what it cannot check.
    offline = api.Verifier(policy, clock=lambda: at, offline=True)
    assert offline.appraise(envelope).verdict is api.Verdict.INCOMPLETE
    junk = msgspec.structs.replace(envelope, opened=msgspec.structs.replace(envelope.opened, evidence=b"?"))
    assert offline.appraise(junk).check("evidence") is not None


def test_what_is_inside_can_be_inspected(shell: Shell, dstack: list[str], tmp_path: Path) -> None:
    del dstack
    status, out, _ = shell("inspect", tmp_path / "evidence")
    assert status == Exit.ACCEPTED
    assert "Intel TDX evidence" in out
    assert NONCE.hex() in out
    (tmp_path / "evidence").write_bytes(b"{}")
    assert shell("inspect", tmp_path / "evidence")[0] == Exit.UNSUPPORTED


# ── nacre explain ──


def test_systems_are_listed(shell: Shell) -> None:
    status, out, _ = shell("explain", "--systems")
    assert status == Exit.ACCEPTED
    for layout in systems.layouts():
        assert layout.name in out
    listed = json.loads(shell("explain", "--systems", "--json")[1])
    assert [one["system"] for one in listed] == list(systems.names())


@pytest.mark.parametrize("name", systems.names())
def test_every_system_is_explained(shell: Shell, name: str) -> None:
    status, out, _ = shell("explain", name)
    assert status == Exit.ACCEPTED
    assert out.startswith(f"{name} (system)")
    assert "``" not in out
    for fact in systems.get(name).facts:
        assert f"  {fact.name}" in out
    told = msgspec.json.decode(shell("explain", name, "--json")[1])
    assert told["about"] == systems.about(name)
    assert [one["name"] for one in told["layouts"]] == [one.name for one in systems.get(name).layouts]


def test_a_mistyped_system_is_guessed(shell: Shell) -> None:
    status, _, err = shell("explain", "dstak")
    assert status == Exit.USAGE
    assert "did you mean dstack?" in err
    status, _, err = shell("explain", "dstack", "--systems")
    assert status == Exit.USAGE
    assert "--systems lists them all" in err
