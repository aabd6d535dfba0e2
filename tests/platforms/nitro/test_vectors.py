# SPDX-License-Identifier: Apache-2.0
"""Every shared case of a Nitro enclave: verdict, cryptography and claims."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.conftest import vector_roots

from nacre import platforms
from nacre.appraisal.verdict import Verdict, conclude
from nacre.checks import Check, Status
from nacre.errors import MalformedEvidence, UnsupportedEvidence, VerificationError
from nacre.platforms.base import Endorsements
from nacre.platforms.nitro import PLATFORM
from nacre.platforms.nitro.policy import NitroPolicy
from nacre.trust.anchors import Anchor, Origin, private_anchor
from nacre.trust.memo import Memo
from nacre.trust.signatures import Signatures
from nacre.trust.times import parse_rfc3339


def _cases() -> dict[str, Path]:
    found: dict[str, Path] = {}
    for root in reversed(vector_roots()):
        for family in ("nitro", "nitro-synthetic"):
            found |= {f"{family}/{path.parent.name}": path for path in root.glob(f"{family}/*/case.json")}
    return dict(sorted(found.items()))


_CASES = _cases()


class _Case:
    def __init__(self, path: Path) -> None:
        self.says = json.loads(path.read_bytes())
        self.evidence = path.with_name(self.says["evidence"]).read_bytes()
        self.anchor: Anchor = private_anchor(path.with_name(self.says["collateral"]["root"]).read_bytes())
        self.at = parse_rfc3339(self.says["time"], what="time")
        self.why = ""
        wanted = self.says["policy"]
        self.policy = NitroPolicy(
            unsafe_allow_debug=wanted["allow_debug"],
            max_user_data=wanted.get("max_user_data", 1024),
            max_nonce=wanted.get("max_nonce", 1024),
            check_instance_pcr="synthetic" not in path.parts[-3],
        )

    @property
    def claims(self) -> Mapping[str, object] | None:
        claims: Mapping[str, object] | None = self.says["expected"].get("claims")
        return claims

    def run(self, memo: Memo | None = None) -> tuple[bool, Verdict]:
        """Whether the cryptography holds, and the verdict."""
        try:
            claims = PLATFORM.verify(
                PLATFORM.parse(self.evidence),
                Endorsements({}),
                anchors=(self.anchor,),
                at=self.at,
                signatures=Signatures(memo),
            )
        except (MalformedEvidence, UnsupportedEvidence, VerificationError) as error:
            self.why = str(error)
            return False, Verdict.REJECTED
        current = next(check for check in claims.checks if check.id == "currency")
        checks: list[Check] = [*claims.checks, *PLATFORM.judge(claims, self.policy, at=self.at)]
        return current.status is Status.PASS, conclude(checks, frozenset(PLATFORM.required))


def test_there_are_cases() -> None:
    assert len(_CASES) >= 46


@pytest.mark.parametrize("name", _CASES)
def test_case(name: str) -> None:
    case = _Case(_CASES[name])
    expected = case.says["expected"]
    crypto, verdict = case.run()
    assert crypto is (expected["crypto"] == "pass")
    assert (verdict in (Verdict.VERIFIED, Verdict.WARNING)) is (expected["verdict"] == "pass")


@pytest.mark.parametrize("name", [name for name, path in _CASES.items() if _Case(path).claims])
def test_claims(name: str) -> None:
    case = _Case(_CASES[name])
    assert platforms.detect(case.evidence).name == PLATFORM.name
    assert PLATFORM.facts(PLATFORM.parse(case.evidence)) == case.claims


def test_a_memo_changes_nothing() -> None:
    memo = Memo()
    cases = [_Case(path) for path in _CASES.values()]
    cold = [case.run() for case in cases]
    for _ in range(2):
        assert [case.run(memo) for case in cases] == cold
        cases.reverse()
        cold.reverse()
    assert len(memo) > 20


@pytest.mark.parametrize("name", _CASES)
def test_inspection(name: str) -> None:
    case = _Case(_CASES[name])
    try:
        evidence = PLATFORM.parse(case.evidence)
    except MalformedEvidence:
        return
    assert PLATFORM.sources(evidence) == ()
    views = {view.name: view for view in PLATFORM.views(evidence)}
    strings = {
        "protected": evidence.message.protected,
        "signature": evidence.message.signature,
        "certificate": evidence.certificate,
        **{f"cabundle.{place}": der for place, der in enumerate(evidence.cabundle)},
        **{f"pcrs.{index}": value for index, value in evidence.pcrs.items()},
    }
    strings |= {
        field: value
        for field in ("public_key", "user_data", "nonce")
        if (value := getattr(evidence, field)) is not None
    }
    for field, value in strings.items():
        view = views[field]
        assert view.offset is not None
        assert view.size == len(value)
        assert case.evidence[view.offset : view.offset + view.size] == value
        assert view.value == value.hex()
    assert ("violation" in views) is bool(evidence.violations)
    assert views["module_id"].value == evidence.module_id
    assert ("tag" in views) is evidence.message.tagged


def test_inspection_explains(vectors: Path) -> None:
    evidence = PLATFORM.parse((vectors / "nitro/anjuna-prod-2021-no-optional/evidence.cbor").read_bytes())
    views = {view.name: view for view in PLATFORM.views(evidence)}
    assert views["protected"].notes == ("ES384: ECDSA P-384 with SHA-384",)
    assert views["timestamp"].notes == ("2021-03-17T22:01:55Z",)
    assert views["pcrs.0"].notes == ("the whole image",)
    assert views["pcrs.5"].notes == ("zero",)
    assert views["nonce"].value == "null"
    assert views["cabundle.0"].notes[0] == "subject aws.nitro-enclaves"


def test_origins() -> None:
    origins = {name: _Case(path).anchor.origin for name, path in _CASES.items()}
    assert origins["nitro-synthetic/baseline"] is Origin.PRIVATE
    assert origins["nitro/anjuna-prod-2021-no-optional"] is Origin.GENUINE


def test_nothing_is_salvaged() -> None:
    assert platforms.get("nitro").salvage(b"\x84") is None
