# SPDX-License-Identifier: Apache-2.0
"""The image's interpreter compiles, and nothing of the application runs where it is built."""

import marshal
import os
import sys
import sysconfig
from pathlib import Path

import pytest

from nacre.build.bytecode_of_image import compiled
from nacre.build.cpio import Member, file, link
from nacre.build.elf import closure
from nacre.errors import BuildError

_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
_STDLIB = f"usr/lib/python{_PYTHON}"
_LIBRARIES = "usr/lib/x86_64-linux-gnu"
_LOADER = "usr/lib64/ld-linux-x86-64.so.2"


@pytest.fixture(scope="module")
def platform() -> list[Member]:
    """This machine's interpreter, with what it needs to start, as an image has it."""
    interpreter = Path(sys.executable).resolve()
    found = [file(f"usr/bin/python{_PYTHON}", interpreter.read_bytes(), program=True)]
    for name, path in closure([interpreter]).items():
        place = _LOADER if name.startswith("/") else f"{_LIBRARIES}/{name}"
        found.append(file(place, path.read_bytes()))
    stdlib = Path(sysconfig.get_path("stdlib"))
    for folder in (".", "encodings", "importlib", "collections", "re"):
        found += [
            file(os.path.normpath(f"{_STDLIB}/{folder}/{path.name}"), path.read_bytes())
            for path in sorted((stdlib / folder).glob("*.py"))
        ]
    return found


def test_modules_are_compiled_and_compile_the_same(platform: list[Member]) -> None:
    application = [
        file("app/main.py", b"name = 'x'\nnames = {'a', 'b'}\n"),
        file("app/ünlaut.py", b"pass\n"),
        file("app/broken.py", b"def\n"),
        file("app/data.txt", b"text"),
        link("app/other.py", "main.py"),
        file("etc/not.py", b"pass\n"),
    ]
    found = dict(compiled(platform, application, python=_PYTHON))
    tag = sys.implementation.cache_tag
    assert {path for path in found if path.startswith("app/")} == {"app/main.py", "app/ünlaut.py"}
    assert "etc/not.py" not in found
    assert found["app/main.py"].entry.path == f"app/__pycache__/main.{tag}.pyc"
    code = marshal.loads(b"".join(found["app/main.py"].content)[16:])  # noqa: S302 (made here)
    assert code.co_filename == "/app/main.py"
    assert f"{_STDLIB}/encodings/utf_8.py" in found
    again = dict(compiled(platform, reversed(application), python=_PYTHON))
    assert {path: one.entry for path, one in again.items()} == {
        path: one.entry for path, one in found.items()
    }


def test_nothing_of_the_application_runs_or_is_loaded(platform: list[Member], tmp_path: Path) -> None:
    evil = f"open({str(tmp_path / 'pwned')!r}, 'w')\n".encode()
    application = [
        file(f"{_LIBRARIES}/glibc-hwcaps/x86-64-v2/libc.so.6", b"\x7fELF evil"),
        file(f"{_STDLIB}/importlib/util/__init__.py", evil),
        file(f"{_STDLIB}/sitecustomize.py", evil),
        file("usr/usercustomize.py", evil),
        file("usr/importlib.py", evil),
        file("app/marshal.py", evil),
        file("app/main.py", evil),
    ]
    found = dict(compiled(platform, application, python=_PYTHON))
    assert "app/main.py" in found
    assert not (tmp_path / "pwned").exists()


def test_an_interpreter_that_does_not_run_is_named(platform: list[Member]) -> None:
    spoiled = [one for one in platform if "encodings" not in one.entry.path]
    for members in ([], [file(_LOADER, b"\x7fELF")], spoiled):
        with pytest.raises(BuildError) as caught:
            compiled(members, [file("app/main.py", b"")], python=_PYTHON)
        assert caught.value.code == "bytecode-failed"
        assert str(caught.value)
    with pytest.raises(BuildError) as caught:
        compiled(platform, [file("app/a.py", b""), file("app/a.py/b.py", b"")], python=_PYTHON)
    assert caught.value.code == "bytecode-failed"
