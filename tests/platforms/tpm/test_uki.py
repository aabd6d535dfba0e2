# SPDX-License-Identifier: Apache-2.0
"""What an image will leave in a TPM; that firmware agrees is shown where a machine boots it."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.platforms.programs import program

from nacre.errors import ConfigurationError, MalformedEvidence, NacreError, UnsupportedEvidence
from nacre.platforms.measuring import Part, differences
from nacre.platforms.pe import authenticode
from nacre.platforms.tpm.registers import measured
from nacre.platforms.tpm.uki import PHASES, _of_stub, _Piece, _words, measure

_KERNEL = program({".text": b"kernel" * 99})
_MAGIC_252 = b"#### LoaderInfo: systemd-stub 252.39-1~deb12u2 ####\0"
_MAGIC_257 = _MAGIC_252.replace(b"252.39-1~deb12u2", b"257.7-1")
_SECTIONS = {
    ".sbat": b"sbat,1\n",
    ".sdmagic": _MAGIC_252,
    ".osrel": b"ID=nacre\n",
    ".cmdline": b"quiet",
    ".linux": _KERNEL,
    ".initrd": b"initrd",
}
_IMAGE = program(_SECTIONS)


def _extended(*data: bytes, digests: tuple[bytes, ...] = (), algorithm: str = "sha256") -> bytes:
    value = bytes(hashlib.new(algorithm).digest_size)
    for digest in (*(hashlib.new(algorithm, one).digest() for one in data), *digests):
        value = hashlib.new(algorithm, value + digest).digest()
    return value


def test_what_systemd_calculates(vectors: Path) -> None:
    folder = vectors / "measure" / "uki-pcr11"
    cases = json.loads((folder / "expected.json").read_text())["cases"]
    assert len(cases) == 3
    for case in cases:
        content = {name: (folder / file).read_bytes() for name, file in case["sections"].items()}
        sections = [(name.encode(), _Piece(data, 0)) for name, data in content.items()]
        for algorithm, stated in case["expected"].items():
            for one in stated:
                phases = one["phase"].split(":")
                parts = [
                    *_of_stub(sections, algorithm),
                    *(_words("pcr11", "phase", phase.encode(), phase, algorithm) for phase in phases),
                ]
                assert measured(parts, algorithm=algorithm).registers["pcr11"].hex() == one["hash"]
            assert stated[-1]["phase"] == ":".join(PHASES)


@pytest.mark.parametrize("algorithm", ["sha256", "sha384"])
def test_registers(algorithm: str) -> None:
    found = measure(image=memoryview(_IMAGE), algorithm=algorithm, phases=PHASES[:1])
    named = [
        name
        for one in (".linux", ".osrel", ".cmdline", ".initrd")
        for name in (one.encode() + b"\0", _SECTIONS[one])
    ]
    assert found.registers == {
        "pcr4": measured(
            [
                *found.of("pcr4")[:2],
                Part(register="pcr4", label="", input="", digest=authenticode(_IMAGE, algorithm=algorithm)),
                Part(register="pcr4", label="", input="", digest=authenticode(_KERNEL, algorithm=algorithm)),
            ],
            algorithm=algorithm,
        ).registers["pcr4"],
        "pcr9": _extended(b"q\0u\0i\0e\0t\0\0\0", b"initrd", algorithm=algorithm),
        "pcr11": _extended(*named, b"enter-initrd", algorithm=algorithm),
    }
    assert [one.value for one in found.of("pcr4")[:2]] == [
        "Calling EFI Application from Boot Option",
        "00000000",
    ]


def test_parts_lie_where_they_say() -> None:
    for part in measure(image=_IMAGE).parts:
        if part.input == "uki" and part.register != "pcr4":
            data = _IMAGE[part.offset : part.offset + part.size]
            assert hashlib.sha256(data).digest() == part.digest
        if part.label == "kernel":
            assert _IMAGE[part.offset : part.offset + part.size] == _KERNEL


def test_a_command_line_from_outside() -> None:
    found = measure(image=_IMAGE, command_line="init=/bin/sh")
    wide = b"".join(bytes((one, 0)) for one in b"init=/bin/sh\0")
    assert found.registers["pcr12"] == _extended(wide)
    assert found.registers["pcr9"] == _extended(wide, b"initrd")
    assert found.registers["pcr11"] == measure(image=_IMAGE).registers["pcr11"]
    empty = measure(image=program({**_SECTIONS, ".cmdline": b""}), command_line="quiet")
    assert empty.registers["pcr9"] == measure(image=_IMAGE).registers["pcr9"]


def test_the_first_difference_is_named() -> None:
    other = measure(image=program({**_SECTIONS, ".osrel": b"ID=other\n"}))
    found = list(differences(measure(image=_IMAGE), other))
    assert [(name, here and here.label) for name, here, _ in found] == [
        ("pcr4", "image"),
        ("pcr11", ".osrel"),
    ]


@pytest.mark.parametrize(
    "sections",
    [
        {**_SECTIONS, ".sdmagic": _MAGIC_257},
        {**_SECTIONS, ".pcrpkey": b"key"},
        {name: data for name, data in _SECTIONS.items() if name != ".initrd"},
        {name: data for name, data in _SECTIONS.items() if name != ".cmdline"},
    ],
    ids=["later", "packed", "no-initrd", "no-line"],
)
def test_what_cannot_be_told_is_left_out(sections: Mapping[str, bytes]) -> None:
    found = measure(image=program(sections))
    assert set(found.registers) == {"pcr4", "pcr11"}
    assert any(part.label == ".sbat" for part in found.parts) == (sections[".sdmagic"] == _MAGIC_257)


_REFUSED = {
    "no-stub": ({".linux": _KERNEL}, UnsupportedEvidence, "uki-version"),
    "other-stub": (
        {**_SECTIONS, ".sdmagic": b"#### LoaderInfo: grub 2.06 ####"},
        UnsupportedEvidence,
        "uki-version",
    ),
    "version": (
        {**_SECTIONS, ".sdmagic": _MAGIC_252.replace(b"252.39", b"254.1")},
        UnsupportedEvidence,
        "uki-version",
    ),
    "profile": (
        {**_SECTIONS, ".sdmagic": _MAGIC_257, ".profile": b"ID=a"},
        UnsupportedEvidence,
        "uki-choice",
    ),
    "no-kernel": ({".sdmagic": _MAGIC_252}, MalformedEvidence, "uki-section"),
    "empty-kernel": ({**_SECTIONS, ".linux": b""}, MalformedEvidence, "uki-section"),
    "kernel-none": ({**_SECTIONS, ".linux": b"no kernel"}, MalformedEvidence, "pe-header"),
    "line": ({**_SECTIONS, ".cmdline": b"\xff"}, MalformedEvidence, "uki-section"),
}


@pytest.mark.parametrize(("sections", "kind", "code"), _REFUSED.values(), ids=_REFUSED.keys())
def test_images_that_cannot_be_measured(
    sections: Mapping[str, bytes], kind: type[NacreError], code: str
) -> None:
    with pytest.raises(kind) as caught:
        measure(image=program(sections))
    assert caught.value.code == code
    assert str(caught.value)


def test_sections_larger_in_memory_than_in_the_file() -> None:
    at = _IMAGE.index(b".initrd\0") + 8
    image = _IMAGE[:at] + (4096).to_bytes(4, "little") + _IMAGE[at + 4 :]
    with pytest.raises(MalformedEvidence) as caught:
        measure(image=image)
    assert caught.value.code == "uki-section"


def test_two_sections_of_one_name() -> None:
    with pytest.raises(MalformedEvidence) as caught:
        measure(image=_IMAGE.replace(b".osrel\0", b".linux\0"))
    assert caught.value.code == "pe-section-twice"


def test_banks() -> None:
    with pytest.raises(ConfigurationError):
        measure(image=_IMAGE, algorithm="sha1")
