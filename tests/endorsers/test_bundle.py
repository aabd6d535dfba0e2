# SPDX-License-Identifier: Apache-2.0
"""Endorsements as one file or one folder."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nacre.endorsers.bundle import load, pack, read
from nacre.errors import ConfigurationError
from nacre.platforms.base import Endorsements

if TYPE_CHECKING:
    from tests.endorsers.conftest import Case

_WHOLE = {
    "format": "nacre-endorsements/v1",
    "platform": "tdx",
    "collected_at": "2025-03-10T11:04:00Z",
    "documents": {"tcb_info": "AAE="},
}


def _refuses(data: bytes, detail: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(data)
    assert caught.value.code == "bundle-unusable"
    assert detail in str(caught.value)


def test_what_is_packed_is_read(relaunch: "Case", tmp_path: Path) -> None:
    packed = pack(relaunch.endorsements, "tdx", relaunch.at)
    found = read(packed)
    assert found.endorsements.documents == relaunch.documents
    assert (found.platform, found.collected_at) == ("tdx", relaunch.at)
    assert json.loads(packed)["collected_at"] == "2025-03-10T11:04:00Z"
    assert pack(found.endorsements, "tdx", relaunch.at) == packed
    (tmp_path / "tdx.json").write_bytes(packed)
    assert load(tmp_path / "tdx.json").documents == relaunch.documents


def test_the_form() -> None:
    assert read(json.dumps(_WHOLE).encode()).endorsements.documents == {"tcb_info": b"\0\1"}


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ({"format": "nacre-endorsements/v2"}, "nacre-endorsements/v1 was expected"),
        ({"format": 1}, "format"),
        ({"platform": "../tdx"}, "platform"),
        ({"collected_at": "2025-03-10"}, "2025-03-10"),
        ({"documents": {"tcb_info": "AAE"}}, "tcb_info is no base64"),
        ({"documents": {"tcb_info": "AAF="}}, "tcb_info is not canonical"),
        ({"documents": {"tcb_info": "AA E="}}, "tcb_info is no base64"),
        ({"documents": {"tcb_info": "AAÉ="}}, "tcb_info is no base64"),
        ({"documents": {"TCB": ""}}, "TCB"),
        ({"documents": {"": ""}}, "no name"),
        ({"documents": {f"r{n}": "" for n in range(65)}}, "65 documents"),
        ({"documents": {"tcb_info": "A" * (4 << 19)}}, "at most 1048576"),
        ({"documents": []}, "documents"),
        ({"signature": ""}, "signature"),
    ],
)
def test_every_other_form_is_refused(change: dict[str, object], detail: str) -> None:
    _refuses(json.dumps(_WHOLE | change).encode(), detail)


def test_missing_members_and_duplicates() -> None:
    for name in _WHOLE:
        _refuses(json.dumps({key: value for key, value in _WHOLE.items() if key != name}).encode(), name)
    _refuses(json.dumps(_WHOLE).replace('"platform"', '"platform": "sgx", "platform"').encode(), "platform")
    _refuses(b" " * (8 << 20) + json.dumps(_WHOLE).encode(), "8388608")
    _refuses(b"", "")


@given(st.binary(max_size=200))
def test_nothing_else_is_raised(data: bytes) -> None:
    _refuses(data, "")


def test_a_bundle_that_nobody_could_read_is_not_written() -> None:
    with pytest.raises(ConfigurationError):
        pack(Endorsements({"Not A Role": b""}), "tdx", 0)


def test_a_folder_of_documents(vectors: Path, relaunch: "Case") -> None:
    found = load(vectors / "tdx/openenclave-v5-90c06f000000-e18-tdrelaunchadvised-d21a11")
    assert found.documents.items() >= relaunch.documents.items()
    assert "quote" not in found.documents


def test_two_files_of_one_role(tmp_path: Path) -> None:
    (tmp_path / "pck_crl.der").write_bytes(b"1")
    (tmp_path / "pck_crl.pem").write_bytes(b"2")
    with pytest.raises(ConfigurationError, match="two files for the role pck_crl"):
        load(tmp_path)


@pytest.mark.parametrize("files", [{}, {"big.json": (1 << 20) + 1}, {f"r{n}.der": 1 for n in range(65)}])
def test_folders_that_are_none(tmp_path: Path, files: dict[str, int]) -> None:
    for name, size in files.items():
        (tmp_path / name).write_bytes(bytes(size))
    with pytest.raises(ConfigurationError, match="endorsements cannot be used"):
        load(tmp_path)


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="none cannot be read"):
        load(tmp_path / "none")


def test_a_file_beyond_the_limit(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(bytes((8 << 20) + 1))
    with pytest.raises(ConfigurationError, match="larger than 8388608"):
        load(str(tmp_path / "big"))
