# SPDX-License-Identifier: Apache-2.0
"""``nacre run --launcher vm``: a machine that boots, is verified, and ends with who keeps it."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from nacre.cli.exits import Exit
from nacre.enclave.instances import Instances

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def kernel() -> str:
    if shutil.which("qemu-system-x86_64") is None:
        pytest.skip("QEMU is not installed; .ci/run installs it")
    if "NACRE_KERNEL" not in os.environ:
        pytest.skip("NACRE_KERNEL names no folder with a kernel; .ci/run fetches one")
    return os.environ["NACRE_KERNEL"]


def _machines(runtime: str) -> list[Path]:
    """List the emulators with this instance's folder on their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        words = path.read_bytes() if path.exists() else b""
        found += [path.parent] if runtime.encode() in words and words.startswith(b"/usr/bin/qemu") else []
    return found


def test_machine_boots_verifies_and_ends_with_its_keeper(
    nacre: Run, ours: Mapping[str, str], kernel: str, repository: Path
) -> None:
    worm = repository / "examples" / "worm"
    options = ("--tee", "nitro", "--launcher", "vm", "--kernel", kernel)
    done = nacre("run", worm, *options, "-d", "--json", env=ours, timeout=300)
    assert done.returncode == 0, done.stderr
    started = json.loads(done.stdout)
    assert (started["launcher"], started["mode"]) == ("vm", "simulated")
    (listed,) = json.loads(nacre("ps", "--json", env=ours).stdout)
    assert (listed["launcher"], listed["state"]) == ("vm", "running")
    verified = nacre("verify", started["url"], "--policy", started["policy"], "--json", env=ours)
    assert verified.returncode == Exit.INCOMPLETE
    checks = {check["id"]: check["status"] for check in json.loads(verified.stdout)["checks"]}
    assert checks["executables"] == checks["freshness"] == checks["debug"] == "pass"
    assert {name for name, status in checks.items() if status == "skipped"} == {"agent.events", "channel"}
    assert not {"fail", "error"} & set(checks.values())
    assert "listening at vsock:8080" in nacre("logs", started["id"], env=ours).stdout
    instance = Instances.of_user(ours).read(started["id"])
    assert len(_machines(instance.runtime)) == 1
    assert instance.supervisor is not None
    os.kill(instance.supervisor.pid, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while _machines(instance.runtime):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert "lost" in nacre("ps", env=ours).stdout
    assert nacre("stop", started["id"], env=ours).returncode == 0
    assert Instances.of_user(ours).every() == ()


def test_machine_that_cannot_be_is_said_and_leaves_nothing(
    nacre: Run, ours: Mapping[str, str], repository: Path, tmp_path: Path
) -> None:
    worm = repository / "examples" / "worm"
    other = nacre("run", worm, "--tee", "tdx", "--launcher", "vm", env=ours)
    assert other.returncode == Exit.INTERNAL
    assert "does not run tdx, but nitro" in other.stderr
    if shutil.which("qemu-system-x86_64") is not None:
        for named in (str(tmp_path / "nothing"), str(tmp_path)):
            none = nacre("run", worm, "--tee", "nitro", "--launcher", "vm", "--kernel", named, env=ours)
            assert none.returncode == Exit.INTERNAL
            assert named in none.stderr.replace("\n", "")
    assert Instances.of_user(ours).every() == ()
    assert list(Path(ours["NACRE_STATE_DIR"], "instances").iterdir()) == []
