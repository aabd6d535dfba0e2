# SPDX-License-Identifier: Apache-2.0
"""No firmware, however it was damaged, makes anything but its own errors."""

from hypothesis import given
from hypothesis import strategies as st
from tests.platforms.snp.firmware import firmware

from nacre.errors import ConfigurationError, MalformedEvidence
from nacre.platforms.snp.firmware import read_firmware
from nacre.platforms.snp.hashes import Loaded
from nacre.platforms.snp.measure import Launch, measure

_SOUND = firmware(pages=2)
_LOADED = Loaded.of(kernel=b"kernel")


@given(st.lists(st.tuples(st.integers(0, 1100), st.integers(0, 255)), min_size=1, max_size=5))
def test_changed_bytes(changes: list[tuple[int, int]]) -> None:
    data = bytearray(_SOUND)
    for at, value in changes:
        data[-1 - at] = value
    try:
        found = read_firmware(bytes(data))
        if sum(section.size for section in found.sections) < 1 << 20:
            measure(found, Launch(cpus=2), loaded=_LOADED)
    except (MalformedEvidence, ConfigurationError) as error:
        told = str(error)
    else:
        return
    assert told
