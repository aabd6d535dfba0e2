# SPDX-License-Identifier: Apache-2.0
"""``nacre release`` as users meet it."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from nacre.trust import cbor

_Nacre = Callable[..., subprocess.CompletedProcess[str]]

_RELEASE = f"""\
id = "worm@1.2.0"
version = "1.2.0"

[[tdx]]
mrtd = "{"a0" * 48}"
rtmr0 = "any"
rtmr1 = "{"a1" * 48}"
rtmr2 = "{"a2" * 48}"
rtmr3 = "any"
"""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder with a release, a signer's key pair and somebody else's public key."""
    (tmp_path / "release.toml").write_text(_RELEASE)
    for name, secret in (("signer", 0xA11CE), ("other", 0xB0B)):
        key = ec.derive_private_key(secret, ec.SECP256R1())
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (tmp_path / f"{name}.pem").write_bytes(private)
        (tmp_path / f"{name}.pub").write_bytes(public)
    return tmp_path


def test_sign_and_read_back(nacre: _Nacre, here: Path) -> None:
    made = nacre(
        "release", "convert", "release.toml", "--to", "corim", "--key", "signer.pem", "-o", "r.cbor", cwd=here
    )
    assert (made.returncode, made.stdout, made.stderr) == (0, "", "")
    read = nacre("release", "convert", "r.cbor", "--to", "toml", "--trust", "signer.pub", cwd=here)
    assert (read.returncode, read.stdout) == (0, _RELEASE)


@pytest.mark.parametrize("trust", [(), ("--trust", "other.pub")])
def test_who_signed_has_to_be_pinned(nacre: _Nacre, here: Path, trust: tuple[str, ...]) -> None:
    nacre(
        "release", "convert", "release.toml", "--to", "corim", "--key", "signer.pem", "-o", "r.cbor", cwd=here
    )
    read = nacre("release", "convert", "r.cbor", "--to", "toml", *trust, cwd=here)
    assert (read.returncode, read.stdout) == (10, "")
    assert read.stderr.startswith("error: ")


def test_statements_are_sealed_too(nacre: _Nacre, here: Path) -> None:
    words = ("--to", "in-toto", "--key", "signer.pem", "--signer", "me", "-o", "r.json", "--json")
    made = nacre("release", "convert", "release.toml", *words, cwd=here)
    said = json.loads(made.stdout)
    assert (said["written"], said["read_as"], said["signature_checked"]) == ("r.json", "toml", False)
    read = nacre(
        "release",
        "convert",
        "r.json",
        "--to",
        "toml",
        "-o",
        "r.toml",
        "--trust",
        "signer.pub",
        "--json",
        cwd=here,
    )
    again = json.loads(read.stdout)
    assert again["signature_checked"]
    assert again["fingerprint"] == said["fingerprint"]
    assert (here / "r.toml").read_text() == _RELEASE


def test_what_is_lost_is_said(nacre: _Nacre, here: Path) -> None:
    made = nacre("release", "convert", "release.toml", "--to", "rvps", cwd=here)
    assert made.returncode == 0
    assert sorted(json.loads(made.stdout)) == ["mr_td", "rtmr_1", "rtmr_2"]
    assert "note: rtmr_0 is left open by not being there" in made.stderr
    back = ("--id", "worm@1.2.0", "--any", "rtmr0", "--any", "rtmr3")
    read = nacre("release", "convert", "-", "--to", "toml", *back, stdin=made.stdout.encode(), cwd=here)
    assert read.stdout == _RELEASE.replace('version = "1.2.0"\n', "")


def test_a_detached_manifest(nacre: _Nacre, here: Path) -> None:
    nacre(
        "release", "convert", "release.toml", "--to", "corim", "--key", "signer.pem", "-o", "r.cbor", cwd=here
    )
    message = cbor.loads((here / "r.cbor").read_bytes(), what="r", limit=1 << 16, tags=True)
    assert isinstance(message, cbor.Tag)
    parts: list[object] = message.value  # type: ignore[assignment]
    protected, loose, payload, signature = parts
    assert isinstance(payload, bytes)
    (here / "r.corim").write_bytes(payload)
    (here / "r.sig").write_bytes(cbor.dumps(cbor.Tag(18, [protected, loose, None, signature])))
    words = ("release", "convert", "r.sig", "--to", "toml", "--trust", "signer.pub")
    read = nacre(*words, "--payload", "r.corim", cwd=here)
    assert read.stdout == _RELEASE
    assert nacre(*words, cwd=here).returncode == 30
    assert nacre(*words, "--payload", "signer.pub", cwd=here).returncode == 30


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("convert", "release.toml", "--to", "toml", "--key", "signer.pem"), 2, "is not signed"),
        (("convert", "release.toml", "--to", "toml", "--json"), 2, "--json says what was written"),
        (("convert", "release.toml", "--to", "toml", "-o", "release.toml"), 2, "is there already"),
        (("convert", "release.toml", "--to", "toml", "-o", "no/where"), 2, "cannot be written"),
        (("convert", "missing", "--to", "toml"), 2, "there is no file"),
        (("convert", "release.toml", "--to", "toml", "--trust", "signer.pem"), 2, "private"),
        (("convert", "release.toml", "--to", "toml", "--trust", "signer.pub"), 10, "is not signed"),
        (("convert", "release.toml", "--to", "toml", "--at", "noon"), 2, "noon"),
        (("convert", "release.toml", "--to", "toml", "--payload", "signer.pub"), 2, "has nothing to do with"),
        (("convert", "release.toml", "--to", "pdf"), 2, "pdf"),
        (("convert", "release.toml", "--to", "toml", "--any", "pcr0"), 2, "pcr0"),
        (("convert", "signer.pub", "--to", "toml"), 2, "is not well-formed"),
        (("show", "signer.pub"), 2, "is not well-formed"),
    ],
)
def test_mistakes_are_told(nacre: _Nacre, here: Path, words: tuple[str, ...], status: int, said: str) -> None:
    done = nacre("release", *words, cwd=here)
    assert (done.returncode, done.stdout) == (status, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_manifest_that_ended(nacre: _Nacre, repository: Path, here: Path) -> None:
    corim = repository / "tests/vectors/rats/corim/veraison-corim/corim/signed-good-corim.cbor"
    jwk = json.loads((repository / "tests/vectors/rats/corim/veraison-end-to-end/ec-p256.jwk").read_text())
    (here / "key.jwk").write_text(json.dumps({name: jwk[name] for name in ("kty", "crv", "x", "y")}))
    words = ("release", "convert", corim, "--to", "toml", "--trust", "key.jwk")
    late = nacre(*words, cwd=here)
    assert (late.returncode, late.stdout) == (10, "")
    assert "was valid until 2025-12-31T00:00:00Z" in late.stderr
    then = nacre(*words, "--at", "2024-01-01T00:00:00Z", cwd=here)
    assert then.returncode == 20  # genuine and in time, of a profile that nobody here knows
    assert "profile of the CoRIM is not known here: none" in then.stderr


def test_show(nacre: _Nacre, here: Path) -> None:
    nacre(
        "release", "convert", "release.toml", "--to", "corim", "--key", "signer.pem", "-o", "r.cbor", cwd=here
    )
    shown = nacre("release", "show", "r.cbor", cwd=here)
    assert shown.returncode == 0
    assert shown.stdout.startswith("NOT VERIFIED  signed CoRIM\n")
    assert "CoMID worm@1.2.0/tdx/0: Intel TDX" in shown.stdout
    found = json.loads(nacre("release", "show", "r.cbor", "--json", cwd=here).stdout)
    assert found["verified"] is False
    assert found["facts"]["signer"] == "worm@1.2.0"


def test_show_what_no_release_can_be_made_of(nacre: _Nacre, repository: Path) -> None:
    corim = repository / "tests/vectors/rats/corim/veraison-corim/corim/corim-2.cbor"
    shown = nacre("release", "show", corim)
    assert shown.returncode == 0
    assert "No release can be made of it: the profile of the CoRIM is not known here: none." in shown.stdout


def test_a_policy_takes_a_manifest(nacre: _Nacre, here: Path) -> None:
    nacre("release", "convert", "release.toml", "--to", "corim", "-o", "r.corim", cwd=here)
    (here / "policy.toml").write_text('releases = ["r.corim"]\n')
    checked = nacre("policy", "check", "policy.toml", cwd=here)
    assert checked.returncode == 0
    assert "worm@1.2.0" in checked.stdout
