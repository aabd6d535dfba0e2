# SPDX-License-Identifier: Apache-2.0
"""What every simulator keeps to."""

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from nacre import platforms
from nacre.platforms.base import Endorsements
from nacre.platforms.simulation import Root, simulator
from nacre.trust.anchors import Origin
from nacre.trust.signatures import Signatures

_AT = 1_800_000_000
_FORM = (Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


@pytest.fixture(scope="module", params=["nitro", "snp", "tdx"])
def root(request: pytest.FixtureRequest) -> tuple[str, Root]:
    return request.param, simulator(request.param).create_root(at=_AT)


def test_a_root_is_a_simulated_one(root: tuple[str, Root]) -> None:
    _, made = root
    assert made.anchors()
    assert {anchor.origin for anchor in made.anchors()} == {Origin.SIMULATED}
    assert {anchor.der for anchor in made.anchors()} == set(made.certificates)


def test_a_root_with_keys_of_another_kind_is_the_callers_mistake(root: tuple[str, Root]) -> None:
    name, made = root
    other = ed25519.Ed25519PrivateKey.generate().private_bytes(*_FORM)
    documents = {key: other if key.endswith(".key") else kept for key, kept in made.documents.items()}
    with pytest.raises(TypeError):
        simulator(name).machine(msgspec.structs.replace(made, documents=documents), at=_AT)


def test_what_registers_hold_at_the_start_is_what_evidence_shows(root: tuple[str, Root]) -> None:
    name, made = root
    machine, platform = simulator(name).machine(made, at=_AT), platforms.get(name)
    endorsements = Endorsements(machine.endorsements(at=_AT))
    shown = []
    for stated in (machine.registers, {}):
        evidence = platform.parse(machine.evidence(bytes(64), registers=stated, at=_AT))
        anchors = made.anchors()
        claims = platform.verify(evidence, endorsements, anchors=anchors, at=_AT, signatures=Signatures())
        shown.append(claims.registers)
    assert machine.registers.items() <= shown[0].items()
    # Nitro shows PCR16 and higher only once they are locked, that is: stated.
    assert shown[1].items() <= shown[0].items()
    assert {register.removeprefix("pcr") for register in shown[0].keys() - shown[1].keys()} <= {
        str(index) for index in range(16, 32)
    }
