# SPDX-License-Identifier: Apache-2.0
"""Command lines for hardware: every option known to the program's own definition, no value that escapes."""

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from nacre.build.app import App, Resources
from nacre.enclave.launch import nitro, snp, tdx
from nacre.enclave.launch.confidential import Guest
from nacre.errors import EnclaveError

_GRAMMAR = Path(__file__).parents[1] / "grammar"
_APP = App(name="worm", version="1", entry=("python3", "worm.py"), resources=Resources(memory=700, cpus=2))
_GUEST = Guest(
    firmware=Path("/images/ovmf.fd"),
    kernel=Path("/images/vmlinuz"),
    initramfs=Path("/images/initramfs"),
    parameters="console=ttyS0 quiet",
    cid=16,
    log=Path("/run/console.log"),
)
_IDENTITY = snp.Launch(host_data=bytes(range(32)), id_block=b"\1" * 96, id_auth=b"\2" * 4096, author_key=True)
_LINES = {
    "tdx": tdx.command(_APP, _GUEST),
    "tdx-owned": tdx.command(_APP, _GUEST, config_id=b"\1" * 48, owner=b"\2" * 48, owner_config=bytes(48)),
    "snp": snp.command(_APP, _GUEST),
    "snp-identity": snp.command(_APP, _GUEST, launch=_IDENTITY),
}
#: What an attacker would have a path say, and whether it is handled as it is.
_HOSTILE = {
    "": False,
    "-eif": False,
    "--debug-mode": False,
    "/a\nb": False,
    "/a\0b": False,
    "/a\x1b[2Jb": False,
    "/a\u202eb": False,
    "/a\udcffb": False,
    "/a,b": True,
    "/a,,id=x": True,
    '/a"b': True,
    "/a'b; reboot #": True,
    "/a $(reboot) `x`": True,
    '/a"},"debug":true,{"': True,
    "/a\\b": True,
    "/ä": True,
}
_MEMBERS = {"str": str, "bool": bool, "uint32": int, "uint64": int, "size": int}


def _grammar(name: str) -> dict[str, dict[str, dict[str, str]]]:
    read: dict[str, dict[str, dict[str, str]]] = json.loads((_GRAMMAR / f"{name}.json").read_text())
    return read


def _pairs(line: tuple[str, ...]) -> Iterator[tuple[str, str | None]]:
    """Split QEMU's command line as it is split there: a known flag, or an option and its value."""
    words = iter(line[1:])
    grammar = _grammar("qemu-options")
    for word in words:
        assert word.startswith("-")
        name = word[1:]
        if name in grammar["flags"]:
            yield name, None
        else:
            assert name == "object" or name in grammar["values"] or name in grammar["lists"], name
            yield name, next(words)


def _split(value: str) -> list[str]:
    """Split where QEMU does: at a comma that is not doubled."""
    return [part.replace("\0", ",") for part in value.replace(",,", "\0").split(",")]


def _check_object(properties: dict[str, object], objects: dict[str, dict[str, str]]) -> None:
    known = objects[str(properties.pop("qom-type"))]
    assert isinstance(properties.pop("id"), str)
    for name, value in properties.items():
        kind = known[name]
        if kind == "unix-socket":
            assert isinstance(value, dict)
            assert value["type"] == "unix"
            members = _grammar("qemu-objects")["unix-socket"]
            assert all(isinstance(one, _MEMBERS[str(members[key])]) for key, one in value.items())
            continue
        assert type(value) is _MEMBERS[kind], name
        if isinstance(value, int):
            assert 0 <= value < 1 << (32 if kind == "uint32" else 64)


def _check_list(name: str, value: str, objects: set[str]) -> None:
    known = _grammar("qemu-options")["lists"][name]
    parts = _split(value)
    if name != "smp":  # the machine, the device, the kind of character device
        assert parts.pop(0) in {"q35", "vhost-vsock-pci", "file"}
    for part in parts:
        key, _, given = part.partition("=")
        kind = known[key]
        assert given
        if kind == "number":
            assert given.isdecimal()
        elif kind == "object":
            assert given in objects
        elif kind != "str":
            assert given in kind.split("|")


def _check(line: tuple[str, ...]) -> None:
    """Refuse what QEMU's own definition does not know."""
    pairs = list(_pairs(line))
    objects = [json.loads(value) for name, value in pairs if name == "object" and value]
    names = {one["id"] for one in objects}
    for one in objects:
        _check_object(dict(one), _grammar("qemu-objects")["objects"])
    for name, value in pairs:
        if name in _grammar("qemu-options")["lists"] and value is not None:
            _check_list(name, value, names)


@pytest.mark.parametrize("line", _LINES.values(), ids=_LINES)
def test_qemu_knows_every_option(line: tuple[str, ...]) -> None:
    _check(line)
    assert line[0] == "qemu-system-x86_64"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"cbitpos"', '"cbitposition"'),
        ('"cbitpos":51', '"cbitpos":"51"'),
        ('"cbitpos":51', '"cbitpos":true'),
        ('"kernel-hashes":true', '"kernel-hashes":"on"'),
        ('"policy":196608', f'"policy":{1 << 64}'),
        ("sev-snp-guest", "sev-snp"),
        ("kernel-irqchip=split", "kernel-irqchip=splitted"),
        ("guest-cid=16", "guest-cid=any"),
        ("memory-backend=ram", "memory-backend=rom"),
        ("-nodefaults", "-defaults"),
    ],
)
def test_the_grammar_refuses_what_qemu_would(old: str, new: str) -> None:
    line = _LINES["snp"]
    assert any(old in word for word in line)
    with pytest.raises((AssertionError, KeyError)):
        _check(tuple(word.replace(old, new) for word in line))


def test_a_machine_of_tdx_is_this_and_nothing_else() -> None:
    machine = "q35,accel=kvm,kernel-irqchip=split,confidential-guest-support=tdx,memory-backend=ram"
    socket = '{"type":"unix","path":"/var/run/tdx-qgs/qgs.socket"}'
    assert _LINES["tdx"] == (
        *("qemu-system-x86_64", "-no-user-config", "-nodefaults", "-display", "none", "-no-reboot"),
        *("-machine", f"{machine},smm=off,vmport=off,hpet=off"),
        "-object",
        f'{{"qom-type":"tdx-guest","id":"tdx","sept-ve-disable":true,"quote-generation-socket":{socket}}}',
        *("-object", '{"qom-type":"memory-backend-ram","id":"ram","size":734003200}'),
        *("-cpu", "host", "-smp", "cpus=2,maxcpus=2", "-m", "700M"),
        *("-bios", "/images/ovmf.fd", "-kernel", "/images/vmlinuz", "-initrd", "/images/initramfs"),
        *("-append", "console=ttyS0 quiet"),
        *("-chardev", "file,id=console,path=/run/console.log", "-serial", "chardev:console"),
        *("-device", "vhost-vsock-pci,guest-cid=16"),
    )


def test_what_the_processor_reports_is_handed_over_byte_by_byte() -> None:
    values = dict(_pairs(_LINES["snp-identity"]))
    given = json.loads(next(word for word in _LINES["snp-identity"] if "sev-snp-guest" in word))
    assert base64.b64decode(given["host-data"]) == _IDENTITY.host_data
    assert base64.b64decode(given["id-block"]) == _IDENTITY.id_block
    assert base64.b64decode(given["id-auth"]) == _IDENTITY.id_auth
    assert (given["policy"], given["kernel-hashes"], given["author-key-enabled"]) == (0x30000, True, True)
    assert values["cpu"] == "EPYC-v4"


def _with(field: str) -> Callable[[str], tuple[str, ...]]:
    if field == "quotes":
        return lambda path: tdx.command(_APP, _GUEST, quotes=_path(path))
    if field == "eif":
        return lambda path: nitro.command(_APP, eif=_path(path), cid=16)
    value = (lambda path: path) if field == "parameters" else _path
    return lambda path: snp.command(_APP, msgspec.structs.replace(_GUEST, **{field: value(path)}))


def _path(text: str) -> Path:
    # Path("") is "."; as text it stays what the attacker wrote.
    return Path(text) if text else text  # type: ignore[return-value]


@pytest.mark.parametrize("field", ["firmware", "kernel", "initramfs", "parameters", "log", "quotes", "eif"])
@pytest.mark.parametrize(("hostile", "handled"), _HOSTILE.items(), ids=map(ascii, _HOSTILE))
def test_no_value_becomes_anything_but_a_value(field: str, hostile: str, handled: bool) -> None:
    command = _with(field)
    if not handled:
        with pytest.raises(EnclaveError, match="cannot be put on a command line") as caught:
            command(hostile)
        assert caught.value.code == "launch-word"
        return
    line, harmless = command(hostile), command("/harmless")
    assert len(line) == len(harmless)
    differing = [(mine, plain) for mine, plain in zip(line, harmless, strict=True) if mine != plain]
    assert len(differing) == 1
    mine, plain = differing[0]
    if plain.startswith("{"):
        assert json.loads(mine) == {
            **json.loads(plain),
            "quote-generation-socket": {"type": "unix", "path": hostile},
        }
    elif "path=" in plain:
        assert _split(mine) == ["file", "id=console", f"path={hostile}"]
    else:
        assert mine == hostile


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda: snp.command(_APP, _GUEST, launch=snp.Launch(policy=0xB0000)), "launch-debug"),
        (lambda: snp.command(_APP, _GUEST, launch=snp.Launch(policy=0)), "launch-number"),
        (lambda: snp.command(_APP, _GUEST, launch=snp.Launch(policy=1 << 64 | 0x30000)), "launch-number"),
        (lambda: snp.command(_APP, _GUEST, launch=snp.Launch(policy=-1)), "launch-debug"),
        (lambda: snp.command(_APP, _GUEST, launch=snp.Launch(cbitpos=5)), "launch-number"),
        (lambda: snp.command(_APP, _GUEST, launch=snp.Launch(reduced_phys_bits=64)), "launch-number"),
        (lambda: snp.command(_APP, _GUEST, launch=snp.Launch(id_block=bytes(96))), "launch-identity"),
        (lambda: snp.command(_APP, _GUEST, launch=snp.Launch(host_data=bytes(31))), "launch-size"),
        (lambda: snp.command(_APP, _GUEST, launch=snp.Launch(cpu="EPYC,x=y")), "launch-word"),
        (lambda: snp.command(_APP, _GUEST, launch=snp.Launch(cpu="-EPYC")), "launch-word"),
        (lambda: tdx.command(_APP, _GUEST, owner=bytes(47)), "launch-size"),
        (lambda: tdx.command(_APP, msgspec.structs.replace(_GUEST, cid=2)), "launch-number"),
        (lambda: tdx.command(_APP, msgspec.structs.replace(_GUEST, cid=(1 << 32) - 1)), "launch-number"),
        (lambda: nitro.command(_APP, eif=Path("/a.eif"), cid=3), "launch-number"),
        (lambda: nitro.terminate("i-12; reboot"), "launch-word"),
        (lambda: nitro.terminate("--all"), "launch-word"),
    ],
)
def test_what_cannot_be_is_refused(make: Callable[[], object], code: str) -> None:
    with pytest.raises(EnclaveError) as caught:
        make()
    assert caught.value.code == code


def _known_to_nitro(line: tuple[str, ...]) -> bool:
    grammar = json.loads((_GRAMMAR / "nitro-cli.json").read_text())
    program, command, *words = line
    options = grammar["commands"][command]
    while words:
        name = words.pop(0).removeprefix("--")
        if options[name]:
            value = words.pop(0)
            assert not value.startswith("-")
            assert value.isdecimal() or name not in grammar["numbers"]
    return program == "nitro-cli"


def test_nitro_cli_knows_every_option() -> None:
    plain = nitro.command(_APP, eif=Path("/worm.eif"), cid=16)
    assert plain == (
        *("nitro-cli", "run-enclave", "--eif-path", "/worm.eif", "--cpu-count", "2"),
        *("--memory", "700", "--enclave-cid", "16"),
    )
    debug = nitro.command(_APP, eif=Path("/worm.eif"), cid=16, debug=True)
    assert debug == (*plain, "--debug-mode")
    for line in (plain, debug, nitro.list_command(), nitro.terminate("i-0a1b-enc2c3d")):
        assert _known_to_nitro(line)
    with pytest.raises(KeyError):
        _known_to_nitro((*plain, "--debug"))


# The program below stands for nitro-cli where the code is ours: starting it and reading what it prints.
_CLI = """#!/bin/sh
echo "$@" >> "$0.calls"
case "$1" in
run-enclave) echo "Start allocating memory..." >&2; cat "$0.run" ;;
describe-enclaves) cat "$0.describe" ;;
terminate-enclave) echo '{"EnclaveID": "'"$3"'", "Terminated": true}' ;;
esac
"""
_RUN = {
    "EnclaveID": "i-0a1b-enc2c3d",
    "EnclaveCID": 16,
    "NumberOfCPUs": 2,
    "CPUIDs": [1, 3],
    "MemoryMiB": 704,
}
_DESCRIBED = {**_RUN, "State": "RUNNING", "Flags": "NONE", "ProcessID": 7}


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "nitro-cli"
    program.write_text(_CLI)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    (tmp_path / "device").touch()
    (tmp_path / "nitro-cli.run").write_text(json.dumps(_RUN))
    (tmp_path / "nitro-cli.describe").write_text(json.dumps([_DESCRIBED]))
    return program


def _start(cli: Path) -> nitro.Running:
    return nitro.start(_APP, eif=Path("/worm.eif"), cid=16, device=cli.parent / "device")


def test_the_answers_of_nitro_cli_are_read(cli: Path) -> None:
    assert _start(cli).identifier == "i-0a1b-enc2c3d"
    (running,) = nitro.describe(device=cli.parent / "device")
    assert (running.cid, running.cpus, running.memory, running.state) == (16, 2, 704, "RUNNING")
    nitro.stop(running.identifier, device=cli.parent / "device")
    calls = cli.with_suffix(".calls").read_text().splitlines()
    assert calls[0] == "run-enclave --eif-path /worm.eif --cpu-count 2 --memory 700 --enclave-cid 16"
    assert calls[-1] == "terminate-enclave --enclave-id i-0a1b-enc2c3d"


def test_an_enclave_in_debug_mode_that_nobody_asked_for_is_ended(cli: Path) -> None:
    cli.with_suffix(".describe").write_text(json.dumps([{**_DESCRIBED, "Flags": "DEBUG_MODE"}]))
    with pytest.raises(EnclaveError, match="look inside"):
        _start(cli)
    assert cli.with_suffix(".calls").read_text().splitlines()[-1].startswith("terminate-enclave")


@pytest.mark.parametrize("answer", ["", "{", "[]", "null", '{"EnclaveID": 7}', '{"EnclaveID": "i-1-enc1"}'])
def test_an_answer_that_is_none_is_an_error_of_ours(cli: Path, answer: str) -> None:
    cli.with_suffix(".run").write_text(answer)
    with pytest.raises(EnclaveError) as caught:
        _start(cli)
    assert caught.value.code == "launch-answer"


def test_what_nitro_cli_complains_about_is_shown(cli: Path) -> None:
    cli.write_text("#!/bin/sh\necho 'E22 insufficient memory' >&2\nexit 1\n")
    with pytest.raises(EnclaveError, match="E22 insufficient memory"):
        _start(cli)


@pytest.mark.parametrize("name", ["nitro", "tdx", "snp"])
def test_what_is_missing_is_said_before_anything_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    gone = tmp_path / "gone"
    start: Callable[[], object]
    if name == "nitro":
        said = nitro.missing(device=gone)
        start = lambda: nitro.start(_APP, eif=Path("/worm.eif"), cid=16, device=gone)  # noqa: E731
    elif name == "tdx":
        said = tdx.missing(quotes=gone)
        start = lambda: tdx.start(_APP, _GUEST, quotes=gone)  # noqa: E731
    else:
        said = snp.missing(device=gone)
        start = lambda: snp.start(_APP, _GUEST, device=gone)  # noqa: E731
    assert any("program" in line for line in said)
    assert any(str(gone) in line for line in said)
    with pytest.raises(EnclaveError, match="missing on this machine") as caught:
        start()
    assert caught.value.code == "launch-missing"


def test_this_qemu_takes_what_it_knows_of_the_line(tmp_path: Path) -> None:
    qemu = shutil.which("qemu-system-x86_64")
    assert qemu is not None, "apt-get install qemu-system-x86"
    asked = [qemu, "-machine", "q35,help"]
    machine = subprocess.run(asked, capture_output=True, check=True, text=True).stdout
    for name in _grammar("qemu-options")["lists"]["machine"]:
        # These two are taken by the accelerator, which only says so where it exists.
        assert f"\n  {name}=" in machine or name in {"accel", "kernel-irqchip"}
    # Its own reader of objects and of doubled commas, without a machine.
    log = tmp_path / "a,b.log"
    guest = msgspec.structs.replace(_GUEST, log=log)
    pairs = [(name, value) for name, value in _pairs(snp.command(_APP, guest)) if value is not None]
    memory = next(value for name, value in pairs if name == "object" and "memory" in value)
    chardev = next(value for name, value in pairs if name == "chardev")
    line = [qemu, "-machine", "none", "-nodefaults", "-display", "none", "-object", memory]
    line += ["-chardev", chardev, "-monitor", "stdio"]
    subprocess.run(line, input=b"quit\n", capture_output=True, check=True, timeout=60)
    assert log.exists()
