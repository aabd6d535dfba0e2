# SPDX-License-Identifier: Apache-2.0
"""Reading what the command line names: bounded, and with words for every way in which it fails."""

import sys
from collections.abc import Iterable
from typing import BinaryIO

from nacre.errors import ConfigurationError, MalformedEvidence, UnsupportedEvidence

__all__ = [
    "MAX_DOCUMENT",
    "MAX_EVIDENCE",
    "device_evidence",
    "document",
    "evidence",
    "nonce",
    "parts",
    "time",
]

#: Bytes. The largest real evidence (a quote with a long chain) has under 20 KiB.
MAX_EVIDENCE = 1 << 20
#: Bytes. Policies, releases, keys, bundles.
MAX_DOCUMENT = 16 << 20

_NONCE_SIZE = 32


def evidence(name: str) -> bytes:
    """Read a piece of evidence from a file, or from stdin if the name is ``-``.

    Raises:
        MalformedEvidence: ``evidence-too-large``.
        ConfigurationError: The file cannot be read.
    """
    data = _read(name, MAX_EVIDENCE)
    if len(data) > MAX_EVIDENCE:
        raise MalformedEvidence("evidence-too-large", expected=MAX_EVIDENCE, what=_called(name))
    return data


def device_evidence(name: str) -> bytes:
    """Read a piece of evidence as :func:`evidence` does, and take it out of another system's envelope.

    Raises:
        MalformedEvidence: As :func:`evidence`; or it began like an envelope and is none.
        ConfigurationError: The file cannot be read.
    """
    from nacre import platforms  # noqa: PLC0415 (each start loads only what it uses)

    data = evidence(name)
    try:
        platforms.detect(data)
    except UnsupportedEvidence:
        from nacre.appraisal.systems import envelope  # noqa: PLC0415 (only for other systems)

        opened = envelope.recognise(data, given={})
        return data if opened is None else opened.evidence
    return data


def document(name: str) -> bytes:
    """Read a document of the user's own: a key, an identity document.

    Raises:
        ConfigurationError: It cannot be read, or is larger than ``MAX_DOCUMENT``.
    """
    data = _read(name, MAX_DOCUMENT)
    if len(data) > MAX_DOCUMENT:
        raise ConfigurationError("file-too-large", path=_called(name), expected=MAX_DOCUMENT)
    return data


def nonce(text: str) -> bytes:
    """Read a nonce: 64 hex digits, or ``@file`` with 32 raw bytes or those digits.

    Raises:
        ConfigurationError: ``nonce-invalid``, or the file cannot be read.
    """
    raw = document(text[1:]) if text.startswith("@") else text.encode()
    if len(raw) == _NONCE_SIZE and text.startswith("@"):
        return raw
    try:
        value = bytes.fromhex(raw.decode("ascii"))
    except (UnicodeDecodeError, ValueError):
        value = b""
    if len(value) != _NONCE_SIZE:
        raise ConfigurationError("nonce-invalid", expected=_NONCE_SIZE, actual=text[:80])
    return value


def parts(words: Iterable[str]) -> dict[str, bytes]:
    """Read parts of a binding: ``NAME=HEX``, or ``NAME=@file`` with the bytes as they are.

    Raises:
        ConfigurationError: ``part-unreadable``, ``part-twice``, or the file cannot be read.
    """
    given: dict[str, bytes] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if name in given:
            raise ConfigurationError("part-twice", actual=name)
        try:
            given[name] = document(value[1:]) if value.startswith("@") else bytes.fromhex(value)
        except ValueError:
            equals = ""
        if not equals or not name:
            raise ConfigurationError("part-unreadable", actual=word[:80])
    return given


def time(text: str) -> int:
    """Read a time, RFC 3339 with any offset, as Unix seconds.

    Raises:
        ConfigurationError: ``time-unreadable``.
    """
    from datetime import datetime  # noqa: PLC0415 (rarely needed)

    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None or "T" not in text.upper():
        raise ConfigurationError("time-unreadable", actual=text[:80])
    return int(moment.timestamp())


def _called(name: str) -> str:
    return "stdin" if name == "-" else name


def _read(name: str, limit: int) -> bytes:
    try:
        if name == "-":
            return _bounded(sys.stdin.buffer, limit)
        with open(name, "rb") as file:  # noqa: PTH123 (pathlib costs milliseconds at start)
            return _bounded(file, limit)
    except IsADirectoryError:
        raise ConfigurationError("file-is-directory", path=name) from None
    except FileNotFoundError:
        raise ConfigurationError("file-missing", path=name) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigurationError("file-unreadable", path=_called(name), actual=reason) from None


def _bounded(file: BinaryIO, limit: int) -> bytes:
    """Read at most one byte more than the limit, however large the file says it is."""
    return file.read(limit + 1)
