# SPDX-License-Identifier: Apache-2.0
"""``nacre verify``: verdicts, exit statuses, and what people read."""

import base64
import json
import os
import pty
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from nacre import platforms
from nacre.cli.exits import Exit

Run = Callable[..., subprocess.CompletedProcess[str]]
Recorded = Callable[..., list[str]]

#: The moment at which each recorded evidence of examples/verify was good.
MOMENTS = {
    "sgx": "2025-08-30T05:09:00Z",
    "tdx": "2026-02-14T00:17:00Z",
    "snp": "2025-09-20T09:10:50Z",
    "nitro": "2025-12-25T16:04:20Z",
}


@pytest.mark.parametrize("platform", list(MOMENTS))
def test_real_evidence_is_accepted_and_the_waivers_are_told(
    nacre: Run, recorded: Recorded, platform: str
) -> None:
    ran = nacre(*recorded(platform))
    assert ran.returncode == Exit.ACCEPTED
    assert ran.stderr == ""
    first, *rest = ran.stdout.splitlines()
    assert first.startswith("WARNING  GENUINE ")
    assert first.endswith("(accepted: the policy accepts WARNING)")
    assert "  given up  Evidence is bound" in ran.stdout
    assert f"as of {MOMENTS[platform]}, not now" in ran.stdout
    (limit,) = [line for line in rest if line.startswith("Not proven: ")]
    assert platforms.get(platform).not_proven.startswith(limit.removeprefix("Not proven: "))
    assert "✗" not in ran.stdout


@pytest.mark.parametrize("platform", list(MOMENTS))
def test_tampered_twins_are_rejected_at_a_named_check(nacre: Run, recorded: Recorded, platform: str) -> None:
    twin = "tampered.cbor" if platform == "nitro" else "tampered.bin"
    ran = nacre(*recorded(platform, twin))
    assert ran.returncode == Exit.REJECTED
    assert ran.stdout.startswith("REJECTED  ")
    assert "origin was not established" in ran.stdout.splitlines()[0]
    assert ran.stdout.count("✗") == 1
    assert "[signature-invalid]" in ran.stdout
    assert "further checks were not reached" in ran.stdout


def test_without_a_policy_nothing_is_accepted(nacre: Run, examples: Path) -> None:
    folder = examples / "tdx"
    words = ("verify", folder / "quote.bin", "-e", folder / "endorsements", "--at", MOMENTS["tdx"])
    ran = nacre(*words)
    assert ran.returncode == Exit.INCOMPLETE
    assert ran.stdout.startswith("INCOMPLETE  GENUINE Intel TDX evidence")


def test_a_warning_that_nobody_accepts(
    nacre: Run, examples: Path, tmp_path: Path, recorded: Recorded
) -> None:
    text = (examples / "tdx" / "policy.toml").read_text().replace('accept = "WARNING"', "")
    (tmp_path / "policy.toml").write_text(text)
    (tmp_path / "release.toml").write_bytes((examples / "tdx" / "release.toml").read_bytes())
    words = recorded("tdx")
    words[3] = str(tmp_path / "policy.toml")
    ran = nacre(*words)
    assert ran.returncode == Exit.WARNING
    assert ran.stdout.splitlines()[0] == "WARNING  GENUINE Intel TDX evidence"


def test_a_private_root_is_said_first(nacre: Run, vectors: Path, tmp_path: Path) -> None:
    case = vectors / "tdx" / "syn-status-uptodate"
    (tmp_path / "root.der").write_bytes((case / "root_ca.der").read_bytes())
    (tmp_path / "policy.toml").write_text('[anchors.tdx]\nprivate = ["root.der"]\n')
    ran = nacre(
        *("verify", case / "quote.bin", "-p", tmp_path / "policy.toml", "-e", case),
        *("--at", json.loads((case / "case.json").read_text())["time"]),
    )
    assert ran.stdout.startswith("INCOMPLETE  PRIVATE Intel TDX evidence")


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", Exit.UNSUPPORTED),
        (b"{}", Exit.UNSUPPORTED),
        (b"\x00" * 2_000_000, Exit.MALFORMED),
    ],
    ids=["empty", "foreign", "huge"],
)
def test_what_is_no_evidence(nacre: Run, content: bytes, status: Exit) -> None:
    ran = nacre("verify", "-", "--offline", stdin=content)
    assert ran.returncode == status
    assert "Traceback" not in ran.stdout + ran.stderr


def test_truncated_evidence_is_malformed(nacre: Run, examples: Path, recorded: Recorded) -> None:
    data = (examples / "sgx" / "quote.bin").read_bytes()[:-1]
    words = recorded("sgx")
    words[1] = "-"
    ran = nacre(*words, stdin=data)
    assert ran.returncode == Exit.MALFORMED
    assert "ends early" in ran.stdout


def test_endless_input_is_not_read_to_its_end(nacre: Run) -> None:
    began = time.monotonic()
    ran = nacre("verify", "/dev/zero", "--offline")
    assert ran.returncode == Exit.MALFORMED
    assert time.monotonic() - began < 60
    assert ran.stderr.startswith("error: /dev/zero has more than 1048576 bytes")


def test_stdin(nacre: Run, recorded: Recorded) -> None:
    words = recorded("tdx")
    data = Path(words[1]).read_bytes()
    words[1] = "-"
    assert nacre(*words, stdin=data).returncode == Exit.ACCEPTED


def test_unreachable_endorsers(nacre: Run, examples: Path) -> None:
    ran = nacre("verify", examples / "tdx" / "quote.bin", "-p", examples / "tdx" / "policy.toml")
    assert ran.returncode == Exit.UNAVAILABLE
    assert ran.stdout.startswith("INCOMPLETE")


def test_offline_without_endorsements(nacre: Run, examples: Path) -> None:
    ran = nacre("verify", examples / "tdx" / "quote.bin", "--offline")
    assert ran.returncode == Exit.UNAVAILABLE
    assert "Traceback" not in ran.stderr


def test_offline_tampered_evidence_is_rejected_all_the_same(nacre: Run, examples: Path) -> None:
    assert nacre("verify", examples / "tdx" / "tampered.bin", "--offline").returncode == Exit.REJECTED


@pytest.mark.parametrize(
    "words",
    [
        ("--json", "--ear", "--ear-key", "key.pem"),
        ("--ear",),
        ("--ear-key", "key.pem"),
        ("--identity", "file"),
        ("-q", "-v"),
        ("--nonce", "abcd"),
        ("--nonce", "@absent"),
        ("--at", "yesterday"),
        ("--at", "2026-02-14"),
        ("--at", "2026-02-14T00:00:00"),
        ("--policy", "absent.toml"),
        ("--endorsements", "absent"),
        ("--colour",),
        ("second",),
    ],
    ids=" ".join,
)
def test_mistakes_of_usage(nacre: Run, examples: Path, words: tuple[str, ...]) -> None:
    ran = nacre("verify", examples / "nitro" / "document.cbor", *words)
    assert ran.returncode == Exit.USAGE
    assert ran.stdout == ""
    assert ran.stderr.startswith("error: ")
    assert "Traceback" not in ran.stderr


def test_evidence_that_cannot_be_read(nacre: Run, tmp_path: Path) -> None:
    for path, said in (
        (tmp_path, "is a directory"),
        (tmp_path / "absent", "there is no file"),
        (tmp_path / ("n" * 300), "cannot be read"),
    ):
        ran = nacre("verify", path)
        assert ran.returncode == Exit.USAGE
        assert said in ran.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_evidence_that_may_not_be_read(nacre: Run, tmp_path: Path) -> None:
    (tmp_path / "secret").touch(mode=0o000)
    assert "Permission denied" in nacre("verify", tmp_path / "secret").stderr


def test_nonce_of_somebody_else(nacre: Run, recorded: Recorded, tmp_path: Path) -> None:
    (tmp_path / "nonce").write_bytes(bytes(range(32)))
    for nonce in ("00" * 32, f"@{tmp_path / 'nonce'}"):
        ran = nacre(*recorded("tdx"), "--nonce", nonce)
        assert ran.returncode == Exit.REJECTED
        assert "[binding-mismatch]" in ran.stdout


def test_json(nacre: Run, recorded: Recorded) -> None:
    ran = nacre(*recorded("sgx"), "--json")
    assert ran.returncode == Exit.ACCEPTED
    found = json.loads(ran.stdout)
    assert found["schema"] == "nacre-result/v1"
    assert (found["verdict"], found["origin"], found["platform"]) == ("WARNING", "genuine", "sgx")
    assert found["at"] == MOMENTS["sgx"]
    assert {check["status"] for check in found["checks"]} <= {"pass", "waived", "not-applicable"}
    assert all(check["explanation"] for check in found["checks"])


def test_json_of_a_twin(nacre: Run, recorded: Recorded) -> None:
    found = json.loads(nacre(*recorded("sgx", "tampered.bin"), "--json").stdout)
    assert (found["verdict"], found["origin"], found["claims"]) == ("REJECTED", None, None)


def _pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def test_ear(nacre: Run, recorded: Recorded, tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "key.pem").write_bytes(_pem(key))
    ran = nacre(*recorded("tdx"), "--ear", "--ear-key", tmp_path / "key.pem")
    assert ran.returncode == Exit.ACCEPTED
    message, _, signature = ran.stdout.strip().rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
    key.public_key().verify(encode_dss_signature(r, s), message.encode(), ec.ECDSA(SHA256()))
    claims = json.loads(base64.urlsafe_b64decode(message.partition(".")[2] + "=="))
    assert claims["ear_status"] == "warning"
    assert claims["eat_profile"] == "tag:ietf.org,2026:rats/ear#03"


def test_keys_that_sign_no_ear(nacre: Run, recorded: Recorded, tmp_path: Path) -> None:
    (tmp_path / "rsa.pem").write_bytes(_pem(rsa.generate_private_key(65537, 2048)))
    (tmp_path / "text.pem").write_text("no key")
    for name in ("rsa.pem", "text.pem"):
        ran = nacre(*recorded("tdx"), "--ear", "--ear-key", tmp_path / name)
        assert (ran.returncode, ran.stdout) == (Exit.USAGE, "")
        assert "is no private key for ES256" in ran.stderr


def test_quiet(nacre: Run, recorded: Recorded) -> None:
    assert nacre(*recorded("tdx"), "-q").stdout.count("\n") == 1
    silent = nacre(*recorded("tdx", "tampered.bin"), "-q", "-q")
    assert (silent.returncode, silent.stdout, silent.stderr) == (Exit.REJECTED, "", "")
    assert nacre(*recorded("tdx"), "-qq").stdout == ""


def test_verbose_shows_values(nacre: Run, recorded: Recorded) -> None:
    out = nacre(*recorded("tdx"), "-v").stdout
    assert "registers" in out
    assert "mrtd" in out
    assert "dcap.quote-signature" in out
    out = nacre(*recorded("tdx", "tampered.bin"), "-v").stdout
    assert out.count("[not-reached]") > 10
    assert "Not proven: anything that the evidence says" in out


def test_verbose_shows_what_was_asked_of_the_machine(nacre: Run, recorded: Recorded) -> None:
    physical = nacre(*recorded("tdx"), "-v").stdout.split("\nphysical\n")[1].split("\n\n")[0]
    lines = [line.split(maxsplit=1) for line in physical.splitlines()]
    assert lines == [[check, "not checked"] for check in platforms.get("tdx").physical]
    assert "physical" not in nacre(*recorded("tdx")).stdout


def test_why_not(nacre: Run, vectors: Path, tmp_path: Path) -> None:
    old, new = (
        vectors / "tdx" / name
        for name in (
            "phala-networ-v4-b0c06f000000-e17-uptodate-f1c850",
            "phala-networ-v4-b0c06f000000-e20-outofdate-f1c850",
        )
    )
    at = json.loads((new / "case.json").read_text())["time"]
    words = ("verify", new / "quote.bin", "-e", new, "--at", at, "--offline")
    ran = nacre(*words, "--why-not", old)
    assert ran.returncode == Exit.REJECTED
    assert "Why not UpToDate: the status is OutOfDate" in ran.stdout
    assert "level needs" in ran.stdout
    assert "turned UpToDate into OutOfDate" in " ".join(ran.stdout.split())
    found = json.loads(nacre(*words, "--json", "--why-not", old).stdout)["why_not"]
    assert [change["decisive"] for change in found["changes"]] == [True, False]
    alone = nacre(*words[2:], "--why-not", words[1])
    assert alone.returncode == Exit.USAGE
    same = nacre("verify", *words[2:], "--why-not", words[1])
    assert "no older endorsements to compare with" in same.stdout
    (tmp_path / "tcb_info.json").write_text("{}")
    assert nacre(*words, "--why-not", tmp_path).returncode == Exit.USAGE


def test_why_not_where_there_is_no_status(nacre: Run, recorded: Recorded) -> None:
    for words in (recorded("nitro"), recorded("tdx", "tampered.bin")):
        assert "no TCB status was evaluated" in nacre(*words, "--why-not").stdout


def test_no_colour_in_pipes(nacre: Run, recorded: Recorded) -> None:
    assert "\x1b" not in nacre(*recorded("tdx")).stdout


@pytest.mark.parametrize(
    ("env", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)], ids=str
)
def test_colour_on_terminals(recorded: Recorded, env: dict[str, str], coloured: bool) -> None:
    ours, theirs = pty.openpty()
    kept = {"PATH": os.environ["PATH"], "TERM": "xterm", "PYTHONUTF8": "1"}
    words = [sys.executable, "-m", "nacre", *map(str, recorded("tdx"))]
    with subprocess.Popen(words, stdout=theirs, env=kept | env) as process:
        os.close(theirs)
        shown = b""
        try:
            while chunk := os.read(ours, 4096):
                shown += chunk
        except OSError:
            pass  # the other end is closed
        assert process.wait() == Exit.ACCEPTED
    os.close(ours)
    assert (b"\x1b[" in shown) is coloured


def test_terminals_without_unicode(nacre: Run, recorded: Recorded) -> None:
    ran = nacre(*recorded("tdx"), env={"PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"})
    assert ran.returncode == Exit.ACCEPTED
    assert ran.stdout.isascii()
    assert "  + Evidence decodes" in ran.stdout


def test_readers_may_leave(recorded: Recorded) -> None:
    """The exit status still says what was found."""
    words = [sys.executable, "-m", "nacre", *map(str, recorded("tdx", "tampered.bin")), "-v"]
    read, write = os.pipe()
    os.close(read)
    with subprocess.Popen(words, stdout=write, stderr=subprocess.PIPE) as process:
        os.close(write)
        said = process.communicate()[1]
    assert process.returncode == Exit.REJECTED
    assert said == b""


def test_text_of_evidence_cannot_drive_a_terminal(nacre: Run, tmp_path: Path) -> None:
    ran = nacre("verify", tmp_path / "\x1b[31mred\n")
    assert "\x1b" not in ran.stderr
    assert "\\x1b[31mred\\x0a" in ran.stderr
