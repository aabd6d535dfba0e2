# SPDX-License-Identifier: Apache-2.0
"""What every simulator keeps to."""

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from nacre.platforms.simulation import Root, simulator
from nacre.trust.anchors import Origin

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
