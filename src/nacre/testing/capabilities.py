# SPDX-License-Identifier: Apache-2.0
"""What this verifier can be asked under the hermetic contract, and the contract's JSON Schemas."""

from collections.abc import Callable, Mapping
from typing import Final, Literal, cast

import msgspec

from nacre import platforms
from nacre.appraisal.schema import Schema, record_schema
from nacre.testing.hermetic import LIMIT, Request
from nacre.testing.judging import Answer, CheckAnswer, Ending
from nacre.testing.profile import ASKED, PROFILES
from nacre.testing.questions import PINNED_ROOT, PLATFORMS, ROOTS

__all__ = ["CONTRACT", "SCHEMAS", "Capabilities", "PlatformCapabilities", "capabilities"]

#: The name of the contract. Members may be added under it; none changes its meaning.
CONTRACT: Final = "nacre-case/v1"

# Versions of evidence; AWS's documents have none.
_VERSIONS: Mapping[str, tuple[int, ...]] = {"sgx": (3, 4, 5), "tdx": (4, 5), "snp": (2, 3, 4, 5)}
_QUOTE = (
    *("quote_version", "tee_type", "attestation_key_type", "qe_vendor_id", "user_data", "body_type"),
    *("cert_data_type", "quote_length", "trailing_bytes", "report", "qe_report", "pck"),
)
#: Platform to the members of ``claims``, as the vectors name them.
CLAIMS: Mapping[str, tuple[str, ...]] = {
    "sgx": _QUOTE,
    "tdx": _QUOTE,
    "nitro": (
        *("module_id", "digest", "timestamp_ms", "pcrs", "public_key", "user_data", "nonce"),
        *("leaf_certificate_sha256", "leaf_not_before", "leaf_not_after", "payload_map"),
    ),
    "snp": (
        *("version", "guest_svn", "policy", "policy_bits", "family_id", "image_id", "vmpl", "signature_algo"),
        *("current_tcb", "current_tcb_raw", "platform_info", "platform_bits", "signer_info", "signing_key"),
        *("author_key_en", "mask_chip_key", "report_data", "measurement", "host_data", "id_key_digest"),
        *("author_key_digest", "report_id", "report_id_ma", "reported_tcb", "reported_tcb_raw"),
        *("cpuid_family", "cpuid_model", "cpuid_stepping", "product", "chip_id", "committed_tcb"),
        *("committed_tcb_raw", "current_version", "committed_version", "launch_tcb", "launch_tcb_raw"),
        *("launch_mit_vector", "current_mit_vector", "provisional_firmware"),
    ),
}


class PlatformCapabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What can be asked about one kind of TEE.

    Attributes:
        platform: Its name in requests.
        tee: What case files call it; requests may use this too.
        title: Its name for people.
        versions: The versions of its evidence that are verified; empty where evidence has none.
        roles: The documents that count, by role.
        policy: The members of a request's ``policy``.
        claims: The members of an answer's ``claims``.
        anchors: The vendor's roots that ship with the verifier, SHA-256 of the DER, hexadecimal.
    """

    platform: str
    tee: str
    title: str
    versions: tuple[int, ...]
    roles: tuple[str, ...]
    policy: tuple[str, ...]
    claims: tuple[str, ...]
    anchors: tuple[str, ...]


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What a verifier can be asked under this contract.

    Attributes:
        contract: The contract's name.
        verifier: The verifier's name.
        version: The verifier's version.
        platforms: The kinds of TEE that it verifies.
        profiles: The profiles that a request's ``policy`` can name; the first is meant where it names none.
        roots: Roles under which a request may carry a root that is not trusted for being there.
        pinned_root: The role that names the one root to trust by its SHA-256.
        exits: Ending to exit status.
        limit: The most bytes of a request.
    """

    contract: Literal["nacre-case/v1"]
    verifier: str
    version: str
    platforms: tuple[PlatformCapabilities, ...]
    profiles: tuple[str, ...]
    roots: tuple[str, ...]
    pinned_root: str
    exits: dict[str, int]
    limit: int


def capabilities(*, version: str) -> Capabilities:
    """Tell what this verifier, in this version, can be asked."""
    return Capabilities(
        contract=CONTRACT,
        verifier="nacre",
        version=version,
        platforms=tuple(_platform(tee, name) for tee, name in PLATFORMS.items()),
        profiles=PROFILES,
        roots=ROOTS,
        pinned_root=PINNED_ROOT,
        exits={ending.name.lower(): ending.value for ending in Ending},
        limit=LIMIT,
    )


def _platform(tee: str, name: str) -> PlatformCapabilities:
    platform = platforms.get(name)
    return PlatformCapabilities(
        platform=name,
        tee=tee,
        title=platform.title,
        versions=_VERSIONS.get(name, ()),
        roles=platform.roles,
        policy=ASKED[name].__struct_fields__,
        claims=CLAIMS[name],
        anchors=tuple(anchor.digest.hex() for anchor in platform.anchors()),
    )


def _members(schema: Schema) -> dict[str, Schema]:
    return cast("dict[str, Schema]", schema["properties"])


def _answer_schema() -> Schema:
    schema = record_schema(Answer, CheckAnswer, title="Answer of a verifier")
    _members(schema)["claims"]["anyOf"] = [{"type": "object"}, {"type": "null"}]
    return schema


def _request_schema() -> Schema:
    profiles = tuple(dict.fromkeys(ASKED.values()))
    schema = record_schema(Request, *profiles, title="Question to a verifier")
    policy = _members(schema)["policy"]
    policy["anyOf"] = [*({"$ref": f"#/$defs/{kind.__name__}"} for kind in profiles), {"type": "null"}]
    return schema


#: Name of the file in docs/reference to the function that makes it.
SCHEMAS: Mapping[str, Callable[[], Schema]] = {
    "case-request.schema.json": _request_schema,
    "case-answer.schema.json": _answer_schema,
    "case-capabilities.schema.json": lambda: record_schema(
        Capabilities, PlatformCapabilities, title="Capabilities of a verifier"
    ),
}
