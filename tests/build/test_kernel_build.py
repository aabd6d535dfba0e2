# SPDX-License-Identifier: Apache-2.0
"""A kernel is built once from a source and kept; here the source is a small one with the same two targets."""

import io
import lzma
import tarfile
from pathlib import Path

import pytest
from tests.build.debian.archive import deb, entry

from nacre.build import kernels
from nacre.build.inputs import Inputs
from nacre.build.kernel_build import fragments, make
from nacre.build.kernel_cache import built, locked
from nacre.build.lock import Deb
from nacre.build.recipe import TARGETS, Target
from nacre.errors import BuildError

# What Kconfig and Kbuild do, as far as it matters: all that is asked for is there; the image is made of it.
_MAKEFILE = """
allnoconfig:
\t@echo "# Linux/x86 6.12.0 Kernel Configuration" > $(O)/.config
\t@cat $(KCONFIG_ALLCONFIG) >> $(O)/.config
bzImage:
\t@mkdir -p $(O)/arch/x86/boot
\t@(cat $(O)/.config; echo $(KBUILD_BUILD_USER) $(KBUILD_BUILD_TIMESTAMP)$(HOME)) > $(O)/arch/x86/boot/bzImage
"""


def _source(
    makefile: str = _MAKEFILE, *, name: str = "./usr/src/linux-source-6.12.tar.xz", folders: int = 1
) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for number in range(folders):
            one = tarfile.TarInfo(f"linux-{number}/Makefile")
            one.size = len(makefile)
            archive.addfile(one, io.BytesIO(makefile.encode()))
    return deb([entry(name, lzma.compress(stream.getvalue()))])


def _package() -> Deb:
    return Deb(
        name="linux-source-6.12",
        version="6.12",
        sha256="0" * 64,
        size=1,
        source="linux",
        path="a",
        use="source",
    )


def _code(source: bytes, targets: tuple[Target, ...] = ("qemu",)) -> tuple[str, str]:
    with pytest.raises(BuildError) as caught:
        make(source, targets=targets)
    return caught.value.code, str(caught.value)


@pytest.mark.parametrize("target", TARGETS)
def test_what_is_asked_for_is_what_a_target_needs(target: Target) -> None:
    asked = fragments([target])
    kernels.insist(asked, targets=[target])
    assert kernels.modules(asked, targets=[target]) == ()


def test_a_missing_option_is_named_with_its_reason() -> None:
    asked = fragments(TARGETS)
    for target in TARGETS:
        for need in kernels.NEEDS[target]:
            with pytest.raises(BuildError) as caught:
                kernels.insist(asked.replace(f"CONFIG_{need.option}=y\n", ""), targets=[target])
            assert caught.value.code == "kernel-option"
            assert f"CONFIG_{need.option}" in str(caught.value)
            assert need.why in str(caught.value)


def test_a_module_does_where_it_can_be_one() -> None:
    asked = fragments(["qemu"]).replace("CONFIG_VSOCKETS=y", "CONFIG_VSOCKETS=m")
    assert kernels.modules(asked, targets=["qemu"]) == ("vsock",)
    kernels.insist(asked, targets=["qemu"])
    with pytest.raises(BuildError):
        kernels.insist(asked.replace("CONFIG_UNIX=y", "CONFIG_UNIX=m"), targets=["qemu"])


def test_the_same_source_makes_the_same_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[str] = []
    one = make(_source(), targets=["qemu"], progress=heard.append)
    for name, value in (
        ("HOME", "/elsewhere"),
        ("TAR_OPTIONS", "--nonsense"),
        ("MAKEFLAGS", "-n"),
        ("TZ", "Asia/Tokyo"),
    ):
        monkeypatch.setenv(name, value)
    other = make(_source(), targets=["qemu"], jobs=1)
    assert one == other
    assert one.ready.version == "6.12.0"
    assert one.ready.image.endswith(b"nacre 1970-01-01\n")
    assert "gcc" in one.tools
    assert heard == ["unpacking the source", "configuring", "compiling"]


@pytest.mark.parametrize(
    ("source", "code", "words"),
    [
        (_source(_MAKEFILE.replace("@cat", "@grep -v VSOCKETS")), "kernel-option", "VSOCKETS=y"),
        (
            _source(_MAKEFILE.replace("@cat", "@sed s/CONFIG_MODULES=n/CONFIG_MODULES=y/")),
            "kernel-option",
            "MODULES=n",
        ),
        (_source("allnoconfig:\n\t@echo no such thing >&2; false\n"), "kernel-failed", "no such thing"),
        (_source("allnoconfig:\n\t@true\n"), "kernel-failed", ".config"),
        (_source("allnoconfig:\n\t@touch $(O)/.config\n"), "kernel-failed", "no version"),
        (_source(_MAKEFILE.partition("bzImage")[0] + "bzImage:\n\t@true\n"), "kernel-failed", "bzImage"),
        (_source(name="./usr/src/config"), "package-malformed", "0 archives"),
        (_source(folders=2), "package-malformed", "tar"),
        (deb([entry("./a.tar.xz", b"none")]), "package-malformed", "tar"),
        (b"", "package-malformed", "ar"),
    ],
)
def test_a_source_that_makes_no_kernel_is_named(source: bytes, code: str, words: str) -> None:
    found, said = _code(source)
    assert found == code
    assert words in said


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    code, words = _code(_source())
    assert code == "kernel-tools"
    assert "gcc, ld, make" in words


def test_a_kernel_is_built_once_and_kept(tmp_path: Path) -> None:
    inputs = Inputs(tmp_path)
    kernel, ready = built(_package(), _source, targets=["qemu"], inputs=inputs)

    def never() -> bytes:
        raise AssertionError

    assert built(_package(), never, targets=["qemu"], inputs=inputs) == (kernel, ready)
    assert locked(kernel, inputs=inputs) == ready
    for wanted in (kernel.input, kernel.configuration):
        content = inputs.read(wanted)
        inputs.path(wanted).write_bytes(b"damaged")
        with pytest.raises(BuildError) as caught:
            locked(kernel, inputs=inputs)
        assert caught.value.code == "input-damaged"
        with pytest.raises(BuildError) as caught:
            locked(kernel, inputs=inputs)
        assert caught.value.code == "kernel-unbuilt"
        assert "gcc" in caught.value.hint
        assert built(_package(), _source, targets=["qemu"], inputs=inputs) == (kernel, ready)
        assert inputs.read(wanted) == content
    for note in (tmp_path / "kernels").iterdir():
        note.write_bytes(b"{")
    assert built(_package(), _source, targets=["qemu"], inputs=inputs) == (kernel, ready)
