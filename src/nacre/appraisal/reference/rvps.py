# SPDX-License-Identifier: Apache-2.0
"""Reference values of Trustee's RVPS: names, each with a list of acceptable values.

The lists are looked at one by one, so an RVPS that holds two releases accepts what has the kernel of one
and the command line of the other. A release never does. So lists are read only where they leave no such
choice: at most one register of a platform may have several values. And releases are written only where the
lists say no more than the release did.

Names are those of Trustee's default policy, or its URIs (``rvps:///…/mr_td:v1``), of which the last part
counts.

Source: confidential-containers/trustee: rvps/src/reference_value.rs, rvps/src/extractors/sample,
rvps/docs/reference-value-uri.md, attestation-service/src/ear_token/ear_default_policy_cpu.rego.
"""

import binascii
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from nacre.appraisal.reference.tables import Gathered, Table, registers_of, table_of
from nacre.appraisal.release import ANY, Release
from nacre.errors import MalformedEvidence, UnsupportedEvidence
from nacre.trust import json

__all__ = ["MAX_RVPS", "read", "recognises", "write"]

#: The largest document that is read, bytes.
MAX_RVPS: Final = 1 << 20

_WHAT = "RVPS document"
#: Name in an RVPS to platform and register.
_NAMES: Final[Mapping[str, tuple[str, str]]] = {
    "mr_td": ("tdx", "mrtd"),
    "mr_seam": ("tdx", "mrseam"),
    "mr_config_id": ("tdx", "mrconfigid"),
    "mr_owner": ("tdx", "mrowner"),
    "mr_owner_config": ("tdx", "mrownerconfig"),
    "rtmr_0": ("tdx", "rtmr0"),
    "rtmr_1": ("tdx", "rtmr1"),
    "rtmr_2": ("tdx", "rtmr2"),
    "rtmr_3": ("tdx", "rtmr3"),
    "mr_enclave": ("sgx", "mrenclave"),
    "mr_signer": ("sgx", "mrsigner"),
    "snp_launch_measurement": ("snp", "measurement"),
}
_OURS = {value: name for name, value in _NAMES.items()}


class _Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is sent to register values: ``payload`` is the base64 of the lists."""

    version: str
    type: str
    payload: str


class _Stored(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How an RVPS keeps one value."""

    name: str
    value: object
    expiration: str = ""
    version: str = ""


def recognises(value: object) -> bool:
    """Tell whether decoded JSON looks like one of the forms: lists by name, stored values, a message."""
    if isinstance(value, dict):
        return value.get("type") == "sample" or all(isinstance(item, list | str) for item in value.values())
    return isinstance(value, list) and all(isinstance(item, dict) and "name" in item for item in value)


def read(value: object, gathered: Gathered) -> Table:
    """Make the table of a release of decoded JSON; the release's ``id`` is the caller's to add.

    Raises:
        MalformedEvidence: ``json-shape``, ``rvps-payload``, or as ``json.loads``.
        UnsupportedEvidence: ``reference-union``: the lists would mix releases.
    """
    found: dict[str, dict[str, list[str]]] = {}
    for name, values in _lists(value, gathered):
        known = _NAMES.get(name.rpartition("/")[2].partition(":")[0])
        if known is None:
            gathered.cannot(name)
            continue
        platform, register = known
        if register in found.setdefault(platform, {}):
            raise MalformedEvidence("reference-twice", what=_WHAT, key=name)
        found[platform][register] = values
    return {platform: list(_rows(platform, lists)) for platform, lists in found.items()}


def _rows(platform: str, lists: Mapping[str, list[str]]) -> Iterator[Table]:
    several = [name for name, values in lists.items() if len(values) != 1]
    if len(several) > 1:
        raise UnsupportedEvidence("reference-union", what=_WHAT, platform=platform, actual=tuple(several))
    choices = lists[several[0]] if several else [""]
    for choice in choices:
        yield {name: choice if name in several else values[0] for name, values in lists.items()}


def _lists(value: object, gathered: Gathered) -> Iterator[tuple[str, list[str]]]:
    if isinstance(value, dict) and value.get("type") == "sample":
        payload = json.convert(value, _Message, what=_WHAT).payload
        try:
            octets = binascii.a2b_base64(payload, strict_mode=True)
        except (binascii.Error, ValueError):
            raise MalformedEvidence("rvps-payload", actual=payload[:32]) from None
        value = json.loads(octets, what=_WHAT, limit=MAX_RVPS)
    if isinstance(value, list):
        for stored in json.convert(value, list[_Stored], what=_WHAT):
            if stored.expiration:
                gathered.note(f"{stored.name} is to be used until {stored.expiration}")
            yield stored.name, _texts(stored.value)
        return
    for name, values in json.convert(value, dict[str, object], what=_WHAT).items():
        yield name, _texts(values)


def _texts(value: object) -> list[str]:
    texts = [value] if isinstance(value, str) else json.convert(value, list[str], what=_WHAT)
    if not texts:
        raise MalformedEvidence("json-shape", what=_WHAT, detail="an empty list of values")
    return list(dict.fromkeys(texts))


def write(release: Release, gathered: Gathered) -> bytes:
    """Write the lists of a release, names in order.

    Raises:
        UnsupportedEvidence: ``reference-union``: the lists would accept what the release does not.
    """
    table = table_of(release)
    lists: dict[str, list[str]] = {}
    for key in table:
        if key not in release.variants:
            (gathered.note if key in ("id", "version") else gathered.cannot)(key)
    for platform in release.variants:
        rows: list[dict[str, object]] = table[platform]  # type: ignore[assignment]  # made by table_of
        lists |= _columns(platform, rows, gathered)
    ordered = dict(sorted(lists.items()))
    return msgspec.json.format(msgspec.json.encode(ordered), indent=2) + b"\n"


def _columns(
    platform: str, rows: list[dict[str, object]], gathered: Gathered
) -> Iterator[tuple[str, list[str]]]:
    stated = [key for key in registers_of(platform) if any(key in row for row in rows)]
    columns = {key: [row.get(key, ANY) for row in rows] for key in stated}
    several = [key for key, values in columns.items() if len(set(values)) > 1]
    if len(several) > 1:
        raise UnsupportedEvidence("reference-union", what=_WHAT, platform=platform, actual=tuple(several))
    for key, values in columns.items():
        name = _OURS.get((platform, key))
        if name is None or (ANY in values and key in several):
            gathered.cannot(f"{platform} {key}")
        elif ANY in values:
            gathered.note(f"{name} is left open by not being there")
        else:
            yield name, [str(value) for value in dict.fromkeys(values)]
