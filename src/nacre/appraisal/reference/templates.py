# SPDX-License-Identifier: Apache-2.0
"""CoRIM as people write it: the JSON templates of Veraison's ``cocli``.

A CoMID template describes one CoMID, a CoRIM template the manifest around some. Both become the CBOR that
they describe and are then read like any other; names that a template does not have, and kinds of values
that nobody here knows, are refused.

Source: veraison/cocli, veraison/corim (comid/*.go: JSON names).
"""

import re
from collections.abc import Callable, Mapping
from typing import Final, NoReturn

from nacre.appraisal.reference import corim
from nacre.errors import MalformedEvidence
from nacre.trust import base64url, cbor
from nacre.trust.cbor import Tag

__all__ = ["manifest", "recognises"]

_WHAT = "cocli template"
_UUID_TEXT = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)
_Made = Callable[[object, str], object]
_ROLES = {"tagCreator": 0, "creator": 1, "maintainer": 2}
_MANIFEST_ROLES = {"manifestCreator": 1, "manifestSigner": 2}
_RELATIONS = {"supplements": 0, "replaces": 1}
_HASHES: Final = {"sha-256": 1, "sha-384": 7, "sha-512": 8}
_SCHEMES = {
    "multipartnumeric": 1,
    "multipartnumeric+suffix": 2,
    "alphanumeric": 3,
    "decimal": 4,
    "semver": 16384,
}
_FLAGS = (
    "is-configured",
    "is-secure",
    "is-recovery",
    "is-debug",
    "is-replay-protected",
    "is-integrity-protected",
    "is-runtime-meas",
    "is-immutable",
    "is-tcb",
    "is-confidentiality-protected",
)


def recognises(value: object) -> bool:
    """Tell whether decoded JSON looks like a template."""
    return isinstance(value, dict) and ("tag-identity" in value or "corim-id" in value)


def manifest(value: object, *comids: object) -> bytes:
    """Write the manifest that templates describe, unsigned.

    Args:
        value: A CoRIM template, or a CoMID template, of which the manifest takes its identifier.
        comids: The CoMID templates that go into a CoRIM template.

    Raises:
        MalformedEvidence: ``template-form``.
    """
    members = _members(value, "the whole")
    if "tag-identity" in members:
        tags = [Tag(506, cbor.dumps(_comid(one, "the whole"))) for one in (value, *comids)]
        identity = _members(members["tag-identity"], "tag-identity")
        return corim.dumps({0: _id(identity.get("id"), "tag-identity.id"), 1: tags})
    tags = [Tag(506, cbor.dumps(_comid(one, "comid"))) for one in comids]
    if not tags:
        _wrong("the whole", "CoMID templates beside a CoRIM template", "none")
    return corim.dumps({1: tags, **_map(members, _CORIM, "the whole")})


def _wrong(at: str, expected: str, actual: object) -> NoReturn:
    shown = actual if isinstance(actual, str) else type(actual).__name__
    raise MalformedEvidence("template-form", what=_WHAT, at=at, expected=expected, actual=shown[:48])


def _members(value: object, at: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        _wrong(at, "an object", value)
    return value


def _list(item: _Made) -> _Made:
    def made(value: object, at: str) -> object:
        if not isinstance(value, list):
            _wrong(at, "a list", value)
        return [item(entry, f"{at}.{position}") for position, entry in enumerate(value)]

    return made


def _map(
    value: Mapping[str, object], known: Mapping[str, tuple[int, _Made]], at: str
) -> dict[object, object]:
    result: dict[object, object] = {}
    for name, entry in value.items():
        if name not in known:
            _wrong(at, f"one of {', '.join(known)}", name)
        code, made = known[name]
        result[code] = made(entry, f"{at}.{name}")
    return result


def _object(known: Mapping[str, tuple[int, _Made]]) -> _Made:
    return lambda value, at: _map(_members(value, at), known, at)


def _text(value: object, at: str) -> str:
    if not isinstance(value, str):
        _wrong(at, "text", value)
    return value


def _plain(value: object, at: str) -> object:
    if not isinstance(value, int | str):
        _wrong(at, "a number, text or a boolean", value)
    return value


def _octets(value: object, at: str) -> bytes:
    """Decode base64 of either alphabet, with or without padding: templates have all of them."""
    letters = _text(value, at).replace("+", "-").replace("/", "_").rstrip("=")
    if not letters:
        _wrong(at, "base64", "nothing")
    return base64url.decode(letters, what=f"{_WHAT}: {at}")


def _uuid(value: object, at: str) -> bytes:
    octets = _uuid_of(_text(value, at))
    if octets is None:
        _wrong(at, "a UUID", value)
    return octets


def _uuid_of(text: str) -> bytes | None:
    """Return the 16 bytes of a UUID's text (RFC 9562, section 4), None of any other."""
    if not _UUID_TEXT.fullmatch(text):
        return None
    return bytes.fromhex(text.replace("-", ""))


def _oid(value: object, at: str) -> bytes:
    try:
        arcs = [int(arc) for arc in _text(value, at).split(".")]
    except ValueError:
        arcs = []
    if len(arcs) < 2 or min(arcs) < 0 or max(arcs) >> 63:  # noqa: PLR2004 (X.660)
        _wrong(at, "an OID", value)
    octets = bytearray()
    for arc in (40 * arcs[0] + arcs[1], *arcs[2:]):
        groups = [arc >> shift & 0x7F for shift in range(0, max(arc.bit_length(), 1), 7)]
        octets += bytes([*(group | 0x80 for group in groups[:0:-1]), groups[0]])
    return bytes(octets)


def _id(value: object, at: str) -> object:
    """Return a UUID where the text is one."""
    text = _text(value, at)
    return _uuid_of(text) or text


def _one_of(names: Mapping[str, int]) -> _Made:
    def made(value: object, at: str) -> object:
        if not isinstance(value, str) or value not in names:
            _wrong(at, f"one of {', '.join(names)}", value)
        return names[value]

    return made


def _typed(kinds: Mapping[str, tuple[int, _Made]]) -> _Made:
    """Read ``{"type": …, "value": …}``; tag 0 stands for none."""

    def made(value: object, at: str) -> object:
        members = _members(value, at)
        kind = members.get("type")
        if members.keys() != {"type", "value"} or not isinstance(kind, str) or kind not in kinds:
            _wrong(at, f"a type of {', '.join(kinds)} with its value", kind)
        number, inner = kinds[kind]
        content = inner(members["value"], at)
        return Tag(number, content) if number else content

    return made


def _digest(value: object, at: str) -> object:
    """Read ``alg;base64``, ``alg:base64`` or ``[number, base64]``."""
    if isinstance(value, list):
        if len(value) != 2:  # noqa: PLR2004 (a pair)
            _wrong(at, "an algorithm and a digest", value)
        return [_plain(value[0], at), _octets(value[1], at)]
    name, mark, digits = _text(value, at).replace(":", ";", 1).partition(";")
    if not mark or name not in _HASHES:
        _wrong(at, f"one of {', '.join(_HASHES)}, a semicolon and base64", value)
    return [_HASHES[name], _octets(digits, at)]


def _flags(value: object, at: str) -> object:
    return _map(_members(value, at), {name: (code, _plain) for code, name in enumerate(_FLAGS)}, at)


def _registers(value: object, at: str) -> object:
    found: dict[object, object] = {}
    for name, entry in _members(value, at).items():
        members = _members(entry, f"{at}.{name}")
        if members.keys() != {"key-type", "value"}:
            _wrong(f"{at}.{name}", "key-type and value", "others")
        key = int(name) if members["key-type"] == "uint" and name.isdecimal() and len(name) < 20 else name  # noqa: PLR2004 (64 bits)
        found[key] = _list(_digest)(members["value"], f"{at}.{name}")
    return found


def _time(value: object, at: str) -> object:
    from datetime import datetime  # noqa: PLC0415 (slow to import, rarely needed)

    try:
        moment = datetime.fromisoformat(_text(value, at))
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        _wrong(at, "a time with its offset", value)
    return Tag(1, int(moment.timestamp()))


def _uri(value: object, at: str) -> object:
    return Tag(32, _text(value, at))


def _profile(value: object, at: str) -> object:
    return (
        _typed({"uri": (32, _text), "oid": (111, _oid)})(value, at)
        if isinstance(value, dict)
        else _uri(value, at)
    )


_UUID, _OID, _BYTES = {"uuid": (37, _uuid)}, {"oid": (111, _oid)}, {"bytes": (560, _octets)}
_UEID = {"ueid": (550, _octets)}
_CRYPTO: Final = {
    "pkix-base64-key": (554, _text),
    "pkix-base64-cert": (555, _text),
    "pkix-base64-cert-path": (556, _text),
    "thumbprint": (557, _digest),
    "cert-thumbprint": (559, _digest),
    "cert-path-thumbprint": (561, _digest),
    "bytes": (560, _octets),
}
_KEYS = _list(_typed(_CRYPTO))
_CLASS = _object(
    {
        "id": (0, _typed(_UUID | _OID | _BYTES)),
        "vendor": (1, _text),
        "model": (2, _text),
        "layer": (3, _plain),
        "index": (4, _plain),
    }
)
_ENVIRONMENT = _object(
    {
        "class": (0, _CLASS),
        "instance": (1, _typed(_UEID | _UUID | _BYTES)),
        "group": (2, _typed(_UUID | _BYTES)),
    }
)
_MKEY = _typed({"uint": (0, _plain), "string": (0, _text), **_UUID, **_OID})
_VALUES = _object(
    {
        "version": (0, _object({"value": (0, _text), "scheme": (1, _one_of(_SCHEMES))})),
        "svn": (1, _typed({"exact-value": (552, _plain), "min-value": (553, _plain)})),
        "digests": (2, _list(_digest)),
        "flags": (3, _flags),
        "raw-value": (4, _typed(_BYTES)),
        "raw-value-mask": (5, _octets),
        "serial-number": (8, _text),
        "ueid": (9, _octets),
        "uuid": (10, _uuid),
        "name": (11, _text),
        "cryptokeys": (13, _KEYS),
        "integrity-registers": (14, _registers),
    }
)
_MEASUREMENT = _object({"key": (0, _MKEY), "value": (1, _VALUES), "authorized-by": (2, _KEYS)})


def _triple(first: str, inner: _Made) -> _Made:
    def made(value: object, at: str) -> object:
        members = _members(value, at)
        if members.keys() != {"environment", first}:
            _wrong(at, f"environment and {first}", "others")
        return [
            _ENVIRONMENT(members["environment"], f"{at}.environment"),
            _list(inner)(members[first], f"{at}.{first}"),
        ]

    return made


_REFERENCES, _KEY_TRIPLES = (
    _list(_triple("measurements", _MEASUREMENT)),
    _list(_triple("verification-keys", _typed(_CRYPTO))),
)
_COMID_FIELDS: Final[Mapping[str, tuple[int, _Made]]] = {
    "lang": (0, _text),
    "tag-identity": (1, _object({"id": (0, _id), "version": (1, _plain)})),
    "entities": (
        2,
        _list(_object({"name": (0, _text), "regid": (1, _uri), "roles": (2, _list(_one_of(_ROLES)))})),
    ),
    "linked-tags": (3, _list(_object({"target": (0, _id), "rel": (1, _one_of(_RELATIONS))}))),
    "triples": (
        4,
        _object(
            {
                "reference-values": (0, _REFERENCES),
                "endorsed-values": (1, _REFERENCES),
                "dev-identity-keys": (2, _KEY_TRIPLES),
                "attester-verification-keys": (3, _KEY_TRIPLES),
            }
        ),
    ),
}
_CORIM: Final[Mapping[str, tuple[int, _Made]]] = {
    "corim-id": (0, _id),
    "dependent-rims": (
        2,
        _list(_object({"href": (0, _uri), "thumbprint": (1, _digest)})),
    ),
    "profile": (3, _profile),
    "validity": (4, _object({"not-before": (0, _time), "not-after": (1, _time)})),
    "entities": (
        5,
        _list(
            _object({"name": (0, _text), "regid": (1, _uri), "roles": (2, _list(_one_of(_MANIFEST_ROLES)))})
        ),
    ),
}
_comid = _object(_COMID_FIELDS)
