# SPDX-License-Identifier: Apache-2.0
"""What is kept is believed by its digest alone; a lock of somebody else names nothing but inputs."""

import contextlib
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from nacre.build.debian.index import Snapshot
from nacre.build.download import Download
from nacre.build.inputs import Input, Inputs
from nacre.build.lock import Deb, Lock, Module, Wheel, insist_on_newer
from nacre.errors import BuildError, ConfigurationError

_SHA = "a" * 64
_LOCK = Lock(
    recipe=_SHA,
    agent=_SHA,
    nacre="0.1.0",
    python="3.11",
    snapshots=(Snapshot(suite="bookworm", date="today", sha256=_SHA),),
    packages=(
        Deb(
            name="libstdc++6",
            version="1:2.0~rc1-1",
            sha256=_SHA,
            size=1,
            source="gcc",
            path="pool/a.deb",
            use="whole",
        ),
    ),
    wheels=(Wheel(name="a", version="1.0", sha256=_SHA, size=1, file="a-1.0-py3-none-any.whl", use="app"),),
    modules=(
        Module(
            name="@a/b",
            version="1.0.0",
            sha256=_SHA,
            size=1,
            place="node_modules/@a/b",
            integrity=f"sha512-{'A' * 86}==",
            path="@a/b/-/b-1.0.0.tgz",
        ),
    ),
)


def _code(inputs: Inputs, wanted: Input) -> str:
    with pytest.raises(BuildError) as caught:
        inputs.read(wanted)
    return caught.value.code


def test_a_lock_is_read_as_it_was_written(tmp_path: Path) -> None:
    (tmp_path / "nacre.lock").write_bytes(_LOCK.encode())
    assert Lock.load(tmp_path) == _LOCK


@pytest.mark.parametrize(
    ("before", "after", "fine"),
    [
        ("Wed, 25 Nov 2026 00:00:00 UTC", "Wed, 25 Nov 2026 00:00:00 UTC", True),
        ("Wed, 25 Nov 2026 00:00:00 UTC", "Wed, 25 Nov 2026 00:00:01 UTC", True),
        ("Wed, 25 Nov 2026 00:00:00 UTC", "Tue, 24 Nov 2026 23:59:59 UTC", False),
        ("Wed, 25 Nov 2026 00:00:00 UTC", "", False),
        ("Wed, 25 Nov 2026 00:00:00 UTC", "Wed, 99 Nov 2026 00:00:00 UTC", False),
        ("some day", "Tue, 24 Nov 2026 23:59:59 UTC", True),
    ],
)
def test_no_lock_goes_back_in_time(before: str, after: str, *, fine: bool) -> None:
    locks = [
        msgspec.structs.replace(_LOCK, snapshots=(Snapshot(suite="bookworm", date=date, sha256=_SHA),))
        for date in (before, after)
    ]
    with contextlib.nullcontext() if fine else pytest.raises(BuildError, match="of a newer one"):
        insist_on_newer(*locks)
    insist_on_newer(msgspec.structs.replace(locks[0], snapshots=()), locks[1])


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("packages", 0, "sha256"), "../../../../etc/passwd"),
        (("packages", 0, "sha256"), "A" * 64),
        (("packages", 0, "sha256"), "a" * 64 + "\n"),
        (("packages", 0, "size"), -1),
        (("packages", 0, "size"), 1 << 40),
        (("packages", 0, "path"), "pool/../../secret"),
        (("packages", 0, "path"), "/etc/passwd"),
        (("packages", 0, "use"), "all"),
        (("packages", 0, "more"), 1),
        (("wheels", 0, "name"), "a\n--index-url http://example.org"),
        (("wheels", 0, "version"), "1 -e ."),
        (("wheels", 0, "file"), "../a.whl"),
        (("modules", 0, "place"), "node_modules/../../etc/nacre/boot.d/x"),
        (("modules", 0, "place"), "../x"),
        (("modules", 0, "integrity"), ""),
        (("python",), "3.11/../.."),
        (("agent",), "none"),
        (("format",), "nacre-lock/v2"),
        (("unknown",), 1),
    ],
)
def test_a_lock_names_nothing_but_inputs(tmp_path: Path, where: tuple[str | int, ...], value: object) -> None:
    written = json.loads(_LOCK.encode())
    place = written
    for step in where[:-1]:
        place = place[step]
    place[where[-1]] = value
    (tmp_path / "nacre.lock").write_text(json.dumps(written))
    with pytest.raises(ConfigurationError) as caught:
        Lock.load(tmp_path)
    assert caught.value.code == "config-syntax"
    assert "nacre.lock" in str(caught.value)


def test_a_lock_says_each_thing_once(tmp_path: Path) -> None:
    with pytest.raises(BuildError) as missing:
        Lock.load(tmp_path)
    assert missing.value.code == "lock-missing"
    for text in ("", "[]", _LOCK.encode().decode().replace('"python"', '"python": "3.12", "python"'), "\xff"):
        (tmp_path / "nacre.lock").write_bytes(text.encode("latin-1"))
        with pytest.raises(ConfigurationError) as caught:
            Lock.load(tmp_path)
        assert caught.value.code == "config-syntax"


def test_an_input_is_what_its_digest_says(tmp_path: Path) -> None:
    inputs = Inputs(tmp_path / "inputs")
    kept = inputs.keep("it", b"content")
    assert inputs.read(kept) == b"content"
    path = inputs.path(kept)
    lie = Input(name="it", sha256=kept.sha256, size=3)
    assert _code(inputs, lie) == "input-size"
    assert path.exists()
    path.write_bytes(b"damaged")
    assert _code(inputs, kept) == "input-damaged"
    assert not path.exists()
    assert _code(inputs, kept) == "input-missing"
    path.write_bytes(b"damaged")
    assert inputs.keep("it", b"content") == kept
    assert inputs.read(kept) == b"content"
    path.unlink()
    path.mkdir()
    assert _code(inputs, kept) == "input-missing"
    (tmp_path / "file").write_text("")
    with pytest.raises(BuildError) as caught:
        Inputs(tmp_path / "file").keep("it", b"content")
    assert caught.value.code == "inputs-unwritable"


@pytest.fixture
def server() -> Iterator[str]:
    """A mirror that states lengths as it likes."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/none":
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", {"/short": "100", "/odd": "many"}.get(self.path, "4"))
            self.end_headers()
            self.wfile.write(b"four")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as served:
        thread = threading.Thread(target=served.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{served.server_port}"
        served.shutdown()
        thread.join()


def test_a_download_is_whole_or_refused(server: str, tmp_path: Path) -> None:
    heard: list[tuple[str, int, int]] = []
    download = Download(lambda *words: heard.append(words))
    assert download.get(f"{server}/four", limit=4) == b"four"
    assert heard == [("four", 4, 4)]
    for url, limit, code in (
        (f"{server}/four", 3, "download-large"),
        (f"{server}/short", 100, "download-failed"),
        (f"{server}/odd", 100, "download-failed"),
        (f"{server}/none", 100, "download-failed"),
        ("http://127.0.0.1:9/none", 4, "download-failed"),
        ("http://127.0.0.1:none/", 4, "download-failed"),
        ((tmp_path / "none").as_uri(), 4, "download-failed"),
        ("file:///dev/zero", 1000, "download-large"),
        ("ftp://example.org/a", 4, "download-url"),
        ("http://example.org/a b", 4, "download-url"),
        ("/etc/passwd", 4, "download-url"),
        ("http://" + "a" * 3000, 4, "download-url"),
    ):
        with pytest.raises(BuildError) as caught:
            download.get(url, limit=limit)
        assert caught.value.code == code, url


def test_one_mirror_that_has_it_is_enough(server: str, tmp_path: Path) -> None:
    sound = Inputs(tmp_path / "other").keep("it", b"four")
    urls = [f"{server}/none", f"{server}/short", f"{server}/four"]
    assert Inputs(tmp_path / "inputs").fetch(sound, urls, download=Download()) == b"four"
    changed = Input(name="it", sha256=_SHA, size=4)
    for wanted, addresses, code in (
        (changed, [f"{server}/four", f"{server}/none"], "input-changed"),
        (changed, [f"{server}/none"], "download-failed"),
        (changed, [], "input-missing"),
    ):
        with pytest.raises(BuildError) as caught:
            Inputs(tmp_path / "new").fetch(wanted, addresses, download=Download())
        assert caught.value.code == code
