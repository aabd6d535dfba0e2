# SPDX-License-Identifier: Apache-2.0
"""``nacre measure``: registers, where they come from, and the first input that differs."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from tests.conftest import vector_roots
from tests.platforms.nitro import images
from tests.platforms.nitro.images import APP, BASE, CMDLINE, KERNEL, PARTS
from tests.platforms.programs import program
from tests.platforms.snp.firmware import firmware
from tests.platforms.tdx.linux import linux

from nacre import cli
from nacre.build import outputs
from nacre.cli.exits import Exit

Shell = Callable[..., tuple[int, str, str]]

_EIFS = next(root / "eif" for root in vector_roots() if (root / "eif").is_dir())


def _vectors(name: str) -> Path:
    found = [root / "measure" / name for root in vector_roots() if (root / "measure" / name).exists()]
    if not found:
        pytest.skip(f"measure/{name}: not beside this checkout")
    return found[0]


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    """Run ``nacre measure``: exit status, what it wrote, what it said."""

    def run(*words: str | Path) -> tuple[int, str, str]:
        status = cli.main(["measure", *map(str, words)])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.fixture
def eif(tmp_path: Path) -> Path:
    """An image that nobody signed."""
    path = tmp_path / "image.eif"
    path.write_bytes(images.image())
    return path


@pytest.fixture
def ovmf(tmp_path: Path) -> Path:
    """Firmware for SEV."""
    path = tmp_path / "OVMF.fd"
    path.write_bytes(firmware())
    return path


def test_registers_of_an_image(shell: Shell) -> None:
    path = _EIFS / "unsigned-1rd.eif"
    pcrs = json.loads((_EIFS / "expected.json").read_bytes())["unsigned-1rd"]["pcrs"]
    status, said, _ = shell(path)
    assert status == Exit.ACCEPTED
    assert said.splitlines() == [
        f"pcr0  {pcrs['PCR0']}",
        f"pcr1  {pcrs['PCR1']}",
        f"pcr2  {pcrs['PCR2']}  (of nothing)",
        f"pcr8  {96 * '0'}  (of nothing)",
    ]


def test_an_explanation_says_where_each_byte_lies(shell: Shell, eif: Path) -> None:
    _, said, _ = shell(eif, "--explain")
    place = eif.read_bytes().index(APP)
    assert f"{place:>12} {len(APP):>11}  eif: ramdisk 1" in said.splitlines()
    assert hashlib.sha384(KERNEL).hexdigest() in said


def test_json_has_everything_and_is_read_again(shell: Shell, eif: Path, tmp_path: Path) -> None:
    _, said, _ = shell(eif, "--json", "--role", "arn:aws:iam::1:role/x", "--instance", "i-0")
    saved = json.loads(said)
    assert list(saved["registers"]) == ["pcr0", "pcr1", "pcr2", "pcr8", "pcr3", "pcr4"]
    assert (saved["tee"], saved["empty"], len(saved["parts"])) == ("nitro", ["pcr8"], 10)
    path = tmp_path / "saved.json"
    path.write_text(said)
    assert shell(path, "--json")[1].replace(str(path), str(eif)) == said
    status, _, said = shell("--diff", eif, path)
    assert status == Exit.ACCEPTED
    assert f"not compared: pcr3, pcr4, known from {path} alone\n" in said
    assert shell("--diff", path, path) == (Exit.ACCEPTED, "", "no register differs\n")


def test_the_first_input_that_differs(shell: Shell, eif: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.eif"
    other.write_bytes(images.image(msgspec.structs.replace(PARTS, ramdisks=(BASE, b"other"))))
    status, said, _ = shell("--diff", eif, other)
    assert status == Exit.REJECTED
    assert [line for line in said.splitlines() if "differs" in line] == [
        "pcr0 differs: first in ramdisk 1",
        "pcr2 differs: first in ramdisk 1",
    ]
    found = json.loads(shell("--diff", "--json", eif, other)[1])
    assert [(one["register"], one["one"]["size"], one["other"]["size"]) for one in found] == [
        ("pcr0", len(APP), 5),
        ("pcr2", len(APP), 5),
    ]


def test_a_step_that_one_does_not_have(shell: Shell, eif: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.eif"
    other.write_bytes(images.image(msgspec.structs.replace(PARTS, ramdisks=(BASE,))))
    assert "    no such step\n" in shell("--diff", eif, other)[1]


def test_the_same_steps_and_another_value(shell: Shell, eif: Path, tmp_path: Path) -> None:
    saved = json.loads(shell(eif, "--json")[1])
    saved["registers"]["pcr0"] = 96 * "1"
    del saved["registers"]["pcr1"]
    path = tmp_path / "saved.json"
    path.write_text(json.dumps(saved))
    said = shell("--diff", eif, path)[1]
    assert "pcr0 differs: no step that differs is known\n" in said
    assert "pcr1" not in said


@pytest.mark.parametrize(
    ("tee", "name", "key"),
    [
        ("nitro", "document.cbor", "pcr0"),
        ("tdx", "quote.bin", "rtmr2"),
        ("sgx", "quote.bin", "mrenclave"),
        ("snp", "report.bin", "measurement"),
    ],
)
def test_evidence_is_compared_but_not_verified(
    shell: Shell, repository: Path, tmp_path: Path, *, tee: str, name: str, key: str
) -> None:
    path = next((repository / "examples").rglob(f"{tee}/{name}"))
    _, said, warned = shell(path, "--json")
    found = json.loads(said)
    assert (found["tee"], found["parts"]) == (tee, [])
    assert bytes.fromhex(found["registers"][key]) in path.read_bytes()
    assert "nothing of it was verified" in warned
    found["registers"][key] = "11" + found["registers"][key][2:]
    other = tmp_path / "other.json"
    other.write_text(json.dumps(found))
    status, said, _ = shell("--diff", path, other)
    assert status == Exit.REJECTED
    assert said.startswith(f"{key} differs: no step that differs is known\n")


def test_parts_of_an_image(shell: Shell, eif: Path, tmp_path: Path) -> None:
    words: list[str | Path] = ["--tee", "nitro", "--cmdline", CMDLINE.decode()]
    for option, name, data in (("--kernel", "k", KERNEL), ("--initrd", "b", BASE), ("--initrd", "a", APP)):
        (tmp_path / name).write_bytes(data)
        words += [option, tmp_path / name]
    assert shell(*words)[1] == shell(eif)[1]
    assert shell("--diff", eif, *words)[0] == Exit.ACCEPTED


def test_a_signature_that_does_not_hold_is_told(shell: Shell) -> None:
    status, _, said = shell(_EIFS / "signed-expired-cert.eif")
    assert status == Exit.ACCEPTED
    assert said.startswith("warning: ")
    assert "expired at 2020-01-31" in said
    assert shell(_EIFS / "signed-2rd.eif")[2] == ""


def test_machines_under_sev(shell: Shell, ovmf: Path, tmp_path: Path) -> None:
    (tmp_path / "kernel").write_bytes(KERNEL)
    machine = ("--firmware", ovmf, "--cpus", "4", "--cpu-type", "EPYC-v4")
    loaded = ("--kernel", tmp_path / "kernel", "--initrd", tmp_path / "kernel", "--cmdline", "quiet")
    digests = {
        shell("--tee", tee, *machine, *more)[1]
        for tee in ("snp", "sev-es", "sev")
        for more in ((), loaded, ("--features", "0x21"), ("--vmm", "ec2"))
    }
    # Features are SEV-SNP's alone, processors are not measured by plain SEV.
    assert len(digests) == 4 + 3 + 2
    assert all(line.startswith("measurement  ") for line in digests)


def test_a_folder_of_a_build(shell: Shell, ovmf: Path, eif: Path, tmp_path: Path) -> None:
    folder = tmp_path / "dist"
    folder.mkdir()
    (folder / outputs.EIF).write_bytes(eif.read_bytes())
    (folder / outputs.KERNEL).write_bytes(KERNEL)
    (folder / outputs.INITRD).write_bytes(BASE)
    (folder / outputs.COMMAND_LINE).write_bytes(CMDLINE)
    (folder / outputs.FIRMWARE["snp"]).write_bytes(ovmf.read_bytes())
    assert shell(folder, "--tee", "nitro")[1] == shell(eif)[1]
    machine = ("--tee", "snp", "--cpus", "2", "--cpu-type", "EPYC-Milan")
    parts = ("--kernel", folder / outputs.KERNEL, "--initrd", folder / outputs.INITRD)
    described = shell(*machine, "--firmware", ovmf, *parts, "--cmdline", CMDLINE.decode())
    assert shell(folder, *machine) == described
    assert shell(folder, *machine, "--cmdline", "other")[1] != described[1]
    assert shell(folder)[0] == Exit.USAGE


@pytest.mark.parametrize("name", ["test_enclave.sgxs", "test_enclave.sig"])
def test_enclaves_of_sgx(shell: Shell, name: str) -> None:
    said = shell(_vectors(f"sgx/{name}"))[1]
    assert "mrenclave" in said
    assert "784acfd7d5096a8f0fbd3265760bff21b120f62407a9a9e5ba31aa3c8ed198fc" in said


def test_logs(shell: Shell) -> None:
    log = _vectors("eventlog/ccel-trustee-CCEL_data_ovmf.bin")
    assert [line[:5] for line in shell(log)[1].splitlines()] == ["rtmr0", "rtmr1", "rtmr2", "rtmr3"]
    assert shell(log, "--tee", "tdx") == shell(log)
    assert shell(_vectors("eventlog/tpm-qemu-ovmf-uki.bin"))[1].startswith("pcr0 ")


def test_a_log_of_dstack(shell: Shell, tmp_path: Path) -> None:
    event = {"imr": 3, "event_type": 134217729, "digest": "", "event": "app-id", "event_payload": "ab"}
    path = tmp_path / "log.json"
    path.write_text(json.dumps([event]))
    said = shell(path, "--explain")[1]
    assert "rtmr0  " + 96 * "0" + "  (of nothing)" in said.splitlines()
    assert "event log: app-id" in said


def test_unified_kernel_images(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "image.efi"
    magic = b"#### LoaderInfo: systemd-stub 252.39-1~deb12u2 ####\0"
    kernel = program({".text": b"kernel"})
    path.write_bytes(program({".sdmagic": magic, ".cmdline": b"quiet", ".linux": kernel, ".initrd": b"i"}))
    said = shell(path)[1]
    assert {line.split()[0] for line in said.splitlines()} >= {"pcr4", "pcr11"}
    assert shell(path, "--phase", "enter-initrd")[1] != said
    assert len(shell(path, "--bank", "sha384")[1]) > len(said)


def test_machines_under_tdx(shell: Shell) -> None:
    image = _vectors("tdx/fw-64k.fd")
    status, said, _ = shell("--tee", "tdx", "--firmware", image, "--qemu", "10.1")
    assert status == Exit.ACCEPTED
    assert said.startswith("mrtd  ")
    assert shell("--tee", "tdx", "--firmware", image, "--qemu", "8.2")[1] != said


def test_all_registers_of_a_td_need_a_log_of_such_a_machine(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "kernel").write_bytes(linux())
    image, log = _vectors("tdx/fw-64k.fd"), _vectors("eventlog/ccel-trustee-CCEL_data_ovmf.bin")
    machine = ("--tee", "tdx", "--qemu", "10.1", "--memory", "2048", "--kernel", tmp_path / "kernel")
    more = ("--firmware", image, "--initrd", log, "--cmdline", "quiet")
    names = [line.split()[0] for line in shell(*machine, *more, "--acpi", log)[1].splitlines()]
    assert names == ["mrtd", "rtmr0", "rtmr1", "rtmr2", "rtmr3"]
    assert "rtmr0" not in shell(*machine, *more)[1]
    predicted = tmp_path / "predicted.json"
    predicted.write_text(shell(*machine, *more, "--acpi", log, "--json")[1])
    assert "rtmr0 differs: first in configuration firmware volume\n" in shell("--diff", predicted, log)[1]


@pytest.mark.parametrize(
    ("words", "missing"),
    [
        (("--kernel", "OVMF.fd"), "--tee"),
        (("--tee", "nitro", "--firmware", "OVMF.fd"), "--kernel"),
        (("--tee", "nitro", "--kernel", "OVMF.fd"), "--cmdline"),
        (("--tee", "nitro", "--kernel", "OVMF.fd", "--cmdline", "x"), "--initrd"),
        (("--tee", "snp", "--kernel", "OVMF.fd"), "--firmware"),
        (("--tee", "snp", "--firmware", "OVMF.fd"), "--cpu-type"),
        (("--tee", "snp", "--firmware", "OVMF.fd", "--vmm", "gce"), "--cpus"),
        (("--tee", "tdx", "--firmware", "OVMF.fd"), "--qemu"),
        (("--tee", "tdx", "--firmware", "OVMF.fd", "--kernel", "OVMF.fd", "--qemu", "10.1"), "--memory"),
        (("--tee", "sgx", "--kernel", "OVMF.fd"), "FILE"),
    ],
)
def test_options_that_are_needed(
    shell: Shell, ovmf: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], missing: str
) -> None:
    monkeypatch.chdir(ovmf.parent)
    status, _, said = shell(*words)
    assert status == Exit.USAGE
    assert f"what {missing} tells" in said


def test_mistakes(shell: Shell, eif: Path, ovmf: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "broken.json").write_text("{}")
    (tmp_path / "digits.json").write_text(
        '{"tee":"snp","source":"x","registers":{"measurement":"AB"},"empty":[],"parts":[]}'
    )
    (tmp_path / "other.json").write_text(
        '{"tee":"snp","source":"x","registers":{"measurement":"ab"},"empty":[],"parts":[]}'
    )
    machine = ("--tee", "snp", "--firmware", ovmf, "--kernel", ovmf)
    for words, told in (
        ((), "0 inputs are given, 1 needed"),
        ((eif, eif), "2 inputs are given, 1 needed"),
        (("--diff", eif), "1 inputs are given, 2 needed"),
        ((tmp_path / "missing",), "there is no file"),
        ((tmp_path / "empty",), "does not say what it is"),
        ((ovmf,), "does not say what it is"),
        ((tmp_path / "broken.json",), "is no measurement that nacre measure --json wrote"),
        ((tmp_path / "digits.json",), "is no measurement that nacre measure --json wrote"),
        (("--diff", eif, tmp_path / "other.json"), "cannot be compared"),
        ((eif, "--tee", "snp"), "is measured by nitro, not by snp"),
        ((*machine, "--initrd", eif, "--initrd", eif), "2 first file systems are given"),
        (("--tee", "snp", "--firmware", tmp_path), "is a directory"),
        ((eif, "--features", "zz"), "--features"),
    ):
        status, _, said = shell(*words)
        assert (status, told in said) == (Exit.USAGE, True), said
    (tmp_path / "cut.eif").write_bytes(eif.read_bytes()[:-1])
    assert shell(tmp_path / "cut.eif")[0] == Exit.MALFORMED
