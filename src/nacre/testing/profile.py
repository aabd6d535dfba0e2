# SPDX-License-Identifier: Apache-2.0
"""The profile of conformance cases, as a policy that anyone could write."""

import hashlib
from collections.abc import Iterator

from nacre import platforms
from nacre.appraisal.policy import Policy
from nacre.errors import ConfigurationError
from nacre.platforms.dcap.tcb_info import TcbStatus
from nacre.testing.cases import Case

__all__ = ["policy_text", "profile"]

_ROOT_ROLES = ("root_ca", "root")
_JUDGED_ELSEWHERE = frozenset({TcbStatus.REVOKED, TcbStatus.NOT_SUPPORTED})


def profile(case: Case) -> Policy:
    """Make the policy that a case's verdict assumes.

    Raises:
        ConfigurationError: The case names no root, or asks for something that no policy can say.
    """
    return Policy.parse(policy_text(case), base=case.folder)


def policy_text(case: Case) -> str:
    """Write that policy as TOML."""
    return "\n".join((*_head(case), *_anchor(case), *_section(case))) + "\n"


def _head(case: Case) -> Iterator[str]:
    yield f'id = "conformance/{case.platform}"'
    yield 'accept = "WARNING"'
    # Recorded evidence answers no nonce of ours, is bound to nothing we know and runs unknown code.
    yield 'unsafe_waive = ["binding", "executables", "freshness"]'
    yield f'platforms = ["{case.platform}"]'


def _anchor(case: Case) -> Iterator[str]:
    role = next((role for role in _ROOT_ROLES if role in case.collateral), None)
    if role is None:
        raise ConfigurationError(
            "case-unreadable", path=str(case.folder), actual="no root among its collateral"
        )
    digest = hashlib.sha256(case.collateral[role]).digest()
    if digest in {anchor.digest for anchor in platforms.get(case.platform).anchors()}:
        return
    yield f"[anchors.{case.platform}]"
    yield "genuine = false"
    yield f'private = ["{case.names[role]}"]'


def _section(case: Case) -> Iterator[str]:
    asked = {key: value for key, value in case.policy.items() if key != "profile"}
    yield f"[{case.platform}]"
    if case.platform in ("sgx", "tdx"):
        statuses = sorted(TcbStatus.ALL - _JUDGED_ELSEWHERE)
        yield f"accept_tcb_status = {_list(statuses)}"
        yield 'accept_advisories = ["any", "INTEL-DOC-10001"]'
        # Two checks that Intel's library does not make.
        yield "unsafe_ignore_current_tcb = true" if case.platform == "tdx" else "allow_32_bit = true"
    else:
        # The oracle's instances are made up where its evidence is.
        yield "check_instance_pcr = false"
    if asked.pop("allow_debug", False) is True:
        yield "unsafe_allow_debug = true"
    for key, value in asked.items():
        if (
            case.platform != "nitro"
            or key not in ("max_user_data", "max_nonce")
            or not isinstance(value, int)
        ):
            raise ConfigurationError(
                "case-unreadable", path=str(case.folder), actual=f"policy asks for {key}"
            )
        yield f"{key} = {value}"


def _list(words: list[str]) -> str:
    return "[" + ", ".join(f'"{word}"' for word in words) + "]"
