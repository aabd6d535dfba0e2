# SPDX-License-Identifier: Apache-2.0
"""The app's process, for every way in which it can behave; real processes."""

import asyncio
import contextlib
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from nacre.enclave.agent.config import Config
from nacre.enclave.agent.supervise import Supervisor

Configure = Callable[..., Config]


async def _supervised(config: Config, *, seconds: float) -> tuple[int | None, int, bool]:
    """Run an app for so long; tells how it was given up, how often started again, whether it was stopped."""
    restarts = 0

    def restarted() -> None:
        nonlocal restarts
        restarts += 1

    supervisor = Supervisor(config, restarted=restarted)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGCHLD, supervisor.bury)
    running = loop.create_task(supervisor.run())
    done, _ = await asyncio.wait({running}, timeout=seconds)
    await supervisor.stop()
    if not done:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        return None, restarts, True
    return running.result(), restarts, False


def _gone(pid: int) -> bool:
    """Tell whether a process is no more, or only to be buried by PID 1."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(") ")[2][0] == "Z"
    except OSError:
        return True


def _python(program: str) -> tuple[str, ...]:
    return (sys.executable, "-c", program)


@pytest.mark.parametrize(
    ("policy", "program", "status", "again"),
    [
        ("never", "raise SystemExit(3)", None, False),
        ("on-failure", "raise SystemExit(0)", None, False),
        ("on-failure", "raise SystemExit(3)", None, True),
        ("always", "raise SystemExit(0)", None, True),
        ("halt", "raise SystemExit(3)", 3, False),
        ("halt", "import os; os.kill(os.getpid(), 9)", 137, False),
    ],
)
def test_policy_decides(
    configure: Configure, policy: str, program: str, status: int | None, again: bool
) -> None:
    config = configure(*_python(program), app={"restart": policy})
    found, restarts, stopped = asyncio.run(_supervised(config, seconds=1.0))
    assert found == status
    assert stopped is again
    # With pauses that double there are a few starts in a second, and not hundreds.
    assert (1 <= restarts <= 4) if again else not restarts


def test_app_that_cannot_be_started_is_said(configure: Configure, capfd: pytest.CaptureFixture[str]) -> None:
    assert asyncio.run(_supervised(configure("/no/such"), seconds=2)) == (None, 0, False)
    assert "cannot be started: No such file" in capfd.readouterr().err


def test_environment_is_the_apps_and_nothing_else(
    configure: Configure, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of the host")
    config = configure("/usr/bin/env", app={"environment": {"MINE": "1"}})
    asyncio.run(_supervised(config, seconds=2))
    lines = re.findall(r" app: (\w+)=(.*)", capfd.readouterr().err)
    assert dict(lines) == {
        "MINE": "1",
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "NACRE_SOCKET": config.socket,
        "NACRE_LISTEN": config.app_socket,
    }


def test_app_inherits_no_open_file(
    configure: Configure, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    secret = folder / "secret"
    secret.write_text("x")
    with secret.open() as file:
        os.set_inheritable(file.fileno(), True)
        asyncio.run(_supervised(configure("/bin/ls", "/proc/self/fd"), seconds=2))
    assert re.findall(r" app: (\d+)", capfd.readouterr().err) == ["0", "1", "2", "3"]


@pytest.mark.parametrize("given", [{"LANG": "C"}, {"LANG": "C", "LC_CTYPE": "C"}, {"LANG": "x=y\u00e9 "}])
def test_environment_is_not_python_s_idea_of_one(
    configure: Configure, capfd: pytest.CaptureFixture[str], given: dict[str, str]
) -> None:
    asyncio.run(_supervised(configure("/usr/bin/env", app={"environment": given}), seconds=20))
    lines = re.findall(r" app: (LANG|LC_\w+)=(.*)", capfd.readouterr().err)
    assert dict(lines) == given


def test_app_finds_no_child_and_no_ignored_signal_but_those_of_everybody(
    configure: Configure, capfd: pytest.CaptureFixture[str]
) -> None:
    program = "wait; echo waited $?; awk '/SigIgn/ {print $2}' /proc/self/status"
    asyncio.run(_supervised(configure("/bin/sh", "-c", program), seconds=20))
    said = capfd.readouterr().err
    assert "app: waited 0" in said
    (mask,) = re.findall(r"app: ([0-9a-f]{16})\n", said)
    # Signals 32 and 33 are the C library's own; whoever was started by its posix_spawn ignores them.
    assert int(mask, 16) & ~(3 << 31) == 0


def test_what_an_app_leaves_behind_ends_with_it(configure: Configure, folder: Path) -> None:
    left = folder / "left"
    config = configure("/bin/sh", "-c", f"sleep 600 & echo $! > {left}")
    assert asyncio.run(_supervised(config, seconds=20)) == (None, 0, False)
    end = time.monotonic() + 60
    while not _gone(int(left.read_text())):
        assert time.monotonic() < end
        time.sleep(0.02)


def test_app_that_ignores_the_request_to_end_is_ended(
    configure: Configure, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    child = folder / "child"
    program = (
        "import os, signal, time; signal.signal(15, signal.SIG_IGN); pid = os.fork(); "
        f"pid and open({str(child)!r}, 'w').write(str(pid)); time.sleep(60)"
    )
    begun = time.monotonic()
    assert asyncio.run(_supervised(configure(*_python(program)), seconds=0.5)) == (None, 0, True)
    assert 1 < time.monotonic() - begun < 60
    assert "did not end when asked" in capfd.readouterr().err
    assert _gone(int(child.read_text()))


def test_lines_without_end_fill_the_log_and_no_memory(
    configure: Configure, capfd: pytest.CaptureFixture[str]
) -> None:
    program = (
        "import sys; sys.stdout.write('x' * 100_000 + chr(27) + '[31m' + chr(10)); sys.stdout.write('end')"
    )
    asyncio.run(_supervised(configure(*_python(program)), seconds=2))
    shown = capfd.readouterr().err
    assert shown.count("x") >= 100_000
    assert max(map(len, shown.splitlines())) < 20_000
    assert "app: end" in shown
    assert "\x1b" not in shown
