# SPDX-License-Identifier: Apache-2.0
"""What is wrong with simulated hardware fails the check that it should, on every platform."""

import time
from functools import cache
from pathlib import Path

import pytest

from nacre.appraisal.policy import Policy
from nacre.checks import Status
from nacre.enclave.launch import faults
from nacre.enclave.launch.prepare import write_trust
from nacre.endorsers.verifier import Verifier
from nacre.errors import EnclaveError
from nacre.platforms.base import Endorsements
from nacre.platforms.simulation import Root, simulator

_CASES = [
    ("nitro", ("debug",), "debug"),
    ("nitro", ("expired=leaf",), "nitro.chain"),
    ("sgx", ("debug=true",), "debug"),
    ("sgx", ("revoked=pck",), "revocation"),
    ("tdx", ("tcb=out_of_date",), "dcap.tcb-status"),
    ("tdx", ("migratable", "debug=1"), "tdx.attributes"),
    ("snp", ("old_tcb",), "snp.tcb"),
    ("snp", ("revoked=vek,ask",), "revocation"),
]


@cache
def _root(family: str) -> Root:
    now = int(time.time())
    return next(
        simulator(name).create_root(at=now)
        for name in ("nitro", "sgx", "snp")
        if family == simulator(name).FAMILY
    )


@pytest.mark.parametrize(("platform", "given", "check"), _CASES)
def test_fault_fails_its_check(platform: str, given: tuple[str, ...], check: str, tmp_path: Path) -> None:
    now = int(time.time())
    root = _root(simulator(platform).FAMILY)
    write_trust(tmp_path, platform, root)
    (tmp_path / "policy.toml").write_text(
        (tmp_path / "policy.toml").read_text().replace('releases = ["release.toml"]', "")
    )
    policy = Policy.load(tmp_path / "policy.toml")

    def failing(*given: str) -> set[str]:
        machine = faults.machine(platform, root, at=now, faults=given)
        endorsements = Endorsements(machine.endorsements(at=now))
        evidence = machine.evidence(bytes(64), registers={}, at=now)
        result = Verifier(policy).appraise(evidence, endorsements=endorsements, at=now)
        return {one.id for one in result.checks if one.status is Status.FAIL}

    assert check in failing(*given)
    assert check not in failing()


def test_fault_that_there_is_not_is_answered_with_those_that_there_are() -> None:
    with pytest.raises(EnclaveError) as caught:
        faults.read("nitro", ["old_tcb"])
    assert caught.value.code == "fault-unknown"
    assert "wrong_signature" in str(caught.value)


@pytest.mark.parametrize(
    ("platform", "given", "expected"),
    [
        ("nitro", "clock=soon", "a number"),
        ("snp", "debug=maybe", "true or false"),
        ("snp", "revoked=nobody", "any of "),
        ("tdx", "tcb=", "up_to_date"),
    ],
)
def test_value_that_cannot_be_is_answered_with_what_can(platform: str, given: str, expected: str) -> None:
    with pytest.raises(EnclaveError) as caught:
        faults.read(platform, [given])
    assert caught.value.code == "fault-value"
    assert expected in str(caught.value)


@pytest.mark.parametrize("platform", ["nitro", "sgx", "snp", "tdx"])
def test_every_knob_is_explained(platform: str) -> None:
    listed = faults.knobs(platform)
    assert {"debug", "wrong_signature"} <= {knob.name for knob in listed}
    assert all(knob.text and knob.values for knob in listed)


def test_values_given_one_by_one_add_up() -> None:
    both = faults.read("nitro", ["expired=leaf,regional", "expired=zonal"])
    assert both == faults.read("nitro", ["expired=leaf,regional,zonal"])
