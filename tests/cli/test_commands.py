# SPDX-License-Identifier: Apache-2.0
"""The commands beside ``verify``."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from nacre import cli, platforms, reasons
from nacre.cli import quick
from nacre.cli.exits import Exit
from nacre.cli.options import VERIFY, Kind
from nacre.cli.terminal import clean, wrap
from nacre.cli.verify import command as verify_command
from nacre.cli.verifying import Request

Run = Callable[..., subprocess.CompletedProcess[str]]

_COMMANDS = (
    *("completion", "conformance", "conformance run", "endorsements", "endorsements fetch"),
    *(
        "endorsements pack",
        "endorsements show",
        "explain",
        "inspect",
        "policy",
        "policy check",
        "policy init",
    ),
    *("policy schema", "result", "result show", "result verify", "verify", "version"),
    *("logs", "measure", "ps", "root", "root export", "root reset", "root show", "run", "stop"),
)
_GROUPS = {"conformance", "endorsements", "policy", "result", "root"}


def test_help_without_a_command(nacre: Run) -> None:
    ran = nacre()
    assert ran.returncode == Exit.USAGE
    assert ran.stdout == ""
    assert "Exit status: 0 accepted" in ran.stderr


@pytest.mark.parametrize("words", [(), *(tuple(command.split()) for command in _COMMANDS)], ids=" ".join)
def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str], words: tuple[str, ...]) -> None:
    assert cli.main([*words, "--help"]) == Exit.ACCEPTED
    shown = capsys.readouterr().out
    assert shown.startswith(f"Usage: {' '.join(('nacre', *words))} ")
    assert cli.main([*words, "-h"]) == Exit.ACCEPTED
    assert capsys.readouterr().out == shown
    if words and " ".join(words) not in _GROUPS:
        assert "--json" in shown


def test_mistyped_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["verfy"]) == Exit.USAGE
    assert capsys.readouterr().err == "error: there is no command 'verfy'\nhint: did you mean verify?\n"
    assert cli.main(["zzz"]) == Exit.USAGE
    assert "hint: see nacre --help" in capsys.readouterr().err


def test_bugs_are_told_without_a_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(reasons, "reasons", broken)
    assert cli.main(["explain"]) == Exit.INTERNAL
    said = capsys.readouterr().err
    assert said.startswith("error: internal error: ZeroDivisionError: oh\nhint: ")
    with pytest.raises(ZeroDivisionError):
        cli.main(["--debug", "explain"])


@pytest.mark.parametrize("words", [["run", "app", "--tee", "tdx"], ["test", "app", "--hostile-host"]])
def test_what_the_plain_install_lacks_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert cli.main(words) == Exit.USAGE
    assert capsys.readouterr().err == (
        f"error: nacre {words[0]} needs h11, which is not in the plain install\n"
        "hint: pip install 'nacre[enclave]'\n"
    )


@pytest.mark.parametrize("words", [["run", "--tee", "tdx"], ["test", "--hostile-host"]])
def test_an_app_is_a_folder(capsys: pytest.CaptureFixture[str], tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "nacre.toml").write_text("")
    assert cli.main([*words, str(tmp_path / "nacre.toml")]) == Exit.USAGE
    assert "is a file" in capsys.readouterr().err


def test_interruption(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(reasons, "reasons", interrupted)
    assert cli.main(["explain"]) == Exit.INTERRUPTED
    assert capsys.readouterr().err.strip() == "error: interrupted"


@pytest.mark.parametrize("code", sorted(reasons.reasons().keys() | reasons.checks().keys()))
def test_every_code_is_explained(capsys: pytest.CaptureFixture[str], code: str) -> None:
    assert cli.main(["explain", code]) == Exit.ACCEPTED
    assert capsys.readouterr().out.startswith(code)
    assert cli.main(["explain", code, "--json"]) == Exit.ACCEPTED
    assert json.loads(capsys.readouterr().out)["code"] == code


def test_all_codes_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["explain"]) == Exit.ACCEPTED
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(reasons.reasons().keys() | reasons.checks().keys())
    assert cli.main(["explain", "--json"]) == Exit.ACCEPTED
    assert len(json.loads(capsys.readouterr().out)) == len(lines)


def test_unknown_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["explain", "signature-invald"]) == Exit.USAGE
    assert capsys.readouterr().err.endswith("hint: did you mean signature-invalid?\n")
    assert cli.main(["explain", "qqqq"]) == Exit.USAGE
    assert capsys.readouterr().err.endswith("hint: nacre explain lists them all\n")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["version"]) == Exit.ACCEPTED
    told = capsys.readouterr().out
    assert "not independently audited" in told
    assert "OpenSSL" in told
    assert cli.main(["--version"]) == Exit.ACCEPTED
    assert capsys.readouterr().out == told
    assert cli.main(["version", "--json"]) == Exit.ACCEPTED
    assert json.loads(capsys.readouterr().out)["platforms"] == list(platforms.builtin_names())


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(nacre: Run, tmp_path: Path, shell: str) -> None:
    ran = nacre("completion", shell)
    assert ran.returncode == Exit.ACCEPTED
    assert "_NACRE_COMPLETE" in ran.stdout
    assert json.loads(nacre("completion", shell, "--json").stdout)["shell"] == shell
    program = shutil.which(shell)
    if program is not None:
        (tmp_path / "script").write_text(ran.stdout)
        flag = "--no-execute" if shell == "fish" else "-n"
        subprocess.run([program, flag, tmp_path / "script"], check=True)


def test_completion_of_commands_and_options(nacre: Run) -> None:
    for words, index, wanted in (("nacre ver", "1", "verify"), ("nacre verify --of", "2", "--offline")):
        env = {"_NACRE_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": index}
        assert wanted in nacre(env=env).stdout


def test_completion_for_no_shell(nacre: Run) -> None:
    assert nacre("completion", "cmd").returncode == Exit.USAGE


@pytest.mark.parametrize("platform", ["sgx", "tdx", "nitro"])
def test_inspection(nacre: Run, examples: Path, platform: str) -> None:
    file = examples / platform / ("document.cbor" if platform == "nitro" else "quote.bin")
    data = file.read_bytes()
    ran = nacre("inspect", file)
    assert ran.returncode == Exit.ACCEPTED
    assert ran.stdout.startswith("NOT VERIFIED  ")
    assert "Nothing here was verified" in ran.stdout.splitlines()[1]
    found = json.loads(nacre("inspect", "-", "--json", stdin=data).stdout)
    assert (found["verified"], found["platform"], found["size"]) == (False, platform, len(data))
    for field in found["fields"]:
        offset, size, value = field["offset"], field["size"], field["value"]
        if offset is not None and size is not None:
            assert offset + size <= len(data)
            if len(value) == 2 * size > 8 and set(value) <= set("0123456789abcdef"):
                assert data[offset : offset + size].hex() == value


def test_inspection_of_malformed_evidence(nacre: Run, examples: Path) -> None:
    data = (examples / "tdx" / "quote.bin").read_bytes()
    ran = nacre("inspect", "-", stdin=data[:-1])
    assert ran.returncode == Exit.MALFORMED
    assert "Not well-formed: " in ran.stdout
    assert "report.mr_td" in ran.stdout
    assert json.loads(nacre("inspect", "-", "--json", stdin=data[:-1]).stdout)["error"]
    hopeless = nacre("inspect", "-", stdin=data[:100])
    assert (hopeless.returncode, hopeless.stdout) == (Exit.MALFORMED, "")
    assert nacre("inspect", "-", stdin=b"hello").returncode == Exit.UNSUPPORTED
    document = (examples / "nitro" / "document.cbor").read_bytes()
    cut = nacre("inspect", "-", stdin=document[:100])
    assert (cut.returncode, cut.stdout) == (Exit.MALFORMED, "")


@pytest.mark.parametrize("platform", ["sgx", "tdx", "nitro"])
def test_policy_check(nacre: Run, examples: Path, platform: str) -> None:
    ran = nacre("policy", "check", examples / platform / "policy.toml")
    assert ran.returncode == Exit.ACCEPTED
    assert f"ok  example/{platform}" in ran.stdout
    assert "! binding: skipped is accepted (unsafe_waive)" in ran.stdout
    found = json.loads(nacre("policy", "check", examples / platform / "policy.toml", "--json").stdout)
    assert (found["accept"], found["platforms"]) == ("WARNING", [platform])


def test_policy_check_tells_of_roots(nacre: Run, vectors: Path, tmp_path: Path) -> None:
    root = (vectors / "tdx" / "syn-status-uptodate" / "root_ca.der").read_bytes()
    (tmp_path / "root.der").write_bytes(root)
    (tmp_path / "policy.toml").write_text('[anchors.tdx]\nsimulated = ["root.der"]\n')
    told = nacre("policy", "check", tmp_path / "policy.toml").stdout
    assert "tdx: trusts root.der, a simulated root" in told
    assert "no release is named" in told


def test_policy_init(nacre: Run, tmp_path: Path) -> None:
    ran = nacre("policy", "init", cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (Exit.ACCEPTED, "")
    text = (tmp_path / "policy.toml").read_text()
    # What has to be filled in is refused until it is, with its key.
    unfilled = nacre("policy", "check", "policy.toml", cwd=tmp_path)
    assert unfilled.returncode == Exit.USAGE
    assert "mrenclave" in unfilled.stderr
    for size in (64, 96):
        text = text.replace(f'""  # {size}', f'"{"0" * (size - 1)}1"  # {size}')
    (tmp_path / "policy.toml").write_text(text)
    filled = nacre("policy", "check", "policy.toml", cwd=tmp_path)
    assert (filled.returncode, filled.stderr) == (Exit.ACCEPTED, "")
    again = nacre("policy", "init", cwd=tmp_path)
    assert again.returncode == Exit.USAGE
    assert "is there already" in again.stderr
    assert (tmp_path / "policy.toml").read_text() == text


def test_policy_init_elsewhere(nacre: Run, tmp_path: Path) -> None:
    only = nacre("policy", "init", "-", "--platform", "nitro").stdout
    assert "[[release.nitro]]" in only
    assert "tdx" not in only
    written = nacre("policy", "init", tmp_path / "new.toml", "--json", "-p", "tdx")
    assert json.loads(written.stdout)["platforms"] == ["tdx"]
    assert nacre("policy", "init", tmp_path / "absent" / "new.toml").returncode == Exit.USAGE


def test_policy_init_offers_lines_that_hold(nacre: Run, tmp_path: Path) -> None:
    """Whatever a section suggests is accepted as it stands, once it is no comment any more."""
    head, *sections = re.split(r"(?m)^(?=\[\w)", nacre("policy", "init", "-").stdout)
    assert [section.split("\n", 1)[0] for section in sections] == ["[sgx]", "[tdx]", "[snp]"]
    offered = []
    for section in sections:
        for line in re.findall(r"(?m)^# (\w+ = .*)$", section):
            chosen = line.replace('chips = ["…"]', f'chips = ["{"0" * 127}1"]')
            (tmp_path / "policy.toml").write_text(f"{section.split()[0]}\n{chosen}\n")
            told = nacre("policy", "check", "policy.toml", cwd=tmp_path)
            assert (told.returncode, told.stderr) == (Exit.ACCEPTED, ""), line
            assert f"{line.partition(' = ')[0]} = " in told.stdout, "the default needs no mention"
            offered.append(line.partition(" = ")[0])
    assert {"accept_advisories", "refuse_products", "chips", "providers"} <= set(offered)
    assert "[[release.snp]]" in head


@pytest.mark.parametrize("which", ["policy", "release", "result"])
def test_schemas(nacre: Run, which: str) -> None:
    ran = nacre("policy", "schema", which)
    assert ran.returncode == Exit.ACCEPTED
    assert json.loads(ran.stdout)["$schema"].startswith("https://json-schema.org/")


def test_both_readers_read_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the quick reader accepts, click reads the same way."""
    seen: list[Request] = []

    def remember(request: Request) -> int:
        seen.append(request)
        return 0

    monkeypatch.setattr("nacre.cli.verifying.run", remember)
    lines = [["quote.bin"], ["-", "-q", "-q"], ["--offline", "-v", "quote.bin", "--json"]]
    for option in VERIFY:
        for flag in option.flags:
            value = ["some"] if option.kind in (Kind.VALUE, Kind.SEVERAL) else []
            lines += [["quote.bin", flag, *value], [flag, *value, "quote.bin"]]
    for line in lines:
        quickly = quick.parse(line)
        verify_command.main(line, standalone_mode=False)
        if "--why-not" in line:
            assert quickly is None
        else:
            assert quickly == seen[-1], line


@pytest.mark.parametrize(
    "line",
    [
        [],
        ["a", "b"],
        ["a", "--policy"],
        ["a", "--policy", "--json"],
        ["a", "--policy=x"],
        ["--", "a"],
        ["a", "-qq"],
        ["a", "--polic", "x"],
        ["a", "-p", "x", "--policy", "y"],
        ["a", "--help"],
    ],
    ids=" ".join,
)
def test_what_the_quick_reader_leaves_to_click(line: list[str]) -> None:
    assert quick.parse(line) is None


def test_wrapping() -> None:
    assert list(wrap("one two three", 7)) == ["one two", "three"]
    assert list(wrap("0123456789", 4)) == ["0123", "4567", "89"]
    assert list(wrap("a 0123456789", 4)) == ["a", "0123", "4567", "89"]
    assert list(wrap("", 4)) == []


def test_cleaning() -> None:
    assert clean("plain ✓") == "plain ✓"
    assert clean("\x1b]0;title\x07\u202e") == "\\x1b]0;title\\x07\\x202e"
