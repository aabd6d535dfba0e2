# SPDX-License-Identifier: Apache-2.0
"""Endorsements as one file, to carry where there is no network.

::

    {"format": "nacre-endorsements/v1", "platform": "tdx", "collected_at": "2025-03-10T11:04:00Z",
     "documents": {"tcb_info": "<base64>", ...}}

The file itself is not signed and need not be: each document in it is. A folder of single files serves as
well; a file's name up to its ending is the role of its document.
"""

import binascii
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from nacre.endorsers import thim
from nacre.endorsers.facts import MAX_DOCUMENT
from nacre.errors import ConfigurationError, MalformedEvidence
from nacre.platforms.base import Endorsements
from nacre.trust import json
from nacre.trust.times import parse_rfc3339

__all__ = ["FORMAT", "Bundle", "load", "pack", "read"]

FORMAT = "nacre-endorsements/v1"

_MAX_BUNDLE = 8 << 20
_MAX_DOCUMENTS = 64
_ROLE = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)
_ENDINGS = frozenset({".json", ".pem", ".der", ".crl"})


class Bundle(msgspec.Struct, frozen=True):
    """A bundle as read.

    Attributes:
        platform: The platform that the documents are for.
        collected_at: When they were collected, Unix seconds; said by whoever packed them.
        endorsements: The documents.
    """

    platform: str
    collected_at: int
    endorsements: Endorsements


class _Written(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: str
    platform: str
    collected_at: str
    documents: dict[str, str]


def pack(endorsements: Endorsements, platform: str, at: int) -> bytes:
    """Write a bundle; the same input gives the same bytes.

    Args:
        endorsements: The documents.
        platform: The platform that they are for.
        at: When they were collected, Unix seconds.

    Raises:
        ConfigurationError: ``bundle-unusable``, if nobody could read the bundle again.
    """
    documents = {
        role: binascii.b2a_base64(document, newline=False).decode("ascii")
        for role, document in sorted(endorsements.documents.items())
    }
    moment = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    written = _Written(FORMAT, platform, moment, documents)
    data = msgspec.json.format(msgspec.json.encode(written), indent=1) + b"\n"
    read(data)
    return data


def read(data: bytes) -> Bundle:
    """Read a bundle, strictly.

    Raises:
        ConfigurationError: ``bundle-unusable``, with what is wrong.
    """
    try:
        written = json.decode(data, _Written, what="endorsements bundle", limit=_MAX_BUNDLE)
        collected_at = parse_rfc3339(written.collected_at, what="collected_at")
    except MalformedEvidence as error:
        raise _unusable(detail=str(error)) from None
    if written.format != FORMAT:
        raise _unusable(detail=f"format {FORMAT} was expected, got {written.format[:64]}")
    if not _ROLE.fullmatch(written.platform):
        raise _unusable(detail="platform is no name")
    if len(written.documents) > _MAX_DOCUMENTS:
        raise _unusable(detail=f"{len(written.documents)} documents, at most {_MAX_DOCUMENTS} are read")
    documents = {role: _document(role, text) for role, text in written.documents.items()}
    return Bundle(written.platform, collected_at, Endorsements(documents))


def load(path: Path | str) -> Endorsements:
    """Read endorsements from a bundle, a folder of single documents, or what Azure's THIM answered.

    A folder's documents are the files that end in ``.json``, ``.pem``, ``.der`` or ``.crl`` and whose name
    is one of a role (``tcb_info.json``, ``pck_crl.der``); what no platform asks for does no harm.

    Raises:
        ConfigurationError: ``bundle-unusable`` or ``file-unreadable``.
    """
    path = Path(path)
    try:
        if path.is_dir():
            return Endorsements(_folder(path))
        data = _bounded(path, _MAX_BUNDLE)
        return thim.read(data) if thim.is_answer(data) else read(data).endorsements
    except MalformedEvidence as error:
        raise _unusable(detail=str(error)) from None
    except OSError as error:
        said = error.strerror or type(error).__name__
        raise ConfigurationError("file-unreadable", path=str(path), actual=said) from None


def _folder(path: Path) -> Mapping[str, bytes]:
    documents: dict[str, bytes] = {}
    for file in sorted(path.iterdir()):
        role = file.stem
        if file.suffix not in _ENDINGS or not _ROLE.fullmatch(role) or not file.is_file():
            continue
        if role in documents:
            raise _unusable(detail=f"two files for the role {role}")
        documents[role] = _bounded(file, MAX_DOCUMENT)
        if len(documents) > _MAX_DOCUMENTS:
            raise _unusable(detail=f"more than {_MAX_DOCUMENTS} documents")
    if not documents:
        raise _unusable(detail="no document in that folder")
    return documents


def _bounded(path: Path, limit: int) -> bytes:
    with path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise _unusable(detail=f"{path.name} is larger than {limit} bytes")
    return data


def _document(role: str, text: str) -> bytes:
    if not _ROLE.fullmatch(role):
        raise _unusable(detail=f"a document's role is no name: {role[:64]}")
    try:
        document = binascii.a2b_base64(text, strict_mode=True)
        if binascii.b2a_base64(document, newline=False).decode("ascii") != text:
            raise _unusable(detail=f"{role} is not canonical base64")
    except ValueError:  # no base64, or text beyond ASCII
        raise _unusable(detail=f"{role} is no base64") from None
    if len(document) > MAX_DOCUMENT:
        raise _unusable(detail=f"{role} has {len(document)} bytes, at most {MAX_DOCUMENT} are read")
    return document


def _unusable(*, detail: str) -> ConfigurationError:
    return ConfigurationError("bundle-unusable", detail=detail)
