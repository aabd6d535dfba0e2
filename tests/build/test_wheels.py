# SPDX-License-Identifier: Apache-2.0
"""Wheels are unpacked and never run, and pip is handed nothing that it would build."""

import hashlib
import io
import zipfile
from pathlib import Path

import pytest
from tests.build.recipes import ask_only, requirements, wheel

from nacre.build.inputs import Inputs
from nacre.build.lock import Wheel
from nacre.build.wheels import download, fetch, read
from nacre.errors import BuildError

_HASH = f"--hash=sha256:{'0' * 64}"


def _paths(data: bytes) -> list[str]:
    return [one.entry.path for one in read(data, what="it", below="there")]


def _refused(data: bytes) -> str:
    with pytest.raises(BuildError) as caught:
        _paths(data)
    assert caught.value.code == "package-malformed"
    return str(caught.value)


def test_commands_and_notes_of_installers_are_left_out() -> None:
    _, data = wheel(
        "a",
        {
            "a/__init__.py": b"",
            "a/b.so": b"\x7fELF",
            "a-1.0.data/scripts/run": b"#!/bin/sh\n",
            "a-1.0.data/data/etc/passwd": b"root",
            "a-1.0.data/headers/a.h": b"",
            "a-1.0.data/purelib/c.py": b"",
            "a-1.0.data/platlib/d.py": b"",
            "a-1.0.data/purelib": b"",
        },
    )
    assert _paths(data) == [
        "there/d.py",
        "there/c.py",
        "there/a-1.0.dist-info/METADATA",
        "there/a-1.0.dist-info/WHEEL",
        "there/a/__init__.py",
        "there/a/b.so",
    ]


@pytest.mark.parametrize(
    "path",
    ["../a.py", "a/../../b.py", "/etc/passwd", "a//b.py", "a/./b.py", "a-1.0.data/purelib/../../b.py", ".."],
)
def test_a_path_that_leads_out_is_refused(path: str) -> None:
    assert path.encode("unicode_escape").decode() in _refused(wheel("a", {path: b""})[1])


def test_what_is_no_archive_or_a_damaged_one_is_refused() -> None:
    _, sound = wheel("a", {"a.py": bytes(1000), "b.py": b"b" * 1000})
    for at in range(0, len(sound), 7):
        changed = sound[:at] + bytes([sound[at] ^ 0xFF]) + sound[at + 1 :]
        try:
            _paths(changed)
        except BuildError as error:
            assert error.code == "package-malformed"  # noqa: PT017 (some bytes mean nothing)
    for data in (b"", sound[:-30], b"PK\3\4" + bytes(30)):
        _refused(data)


def test_a_bomb_is_seen_before_it_is_unpacked() -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a", b"1234")
    # Both headers state 4 GiB less a bit.
    data = stream.getvalue().replace((4).to_bytes(4, "little"), (0xFFFFFFF0).to_bytes(4, "little"))
    assert "too much" in _refused(data)


@pytest.mark.parametrize(
    "line",
    [
        "a",
        "a==1",
        f"a>=1 {_HASH}",
        f"a @ https://example.org/a.tar.gz {_HASH}",
        f"https://example.org/a.tar.gz {_HASH}",
        f"./a {_HASH}",
        f"./a-1.tar.gz {_HASH}",
        "-e .",
        "-r other.txt",
        "--index-url https://example.org",
        f"a==1 {_HASH} --config-settings x=y",
        f"a==1 ; python_version > '3' -e . {_HASH}",
        f"a==1 --hash=md5:{'0' * 32}",
    ],
)
def test_pip_sees_nothing_but_pinned_requirements(tmp_path: Path, line: str) -> None:
    listed = tmp_path / "needs.txt"
    listed.write_text(f"# fine\n\n{line}\n")
    with pytest.raises(BuildError) as caught:
        download(listed, python="3.11", libc=36, inputs=Inputs(tmp_path / "inputs"), use="app")
    assert caught.value.code == "wheels-line"
    assert "needs.txt" in str(caught.value)


def test_pip_s_words_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = requirements(tmp_path / "wheels", "colour")
    ask_only(tmp_path / "wheels", monkeypatch)
    inputs = Inputs(tmp_path / "inputs")
    (found,) = download(listed, python="3.11", libc=36, inputs=inputs, use="app")
    assert (found.name, found.version, found.use) == ("colour", "1.0", "app")
    digest = hashlib.sha256(wheel("colour")[1]).hexdigest()
    assert found.sha256 == digest
    listed.write_text(listed.read_text().replace(digest, "0" * 64))
    with pytest.raises(BuildError) as caught:
        download(listed, python="3.11", libc=36, inputs=inputs, use="app")
    assert caught.value.code == "wheels-failed"
    assert "requirements.txt" in str(caught.value)


def test_a_locked_wheel_that_nobody_has_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ask_only(tmp_path, monkeypatch)
    file = "a-1.0-cp311-cp311-manylinux_2_28_x86_64.manylinux_2_17_x86_64.whl"
    wanted = Wheel(name="a", version="1.0", sha256="0" * 64, size=1, file=file, use="app")
    for offline, code in ((True, "input-missing"), (False, "wheels-failed")):
        with pytest.raises(BuildError) as caught:
            fetch(wanted, python="3.11", inputs=Inputs(tmp_path / "inputs", offline=offline))
        assert caught.value.code == code
