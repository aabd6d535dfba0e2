# SPDX-License-Identifier: Apache-2.0
"""Whole simulated processes: what comes out of one, what an app inside cannot do, and how each ends."""

import contextlib
import http.client
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nacre.appraisal.policy import Policy
from nacre.appraisal.verdict import Verdict
from nacre.checks import Status
from nacre.enclave import envelope
from nacre.enclave.instances import Instance, Instances, Process
from nacre.enclave.launch.prepare import create
from nacre.endorsers.verifier import Verifier
from nacre.trust.anchors import Origin

_PATIENCE = 20.0
_INTRUDER = """
import os, socket, sys
def tried(what, work):
    try:
        print(what, "DONE", repr(work()), flush=True)
    except OSError as error:
        print(what, "refused", error.strerror, flush=True)
def connected(path):
    socket.socket(socket.AF_UNIX).connect(path)
here = os.path.dirname(os.path.dirname(os.environ["NACRE_SOCKET"]))
tried("device", lambda: connected(here + "/device/nsm"))
tried("public", lambda: connected(here + "/outside/public.sock"))
tried("config", lambda: open(here + "/agent.json").read(1))
tried("memory", lambda: open("/proc/1/mem", "rb").read(1))
tried("environment", lambda: open("/proc/1/environ", "rb").read(1))
tried("root", lambda: os.listdir("/proc/1/root" + here + "/device"))
for number in os.listdir("/proc/1/fd") if os.access("/proc/1/fd", os.R_OK) else ["0"]:
    tried("file-" + number, lambda: os.open("/proc/1/fd/" + number, os.O_RDONLY))
tried("signal", lambda: [os.kill(pid, 15) for pid in range(2, 400) if pid not in (os.getpid(), os.getppid())])
tried("own", lambda: open("main.py", "a"))
tried("network", lambda: socket.create_connection(("192.0.2.1", 80), 1))
tried("passwords", lambda: open("/etc/shadow").read(1))
tried("agent", lambda: connected(os.environ["NACRE_SOCKET"]))
print("all tried", flush=True)
"""
_CAREFUL = """
import signal, sys, time
def end(*_):
    time.sleep(0.3)
    print("tidied up", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print("ready", flush=True)
signal.pause()
"""
_CALLER = """
import os, socket
def asked(target):
    calling = socket.socket(socket.AF_UNIX)
    calling.connect(os.environ["NACRE_EGRESS"])
    calling.sendall(f"CONNECT {target} HTTP/1.1\\r\\nhost: {target}\\r\\n\\r\\n".encode())
    said = b"".join(iter(lambda: calling.recv(99), b"")).decode()
    print(said.splitlines()[0], said[-5:], flush=True)
asked(os.environ["FRIEND"])
asked("127.0.0.1:9")
print("all tried", flush=True)
"""

Start = Callable[..., "_Run"]


def _environment(instances: Instances) -> dict[str, str]:
    state = instances.directory.parent
    return {**os.environ, "NACRE_STATE_DIR": str(state), "NACRE_DATA_DIR": f"{state}/data"}


@pytest.fixture(params=["bubblewrap", "namespaces"])
def sandbox(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What makes the sandbox; without bubblewrap on the path it is made of bare namespaces."""
    found: str = request.param
    if found == "namespaces":
        monkeypatch.setenv("PATH", "/nonexistent")
    elif shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is not installed")
    return found


class _Run:
    """A supervisor's process."""

    def __init__(self, instances: Instances, source: Path, port: int = 0) -> None:
        self.instances = instances
        self.made = create(instances, source, platform="nitro")
        self.folder = instances.folder(self.made.id)
        log = instances.log(self.made.id)
        with log.open("ab") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "nacre.enclave.launch", self.made.id, str(port)],
                env=_environment(instances),
                stdout=said,
                stderr=said,
            )
        self.reading = log.open()
        self.log = ""

    def running(self) -> Instance:
        self._until(lambda: self.now().port != 0)
        return self.now()

    def now(self) -> Instance:
        return self.instances.read(self.made.id)

    def said(self, text: str) -> str:
        self._until(lambda: text in self.read())
        return self.log

    def read(self) -> str:
        self.log += self.reading.read()
        return self.log

    def _until(self, true: Callable[[], bool]) -> None:
        end = time.monotonic() + _PATIENCE
        while not true():
            assert time.monotonic() < end, self.read()
            assert self.process.poll() is None, self.read()
            time.sleep(0.02)

    def inside(self) -> list[Process]:
        """List the sandbox's processes: all that have this run's folder on their command line."""
        found = []
        for path in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if path.name.isdigit() and self.made.runtime.encode() in (path / "cmdline").read_bytes():
                    found.append(Process.of(int(path.name)))
        return [process for process in found if process is not None]

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(_PATIENCE)


@pytest.fixture
def start(sandbox: str, tmp_path: Path) -> Iterator[Start]:
    assert sandbox
    instances = Instances.of_user({"NACRE_STATE_DIR": str(tmp_path / "state")})
    runs = []

    def run(source: Path, **others: int) -> _Run:
        runs.append(_Run(instances, source, **others))
        return runs[-1]

    yield run
    for one in runs:
        if one.process.poll() is None:
            one.end()
        one.reading.close()
        instances.remove(one.made)


@pytest.fixture
def app(tmp_path: Path) -> Callable[..., Path]:
    def write(script: str, **others: object) -> Path:
        folder = tmp_path / "app"
        folder.mkdir()
        (folder / "main.py").write_text(script)
        table = {"name": "app", "version": "1", "entry": ["python3", "main.py"], **others}
        environment = table.pop("environment", None)
        lines = [f"{key} = {json.dumps(value)}" for key, value in table.items()]
        if isinstance(environment, dict):
            lines += [
                "[environment]",
                *(f"{key} = {json.dumps(value)}" for key, value in environment.items()),
            ]
        (folder / "nacre.toml").write_text("\n".join(lines))
        return folder

    return write


def _get(instance: Instance, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", instance.port, timeout=10)
    with contextlib.closing(connection):
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()


def test_worm_runs_verifies_as_simulated_and_leaves_nothing(start: Start, repository: Path) -> None:
    run = start(repository / "examples" / "worm")
    instance = run.running()
    assert instance.state == "running"
    run.said("app: listening on")
    assert _get(instance, "/healthz") == (200, b'{"ok":true}\n')
    nonce = secrets.token_bytes(32)
    status, body = _get(instance, f"{envelope.PATH}?nonce={nonce.hex()}")
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
        _get(instance, "/healthz")


def test_app_reaches_nothing_but_its_own(start: Start, app: Callable[..., Path]) -> None:
    run = start(app(_INTRUDER))
    run.running()
    said = run.said("all tried")
    outcomes = {
        words[0]: words[1]
        for line in said.splitlines()
        if len(words := line.partition(" app: ")[2].split()) > 1
    }
    assert outcomes.pop("agent") == "DONE", said
    assert outcomes.pop("all") == "tried"
    assert len(outcomes) >= 11
    assert set(outcomes.values()) == {"refused"}, said
    assert _get(run.now(), "/.well-known/nacre/evidence?nonce=" + "00" * 32)[0] == 200


def test_app_is_asked_to_end_and_has_the_time(start: Start, app: Callable[..., Path]) -> None:
    run = start(app(_CAREFUL))
    run.running()
    run.said("app: ready")
    assert run.end() == 0
    assert "tidied up" in run.read()


def test_killed_supervisor_takes_everything_along(start: Start, app: Callable[..., Path]) -> None:
    run = start(app(_CAREFUL))
    instance = run.running()
    run.said("app: ready")
    inside = run.inside()
    assert len(inside) >= 3
    run.process.kill()
    run.process.wait()
    end = time.monotonic() + _PATIENCE
    while any(process.lives() for process in inside):
        assert time.monotonic() < end
        time.sleep(0.02)
    assert run.now().state == "lost"
    assert "ready" in run.instances.log(instance.id).read_text()
    run.instances.remove(instance)
    assert not Path(instance.runtime).exists()


def test_app_that_halts_ends_the_instance_and_its_log_stays(start: Start, app: Callable[..., Path]) -> None:
    run = start(app("print('that was it'); raise SystemExit(7)", restart="halt"))
    assert run.process.wait(_PATIENCE) == 7
    assert run.now().state == "ended"
    assert run.now().ended == 7
    assert "that was it" in run.read()
    assert not Path(run.made.runtime).exists()


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
        run = start(app(_CALLER, egress=[name], environment={"FRIEND": name}))
        said = run.said("all tried")
    assert "HTTP/1.1 200 Connected hello" in said
    assert "HTTP/1.1 403" in said


def test_port_that_is_taken_is_said(start: Start, app: Callable[..., Path]) -> None:
    source = app("")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        run = start(source, port=taken.getsockname()[1])
        assert run.process.wait(_PATIENCE) == 78
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
        env=_environment(instances),
        capture_output=True,
        text=True,
        check=False,
        timeout=_PATIENCE,
    )
    assert done.returncode == 78
    assert "run-changed" in done.stderr
    assert instances.every() == ()
    assert not Path(made.runtime).exists()
