# SPDX-License-Identifier: Apache-2.0
"""Every platform says what can be asked of its machines, and what no answer shows."""

import pytest

from nacre import platforms, reasons


@pytest.mark.parametrize("name", platforms.builtin_names())
def test_every_platform_states_its_limits(name: str) -> None:
    platform = platforms.get(name)
    assert set(platform.physical) <= set(reasons.checks())
    assert len(set(platform.physical)) == len(platform.physical) > 0
    # Half a sentence: "Not proven: …."
    assert platform.not_proven[0].islower()
    assert not platform.not_proven.endswith(".")
    # Nobody can be made to list his machines: what a policy may ask is never required.
    assert not set(platform.physical) & set(platform.required) - {"snp.alias-check"}
