# SPDX-License-Identifier: Apache-2.0
"""The profile of conformance cases, as a policy that anyone could write.

It is that of the vectors' oracle, more lenient than the default policy: TCB statuses are reported, not
judged, and what recorded evidence cannot have (a nonce, a release) is waived. A member that a platform's
profile does not know is refused, never ignored: whoever asks for more than is checked has to hear of it.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated

import msgspec

from nacre.appraisal.policy import Policy
from nacre.errors import UnsupportedEvidence
from nacre.platforms.dcap.tcb_info import TcbStatus
from nacre.platforms.nitro.evidence import MAX_FIELD
from nacre.testing.questions import Json, Question
from nacre.trust import json

__all__ = ["ASKED", "PROFILES", "Asked", "NitroAsked", "SnpAsked", "policy_text", "profile"]

#: The profiles that there are; a question that names none means the first.
PROFILES = ("default",)

_JUDGED_ELSEWHERE = frozenset({TcbStatus.REVOKED, TcbStatus.NOT_SUPPORTED})

_Size = Annotated[int, msgspec.Meta(ge=0, le=MAX_FIELD)]


class Asked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a question asks beside the profile; null and left out are the same: not asked for.

    Attributes:
        profile: The profile; null for ``default``.
        allow_debug: Whether a TEE whose owner can read its memory passes; null for no.
    """

    profile: str | None = None
    allow_debug: bool | None = None


class NitroAsked(Asked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is asked of an attestation document of Nitro.

    Attributes:
        max_user_data: The most bytes of ``user_data``; null for what AWS's CDDL allows.
        max_nonce: The most bytes of ``nonce``; likewise.
    """

    max_user_data: _Size | None = None
    max_nonce: _Size | None = None


class SnpAsked(Asked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is asked of a report of SEV-SNP.

    Attributes:
        allow_migrate_ma: Whether a guest with a migration agent passes; null for no.
    """

    allow_migrate_ma: bool | None = None


#: Platform to what a question can ask of it.
ASKED: Mapping[str, type[Asked]] = {"sgx": Asked, "tdx": Asked, "nitro": NitroAsked, "snp": SnpAsked}


def profile(question: Question) -> Policy:
    """Make the policy that a question's verdict assumes.

    Raises:
        UnsupportedEvidence: It asks for something that the profile does not know.
        MalformedEvidence: What it asks for has the wrong type.
    """
    policy = Policy.parse(policy_text(question))
    if question.anchors is None:
        return policy
    return msgspec.structs.replace(policy, anchored={question.platform: question.anchors})


def policy_text(question: Question) -> str:
    """Write that policy as TOML, but for the roots that the question trusts.

    Raises:
        UnsupportedEvidence: It asks for something that the profile does not know.
        MalformedEvidence: What it asks for has the wrong type.
    """
    asked = _asked(question.platform, question.policy)
    return "\n".join((*_head(question), *_section(question.platform, asked))) + "\n"


def _asked(platform: str, policy: Mapping[str, Json]) -> Asked:
    kind = ASKED[platform]
    for key in policy:
        if key not in kind.__struct_fields__:
            raise UnsupportedEvidence("case-policy-key", actual=key, expected=kind.__struct_fields__)
    asked = json.convert(policy, kind, what="policy")
    if asked.profile not in (None, *PROFILES):
        raise UnsupportedEvidence("case-profile", actual=asked.profile, expected=PROFILES)
    return asked


def _head(question: Question) -> Iterator[str]:
    platform = question.platform
    yield f'id = "conformance/{platform}"'
    yield 'accept = "WARNING"'
    # Recorded evidence answers no nonce of ours, is bound to nothing we know and runs unknown code.
    waived = ["binding", "executables", "freshness"]
    # No list of AMD's that was current then is public for some product lines; one that is given is looked at.
    if platform == "snp" and "crl" not in question.collateral:
        waived.append("revocation")
    yield f"unsafe_waive = {_list(waived)}"
    yield f'platforms = ["{platform}"]'


def _section(platform: str, asked: Asked) -> Iterator[str]:
    yield f"[{platform}]"
    if asked.allow_debug:
        yield "unsafe_allow_debug = true"
    if platform in ("sgx", "tdx"):
        statuses = sorted(TcbStatus.ALL - _JUDGED_ELSEWHERE)
        yield f"accept_tcb_status = {_list(statuses)}"
        yield 'accept_advisories = ["any", "INTEL-DOC-10001"]'
        # Two checks that Intel's library does not make.
        yield "unsafe_ignore_current_tcb = true" if platform == "tdx" else "allow_32_bit = true"
    if isinstance(asked, SnpAsked):
        # What the oracle leaves to the caller: privilege level, minimum TCB, firmware, platform information.
        yield "vmpls = [0, 1, 2, 3]"
        yield 'accept_advisories = ["any"]'
        yield "allow_provisional_firmware = true"
        yield "require_alias_check = false"
        yield "allow_cxl = true"
        if asked.allow_migrate_ma:
            yield "unsafe_allow_migration = true"
    if isinstance(asked, NitroAsked):
        # The oracle's instances are made up where its evidence is.
        yield "check_instance_pcr = false"
        limits = {"max_user_data": asked.max_user_data, "max_nonce": asked.max_nonce}
        yield from (f"{key} = {limit}" for key, limit in limits.items() if limit is not None)


def _list(words: list[str]) -> str:
    return "[" + ", ".join(f'"{word}"' for word in words) + "]"
