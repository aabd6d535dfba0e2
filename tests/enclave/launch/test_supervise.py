# SPDX-License-Identifier: Apache-2.0
"""Whole simulated processes: what comes out of one, what an app inside cannot do, and how each ends."""

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.enclave.launch.whole import CALLER, CAREFUL, INTRUDER, PATIENCE, Start, environment, get

from nacre.appraisal.policy import Policy
from nacre.appraisal.verdict import Verdict
from nacre.checks import Status
from nacre.enclave import envelope
from nacre.enclave.instances import Instances
from nacre.enclave.launch import process
from nacre.enclave.launch.prepare import create
from nacre.endorsers.verifier import Verifier
from nacre.trust.anchors import Origin


@pytest.fixture(params=["bubblewrap", "namespaces"])
def sandbox(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the sandbox either way: without bubblewrap on the path it is made of bare namespaces."""
    if request.param == "namespaces":
        monkeypatch.setenv("PATH", "/nonexistent")
    elif shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is not installed")


@pytest.mark.usefixtures("sandbox")
def test_worm_runs_verifies_as_simulated_and_leaves_nothing(start: Start, repository: Path) -> None:
    run = start(repository / "examples" / "worm")
    instance = run.running()
    assert instance.state == "running"
    run.said("app: listening on")
    assert get(instance, "/healthz") == (200, b'{"ok":true}\n')
    nonce = secrets.token_bytes(32)
    status, body = get(instance, f"{envelope.PATH}?nonce={nonce.hex()}")
    assert status == 200
    found = envelope.decode(body)
    assert found.identified().release.hex() == instance.release
    policy = Policy.load(run.folder / "policy.toml")
    result = Verifier(policy).appraise(found.evidence, binding=found.binding(nonce=nonce))
    wrong = [check for check in result.checks if check.status is not Status.PASS]
    assert result.verdict is Verdict.VERIFIED, wrong
    assert result.origin is Origin.SIMULATED
    stale = Verifier(policy).appraise(found.evidence, binding=found.binding(nonce=bytes(32)))
    assert stale.verdict is Verdict.REJECTED
    assert Verifier(Policy.default()).appraise(found.evidence).verdict is Verdict.REJECTED
    inside = run.inside()
    assert len(inside) >= 3
    # No key of the development root is in a file.
    assert sorted(path.name for path in run.folder.iterdir()) == [
        *("instance.json", "log", "policy.toml", "release.toml", "root-0.pem")
    ]
    assert run.end() == 0
    assert not any(process.lives() for process in inside)
    assert not run.folder.exists()
    assert not Path(instance.runtime).exists()
    with pytest.raises(ConnectionRefusedError):
        get(instance, "/healthz")


@pytest.mark.usefixtures("sandbox")
def test_app_reaches_nothing_but_its_own_and_ends_when_asked(start: Start, app: Callable[..., Path]) -> None:
    run = start(app(INTRUDER + CAREFUL))
    run.running()
    said = run.said("app: ready")
    outcomes = {
        words[0]: words[1]
        for line in said.splitlines()
        if len(words := line.partition(" app: ")[2].split()) > 1
    }
    assert outcomes.pop("agent") == "DONE", said
    assert outcomes.pop("all") == "tried"
    assert len(outcomes) >= 11
    assert set(outcomes.values()) == {"refused"}, said
    assert get(run.now(), "/.well-known/nacre/evidence?nonce=" + "00" * 32)[0] == 200
    assert run.end() == 0
    assert "tidied up" in run.read()


@pytest.mark.usefixtures("sandbox")
def test_killed_supervisor_takes_everything_along(start: Start, app: Callable[..., Path]) -> None:
    run = start(app(CAREFUL))
    instance = run.running()
    run.said("app: ready")
    inside = run.inside()
    assert len(inside) >= 3
    run.process.kill()
    run.process.wait()
    end = time.monotonic() + PATIENCE
    while any(process.lives() for process in inside):
        assert time.monotonic() < end
        time.sleep(0.02)
    assert run.now().state == "lost"
    assert "ready" in run.instances.log(instance.id).read_text()
    run.instances.remove(instance)
    assert not Path(instance.runtime).exists()


def test_app_that_halts_ends_the_instance_and_its_log_stays(start: Start, app: Callable[..., Path]) -> None:
    run = start(app("print('that was it'); raise SystemExit(7)", restart="halt"))
    assert run.process.wait(PATIENCE) == 7
    assert run.now().state == "ended"
    assert run.now().ended == 7
    assert "that was it" in run.read()
    assert not Path(run.made.runtime).exists()


@pytest.mark.usefixtures("sandbox")
def test_app_gets_out_to_the_host_that_it_declares_and_no_further(
    start: Start, app: Callable[..., Path]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as friend:
        name = f"127.0.0.1:{friend.getsockname()[1]}"

        def greet() -> None:
            with contextlib.suppress(OSError):
                calling, _ = friend.accept()
                with calling:
                    calling.sendall(b"hello")

        threading.Thread(target=greet, daemon=True).start()
        run = start(app(CALLER, egress=[name], environment={"FRIEND": name}))
        said = run.said("all tried")
    assert "HTTP/1.1 200 Connected hello" in said
    assert "HTTP/1.1 403" in said


def test_sandbox_without_bubblewrap_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert "without bubblewrap" in process.limits()


def test_port_that_is_taken_is_said(start: Start, app: Callable[..., Path]) -> None:
    source = app("")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        run = start(source, port=taken.getsockname()[1])
        assert run.process.wait(PATIENCE) == 78
    assert "run-port" in run.read()
    assert run.now().ended == 1


def test_without_any_sandbox_nothing_starts(app: Callable[..., Path], tmp_path: Path) -> None:
    forbid = 'echo 0 > /proc/sys/user/max_user_namespaces; PATH=/nonexistent; export PATH; exec "$@"'
    done = subprocess.run(
        [
            *("unshare", "--user", "--map-root-user", "sh", "-c", forbid, "sh"),
            *(sys.executable, "-m", "nacre", "run", str(app("")), "--tee", "nitro"),
        ],
        env={**os.environ, "NACRE_STATE_DIR": str(tmp_path / "state"), "NACRE_DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert "lets nobody make one without it: sandbox: [Errno 28] namespaces" in " ".join(done.stderr.split())
    assert list((tmp_path / "state" / "instances").iterdir()) == []


def test_files_that_changed_since_they_were_measured_are_not_run(
    app: Callable[..., Path], tmp_path: Path
) -> None:
    source = app("")
    instances = Instances.of_user({"NACRE_STATE_DIR": str(tmp_path / "state")})
    made = create(instances, source, platform="nitro")
    (source / "main.py").write_text("print('other')")
    done = subprocess.run(
        [sys.executable, "-m", "nacre.enclave.launch", made.id, "0"],
        env=environment(instances),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert done.returncode == 78
    assert "run-changed" in done.stderr
    assert instances.every() == ()
    assert not Path(made.runtime).exists()


def test_start_that_is_killed_half_way_is_tidied_up(app: Callable[..., Path], tmp_path: Path) -> None:
    half_way = (
        "import os, sys; from pathlib import Path; from nacre.enclave.instances import Instances;"
        " from nacre.enclave.launch import prepare, process; process.release = lambda *_: os._exit(9);"
        " prepare.create(Instances.of_user(), Path(sys.argv[1]), platform='nitro')"
    )
    instances = Instances.of_user({"NACRE_STATE_DIR": str(tmp_path / "state")})
    done = subprocess.run(
        [sys.executable, "-c", half_way, str(app(""))], env=environment(instances), check=False, timeout=60
    )
    assert done.returncode == 9
    (left,) = instances.every()
    assert left.state == "lost"
    instances.remove(left)
    assert not Path(left.runtime).exists()
    assert list(instances.directory.iterdir()) == []
