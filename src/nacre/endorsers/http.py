# SPDX-License-Identifier: Apache-2.0
"""One HTTP exchange on the standard library, with every wait and every size bounded.

``http.client`` reads the response; the connection is made here, since its own has no limit on the whole
exchange: a server that sends one byte every few seconds would never time out. Heavy modules (``ssl``,
``http.client``, ``urllib``) are imported when something is fetched, not when Nacre starts.
"""

import io
import socket
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, cast

import msgspec

from nacre.errors import ConfigurationError, EndorsementsUnavailable

if TYPE_CHECKING:
    import ssl
    from http.client import HTTPResponse

__all__ = ["Answer", "Deadline", "Limits", "Target", "exchange", "proxy_for", "target"]

_LOOPBACK = ("localhost", "::1")
_PORTS = {"http": 80, "https": 443}
_CHUNK = 1 << 16
_OK = 200
_MAX_URL = 4096
_MAX_LABEL = 63
_PRINTABLE = frozenset(map(chr, range(0x21, 0x7F)))
_HOST = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-._:")


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one document may cost.

    Attributes:
        size: Bytes of a body.
        connect: Seconds to connect and to shake hands, for each address tried.
        read: Seconds of silence.
        total: Seconds for everything: redirects, retries and waits between them. The system's name
            look-up alone keeps limits of its own.
        attempts: How often a busy or silent server is asked.
        redirects: How many redirects are followed.
        retry_after: The longest wait that a server may ask for, seconds.
        pause: The first wait before a server that was busy and named no time is asked again, seconds, at
            random between half of it and all; each further one is twice as long.
    """

    size: int = 1 << 20
    connect: float = 5.0
    read: float = 10.0
    total: float = 30.0
    attempts: int = 4
    redirects: int = 3
    retry_after: float = 10.0
    pause: float = 0.5


class Deadline:
    """When everything has to be over."""

    __slots__ = ("_clock", "_end")

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        """End ``seconds`` from now."""
        self._clock = clock
        self._end = clock() + seconds

    def remaining(self) -> float:
        """Return the seconds left; less than nothing if it is over."""
        return self._end - self._clock()

    def left(self, most: float = float("inf")) -> float:
        """Return the seconds left, at most ``most``.

        Raises:
            TimeoutError: None are.
        """
        left = self.remaining()
        if left <= 0:
            raise TimeoutError
        return min(left, most)


class Target(msgspec.Struct, frozen=True):
    """A URL taken apart. ``path`` includes the query."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """Host and port as in a Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The whole URL."""
        return f"{self.scheme}://{self.authority}{self.path}"

    @property
    def loopback(self) -> bool:
        """Whether the host is this machine, by its very name."""
        return self.host in _LOOPBACK or _is_loopback_address(self.host)


class Answer(msgspec.Struct, frozen=True):
    """A response, whatever its status. Header names are lower-case; of repeated ones the first counts."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def target(url: str, *, unsafe_plain_http: bool = False) -> Target:
    """Take a URL apart.

    Raises:
        ConfigurationError: ``url-unusable``, or ``url-not-https`` for plain HTTP to another machine.
    """
    from urllib.parse import urlsplit  # noqa: PLC0415 (only where something is fetched)

    if len(url) > _MAX_URL or not _PRINTABLE.issuperset(url):
        raise ConfigurationError("url-unusable", actual=url[:_MAX_URL])
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ConfigurationError("url-unusable", actual=url) from None
    usable = parts.scheme in _PORTS and _is_host(host) and parts.username is None
    if not usable or port == 0:
        raise ConfigurationError("url-unusable", actual=url)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    found = Target(parts.scheme, host, port or _PORTS[parts.scheme], path)
    if found.scheme != "https" and not found.loopback and not unsafe_plain_http:
        raise ConfigurationError("url-not-https", actual=url)
    return found


def proxy_for(goal: Target) -> Target | None:
    """Find the proxy that the environment names for a target; never one for this machine itself.

    Raises:
        ConfigurationError: ``proxy-unusable``, for anything but an HTTP proxy without credentials.
    """
    if goal.loopback:
        return None
    from urllib.request import getproxies, proxy_bypass  # noqa: PLC0415 (slow to import)

    named = getproxies().get(goal.scheme)
    if not named or proxy_bypass(goal.host):
        return None
    try:
        return target(named if "://" in named else f"http://{named}", unsafe_plain_http=True)
    except ConfigurationError:
        raise ConfigurationError("proxy-unusable", scheme=goal.scheme) from None


def exchange(
    goal: Target,
    *,
    deadline: Deadline,
    limits: Limits,
    context: "ssl.SSLContext | None" = None,
    proxy: Target | None = None,
) -> Answer:
    """Send one GET and read the whole response.

    Args:
        goal: What to get.
        deadline: When to give up.
        limits: Sizes and single waits.
        context: How TLS is verified; needed for ``https``.
        proxy: An HTTP proxy to go through.

    Raises:
        EndorsementsUnavailable: ``endorser-unreachable``, ``-tls``, ``-timeout``, ``-protocol``,
            ``-truncated`` or ``-too-large``.
    """
    from http.client import HTTPException, IncompleteRead  # noqa: PLC0415 (slow to import)

    try:
        with _connect(proxy or goal, deadline, limits) as plain:
            if goal.scheme == "http":
                return _ask(plain, goal, goal.url if proxy else goal.path, deadline, limits)
            if proxy:
                _tunnel(plain, goal, deadline, limits)
            with _secure(plain, goal, deadline, limits, context) as secure:
                return _ask(secure, goal, goal.path, deadline, limits)
    except TimeoutError:
        raise EndorsementsUnavailable("endorser-timeout", url=goal.url, expected=int(limits.total)) from None
    except IncompleteRead as error:
        raise EndorsementsUnavailable("endorser-truncated", url=goal.url, actual=len(error.partial)) from None
    except OSError as error:
        raise _network(error, goal, proxy) from None
    except HTTPException as error:
        raise EndorsementsUnavailable(
            "endorser-protocol", url=goal.url, actual=type(error).__name__
        ) from None


def _network(error: OSError, goal: Target, proxy: Target | None) -> EndorsementsUnavailable:
    from ssl import SSLError  # noqa: PLC0415 (slow to import)

    said = getattr(error, "verify_message", "") or error.strerror or type(error).__name__
    if isinstance(error, SSLError):
        return EndorsementsUnavailable("endorser-tls", host=goal.host, actual=str(said))
    return EndorsementsUnavailable("endorser-unreachable", host=(proxy or goal).authority, actual=str(said))


def _connect(goal: Target, deadline: Deadline, limits: Limits) -> socket.socket:
    failure: OSError = OSError("no address")
    found = socket.getaddrinfo(goal.host, goal.port, type=socket.SOCK_STREAM)
    for family, kind, protocol, _, address in found:
        connection = socket.socket(family, kind, protocol)
        try:
            connection.settimeout(deadline.left(limits.connect))
            connection.connect(address)
        except OSError as error:
            connection.close()
            failure = error
        else:
            return connection
    raise failure


def _tunnel(plain: socket.socket, goal: Target, deadline: Deadline, limits: Limits) -> None:
    host = f"[{goal.host}]" if ":" in goal.host else goal.host
    where = f"{host}:{goal.port}"
    plain.settimeout(deadline.left(limits.read))
    plain.sendall(f"CONNECT {where} HTTP/1.1\r\nHost: {where}\r\n\r\n".encode())
    response = _response(plain, "CONNECT", deadline, limits)
    if response.status != _OK:
        raise EndorsementsUnavailable("proxy-refused", host=goal.host, actual=response.status)


def _secure(
    plain: socket.socket, goal: Target, deadline: Deadline, limits: Limits, context: "ssl.SSLContext | None"
) -> socket.socket:
    if context is None:
        import ssl  # noqa: PLC0415 (slow to import)

        context = ssl.create_default_context()
    plain.settimeout(deadline.left(limits.connect))
    return context.wrap_socket(plain, server_hostname=goal.host)


def _ask(connection: socket.socket, goal: Target, what: str, deadline: Deadline, limits: Limits) -> Answer:
    connection.settimeout(deadline.left(limits.read))
    connection.sendall(
        f"GET {what} HTTP/1.1\r\nHost: {goal.authority}\r\nUser-Agent: nacre\r\nAccept: */*\r\n"
        "Accept-Encoding: identity\r\nConnection: close\r\n\r\n".encode()
    )
    response = _response(connection, "GET", deadline, limits)
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise EndorsementsUnavailable("endorser-protocol", url=goal.url, actual="compressed body")
    headers: dict[str, str] = {}
    for name, value in response.headers.items():
        headers.setdefault(name.lower(), str(value))
    return Answer(response.status, headers, _body(response, goal, limits.size))


def _body(response: "HTTPResponse", goal: Target, limit: int) -> bytes:
    promised = response.length
    if promised is not None and promised > limit:
        raise EndorsementsUnavailable("endorser-too-large", url=goal.url, expected=limit, actual=promised)
    body = bytearray()
    while chunk := response.read(_CHUNK):
        body += chunk
        size = len(body)
        if size > limit:
            raise EndorsementsUnavailable("endorser-too-large", url=goal.url, expected=limit, actual=size)
    if promised is not None and len(body) < promised:
        raise EndorsementsUnavailable("endorser-truncated", url=goal.url, actual=len(body))
    return bytes(body)


def _response(connection: socket.socket, method: str, deadline: Deadline, limits: Limits) -> "HTTPResponse":
    from http.client import HTTPResponse  # noqa: PLC0415 (slow to import)

    response = HTTPResponse(cast("socket.socket", _Timed(connection, deadline, limits.read)), method=method)
    response.begin()
    return response


class _Timed:
    """The one method of a socket that ``HTTPResponse`` uses."""

    def __init__(self, connection: socket.socket, deadline: Deadline, silence: float) -> None:
        self._stream = _Stream(connection, deadline, silence)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self._stream, _CHUNK)


class _Stream(io.RawIOBase):
    """Reads from a socket; each read may wait only as long as the whole exchange still may."""

    def __init__(self, connection: socket.socket, deadline: Deadline, silence: float) -> None:
        super().__init__()
        self._connection = connection
        self._deadline = deadline
        self._silence = silence

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        self._connection.settimeout(self._deadline.left(self._silence))
        return self._connection.recv_into(buffer)


def _is_host(host: str) -> bool:
    # Labels that no name can have make the look-up raise what is no OSError.
    labels = host.removesuffix(".").split(".")
    return _HOST.issuperset(host) and all(0 < len(label) <= _MAX_LABEL for label in labels)


def _is_loopback_address(host: str) -> bool:
    parts = host.split(".")
    if len(parts) != 4 or parts[0] != "127":  # noqa: PLR2004
        return False
    # Anything else that looks like it is a name, which the network answers.
    return all(part.isdigit() and part == str(int(part)) and int(part) < 256 for part in parts[1:])  # noqa: PLR2004
