# SPDX-License-Identifier: Apache-2.0
"""What is remembered of instances, and what is not believed of it."""

import os
import subprocess
from pathlib import Path

import msgspec
import pytest

from nacre.enclave.instances import Instance, Instances, Process, runtime_folder
from nacre.errors import EnclaveError


@pytest.fixture
def instances(tmp_path: Path) -> Instances:
    return Instances.of_user({"NACRE_STATE_DIR": str(tmp_path)})


def _instance(instances: Instances, **others: object) -> Instance:
    made = {
        "id": instances.new_id(),
        "app": "worm",
        "version": "1",
        "platform": "nitro",
        "source": "/app",
        "created": 5,
        "release": "ab" * 32,
        "runtime": "/nonexistent/nacre",
        **others,
    }
    return Instance(**made)  # type: ignore[arg-type]


def test_what_is_written_is_read_and_found_by_its_first_digits(instances: Instances) -> None:
    one = _instance(instances, port=80, supervisor=Process.of(os.getpid()))
    instances.write(one)
    assert instances.read(one.id) == instances.find(one.id[:7]) == one
    assert instances.every() == (one,)
    assert one.state == "running"
    assert one.url == "http://127.0.0.1:80"
    assert instances.folder(one.id).stat().st_mode & 0o777 == 0o700
    instances.remove(one)
    assert instances.every() == ()


def test_states(instances: Instances) -> None:
    own = Process.of(os.getpid())
    assert own is not None
    assert _instance(instances, supervisor=own).state == "starting"
    assert _instance(instances).state == "lost"
    # The number of a process that ended may be another's by now.
    assert _instance(instances, supervisor=Process(own.pid, own.started + 1)).state == "lost"
    assert _instance(instances, supervisor=own, ended=0).state == "ended"


def test_zombie_runs_no_more() -> None:
    process = subprocess.Popen(["/bin/sleep", "60"])
    started = Process.of(process.pid)
    assert started is not None
    assert started.lives()
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert not started.lives()
    process.wait()
    assert Process.of(process.pid) is None


def test_which_is_meant_has_to_be_clear(instances: Instances) -> None:
    for name in ("aa000000", "aa111111"):
        instances.folder(name).mkdir(parents=True)
        instances.write(_instance(instances, id=name))
    for start, code in (("aa", "instance-ambiguous"), ("bb", "instance-unknown"), ("", "instance-unknown")):
        with pytest.raises(EnclaveError) as caught:
            instances.find(start)
        assert caught.value.code == code
    with pytest.raises(EnclaveError) as caught:
        instances.find("../aa000000")
    assert caught.value.code == "instance-unknown"
    assert instances.find("aa0").id == "aa000000"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"id": 1}', b"\xff", None])
def test_damaged_or_foreign_record_is_said_and_hides_no_other(
    instances: Instances, content: bytes | None
) -> None:
    good, bad = _instance(instances), _instance(instances)
    instances.write(good)
    record = msgspec.json.encode(good) if content is None else content
    (instances.folder(bad.id) / "instance.json").write_bytes(record)
    with pytest.raises(EnclaveError) as caught:
        instances.read(bad.id)
    assert caught.value.code == "instance-unreadable"
    assert bad.id in str(caught.value)
    assert instances.every() == (good,)


def test_where_instances_are(tmp_path: Path) -> None:
    state = Instances.of_user({"XDG_STATE_HOME": str(tmp_path)})
    assert state.directory == tmp_path / "nacre" / "instances"
    assert state.every() == ()
    ignored = Instances.of_user({"XDG_STATE_HOME": "relative"})
    assert ignored.directory == Path.home() / ".local/state/nacre/instances"


def test_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EnclaveError) as caught:
        Instances(tmp_path / "file" / "x").new_id()
    assert caught.value.code == "instance-folder"
    assert str(tmp_path / "file") in str(caught.value)


def test_removed_instance_is_not_written_again(instances: Instances) -> None:
    one = _instance(instances)
    instances.write(one)
    instances.remove(one)
    with pytest.raises(EnclaveError):
        instances.write(one)
    assert not instances.folder(one.id).exists()


def test_runtime_folder_is_private_and_short_whatever_is_asked_for(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 80)
    deep.mkdir()
    for base in (str(tmp_path), str(deep), "", "/nonexistent"):
        folder = runtime_folder({"XDG_RUNTIME_DIR": base})
        assert len(os.fsencode(folder)) <= 60
        assert folder.stat().st_mode & 0o777 == 0o700
        folder.rmdir()
