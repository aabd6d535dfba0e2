# SPDX-License-Identifier: Apache-2.0
"""``nacre run`` with hardware's launchers: what is started, what is missing, and what the policy accepts."""

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from nacre.appraisal.policy import Policy
from nacre.build import outputs
from nacre.build.tree import Tree
from nacre.cli import main
from nacre.enclave.instances import Instances, Options
from nacre.enclave.launch import gramine, hardware, nitro, snp, tdx
from nacre.enclave.launch.launcher import HARDWARE
from nacre.enclave.launch.prepare import create, planned
from nacre.errors import EnclaveError

_TEE = {"nitro": "nitro", "gramine": "sgx", "tdx": "tdx", "snp": "snp"}
_STATED = {
    "nitro": dict.fromkeys(("pcr0", "pcr1", "pcr2"), 48),
    "sgx": {"mrenclave": 32},
    "tdx": dict.fromkeys(("mrtd", "rtmr0", "rtmr1", "rtmr2", "rtmr3"), 48),
    "snp": {"measurement": 48, "host_data": 32},
}


def _release(*platforms: str) -> str:
    lines = ["id = 'app'"]
    for name in platforms:
        lines += [
            f"[[{name}]]",
            *(f"{register} = '{'ab' * size}'" for register, size in _STATED[name].items()),
        ]
    return "\n".join(lines)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A folder with what ``nacre build`` writes for all targets, as far as a launcher looks."""
    folder = tmp_path / "image"
    (folder / outputs.GRAMINE).mkdir(parents=True)
    for name in (outputs.EIF, outputs.KERNEL, outputs.INITRD, *outputs.FIRMWARE.values()):
        (folder / name).write_bytes(b"x")
    (folder / outputs.COMMAND_LINE).write_text("console=ttyS0 quiet")
    (folder / outputs.RELEASE).write_text(_release(*_STATED))
    return folder


@pytest.fixture
def source(app: Callable[..., Path]) -> Path:
    return app("print('never run here')")


@pytest.fixture
def instances(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Instances:
    monkeypatch.setenv("NACRE_STATE_DIR", str(tmp_path / "state"))
    return Instances.of_user()


@pytest.fixture
def complete(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that lacks nothing, as far as anybody asks."""
    for module in (nitro, gramine, tdx, snp):
        monkeypatch.setattr(module, "missing", lambda **_: ())


def _run(source: Path, launcher: str, *words: str | Path, tee: str = "") -> int:
    return main(
        ["run", str(source), "--tee", tee or _TEE[launcher], "--launcher", launcher, *map(str, words)]
    )


@pytest.mark.parametrize("launcher", HARDWARE)
def test_dry_run_prints_the_command_line_and_what_is_missing(
    source: Path, image: Path, instances: Instances, launcher: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(source, launcher, "--image", image, "--dry-run", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["launcher"], said["platform"]) == (launcher, _TEE[launcher])
    assert said["missing"]
    words = said["command"]
    expected = {
        "nitro": ["nitro-cli", "run-enclave", "--eif-path", str(image / "nitro.eif")],
        "gramine": ["env", f"--chdir={image / 'gramine'}", "gramine-sgx", "app"],
        "tdx": ["qemu-system-x86_64"],
        "snp": ["qemu-system-x86_64"],
    }[launcher]
    assert words[: len(expected)] == expected
    if launcher in outputs.FIRMWARE:
        assert words[words.index("-bios") + 1] == str(image / f"firmware-{launcher}.fd")
        assert words[words.index("-append") + 1] == "console=ttyS0 quiet"
    assert _run(source, launcher, "--image", image, "--dry-run") == 0
    shown = capsys.readouterr()
    assert shown.out.startswith(" ".join(expected[:2]))
    assert "missing on this machine" in shown.err
    assert not instances.directory.exists()


@pytest.mark.parametrize("launcher", HARDWARE)
def test_without_the_hardware_nothing_is_started(
    source: Path, image: Path, instances: Instances, launcher: str
) -> None:
    assert _run(source, launcher, "--image", image) == 1
    with pytest.raises(EnclaveError) as caught:
        create(instances, source, platform=_TEE[launcher], how=launcher, options=Options(image=str(image)))
    assert caught.value.code == "launch-missing"
    assert list(instances.directory.iterdir()) == []


@pytest.mark.usefixtures("complete")
@pytest.mark.parametrize("launcher", HARDWARE)
def test_policy_beside_it_accepts_nothing_simulated(
    source: Path, image: Path, instances: Instances, launcher: str
) -> None:
    made = create(instances, source, platform=_TEE[launcher], how=launcher, options=Options(image=str(image)))
    assert made.mode == "genuine"
    policy = Policy.load(instances.folder(made.id) / "policy.toml")
    assert [release.id for release in policy.releases] == ["app"]
    assert all(not roots.own for roots in policy.roots.values())
    assert instances.read(made.id) == made


@pytest.mark.parametrize(
    ("tee", "options", "code"),
    [
        ("snp", Options(image="here"), "launcher-platform"),
        ("tdx", Options(image="here", faults=("debug",)), "fault-genuine"),
        ("tdx", Options(), "launch-no-image"),
        ("tdx", Options(image="/nonexistent"), "launch-image"),
    ],
)
def test_what_does_not_fit_is_said(source: Path, tee: str, options: Options, code: str) -> None:
    instance, app = planned(source, platform=tee, how="tdx", options=options)
    for refused in (
        lambda: hardware.insist(instance),
        lambda: hardware.command(instance, app, Path("log")),
    ):
        with pytest.raises(EnclaveError) as caught:
            refused()
        assert caught.value.code == code


def test_release_of_another_platform_is_refused(source: Path, image: Path, tmp_path: Path) -> None:
    (image / outputs.RELEASE).write_text(_release("snp"))
    instance, app = planned(source, platform="tdx", how="tdx", options=Options(image=str(image)))
    with pytest.raises(EnclaveError) as caught:
        hardware.release(instance, app, Tree.read(source), tmp_path)
    assert caught.value.code == "launch-image"
    assert not (tmp_path / "policy.toml").exists()


def test_dry_run_is_of_hardware_only(source: Path) -> None:
    assert _run(source, "process", "--dry-run", tee="nitro") == 2


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Put programs on the path that stand in for those of the hardware."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def write(name: str, script: str) -> None:
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)

    return write


@pytest.mark.usefixtures("complete")
def test_nitro_is_started_seen_and_terminated(
    source: Path, image: Path, tmp_path: Path, program: Callable[[str, str], None]
) -> None:
    running = json.dumps(
        {
            "EnclaveID": "i-0a-enc0b",
            "EnclaveCID": 70000,
            "NumberOfCPUs": 1,
            "MemoryMiB": 256,
            "State": "RUNNING",
        }
    )
    program(
        "nitro-cli",
        f"echo $1 >> {tmp_path}/said\n"
        "case $1 in\n"
        f"run-enclave) touch {tmp_path}/runs; echo '{running}';;\n"
        f"describe-enclaves) test -e {tmp_path}/runs && echo '[{running}]' || echo '[]';;\n"
        f'terminate-enclave) rm {tmp_path}/runs; echo \'{{"EnclaveID":"i-0a-enc0b","Terminated":true}}\';;\n'
        "esac",
    )
    instance, app = planned(source, platform="nitro", how="nitro", options=Options(image=str(image)))

    async def whole(*, by_itself: bool) -> tuple[str, int | None]:
        async with hardware.start(instance, app, tmp_path) as inside:
            if not by_itself:
                return inside.public, None
            (tmp_path / "runs").unlink()
            return inside.public, await inside.wait()

    assert asyncio.run(whole(by_itself=False)) == ("vsock:70000:8080", None)
    assert (tmp_path / "said").read_text().split()[-1] == "terminate-enclave"
    assert "i-0a-enc0b: nitro-cli run-enclave" in (tmp_path / "log").read_text()
    assert asyncio.run(whole(by_itself=True))[1] == 0
    assert (tmp_path / "said").read_text().split()[-1] == "describe-enclaves"


@pytest.mark.usefixtures("complete")
@pytest.mark.parametrize("launcher", ["tdx", "gramine"])
def test_program_runs_as_long_as_the_enclave(
    source: Path, image: Path, tmp_path: Path, program: Callable[[str, str], None], launcher: str
) -> None:
    for name in ("qemu-system-x86_64", "gramine-sgx"):
        program(name, "echo started; exec sleep 600")
    instance, app = planned(source, platform=_TEE[launcher], how=launcher, options=Options(image=str(image)))

    async def whole() -> str:
        async with hardware.start(instance, app, tmp_path) as inside:
            while "started" not in (tmp_path / "log").read_text():  # noqa: ASYNC110 (another's file)
                await asyncio.sleep(0.01)
            return inside.public

    assert asyncio.run(whole()) == {"tdx": "vsock:65536:8080", "gramine": "tcp:127.0.0.1:8080"}[launcher]
