# SPDX-License-Identifier: Apache-2.0
"""Which packages belong together, in Debian's order of versions; and whom this machine asks for them."""

import itertools
from pathlib import Path

import pytest

from nacre.build.debian.closure import Pool
from nacre.build.debian.index import Package
from nacre.build.debian.sources import ARCHIVE_KEYRING, Mirror, mirrors
from nacre.build.debian.version import satisfies, version_key
from nacre.errors import BuildError

# Debian Policy, 5.6.12, and what is known to go wrong.
_ORDER = [
    *("0~~", "0~~a", "0~", "0", "0a", "1.0~rc1-1", "1.0-1", "1.0-1+b1", "1.0-1.1", "1.0-2", "1.0a-1"),
    *("1.0+dfsg-1", "1.0.1-1", "1.2-1", "1.10-1", "2:0.1-1"),
]


def _package(name: str, version: str = "1", *, depends: str = "", provides: str = "") -> Package:
    return Package(
        name=name,
        version=version,
        architecture="all",
        source=name,
        essential=False,
        depends=tuple(filter(None, depends.split(", "))),
        provides=tuple(filter(None, provides.split(", "))),
        path=f"pool/{name}.deb",
        size=1,
        sha256="0" * 64,
    )


def test_versions_are_in_debian_s_order() -> None:
    assert sorted(_ORDER[1::2] + _ORDER[::2], key=version_key) == _ORDER
    for lower, higher in itertools.pairwise(_ORDER):
        assert satisfies(lower, "<<", higher), (lower, higher)
        assert satisfies(higher, ">=", lower)
        assert not satisfies(lower, "=", higher)
    assert satisfies("0:1.0-0", "=", "1.0")
    assert not satisfies("1", "><", "1")


def test_a_closure_has_the_newest_of_each_and_no_more() -> None:
    pool = Pool(
        [
            _package("a", depends="b (>= 2), c | d, virtual, b:any"),
            _package("b", "2.1"),
            _package("b", "2.2"),
            _package("d"),
            _package("e", provides="virtual (= 1)"),
            _package("f", provides="virtual"),
        ]
    )
    assert [(one.name, one.version) for one in pool.closure(["a"])] == [
        *(("a", "1"), ("b", "2.2"), ("d", "1"), ("e", "1")),
    ]
    assert [one.name for one in pool.closure(["f", "a"])] == ["a", "b", "d", "f"]
    assert pool.has("e")
    assert not pool.has("virtual")


def test_a_circle_of_packages_ends() -> None:
    pool = Pool([_package("a", depends="b"), _package("b", depends="a")])
    assert [one.name for one in pool.closure(["b"])] == ["a", "b"]


def test_what_nobody_is_is_named() -> None:
    pool = Pool([_package("a", depends="b (>= 3), (odd"), _package("b", "2", provides="c (= 1)")])
    for names, code, word in ((["z"], "package-unknown", "z"), (["a"], "package-depends", "b (>= 3)")):
        with pytest.raises(BuildError) as caught:
            pool.closure(names)
        assert caught.value.code == code
        assert word in str(caught.value)


def test_both_forms_of_apt_s_sources_are_read(tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list").write_text(
        "# deb http://no.example bookworm main\n"
        "deb [arch=amd64 signed-by=/keys/a.gpg] http://a.example/debian/ bookworm main contrib # mine\n"
        "deb-src http://a.example/debian bookworm main\n"
        "deb http://b.example bookworm contrib\n"
        "nonsense\n"
    )
    (tmp_path / "sources.list.d/more.sources").write_text(
        "Types: deb deb-src\nURIs: http://c.example\nSuites: bookworm\n bookworm-updates\n"
        "Components: main\nSigned-By:\n -----BEGIN PGP\n .\n\n"
        "Types: deb\nEnabled: no\nURIs: http://d.example\nSuites: sid\nComponents: main\n\n"
        "Types: deb-src\nURIs: http://d.example\nSuites: sid\nComponents: main\n"
    )
    (tmp_path / "sources.list.d/broken.list").write_bytes(b"\xff")
    (tmp_path / "sources.list.d/other.save").write_text("deb http://e.example sid main\n")
    assert mirrors(folder=tmp_path) == (
        Mirror("http://a.example/debian", "bookworm", "/keys/a.gpg"),
        Mirror("http://c.example", "bookworm", ARCHIVE_KEYRING),
        Mirror("http://c.example", "bookworm-updates", ARCHIVE_KEYRING),
    )
    assert mirrors(folder=tmp_path / "none") == ()
