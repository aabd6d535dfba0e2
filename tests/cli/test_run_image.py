# SPDX-License-Identifier: Apache-2.0
"""``nacre run --launcher vm --image``: an image boots and shows the registers of its release."""

import io
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import pytest

from nacre.build import outputs
from nacre.build.app import App
from nacre.build.cpio import write
from nacre.build.initramfs import build
from nacre.build.kernel import Kernel
from nacre.build.tree import Tree
from nacre.cli.exits import Exit
from nacre.enclave.launch.measure import release_text
from nacre.enclave.launch.vm import COMMAND_LINE, configuration
from nacre.platforms.nitro import eif_write

Run = Callable[..., subprocess.CompletedProcess[str]]


def _image(folder: Path, worm: Path, kernel: Kernel) -> None:
    """Write an image for Nitro and its release, as ``nacre build`` does, of this machine's own files."""
    app = App.load(worm)
    modules = kernel.load(("virtio_pci", "vmw_vsock_virtio_transport"))
    told = msgspec.structs.replace(configuration(app, release=bytes(32)), mode="genuine")
    ramdisk = io.BytesIO()
    build(ramdisk, Tree.read(worm / app.source), configuration=told.encode(), modules=modules)
    made = eif_write.assemble(
        eif_write.Parts(
            kernel=kernel.image.read_bytes(),
            command_line=f"{COMMAND_LINE} nacre=image".encode(),
            ramdisks=(ramdisk.getvalue(),),
            metadata=None,
        )
    )
    folder.mkdir()
    (folder / outputs.EIF).write_bytes(b"".join(made.chunks))
    stated = {name: made.measurement.registers[name] for name in ("pcr0", "pcr1", "pcr2")}
    (folder / outputs.RELEASE).write_text(release_text(app, {"nitro": stated}))


def test_image_boots_and_shows_the_registers_of_its_release(
    nacre: Run, ours: Mapping[str, str], repository: Path, tmp_path: Path
) -> None:
    if shutil.which("qemu-system-x86_64") is None:
        pytest.skip("QEMU is not installed; .ci/run installs it")
    if "NACRE_KERNEL" not in os.environ:
        pytest.skip("NACRE_KERNEL names no folder with a kernel; .ci/run fetches one")
    worm, image = repository / "examples" / "worm", tmp_path / "image"
    _image(image, worm, Kernel.find())
    options = ("--tee", "nitro", "--launcher", "vm", "--kernel", os.environ["NACRE_KERNEL"], "--image", image)
    done = nacre("run", worm, *options, "-d", "--json", env=ours, timeout=300)
    assert done.returncode == 0, done.stderr
    started = json.loads(done.stdout)
    assert started["mode"] == "simulated"
    assert (
        Path(started["policy"]).with_name("release.toml").read_text() == (image / "release.toml").read_text()
    )
    verified = nacre("verify", started["url"], "--policy", started["policy"], "--json", env=ours)
    assert verified.returncode == Exit.INCOMPLETE
    checks = {check["id"]: check["status"] for check in json.loads(verified.stdout)["checks"]}
    assert checks["executables"] == "pass"
    assert {name for name, status in checks.items() if status == "skipped"} == {"agent.events", "channel"}
    assert not {"fail", "error"} & set(checks.values())


def test_image_that_is_none_is_said_and_leaves_nothing(
    nacre: Run, ours: Mapping[str, str], repository: Path, tmp_path: Path
) -> None:
    if shutil.which("qemu-system-x86_64") is None:
        pytest.skip("QEMU is not installed; .ci/run installs it")
    worm = repository / "examples" / "worm"
    (tmp_path / "release.toml").write_text("id = 'worm'\n")
    empty = io.BytesIO()
    write(empty, [])
    parts = eif_write.Parts(kernel=b"kernel", command_line=b"", ramdisks=(empty.getvalue(),), metadata=None)
    without = b"".join(eif_write.assemble(parts).chunks)
    for content, status, words in (
        (None, Exit.USAGE, outputs.EIF),
        (b"no image", Exit.MALFORMED, ""),
        (without, Exit.INTERNAL, "/etc/nacre/agent.json"),
    ):
        if content is not None:
            (tmp_path / outputs.EIF).write_bytes(content)
        done = nacre("run", worm, "--tee", "nitro", "--launcher", "vm", "--image", tmp_path, env=ours)
        assert done.returncode == status, done.stderr
        assert words in done.stderr
    assert list(Path(ours["NACRE_STATE_DIR"], "instances").iterdir()) == []
