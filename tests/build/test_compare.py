# SPDX-License-Identifier: Apache-2.0
"""What differs between two builds is named as closely as it can be."""

import io
from pathlib import Path

import pytest

from nacre.build import cpio
from nacre.build.compare import Difference, compare
from nacre.build.cpio import Member, file, link


def _archive(*members: Member) -> bytes:
    stream = io.BytesIO()
    cpio.write(stream, members)
    return stream.getvalue()


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Two builds that are alike."""
    for name in ("released", "rebuilt"):
        (tmp_path / name / "oci").mkdir(parents=True)
        (tmp_path / name / "oci" / "blob").write_bytes(b"blob")
        (tmp_path / name / "kernel").write_bytes(b"kernel")
        (tmp_path / name / "provenance.json").write_text(name)
        (tmp_path / name / "SHA256SUMS").write_text(name)
        platform, application = _archive(file("init", b"1")), _archive(file("app/main.py", b"pass\n"))
        (tmp_path / name / "initrd").write_bytes(platform + application)
    return tmp_path / "released", tmp_path / "rebuilt"


def test_how_a_build_was_made_is_its_own(folders: tuple[Path, Path]) -> None:
    assert compare(*folders) == ()


def test_a_file_is_named_with_its_first_byte(folders: tuple[Path, Path]) -> None:
    (folders[1] / "kernel").write_bytes(b"kerner!")
    (folders[1] / "more").write_bytes(b"")
    (folders[1] / "oci" / "blob").unlink()
    assert compare(*folders) == (
        Difference("kernel", "", "differs from byte 5 on; 6 bytes were released, 7 were rebuilt"),
        Difference("more", "", "was not released"),
        Difference("oci/blob", "", "was not built"),
    )


def test_an_entry_is_named_with_its_layer(folders: tuple[Path, Path]) -> None:
    application = _archive(file("app/main.py", b"pasS\n"), link("app/new", "main.py"))
    (folders[1] / "initrd").write_bytes(_archive(file("init", b"1")) + application)
    (folders[1] / "kernel").write_bytes(b"other")
    found = compare(*folders)
    assert [(one.file, one.where) for one in found] == [
        ("initrd", "application: /app/main.py"),
        ("initrd", "application: /app/new"),
        ("kernel", ""),
    ]
    assert found[0].what == "differs from byte 3 on; 5 bytes were released, 5 were rebuilt"
    assert found[1].what == "is not in the released image"


def test_many_differences_are_counted(folders: tuple[Path, Path]) -> None:
    others = [file(f"app/{number:02}", b"") for number in range(20)]
    changed = _archive(file("init", b"1")) + _archive(file("app/main.py", b"pass\n"), *others)
    (folders[1] / "initrd").write_bytes(changed)
    found = compare(*folders)
    assert len(found) == 13
    assert found[-1].what == "8 further entries"


@pytest.mark.parametrize("name", ["initrd", "nitro.eif"])
@pytest.mark.parametrize("content", [b"", b"none", b"070701" + b"F" * 200])
def test_what_cannot_be_taken_apart_differs_all_the_same(
    folders: tuple[Path, Path], name: str, content: bytes
) -> None:
    (folders[0] / name).write_bytes(b"\0" * 600)
    (folders[1] / name).write_bytes(content)
    (found,) = compare(*folders)
    assert (found.file, found.where) == (name, "")
    assert found.what
