# SPDX-License-Identifier: Apache-2.0
"""The questions of :mod:`nacre.enclave.client` and how their answers are read; knows no sockets."""

import os
from collections.abc import Callable
from typing import Generic, Literal, TypeVar

import h11
import msgspec

from nacre.errors import EnclaveError
from nacre.trust import base64url

__all__ = [
    "Algorithm",
    "Call",
    "Event",
    "Exchange",
    "Info",
    "Signature",
    "connecting",
    "derive",
    "emit",
    "evidence",
    "info",
    "no_tunnel",
    "raw",
    "seal",
    "sign",
    "target_of",
    "unreachable",
    "unseal",
    "where",
]

Algorithm = Literal["ed25519", "p256"]

_MAX_ANSWER = 1 << 24
_FIRST_BAD = 400
_END = b"\r\n\r\n"

_Answer = TypeVar("_Answer")
_Record = TypeVar("_Record", bound=msgspec.Struct)


class Info(msgspec.Struct, frozen=True, kw_only=True):
    """What the enclave is that this app runs in; hex where bytes are meant.

    Attributes:
        platform: The platform's name.
        mode: ``simulated`` or ``genuine``.
        app: The app's name.
        version: The app's version.
        release: The release's digest.
        boot: What tells this start from others.
        keys: The identity keys by name, DER SubjectPublicKeyInfo.
        keys_last: ``image``: derived keys return with the same image on this machine; ``boot``: they end
            with this start, and so does what was sealed.
        log_register: The register that events extend, or None: then nothing vouches for the log.
        purposes: The purposes that this app can have evidence made for.
        raw_report_data: Whether it may choose all bytes that evidence commits to.
        restarts: How often this app was started again.
    """

    platform: str
    mode: str
    app: str
    version: str
    release: str
    boot: str
    keys: dict[str, str]
    keys_last: Literal["image", "boot"]
    log_register: str | None
    purposes: tuple[str, ...]
    raw_report_data: bool
    restarts: int


class Event(msgspec.Struct, frozen=True):
    """An event that was measured.

    Attributes:
        digest: What the register was extended by, hex.
        register: Which one, or None.
        events: How many events there are now.
    """

    digest: str
    register: str | None
    events: int


class Signature(msgspec.Struct, frozen=True):
    """A signature over the statement of a message (``nacre/v1/app-signature``).

    Attributes:
        signature: Ed25519: 64 bytes; P-256: DER.
        key: The identity key that made it, DER SubjectPublicKeyInfo.
    """

    signature: bytes
    key: bytes


class Call(Generic[_Answer]):
    """One question: where, what, and how the answer is read."""

    def __init__(self, path: str, body: dict[str, str] | None, read: Callable[[bytes], _Answer]) -> None:
        """Say where, what and how."""
        self.path = path
        self.body = None if body is None else msgspec.json.encode(body)
        self.read = read


class Exchange:
    """One request and its answer; knows no sockets."""

    def __init__(self, path: str, body: bytes | None) -> None:
        """Write the request."""
        self._http = h11.Connection(h11.CLIENT)
        self._status = 0
        self._body = bytearray()
        headers = [("host", "nacre"), ("connection", "close"), ("content-type", "application/json")]
        headers.append(("content-length", str(len(body or b""))))
        method = "GET" if body is None else "POST"
        parts = [h11.Request(method=method, target=path, headers=headers), h11.Data(data=body or b"")]
        self.request = b"".join(self._http.send(part) or b"" for part in (*parts, h11.EndOfMessage()))

    def feed(self, data: bytes) -> bool:
        """Take what came; True once the answer is whole.

        Raises:
            EnclaveError: ``client-answer``.
        """
        try:
            self._http.receive_data(data)
            while (event := self._http.next_event()) is not h11.NEED_DATA:
                if isinstance(event, h11.Response):
                    self._status = event.status_code
                elif isinstance(event, h11.Data):
                    self._body += event.data
                elif isinstance(event, h11.EndOfMessage):
                    return True
        except h11.RemoteProtocolError:
            raise EnclaveError("client-answer") from None
        if len(self._body) > _MAX_ANSWER:
            raise EnclaveError("client-answer")
        return False

    def result(self) -> bytes:
        """Return the answer's body.

        Raises:
            EnclaveError: The agent refused, with its code.
        """
        if self._status >= _FIRST_BAD:
            raise _refused(bytes(self._body))
        return bytes(self._body)


class _Refusal(msgspec.Struct, frozen=True):
    error: str
    message: str
    hint: str = ""


class _Refused(EnclaveError):
    """The agent's own words: it may be of another version, with codes that are not known here."""

    def __init__(self, refusal: _Refusal) -> None:
        super().__init__(refusal.error)
        self._said = refusal

    def __str__(self) -> str:
        return self._said.message

    @property
    def hint(self) -> str:
        return self._said.hint


class _Bytes(msgspec.Struct, frozen=True):
    evidence: str = ""
    key: str = ""
    signature: str = ""
    sealed: str = ""
    plaintext: str = ""


def info() -> Call[Info]:
    """Ask what this enclave is."""
    return Call("/v1/info", None, lambda answer: _record(answer, Info))


def evidence(data: bytes) -> Call[bytes]:
    """Ask for evidence over an app's bytes."""
    return Call("/v1/evidence", {"data": base64url.encode(data)}, lambda answer: answer)


def raw(report_data: bytes) -> Call[bytes]:
    """Ask for evidence over 64 bytes."""
    body = {"report_data": base64url.encode(report_data)}
    return Call("/v1/evidence/raw", body, lambda answer: _plain(_record(answer, _Bytes).evidence))


def derive(path: str, purpose: str) -> Call[bytes]:
    """Ask for a key."""
    body = {"path": path, "purpose": purpose}
    return Call("/v1/keys/derive", body, lambda answer: _plain(_record(answer, _Bytes).key))


def sign(message: bytes, algorithm: Algorithm) -> Call[Signature]:
    """Ask for a signature."""

    def read(answer: bytes) -> Signature:
        found = _record(answer, _Bytes)
        return Signature(_plain(found.signature), _plain(found.key))

    return Call("/v1/sign", {"message": base64url.encode(message), "algorithm": algorithm}, read)


def seal(plaintext: bytes, context: str) -> Call[bytes]:
    """Ask to encrypt."""
    body = {"plaintext": base64url.encode(plaintext), "context": context}
    return Call("/v1/seal", body, lambda answer: _plain(_record(answer, _Bytes).sealed))


def unseal(sealed: bytes, context: str) -> Call[bytes]:
    """Ask to decrypt."""
    body = {"sealed": base64url.encode(sealed), "context": context}
    return Call("/v1/unseal", body, lambda answer: _plain(_record(answer, _Bytes).plaintext))


def emit(name: str, payload: bytes) -> Call[Event]:
    """Ask to measure an event."""
    body = {"name": name, "payload": base64url.encode(payload)}
    return Call("/v1/events", body, lambda answer: _record(answer, Event))


def _record(answer: bytes, shape: type[_Record]) -> _Record:
    try:
        return msgspec.json.decode(answer, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise EnclaveError("client-answer") from None


def _plain(text: str) -> bytes:
    return base64url.decode(text, what="agent's answer")


def _refused(body: bytes) -> EnclaveError:
    return _Refused(_record(body, _Refusal))


def where(path: str | None, variable: str) -> str:
    """Find a socket's path.

    Raises:
        EnclaveError: ``client-no-socket``.
    """
    found = path or os.environ.get(variable)
    if not found:
        raise EnclaveError("client-no-socket", what=variable)
    return found


def unreachable(error: Exception) -> EnclaveError:
    """Say that the agent cannot be reached."""
    return EnclaveError("client-unreachable", actual=getattr(error, "strerror", None) or type(error).__name__)


def target_of(host: str, port: int) -> str:
    """Write a target.

    Raises:
        EnclaveError: ``egress-request``.
    """
    if not host.isascii() or not host.isprintable() or " " in host:
        raise EnclaveError("egress-request", actual=host[:64])
    return f"{host}:{port}"


def connecting(target: str) -> bytes:
    """Write the head of a CONNECT."""
    return f"CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n\r\n".encode("ascii")


def no_tunnel(answer: bytes) -> EnclaveError:
    """Read why a tunnel was refused."""
    return _refused(answer.partition(_END)[2])
