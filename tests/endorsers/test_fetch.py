# SPDX-License-Identifier: Apache-2.0
"""Getting a document costs bounded time and memory, whatever the other side does."""

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from nacre.endorsers.fetch import HttpFetcher, fetch_evidence
from nacre.endorsers.http import Deadline, Limits
from nacre.errors import ConfigurationError, EndorsementsUnavailable

if TYPE_CHECKING:
    from tests.endorsers.conftest import Behaviour, Handler, Server

_SOON = Limits(connect=2, read=0.2, total=1, attempts=1)


def _fails(fetcher: HttpFetcher, url: str) -> EndorsementsUnavailable:
    with pytest.raises(EndorsementsUnavailable) as caught:
        fetcher.get(url)
    assert "?" not in str(caught.value).removeprefix(url)
    return caught.value


def test_a_document_and_its_headers(server: "Server", fetcher: HttpFetcher) -> None:
    server.give("/a?b=c", b"body", {"X-Chain": "one"})
    response = fetcher.get(server.url + "/a?b=c")
    assert (response.body, response.headers["x-chain"]) == (b"body", "one")
    assert server.seen[0]["host"] == f"127.0.0.1:{server.port}"


def test_evidence_from_a_url(server: "Server") -> None:
    server.give("/evidence", b"\0\1")
    assert fetch_evidence(server.url + "/evidence") == b"\0\1"


def test_chunks_are_joined(server: "Server", fetcher: HttpFetcher) -> None:
    def chunked(handler: "Handler") -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")

    server.otherwise = chunked
    assert fetcher.get(server.url).body == b"abcde"


@pytest.mark.parametrize(
    "url",
    [
        "http://endorser.example/",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "https://user:secret@endorser.example/",
        "https://endorser.example:0/",
        "https://endorser.example:99999/",
        "https:///path",
        "https://[::1/",
        "https://endorser.example/a b",
        "https://endorser.example/\r\nX: y",
        "https://endörser.example/",
        "https://a%0d/",
        "https://" + "a" * 5000,
        "https://" + "a" * 64 + ".example/",
        "https://endorser..example/",
        "https://.example/",
        "https://./",
        "http://127.999.1.1/",
        "http://127.0.0.01/",
        "127.0.0.1",
        "",
    ],
)
def test_unusable_urls_are_refused_before_anything_is_sent(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        HttpFetcher(limits=_SOON).get(url)
    assert caught.value.code in ("url-unusable", "url-not-https")
    assert str(caught.value)


@pytest.mark.parametrize(
    ("status", "code"),
    [(404, "endorser-not-found"), (410, "endorser-gone"), (403, "endorser-status"), (204, "endorser-status")],
)
def test_statuses_that_patience_does_not_change(
    server: "Server", fetcher: HttpFetcher, status: int, code: str
) -> None:
    server.otherwise = lambda handler: handler.answer(b"", status=status)
    assert _fails(fetcher, server.url).code == code
    assert len(server.requests) == 1


def _failing_first(times: int, status: int, headers: dict[str, str] | None = None) -> "Behaviour":
    left = iter(range(times))

    def behave(handler: "Handler") -> None:
        if next(left, None) is None:
            handler.answer(b"at last")
        else:
            handler.answer(b"busy", status=status, headers=headers)

    return behave


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_busy_servers_are_asked_again(server: "Server", status: int) -> None:
    pauses: list[float] = []
    server.otherwise = _failing_first(3, status)
    assert HttpFetcher(sleep=pauses.append).get(server.url).body == b"at last"
    assert len(pauses) == 3
    assert all(0.25 * 2**n * 0.5 <= pause <= 0.25 * 2**n for n, pause in enumerate(pauses, start=1))


def test_patience_ends(server: "Server") -> None:
    server.otherwise = _failing_first(99, 503)
    error = _fails(HttpFetcher(sleep=lambda _: None), server.url)
    assert (error.code, error.context["actual"], len(server.requests)) == ("endorser-status", 503, 4)


def test_retry_after_is_honoured(server: "Server") -> None:
    pauses: list[float] = []
    server.otherwise = _failing_first(1, 429, {"Retry-After": "7"})
    assert HttpFetcher(sleep=pauses.append).get(server.url).body == b"at last"
    assert pauses == [7]


def test_retry_after_as_a_date(server: "Server") -> None:
    pauses: list[float] = []
    when = (datetime.now(UTC) + timedelta(seconds=5)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    server.otherwise = _failing_first(1, 503, {"Retry-After": when})
    assert HttpFetcher(sleep=pauses.append).get(server.url).body == b"at last"
    assert 0 < pauses[0] <= 5


def test_retry_after_that_is_neither_is_ignored(server: "Server") -> None:
    pauses: list[float] = []
    server.otherwise = _failing_first(1, 503, {"Retry-After": "soon"})
    assert HttpFetcher(sleep=pauses.append).get(server.url).body == b"at last"
    assert pauses[0] <= 0.5


def test_retry_after_beyond_the_limit_is_an_answer(server: "Server") -> None:
    server.otherwise = _failing_first(1, 429, {"Retry-After": "3600"})
    error = _fails(HttpFetcher(sleep=lambda _: pytest.fail("waited")), server.url)
    assert (error.code, error.context["actual"]) == ("endorser-busy", 3600)


def test_no_wait_goes_beyond_the_total(server: "Server") -> None:
    server.otherwise = _failing_first(9, 503, {"Retry-After": "9"})
    fetcher = HttpFetcher(limits=Limits(total=5), sleep=lambda _: pytest.fail("waited"))
    assert _fails(fetcher, server.url).code == "endorser-status"


def test_a_deadline_ends() -> None:
    now = [0.0]
    deadline = Deadline(5, lambda: now[0])
    assert (deadline.left(), deadline.left(2)) == (5, 2)
    now[0] = 5
    with pytest.raises(TimeoutError):
        deadline.left()


def test_a_silent_server_is_asked_again_then_left(server: "Server") -> None:
    fetcher = HttpFetcher(limits=Limits(read=0.3, total=10, attempts=2), sleep=lambda _: None)
    server.otherwise = lambda handler: handler.server.owner.released.wait(5)
    assert _fails(fetcher, server.url).code == "endorser-timeout"
    assert len(server.requests) == 2


@pytest.mark.parametrize("part", ["headers", "body"])
def test_a_server_that_drips_meets_the_total_limit(server: "Server", part: str) -> None:
    def drip(handler: "Handler") -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n" + (b"\r\n" if part == "body" else b""))
        while not handler.server.owner.released.wait(0.05):
            handler.wfile.write(b"x")

    server.otherwise = drip
    begun = time.monotonic()
    assert _fails(HttpFetcher(limits=_SOON), server.url).code == "endorser-timeout"
    assert time.monotonic() - begun < 60


def test_interim_answers_do_not_go_on_forever(server: "Server") -> None:
    def interim(handler: "Handler") -> None:
        while not handler.server.owner.released.wait(0.01):
            handler.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    server.otherwise = interim
    assert _fails(HttpFetcher(limits=_SOON), server.url).code == "endorser-timeout"


def test_size_is_limited_by_what_is_promised(server: "Server", fetcher: HttpFetcher) -> None:
    server.otherwise = lambda handler: handler.answer(b"", headers={"Content-Length": str(1 << 40)})
    assert _fails(fetcher, server.url).code == "endorser-too-large"


def test_size_is_limited_by_what_comes(server: "Server", fetcher: HttpFetcher) -> None:
    def flood(handler: "Handler") -> None:
        handler.send_response(200)
        handler.end_headers()
        while True:
            handler.wfile.write(bytes(1 << 16))

    server.otherwise = flood
    assert _fails(fetcher, server.url).code == "endorser-too-large"


def test_the_largest_document_is_read(server: "Server", fetcher: HttpFetcher) -> None:
    server.give("/", bytes(1 << 20))
    assert len(fetcher.get(server.url + "/").body) == 1 << 20
    server.give("/", bytes((1 << 20) + 1))
    assert _fails(fetcher, server.url + "/").code == "endorser-too-large"


def test_a_server_that_dies_in_the_middle(server: "Server", fetcher: HttpFetcher) -> None:
    server.otherwise = lambda handler: handler.answer(b"half", headers={"Content-Length": "8"})
    assert _fails(fetcher, server.url).code == "endorser-truncated"


def test_a_server_that_dies_in_the_middle_of_a_chunk(server: "Server", fetcher: HttpFetcher) -> None:
    def chunked(handler: "Handler") -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"8\r\nabc")
        handler.close_connection = True

    server.otherwise = chunked
    assert _fails(fetcher, server.url).code == "endorser-truncated"


@pytest.mark.parametrize(
    "said", [b"", b"\x16\x03\x01\x00\x00 no HTTP\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200]
)
def test_what_is_not_http(server: "Server", fetcher: HttpFetcher, said: bytes) -> None:
    def talk(handler: "Handler") -> None:
        handler.wfile.write(said)
        handler.close_connection = True

    server.otherwise = talk
    assert _fails(fetcher, server.url).code in ("endorser-protocol", "endorser-unreachable")


def test_compression_nobody_asked_for(server: "Server", fetcher: HttpFetcher) -> None:
    server.give("/", b"\x1f\x8b", {"Content-Encoding": "gzip"})
    assert _fails(fetcher, server.url + "/").code == "endorser-protocol"


def test_nobody_listens(server: "Server", fetcher: HttpFetcher) -> None:
    server.stop()
    assert _fails(fetcher, server.url).code == "endorser-unreachable"


def test_redirects_on_the_same_host_are_followed(server: "Server", fetcher: HttpFetcher) -> None:
    server.give("/old", b"", {"Location": "/new?x=1"}, status=302)
    server.give("/new?x=1", b"moved")
    assert fetcher.get(server.url + "/old").body == b"moved"


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.2:{port}/",
        "http://127.0.0.1:1/",
        "https://127.0.0.1:{port}/",
        "//other.example/",
        "http://[",
        "",
    ],
)
def test_redirects_to_elsewhere_are_not(server: "Server", fetcher: HttpFetcher, location: str) -> None:
    server.give("/old", b"", {"Location": location.format(port=server.port)}, status=307)
    error = _fails(fetcher, server.url + "/old")
    assert error.code == ("endorser-redirect" if location else "endorser-redirect-loop")


def test_redirects_end(server: "Server", fetcher: HttpFetcher) -> None:
    server.otherwise = lambda handler: handler.answer(
        b"", status=301, headers={"Location": handler.path + "x"}
    )
    assert _fails(fetcher, server.url + "/").code == "endorser-redirect-loop"
    assert len(server.requests) == 4
