# SPDX-License-Identifier: Apache-2.0
"""The store of development roots: one root, for one user, whole or not at all."""

import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
from tests.platforms.dcap.judging import assert_spoken

from nacre import platforms
from nacre.enclave.roots import (
    FAMILIES,
    data_folder,
    development_root,
    existing_root,
    existing_roots,
    reset,
)
from nacre.errors import EnclaveError
from nacre.platforms.base import Endorsements
from nacre.platforms.simulation import Root, simulator
from nacre.trust.anchors import Origin
from nacre.trust.signatures import Signatures

_NOW = 1_780_315_200
_PROGRAM = """
import sys
from pathlib import Path
from nacre.enclave.roots import development_root
sys.stdin.readline()
print(development_root("dcap", directory=Path(sys.argv[1]), at=1_780_315_200).certificates[0].hex())
"""


def _file(directory: Path, family: str = "dcap") -> Path:
    return directory / "roots" / f"{family}.json"


def _code(family: str, directory: Path) -> str:
    with pytest.raises(EnclaveError) as caught:
        development_root(family, directory=directory, at=_NOW)
    assert_spoken(caught.value)
    with pytest.raises(EnclaveError) as likewise:
        existing_root(family, directory=directory)
    assert likewise.value.code == caught.value.code
    return caught.value.code


def test_a_root_is_kept(tmp_path: Path) -> None:
    made = development_root("dcap", directory=tmp_path, at=_NOW)
    assert development_root("dcap", directory=tmp_path, at=_NOW + 99) == made
    assert existing_root("dcap", directory=tmp_path) == made
    assert list(_file(tmp_path).parent.iterdir()) == [_file(tmp_path)]


def test_evidence_of_one_run_verifies_in_the_next(tmp_path: Path) -> None:
    before = simulator("tdx").machine(development_root("dcap", directory=tmp_path, at=_NOW), at=_NOW)
    quote = before.evidence(bytes(64), registers={}, at=_NOW)
    kept = existing_root("dcap", directory=tmp_path)
    assert kept is not None
    claims = platforms.get("tdx").verify(
        platforms.get("tdx").parse(quote),
        Endorsements(simulator("tdx").machine(kept, at=_NOW).endorsements(at=_NOW)),
        anchors=kept.anchors(),
        at=_NOW,
        signatures=Signatures(),
    )
    assert claims.origin is Origin.SIMULATED


@pytest.mark.parametrize("name", ["sgx", "tdx", "nitro", "snp"])
def test_every_simulated_platform_has_a_family(name: str) -> None:
    assert [family for family, names in FAMILIES.items() if name in names] == [simulator(name).FAMILY]


def test_who_verifies_makes_none(tmp_path: Path) -> None:
    assert existing_root("dcap", directory=tmp_path) is None
    assert existing_roots(directory=tmp_path) == ()
    assert not reset("dcap", directory=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_all_are_listed(tmp_path: Path) -> None:
    nitro = development_root("nitro", directory=tmp_path, at=_NOW)
    dcap = development_root("dcap", directory=tmp_path, at=_NOW)
    assert existing_roots(directory=tmp_path) == (dcap, nitro)


def test_a_reset_makes_another(tmp_path: Path) -> None:
    old = development_root("dcap", directory=tmp_path, at=_NOW)
    assert reset("dcap", directory=tmp_path)
    assert not reset("dcap", directory=tmp_path)
    assert existing_root("dcap", directory=tmp_path) is None
    assert development_root("dcap", directory=tmp_path, at=_NOW).certificates != old.certificates


def test_it_is_for_this_user_alone(tmp_path: Path) -> None:
    mask = os.umask(0)
    try:
        development_root("dcap", directory=tmp_path / "new", at=_NOW)
    finally:
        os.umask(mask)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "new", *(tmp_path / "new").rglob("*"))]
    assert modes == [0o700, 0o700, 0o600]


@pytest.mark.parametrize(("target", "mode"), [("file", 0o640), ("file", 0o604), ("folder", 0o750)])
def test_a_root_that_others_may_use(tmp_path: Path, target: str, mode: int) -> None:
    development_root("dcap", directory=tmp_path, at=_NOW)
    (_file(tmp_path) if target == "file" else _file(tmp_path).parent).chmod(mode)
    assert _code("dcap", tmp_path) == "root-exposed"


def test_processes_at_once_make_one_root(tmp_path: Path) -> None:
    running = [
        subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for process in running:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    found = {process.communicate(timeout=60)[0] for process in running}
    kept = existing_root("dcap", directory=tmp_path)
    assert kept is not None
    assert found == {kept.certificates[0].hex() + "\n"}


def test_threads_at_once_make_one_root(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(
            pool.map(lambda _: development_root("dcap", directory=tmp_path, at=_NOW).documents, range(16))
        )
    assert all(documents == made[0] for documents in made)


def test_one_who_died_while_writing_does_no_harm(tmp_path: Path) -> None:
    development_root("nitro", directory=tmp_path, at=_NOW)
    left = _file(tmp_path).with_suffix(".new")
    left.write_bytes(b'{"v": "nacre-de')
    made = development_root("dcap", directory=tmp_path, at=_NOW)
    assert existing_root("dcap", directory=tmp_path) == made
    assert not left.exists()


def test_any_damage_is_told_and_nothing_is_replaced(tmp_path: Path) -> None:
    development_root("dcap", directory=tmp_path, at=_NOW)
    path = _file(tmp_path)
    whole = path.read_bytes()
    at = whole.index(b"pck.key") + 40
    other = b"A" if whole[at : at + 1] != b"A" else b"B"
    damages = (
        b"",
        b"\xff" * 100,
        whole[:-20],
        whole[:at] + other + whole[at + 1 :],
        whole.replace(b"/v1", b"/v2"),
        whole.replace(b'"sha256"', b'"sha257"'),
    )
    for damaged in damages:
        path.write_bytes(damaged)
        assert _code("dcap", tmp_path) == "root-damaged"
        assert path.read_bytes() == damaged
    assert reset("dcap", directory=tmp_path)
    assert isinstance(development_root("dcap", directory=tmp_path, at=_NOW), Root)


def test_the_root_of_another_family(tmp_path: Path) -> None:
    development_root("nitro", directory=tmp_path, at=_NOW)
    _file(tmp_path, "nitro").rename(_file(tmp_path))
    assert _code("dcap", tmp_path) == "root-damaged"


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    development_root("nitro", directory=tmp_path, at=_NOW)
    _file(tmp_path).symlink_to(_file(tmp_path, "nitro"))
    assert _code("dcap", tmp_path) == "root-folder"


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "roots").write_bytes(b"")
    assert _code("dcap", tmp_path) == "root-folder"
    with pytest.raises(EnclaveError) as caught:
        reset("dcap", directory=tmp_path)
    assert caught.value.code == "root-folder"


def test_a_family_that_is_none(tmp_path: Path) -> None:
    assert _code("tdx", tmp_path) == "root-family"
    assert _code("../dcap", tmp_path) == "root-family"


@pytest.mark.parametrize(
    ("environment", "system", "expected"),
    [
        ({"NACRE_DATA_DIR": "here", "XDG_DATA_HOME": "/x"}, "linux", "here"),
        ({"XDG_DATA_HOME": "/x"}, "linux", "/x/nacre"),
        ({"XDG_DATA_HOME": "/x"}, "darwin", "/x/nacre"),
        ({"XDG_DATA_HOME": "x"}, "linux", "~/.local/share/nacre"),
        ({}, "linux", "~/.local/share/nacre"),
        ({}, "darwin", "~/Library/Application Support/nacre"),
    ],
)
def test_where_it_is(environment: dict[str, str], system: str, expected: str) -> None:
    assert data_folder(environment, system=system) == Path(expected).expanduser()


def test_the_users_own_folder_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NACRE_DATA_DIR", str(tmp_path))
    made = development_root("dcap", at=_NOW)
    assert existing_roots() == (made,)
    assert msgspec.json.decode(_file(tmp_path).read_bytes())["v"] == "nacre-development-root/v1"


def test_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError

    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(EnclaveError) as caught:
        data_folder({})
    assert_spoken(caught.value)
    assert caught.value.code == "root-no-home"
