# SPDX-License-Identifier: Apache-2.0
"""What is said of a built image: of its own files, with the licences that are found in them."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from struct import iter_unpack

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from nacre.build import outputs
from nacre.build.accounts import accounts
from nacre.build.app import App, Recipe
from nacre.build.assemble import Layers
from nacre.build.components import Component
from nacre.build.cpio import Member, file
from nacre.build.image import Image
from nacre.build.kernels import Ready
from nacre.build.licences import stated, with_licences
from nacre.build.lock import Lock, Wheel
from nacre.build.recipe import Build
from nacre.build.surface import Surface
from nacre.enclave.boot import confine

_PLACE = "usr/lib/python3/dist-packages"
_METADATA = b"Metadata-Version: 2.4\nName: h11\nVersion: 0.16.0\nLicense-Expression: MIT\n\nLicense: no\n"
_CLASSIFIED = b"""Name: X
Version: 1
Classifier: License :: OSI Approved :: MIT License
Classifier: Topic :: None
Classifier: License :: OSI Approved :: BSD License
"""
_LOCK = Lock(
    recipe="00" * 32,
    agent="01" * 32,
    nacre="0.1",
    python="3.11",
    snapshots=(),
    packages=(),
    wheels=(Wheel(name="h11", version="0.16.0", sha256="02" * 32, size=1, file="h.whl", use="agent"),),
)


def _image() -> Image:
    app = App(name="worm", version="1.0", entry=("python3", "main.py"))
    return Image(
        recipe=Recipe(app=app, build=Build(), folder=Path()),
        lock=_LOCK,
        kernel=Ready(version="6.12", image=b"kernel", config="CONFIG_MODULES=y\n"),
        layers=Layers(
            (
                file(f"{_PLACE}/h11-0.16.0.dist-info/METADATA", _METADATA),
                file("usr/bin/python3", b"\x7fELF", program=True),
            ),
            (file("app/main.py", b"1\n"),),
        ),
        files={},
        variants={},
    )


def test_both_documents() -> None:
    made = accounts(_image())
    assert list(made) == [outputs.SBOM, outputs.REPORT]
    bill = json.loads(made[outputs.SBOM])
    assert [one["name"] for one in bill["components"]] == ["nacre agent", "h11"]
    assert bill["components"][1]["licenses"] == [{"expression": "MIT"}]
    assert bill["metadata"]["component"]["hashes"][0]["content"] == _image().layers.digest
    report = Surface.decode(made[outputs.REPORT])
    assert report.programs == ("/usr/bin/python3",)
    assert report.components == ("file nacre agent 0.1", "wheel h11 0.16.0")
    assert report.kernel_widens == ("MODULES",)


def test_calls_that_the_image_refuses() -> None:
    """The filter that every image's first program puts on the application, said in words."""
    report = Surface.decode(accounts(_image())[outputs.REPORT])
    assert report.calls_refused == ("io_uring_setup", "socket, but for Unix, IPv4, IPv6 and netlink")
    families = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK)
    assert families == confine._FAMILIES
    numbers = {line[3] for line in iter_unpack("=HBBI", confine.filtered("x86_64"))}
    assert confine._IO_URING_SETUP in numbers
    recipe = replace(_image().recipe, build=Build(targets=("qemu", "sgx")))
    mixed = accounts(replace(_image(), recipe=recipe))
    assert Surface.decode(mixed[outputs.REPORT]).calls_refused == ()


def test_they_are_the_same_for_the_same_image() -> None:
    assert accounts(_image()) == accounts(_image())
    assert accounts(_image(), epoch=1) != accounts(_image())


def _wheel(metadata: bytes) -> Member:
    return file(f"{_PLACE}/x.dist-info/METADATA", metadata)


@pytest.mark.parametrize(
    ("metadata", "licence"),
    [
        (b"Name: X\nVersion: 1\nLicense-Expression: MIT OR ISC\nLicense: other\n", "MIT OR ISC"),
        (b"Name: X\nVersion: 1\nLicense: BSD\n", "BSD"),
        (
            _CLASSIFIED,
            "MIT License and BSD License",
        ),
        (b"Name: X\nVersion: 1\n", ""),
        (b"Name: X\nVersion: 1\n\nLicense: in the description\n", ""),
        (b"Name: X\nVersion: 1\nLicense: " + b"long " * 99, ""),
        (b"Name: X\nVersion: 1\nLicense: \x1b[2J\n", ""),
        (b"Name: X\nVersion: 1\nLicense: MIT\n" + bytes(1 << 20), ""),
        (b"Name: Y\nVersion: 1\nLicense: MIT\n", ""),
    ],
)
def test_licences_of_wheels(metadata: bytes, licence: str) -> None:
    component = Component(kind="wheel", name="X", version="1", sha256="")
    assert with_licences([component], stated([_wheel(metadata)]))[0].licence == licence


@pytest.mark.parametrize(
    ("path", "content", "licence"),
    [
        ("node_modules/@s/x/package.json", b'{"name": "@s/x", "version": "1", "license": "MIT"}', "MIT"),
        ("app/node_modules/x/package.json", b'{"name": "@s/x", "version": "1", "license": "ISC"}', "ISC"),
        ("app/node_modules/x/package.json", b'{"name": "@s/x", "version": "1", "license": {"type": 1}}', ""),
        ("app/node_modules/x/package.json", b'{"name": "@s/x", "version": "1"', ""),
        ("app/node_modules/x/package.json", b'{"name": 1}', ""),
        ("app/node_modules/x/test/package.json", b'{"name": "@s/x", "version": "1", "license": "MIT"}', ""),
        ("app/package.json", b'{"name": "@s/x", "version": "1", "license": "MIT"}', ""),
    ],
)
def test_licences_of_npms_packages(path: str, content: bytes, licence: str) -> None:
    component = Component(kind="npm", name="@s/x", version="1", sha256="")
    assert with_licences([component], stated([file(path, content)]))[0].licence == licence


def test_names_are_alike_however_they_are_written_and_what_is_known_stays() -> None:
    licences = stated([_wheel(b"Name: Typing.Extensions\nVersion: 4\nLicense: PSF\n")])
    plain = Component(kind="wheel", name="typing_extensions", version="4", sha256="")
    known = Component(kind="wheel", name="typing-extensions", version="4", sha256="", licence="PSF-2.0")
    other = Component(kind="deb", name="typing-extensions", version="4", sha256="")
    assert [one.licence for one in with_licences([plain, known, other], licences)] == ["PSF", "PSF-2.0", ""]


def test_other_files_are_not_read() -> None:
    opened: list[int] = []

    def pieces() -> Iterator[bytes]:
        opened.append(1)
        yield b""

    assert stated([Member(file("app/main.py", b"").entry, pieces())]) == {}
    assert opened == []


@given(st.binary(max_size=200), st.booleans())
def test_any_metadata_is_read_or_left(data: bytes, wheel: bool) -> None:
    found = stated([_wheel(data) if wheel else file("node_modules/x/package.json", data)])
    assert all(licence.isprintable() for licence in found.values())
