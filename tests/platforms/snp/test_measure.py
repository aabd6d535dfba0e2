# SPDX-License-Identifier: Apache-2.0
"""Launch digests are those of the tool that others hold against hardware."""

import hashlib
import json

import msgspec
import pytest
from tests.conftest import vector_roots
from tests.platforms.snp.firmware import HASHES, SECTIONS, firmware, listed

from nacre.errors import ConfigurationError
from nacre.platforms.measuring import Measurement, differences
from nacre.platforms.snp.firmware import read_firmware
from nacre.platforms.snp.hashes import Loaded
from nacre.platforms.snp.measure import Launch, firmware_digest, measure, measure_sev

_FOLDER = next(
    root / "measure/snp" for root in vector_roots() if (root / "measure/snp/expected.json").is_file()
)


class _Case(msgspec.Struct):
    name: str
    mode: str
    vcpus: int
    vcpu_sig: int | None
    ovmf: str
    kernel: str
    initrd: str
    append: str
    guest_features: int
    ovmf_hash: str
    vmm: str
    launch_digest: str

    def measure(self) -> Measurement:
        found = read_firmware((_FOLDER / self.ovmf).read_bytes())
        launch = Launch(
            cpus=self.vcpus,
            signature=self.vcpu_sig or 0,
            features=self.guest_features,
            host=self.vmm.lower(),
        )
        loaded = None
        if self.kernel:
            kernel, initrd = self._read(self.kernel), self._read(self.initrd)
            loaded = Loaded.of(kernel=kernel, initrd=initrd, command_line=self.append)
        if self.mode == "SEV_SNP":
            return measure(found, launch, loaded=loaded, start=bytes.fromhex(self.ovmf_hash) or None)
        return measure_sev(found, launch, es=self.mode == "SEV_ES", loaded=loaded)

    def _read(self, name: str) -> bytes:
        return b"" if name in ("", "empty") else (_FOLDER / name).read_bytes()


_CASES = msgspec.convert(json.loads((_FOLDER / "expected.json").read_bytes()), list[_Case])


@pytest.mark.parametrize("case", _CASES, ids=lambda case: case.name)
def test_vectors(case: _Case) -> None:
    assert case.measure().registers["measurement"].hex() == case.launch_digest


_LAUNCH = Launch(cpus=4, signature=0x800F12)
_LOADED = Loaded.of(kernel=b"kernel", initrd=b"initrd", command_line="quiet")


def _measured(
    launch: Launch = _LAUNCH, loaded: Loaded | None = _LOADED, data: bytes = firmware()
) -> Measurement:
    return measure(read_firmware(data), launch, loaded=loaded)


def test_kept_digests_of_firmware_give_the_same() -> None:
    found = read_firmware(firmware())
    assert measure(found, _LAUNCH, loaded=_LOADED, start=firmware_digest(found)) == _measured()


def test_the_first_step_is_the_firmware_and_the_last_the_register() -> None:
    measured = _measured()
    assert [part.label for part in measured.parts] == [
        "firmware",
        *("memory of the boot code", "secrets page", "CPUID page"),
        *("command line", "initrd", "kernel", "kernel hashes page"),
        *("first processor", "further processors"),
    ]
    assert measured.parts[0].digest == firmware_digest(read_firmware(firmware()))
    assert measured.parts[-1].digest == measured.registers["measurement"]
    assert measured.parts[-1].value == "3 0x800f12 of qemu, features 0x1"
    assert measured.parts[6].digest == hashlib.sha256(b"kernel").digest()


_OTHER = listed([*SECTIONS, (0x80D000, 0x1000, 4)])


@pytest.mark.parametrize(
    ("other", "label"),
    [
        (_measured(loaded=Loaded.of(kernel=b"k", initrd=b"initrd", command_line="quiet")), "kernel"),
        (_measured(loaded=Loaded.of(kernel=b"kernel", command_line="quiet")), "initrd"),
        (_measured(loaded=Loaded.of(kernel=b"kernel", initrd=b"initrd")), "command line"),
        (_measured(loaded=None), "command line"),
        (_measured(Launch(cpus=5, signature=0x800F12)), "further processors"),
        (_measured(Launch(cpus=4, signature=0x830F10)), "first processor"),
        (_measured(Launch(cpus=4, signature=0x800F12, features=0x21)), "first processor"),
        (_measured(Launch(cpus=4, host="gce")), "memory of the boot code"),
        (_measured(Launch(cpus=4, host="ec2")), "CPUID page"),
        (_measured(data=firmware(pages=5)), "firmware"),
        (_measured(data=firmware(_OTHER)), "firmware"),
    ],
)
def test_the_first_difference_is_named(other: Measurement, label: str) -> None:
    ((register, one, _),) = differences(_measured(), other)
    assert register == "measurement"
    assert one is not None
    assert one.label == label


def test_one_processor_needs_no_place_for_others_to_start() -> None:
    alone = _measured(Launch(cpus=1), data=firmware(reset=None))
    assert alone.parts[-1].label == "first processor"


def test_where_the_table_of_hashes_lies_is_measured() -> None:
    moved = firmware(hashes=(HASHES + 16).to_bytes(4, "little"))
    assert _measured(data=moved).registers != _measured().registers


@pytest.mark.parametrize(
    ("launch", "data"),
    [
        (Launch(host="hyperv"), firmware()),
        (Launch(cpus=0), firmware()),
        (Launch(cpus=8193), firmware()),
        (Launch(signature=1 << 32), firmware()),
        (Launch(features=1 << 64), firmware()),
        (Launch(features=-1), firmware()),
        (Launch(cpus=2), firmware(reset=None)),
        (Launch(), firmware(None)),
        (Launch(), firmware(hashes=None)),
        (Launch(), firmware(hashes=b"\xf0\xff\x80\x00")),
    ],
)
def test_launches_that_cannot_be(launch: Launch, data: bytes) -> None:
    with pytest.raises(ConfigurationError) as caught:
        _measured(launch, data=data)
    assert caught.value.code == "snp-launch"
    assert str(caught.value)


@pytest.mark.parametrize("es", [False, True])
def test_sev_without_a_place_for_hashes(es: bool) -> None:
    found = read_firmware(firmware(hashes=None))
    with pytest.raises(ConfigurationError):
        measure_sev(found, _LAUNCH, es=es, loaded=_LOADED)
    assert measure_sev(found, _LAUNCH, es=es).parts[0].digest == hashlib.sha256(found.data).digest()


def test_sev_es_explains_itself() -> None:
    measured = measure_sev(read_firmware(firmware()), _LAUNCH, es=True, loaded=_LOADED)
    assert [part.label for part in measured.parts] == [
        *("firmware", "command line", "initrd", "kernel", "table of hashes"),
        *("first processor", "further processors"),
    ]
    assert measured.parts[-1].digest == measured.registers["measurement"]
