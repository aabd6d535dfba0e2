# SPDX-License-Identifier: Apache-2.0
"""The registers that an SGX enclave will report, from what its author publishes.

Not proven here:
    A real SGX processor: MRENCLAVE of a stream is compared with what its author signed, and signatures with
    the rules of EINIT as Intel documents them. To prove it: start the enclave, and compare with its quote.
"""

from nacre.platforms.measuring import Measurement, Part
from nacre.platforms.sgx import sgxs, sigstruct

__all__ = ["measure"]


def measure(file: bytes) -> Measurement:
    """Return the registers of an enclave's stream (``.sgxs``) or of its signature (``.sig``).

    A stream gives MRENCLAVE. A SIGSTRUCT, whose signature has to hold, gives all that the author states;
    whether the author is the one whom the caller trusts is the caller's to compare.

    Raises:
        MalformedEvidence: ``sgxs-record``, ``sigstruct-field``, ``truncated``.
        VerificationError: ``signature-invalid``.
    """
    if not sigstruct.recognises(file):
        return sgxs.measure(file)
    registers = sigstruct.read(file).registers
    return Measurement(registers, tuple([_stated(name, value) for name, value in registers.items()]))


def _stated(register: str, value: bytes) -> Part:
    field = sigstruct.PLACES[register]
    return Part(
        register=register,
        label=field.name,
        input="sigstruct",
        offset=field.offset,
        size=field.size,
        digest=value,
    )
