# SPDX-License-Identifier: Apache-2.0
"""Gramine's manifest: every key known to its own schema, every file with its digest, nothing insecure."""

import hashlib
import json
import os
import tomllib
from pathlib import Path
from typing import cast

import msgspec
import pytest

from nacre.build.app import App, Resources
from nacre.build.tree import Tree
from nacre.enclave.launch import gramine
from nacre.errors import EnclaveError

_GRAMMAR = Path(__file__).parents[1] / "grammar" / "gramine-manifest.json"
_APP = App(name="worm", version="1", entry=("python3", "worm.py"), resources=Resources(memory=700, cpus=2))
_LIBRARY = gramine.Library(
    path=Path("/usr/lib/gramine/libsysdb.so"), digest=hashlib.sha256(b"library").digest()
)
_AGENT = ("/usr/bin/python3", "-IB", "-m", "nacre.enclave.agent", "/etc/nacre/agent.json")
_SIMPLE = {"str": str, "bool": bool, "int": int}

Value = str | bool | int | list[str] | list[dict[str, str]] | dict[str, str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    app = tmp_path / 'a "b, {{ gramine.libos }}'
    (app / "data").mkdir(parents=True)
    (app / "worm.py").write_bytes(b"print(1)\n")
    (app / "data" / "ü]=.bin").write_bytes(b"\0" * 9)
    (app / "link").symlink_to("again")
    (app / "again").symlink_to("data/ü]=.bin")
    (app / "folder").symlink_to("data")
    return app


def _manifest(folder: Path, app: App = _APP) -> dict[str, dict[str, Value]]:
    content = gramine.manifest(app, library=_LIBRARY, trees={"/app": Tree.read(folder)}, agent=_AGENT)
    return tomllib.loads(content.decode())


def _check(read: dict[str, dict[str, Value]]) -> None:
    """Refuse what Gramine's schema does not know."""
    grammar = json.loads(_GRAMMAR.read_text())
    for section, keys in read.items():
        for key, value in keys.items():
            kind = grammar["keys"][section][key]
            if kind in _SIMPLE:
                assert type(value) is _SIMPLE[kind], key
            elif kind == "strings":
                assert isinstance(value, list)
                assert all(isinstance(one, str) for one in value)
            elif kind == "environment":
                assert isinstance(value, dict)
                assert all(isinstance(one, str) for one in value.values())
            elif kind in {"file", "files"}:
                for file in value if isinstance(value, list) else [value]:
                    assert isinstance(file, dict)
                    assert set(file) == set(grammar["file"])
            elif kind == "mounts":
                assert isinstance(value, list)
                for mount in cast("list[dict[str, str]]", value):
                    assert set(mount) == set(grammar["mounts"][mount["type"]])
            else:
                assert value in kind.split("|"), key
    assert {"fs", "libos", "loader"} <= set(read)


def test_gramine_knows_every_key(folder: Path) -> None:
    _check(_manifest(folder))


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("sgx", "debugging", False),
        ("sgx", "debug", "false"),
        ("sgx", "max_threads", True),
        ("sgx", "remote_attestation", "ecdsa"),
        ("sgx", "allowed_files", ["file:/etc/"]),
        ("loader", "insecure__use_host_env", True),
        ("loader", "insecure__use_cmdline_argv", True),
        ("fs", "mounts", [{"type": "chroot", "path": "/a"}]),
    ],
)
def test_the_grammar_refuses_what_gramine_would_and_what_we_would_not(
    folder: Path, section: str, key: str, value: Value
) -> None:
    read = _manifest(folder)
    read[section][key] = value
    with pytest.raises((AssertionError, KeyError)):
        _check(read)


def test_nothing_comes_from_the_host_but_files_with_a_digest(folder: Path) -> None:
    read = _manifest(folder)
    assert read["sgx"]["debug"] is False
    assert read["sgx"]["remote_attestation"] == "dcap"
    assert read["sgx"]["file_check_policy"] == "strict"
    assert read["loader"]["argv"] == list(_AGENT)
    assert not [key for keys in read.values() for key in keys if "insecure" in key or "allowed" in key]
    files = cast("list[dict[str, str]]", read["sgx"]["trusted_files"])
    assert files[0] == {"uri": "file:/usr/lib/gramine/libsysdb.so", "sha256": _LIBRARY.digest.hex()}
    assert files[0] == read["loader"]["entrypoint"]
    assert {file["uri"]: file["sha256"] for file in files[1:]} == {
        f"file:{folder / name}": hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in ("worm.py", "data/ü]=.bin", "link", "again")
    }


@pytest.mark.parametrize(("memory", "size"), [(1, "256M"), (256, "256M"), (257, "512M"), (4096, "4096M")])
def test_an_enclave_is_a_power_of_two(folder: Path, memory: int, size: str) -> None:
    app = msgspec.structs.replace(_APP, resources=Resources(memory=memory))
    assert _manifest(folder, app)["sgx"]["enclave_size"] == size


def test_the_commands_are_known() -> None:
    signing = gramine.sign(_APP, directory=Path("/run/a b"), key=Path("/keys/key.pem"))
    assert signing == (
        *(
            "gramine-sgx-sign",
            "--manifest",
            "/run/a b/worm.manifest",
            "--output",
            "/run/a b/worm.manifest.sgx",
        ),
        *("--sigfile", "/run/a b/worm.sig", "--key", "/keys/key.pem", "--quiet"),
    )
    options = json.loads(_GRAMMAR.read_text())["commands"]["gramine-sgx-sign"]
    words = list(signing[1:])
    while words:
        if options[words.pop(0).removeprefix("--")]:
            words.pop(0)
    running = gramine.command(_APP, directory=Path("/run/a b"))
    assert running == ("env", "--chdir=/run/a b", "gramine-sgx", "worm")


@pytest.mark.parametrize("name", ["", "-x", "../x", "a\nb"])
def test_a_name_that_is_more_than_a_name_is_refused(name: str) -> None:
    app = msgspec.structs.replace(_APP, name=name)
    with pytest.raises(EnclaveError) as caught:
        gramine.command(app, directory=Path("/run"))
    assert caught.value.code == "launch-word"


@pytest.mark.parametrize("inside", ["", "app", "/a/../b", '/a"\nsgx.debug = true\n#', "-a", "/a/"])
def test_a_path_inside_that_is_none_is_refused(folder: Path, inside: str) -> None:
    with pytest.raises(EnclaveError) as caught:
        gramine.manifest(_APP, library=_LIBRARY, trees={inside: Tree.read(folder)}, agent=_AGENT)
    assert caught.value.code == "launch-word"


def test_a_file_cannot_write_a_line_of_the_manifest(folder: Path) -> None:
    read = Tree.read(folder)
    entry = msgspec.structs.replace(read.entries[0], kind="file", path='x" }]\nsgx.debug = true\n#')
    with pytest.raises(EnclaveError) as caught:
        gramine.manifest(
            _APP, library=_LIBRARY, trees={"/app": Tree(folder=folder, entries=(entry,))}, agent=_AGENT
        )
    assert caught.value.code == "launch-word"
    with pytest.raises(EnclaveError) as caught:
        gramine.manifest(_APP, library=_LIBRARY, trees={}, agent=(_AGENT[0], 'x"]\nsgx.debug = true\n#'))
    assert caught.value.code == "launch-word"


def test_what_cannot_be_is_refused() -> None:
    short = msgspec.structs.replace(_LIBRARY, digest=b"\1")
    for library, agent, revision, code in (
        (short, _AGENT, 0, "launch-size"),
        (_LIBRARY, (), 0, "launch-word"),
        (_LIBRARY, _AGENT, 1 << 16, "launch-number"),
    ):
        with pytest.raises(EnclaveError) as caught:
            gramine.manifest(_APP, library=library, trees={}, agent=agent, revision=revision)
        assert caught.value.code == code


def test_it_is_written_signed_and_run_in_this_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("gramine-sgx", "gramine-sgx-sign"):
        program = tmp_path / name
        program.write_text(f'#!/bin/sh\necho {name} "$@" >> "{tmp_path}/calls"\n')
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    running = gramine.start(_APP, directory=tmp_path, content=b"x", key=tmp_path / "key", devices={})
    _, said = running.communicate(timeout=60)
    assert (running.returncode, said) == (0, b"")
    assert (tmp_path / "worm.manifest").read_bytes() == b"x"
    calls = [line.split()[0] for line in (tmp_path / "calls").read_text().splitlines()]
    assert calls == ["gramine-sgx-sign", "gramine-sgx"]


def test_what_is_missing_is_said_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    devices = {tmp_path / "gone": "of nobody"}
    with pytest.raises(EnclaveError, match=r"gramine-sgx-sign.*gone") as caught:
        gramine.start(_APP, directory=tmp_path, content=b"x", key=tmp_path / "key", devices=devices)
    assert caught.value.code == "launch-missing"
    assert not (tmp_path / "worm.manifest").exists()
