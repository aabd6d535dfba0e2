# SPDX-License-Identifier: Apache-2.0
"""An application in a machine has sockets of the ordinary kinds, and no others, by no way."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nacre.enclave.boot.confine import CONFINE, filtered

_PROBE = """
import ctypes, json, os, socket, subprocess, sys

def made(family, kind=socket.SOCK_STREAM):
    try:
        socket.socket(family, kind).close()
        return "made"
    except OSError as error:
        return error.strerror

def called(number, *arguments):
    libc = ctypes.CDLL(None, use_errno=True)
    return os.strerror(ctypes.get_errno()) if libc.syscall(number, *arguments) < 0 else "done"

seen = {
    "unix": made(socket.AF_UNIX),
    "inet": made(socket.AF_INET),
    "inet6": made(socket.AF_INET6),
    "netlink": made(socket.AF_NETLINK, socket.SOCK_RAW),
    "vsock": made(socket.AF_VSOCK),
    "alg": made(socket.AF_ALG, socket.SOCK_SEQPACKET),
    "packet": made(socket.AF_PACKET, socket.SOCK_RAW),
    "ring": called(425, 8, 0),
    "arguments": sys.argv[1:],
}
if os.uname().machine == "x86_64":
    seen["high bits"] = called(41, ctypes.c_long(1 << 32 | socket.AF_VSOCK), 1, 0)
    seen["other numbers"] = called(1 << 30 | 41, socket.AF_VSOCK, 1, 0)
if "again" in sys.argv:
    line = [sys.executable, "-c", sys.orig_argv[sys.orig_argv.index("-c") + 1]]
    seen["child"] = json.loads(subprocess.run(line, capture_output=True, check=True).stdout)["vsock"]
print(json.dumps(seen))
"""
_REFUSED = "Address family not supported by protocol"


def _confined(*command: str) -> "subprocess.CompletedProcess[str]":
    line = [sys.executable, *CONFINE[1:], *command]
    return subprocess.run(line, capture_output=True, check=False, text=True, timeout=60)


def test_sockets() -> None:
    done = _confined(sys.executable, "-c", _PROBE, "again")
    assert done.stderr == ""
    seen = json.loads(done.stdout)
    expected = dict.fromkeys(("unix", "inet", "inet6", "netlink"), "made")
    expected |= dict.fromkeys(("vsock", "alg", "packet", "child"), _REFUSED)
    expected["ring"] = "Function not implemented"
    if os.uname().machine == "x86_64":
        expected |= {"high bits": _REFUSED, "other numbers": "Function not implemented"}
    assert seen == expected | {"arguments": ["again"]}


def test_the_command_is_looked_for_and_its_status_is_kept() -> None:
    assert _confined("sh", "-c", "exit 7").returncode == 7
    done = _confined("no-such-program")
    assert (done.returncode, done.stderr) == (126, "no-such-program: No such file or directory\n")


def test_processors() -> None:
    assert len(filtered("x86_64")) == len(filtered("aarch64"))
    assert filtered("x86_64") != filtered("aarch64")
    with pytest.raises(KeyError):
        filtered("sparc")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root changes its root")
def test_a_container_image_is_the_application_s_root(tmp_path: Path) -> None:
    for name in ("usr", "bin", "lib", "lib64"):  # what a shell needs, and no more
        if Path(f"/{name}").is_symlink():
            (tmp_path / name).symlink_to(f"usr/{name}")
    for path in ("usr/bin/dash", "usr/bin/id", *_libraries("/usr/bin/dash"), *_libraries("/usr/bin/id")):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(f"/{path}", tmp_path / path)
    (tmp_path / "srv").mkdir()
    (tmp_path / "srv" / "here").touch()
    tmp_path.chmod(0o755)
    line = ("dash", "-c", "id -u; id -G; pwd; echo *; echo /*; exec 3< ../../../../etc/passwd")
    done = _confined("--inside", str(tmp_path), "/srv", "1000", *line)
    assert done.stdout.splitlines()[:4] == ["1000", "1000", "/srv", "here"]
    assert "/etc" not in done.stdout
    assert "No such file" in done.stderr
    absent = _confined("--inside", str(tmp_path), "/elsewhere", "1000", *line)
    assert absent.returncode == 126
    assert absent.stderr == "/elsewhere in the application's image: No such file or directory\n"


def _libraries(program: str) -> list[str]:
    told = subprocess.run(["ldd", program], capture_output=True, check=True, text=True).stdout  # noqa: S607
    words = [word for line in told.splitlines() for word in line.split() if word.startswith("/")]
    return [
        str(Path(word).resolve() if word.startswith("/usr") else Path(f"/usr{word}"))[1:] for word in words
    ]
