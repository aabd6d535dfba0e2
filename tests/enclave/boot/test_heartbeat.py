# SPDX-License-Identifier: Apache-2.0
"""An enclave of Nitro that says nothing is ended by its parent."""

import socket
import threading
from pathlib import Path

import pytest

from nacre.enclave.boot.heartbeat import beat


@pytest.mark.parametrize(("answer", "expected"), [(b"\xb7", True), (b"\x00", False), (b"", False)])
def test_the_parent_hears_one_byte(tmp_path: Path, answer: bytes, expected: bool) -> None:
    device = tmp_path / "nsm"
    device.touch()
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as parent:

        def listen() -> None:
            connection, _ = parent.accept()
            with connection:
                heard.append(connection.recv(2))
                connection.sendall(answer)

        listening = threading.Thread(target=listen)
        listening.start()
        assert beat(device=device, family=socket.AF_INET, address=parent.getsockname()) is expected
        listening.join()
    assert heard == [b"\xb7"]


def test_nobody_listens(tmp_path: Path) -> None:
    device = tmp_path / "nsm"
    device.touch()
    with socket.create_server(("127.0.0.1", 0)) as parent:
        address = parent.getsockname()
    assert not beat(device=device, family=socket.AF_INET, address=address)


def test_other_platforms_have_no_parent(tmp_path: Path) -> None:
    assert beat(device=tmp_path / "none", address=("nowhere", 1))
