# SPDX-License-Identifier: Apache-2.0
"""The files that AWS's own library wrote of the same parts, by their digests.

They were made on 2026-11-25 with ``EifBuilder`` of the crate ``aws-nitro-enclaves-image-format`` 0.8.1, given
the kernel, command line, ramdisks, key and certificate of ``images.py`` and the metadata below. A
signature of AWS's is another one each time: what it was is stated, and the file has to be the same around it.
"""

import hashlib

import msgspec
import pytest
from tests.platforms.nitro import images

from nacre.platforms.nitro import eif
from nacre.platforms.nitro.eif_sign import Signer, check_signature, read_signature
from nacre.platforms.nitro.eif_write import Metadata, Parts
from nacre.platforms.nitro.measure import measure

_METADATA = Metadata(
    name="wörm",
    version="1",
    tool_version="0.1.0",
    kernel="6.12",
    docker={"b": [1, None, 0.5], "a": 'ä "\a'},
    custom=["x"],
).encode()
_DISKS = (images.BASE, images.APP, b"third")
_SIGNATURE = bytes.fromhex(
    "97432bd406735f7e9a343c8f39e56dfec5c9afcb1eac4c73b3978c83a9374a3d5ba0175936a91b6419a726b82d74db85"
    "d82b31199e7f367650efab0f869fd2bc2740b114351a1b2ae986cd489ccf7c3bb62291f6dae2d69ed6c53d923208885e"
)


def _parts(ramdisks: int, architecture: str) -> Parts:
    return msgspec.structs.replace(
        images.PARTS, ramdisks=_DISKS[:ramdisks], metadata=_METADATA, architecture=architecture
    )


@pytest.mark.parametrize(
    ("architecture", "ramdisks", "digest"),
    [
        ("x86_64", 1, "60ac9715654c3b9c47d24dc99534314a1572eb08eac907940883d3b8cd804f79"),
        ("x86_64", 2, "a95966823baac1feed06ffc1a8e6aa995173db87e34e8d303c9a79adc2094a82"),
        ("x86_64", 3, "c04d6f5a89d7c628a3e899f1611c54f8eda67316264224c6e6f1f0c170a99944"),
        ("aarch64", 1, "54459daa064cdc07f96827aa882b72ca6d79a0a1648ef6aa5890ca60b26bc3a5"),
        ("aarch64", 3, "3260d9febd6c28b5dd6429f636f0ba30f95e86a0e46114a90cf33dceefaaf336"),
    ],
)
def test_an_image_is_that_of_aws(architecture: str, ramdisks: int, digest: str) -> None:
    assert hashlib.sha256(images.image(_parts(ramdisks, architecture))).hexdigest() == digest


def test_a_signed_image_is_that_of_aws_around_its_signature() -> None:
    theirs = Signer(images.certificate(), lambda _: _SIGNATURE)
    data = images.image(_parts(3, "x86_64"), theirs)
    assert (
        hashlib.sha256(data).hexdigest() == "a66796c2d499389d98cc03ca2c031328f224f05bba6cd9c147b4b936fcf64a92"
    )
    image = eif.parse(data)
    signature = read_signature(image)
    assert signature is not None
    check_signature(signature, pcr0=measure(image).registers["pcr0"], at=images.NOW)
