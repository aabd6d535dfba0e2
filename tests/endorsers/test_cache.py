# SPDX-License-Identifier: Apache-2.0
"""The cache is never trusted, never in the way, and never loses what it had."""

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nacre.endorsers import cache as module
from nacre.endorsers import files
from nacre.endorsers.cache import Cache, Version, default_folder
from nacre.endorsers.facts import Facts
from nacre.endorsers.notices import log
from nacre.errors import ConfigurationError

if TYPE_CHECKING:
    from tests.endorsers.conftest import Notices

_URL = "https://endorser.example/tcb?fmspc=00"


def _version(number: int, *, fetched: int = 0, document: bytes = b"") -> Version:
    at = fetched or number
    return Version(
        at, at, document or b"document %d" % number, b"chain", Facts(0, 100, "tcb", number, number, "00")
    )


def _entry(folder: Path) -> Path:
    (file,) = (folder / "endorsements").glob("*.entry")
    return file


def test_what_is_stored_is_found_by_everybody(tmp_path: Path) -> None:
    assert list(Cache(tmp_path).entries()) == []
    Cache(tmp_path).store(_URL, _version(1))
    assert Cache(tmp_path).versions(_URL) == (_version(1),)
    assert Cache(tmp_path).versions(_URL + "&update=early") == ()
    assert [entry.url for entry in Cache(tmp_path).entries()] == [_URL]


def test_earlier_versions_stay(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    for number in range(1, 9):
        cache.store(_URL, _version(number))
    assert [version.facts.number for version in cache.versions(_URL)] == [8, 7, 6, 5, 4]


def test_the_same_bytes_again_are_the_same_version(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.store(_URL, _version(1, fetched=10))
    cache.store(_URL, _version(1, fetched=20))
    (version,) = cache.versions(_URL)
    assert (version.first_fetched, version.fetched) == (10, 20)


def test_a_version_can_be_dropped(tmp_path: Path) -> None:
    for cache in (Cache(tmp_path), Cache(None)):
        for number in (1, 2, 3):
            cache.store(_URL, _version(number))
        cache.drop(_URL, _version(2, fetched=50, document=b"document 2"))
        cache.drop(_URL, _version(4))
        assert cache.versions(_URL) == (_version(3), _version(1))
        cache.drop(_URL, _version(3))
        cache.drop(_URL, _version(1))
        assert cache.versions(_URL) == ()
        assert list(cache.entries()) == []
        cache.store(_URL, _version(1))
        assert [entry.versions for entry in cache.entries()] == [(_version(1),)]


def test_what_was_dropped_is_gone_although_the_disk_cannot_be_written(
    tmp_path: Path, notices: "Notices"
) -> None:
    cache = Cache(tmp_path, notice=notices)
    cache.store(_URL, _version(1))
    (tmp_path / "endorsements").chmod(0o777)
    cache.drop(_URL, _version(1))
    assert cache.versions(_URL) == ()
    assert notices.codes == ["cache-unsafe"]
    assert Cache(tmp_path).versions(_URL) == (_version(1),)


def test_it_is_this_users_alone(tmp_path: Path) -> None:
    Cache(tmp_path / "deep" / "er").store(_URL, _version(1))
    folder = tmp_path / "deep" / "er" / "endorsements"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}


def test_without_a_folder_it_lives_in_memory() -> None:
    cache = Cache(None)
    cache.store(_URL, _version(1))
    cache.store(_URL, _version(2))
    assert [version.facts.number for version in cache.versions(_URL)] == [2, 1]
    for number in range(300):
        cache.store(f"{_URL}{number}", _version(1))
    assert len(list(cache.entries())) <= module.MAX_ENTRIES
    cache.clear()
    assert list(cache.entries()) == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:0],
        lambda data: data[:20],
        lambda data: data[:-1],
        lambda data: data[:40] + bytes([data[40] ^ 1]) + data[41:],
        lambda data: data + b" ",
        lambda data: data[32:],
    ],
)
def test_damaged_entries_are_none(
    tmp_path: Path, notices: "Notices", damage: Callable[[bytes], bytes]
) -> None:
    cache = Cache(tmp_path, notice=notices)
    cache.store(_URL, _version(1))
    file = _entry(tmp_path)
    file.write_bytes(damage(file.read_bytes()))
    assert cache.versions(_URL) == ()
    assert list(cache.entries()) == []
    assert set(notices.codes) == {"cache-corrupt"}
    cache.store(_URL, _version(2))
    assert cache.versions(_URL) == (_version(2),)


@pytest.mark.parametrize("content", [b"{}", b"[]", b'{"format":"nacre-cache/v9","url":"x","versions":[]}'])
def test_whole_entries_of_another_form_are_none(tmp_path: Path, notices: "Notices", content: bytes) -> None:
    cache = Cache(tmp_path, notice=notices)
    cache.store(_URL, _version(1))
    files.replace_sealed(_entry(tmp_path), content)
    assert cache.versions(_URL) == ()


def test_an_entry_under_anothers_name_is_none(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.store(_URL, _version(1))
    file = _entry(tmp_path)
    cache.clear()
    cache.store(_URL + "x", _version(2))
    _entry(tmp_path).rename(file)
    assert cache.versions(_URL) == ()


def test_what_is_no_file_is_none(tmp_path: Path, notices: "Notices") -> None:
    cache = Cache(tmp_path, notice=notices)
    cache.store(_URL, _version(1))
    file = _entry(tmp_path)
    file.unlink()
    os.mkfifo(file)
    assert cache.versions(_URL) == ()
    file.unlink()
    file.symlink_to(tmp_path / "elsewhere")
    assert cache.versions(_URL) == ()
    assert set(notices.codes) == {"cache-corrupt", "cache-unusable"}


def test_a_folder_that_is_a_file(tmp_path: Path, notices: "Notices") -> None:
    (tmp_path / "cache").write_text("a file")
    cache = Cache(tmp_path / "cache", notice=notices)
    assert cache.versions(_URL) == ()
    assert list(cache.entries()) == []
    cache.store(_URL, _version(1))
    assert cache.versions(_URL) == (_version(1),)
    assert set(notices.codes) == {"cache-unusable"}


def test_a_folder_that_others_can_write(tmp_path: Path, notices: "Notices") -> None:
    folder = tmp_path / "endorsements"
    folder.mkdir()
    folder.chmod(0o777)
    cache = Cache(tmp_path, notice=notices)
    cache.store(_URL, _version(1))
    assert list(folder.iterdir()) == []
    assert cache.versions(_URL) == (_version(1),)
    assert notices.codes == ["cache-unsafe"]


def test_a_folder_of_somebody_else(
    tmp_path: Path, notices: "Notices", monkeypatch: pytest.MonkeyPatch
) -> None:
    Cache(tmp_path).store(_URL, _version(1))
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    Cache(tmp_path, notice=notices).store(_URL, _version(2))
    assert notices.codes == ["cache-unsafe"]


def test_the_size_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ENTRIES", 3)
    cache = Cache(tmp_path)
    for number in range(6):
        cache.store(f"{_URL}{number}", _version(number))
        os.utime(cache._path(tmp_path / "endorsements", f"{_URL}{number}"), (number, number))
    assert [entry.url[-1] for entry in cache.entries()] == ["3", "4", "5"]
    cache.store(f"{_URL}6", _version(6, document=bytes(3000)))
    assert [entry.url[-1] for entry in cache.entries()] == ["4", "5", "6"]
    size = cache._path(tmp_path / "endorsements", f"{_URL}6").stat().st_size
    monkeypatch.setattr(module, "MAX_BYTES", size)
    cache.store(f"{_URL}6", _version(6, document=bytes(3000)))
    assert [entry.url[-1] for entry in cache.entries()] == ["6"]


def test_what_a_crash_left_is_swept_later(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.store(_URL, _version(1))
    old, young = (tmp_path / "endorsements" / f"{files.TEMPORARY}{name}" for name in ("old", "young"))
    old.write_bytes(b"half")
    young.write_bytes(b"half")
    os.utime(old, (time.time() - 7200,) * 2)
    cache.store(_URL, _version(2))
    assert (old.exists(), young.exists()) == (False, True)
    assert [entry.url for entry in cache.entries()] == [_URL]


_WRITER = """
import sys
from pathlib import Path
from nacre.endorsers.cache import Cache, Version
from nacre.endorsers.facts import Facts
def note(error):
    print(error.code, flush=True)
cache, name = Cache(Path(sys.argv[1]), notice=note), sys.argv[2]
print("ready", flush=True)
for number in range(1, int(sys.argv[3]) + 1):
    document = f"{name} {number} ".encode() * 2000
    cache.store("url", Version(number, number, document, None, Facts(0, 9, "tcb", number)))
    print(number, flush=True)
"""


def _writer(folder: Path, name: str, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(folder), name, str(count)], stdout=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("delay", [0.0, 0.003, 0.01, 0.03])
def test_a_writer_that_is_killed(tmp_path: Path, delay: float) -> None:
    with _writer(tmp_path, "a", 100_000) as writer:
        assert writer.stdout is not None
        said = [writer.stdout.readline().strip() for _ in range(4)]
        time.sleep(delay)
        writer.send_signal(signal.SIGKILL)
        last = int([*said, *writer.stdout.read().split()][-1])
    found = Cache(tmp_path, notice=pytest.fail).versions("url")  # type: ignore[arg-type]
    assert found[0].facts.number >= last
    assert all(b"a %d " % version.facts.number in version.document for version in found)
    Cache(tmp_path, notice=pytest.fail).store("url", _version(7))  # type: ignore[arg-type]  # no lock is left


def test_two_writers_take_turns(tmp_path: Path) -> None:
    with _writer(tmp_path, "a", 60) as one, _writer(tmp_path, "b", 60) as other:
        said = [one.communicate()[0].split(), other.communicate()[0].split()]
    assert said == [["ready", *map(str, range(1, 61))]] * 2
    found = Cache(tmp_path).versions("url")
    assert len(found) == module.MAX_VERSIONS
    assert found[0].facts.number == 60
    # A writer that ignored the other would have lost versions: numbers of each would have gaps.
    for name in (b"a", b"b"):
        numbers = [version.facts.number for version in found if version.document.startswith(name)]
        assert numbers == sorted(range(60 - len(numbers) + 1, 61), reverse=True) or not numbers


def test_a_disk_that_is_full(tmp_path: Path) -> None:
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n{_WRITER}"
    ended = subprocess.run(
        [sys.executable, "-c", limited, str(tmp_path), "a", "2"], capture_output=True, text=True, check=True
    )
    assert ended.stdout.split() == ["ready", "cache-unusable", "1", "cache-unusable", "2"]
    assert [file.name for file in (tmp_path / "endorsements").iterdir()] == [".lock"]


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: int) -> None:
        raise OSError(28, "No space left on device")

    files.replace_sealed(tmp_path / "file", b"old")
    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="No space"):
        files.replace_sealed(tmp_path / "file", b"new")
    assert [file.name for file in tmp_path.iterdir()] == ["file"]
    assert files.read_sealed(tmp_path / "file", limit=100) == b"old"


def test_a_folder_that_cannot_be_listed(
    tmp_path: Path, notices: "Notices", monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    cache = Cache(tmp_path, notice=notices)
    cache.store(_URL, _version(1))
    monkeypatch.setattr(Path, "iterdir", forbidden)
    assert list(cache.entries()) == []
    assert notices.codes == ["cache-unusable"]


def test_a_lock_that_is_never_released(
    tmp_path: Path, notices: "Notices", monkeypatch: pytest.MonkeyPatch
) -> None:
    Cache(tmp_path).store(_URL, _version(1))
    monkeypatch.setattr(files, "_PATIENCE", 0.05)
    cache = Cache(tmp_path, notice=notices)
    with files.locked(tmp_path / "endorsements"):
        cache.store(_URL, _version(2))
        assert cache.versions(_URL)[0].facts.number == 2
    assert notices.codes == ["cache-unusable"]
    cache.store(_URL, _version(3))
    assert [version.facts.number for version in Cache(tmp_path).versions(_URL)] == [3, 2, 1]


def test_threads_share_one(tmp_path: Path) -> None:
    cache = Cache(tmp_path)

    def work(name: str) -> None:
        for number in range(10):
            cache.store(f"{_URL}{name}", _version(number))
            assert cache.versions(f"{_URL}{name}")[0].facts.number == number

    threads = [threading.Thread(target=work, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list(cache.entries())) == 3


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"NACRE_CACHE_DIR": "/c", "XDG_CACHE_HOME": "/x", "HOME": "/h"}, "/c"),
        ({"XDG_CACHE_HOME": "/x", "HOME": "/h"}, "/x/nacre"),
        ({"XDG_CACHE_HOME": "relative", "HOME": "/h"}, "/h/.cache/nacre"),
        ({"HOME": "/h"}, "/h/.cache/nacre"),
    ],
)
def test_where_it_lives(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: str) -> None:
    for name in ("NACRE_CACHE_DIR", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert default_folder() == Path(expected)


def test_nowhere_to_live(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError

    monkeypatch.delenv("NACRE_CACHE_DIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert default_folder() is None
    monkeypatch.setattr(os, "name", "nt")
    assert default_folder() is None


def test_notices_go_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    log(ConfigurationError("cache-corrupt", path="here"))
    assert "here is damaged" in caplog.text
