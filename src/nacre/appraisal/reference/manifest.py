# SPDX-License-Identifier: Apache-2.0
"""Releases as CoRIM manifests, and back.

A variant is one reference triple in a CoMID of its own: a verifier that follows the specification asks
evidence for all measurements of a triple, so nobody has to know Nacre to keep a variant whole. Digests are
integrity registers; other values stand beside them under the name of their register: raw values, a least
security version (``min-svn``), an exact number (``int-range``), and for ``"any"`` a value of which the mask
covers nothing.

Reading turns each triple into one variant, never several triples into one: two triples of the same
environment are alternatives. A register that one triple states twice is refused.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from nacre.appraisal.reference import corim, profiles
from nacre.appraisal.reference.comid import Environment, Measurement, Reference
from nacre.appraisal.reference.corim import Corim
from nacre.appraisal.reference.tables import Gathered, Table, registers_of, table_of
from nacre.appraisal.release import ANY, Release
from nacre.errors import MalformedEvidence
from nacre.platforms.base import Register
from nacre.trust import cbor
from nacre.trust.cbor import Tag

__all__ = ["REGISTERS", "VALUE_NAMES", "read", "write"]

_SHA256, _SHA384 = 1, 7
#: The other names of the same algorithms.
_SAME: Final[Mapping[int, tuple[object, ...]]] = {
    _SHA256: (_SHA256, "sha-256", -16),
    _SHA384: (_SHA384, "sha-384", -43),
}
#: Platform to the vendor and model of its environment, and to its registers that are digests.
_PLATFORMS: Final[Mapping[str, tuple[str, str, Mapping[str, int]]]] = {
    "sgx": ("Intel", "SGX", dict.fromkeys(("mrenclave", "mrsigner"), _SHA256)),
    "tdx": (
        "Intel",
        "TDX",
        dict.fromkeys(("mrtd", "rtmr0", "rtmr1", "rtmr2", "rtmr3", "mrseam"), _SHA384),
    ),
    "nitro": ("AWS", "Nitro Enclaves", {f"pcr{index}": _SHA384 for index in range(32)}),
    "snp": (
        "AMD",
        "SEV-SNP",
        dict.fromkeys(("measurement", "id_key_digest", "author_key_digest"), _SHA384),
    ),
}
_EXTENSION = -1
_SVN, _DIGESTS, _RAW, _RANGE = 1, 2, 4, 15
#: The code point of integrity registers.
REGISTERS: Final = 14
_MIN_SVN, _BYTES, _MASKED = 553, 560, 563
#: Names of the code points of ``measurement-values-map``.
VALUE_NAMES: Final[Mapping[object, str]] = {
    0: "version",
    1: "svn",
    2: "digests",
    3: "flags",
    4: "raw-value",
    5: "raw-value-mask",
    6: "mac-addr",
    7: "ip-addr",
    8: "serial-number",
    9: "ueid",
    10: "uuid",
    11: "name",
    13: "cryptokeys",
    14: "integrity-registers",
    15: "int-range",
}
#: The elements of AMD's profile that are registers of a release: the offset of a report field over 16 or so.
_AMD_KEYS: Final[Mapping[object, str]] = {
    1: "min_guest_svn",
    3: "family_id",
    4: "image_id",
    641: "measurement",
    642: "host_data",
    643: "id_key_digest",
    644: "author_key_digest",
}


def write(release: Release) -> bytes:
    """Write a release as an unsigned manifest, deterministically."""
    table = table_of(release)
    tags = []
    rest = dict(table)
    del rest["id"]
    for platform in release.variants:
        rows: list[Table] = rest.pop(platform)  # type: ignore[assignment]  # made by table_of
        vendor, model, digests = _PLATFORMS.get(platform, ("", platform, {}))
        environment = {0: {1: vendor, 2: model}}
        for position, row in enumerate(rows):
            triple = [environment, list(_measurements(row, digests, registers_of(platform)))]
            comid = {1: {0: f"{release.id}/{platform}/{position}"}, 4: {0: [triple]}}
            tags.append(Tag(506, cbor.dumps(comid)))
    content: dict[object, object] = {0: release.id, 1: tags, 3: Tag(32, profiles.NACRE)}
    if rest:
        content[_EXTENSION] = rest
    return corim.dumps(content)


def _measurements(
    row: Table, digests: Mapping[str, int], registers: Mapping[str, Register]
) -> Iterator[dict[int, object]]:
    hashes = {key: [[digests[key], _octets(row[key])]] for key in row if key in digests and row[key] != ANY}
    if hashes:
        yield {1: {REGISTERS: hashes}}
    for key, value in row.items():
        register = registers[key]
        if value == ANY:
            nothing = bytes(register.size)
            yield {0: register.name, 1: {_RAW: Tag(_MASKED, [nothing, nothing])}}
        elif register.kind == "minimum":
            yield {0: register.name, 1: {_SVN: Tag(_MIN_SVN, value)}}
        elif register.kind == "number":
            yield {0: key, 1: {_RANGE: value}}
        elif key not in digests:
            yield {0: key, 1: {_RAW: Tag(_BYTES, _octets(value))}}


def _octets(value: object) -> bytes:
    return bytes.fromhex(str(value))


def read(manifest: Corim, gathered: Gathered) -> Table:
    """Make the table of a release of a manifest that follows a known profile.

    Raises:
        UnsupportedEvidence: ``corim-profile-unknown``, ``reference-profile``.
        MalformedEvidence: ``cbor-shape``: its profile demands something else. ``reference-twice``.
    """
    profile = profiles.check(manifest)
    table: Table = {"id": manifest.id.hex() if isinstance(manifest.id, bytes) else manifest.id}
    if manifest.profile == profiles.NACRE:
        _add_extension(table, manifest)
    for name in manifest.others:
        if manifest.profile != profiles.NACRE or name != f"extension {_EXTENSION!r}":
            gathered.cannot(name)
    if manifest.entities:
        gathered.note(f"named in the manifest: {', '.join(manifest.entities)}")
    rows: dict[str, list[Table]] = {}
    for comid in manifest.comids:
        for name in comid.others:
            gathered.cannot(name)
        for reference in comid.references:
            platform = _platform(manifest.profile, reference.environment, gathered)
            if platform:
                names = _AMD_KEYS if manifest.profile == profiles.AMD_SNP else {}
                row = _Row(platform, names, gathered)
                rows.setdefault(platform, []).append(row.read(reference))
            else:
                gathered.cannot(f"an environment of {profile.title}")
    return table | rows


def _add_extension(table: Table, manifest: Corim) -> None:
    extension = manifest.content.get(_EXTENSION, {})
    if not isinstance(extension, dict) or not all(isinstance(key, str) for key in extension):
        raise MalformedEvidence(
            "cbor-shape",
            what="CoRIM",
            at="extension -1",
            expected="a map of text",
            actual=type(extension).__name__,
        )
    clash = extension.keys() & {"id", *_PLATFORMS}
    if clash:
        raise MalformedEvidence("reference-twice", what="CoRIM", key=min(clash))
    table |= extension


def _platform(profile: str, environment: Environment, gathered: Gathered) -> str:
    if environment.instance is not None:
        gathered.cannot("instance")
    if profile == profiles.AMD_SNP:
        return "snp"
    if profile == profiles.NACRE:
        for platform, (vendor, model, _) in _PLATFORMS.items():
            if (environment.vendor, environment.model) == (vendor, model):
                return platform
        return "" if environment.vendor else environment.model
    return ""


class _Row:
    """One reference triple on its way to one variant."""

    def __init__(self, platform: str, names: Mapping[object, str], gathered: Gathered) -> None:
        self._registers = registers_of(platform)
        self._digests = _PLATFORMS[platform][2] if platform in _PLATFORMS else {}
        self._names = names or {register.name: key for key, register in self._registers.items()}
        self._gathered = gathered
        self._row: Table = {}

    def read(self, reference: Reference) -> Table:
        for measurement in reference.measurements:
            if measurement.authorized:
                self._gathered.cannot("authorized-by")
            self._measurement(measurement)
        return self._row

    def _measurement(self, measurement: Measurement) -> None:
        values = measurement.values
        named = self._names.get(measurement.key)
        if measurement.key is None and isinstance(registers := values.get(REGISTERS), dict):
            self._rest(values, "integrity registers", REGISTERS)
            for key, digests in registers.items():
                self._put(key, digests)
        elif isinstance(named, str) and named in self._registers:
            self._named(named, values)
        else:
            key = measurement.key
            self._gathered.cannot(f"measurement {'without a key' if key is None else _shown(key)}")

    def _named(self, key: str, values: Mapping[object, object]) -> None:
        register = self._registers[key]
        found = [code for code in (_SVN, _DIGESTS, _RAW, _RANGE) if code in values]
        code = found[0] if found else None
        self._rest(values, key, code)
        value = None if code is None else values[code]
        if code == _DIGESTS:
            self._put(key, value)
        elif isinstance(value, int) and code == _RANGE and register.kind == "number":
            self._state(key, value)
        elif isinstance(value, Tag):
            self._tagged(key, value, register)
        else:
            self._gathered.cannot(f"value of {key}")

    def _tagged(self, key: str, value: Tag, register: Register) -> None:
        if value.number == _MIN_SVN and register.kind == "minimum":
            self._state(key, value.value)
        elif value.number == _BYTES and register.kind == "bytes":
            self._state(key, _hex(value.value))
        elif value.number == _MASKED and value.value == [bytes(register.size), bytes(register.size)]:
            self._state(key, ANY)
        else:
            self._gathered.cannot(f"value of {key}")

    def _put(self, key: object, digests: object) -> None:
        """State a register as the one digest there is; several say the same in ways that differ."""
        pairs: list[list[object]] = digests  # type: ignore[assignment]  # the shape says so
        if not isinstance(key, str) or key not in self._registers:
            self._gathered.cannot(f"integrity register {key!r}")
        elif len(pairs) != 1:
            raise MalformedEvidence("reference-twice", what="CoRIM", key=key)
        elif pairs[0][0] not in _SAME.get(self._digests.get(key, 0), ()):
            self._gathered.cannot(f"algorithm {pairs[0][0]} of {key}")
        else:
            self._state(key, _hex(pairs[0][1]))

    def _state(self, key: str, value: object) -> None:
        if key in self._row:
            raise MalformedEvidence("reference-twice", what="CoRIM", key=key)
        self._row[key] = value

    def _rest(self, values: Mapping[object, object], key: str, read: int | None) -> None:
        for code in values:
            if code != read:
                self._gathered.cannot(f"{VALUE_NAMES.get(code, repr(code))} of {key}")


def _hex(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else ""


def _shown(key: object) -> str:
    return f"tag {key.number}" if isinstance(key, Tag) else str(key)[:48]
