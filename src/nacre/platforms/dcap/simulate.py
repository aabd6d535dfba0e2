# SPDX-License-Identifier: Apache-2.0
"""A simulated processor of Intel's with its quoting enclave, and Intel's services under a development root.

What it signs is as correct as Intel's own. ``Faults`` makes it sign what Intel's firmware never would: for
tests of verifiers and of policies. What SGX and TDX do not share is in their own ``simulate.py``.

Source: as in ``layout.py`` and ``endorsements.py``.
"""

import hashlib
import struct
from collections.abc import Mapping
from typing import Final

import msgspec

from nacre.platforms.base import Register
from nacre.platforms.dcap.evidence import CertType
from nacre.platforms.dcap.layout import HEADER, SGX_REPORT, BodyType
from nacre.platforms.dcap.simulated_certificates import FAMILY, Authorities, create_root
from nacre.platforms.dcap.simulated_documents import (
    QE_SIGNER,
    component_svn,
    qe_identity,
    sgx_extension,
    tcb_info,
)
from nacre.platforms.dcap.simulated_faults import Faults
from nacre.platforms.layout import Layout
from nacre.platforms.simulation import Root, check_registers, check_size

__all__ = ["FAMILY", "DcapMachine", "Faults", "Shape", "create_root"]

_INTEL: Final = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")
_ECDSA_P256: Final = 2
_REPORT_DATA: Final = 64
_RTMR: Final = 48
_QE_AUTH: Final = bytes(range(32))
_NESTED: Final = 4
_DESCRIBED: Final = 5


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """What tells the quotes of SGX and of TDX apart.

    Attributes:
        platform: ``sgx`` or ``tdx``.
        title: What messages call it.
        version: Of its quotes: 3 to 5.
        body: Its report.
        registers: What it measures.
        fields: Register to the report's field.
        quoting_enclave: The name of its quoting enclave.
        product: ISVPRODID of that.
    """

    platform: str
    title: str
    version: int
    body: BodyType
    registers: tuple[Register, ...]
    fields: Mapping[str, str]
    quoting_enclave: str
    product: int


class DcapMachine:
    """A machine with one simulated TEE."""

    def __init__(
        self, root: Root, shape: Shape, *, report: Mapping[str, bytes], at: int, faults: Faults
    ) -> None:
        """Have its processor certified.

        Args:
            root: What ``create_root`` made.
            shape: That of SGX or of TDX.
            report: The fields of reports that are not zero, unless registers replace them.
            at: Unix seconds.
            faults: What is wrong with it.
        """
        self._shape = shape
        self._report = report
        self._faults = faults
        extension = sgx_extension(faults, seed=root.certificates[0])
        self._authorities = Authorities(root, faults, sgx_extension=extension, at=at)

    @property
    def platform(self) -> str:
        """The name of the platform."""
        return self._shape.platform

    @property
    def registers(self) -> Mapping[str, bytes]:
        """The four registers of a trust domain that are extended from its start; an enclave has none."""
        return {name: bytes(_RTMR) for name in self._shape.fields if name.startswith("rtmr")}

    def endorsements(self, *, at: int) -> Mapping[str, bytes]:
        """Return TCB Info, the quoting enclave's identity and the revocation lists of ``at``, with chains."""
        authorities, faults, shape = self._authorities, self._faults, self._shape
        signer = authorities.chain("tcb")
        made = {
            "tcb_info": tcb_info(authorities, faults, tdx=shape.platform == "tdx", at=at),
            "tcb_info_issuer_chain": signer,
            "qe_identity": qe_identity(
                authorities, faults, name=shape.quoting_enclave, product=shape.product, at=at
            ),
            "qe_identity_issuer_chain": signer,
            "pck_crl": authorities.revocations("pck_crl", at=at),
            "pck_crl_issuer_chain": authorities.chain("pck_ca"),
            "root_ca_crl": authorities.revocations("root_ca_crl", at=at),
        }
        return {role: document for role, document in made.items() if role not in faults.missing}

    def evidence(
        self,
        data: bytes,
        *,
        registers: Mapping[str, bytes],
        at: int,  # noqa: ARG002 (a quote states no time)
        nonce: bytes | None = None,  # noqa: ARG002 (there is no such field)
        public_key: bytes | None = None,  # noqa: ARG002 (nor such)
    ) -> bytes:
        """Make a quote over 64 bytes of report data.

        Raises:
            ConfigurationError: ``simulated-register`` or ``simulated-size``.
        """
        shape = self._shape
        check_registers(registers, shape.registers, what=shape.title)
        check_size("report_data", data, _REPORT_DATA, what=shape.title)
        named = {shape.fields[name]: value for name, value in registers.items()}
        report = _packed(shape.body.layout, {**self._report, **named, "report_data": data})
        signed = HEADER.packed.pack(shape.version, _ECDSA_P256, shape.body.tee_type, 0, 0, _INTEL, b"")
        if shape.version >= _DESCRIBED:
            signed += struct.pack("<HI", shape.body.number, len(report))
        signed += report
        signature = self._authorities.sign("attestation", signed, what="quote")
        vouched = self._vouched()
        if shape.version >= _NESTED:
            vouched = struct.pack("<HI", CertType.QE_REPORT, len(vouched)) + vouched
        authentication = signature + self._authorities.point("attestation") + vouched
        return signed + struct.pack("<I", len(authentication)) + authentication

    def _vouched(self) -> bytes:
        """Return the quoting enclave's report, signed, and the PCK chain."""
        authorities, faults = self._authorities, self._faults
        key = authorities.point("tcb" if faults.other_attestation_key else "attestation")
        report = _packed(
            SGX_REPORT,
            {
                "attributes": b"\x11",
                "mr_enclave": hashlib.sha256(self._shape.quoting_enclave.encode()).digest(),
                "mr_signer": hashlib.sha256(b"another").digest() if faults.other_qe else QE_SIGNER,
                "isv_prod_id": bytes([self._shape.product]),
                "isv_svn": bytes([component_svn(faults.qe_tcb)]),
                "report_data": hashlib.sha256(key + _QE_AUTH).digest(),
            },
        )
        chain = authorities.chain("pck", "pck_ca")
        return b"".join(
            (
                report,
                authorities.sign("pck", report, what="qe_report"),
                struct.pack("<H", len(_QE_AUTH)) + _QE_AUTH,
                struct.pack("<HI", CertType.PCK_CHAIN, len(chain)) + chain,
            )
        )


def _packed(layout: Layout, values: Mapping[str, bytes]) -> bytes:
    return b"".join(values.get(name, b"").ljust(size, b"\0") for name, _, size in layout.fields)
