# SPDX-License-Identifier: Apache-2.0
"""A folder of AMD's documents for a fleet: filled once, read without a network."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nacre import platforms
from nacre.endorsers.cache import Cache
from nacre.endorsers.collector import Collector
from nacre.endorsers.facts import MAX_DOCUMENT
from nacre.endorsers.kds import Kds
from nacre.endorsers.rollback import Guard
from nacre.endorsers.store import StoreFetcher, documents, is_store, put, store_folder
from nacre.errors import ConfigurationError, EndorsementsUnavailable
from nacre.platforms.base import Source
from nacre.platforms.snp import endorsements as amd

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.endorsers.conftest import Chip, Notices

    Recorded = Callable[..., Chip]

MILAN = "snp/confidential-milan-v3-05b743-crl"
GENOA = "snp/openpcc-genoa-v3-a9e919-crl"
TURIN = "snp/project-oak-turin-v5-3f44a0-nocrl"

CRL = Source("crl", "/vcek/v1/Milan/crl", endorser=amd.ENDORSER)


def fill(folder: Path, *chips: "Chip") -> None:
    for chip in chips:
        for role, source in chip.sources.items():
            put(folder, source, chip.documents[role])


def collect(made: Collector, chip: "Chip") -> dict[str, bytes]:
    return dict(made.endorsements(platforms.get("snp"), chip.evidence, at=chip.at).documents)


def collector(store: Path, cache: Path, chip: "Chip", notices: "Notices") -> Collector:
    return Collector(
        kds=Kds(base=f"file://{store}"),
        cache=Cache(cache, notice=notices),
        guard=Guard(cache, notice=notices),
        clock=lambda: chip.at,
        offline=True,
        notice=notices,
    )


def test_a_fleet(tmp_path: Path, recorded: "Recorded", notices: "Notices") -> None:
    """Offline, since a store takes no network."""
    chips = [recorded(name) for name in (MILAN, GENOA)]
    fill(tmp_path / "store", *chips)
    for chip in chips:
        made = collector(tmp_path / "store", tmp_path / "cache", chip, notices)
        assert collect(made, chip) == chip.documents
    assert notices == []


def test_it_is_laid_out_by_line_chip_and_tcb(tmp_path: Path, recorded: "Recorded") -> None:
    milan, turin = recorded(MILAN), recorded(TURIN, crl=b"list")
    fill(tmp_path, milan, turin)
    reported = turin.evidence.report.reported_tcb
    places = {"bl": 1, "tee": 2, "snp": 3, "ucode": 7, "fmc": 0}
    levels = "-".join(f"{name}{reported[place]:02d}" for name, place in places.items())
    found = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert found == sorted(
        [
            f"Milan/{milan.evidence.report.chip_id.hex()}/bl04-tee00-snp24-ucode219",
            "Milan/vcek-cert_chain",
            "Milan/vcek-crl",
            f"Turin/3b42092f69c656d3/{levels}",
            "Turin/vcek-cert_chain",
            "Turin/vcek-crl",
        ]
    )


def test_what_is_not_there(tmp_path: Path, recorded: "Recorded", notices: "Notices") -> None:
    chip = recorded(MILAN)
    with pytest.raises(EndorsementsUnavailable) as caught:
        collect(collector(tmp_path / "store", tmp_path / "cache", chip, notices), chip)
    assert caught.value.code == "kds-unknown"
    assert "--store" in caught.value.hint


def test_a_store_is_not_trusted_either(tmp_path: Path, recorded: "Recorded") -> None:
    milan, genoa = recorded(MILAN), recorded(GENOA)
    put(tmp_path, milan.sources["crl"], genoa.documents["crl"])
    with pytest.raises(EndorsementsUnavailable) as caught:
        Kds(base=f"file://{tmp_path}").fetch(milan.sources["crl"])
    assert caught.value.code == "endorser-wrong-document"


def test_what_cannot_be_read(tmp_path: Path) -> None:
    fetcher = StoreFetcher("file:///store", tmp_path)
    path = put(tmp_path, CRL, bytes(MAX_DOCUMENT + 1))
    with pytest.raises(EndorsementsUnavailable) as caught:
        fetcher.get("file:///store" + CRL.path)
    assert caught.value.code == "endorser-too-large"
    path.unlink()
    path.mkdir()
    with pytest.raises(EndorsementsUnavailable) as caught:
        fetcher.get("file:///store" + CRL.path)
    assert caught.value.code == "endorser-unreachable"


@pytest.mark.parametrize(
    "path",
    [
        "/vcek/v1/Milan",
        "/vcek/v1/Milan/crl/more",
        "/vcek/v1/../crl",
        "/vcek/v1/Milan/..",
        "/vcek/v1//crl",
        "/vcek/v1/Milan/%2e%2e?blSPL=1",
        "/vcek/v1/Milan/aa?blSPL=..%2f..",
        "/vcek/v1/Milan/aa?a/b=1",
    ],
)
def test_no_path_leads_out_of_it(tmp_path: Path, path: str) -> None:
    with pytest.raises(ConfigurationError):
        put(tmp_path / "store", Source("vek", path), b"")
    with pytest.raises(ConfigurationError):
        StoreFetcher("file:///store", tmp_path).get("file:///store" + path)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("in the way")
    with pytest.raises(ConfigurationError) as caught:
        put(tmp_path / "store", CRL, b"list")
    assert caught.value.code == "file-unwritable"


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    assert put(tmp_path, CRL, b"old") == put(tmp_path, CRL, b"new")
    assert (tmp_path / "Milan/vcek-crl").read_bytes() == b"new"
    assert [path.name for path in (tmp_path / "Milan").iterdir()] == ["vcek-crl"]


def test_what_names_a_store(tmp_path: Path) -> None:
    assert store_folder("https://kds.example") is None
    assert store_folder(f"file://{tmp_path}") == tmp_path
    assert store_folder("file://localhost/srv/a%20b") == Path("/srv/a b")
    assert store_folder("file:/srv/kds") == Path("/srv/kds")
    assert Kds(base="file:///srv/kds/").local
    for unusable in ("file:srv", "file://elsewhere/srv", "file:///srv?x=1"):
        with pytest.raises(ConfigurationError):
            store_folder(unusable)


def test_a_store_can_be_listed(tmp_path: Path, recorded: "Recorded") -> None:
    assert not is_store(tmp_path)
    milan = recorded(MILAN)
    fill(tmp_path, milan)
    (tmp_path / "README").write_text("nothing of AMD's")
    assert is_store(tmp_path)
    found = dict(documents(tmp_path))
    assert found["Milan/vcek-crl"] == milan.documents["crl"]
    assert len(found) == 3


def test_a_store_that_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, CRL, b"list")
    with monkeypatch.context() as patch:
        patch.setattr("nacre.endorsers.store._MAX_LISTED", 0)
        with pytest.raises(ConfigurationError) as caught:
            list(documents(tmp_path))
        assert caught.value.code == "bundle-unusable"
