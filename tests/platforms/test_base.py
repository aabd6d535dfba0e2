# SPDX-License-Identifier: Apache-2.0
"""The records that platforms exchange with those above them."""

from collections.abc import Callable

import pytest

from nacre import platforms
from nacre.platforms.base import Claims, Committed, Endorsements, FieldView, PlatformPolicy, Register, Source
from nacre.trust.anchors import Origin


def _claims() -> Claims:
    return Claims(
        platform="acme",
        origin=Origin.PRIVATE,
        checks=(),
        registers={},
        committed=Committed(b""),
        debug=False,
        issued_at=None,
        valid_until=None,
        identity={},
    )


_RECORDS: dict[str, Callable[[], object]] = {
    "origin": _claims,
    "documents": lambda: Endorsements({}),
    "data": lambda: Committed(b""),
    "size": lambda: Register("r", 1, "value"),
    "value": lambda: FieldView("f", 0, 1, ""),
    "path": lambda: Source("role", "/path"),
}


@pytest.mark.parametrize("name", _RECORDS)
def test_records_do_not_change(name: str) -> None:
    record = _RECORDS[name]()
    with pytest.raises(AttributeError):
        setattr(record, name, getattr(record, name))


def test_claims_are_made_by_names_alone() -> None:
    """Nothing about claims may be mixed up by position."""
    with pytest.raises(TypeError):
        Claims("acme", Origin.GENUINE)  # type: ignore[call-arg]


def test_endorsements_by_role() -> None:
    endorsements = Endorsements({"tcb_info": b"{}", "pck_crl": b""})
    assert endorsements.get("tcb_info") == b"{}"
    assert endorsements.get("pck_crl") == b""
    assert endorsements.get("root_ca_crl") is None
    assert Endorsements({}).parsed is not Endorsements({}).parsed


@pytest.mark.parametrize("name", platforms.builtin_names())
def test_policies_weaken_nothing_by_default(name: str) -> None:
    policy = platforms.get(name).policy()
    assert isinstance(policy, PlatformPolicy)
    for field in policy.__struct_fields__:
        if field.startswith("unsafe_"):
            assert not getattr(policy, field)
    with pytest.raises(TypeError):
        type(policy)(True)
