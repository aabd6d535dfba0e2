# SPDX-License-Identifier: Apache-2.0
"""A whole enclave in gVisor: evidence of a device that the app cannot reach, egress, and every end."""

import contextlib
import os
import secrets
import shutil
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.enclave.launch.whole import CALLER, CAREFUL, INTRUDER, PATIENCE, Start, get

from nacre.appraisal.policy import Policy
from nacre.appraisal.verdict import Verdict
from nacre.checks import Status
from nacre.enclave import envelope
from nacre.enclave.instances import Instances
from nacre.enclave.launch.prepare import create
from nacre.endorsers.verifier import Verifier
from nacre.errors import EnclaveError
from nacre.platforms.base import Endorsements

_ASKED = f"{envelope.PATH}?nonce={'00' * 32}"
_ME = """
import os
print("user", os.getuid(), os.getgid(), os.getgroups(), sorted(os.listdir("/")), flush=True)
"""


@pytest.fixture
def _gvisor() -> None:
    if shutil.which("runsc") is None:
        pytest.skip("gVisor is not installed; .ci/run installs it")
    if os.geteuid() != 0:
        pytest.skip("gVisor is started by root only; .ci/run is")


@pytest.mark.usefixtures("_gvisor")
@pytest.mark.parametrize("platform", ["nitro", "tdx"])  # a socket, and a file system that FUSE serves
def test_enclave_verifies_and_its_app_reaches_nothing(
    start: Start, app: Callable[..., Path], platform: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as friend:
        name = f"127.0.0.1:{friend.getsockname()[1]}"

        def greet() -> None:
            with contextlib.suppress(OSError):
                calling, _ = friend.accept()
                with calling:
                    calling.sendall(b"hello")

        threading.Thread(target=greet, daemon=True).start()
        source = app(_ME + INTRUDER + CALLER + CAREFUL, egress=[name], environment={"FRIEND": name})
        run = start(source, platform=platform, how="gvisor")
        instance = run.running()
        said = run.said("app: ready")
    lines = [words for line in said.splitlines() if (words := line.partition(" app: ")[2].split())]
    assert lines[0][:4] == ["user", "1000", "1000", "[]"]
    assert "HTTP/1.1 200 Connected hello" in said
    assert "HTTP/1.1 403" in said
    outcomes = {words[0]: words[1] for words in lines if words[1:2] in (["DONE"], ["refused"])}
    assert outcomes.pop("agent") == "DONE", said
    assert "device refused Permission denied" in said
    # The agent's environment is empty, and its first three files are the log and nothing at all.
    for name in ("environment", "file-0", "file-1", "file-2"):
        outcomes.pop(name)
    assert len(outcomes) >= 10
    assert set(outcomes.values()) == {"refused"}, said

    nonce = secrets.token_bytes(32)
    status, body = get(instance, f"{envelope.PATH}?nonce={nonce.hex()}")
    assert status == 200, body
    found = envelope.decode(body)
    policy = Policy.load(run.folder / "policy.toml")
    brought = Endorsements(found.endorsements)
    result = Verifier(policy).appraise(
        found.evidence, binding=found.binding(nonce=nonce), endorsements=brought
    )
    wrong = [check for check in result.checks if check.status is not Status.PASS]
    assert result.verdict is Verdict.VERIFIED, wrong

    inside = run.inside()
    assert len(inside) >= 2
    assert run.end() == 0
    assert "tidied up" in run.read()
    assert not any(process.lives() for process in inside)
    assert not Path(instance.runtime).exists()


@pytest.mark.usefixtures("_gvisor")
def test_enclave_ends_with_its_app_or_with_its_keeper(start: Start, app: Callable[..., Path]) -> None:
    source = app("raise SystemExit(7)", restart="halt")
    halted = start(source, how="gvisor")
    assert halted.process.wait(PATIENCE) == 7
    assert (halted.now().state, halted.now().ended) == ("ended", 7)
    (source / "main.py").write_text(CAREFUL)
    run = start(source, how="gvisor")
    run.running()
    run.said("app: ready")
    inside = run.inside()
    # Two at once, started in different ways: each answers for itself.
    beside = start(source)
    other = beside.running()
    first, second = (envelope.decode(get(one, _ASKED)[1]) for one in (run.now(), other))
    assert first.identified().keys != second.identified().keys
    run.process.kill()
    run.process.wait()
    end = time.monotonic() + PATIENCE
    while any(process.lives() for process in inside):
        assert time.monotonic() < end
        time.sleep(0.02)
    assert run.now().state == "lost"
    assert get(other, _ASKED)[0] == 200


def test_without_gvisor_there_is_an_error(
    app: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    instances = Instances(tmp_path / "instances")
    with pytest.raises(EnclaveError) as caught:
        create(instances, app(""), platform="nitro", how="gvisor")
    assert caught.value.code == "gvisor-missing"
    assert list(instances.directory.iterdir()) == []
