# SPDX-License-Identifier: Apache-2.0
"""``nacre root``: development roots as users see them."""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from nacre import cli
from nacre.cli.exits import Exit
from nacre.enclave import roots
from nacre.enclave.instances import Instance, Instances, Mode, Process
from nacre.platforms.simulation import Root, simulator
from nacre.trust import pem


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NACRE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("NACRE_STATE_DIR", str(tmp_path / "state"))


@pytest.fixture
def made(_own_folders: None) -> Mapping[str, Root]:
    """Two roots that are quickly made."""
    return {family: roots.development_root(family, at=int(time.time())) for family in ("dcap", "nitro")}


def _at_terminal(answer: bytes) -> tuple[int, str, str]:
    ours, theirs = os.openpty()
    os.write(ours, answer)
    ran = subprocess.run(
        [sys.executable, "-m", "nacre", "root", "reset"],
        stdin=theirs,
        capture_output=True,
        check=False,
        timeout=60,
    )
    os.close(theirs)
    os.close(ours)
    return ran.returncode, ran.stdout.decode(), ran.stderr.decode()


@pytest.mark.parametrize("words", [["show"], ["export", "here"], ["reset"]])
def test_without_a_root_nothing_is_made(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, words: list[str]
) -> None:
    assert cli.main(["root", *words]) == Exit.ACCEPTED
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("no development roots; ")
    assert cli.main(["root", *words, "--json"]) == Exit.ACCEPTED
    assert json.loads(capsys.readouterr().out) == []
    assert list(tmp_path.iterdir()) == []


def test_roots_are_shown(capsys: pytest.CaptureFixture[str], made: Mapping[str, Root]) -> None:
    assert cli.main(["root", "show", "--json"]) == Exit.ACCEPTED
    text = capsys.readouterr().out
    shown = json.loads(text)
    assert [(one["family"], one["platforms"], one["problem"]) for one in shown] == [
        ("dcap", ["sgx", "tdx"], ""),
        ("nitro", ["nitro"], ""),
    ]
    for one in shown:
        (der,), (certificate,) = made[one["family"]].certificates, one["certificates"]
        assert certificate["sha256"] == hashlib.sha256(der).hexdigest()
        assert certificate["begins"] < certificate["ends"]
    assert cli.main(["root", "show", "--family", "nitro"]) == Exit.ACCEPTED
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "nitro, for nitro, simulated"
    assert lines[-1].strip() == shown[1]["certificates"][0]["sha256"]


def test_a_damaged_root_is_shown_and_can_be_reset(
    capsys: pytest.CaptureFixture[str], made: Mapping[str, Root]
) -> None:
    (roots.data_folder() / "roots" / "dcap.json").write_bytes(b"{}")
    assert cli.main(["root", "show"]) == Exit.ACCEPTED
    shown = capsys.readouterr().out
    assert "dcap, for sgx and tdx, simulated\n  ! the development root of dcap in " in shown
    assert "nitro, for nitro" in shown
    assert cli.main(["root", "export", "x", "-f", "dcap"]) == Exit.INTERNAL
    assert cli.main(["root", "reset", "-f", "dcap", "--yes"]) == Exit.ACCEPTED
    assert roots.existing_roots() == (made["nitro"],)


def test_what_is_exported_vouches_for_what_was_signed_and_holds_no_key(
    capsys: pytest.CaptureFixture[str], made: Mapping[str, Root], tmp_path: Path
) -> None:
    folder = tmp_path / "certificates"
    assert cli.main(["root", "export", str(folder)]) == Exit.ACCEPTED
    assert capsys.readouterr().out.splitlines() == [f"{folder}/dcap-0.pem", f"{folder}/nitro-0.pem"]
    for family, root in made.items():
        text = (folder / f"{family}-0.pem").read_bytes()
        assert text == pem.armour(root.certificates[0]) + b"\n"
    now = int(time.time())
    machine = simulator("nitro").machine(made["nitro"], at=now)
    document = tmp_path / "document.cbor"
    document.write_bytes(machine.evidence(b"", registers={}, at=now))
    words = ["verify", str(document), "--root", f"{folder}/nitro-0.pem", "--json", "--offline"]
    assert cli.main(words) == Exit.INCOMPLETE
    result = json.loads(capsys.readouterr().out)
    assert result["origin"] == "simulated"


def test_an_export_overwrites_nothing(
    capsys: pytest.CaptureFixture[str], made: Mapping[str, Root], tmp_path: Path
) -> None:
    words = ["root", "export", str(tmp_path), "--family", "nitro", "--json"]
    assert cli.main(words) == Exit.ACCEPTED
    (written,) = json.loads(capsys.readouterr().out)
    assert written == {
        "path": str(tmp_path / "nitro-0.pem"),
        "platforms": ["nitro"],
        "sha256": hashlib.sha256(made["nitro"].certificates[0]).hexdigest(),
    }
    assert cli.main(words) == Exit.USAGE
    assert "is there already" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert cli.main(["root", "export", str(tmp_path / "file" / "below")]) == Exit.USAGE
    assert "cannot be written" in capsys.readouterr().err


def test_a_reset_that_was_not_meant(capsys: pytest.CaptureFixture[str], made: Mapping[str, Root]) -> None:
    assert cli.main(["root", "reset"]) == Exit.USAGE
    assert "say --yes" in capsys.readouterr().err
    status, out, _ = _at_terminal(b"n\n")
    assert (status, out) == (Exit.INTERRUPTED, "")
    assert roots.existing_roots() == tuple(made.values())


def test_a_reset_tells_what_it_breaks(made: Mapping[str, Root]) -> None:
    instances = Instances.of_user()
    modes: tuple[Mode, ...] = ("simulated", "genuine")
    name, other = (instances.new_id() for _ in modes)
    for one, mode in zip((name, other), modes, strict=True):
        instances.write(
            Instance(
                id=one,
                app="worm",
                version="1",
                platform="tdx",
                mode=mode,
                source="",
                created=0,
                release="",
                runtime="",
                supervisor=Process.of(os.getpid()),
            )
        )
    status, out, err = _at_terminal(b"y\n")
    assert (status, out) == (Exit.ACCEPTED, "dcap\nnitro\n")
    assert "will not verify" in err
    assert f"to be started again: {name}\n" in err
    assert roots.existing_roots() == ()
    assert roots.development_root("nitro", at=int(time.time())) != made["nitro"]
