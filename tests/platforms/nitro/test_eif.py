# SPDX-License-Identifier: Apache-2.0
"""An image is one thing to every reader, or it is refused."""

import json
import mmap
from pathlib import Path

import pytest
from tests.conftest import vector_roots
from tests.platforms.nitro import images
from tests.platforms.nitro.images import APP, BASE, CMDLINE, KERNEL, METADATA, raw

from nacre.errors import MalformedEvidence, VerificationError
from nacre.platforms.nitro import eif
from nacre.platforms.nitro.eif_sign import check_signature, read_signature
from nacre.platforms.nitro.eif_write import Parts
from nacre.platforms.nitro.measure import measure

_FOLDER = next(root / "eif" for root in vector_roots() if (root / "eif").is_dir())
_EXPECTED = json.loads((_FOLDER / "expected.json").read_bytes())
_GOOD = sorted(name for name, says in _EXPECTED.items() if says["valid"])
_BAD = {
    "ambiguous-order": "eif-table",
    "bad-crc": "eif-crc",
    "bad-magic": "eif-magic",
    "metadata-not-json": "json-invalid",
    "no-cmdline": "eif-order",
    "signed-expired-cert": "certificate-expired",
    "signed-wrong-key": "eif-signature",
    "size-table-mismatch": "eif-table",
    "tampered-kernel": "eif-crc",
    "tampered-kernel-crc-fixed": "eif-signature-other",
    "trailing-bytes": "trailing-bytes",
    "truncated": "truncated",
    "two-kernels": "eif-order",
    "unknown-section": "eif-section",
}
_SECTIONS = ((eif.KERNEL, KERNEL), (eif.CMDLINE, CMDLINE), (eif.RAMDISK, BASE))


def _accept(data: bytes) -> dict[str, bytes]:
    image = eif.parse(data)
    registers = measure(image).registers
    signature = read_signature(image)
    if signature is not None:
        check_signature(signature, pcr0=registers["pcr0"], at=images.NOW)
    return dict(registers)


def test_every_vector_is_judged() -> None:
    assert sorted([*_GOOD, *_BAD]) == sorted(_EXPECTED)


@pytest.mark.parametrize("name", _GOOD)
def test_registers_of_sound_vectors(name: str) -> None:
    says = _EXPECTED[name]
    expected = {"pcr8": bytes(48)} | {
        register.lower(): bytes.fromhex(value) for register, value in says["pcrs"].items()
    }
    data = (_FOLDER / f"{name}.eif").read_bytes()
    assert _accept(data) == expected
    image = eif.parse(data)
    assert (image.version, image.architecture) == (says.get("version", 4), says.get("arch", "x86_64"))


@pytest.mark.parametrize("name", _BAD)
def test_unsound_vectors_are_refused(name: str) -> None:
    with pytest.raises((MalformedEvidence, VerificationError)) as caught:
        _accept((_FOLDER / f"{name}.eif").read_bytes())
    assert caught.value.code == _BAD[name]
    assert str(caught.value)


@pytest.mark.parametrize("name", sorted({*_BAD} & {n for n, says in _EXPECTED.items() if "pcrs" in says}))
def test_registers_of_images_whose_signature_fails(name: str) -> None:
    registers = measure(eif.parse((_FOLDER / f"{name}.eif").read_bytes())).registers
    expected = {key.lower(): bytes.fromhex(value) for key, value in _EXPECTED[name]["pcrs"].items()}
    assert registers == expected


def test_what_is_read() -> None:
    data = images.image()
    image = eif.parse(data)
    assert [section.name for section in image.sections] == [
        *("kernel", "command line", "metadata", "ramdisk 0", "ramdisk 1"),
    ]
    assert [bytes(image.read(section)) for section in image.of(eif.RAMDISK)] == [BASE, APP]
    assert (image.memory, image.cpus, image.metadata) == (1 << 30, 2, json.loads(METADATA))
    assert read_signature(image) is None


@pytest.mark.parametrize(
    ("code", "data"),
    [
        ("eif-magic", b""),
        ("truncated", images.image()[:547]),
        ("truncated", images.image()[:555]),
        ("eif-version", raw(*_SECTIONS, header={1: 2})),
        ("eif-version", raw(*_SECTIONS, header={1: 5})),
        ("eif-field", raw(*_SECTIONS, header={2: 2})),
        ("eif-field", raw(*_SECTIONS, header={5: 1})),
        ("eif-field", raw(*_SECTIONS, header={6: 33})),
        ("eif-field", raw(*_SECTIONS, header={6: 0xFFFF})),
        ("eif-field", raw(*_SECTIONS, header={71: 1})),
        ("eif-table", raw(*_SECTIONS, header={6: 2})),
        ("eif-table", raw(*_SECTIONS, header={7: 0})),
        ("eif-table", raw(*_SECTIONS, header={8: 548})),
        ("eif-table", raw(*_SECTIONS, header={39: 1 << 63})),
        ("eif-table", raw(*_SECTIONS, header={38: 548})),
        ("eif-table", raw(*_SECTIONS, header={70: 1})),
        ("eif-section", raw(*_SECTIONS, flags=1)),
        ("eif-section", raw((0, b""), *_SECTIONS)),
        ("eif-order", raw()),
        ("eif-order", raw(*_SECTIONS[:2])),
        ("eif-order", raw(*reversed(_SECTIONS))),
        ("eif-order", raw(_SECTIONS[1], _SECTIONS[0], _SECTIONS[2])),
        ("eif-order", raw(*_SECTIONS, (eif.METADATA, b"{}"), (eif.METADATA, b"{}"))),
        ("eif-order", raw(*_SECTIONS, (eif.METADATA, b"{}"), header={1: 3})),
        ("eif-order", raw(*_SECTIONS, (eif.SIGNATURE, b""), (eif.SIGNATURE, b""))),
        ("json-duplicate-key", raw(*_SECTIONS, (eif.METADATA, b'{"a":1,"a":2}'))),
        ("too-large", raw(*_SECTIONS, (eif.METADATA, b" " * ((1 << 20) + 1)))),
        ("too-large", raw(*_SECTIONS, (eif.SIGNATURE, bytes(32_769)))),
        ("trailing-bytes", raw(*_SECTIONS, tail=bytes(11))),
    ],
)
def test_hostile_images(code: str, data: bytes) -> None:
    with pytest.raises(MalformedEvidence) as caught:
        eif.parse(data)
    assert caught.value.code == code
    assert str(caught.value)


def test_every_cut_is_refused() -> None:
    data = images.image(signer=images.signer())
    for length in range(len(data)):
        with pytest.raises(MalformedEvidence):
            eif.parse(data[:length])


def test_every_flipped_bit_is_noticed() -> None:
    data = images.image(Parts(kernel=b"k", command_line=b"c", ramdisks=(b"r",), metadata=b"{}"))
    for bit in range(8 * len(data)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(MalformedEvidence):
            measure(eif.parse(bytes(changed)))


def test_a_sparse_file_of_5_gib_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "sparse.eif"
    with path.open("wb") as stream:
        stream.write(images.image())
        stream.truncate(5 << 30)
    with path.open("rb") as opened:
        mapped = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
    with pytest.raises(MalformedEvidence) as caught:
        eif.parse(memoryview(mapped))
    assert caught.value.code == "trailing-bytes"
