# SPDX-License-Identifier: Apache-2.0
"""Which licence packages say that they are under, read from their own files in an image.

Debian's packages say so in a file that no image carries: of these nothing is said here.

Source: core metadata of Python's packaging specifications; npm, "package.json".
"""

import re
from collections.abc import Iterable, Mapping

import msgspec

from nacre.build.components import Component
from nacre.build.cpio import Member
from nacre.errors import MalformedEvidence
from nacre.trust import json

__all__ = ["stated", "with_licences"]

_MAX_SIZE = 1 << 20
_MAX_TEXT = 200
_METADATA = re.compile(r"\.dist-info/METADATA$")
_PACKAGE = re.compile(r"(?:^|/)node_modules/(?:@[^/]+/)?[^/]+/package\.json$")
_CLASSIFIER = "License :: OSI Approved :: "
_Named = tuple[str, str, str]


class _Package(msgspec.Struct):
    name: str = ""
    version: str = ""
    license: object = ""


def stated(members: Iterable[Member]) -> Mapping[_Named, str]:
    """Find what packages say: kind, name in lower case, and version, to the licence.

    Args:
        members: The files of an image.

    Raises:
        BuildError: As reading a file raises.
    """
    found: dict[_Named, str] = {}
    for entry, content in members:
        kind = "wheel" if _METADATA.search(entry.path) else "npm" if _PACKAGE.search(entry.path) else ""
        if not kind or entry.size > _MAX_SIZE:
            continue
        data = b"".join(content)
        name, version, licence = _of_wheel(data) if kind == "wheel" else _of_npm(data)
        if licence.isprintable() and 0 < len(licence) <= _MAX_TEXT:
            found[kind, _normal(name), version] = licence
    return found


def with_licences(components: Iterable[Component], licences: Mapping[_Named, str]) -> tuple[Component, ...]:
    """Add to components what they say, where nothing was said before."""
    return tuple(
        [
            msgspec.structs.replace(
                one, licence=one.licence or licences.get((one.kind, _normal(one.name), one.version), "")
            )
            for one in components
        ]
    )


def _of_wheel(data: bytes) -> _Named:
    fields: dict[str, str] = {}
    classifiers = []
    for line in data.partition(b"\n\n")[0].decode(errors="replace").splitlines():
        name, _, value = line.partition(": ")
        if name == "Classifier" and value.startswith(_CLASSIFIER):
            classifiers.append(value.removeprefix(_CLASSIFIER))
        fields.setdefault(name, value.strip())
    licence = fields.get("License-Expression") or fields.get("License") or " and ".join(classifiers)
    return fields.get("Name", ""), fields.get("Version", ""), licence


def _of_npm(data: bytes) -> _Named:
    try:
        package = json.decode(data, _Package, what="package.json", limit=_MAX_SIZE)
    except MalformedEvidence:
        return "", "", ""
    return package.name, package.version, package.license if isinstance(package.license, str) else ""


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
