# SPDX-License-Identifier: Apache-2.0
"""A bill of materials (CycloneDX): what an image was made of, for those who look for known faults in it.

The same image gives the same bytes: the serial number follows from the content, and there is no time in it
but the one that is asked for.

Source: OWASP CycloneDX 1.6 (ECMA-424), JSON; RFC 9562, 5.5.
"""

import hashlib
import re
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from nacre.build.components import Component, Kind

__all__ = ["encode"]

_SCHEMA = "http://cyclonedx.org/schema/bom-1.6.schema.json"
_TYPES: dict[Kind, str] = {
    "deb": "library",
    "file": "file",
    "firmware": "firmware",
    "image": "container",
    "kernel": "operating-system",
    "npm": "library",
    "wheel": "library",
}
#: An SPDX expression, as far as anybody needs to tell it from a sentence.
_EXPRESSION = re.compile(r"\(?[A-Za-z0-9.+-]+\)?(?: (?:AND|OR|WITH) \(?[A-Za-z0-9.+-]+\)?)*|NONE", re.ASCII)


class _Hash(msgspec.Struct, frozen=True):
    alg: str
    content: str


class _Licence(msgspec.Struct, frozen=True):
    name: str


class _Choice(msgspec.Struct, frozen=True, omit_defaults=True):
    expression: str = ""
    license: _Licence | None = None


class _Property(msgspec.Struct, frozen=True):
    name: str
    value: str


class _Component(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    type: str
    ref: str = msgspec.field(name="bom-ref", default="")
    name: str
    version: str = ""
    hashes: tuple[_Hash, ...] = ()
    licenses: tuple[_Choice, ...] = ()
    purl: str = ""
    properties: tuple[_Property, ...] = ()


class _Tools(msgspec.Struct, frozen=True):
    components: tuple[_Component, ...]


class _Metadata(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    timestamp: str = ""
    tools: _Tools
    component: _Component


class _Dependency(msgspec.Struct, frozen=True, rename="camel"):
    ref: str
    depends_on: tuple[str, ...] = ()


class _Document(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    schema: str = msgspec.field(name="$schema")
    bom_format: str
    spec_version: str
    serial_number: str = ""
    version: int
    metadata: _Metadata
    components: tuple[_Component, ...]
    dependencies: tuple[_Dependency, ...]


def encode(
    *,
    name: str,
    version: str,
    digest: bytes,
    components: Sequence[Component],
    nacre: str,
    epoch: int | None = None,
) -> bytes:
    """Write a bill.

    Args:
        name: Of the application.
        version: Of it.
        digest: SHA-256 of the image's files.
        components: What it was made of, each once.
        nacre: The version of Nacre that makes it.
        epoch: The time that it is said to be of, seconds since 1970 (``SOURCE_DATE_EPOCH``); none if None.

    Returns:
        JSON, UTF-8, with a line's end.
    """
    listed = tuple([_component(one) for one in components])
    main = _Component(
        type="application",
        ref=f"{name}@{version}",
        name=name,
        version=version,
        hashes=(_sha256(digest.hex()),),
    )
    tool = _Component(type="application", name="nacre", version=nacre)
    when = "" if epoch is None else datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    document = _Document(
        schema=_SCHEMA,
        bom_format="CycloneDX",
        spec_version="1.6",
        version=1,
        metadata=_Metadata(timestamp=when, tools=_Tools((tool,)), component=main),
        components=listed,
        dependencies=(
            _Dependency(main.ref, tuple([one.ref for one in listed])),
            *(_Dependency(one.ref) for one in listed),
        ),
    )
    content = hashlib.sha256(msgspec.json.encode(document)).hexdigest()
    serial = uuid.uuid5(uuid.NAMESPACE_URL, f"{_SCHEMA}#{content}").urn
    whole = msgspec.json.encode(msgspec.structs.replace(document, serial_number=serial))
    return msgspec.json.format(whole, indent=1) + b"\n"


def _component(one: Component) -> _Component:
    facts = [("nacre:source", one.source)] if one.source and one.source != one.name else []
    facts += [("nacre:use", use) for use in one.uses]
    return _Component(
        type=_TYPES[one.kind],
        # Two files with one name would be one thing to whoever reads this.
        ref=f"{one.purl or one.name}#{one.sha256[:16]}",
        name=one.name,
        version=one.version,
        hashes=(_sha256(one.sha256),),
        licenses=(_licence(one.licence),) if one.licence else (),
        purl=one.purl,
        properties=tuple([_Property(*fact) for fact in facts]),
    )


def _licence(text: str) -> _Choice:
    return _Choice(expression=text) if _EXPRESSION.fullmatch(text) else _Choice(license=_Licence(text))


def _sha256(content: str) -> _Hash:
    return _Hash("SHA-256", content)
