# SPDX-License-Identifier: Apache-2.0
"""The published JSON Schemas are the ones of this code, and say what the readers do."""

import json
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from nacre import platforms
from nacre.appraisal import schema
from nacre.appraisal.policy import Policy
from nacre.appraisal.release import Release
from nacre.appraisal.report import to_json
from nacre.appraisal.result import Result
from nacre.errors import ConfigurationError, MalformedEvidence

Schema = Mapping[str, object]

_TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "boolean": bool,
    "null": type(None),
}


def _table(value: object) -> dict[str, object]:
    assert isinstance(value, dict)
    return value


def _list(value: object) -> list[object]:
    assert isinstance(value, list)
    return value


class Validator:
    """The part of JSON Schema that our schemas use; any other keyword is an error."""

    def __init__(self, root: Schema) -> None:
        """Validate against ``root``."""
        self.root = root

    def fits(self, value: object, part: Schema) -> bool:
        """Tell whether a value fits a part of the schema."""
        return all(
            self._keyword(keyword, rule, value, part)
            for keyword, rule in part.items()
            if keyword not in ("$schema", "$defs", "title", "description", "default")
        )

    def _keyword(self, keyword: str, rule: object, value: object, part: Schema) -> bool:
        rules: dict[str, Callable[[], bool]] = {
            "$ref": lambda: self.fits(value, self._definition(str(rule))),
            "type": lambda: self._type(str(rule), value),
            "enum": lambda: value in _list(rule),
            "const": lambda: value == rule,
            "pattern": lambda: isinstance(value, str) and re.search(str(rule), value) is not None,
            "maxLength": lambda: isinstance(value, str) and isinstance(rule, int) and len(value) <= rule,
            "minimum": lambda: isinstance(value, int) and isinstance(rule, int) and value >= rule,
            "maximum": lambda: isinstance(value, int) and isinstance(rule, int) and value <= rule,
            "exclusiveMinimum": lambda: isinstance(value, int) and isinstance(rule, int) and value > rule,
            "minItems": lambda: isinstance(value, list) and isinstance(rule, int) and len(value) >= rule,
            "maxItems": lambda: isinstance(value, list) and isinstance(rule, int) and len(value) <= rule,
            "minLength": lambda: isinstance(value, str) and isinstance(rule, int) and len(value) >= rule,
            "minProperties": lambda: isinstance(value, dict) and isinstance(rule, int) and len(value) >= rule,
            "items": lambda: all(self.fits(item, _table(rule)) for item in _list(value)),
            "required": lambda: all(name in _table(value) for name in _list(rule)),
            "anyOf": lambda: any(self.fits(value, _table(option)) for option in _list(rule)),
            "properties": lambda: all(
                self.fits(_table(value)[name], _table(below))
                for name, below in _table(rule).items()
                if name in _table(value)
            ),
            "additionalProperties": lambda: self._additional(rule, _table(value), part),
        }
        return rules[keyword]()

    def _definition(self, reference: str) -> Schema:
        return _table(_table(self.root["$defs"])[reference.removeprefix("#/$defs/")])

    def _type(self, name: str, value: object) -> bool:
        if isinstance(value, bool):
            return name == "boolean"
        return isinstance(value, _TYPES[name])

    def _additional(self, rule: object, value: dict[str, object], part: Schema) -> bool:
        others = [name for name in value if name not in _table(part.get("properties", {}))]
        return not others if rule is False else all(self.fits(value[name], _table(rule)) for name in others)


def _fits(document: object, make: Callable[[], schema.Schema]) -> bool:
    root = make()
    return Validator(root).fits(document, root)


@pytest.mark.parametrize("name", schema.SCHEMAS)
def test_the_published_schema_is_that_of_the_code(name: str, repository: Path) -> None:
    committed = (repository / "docs" / "reference" / name).read_text()
    assert committed == schema.encode(schema.SCHEMAS[name]()), "run make docs"


@pytest.mark.parametrize("name", schema.SCHEMAS)
def test_every_member_is_described(name: str) -> None:
    root = schema.SCHEMAS[name]()
    for part in (root, *_table(root["$defs"]).values()):
        table = _table(part)
        described = "enum" not in table and "Registers" not in str(table.get("title", "Registers"))
        for member, rule in _table(table.get("properties", {})).items() if described else ():
            assert "description" in _table(rule) or "$ref" in _table(rule), member
    text = schema.encode(root)
    assert "Attributes:" not in text
    assert "``" not in text


def test_every_platform_has_a_section_and_registers() -> None:
    policy = _table(schema.policy_schema()["properties"])
    release = _table(schema.release_schema()["properties"])
    for name in platforms.builtin_names():
        assert name in policy
        assert name in release


TDX = (
    f'[[tdx]]\nmrtd = "{"ab" * 48}"\nrtmr0 = "any"\nrtmr1 = "{"cd" * 48}"\n'
    f'rtmr2 = "{"EF" * 48}"\nrtmr3 = "any"\n'
)
SIGNER = f'mrsigner = "{"ab" * 32}"\n'

RELEASES = [
    f'id = "r"\n{TDX}',
    f'id = "worm-1.2.0+b"\nversion = "1.2"\nprofile = "isolated"\nraw_report_data = true\n{TDX}{TDX}',
    f'id = "r"\n[[sgx]]\nmrenclave = "{"ab" * 32}"\n',
    f'id = "r"\n[[sgx]]\n{SIGNER}isvprodid = 1\nmin_isvsvn = 2\nisvfamilyid = "any"\n',
    "",
    'id = "r"',
    TDX,
    f'id = ""\n{TDX}',
    f'id = "a\\n"\n{TDX}',
    f'id = "a b"\n{TDX}',
    f"id = 1\n{TDX}",
    f'id = "r"\nprofile = "open"\n{TDX}',
    f'id = "r"\nother = 1\n{TDX}',
    'id = "r"\ntdx = []',
    'id = "r"\n[[tdx]]\n',
    f'id = "r"\n{TDX}mrtd2 = "any"\n',
    f'id = "r"\n{TDX.replace("ab", "a")}',
    f'id = "r"\n{TDX.replace("ab" * 48, "any")}',
    f'id = "r"\n[[sgx]]\n{SIGNER}isvprodid = 1\n',
    f'id = "r"\n[[sgx]]\n{SIGNER}isvprodid = 1\nmin_isvsvn = "any"\n',
    f'id = "r"\n[[sgx]]\n{SIGNER}isvprodid = 65536\nmin_isvsvn = 2\n',
    f'id = "r"\n[[sgx]]\n{SIGNER}isvprodid = true\nmin_isvsvn = 2\n',
]

_DSTACK = f'id = "r"\nlayout = "dstack/nonce"\n{TDX}[dstack]\n'
RELEASES += [
    f'{_DSTACK}compose_hash = ["{"ab" * 32}", "{"CD" * 32}"]\nkey_provider = ["kms"]\n',
    f'id = "r"\nlayout = "gramine/ra-tls"\n{TDX}',
    f'id = "r"\nlayout = ""\n{TDX}',
    f'id = "r"\nlayout = "dstack"\n{TDX}',
    f'id = "r"\nlayout = "evidence"\n{TDX}',
    _DSTACK,
    f"{_DSTACK}compose_hash = []\n",
    f"{_DSTACK}compose_hash = {['ab' * 32] * 257}\n",
    f'{_DSTACK}compose_hash = "{"ab" * 32}"\n',
    f'{_DSTACK}compose_hash = ["{"ab" * 31}"]\n',
    f'{_DSTACK}compose_hash = ["{"xy" * 32}"]\n',
    f"{_DSTACK}compose_hash = [1]\n",
    f'{_DSTACK}key_provider = [""]\n',
    f'{_DSTACK}other = ["kms"]\n',
    f'id = "r"\n{TDX}[[dstack]]\nkey_provider = ["kms"]\n',
    f'id = "r"\n{TDX}[gramine]\nkey_provider = ["kms"]\n',
]


@pytest.mark.parametrize("text", RELEASES)
def test_schema_and_reader_agree_about_releases(text: str) -> None:
    try:
        Release.parse(text)
    except ConfigurationError:
        accepted = False
    else:
        accepted = True
    assert _fits(tomllib.loads(text), schema.release_schema) == accepted


INLINE = f'[[release]]\nid = "r"\n{TDX.replace("[[tdx]]", "[[release.tdx]]")}'

POLICIES = [
    "",
    f'accept = "WARNING"\nunsafe_waive = ["freshness"]\nplatforms = ["tdx"]\nmax_age = "5m"\n{INLINE}',
    'id = "p"',
    "max_age = 5",
    '[tdx]\naccept_tcb_status = ["UpToDate", "SWHardeningNeeded"]\n',
    "max_age = 0",
    "max_age = 1.5",
    'accept = "warning"',
    'unsafe_waive = ["debug"]',
    "platforms = []",
    "releases = []",
    "other = 1",
    "[tdx]\nother = 1\n",
    "[tdx]\naccept_tcb_status = 3\n",
    "[anchors.tdx]\nother = 1\n",
    "[anchors.tdx]\nprivate = []\n",
    "[anchors]\ntdx = 3\n",
    '[[release]]\nid = "r"\n',
]


@pytest.mark.parametrize("text", POLICIES)
def test_schema_and_reader_agree_about_policies(text: str) -> None:
    try:
        Policy.parse(text)
    except ConfigurationError:
        accepted = False
    else:
        accepted = True
    assert _fits(tomllib.loads(text), schema.policy_schema) == accepted


def test_results_fit_their_schema(make_result: Callable[..., Result]) -> None:
    for result in (
        make_result(),
        make_result(origin=None, verified=False, release=None, platform=""),
        make_result(
            verified=False, error=MalformedEvidence("truncated", what="quote", expected=4, actual=2, offset=0)
        ),
    ):
        document = json.loads(to_json(result))
        assert _fits(document, schema.result_schema)
        assert not _fits(document | {"verdict": "GOOD"}, schema.result_schema)
        del document["checks"]
        assert not _fits(document, schema.result_schema)
