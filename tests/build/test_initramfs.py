# SPDX-License-Identifier: Apache-2.0
"""An enclave's first file system: complete, and the same bytes wherever and however it is written."""

import hashlib
import importlib.util
import marshal
import os
import subprocess
import sys
from pathlib import Path

import pytest

from nacre.build.bytecode import compiled
from nacre.build.cpio import Member
from nacre.build.elf import closure, needs
from nacre.build.initramfs import contents
from nacre.build.layout import MODULES
from nacre.build.tree import Tree
from nacre.errors import BuildError

_BUILD = """
import hashlib, sys
from nacre.build.initramfs import build
from nacre.build.tree import Tree

class Digest:
    def __init__(self):
        self.whole = hashlib.sha256()
    def write(self, piece):
        self.whole.update(piece)

digest = Digest()
build(digest, Tree.read(sys.argv[1]), configuration=b"{}", modules=[("one.ko", b"1"), ("a.ko", b"2")])
print(digest.whole.hexdigest())
"""


def _app(tmp_path: Path) -> Path:
    folder = tmp_path / "app"
    (folder / "package").mkdir(parents=True)
    (folder / "package" / "__main__.py").write_text("print('hello')\n")
    (folder / "main.py").symlink_to("package/__main__.py")
    return folder


@pytest.fixture
def app(tmp_path: Path) -> Path:
    return _app(tmp_path)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Member]:
    app = _app(tmp_path_factory.mktemp("image"))
    found = contents(Tree.read(app), configuration=b"{}", modules=[("one.ko", b"1"), ("a.ko", b"2")])
    return {member.entry.path: member for member in found}


def _digest(app: Path, *, cwd: Path, umask: int, **environment: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", _BUILD, str(app)],
        cwd=cwd,
        umask=umask,
        env={"PATH": os.environ["PATH"], **environment},
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def test_two_builds_are_the_same_bytes(app: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    one = _digest(app, cwd=app, umask=0o022, TZ="UTC", LC_ALL="C", PYTHONHASHSEED="1")
    app.rename(elsewhere / "copy")
    os.utime(elsewhere / "copy" / "package" / "__main__.py", (1, 1))
    two = _digest(
        elsewhere / "copy", cwd=elsewhere, umask=0o077, TZ="Asia/Tokyo", LC_ALL="C.UTF-8", PYTHONHASHSEED="2"
    )
    assert one == two
    (elsewhere / "copy" / "package" / "__main__.py").write_text("print('hellO')\n")
    assert _digest(elsewhere / "copy", cwd=app.parent, umask=0o022) != one


def test_all_that_the_agent_needs_is_there(image: dict[str, Member]) -> None:
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    assert image["init"].entry.kind == "program"
    assert image[f"usr/bin/{name}"].entry.kind == "program"
    assert image["usr/bin/python3"].entry.target == name
    assert f"usr/lib/{name}/asyncio/__init__.py" in image
    for package in ("nacre/enclave/agent/__main__.py", "cryptography/__init__.py", "h11/__init__.py"):
        assert any(path.endswith(f"-packages/{package}") for path in image)
    assert any("_cffi_backend" in path for path in image)
    assert any(path.startswith("lib") and "/libc.so" in path for path in image)
    assert any(path.startswith("lib") and "/ld-linux" in path for path in image)
    assert image["app/main.py"].entry.target == "package/__main__.py"
    modules = sorted(path for path in image if path.startswith(MODULES[1:]))
    assert [Path(path).name for path in modules] == ["00-one.ko", "01-a.ko"]


def test_what_the_agent_imports_is_compiled(image: dict[str, Member]) -> None:
    ending = f".{sys.implementation.cache_tag}.pyc"
    for module in ("asyncio/__pycache__/events", "nacre/enclave/agent/__pycache__/running"):
        assert any(path.endswith(module + ending) for path in image)
    assert not [path for path in image if "/unittest/__pycache__" in path]


def test_compiled_code_runs_as_its_source_would() -> None:
    source = (
        b"a, b = 'x y', frozenset((1, 'x y'))\ndef c(*, d=1.5, e=(None, ..., 2j)):\n    return a, b, d, e\n"
    )
    made = compiled("usr/lib/a/b.py", source)
    assert made is not None
    path, content = made
    assert path == f"usr/lib/a/__pycache__/b.{sys.implementation.cache_tag}.pyc"
    assert content[:4] == importlib.util.MAGIC_NUMBER
    assert content[4:8] == b"\1\0\0\0"  # hashed, and not to be checked at every start
    code = marshal.loads(content[16:])  # noqa: S302 (made here)
    assert code.co_filename == "/usr/lib/a/b.py"
    names: dict[str, object] = {}
    exec(code, names)  # noqa: S102 (made here)
    assert callable(names["c"])
    assert names["c"]() == ("x y", frozenset((1, "x y")), 1.5, (None, ..., 2j))
    assert compiled("a.py", b"print 1") is None
    assert compiled("a.py", b"\0") is None


def test_nothing_is_there_that_an_enclave_has_no_use_for(image: dict[str, Member]) -> None:
    for part in ("/idlelib", "/ensurepip", "_tkinter", "bin/sh", "direct_url.json", "pytest"):
        assert not [path for path in image if part in path]
    assert sum(member.entry.size for member in image.values()) < 120 << 20


def test_what_a_file_needs_is_read_from_it(tmp_path: Path) -> None:
    found = needs(Path(sys.executable).resolve())
    assert found is not None
    assert Path(found.interpreter).exists()
    assert any(name.startswith("libc.so") for name in found.libraries)
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\n")
    assert needs(script) is None
    libraries = closure([Path(sys.executable).resolve(), script])
    assert found.interpreter in libraries
    assert set(found.libraries) - {Path(found.interpreter).name} <= set(libraries)


@pytest.mark.parametrize("length", [7, 20, 64, 120, 1000])
def test_cut_programs_are_refused(tmp_path: Path, length: int) -> None:
    cut = tmp_path / "cut"
    cut.write_bytes(Path(sys.executable).resolve().read_bytes()[:length])
    with pytest.raises(BuildError) as caught:
        needs(cut)
    assert caught.value.code == "elf-malformed"
    assert str(caught.value)


def test_a_missing_library_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    data = Path(sys.executable).resolve().read_bytes()
    broken.write_bytes(data.replace(b"\0libc.so.", b"\0libx.so."))
    with pytest.raises(BuildError) as caught:
        closure([broken])
    assert caught.value.code == "elf-library"
    assert str(caught.value.context["actual"]).startswith("libx.so.")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BuildError) as caught:
        needs(tmp_path / "missing")
    assert caught.value.code == "tree-unreadable"


def test_a_missing_dependency_is_named(app: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nacre.build.initramfs._DEPENDENCIES", {"no-such-thing": ""})
    with pytest.raises(BuildError) as caught:
        contents(Tree.read(app), configuration=b"{}")
    assert caught.value.code == "image-dependency"
    assert "no-such-thing" in str(caught.value)


def test_the_digest_of_every_file_is_that_of_its_content(image: dict[str, Member]) -> None:
    for path in ("init", "etc/passwd", "app/package/__main__.py"):
        assert hashlib.sha256(b"".join(image[path].content)).digest() == image[path].entry.digest
