# SPDX-License-Identifier: Apache-2.0
"""What all tests share: where the vectors are."""

from pathlib import Path

import pytest

_HERE = Path(__file__).parent
_OWN = _HERE / "vectors"
_SHARED = _HERE.parent.parent / "shared" / "vectors"


def vector_roots() -> list[Path]:
    """The project's own copy first, then the shared collection beside the checkout, if it is there."""
    return [root for root in (_OWN, _SHARED) if root.is_dir()]


@pytest.fixture(scope="session")
def vectors() -> Path:
    """The most complete folder of vectors at hand."""
    return _SHARED if _SHARED.is_dir() else _OWN
