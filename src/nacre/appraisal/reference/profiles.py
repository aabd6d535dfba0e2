# SPDX-License-Identifier: Apache-2.0
"""Profiles of CoRIM: what each demands of its triples beyond the form that all share.

A profile that is not known here is not interpreted, as the specification demands: its file can be shown,
and nothing else. The rules are those that its own verifiers enforce.

Source: draft-ietf-rats-corim-11, section 4.1.4; draft-fdb-rats-psa-endorsements;
draft-ydb-rats-cca-endorsements; draft-deeglaze-amd-sev-snp-corim-profile;
draft-cds-rats-intel-corim-profile; the schemes of Veraison.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from nacre.appraisal.reference import shapes
from nacre.appraisal.reference.comid import KEY
from nacre.appraisal.reference.corim import Corim
from nacre.appraisal.reference.shapes import (
    Shape,
    anything,
    data,
    fields,
    integer,
    many,
    one_of,
    row,
    tagged,
    text,
)
from nacre.errors import UnsupportedEvidence

__all__ = ["AMD_SNP", "INTEL", "KNOWN", "NACRE", "Profile", "check"]

#: The profile of manifests that Nacre writes: one reference triple for each variant of a release.
NACRE: Final = "urn:uuid:3b6eeec0-d825-4ea0-a7a6-429acf822e06"
AMD_SNP: Final = "tag:amd.com,2024:snp-corim-profile"
#: The Intel Profile for CoRIM: TDX modules, quoting and provisioning enclaves.
INTEL: Final = "2.16.840.1.113741.1.16.1"

_REFERENCE, _ATTEST_KEY = 0, 3
_DIGESTS, _RAW, _CERTIFIED = 2, 4, 100
_VALUE_NAMES = {_DIGESTS: "digests", _RAW: "raw-value", _CERTIFIED: "psa-cert-num"}
_ONE_KEY = many(tagged({554: text}), most=1)
_PATHS = many(tagged({555: text, 556: text}), most=1)


class Profile(msgspec.Struct, frozen=True):
    """A known profile.

    Attributes:
        title: What it describes, for people.
        triples: The shape of the triples map of each CoMID.
    """

    title: str
    triples: Shape


def check(corim: Corim) -> Profile:
    """Hold a manifest against its profile.

    Raises:
        UnsupportedEvidence: ``corim-profile-unknown``.
        MalformedEvidence: ``cbor-shape``: the profile demands something else.
    """
    profile = KNOWN.get(corim.profile)
    if profile is None:
        raise UnsupportedEvidence(
            "corim-profile-unknown", actual=corim.profile or "none", expected=tuple(KNOWN)
        )
    for position, comid in enumerate(corim.comids):
        shapes.check(profile.triples, comid.triples, what=f"{profile.title} CoMID {position}")
    return profile


def _environment(*, kind: Shape | None, instance: Shape | None) -> Shape:
    """Return the shape of an environment with this class id and this instance, or without one of them."""
    parts: dict[object, tuple[str, Shape]] = {}
    if kind is not None:
        parts[0] = ("class", fields({0: ("class-id", kind)}, required={0}, others=True))
    if instance is not None:
        parts[1] = ("instance", instance)
    return fields(parts, required=set(parts))


def _made_by(vendor: Shape) -> Shape:
    """Return the shape of an environment that is told by vendor and model."""
    kind = fields({1: ("vendor", vendor), 2: ("model", text)}, required={1, 2})
    return fields({0: ("class", kind)}, required={0})


def _measurement(key: Shape, values: Shape) -> Shape:
    return fields({0: ("mkey", key), 1: ("mval", values)}, required={0, 1}, others=True)


def _having(*codes: int) -> Shape:
    """Return the shape of measurement values that have these code points and maybe others."""
    return fields({code: (_VALUE_NAMES[code], anything) for code in codes}, required=set(codes), others=True)


def _keyed(known: Mapping[str, Shape], *required: str) -> Shape:
    """Return the shape of a list of measurements that are told apart by these keys."""
    key = one_of(*known)

    def shape(value: object) -> None:
        _MEASUREMENTS(value)
        entries: list[dict[int, object]] = value  # type: ignore[assignment]
        for entry in entries:
            key(entry.get(0))
            known[str(entry[0])](entry[1])
        missing = [name for name in required if not any(entry[0] == name for entry in entries)]
        if missing:
            shapes.wrong(f"a measurement {missing[0]}", value)

    return shape


def _triples(*, reference: Shape | None = None, keys: Shape | None = None) -> Shape:
    parts: dict[object, tuple[str, Shape]] = {}
    if reference is not None:
        parts[_REFERENCE] = ("reference", many(reference))
    if keys is not None:
        parts[_ATTEST_KEY] = ("attest-key", many(keys))
    return fields(parts)


_MEASUREMENTS = many(fields({0: ("mkey", anything), 1: ("mval", anything)}, required={0, 1}, others=True))
_UEID = tagged({550: data(33)})
_IMPLEMENTATION = tagged({560: data(32)})
_COMPONENT = _having(_DIGESTS)
_PSA = _triples(
    reference=row(
        _environment(kind=_IMPLEMENTATION, instance=None),
        _keyed({"psa.software-component": _COMPONENT, "psa.cert-num": _having(_CERTIFIED)}),
    ),
    keys=row(_environment(kind=_IMPLEMENTATION, instance=_UEID), _ONE_KEY),
)
_CCA_REFERENCE = row(
    _environment(kind=_IMPLEMENTATION, instance=None),
    _keyed({"cca.software-component": _COMPONENT, "cca.platform-config": _having(_RAW)}),
)
_CCA_KEYS = row(_environment(kind=_IMPLEMENTATION, instance=_UEID), _ONE_KEY)
_CCA_PLATFORM = _triples(reference=_CCA_REFERENCE, keys=_CCA_KEYS)
_CCA_REALM = _triples(
    reference=row(
        _environment(kind=tagged({560: data(32, 48, 64)}), instance=None),
        _keyed(
            {"cca.rim": _COMPONENT, "cca.rpv": _having(_RAW)}
            | {f"cca.rem{index}": _COMPONENT for index in range(4)},
            "cca.rim",
        ),
    )
)
_UUID = tagged({37: data(16)})
_PARSEC_TPM = _triples(
    reference=row(
        _environment(kind=_UUID, instance=None),
        many(_measurement(integer(0, 23), _having(_DIGESTS))),
    ),
    keys=row(_environment(kind=_UUID, instance=tagged({550: data(33), 560: data(33)})), _ONE_KEY),
)
_ENACT_TRUST = _triples(
    reference=row(
        _environment(kind=None, instance=_UUID),
        many(
            fields(
                {1: ("mval", fields({_DIGESTS: ("digests", many(anything, most=1))}, required={_DIGESTS}))},
                required={1},
            ),
            most=1,
        ),
    ),
    keys=row(_environment(kind=None, instance=_UUID), _ONE_KEY),
)
_RIOT = _triples(
    keys=row(_made_by(one_of("Veraison Project")), _PATHS),
)
_SNP_CLASS = tagged({111: one_of(bytes.fromhex("2b060104019c780301"))})  # 1.3.6.1.4.1.3704.3.1
_SNP = _triples(
    reference=row(
        fields(
            {
                0: ("class", fields({0: ("class-id", _SNP_CLASS)}, required={0}, others=True)),
                1: ("instance", tagged({560: data()})),
            },
            required={0},
        ),
        many(_measurement(integer(), anything)),
    ),
    keys=row(_made_by(one_of("Advanced Micro Devices")), many(KEY, most=1)),
)
_OURS = _triples(
    reference=row(
        _made_by(text),
        many(fields({0: ("mkey", text), 1: ("mval", anything)}, required={1})),
    )
)

#: Identifier to what is known of it.
KNOWN: Final[Mapping[str, Profile]] = {
    NACRE: Profile("Nacre release", _OURS),
    AMD_SNP: Profile("AMD SEV-SNP", _SNP),
    INTEL: Profile("Intel", anything),
    "tag:arm.com,2025:psa#1.0.0": Profile("Arm PSA", _PSA),
    "tag:arm.com,2025:cca_platform#1.0.0": Profile("Arm CCA platform", _CCA_PLATFORM),
    "tag:arm.com,2025:cca_realm#1.0.0": Profile("Arm CCA realm", _CCA_REALM),
    "tag:github.com/parallaxsecond,2023-03-03:tpm": Profile("Parsec TPM", _PARSEC_TPM),
    "tag:github.com/parallaxsecond,2023-03-03:cca": Profile("Parsec CCA", _CCA_PLATFORM),
    "https://enacttrust.com/veraison/1.0.0": Profile("EnactTrust TPM", _ENACT_TRUST),
    "tag:veraison-project.com,2026:riot": Profile("RIoT", _RIOT),
}
