# SPDX-License-Identifier: Apache-2.0
"""``nacre result``, and results that ``nacre verify`` signs."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.appraisal.test_schema import Validator
from tests.trust.tokens import AT, P256, jwk, jwks, jws, pem

from nacre import cli
from nacre.appraisal import schema
from nacre.cli.exits import Exit
from nacre.cli.signing import EAR_PROFILES

Run = Callable[..., subprocess.CompletedProcess[str]]
Recorded = Callable[..., list[str]]

RESULTS = Path(__file__).parents[1] / "vectors" / "results"
NRAS = RESULTS / "opinions" / "nvidia-nras" / "hopper-v3"
GOOGLE = RESULTS / "opinions" / "gcp-confidential-space" / "pki-token"
THEN = ("--at", "2025-06-11T00:40:00Z")
NOW = ("--at", "2026-11-18T11:06:40Z")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def run(*words: str | Path) -> tuple[int, str, str]:
        status = cli.main(["result", *map(str, words)])
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


Result = Callable[..., tuple[int, str, str]]


def _ear(tmp_path: Path, said: str, **claims: object) -> tuple[Path, Path]:
    token = {
        "eat_profile": "tag:ietf.org,2026:rats/ear#03",
        "iat": AT,
        "exp": AT + 60,
        "ear_verifier_id": {"developer": "verifier\x1b[31m", "build": "1"},
        "submods": {"cpu": {"ear_status": said, "ear_trustworthiness_vector": {}}},
    } | claims
    (tmp_path / "token.jwt").write_bytes(jws(token, kid="k1") + b"\n")
    (tmp_path / "keys.json").write_bytes(jwks(jwk(P256, kid="k1"), jwk(P256, kid="k2", use="enc")))
    return tmp_path / "token.jwt", tmp_path / "keys.json"


def test_what_a_valid_token_says(run: Result) -> None:
    nonce = json.loads((NRAS / "expected.json").read_bytes())["policy"]["nonce"]
    status, out, err = run("verify", NRAS / "eat.json", "--keys", NRAS / "jwks.json", "--nonce", nonce, *THEN)
    assert (status, err) == (Exit.ACCEPTED, "")
    assert out.startswith("https://nras.attestation.nvidia.com AFFIRMS: passed\n")
    assert "GPU-0     success" in out
    assert "not a verdict of ours" in out
    assert "VERIFIED" not in out


def test_the_same_as_json(run: Result) -> None:
    words = ("verify", NRAS / "eat.json", "--keys", NRAS / "jwks.json", *THEN, "--json")
    status, out, _ = run(*words)
    answer = json.loads(out)
    assert (status, answer["valid"], answer["schema"]) == (Exit.ACCEPTED, True, "nacre-opinion/v1")
    opinion = answer["opinion"]
    assert (opinion["kind"], opinion["stance"], opinion["said"]) == ("nras", "affirms", "passed")
    assert opinion["parts"][0]["claims"]["measres"] == "success"
    assert answer["checks"][0]["id"] == "token.signature"
    assert opinion["issued_at"] == "2025-06-11T00:30:58Z"
    status, out, _ = run(*words, "--at", "2027-01-01T00:00:00Z")
    answer = json.loads(out)
    assert (status, answer["valid"], answer["opinion"]) == (Exit.REJECTED, False, None)
    assert answer["checks"][-1]["reason"] == "token-expired"


@pytest.mark.parametrize("at", ["2025-06-11T00:40:00Z", "2027-01-01T00:00:00Z"])
def test_the_json_is_what_its_schema_says(run: Result, at: str) -> None:
    words = ("verify", NRAS / "eat.json", "--keys", NRAS / "jwks.json", "--json", "--at", at)
    answer = json.loads(run(*words)[1])
    root = schema.opinion_schema()
    assert Validator(root).fits(answer, root)
    assert not Validator(root).fits(answer | {"schema": "nacre-opinion/v2"}, root)
    assert not Validator(root).fits({key: answer[key] for key in answer if key != "valid"}, root)


def test_a_token_under_a_root(run: Result) -> None:
    words = ("verify", GOOGLE / "token.jwt", "--keys", GOOGLE / "root.pem", "--at", "2025-09-05T08:30:00Z")
    status, out, _ = run(*words, "--audience", "z08381475938604996746", "--kind", "confidential-space")
    assert status == Exit.ACCEPTED
    assert "root      Confidential Space Root CA" in out
    status, out, err = run(*words)
    assert (status, out) == (Exit.USAGE, "")
    assert "--audience" in err


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ("affirming", Exit.ACCEPTED),
        ("warning", Exit.WARNING),
        ("none", Exit.INCOMPLETE),
        ("contraindicated", Exit.REJECTED),
    ],
)
def test_the_exit_status_is_what_the_issuer_says(
    run: Result, tmp_path: Path, said: str, status: Exit
) -> None:
    token, keys = _ear(tmp_path, said)
    found, out, err = run("verify", token, "--keys", keys, *NOW)
    assert found == status
    assert "\x1b[31m" not in out
    assert err == "note: not used of the key file: k2: use 'enc'\n"


def test_a_reservation_is_no_acceptance(run: Result, tmp_path: Path) -> None:
    token, keys = _ear(tmp_path, "affirming")
    claims = json.loads(run("show", token, "--json")[1])["claims"]
    del claims["exp"]
    token.write_bytes(jws(claims, kid="k1"))
    assert run("verify", token, "--keys", keys, *NOW)[0] == Exit.WARNING
    assert run("verify", token, "--keys", keys, *NOW, "--max-age", "1m")[0] == Exit.ACCEPTED
    for bad in ("1", "m", "-1m", "1 m", "1y", ""):
        assert run("verify", token, "--keys", keys, *NOW, "--max-age", bad)[0] == Exit.USAGE


def test_refusals_show_what_held(run: Result, tmp_path: Path) -> None:
    token, _ = _ear(tmp_path, "affirming")
    (tmp_path / "other.pem").write_bytes(pem(ec.generate_private_key(ec.SECP256R1())))
    status, out, _ = run("verify", token, "--keys", tmp_path / "other.pem", *NOW)
    assert status == Exit.REJECTED
    assert out.startswith("REFUSED")
    assert "[signature-invalid]" in out
    assert "affirming" not in out
    status, out, _ = run("verify", token, "--keys", tmp_path / "keys.json", *NOW, "--nonce", "my words")
    assert (status, "[token-nonce]" in out, out.count("✓")) == (Exit.REJECTED, True, 2)
    status, out, _ = run("verify", token, "--keys", tmp_path / "keys.json")
    assert "[token-" in out


def test_what_is_no_token(run: Result, tmp_path: Path) -> None:
    token, keys = _ear(tmp_path, "affirming")
    odd = tmp_path / "odd"
    for content, expected in (
        (b"", Exit.MALFORMED),
        (token.read_bytes() + b".x", Exit.MALFORMED),
        (jws({"hello": 1}), Exit.UNSUPPORTED),
        (b'{"hello":1}', Exit.MALFORMED),
    ):
        odd.write_bytes(content)
        assert run("verify", odd, "--keys", keys)[0] == expected
    (tmp_path / "private.json").write_bytes(jwks(jwk(P256, d="AA")))
    status, _, err = run("verify", token, "--keys", tmp_path / "private.json")
    assert status == Exit.USAGE
    assert "leaked" in err
    assert run("verify", token)[0] == Exit.USAGE


def test_show_says_that_nothing_was_verified(run: Result) -> None:
    status, out, _ = run("show", RESULTS / "tokens" / "azure-maa" / "sev-snp.jwt")
    assert status == Exit.ACCEPTED
    assert out.startswith("NOT VERIFIED  JWT: maa\n")
    assert "which are never used: jku" in out
    assert "x-ms-attestation-type" in out
    status, out, _ = run("show", RESULTS / "eat" / "ietf" / "Example-Tokens" / "deb.json")
    assert "bundle: of no kind known here" in out
    assert "Audio Subsystem" in out
    status, out, _ = run("show", RESULTS / "ear" / "trustee" / "example.token.json")
    assert "submods.cpu0.ear.veraison.annotated-evidence.init_data_claims" in out.replace("\n", "")


@pytest.mark.parametrize("profile", [None, *EAR_PROFILES, "cwt"])
def test_what_verify_signs_result_verifies(
    nacre: Run, recorded: Recorded, tmp_path: Path, profile: str | None
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (tmp_path / "public.pem").write_bytes(pem(key))
    words = [*recorded("tdx"), "--ear", "--ear-key", str(tmp_path / "key.pem")]
    if profile is not None:
        words += ["--ear-cwt"] if profile == "cwt" else ["--ear-profile", profile]
    ran = subprocess.run([*nacre("version").args[:3], *words], capture_output=True, check=False, timeout=60)
    assert ran.returncode == Exit.ACCEPTED, ran.stderr
    (tmp_path / "token").write_bytes(ran.stdout)
    said = nacre(
        *("result", "verify", tmp_path / "token", "--keys", tmp_path / "public.pem"),
        *("--at", "2026-02-14T00:18:00Z", "--json"),
    )
    assert said.returncode == Exit.WARNING, said.stdout
    opinion = json.loads(said.stdout)["opinion"]
    assert (opinion["said"], opinion["expires"]) == ("warning", "2026-02-14T00:22:00Z")
    assert EAR_PROFILES.get(profile or "", EAR_PROFILES["draft-03"]) in opinion["title"]


@pytest.mark.parametrize(
    "words",
    [
        ("--ear", "--ear-key", "key.pem", "--ear-profile", "draft-02"),
        ("--ear", "--ear-key", "key.pem", "--ear-profile", "2025-07", "--ear-cwt"),
        ("--ear-profile", "2025-07"),
        ("--ear-cwt",),
    ],
)
def test_profiles_that_do_not_fit(nacre: Run, recorded: Recorded, words: tuple[str, ...]) -> None:
    ran = nacre(*recorded("tdx"), *words)
    assert (ran.returncode, ran.stdout) == (Exit.USAGE, "")
    assert "?" not in ran.stderr.splitlines()[0]


def test_bytes_are_not_for_a_terminal(
    recorded: Recorded, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert cli.main([*recorded("tdx"), "--ear", "--ear-key", "key.pem", "--ear-cwt"]) == Exit.USAGE
    assert "result.cwt" in capsys.readouterr().err
