# SPDX-License-Identifier: Apache-2.0
"""What a simulated machine boots: files in the instance's folder, and the registers of what is in them.

Either it is made here, from the application's files, or it is taken from what ``nacre build`` wrote. The
registers are Nitro's: of kernel, command line and first file systems. What a simulated machine needs beside
an image, because its device is a program, is not measured.
"""

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from nacre.appraisal.documents import read_bytes, read_text
from nacre.build import cpio, outputs
from nacre.build.app import App
from nacre.build.kernel import Kernel
from nacre.build.layout import CONFIGURATION
from nacre.build.tree import Tree
from nacre.enclave.agent.config import Config
from nacre.enclave.instances import Instance
from nacre.enclave.launch.measure import release_text
from nacre.enclave.launch.vm import COMMAND_LINE, SIMULATED_MODULES, over, write_image
from nacre.errors import BuildError, EnclaveError
from nacre.platforms.nitro import eif
from nacre.platforms.nitro.measure import Piece, hashes, measure, measurement

__all__ = ["Booted", "made", "unpacked"]

_PLATFORM = "nitro"
_MEASURED = ("pcr0", "pcr1", "pcr2")
_ABOUT = "Registers of a simulated machine: measured from what it boots, as Nitro measures an image."
_FILE = "booted.json"
_LARGEST = 1 << 31
#: Behind all modules of an image.
_FIRST = 90


class Booted(msgspec.Struct, frozen=True):
    """What is booted.

    Attributes:
        parameters: The kernel's command line.
        registers: Name, as in releases, to value.
    """

    parameters: str
    registers: Mapping[str, bytes]

    @classmethod
    def load(cls, folder: Path) -> "Booted":
        """Read what ``made`` or ``unpacked`` wrote into an instance's folder."""
        return msgspec.json.decode((folder / _FILE).read_bytes(), type=cls)

    def write(self, folder: Path) -> None:
        """Write it there."""
        (folder / _FILE).write_bytes(msgspec.json.encode(self))

    @staticmethod
    def kernel(folder: Path) -> Path:
        """Return where the kernel is."""
        return folder / "kernel"

    @staticmethod
    def image(folder: Path) -> Path:
        """Return where the first file system is."""
        return folder / "image.cpio"

    @classmethod
    def remove(cls, folder: Path) -> None:
        """Remove the files, which are large; release and log stay."""
        for path in (cls.kernel(folder), cls.image(folder)):
            path.unlink(missing_ok=True)


def made(instance: Instance, app: App, tree: Tree, folder: Path) -> str:
    """Make what is booted from an application's files, and return its release.

    Raises:
        EnclaveError: ``vm-kernel``: there is no kernel.
        BuildError: It cannot be used, or the image cannot be written.
    """
    kernel = _kernel(instance)
    # The whole release has registers of the image that this is in.
    source = hashlib.sha256(msgspec.json.encode([app, tree.digest.hex()], order="sorted")).digest()
    write_image(Booted.image(folder), app, tree, kernel=kernel, release=source)
    shutil.copyfile(kernel.image, Booted.kernel(folder))
    pieces = (
        Piece("kernel", 0, Booted.kernel(folder).read_bytes()),
        Piece("command line", 0, COMMAND_LINE.encode()),
        Piece("ramdisk 0", 0, Booted.image(folder).read_bytes()),
    )
    whole, rest = (hashing() for hashing in hashes(pieces))
    found = measurement(pieces, whole, rest, certificate=None).registers
    registers = {name: found[name] for name in _MEASURED}
    Booted(COMMAND_LINE, registers).write(folder)
    return release_text(app, {_PLATFORM: registers}, about=_ABOUT)


def unpacked(instance: Instance, folder: Path) -> str:
    """Take what is booted from an image for Nitro, and return the image's release.

    Raises:
        ConfigurationError: A file of the image cannot be read.
        MalformedEvidence: It is no image for Nitro.
        EnclaveError: ``launch-image``: there are no instructions for an agent in it.
    """
    given = Path(instance.options.image)
    text = read_text(given / outputs.RELEASE, what="release")
    whole = read_bytes(given / outputs.EIF, what="image", limit=_LARGEST)
    image = eif.parse(whole)
    kernel, line = (bytes(image.read(image.of(kind)[0])) for kind in (eif.KERNEL, eif.CMDLINE))
    ramdisks = [bytes(image.read(section)) for section in image.of(eif.RAMDISK)]
    try:
        told, parameters = next(_told(ramdisks)), line.decode()
    except (StopIteration, msgspec.MsgspecError, UnicodeDecodeError):
        problem = f"there is no {CONFIGURATION} in it, or nothing that a kernel or an agent can be told"
        raise EnclaveError("launch-image", what=str(given), actual=problem) from None
    named = instance.options.kernel
    modules = _kernel(instance).load(SIMULATED_MODULES) if named else ()
    simulated = msgspec.structs.replace(told, mode="simulated").encode()
    Booted.kernel(folder).write_bytes(kernel)
    with Booted.image(folder).open("wb") as stream:
        stream.writelines([*ramdisks, over(modules, first=_FIRST, told=simulated)])
    found = measure(image).registers
    Booted(parameters, {name: found[name] for name in _MEASURED}).write(folder)
    return text


def _told(ramdisks: list[bytes]) -> Iterator[Config]:
    """Find what the agent is told: the last one counts, as the kernel unpacks one over the other."""
    for ramdisk in reversed(ramdisks):
        for archive in reversed(cpio.archives(ramdisk)):
            for member in cpio.read(archive):
                if member.entry.path == CONFIGURATION[1:]:
                    yield msgspec.json.decode(b"".join(member.content), type=Config)


def _kernel(instance: Instance) -> Kernel:
    """Return the kernel that is named, or the one that this machine runs, if it is installed."""
    named = instance.options.kernel or os.environ.get("NACRE_KERNEL")
    image = Path(named or f"/boot/vmlinuz-{os.uname().release}")
    if not named and not image.is_file():
        raise EnclaveError("vm-kernel")
    if not image.is_file():
        return Kernel.find(image)
    version = image.name.removeprefix("vmlinuz-")
    for root in (image.absolute().parent.parent, Path("/")):
        if (modules := root / "lib/modules" / version).is_dir():
            return Kernel(image=image, modules=modules)
    raise BuildError("kernel-missing", file=str(image), actual=0)
