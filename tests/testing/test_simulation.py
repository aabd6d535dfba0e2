# SPDX-License-Identifier: Apache-2.0
"""The public way to bad evidence: what the guide shows holds."""

from pathlib import Path

import pytest

import nacre
from nacre.errors import ConfigurationError
from nacre.platforms.nitro.simulate import Faults as NitroFaults
from nacre.platforms.sgx.simulate import Faults as SgxFaults
from nacre.platforms.simulation import Root
from nacre.platforms.snp.simulate import Faults as SnpFaults
from nacre.platforms.tdx.simulate import Faults as TdxFaults
from nacre.testing import Simulated, create_root, simulated

_NOW = 1_780_315_200
_DEBUG = {
    "nitro": NitroFaults(debug=True),
    "sgx": SgxFaults(debug=True),
    "snp": SnpFaults(debug=True),
    "tdx": TdxFaults(debug=True),
}


@pytest.fixture(scope="module", params=["nitro", "sgx", "snp", "tdx"])
def platform(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def root(platform: str) -> Root:
    return create_root(platform, at=_NOW)


def _policy(folder: Path, platform: str, made: Simulated, lines: str = "") -> nacre.Policy:
    names = [f"root{index}.der" for index in range(len(made.roots))]
    for name, der in zip(names, made.roots, strict=True):
        (folder / name).write_bytes(der)
    (folder / "policy.toml").write_text(
        'accept = "WARNING"\nunsafe_waive = ["binding", "executables", "freshness"]\n'
        f"[anchors.{platform}]\nsimulated = {names}\n{lines}"
    )
    return nacre.Policy.load(folder / "policy.toml")


def test_good_evidence_is_simulated(tmp_path: Path, platform: str, root: Root) -> None:
    made = simulated(platform, root, at=_NOW)
    policy = _policy(tmp_path, platform, made)
    result = nacre.verify(made.evidence, policy=policy, endorsements=made.endorsements, at=_NOW, offline=True)
    assert result.origin is nacre.Origin.SIMULATED


def test_without_the_root_it_is_refused(platform: str, root: Root) -> None:
    made = simulated(platform, root, at=_NOW)
    policy = nacre.Policy.parse('accept = "WARNING"\nunsafe_waive = ["binding", "executables", "freshness"]')
    with pytest.raises(nacre.VerificationError):
        nacre.verify(made.evidence, policy=policy, endorsements=made.endorsements, at=_NOW, offline=True)


def test_debug_mode_is_refused(tmp_path: Path, platform: str, root: Root) -> None:
    made = simulated(platform, root, at=_NOW, faults=_DEBUG[platform])
    with pytest.raises(nacre.AppraisalError) as caught:
        nacre.verify(
            made.evidence,
            policy=_policy(tmp_path, platform, made),
            endorsements=made.endorsements,
            at=_NOW,
            offline=True,
        )
    assert "debug" in [check.id for check in caught.value.result.checks if check.status is nacre.Status.FAIL]


def test_faults_of_another_platform(platform: str, root: Root) -> None:
    for faults in [faults for name, faults in _DEBUG.items() if name != platform]:
        with pytest.raises(TypeError, match=platform):
            simulated(platform, root, at=_NOW, faults=faults)


def test_a_platform_that_is_none() -> None:
    with pytest.raises(ConfigurationError) as caught:
        create_root("z80", at=_NOW)
    assert "z80" in str(caught.value)
