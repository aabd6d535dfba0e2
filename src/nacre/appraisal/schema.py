# SPDX-License-Identifier: Apache-2.0
"""JSON Schemas of the documents of appraisal: policy, release, result and opinion.

Editors use them to complete and check; what counts is what :class:`~nacre.appraisal.policy.Policy` and
:class:`~nacre.appraisal.release.Release` accept. They cover the platforms that ship with this package.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import cast

import msgspec

from nacre import platforms
from nacre.appraisal import systems
from nacre.appraisal.opinions.base import Part
from nacre.appraisal.opinions.report import Answer, OpinionReport
from nacre.appraisal.policy import AnchorFiles, PolicyHead
from nacre.appraisal.release import ANY, MAX_VARIANTS, ReleaseHead, register_key
from nacre.appraisal.report import (
    CheckReport,
    ClaimsReport,
    CommittedReport,
    ErrorReport,
    ForeignReport,
    PhysicalReport,
    Report,
)
from nacre.appraisal.systems.base import System
from nacre.platforms.base import Register

__all__ = [
    "SCHEMAS",
    "Schema",
    "encode",
    "opinion_schema",
    "policy_schema",
    "record_schema",
    "release_schema",
    "result_schema",
]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_REFERENCE = "#/$defs/{name}"
# Google docstrings, however far they are indented: Python 3.13 takes the indentation away.
_ATTRIBUTES = re.compile(r"^(?P<in> *)Attributes:\n(?P<body>(?:(?P=in) +.*\n|\n)+)", re.MULTILINE)
_ATTRIBUTE = re.compile(r"^(?P<in> +)(?P<name>\w+): (?P<text>.*(?:\n(?P=in) +.*)*)", re.MULTILINE)

Schema = dict[str, object]


def policy_schema() -> Schema:
    """Return the JSON Schema of a policy, with every platform's section."""
    sections = {name: platforms.get(name).policy for name in platforms.builtin_names()}
    parts = _components((PolicyHead, AnchorFiles, *dict.fromkeys(sections.values())))
    head = parts.pop(PolicyHead.__name__)
    release = release_schema()
    parts |= {name: part for name, part in _table(release, "$defs").items() if isinstance(part, dict)}
    parts["Release"] = {key: value for key, value in release.items() if key not in ("$schema", "$defs")}
    properties = _table(head, "properties")
    _table(properties, "release")["items"] = _reference("Release")
    _table(properties, "anchors")["additionalProperties"] = _reference(AnchorFiles.__name__)
    properties |= {name: _reference(kind.__name__) for name, kind in sections.items()}
    description = "What a relying party asks of evidence."
    return {"$schema": _DIALECT, **head, "title": "Nacre policy", "description": description, "$defs": parts}


def release_schema() -> Schema:
    """Return the JSON Schema of a release, with every platform's registers."""
    names = platforms.builtin_names()
    head = _components((ReleaseHead,))[ReleaseHead.__name__]
    properties = _table(head, "properties")
    properties |= {
        name: {
            "type": "array",
            "minItems": 1,
            "description": f"The variants on {platforms.get(name).title}; each is one unit.",
            "items": _reference(f"{name}Registers"),
        }
        for name in names
    }
    properties |= {name: _facts(systems.get(name)) for name in systems.names() if systems.get(name).facts}
    _table(properties, "layout")["enum"] = ["", *(layout.name for layout in systems.layouts())]
    return {
        "$schema": _DIALECT,
        **head,
        "title": "Nacre release",
        "description": "The registers that one published version of an application shows.",
        "anyOf": [{"required": [name]} for name in names],
        "$defs": {f"{name}Registers": _registers(platforms.get(name).registers, name) for name in names},
    }


def result_schema() -> Schema:
    """Return the JSON Schema of a Result's JSON, ``nacre-result/v1``."""
    inside = (CheckReport, ClaimsReport, CommittedReport, ErrorReport, ForeignReport, PhysicalReport)
    return record_schema(Report, *inside, title="Nacre attestation result")


def opinion_schema() -> Schema:
    """Return the JSON Schema of what ``nacre result verify`` writes, ``nacre-opinion/v1``."""
    return record_schema(Answer, CheckReport, OpinionReport, Part, title="Nacre opinion")


def record_schema(head: type[msgspec.Struct], *parts: type[msgspec.Struct], title: str) -> Schema:
    """Return the JSON Schema of a record; the docstrings of ``head`` and ``parts`` describe their members."""
    made = _components((head, *parts))
    return {"$schema": _DIALECT, **made.pop(head.__name__), "title": title, "$defs": made}


#: Name of the file in docs/reference to the function that makes it.
SCHEMAS: Mapping[str, Callable[[], Schema]] = {
    "opinion.schema.json": opinion_schema,
    "policy.schema.json": policy_schema,
    "release.schema.json": release_schema,
    "result.schema.json": result_schema,
}


def encode(schema: Schema) -> str:
    """Write a schema as it is committed."""
    return msgspec.json.format(msgspec.json.encode(schema), indent=2).decode() + "\n"


def _components(kinds: Iterable[type[msgspec.Struct]]) -> dict[str, Schema]:
    """Return the schema of each record by name, its docstring spread over its members."""
    known = tuple(kinds)
    # The hook is asked about the members of tables whose form only the caller knows, and puts in.
    _, parts = msgspec.json.schema_components(known, ref_template=_REFERENCE, schema_hook=_unknown)
    bases = {kind.__name__: kind.__mro__ for kind in known}
    for name, part in parts.items():
        own = str(part.get("description", ""))
        # A base's docstring before its child's; of records inside records only their own is at hand.
        docs = [base.__doc__ or "" for base in reversed(bases[name])] if name in bases else [own]
        part["description"] = own.partition("\n")[0].replace("``", "")
        if "properties" in part:
            _spread(_table(part, "properties"), docs)
    return parts


def _unknown(kind: type) -> Schema:
    return {"description": "Anything."} if kind is object else {"type": "object"}


def _spread(members: Schema, docs: Iterable[str]) -> None:
    for doc in docs:
        section = _ATTRIBUTES.search(doc + "\n")
        for entry in _ATTRIBUTE.finditer(section["body"] if section else ""):
            text = " ".join(entry["text"].replace("``", "").split())
            _table(members, entry["name"])["description"] = text


def _table(schema: Mapping[str, object], key: str) -> Schema:
    return cast("Schema", schema[key])


def _reference(name: str) -> Schema:
    return {"$ref": _REFERENCE.format(name=name)}


def _facts(system: System) -> Schema:
    return {
        "type": "object",
        "minProperties": 1,
        "description": f"What the release asks of {system.title}: each key lists the acceptable values.",
        "properties": {
            fact.name: {
                "type": "array",
                "minItems": 1,
                "maxItems": MAX_VARIANTS,
                "description": f"{fact.text[:1].upper()}{fact.text[1:]}.",
                "items": {"type": "string", "pattern": f"^[0-9A-Fa-f]{{{2 * fact.size}}}$"}
                if fact.size
                else {"type": "string", "minLength": 1},
            }
            for fact in system.facts
        },
        "additionalProperties": False,
    }


def _registers(registers: Iterable[Register], platform: str) -> Schema:
    known = {register_key(register): register for register in registers}
    # With such a fact beside them they may be left open; that it is there, this schema does not ask.
    facts = [fact for name in systems.names() for fact in systems.get(name).facts]
    covered = {register for fact in facts for register in fact.covers}
    schema: Schema = {
        "type": "object",
        "properties": {
            key: _value(register, covered=f"{platform}.{register.name}" in covered)
            for key, register in known.items()
        },
        "required": [key for key, register in known.items() if register.required != "optional"],
        "additionalProperties": False,
    }
    alternatives: dict[int, dict[str, Schema]] = {}
    for key, register in known.items():
        if register.alternative:
            alternatives.setdefault(register.alternative, {})[key] = _concrete(register)
    if alternatives:
        schema["anyOf"] = [{"properties": group, "required": list(group)} for group in alternatives.values()]
    return schema


def _value(register: Register, *, covered: bool) -> Schema:
    concrete = _concrete(register)
    return concrete if register.required == "value" and not covered else {"anyOf": [concrete, {"const": ANY}]}


def _concrete(register: Register) -> Schema:
    if register.kind == "bytes":
        return {"type": "string", "pattern": f"^[0-9A-Fa-f]{{{2 * register.size}}}$"}
    return {"type": "integer", "minimum": 0, "maximum": (1 << 8 * register.size) - 1}
