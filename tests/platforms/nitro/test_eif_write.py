# SPDX-License-Identifier: Apache-2.0
"""What is written is what AWS's tool writes, and measures to what was said when it was written."""

import json

import msgspec
import pytest
from tests.conftest import vector_roots
from tests.platforms.nitro import images
from tests.platforms.nitro.images import PARTS

from nacre.errors import BuildError
from nacre.platforms.nitro import eif
from nacre.platforms.nitro.eif_write import Metadata, assemble, parts_of
from nacre.platforms.nitro.measure import measure

_FOLDER = next(root / "eif" for root in vector_roots() if (root / "eif").is_dir())
_VECTORS = sorted(
    name for name, says in json.loads((_FOLDER / "expected.json").read_bytes()).items() if says["valid"]
)


@pytest.mark.parametrize("name", _VECTORS)
def test_vectors_are_written_again_byte_for_byte(name: str) -> None:
    image = eif.parse((_FOLDER / f"{name}.eif").read_bytes())
    written = images.image(parts_of(image))
    if not image.of(eif.SIGNATURE):
        assert written == image.data
    else:  # nobody has the key any more; the header differs in number, offset and size of one section
        assert written[548:] == image.data[548 : len(written)]


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("ramdisks", [1, 2, 5, 28])
def test_measured_as_written(ramdisks: int, signed: bool) -> None:
    parts = msgspec.structs.replace(PARTS, ramdisks=tuple(bytes([n]) * n for n in range(ramdisks)))
    made = assemble(parts, signer=images.signer() if signed else None)
    assert measure(eif.parse(b"".join(made.chunks))) == made.measurement


def test_the_same_parts_give_the_same_bytes() -> None:
    assert images.image(signer=images.signer()) == images.image(signer=images.signer())


def test_a_signed_image_is_signed_anew() -> None:
    once = images.image(signer=images.signer(1))
    again = images.image(parts_of(eif.parse(once)), signer=images.signer())
    assert again == images.image(signer=images.signer())
    assert images.image(parts_of(eif.parse(again))) == images.image()


def test_buffers_are_not_copied() -> None:
    kernel = memoryview(bytes(1000))
    assert any(chunk is kernel for chunk in assemble(msgspec.structs.replace(PARTS, kernel=kernel)).chunks)


def test_metadata_is_written_as_the_tool_of_aws_does() -> None:
    data = Metadata(
        name="worm",
        version="1",
        tool_version="0.1.0",
        kernel="6.12",
        docker={"b": [1], "a": "\u00e4"},
    ).encode()
    assert data.decode() == (
        '{"ImageName":"worm","ImageVersion":"1","BuildMetadata":{"BuildTime":"1970-01-01T00:00:00+00:00",'
        '"BuildTool":"nacre","BuildToolVersion":"0.1.0","OperatingSystem":"Linux","KernelVersion":"6.12"},'
        '"DockerInfo":{"a":"\u00e4","b":[1]},"CustomMetadata":null}'
    )
    assert eif.parse(images.image(msgspec.structs.replace(PARTS, metadata=data))).metadata == json.loads(data)


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("eif-part", {"kernel": b""}),
        ("eif-part", {"command_line": b"quiet\0"}),
        ("eif-part", {"ramdisks": ()}),
        ("eif-part", {"architecture": "riscv64"}),
        ("eif-part", {"memory": 0}),
        ("eif-part", {"memory": 1 << 64}),
        ("eif-part", {"cpus": -1}),
        ("eif-ramdisks", {"ramdisks": (b"",) * 29}),
        ("eif-too-large", {"metadata": bytes((1 << 20) + 1)}),
    ],
)
def test_parts_that_make_no_image(code: str, change: dict[str, object]) -> None:
    with pytest.raises(BuildError) as caught:
        assemble(msgspec.structs.replace(PARTS, **change))
    assert caught.value.code == code
    assert str(caught.value)
