# SPDX-License-Identifier: Apache-2.0
"""Launch digests of any launch are those of virtee/sev-snp-measure."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sevsnpmeasure import guest
from sevsnpmeasure.sev_mode import SevMode
from sevsnpmeasure.vcpu_types import CPU_SIGS
from sevsnpmeasure.vmm_types import VMMType
from tests.platforms.snp.firmware import firmware, listed

from nacre.platforms.snp.cpus import signature
from nacre.platforms.snp.firmware import read_firmware
from nacre.platforms.snp.hashes import Loaded
from nacre.platforms.snp.measure import Launch, measure, measure_sev

_HOSTS = {"qemu": VMMType.QEMU, "ec2": VMMType.ec2, "gce": VMMType.gce}
_SECTION = st.one_of(
    st.tuples(st.integers(0, 1 << 19), st.integers(1, 5), st.sampled_from((1, 4))),
    st.tuples(st.integers(0, 1 << 19), st.just(1), st.sampled_from((2, 3))),
)
_PLACE = 0x7FF000  # of the kernel hashes page


@pytest.mark.parametrize("name", sorted(CPU_SIGS))
def test_signatures(name: str) -> None:
    assert signature(name) == CPU_SIGS[name]


@settings(max_examples=60)
@given(
    sections=st.lists(_SECTION, max_size=5),
    offset=st.integers(0, 4096 - 176),
    pages=st.integers(1, 5),
    launch=st.builds(
        Launch,
        cpus=st.integers(1, 9),
        signature=st.integers(0, (1 << 32) - 1),
        features=st.integers(0, (1 << 64) - 1),
        host=st.sampled_from(sorted(_HOSTS)),
    ),
    kernel=st.none() | st.binary(max_size=50),
    initrd=st.binary(max_size=50),
    command_line=st.text(max_size=20),
)
def test_any_launch(
    *,
    sections: list[tuple[int, int, int]],
    offset: int,
    pages: int,
    launch: Launch,
    kernel: bytes | None,
    initrd: bytes,
    command_line: str,
) -> None:
    places = [(gpa * 4096, size * 4096, kind) for gpa, size, kind in sections] + [(_PLACE, 4096, 0x10)]
    image = firmware(listed(places), hashes=(_PLACE + offset).to_bytes(4, "little"), pages=pages)
    loaded = None
    if kernel is not None:
        loaded = Loaded.of(kernel=kernel, initrd=initrd, command_line=command_line)
    with tempfile.TemporaryDirectory() as folder:
        names = {}
        for name, data in (("firmware", image), ("kernel", kernel), ("initrd", initrd)):
            path = Path(folder) / name
            path.write_bytes(data or b"")
            names[name] = "" if data is None else str(path)
        for mode in (SevMode.SEV_SNP, SevMode.SEV_ES, SevMode.SEV):
            theirs = guest.calc_launch_digest(
                mode,
                launch.cpus,
                launch.signature,
                names["firmware"],
                names["kernel"],
                names["initrd"],
                command_line,
                launch.features,
                vmm_type=_HOSTS[launch.host],
            )
            found = read_firmware(image)
            if mode is SevMode.SEV_SNP:
                ours = measure(found, launch, loaded=loaded)
            else:
                ours = measure_sev(found, launch, es=mode is SevMode.SEV_ES, loaded=loaded)
            assert ours.registers["measurement"] == theirs
