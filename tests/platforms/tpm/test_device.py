# SPDX-License-Identifier: Apache-2.0
"""The driver against a real TPM in software, behind a terminal that stands in for the kernel's device."""

import os
import select
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from nacre.errors import ConfigurationError, EnclaveError
from nacre.platforms.tpm.device import Tpm
from nacre.platforms.tpm.quote import attestation_key, verify

_NONCE = bytes(range(32))
#: A TPM that is busy with itself says so.
_RETRY = bytes.fromhex("80010000000a00000922")


def _message(source: "socket.socket | int") -> bytes:
    """Read one command or response, which states its size."""
    whole = b""
    while len(whole) < 6 or len(whole) < int.from_bytes(whole[2:6], "big"):
        piece = os.read(source, 4096) if isinstance(source, int) else source.recv(4096)
        if not piece:
            return b""
        whole += piece
    return whole


def _carry(terminal: int, line: socket.socket, ended: int) -> None:
    while True:
        ready, _, _ = select.select([terminal, ended], [], [])
        if ended in ready:
            return
        command = _message(terminal)
        answer = _RETRY
        # So does the kernel.
        while answer == _RETRY:
            line.sendall(command)
            answer = _message(line)
        os.write(terminal, answer)


@pytest.fixture
def tpm() -> Iterator[str]:
    """A TPM's device."""
    program = shutil.which("swtpm")
    if program is None:
        pytest.skip("swtpm is not installed; .ci/run installs it")
    with tempfile.TemporaryDirectory(prefix="nacre-") as folder:
        where = Path(folder) / "tpm.sock"
        made = [f"{program}_setup", "--tpm2", "--tpmstate", folder, "--pcr-banks", "sha256,sha384"]
        subprocess.run(made, check=True, capture_output=True)
        command = [program, "socket", "--tpm2", "--tpmstate", f"dir={folder}", "--flags", "startup-clear"]
        command += ["--server", f"type=unixio,path={where}"]
        ours, device = os.openpty()
        tty.setraw(device)
        told, telling = os.pipe()
        with subprocess.Popen(command) as process, socket.socket(socket.AF_UNIX) as line:
            while not where.exists():
                time.sleep(0.01)
            line.connect(str(where))
            thread = threading.Thread(target=_carry, args=(ours, line, told))
            thread.start()
            yield os.ttyname(device)
            os.close(telling)
            thread.join()
            process.terminate()
        for file in (ours, device, told):
            os.close(file)


@pytest.mark.parametrize("algorithm", ["sha256", "sha384"])
def test_quotes(tpm: str, algorithm: str) -> None:
    with Tpm(tpm) as chip:
        # Oftener than a TPM has room for keys.
        several = [
            chip.quote(_NONCE, registers=(23, 0, 17, *range(4, 12)), algorithm=algorithm) for _ in range(4)
        ]
    quoted = several[-1]
    assert {one.public for one in several} == {quoted.public}
    assert sorted(quoted.pcrs) == [0, *range(4, 12), 17, 23]
    size = 32 if algorithm == "sha256" else 48
    assert (quoted.pcrs[0], quoted.pcrs[17]) == (bytes(size), b"\xff" * size)
    quote = verify(
        attest=quoted.attest,
        signature=quoted.signature,
        key=attestation_key(quoted.public),
        nonce=_NONCE,
        algorithm=algorithm,
        pcrs=quoted.pcrs,
    )
    assert quote.nonce == _NONCE


def test_what_the_tpm_refuses(tpm: str) -> None:
    with Tpm(tpm) as chip:
        with pytest.raises(EnclaveError) as caught:
            chip.quote(bytes(200), registers=(0,))
        assert caught.value.code == "tpm-device"
        assert "response code" in str(caught.value)
        # A bank that this TPM does not keep.
        with pytest.raises(EnclaveError) as caught:
            chip.quote(_NONCE, registers=(0,), algorithm="sha512")
        assert caught.value.code == "device-no-register"
        with pytest.raises(EnclaveError) as caught:
            chip.quote(_NONCE, registers=(24,))
        assert caught.value.code == "device-no-register"
        with pytest.raises(ConfigurationError):
            chip.quote(_NONCE, registers=(0,), algorithm="sha1")
        assert chip.quote(_NONCE, registers=(0,)).pcrs == {0: bytes(32)}


@pytest.mark.parametrize("path", ["/nonexistent/tpm", "/dev/null", "/dev/full"])
def test_what_is_no_tpm(path: str) -> None:
    with pytest.raises(EnclaveError) as caught, Tpm(path) as chip:
        chip.quote(_NONCE, registers=(0,))
    assert caught.value.code == "tpm-device"
    assert path in str(caught.value)
