# SPDX-License-Identifier: Apache-2.0
"""Real boots: a stock kernel, the agent as its first process, and firmware that measures into a TPM."""

import contextlib
import gzip
import hashlib
import json
import os
import secrets
import shutil
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
import pytest

import nacre
from nacre.appraisal.verdict import Verdict
from nacre.build.app import App
from nacre.build.cpio import file, write
from nacre.build.kernel import Kernel
from nacre.build.layout import BEFORE
from nacre.build.tree import Tree
from nacre.build.uki import assemble
from nacre.enclave import envelope
from nacre.enclave.emulate.chip import Chip
from nacre.enclave.emulate.nsm import answer
from nacre.enclave.emulate.sockets import MessageSocket
from nacre.enclave.launch.vm import COMMAND_LINE, Vm, configuration, write_image
from nacre.enclave.launch.vm_measured import Measured
from nacre.errors import EnclaveError
from nacre.platforms.nitro import simulate
from nacre.platforms.nitro.device import MAX_REQUEST
from nacre.platforms.tpm.eventlog import parse
from nacre.platforms.tpm.quote import attestation_key, verify
from nacre.platforms.tpm.replay import replay
from nacre.platforms.tpm.uki import measure
from nacre.trust.anchors import Origin

_RELEASE = bytes(range(32))
#: Seconds for what takes a few where nothing else runs.
_PATIENCE = 300
#: Bytes that are sent out.
_SENT = 1 << 20
_STUB = Path("/usr/lib/systemd/boot/efi/linuxx64.efi.stub")
_PCRS = {f"pcr{index}": bytes([index + 1]) * 48 for index in range(3)}
# Says what an app in there can see and do; it imports little, for what it imports is compiled at its start.
_APP = """
import json, os, socket

def opened(path):
    try:
        os.close(os.open(path, os.O_RDWR))
        return "opened"
    except OSError as error:
        return type(error).__name__

def seen():
    return {
        "user": [os.getuid(), os.getgid(), os.getgroups()],
        "nsm": opened("/dev/nsm"),
        "memory": opened("/dev/mem"),
        "agent": opened("/proc/1/mem"),
        "processes": [name for name in os.listdir("/proc") if name.isdecimal() and int(name) != os.getpid()],
        "interfaces": [name for _, name in socket.if_nameindex()],
        "here": os.getcwd(),
        "direct": dialled(),
    }

def dialled():
    try:
        socket.socket(socket.AF_VSOCK).connect((2, 9002))
        return "connected"
    except OSError as error:
        return error.strerror

def out(target, size):
    with socket.socket(socket.AF_UNIX) as tunnel:
        tunnel.connect(os.environ["NACRE_EGRESS"])
        tunnel.sendall(f"CONNECT {target} HTTP/1.1\\r\\nhost: {target}\\r\\n\\r\\n".encode())
        answer = b""
        while b"\\r\\n\\r\\n" not in answer:
            answer += tunnel.recv(1)
        status = int(answer.split()[1])
        if status == 200:
            tunnel.sendall(bytes(range(256)) * (int(size) // 256))
            tunnel.shutdown(socket.SHUT_WR)
        body = b"".join(iter(lambda: tunnel.recv(65536), b""))
        return {"status": status, "body": body.decode("latin-1")}

def tpm(nonce):
    from nacre.platforms.tpm.device import Tpm
    with Tpm() as chip:
        quoted = chip.quote(bytes.fromhex(nonce), registers=range(24))
    return {
        "log": open("/run/eventlog", "rb").read().hex(),
        "pcrs": {number: value.hex() for number, value in quoted.pcrs.items()},
        "public": quoted.public.hex(),
        "attest": quoted.attest.hex(),
        "signature": quoted.signature.hex(),
    }

listening = socket.socket(socket.AF_UNIX)
listening.bind(os.environ["NACRE_LISTEN"])
listening.listen()
while True:
    caller, _ = listening.accept()
    with caller:
        _, name, *rest = caller.recv(65536).split()[1].decode().split("/")
        body = json.dumps({"": seen, "out": out, "tpm": tpm}[name](*rest)).encode()
        head = b"HTTP/1.1 200 OK\\r\\nconnection: close\\r\\ncontent-length: %d\\r\\n\\r\\n"
        caller.sendall(head % len(body) + body)
"""
# Lets the app have what no application of ours would be let have.
_OPEN_TPM = b"""#!/usr/bin/python3 -IB
import os, shutil

shutil.copyfile("/sys/kernel/security/tpm0/binary_bios_measurements", "/run/eventlog")
os.chmod("/dev/tpmrm0", 0o666)
"""


@pytest.fixture
def kernel() -> Kernel:
    if shutil.which("qemu-system-x86_64") is None:
        pytest.skip("QEMU is not installed; .ci/run installs it")
    if "NACRE_KERNEL" not in os.environ:
        pytest.skip("NACRE_KERNEL names no folder with a kernel; .ci/run fetches one")
    return Kernel.find()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose path leaves room for a socket's name."""
    path = Path(tempfile.mkdtemp(prefix="nacre-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def app(folder: Path) -> tuple[App, Tree]:
    (folder / "app").mkdir()
    (folder / "app" / "main.py").write_text(_APP)
    return App(name="probe", version="1", entry=("python3", "-I", "main.py")), Tree.read(folder / "app")


def _get(path: Path, target: str) -> bytes:
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(_PATIENCE)
        asking.connect(str(path))
        asking.sendall(f"GET {target} HTTP/1.1\r\nhost: enclave\r\nconnection: close\r\n\r\n".encode())
        whole = b"".join(iter(lambda: asking.recv(1 << 16), b""))
    head, _, body = whole.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), whole
    return body


def _asked(path: Path, target: str) -> dict[str, object]:
    """Ask the app, which may still be starting."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            found: dict[str, object] = json.loads(_get(path, target))
        except (AssertionError, OSError):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        else:
            return found


def _policy(folder: Path, root: bytes) -> nacre.Policy:
    (folder / "root.der").write_bytes(root)
    text = 'accept = "WARNING"\nunsafe_waive = ["executables"]\n[anchors.nitro]\nsimulated = ["root.der"]\n'
    return nacre.Policy.parse(text, base=folder)


@contextlib.contextmanager
def _far() -> Iterator[int]:
    """Listen, and answer each caller with the digest of all that it sent."""

    class Digest(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(hashlib.file_digest(self.rfile, "sha256").hexdigest().encode())

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Digest) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@contextlib.contextmanager
def _uplink(folder: Path, *only: str) -> Iterator[Path]:
    path = folder / "uplink.sock"
    narrowed = [word for target in only for word in ("--only", target)]
    line = [sys.executable, "-m", "nacre.enclave.uplink", "--listen", f"unix:{path}", *narrowed]
    with subprocess.Popen(line, stderr=subprocess.PIPE) as process:
        try:
            assert process.stderr is not None
            assert b"listening" in process.stderr.readline()
            yield path
        finally:
            process.terminate()


def test_a_machine_boots_and_proves_what_it_is(kernel: Kernel, app: tuple[App, Tree], folder: Path) -> None:
    now = int(time.time())
    root = simulate.create_root(at=now)
    chip = Chip(simulate.machine(root, at=now), registers=_PCRS, clock=lambda: int(time.time()))
    image = folder / "image.cpio"
    with contextlib.ExitStack() as stack:
        far = f"localhost:{stack.enter_context(_far())}"
        probe = msgspec.structs.replace(app[0], egress=(far, "localhost:9"))
        write_image(image, probe, app[1], kernel=kernel, release=_RELEASE)
        nsm = MessageSocket(folder / "nsm.sock", lambda one: answer(chip, one), limit=MAX_REQUEST)
        stack.enter_context(nsm)
        uplink = stack.enter_context(_uplink(folder, far))
        vm = stack.enter_context(
            Vm(
                image,
                kernel=kernel,
                app=probe,
                nsm=folder / "nsm.sock",
                directory=folder,
                uplink=uplink,
            )
        )
        vm.wait(seconds=_PATIENCE)
        nonce = secrets.token_bytes(32)
        given = envelope.decode(_get(vm.public, f"{envelope.PATH}?nonce={nonce.hex()}"))
        seen = _asked(vm.public, "/")
        reached = [
            _asked(vm.public, f"/out/{target}/{_SENT}") for target in (far, "localhost:9", "localhost:10")
        ]
        log = vm.log.read_text()
    identity = given.identified()
    assert (identity.mode, identity.release) == ("simulated", _RELEASE)
    policy = _policy(folder, root.certificates[0])
    binding = given.binding(nonce=nonce)
    result = nacre.verify(given.evidence, policy=policy, binding=binding, at=int(time.time()), offline=True)
    assert result.origin is Origin.SIMULATED
    assert result.verdict in (Verdict.VERIFIED, Verdict.WARNING)
    assert result.claims is not None
    assert {name: result.claims.registers[name] for name in _PCRS} == _PCRS
    other = given.binding(nonce=bytes(32))
    with pytest.raises(nacre.AppraisalError):
        nacre.verify(given.evidence, policy=policy, binding=other, at=int(time.time()), offline=True)
    # The app is nobody, sees no device, no other process, no network, and no way around the agent.
    assert seen == {
        "user": [1000, 1000, []],
        "nsm": "PermissionError",
        "memory": seen["memory"],
        "agent": seen["agent"],
        "processes": [],
        "interfaces": ["lo"],
        "here": "/app",
        "direct": "Address family not supported by protocol",
    }
    assert seen["memory"] != "opened"
    assert seen["agent"] != "opened"
    assert "agent.entropy-device: pass" in log
    # One host answers, one is not dialled by the uplink, one not asked for by the agent.
    sent = hashlib.sha256(bytes(range(256)) * (_SENT // 256)).hexdigest()
    assert reached[0] == {"status": 200, "body": sent}
    assert [(one["status"], _code(one)) for one in reached[1:]] == [
        (502, "egress-unreachable"),
        (403, "egress-undeclared"),
    ]
    assert not list(folder.glob("v*.sock"))


def _code(answer: Mapping[str, object]) -> object:
    return json.loads(str(answer["body"]))["error"]


def test_firmware_measures_what_was_predicted(kernel: Kernel, app: tuple[App, Tree], folder: Path) -> None:
    if not _STUB.is_file():
        pytest.skip("systemd's stub is not installed; .ci/run installs it")
    now = int(time.time())
    chip = Chip(
        simulate.machine(simulate.create_root(at=now), at=now), registers={}, clock=lambda: int(time.time())
    )
    image = folder / "image.cpio"
    write_image(image, *app, kernel=kernel, release=_RELEASE)
    with image.open("ab") as stream:
        write(stream, [file(f"{BEFORE[1:]}/tpm", _OPEN_TPM, program=True)])
    # Packed, because firmware hashes slowly in software.
    started, packed = kernel.image.read_bytes(), gzip.compress(image.read_bytes(), 1, mtime=0)
    whole = assemble(_STUB.read_bytes(), kernel=started, command_line=COMMAND_LINE, initrd=packed)
    nonce = secrets.token_bytes(32)
    with (
        MessageSocket(folder / "nsm.sock", lambda one: answer(chip, one), limit=MAX_REQUEST),
        Measured(whole, directory=folder) as measured,
        Vm(
            image, kernel=kernel, app=app[0], nsm=folder / "nsm.sock", directory=folder, measured=measured
        ) as vm,
    ):
        vm.wait(seconds=_PATIENCE)
        seen = _asked(vm.public, f"/tpm/{nonce.hex()}")
    assert isinstance(seen["pcrs"], dict)
    values = {int(number): bytes.fromhex(value) for number, value in seen["pcrs"].items()}
    log, public, attest, signature = (
        bytes.fromhex(str(seen[name])) for name in ("log", "public", "attest", "signature")
    )
    quote = verify(
        attest=attest,
        signature=signature,
        key=attestation_key(public),
        nonce=nonce,
        algorithm="sha256",
        pcrs=values,
    )
    assert quote.registers == tuple(range(24))
    quoted = {f"pcr{number}": value for number, value in values.items()}
    replayed = replay(parse(log), algorithm="sha256")
    assert replayed.registers.items() <= quoted.items()
    # What the log does not speak of was never extended, but by the kernel's own log of files (IMA).
    for name in quoted.keys() - replayed.registers.keys() - {"pcr10"}:
        assert quoted[name] in (bytes(32), b"\xff" * 32)
    predicted = measure(image=whole)
    assert set(predicted.registers) == {"pcr4", "pcr9", "pcr11"}
    assert predicted.registers.items() <= quoted.items()
    for name in predicted.registers:
        assert [one.digest for one in predicted.of(name)] == [one.digest for one in replayed.of(name)]


def test_a_machine_that_cannot_boot_says_so(kernel: Kernel, app: tuple[App, Tree], folder: Path) -> None:
    (folder / "image.cpio").write_bytes(b"no archive")
    vm = Vm(folder / "image.cpio", kernel=kernel, app=app[0], nsm=folder / "nsm.sock", directory=folder)
    with vm, pytest.raises(EnclaveError) as caught:
        vm.wait(seconds=60)
    assert caught.value.code == "vm-failed"
    assert "panic" in str(caught.value)


def test_without_qemu_there_is_an_error(
    app: tuple[App, Tree], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(folder))
    kernel = Kernel(image=folder / "vmlinuz", modules=folder)
    with pytest.raises(EnclaveError) as caught:
        Vm(folder / "i", kernel=kernel, app=app[0], nsm=folder / "nsm.sock", directory=folder)
    assert caught.value.code == "vm-missing"
    assert not list(folder.glob("*.sock"))


def test_the_configuration_is_one_that_an_agent_reads(app: tuple[App, Tree], folder: Path) -> None:
    config = configuration(app[0], release=_RELEASE)
    (folder / "agent.json").write_bytes(config.encode())
    assert type(config).load(folder / "agent.json") == config
    assert config.app_user == 1000
