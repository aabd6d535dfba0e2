# SPDX-License-Identifier: Apache-2.0
"""What an enclave's author publishes says what its quotes will show."""

import hashlib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

from nacre.errors import MalformedEvidence
from nacre.platforms.sgx.measure import measure
from nacre.platforms.sgx.sigstruct import Terms, make

#: The smallest enclave: no page at all.
STREAM = b"ECREATE\0" + (1).to_bytes(4, "little") + (4096).to_bytes(8, "little") + bytes(44)
MRENCLAVE = hashlib.sha256(STREAM).digest()


def signature() -> bytes:
    key = rsa.generate_private_key(public_exponent=3, key_size=3072)
    terms = Terms(
        mrenclave=MRENCLAVE, attributes=b"\4" + bytes(15), attribute_mask=b"\xff" * 16, date="20261125"
    )
    return make(
        terms,
        modulus=key.public_key().public_numbers().n,
        sign=lambda message: key.sign(message, padding.PKCS1v15(), SHA256()),
    )


def test_a_stream_and_its_signature_agree() -> None:
    signed = signature()
    found = measure(signed)
    assert found.registers["mrenclave"] == measure(STREAM).registers["mrenclave"] == MRENCLAVE
    assert found.registers["mrsigner"] == hashlib.sha256(signed[128:512]).digest()
    places = {part.register: signed[part.offset : part.offset + part.size] for part in found.parts}
    assert places.keys() == found.registers.keys()
    for name in places.keys() - {"mrsigner"}:
        assert places[name] == found.registers[name]


def test_the_files_of_another_toolchain_agree(vectors: Path) -> None:
    folder = vectors / "measure" / "sgx"
    if not folder.is_dir():
        pytest.skip("these vectors are not beside this checkout")
    stream, signed = [measure((folder / f"test_enclave.{kind}").read_bytes()) for kind in ("sgxs", "sig")]
    assert stream.registers["mrenclave"] == signed.registers["mrenclave"]


def test_what_is_neither_is_refused() -> None:
    with pytest.raises(MalformedEvidence):
        measure(b"neither" * 20)
