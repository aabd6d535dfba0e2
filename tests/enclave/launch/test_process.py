# SPDX-License-Identifier: Apache-2.0
"""What the sandboxes of a process keep out, asked from the inside."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nacre.enclave.launch import bubblewrap, namespaces

_MAKERS = {"bubblewrap": bubblewrap, "namespaces": namespaces}


@pytest.fixture(params=_MAKERS)
def sandbox(request: pytest.FixtureRequest) -> Callable[..., tuple[str, ...]]:
    if request.param == "bubblewrap" and shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is not installed")
    made: Callable[..., tuple[str, ...]] = _MAKERS[request.param].sandbox
    return made


def test_inside_has_no_network_no_host_files_and_one_writable_folder(
    sandbox: Callable[..., tuple[str, ...]], tmp_path: Path
) -> None:
    readable, writable = tmp_path / "r", tmp_path / "w"
    readable.mkdir()
    writable.mkdir()
    (readable / "seen").write_text("seen")
    script = (
        f"cat {readable}/seen; cat /etc/shadow && echo BAD; echo x > {readable}/new && echo BAD;"
        f" echo x > {writable}/new; echo x > /dev/shm/new || echo BAD; echo x > /new && echo BAD;"
        " grep -q 'CapBnd:.*[1-9a-f]' /proc/self/status && echo BAD; test $$ = 1 || echo BAD;"
        " test -e /proc/2 && test $(cat /proc/2/comm) = sh && echo BAD;"
        " tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' \\n'"
    )
    line = sandbox(["/usr/bin/env", "sh", "-c", script], readable=[readable], writable=[writable])
    answer = subprocess.run(line, capture_output=True, text=True, check=False, timeout=60)
    assert answer.stdout == "seenlo", answer.stderr
    assert (writable / "new").read_text() == "x\n"
    assert not (readable / "new").exists()


def test_bare_namespaces_tell_how_the_command_ended(tmp_path: Path) -> None:
    inner = namespaces.confine(readable=[], writable=[tmp_path], directory=tmp_path)
    for script, expected in (("exit 7", 7), ("kill -9 $$", 137), ("sleep 60 & exit 3", 3)):
        done = subprocess.run([*inner, "sh", "-c", script], check=False, timeout=60)
        assert done.returncode == expected
    done = subprocess.run([*inner, "no-such-program"], capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (127, b"no-such-program: No such file or directory\n")


def test_bare_namespaces_without_a_file_say_so(tmp_path: Path) -> None:
    line = namespaces.sandbox(["/usr/bin/true"], readable=[tmp_path / "nothing"], writable=[])
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 126
    assert f"mounting {tmp_path}/nothing" in done.stderr


def test_bare_namespaces_end_with_who_started_them(tmp_path: Path) -> None:
    line = namespaces.sandbox(["/usr/bin/sleep", "600"], readable=[], writable=[])
    starting = "import os, subprocess, sys; subprocess.Popen(sys.argv[1:]); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", starting, *line], stdin=subprocess.PIPE) as process:
        while not _sleepers(process.pid):
            assert process.poll() is None
        (inside,) = _sleepers(process.pid)
        process.kill()
    while Path(f"/proc/{inside}").exists():
        os.sched_yield()
    assert tmp_path.exists()


def _sleepers(ancestor: int) -> list[int]:
    """List the processes below one that have become what they were to run."""
    found, left = [], [ancestor]
    while left:
        for path in Path(f"/proc/{left.pop()}/task").glob("*/children"):
            children = [int(word) for word in path.read_text().split()]
            left += children
            found += [one for one in children if Path(f"/proc/{one}/comm").read_text() == "sleep\n"]
    return found
