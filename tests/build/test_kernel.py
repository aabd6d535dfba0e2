# SPDX-License-Identifier: Apache-2.0
"""A kernel's package: found, its modules read in the order of their needs, and damage named."""

import gzip
import lzma
import os
import shutil
from pathlib import Path

import pytest

from nacre.build import kernel as under_test
from nacre.build.kernel import Kernel
from nacre.errors import BuildError


def _module(name: str, *needs: str) -> bytes:
    lines = (b"license=GPL", b"depends=" + ",".join(needs).encode(), b"name=" + name.encode())
    return b"\x7fELF" + bytes(60) + b"\0".join(lines) + b"\0"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package with one module in each of the usual forms."""
    folder = tmp_path / "lib" / "modules" / "6.1.0"
    (tmp_path / "boot").mkdir()
    (tmp_path / "boot" / "vmlinuz-6.1.0").write_bytes(b"kernel")
    (folder / "kernel" / "net").mkdir(parents=True)
    (folder / "kernel" / "virtio-pci.ko").write_bytes(_module("virtio_pci", "virtio", "virtio-ring"))
    (folder / "kernel" / "virtio.ko.xz").write_bytes(lzma.compress(_module("virtio", "virtio_ring")))
    (folder / "kernel" / "virtio_ring.ko.gz").write_bytes(gzip.compress(_module("virtio_ring")))
    (folder / "kernel" / "net" / "vsock.ko").write_bytes(_module("vsock", "virtio", "ipv6"))
    (folder / "kernel" / "net" / "virtio.ko.debug").write_bytes(b"symbols")
    (folder / "modules.builtin").write_text("kernel/net/ipv6/ipv6.ko\nkernel/fs/configfs/configfs.ko\n")
    return tmp_path


def _folder(package: Path) -> Path:
    return package / "lib" / "modules" / "6.1.0" / "kernel"


def _refused(package: Path, *names: str) -> BuildError:
    with pytest.raises(BuildError) as caught:
        Kernel.find(package).load(names)
    assert str(caught.value)
    return caught.value


def test_modules_come_behind_those_that_they_need(package: Path) -> None:
    loaded = Kernel.find(package).load(["vsock", "virtio_pci", "configfs"])
    assert [name for name, _ in loaded] == ["virtio_ring.ko", "virtio.ko", "vsock.ko", "virtio_pci.ko"]
    assert dict(loaded)["virtio.ko"] == _module("virtio", "virtio_ring")
    assert dict(loaded)["virtio_ring.ko"] == _module("virtio_ring")
    assert Kernel.find(package).load([]) == ()
    # Its file has a dash, the kernel's name for it an underscore.
    assert Kernel.find(package).load(["virtio-pci"]) == Kernel.find(package).load(["virtio_pci"])


def test_newer_packages_have_their_modules_below_usr(package: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(package / "lib", other / "usr" / "lib")
    shutil.copytree(package / "boot", other / "boot")
    names = ["vsock", "virtio_pci"]
    assert Kernel.find(other).load(names) == Kernel.find(package).load(names)


def test_one_kernel_is_found(package: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NACRE_KERNEL", str(package))
    assert Kernel.find() == Kernel.find(package)
    (package / "boot" / "vmlinuz-6.2.0").write_bytes(b"another")
    with pytest.raises(BuildError) as caught:
        Kernel.find()
    assert (caught.value.code, caught.value.context["actual"]) == ("kernel-missing", 2)
    monkeypatch.delenv("NACRE_KERNEL")
    for folder in (None, tmp_path / "nothing"):
        with pytest.raises(BuildError) as caught:
            Kernel.find(folder)
        assert caught.value.code == "kernel-missing"


def test_a_kernel_without_modules_is_none(package: Path) -> None:
    shutil.rmtree(package / "lib")
    with pytest.raises(BuildError) as caught:
        Kernel.find(package)
    assert caught.value.code == "kernel-missing"


def test_modules_that_are_missing(package: Path) -> None:
    assert _refused(package, "nsm").code == "kernel-module"
    (_folder(package) / "virtio.ko.xz").unlink()
    error = _refused(package, "vsock")
    assert (error.code, error.context["what"]) == ("kernel-module", "virtio")
    (package / "lib" / "modules" / "6.1.0" / "modules.builtin").unlink()
    assert _refused(package, "configfs").code == "kernel-module"


_DAMAGED = {
    "no-module": ("virtio.ko.xz", lzma.compress(b"text"), "kernel-module-damaged"),
    "no-needs": ("virtio.ko.xz", lzma.compress(b"\x7fELF" + bytes(100)), "kernel-module-damaged"),
    "cut": ("virtio.ko.xz", lzma.compress(_module("virtio"))[:-20], "tree-unreadable"),
    "not-packed": ("virtio.ko.xz", _module("virtio"), "tree-unreadable"),
    "empty": ("virtio.ko.xz", b"", "tree-unreadable"),
    "cut-gzip": ("virtio_ring.ko.gz", gzip.compress(_module("virtio_ring"))[:-20], "tree-unreadable"),
    "bad-gzip": (
        "virtio_ring.ko.gz",
        gzip.compress(b"")[:10] + b"\xff" * 20,
        "tree-unreadable",
    ),
    "zstd": ("virtio_ring.ko.gz", b"", "kernel-module-packed"),
    "itself": ("virtio.ko.xz", lzma.compress(_module("virtio", "virtio")), "kernel-module-cycle"),
    "cycle": ("virtio_ring.ko.gz", gzip.compress(_module("virtio_ring", "virtio")), "kernel-module-cycle"),
}


@pytest.mark.parametrize(("name", "content", "code"), _DAMAGED.values(), ids=_DAMAGED.keys())
def test_damaged_modules(package: Path, name: str, content: bytes, code: str) -> None:
    path = _folder(package) / name
    path.write_bytes(content)
    if code == "kernel-module-packed":
        path.rename(path.with_suffix(".zst"))
    assert _refused(package, "vsock").code == code


def test_one_name_has_one_module(package: Path) -> None:
    (_folder(package) / "net" / "virtio.ko").write_bytes(_module("virtio"))
    error = _refused(package, "vsock")
    assert error.code == "kernel-module-twice"
    # What is not asked for may be there as often as it likes.
    assert Kernel.find(package).load(["virtio_ring"])


def test_what_unpacks_to_too_much(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "_MAX_MODULE", 1 << 16)
    (_folder(package) / "virtio.ko.xz").write_bytes(lzma.compress(_module("virtio") + bytes(1 << 16)))
    assert _refused(package, "vsock").code == "kernel-module-damaged"


def test_debians_kernel() -> None:
    if "NACRE_KERNEL" not in os.environ:
        pytest.skip("NACRE_KERNEL names no folder with a kernel; .ci/run fetches one")
    loaded = [name for name, _ in Kernel.find().load(["virtio_pci", "vmw_vsock_virtio_transport", "cuse"])]
    assert loaded.index("vsock.ko") < loaded.index("vmw_vsock_virtio_transport.ko")
    assert loaded.index("virtio_ring.ko") < loaded.index("virtio_pci.ko")
    assert len(loaded) == len(set(loaded))
