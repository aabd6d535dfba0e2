# SPDX-License-Identifier: Apache-2.0
"""``nacre run``, ``ps``, ``logs`` and ``stop``, with the worm."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from nacre.cli.exits import Exit
from nacre.enclave.instances import Instances

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def worm(repository: Path) -> Path:
    return repository / "examples" / "worm"


def _status(url: str) -> int:
    with contextlib.closing(http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)) as asking:
        asking.request("GET", "/healthz")
        return asking.getresponse().status


def test_detached_worm_from_start_to_stop(nacre: Run, ours: Mapping[str, str], worm: Path) -> None:
    done = nacre("run", worm, "--tee", "nitro", "--detach", "--json", env=ours)
    assert done.returncode == Exit.ACCEPTED, done.stderr
    started = json.loads(done.stdout)
    assert (started["app"], started["platform"], started["mode"]) == ("worm", "nitro", "simulated")
    deadline = time.monotonic() + 20
    while _status(started["url"]) != 200:  # the agent answers before the worm is there
        assert time.monotonic() < deadline
        time.sleep(0.05)

    (listed,) = json.loads(nacre("ps", "--json", env=ours).stdout)
    assert {name: listed[name] for name in ("id", "url", "state")} == {
        "id": started["id"],
        "url": started["url"],
        "state": "running",
    }
    assert started["id"] in nacre("ps", env=ours).stdout
    assert "listening at" in nacre("logs", started["id"][:6], env=ours).stdout

    lines = nacre("logs", "--json", started["id"], env=ours).stdout.splitlines()
    assert {"agent", "app"} == {json.loads(line)["who"] for line in lines}

    taken = nacre("run", worm, "--tee", "nitro", "--detach", "--port", listed["url"][-5:], env=ours)
    assert taken.returncode == Exit.INTERNAL
    assert "cannot be used" in taken.stderr

    stopped = nacre("stop", started["id"], env=ours)
    assert (stopped.returncode, stopped.stdout) == (0, started["id"] + "\n")
    assert json.loads(nacre("ps", "--json", env=ours).stdout) == []
    assert not Path(started["policy"]).exists()
    with pytest.raises(ConnectionRefusedError):
        _status(started["url"])


def test_attached_run_ends_with_the_terminals_signal(ours: Mapping[str, str], worm: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "nacre", "run", str(worm), "--tee", "nitro", "--json"],
        env={**os.environ, **ours},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    started = json.loads(process.stdout.readline())
    assert [one.id for one in Instances.of_user(ours).every()] == [started["id"]]
    assert process.stderr is not None
    lines = [process.stderr.readline() for _ in range(6)]
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "app: listening on" in "".join([*lines, said])
    assert Instances.of_user(ours).every() == ()


def test_what_cannot_run_is_said_and_leaves_nothing(
    nacre: Run, ours: Mapping[str, str], worm: Path, tmp_path: Path
) -> None:
    missing = nacre("run", tmp_path / "nothing", "--tee", "nitro", env=ours)
    assert missing.returncode == Exit.USAGE
    assert "nothing" in missing.stderr
    unknown = nacre("run", worm, "--tee", "sev", env=ours)
    assert unknown.returncode == Exit.USAGE
    assert Instances.of_user(ours).every() == ()


def test_lost_instance_is_listed_and_tidied_up(nacre: Run, ours: Mapping[str, str], worm: Path) -> None:
    started = json.loads(nacre("run", worm, "--tee", "nitro", "-d", "--json", env=ours).stdout)
    instances = Instances.of_user(ours)
    supervisor = instances.read(started["id"]).supervisor
    assert supervisor is not None
    os.kill(supervisor.pid, signal.SIGKILL)
    while supervisor.lives():
        pass
    assert "lost" in nacre("ps", env=ours).stdout
    assert "listening at" in nacre("logs", "--follow", started["id"], env=ours).stdout
    stopped = json.loads(nacre("stop", "--all", "--json", env=ours).stdout)
    assert stopped == [{"id": started["id"], "asked": True}]
    assert instances.every() == ()


@pytest.mark.parametrize("words", [("stop",), ("stop", "aa", "--all")])
def test_what_to_stop_has_to_be_said(nacre: Run, ours: Mapping[str, str], words: tuple[str, ...]) -> None:
    assert nacre(*words, env=ours).returncode == Exit.USAGE


def test_unknown_instance_is_said(nacre: Run, ours: Mapping[str, str]) -> None:
    for words in (("stop", "aa"), ("logs", "aa")):
        done = nacre(*words, env=ours)
        assert done.returncode == Exit.INTERNAL
        assert "nacre ps" in done.stderr


def test_fault_is_seen_by_whoever_verifies(nacre: Run, ours: Mapping[str, str], worm: Path) -> None:
    listed = json.loads(nacre("run", worm, "--tee", "nitro", "--fault", "help", "--json", env=ours).stdout)
    assert "debug" in [knob["name"] for knob in listed]
    assert "debug: " in nacre("run", worm, "--tee", "nitro", "--fault", "help", env=ours).stdout
    wrong = nacre("run", worm, "--tee", "nitro", "--fault", "smt", env=ours)
    assert wrong.returncode == Exit.INTERNAL
    assert "--fault help" in wrong.stderr
    assert Instances.of_user(ours).every() == ()

    done = nacre("run", worm, "--tee", "nitro", "--fault", "debug", "-d", "--json", env=ours)
    started = json.loads(done.stdout)
    verified = nacre("verify", started["url"], "--policy", started["policy"], "--json", env=ours)
    assert verified.returncode == Exit.REJECTED
    checks = json.loads(verified.stdout)["checks"]
    assert "debug" in [check["id"] for check in checks if check["status"] == "fail"]
