# SPDX-License-Identifier: Apache-2.0
"""What is in a document of reference values, for people: also of profiles that nobody here interprets."""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime

import msgspec

from nacre.appraisal.documents import Document
from nacre.appraisal.reference import corim, intoto, manifest, profiles, rvps, signed, templates
from nacre.appraisal.reference.comid import Environment, Measurement
from nacre.appraisal.reference.corim import Corim, Validity
from nacre.appraisal.reference.tables import Gathered, Table, release_of
from nacre.errors import MalformedEvidence, NacreError
from nacre.trust import json, oids
from nacre.trust.cbor import Tag

__all__ = ["Part", "Shown", "show"]

_WHAT = "reference values"
_MOST = 160
_MIN_SVN, _MASKED = 553, 563
_ALGORITHMS: Mapping[object, str] = {1: "sha-256", 7: "sha-384", 8: "sha-512"}


class Part(msgspec.Struct, frozen=True):
    """One set of values that belong together.

    Attributes:
        name: What it is about.
        values: Name and value, in order.
    """

    name: str
    values: tuple[tuple[str, str], ...]


class Shown(msgspec.Struct, frozen=True):
    """A document, for people.

    Attributes:
        title: What it is.
        facts: What it says of itself.
        parts: Its sets of values.
        problem: Why no release can be made of it as it is; empty if one can.
        verified: Always false: nothing was checked here.
    """

    title: str
    facts: Mapping[str, str]
    parts: tuple[Part, ...]
    problem: str = ""
    verified: bool = False


def show(document: bytes, *, file: str) -> Shown:
    """Say what is in a document; no signature is checked.

    Raises:
        MalformedEvidence: It is in no form that is read here, or malformed.
        ConfigurationError: It is TOML and no release.
    """
    if document.startswith(b"\xd2"):
        message = signed.loads(document)
        facts = {"signer": message.signer, "algorithm": message.algorithm}
        facts |= {"key": message.key_id.hex()} if message.key_id else {}
        facts |= {"certificates": str(len(message.chain))} if message.chain else {}
        facts |= {"signed for": _dates(message.validity)} if message.validity else {}
        return _manifest(message.corim, "signed CoRIM", facts)
    if document.startswith(b"\xd9"):
        return _manifest(corim.loads(document), "unsigned CoRIM", {})
    if document.lstrip()[:1] in (b"{", b"["):
        return _json(json.loads(document, what=file, limit=corim.MAX_CORIM), file)
    try:
        table = Document.parse(document.decode(), what="release", file=file).table
    except UnicodeDecodeError:
        expected = ("toml", "corim", "rvps", "in-toto")
        raise MalformedEvidence("reference-form", what=file, actual=document[:8], expected=expected) from None
    release_of(table, file=file)
    return _table(table, "release")


def _json(value: object, file: str) -> Shown:
    if intoto.recognises(value):
        inner, envelope = intoto.unsealed(value)
        gathered = Gathered(_WHAT, ())
        shown = _table(
            intoto.read([inner], gathered),
            "in-toto statement in a DSSE envelope" if envelope else "in-toto statement",
        )
        return _judged(shown, gathered)
    if templates.recognises(value):
        return _manifest(corim.loads(templates.manifest(value)), "cocli template", {})
    if rvps.recognises(value):
        gathered = Gathered(_WHAT, ())
        return _judged(_table(rvps.read(value, gathered), "RVPS document"), gathered)
    expected = ("toml", "corim", "rvps", "in-toto")
    raise MalformedEvidence("reference-form", what=file, actual="JSON of another kind", expected=expected)


def _judged(shown: Shown, gathered: Gathered) -> Shown:
    try:
        gathered.settle()
    except NacreError as error:
        return msgspec.structs.replace(shown, problem=str(error))
    return shown


def _table(table: Table, title: str) -> Shown:
    facts, parts = {}, []
    for key, value in table.items():
        if isinstance(value, list):
            parts += [
                Part(f"{key} {position}", tuple((name, str(item)) for name, item in row.items()))
                for position, row in enumerate(value)
                if isinstance(row, dict)
            ]
        elif isinstance(value, dict):
            parts.append(Part(key, tuple((name, str(item)) for name, item in value.items())))
        else:
            facts[key] = str(value)
    return Shown(title, facts, tuple(parts))


def _manifest(found: Corim, title: str, facts: dict[str, str]) -> Shown:
    known = profiles.KNOWN.get(found.profile)
    facts["id"] = _identifier(found.id)
    facts["profile"] = f"{found.profile or 'none'} ({known.title if known else 'not known here'})"
    if found.validity:
        facts["valid"] = _dates(found.validity)
    if found.entities:
        facts["entities"] = ", ".join(found.entities)
    extension = found.content.get(-1)
    if found.profile == profiles.NACRE and isinstance(extension, dict):
        facts |= {f"release {_value(key)}": _value(value) for key, value in extension.items()}
    if found.others:
        facts["also"] = ", ".join(found.others)
    gathered = Gathered(_WHAT, ())
    problem = ""
    try:
        manifest.read(found, gathered)
        gathered.settle()
    except NacreError as error:
        problem = str(error)
    return Shown(title, facts, tuple(_parts(found)), problem)


def _parts(found: Corim) -> Iterator[Part]:
    for comid in found.comids:
        name = f"CoMID {_identifier(comid.id)}"
        if comid.others:
            yield Part(name, (("also", ", ".join(comid.others)),))
        for reference in comid.references:
            values = (pair for item in reference.measurements for pair in _measurement(item))
            yield Part(f"{name}: {_environment(reference.environment)}", tuple(values))


def _environment(environment: Environment) -> str:
    words = [environment.vendor, environment.model]
    words += [_value(environment.class_id)] if environment.class_id else []
    words += [f"layer {environment.layer}"] if environment.layer is not None else []
    words += [f"index {environment.index}"] if environment.index is not None else []
    words += [f"instance {_value(environment.instance)}"] if environment.instance else []
    words += [f"group {_value(environment.group)}"] if environment.group else []
    return " ".join(word for word in words if word)


def _measurement(measurement: Measurement) -> Iterator[tuple[str, str]]:
    key = "" if measurement.key is None else _value(measurement.key)
    for code, value in measurement.values.items():
        if code == manifest.REGISTERS and isinstance(value, dict):
            for name, digests in value.items():
                yield f"{key} {name}".strip(), _value(digests)
        else:
            name = manifest.VALUE_NAMES.get(code, f"extension {code!r}")
            yield f"{key} {name}".strip(), _value(value)


def _value(value: object) -> str:
    if isinstance(value, Tag):
        return _tagged(value.number, value.value)
    if isinstance(value, list) and value and all(_is_digest(item) for item in value):
        return ", ".join(f"{_ALGORITHMS.get(item[0], item[0])} {_value(item[1])}" for item in value)
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_value(key)}: {_value(item)}' for key, item in value.items())}}}"
    text = value.hex() if isinstance(value, bytes) else str(value)
    return text if len(text) <= _MOST else f"{text[:_MOST]}…"


def _tagged(number: int, value: object) -> str:
    if isinstance(value, bytes) and number in _OCTETS:
        return _OCTETS[number](value)
    if number == _MASKED and isinstance(value, list):
        octets, mask = value
        return f"{_value(octets)} under the mask {_value(mask)}" if any(mask) else "any"
    return f"at least {value}" if number == _MIN_SVN else f"{number}({_value(value)})"


def _is_digest(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[1], bytes)  # noqa: PLR2004 (a pair)


def _identifier(value: str | bytes) -> str:
    if isinstance(value, str):
        return value
    digits = value.hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _dates(validity: Validity) -> str:
    before = "" if validity.not_before is None else f"from {_date(validity.not_before)} "
    return f"{before}until {_date(validity.not_after)}"


def _date(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, OSError, ValueError):
        return f"second {seconds}"


_OCTETS: Mapping[int, Callable[[bytes], str]] = {37: _identifier, 111: oids.dotted, 560: _value}
