# SPDX-License-Identifier: Apache-2.0
"""A simulated AMD security processor, with AMD's key service behind it under a development root.

What it signs is as correct as AMD's own. ``Faults`` makes it sign what AMD's firmware never would: for
tests of verifiers and of policies.

Other verifiers accept it under its own root: omne-attest (Milan and Genoa; the tests run it), and, by hand,
go-sev-guest 0.15.0 (Milan and Genoa, VCEK and VLEK, with revocations; it knows no certificate of Turin's, for
their FMC) and tinfoil 0.15.0 (Genoa).

Source: as in ``report.py``, ``vek.py`` and ``ghcb.py``.
"""

import hashlib
import struct
from collections.abc import Mapping
from typing import ClassVar, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from nacre.platforms.simulation import Root, check_registers, check_size
from nacre.platforms.snp import PLATFORM
from nacre.platforms.snp.bits import PLATFORM as MACHINE_BITS
from nacre.platforms.snp.bits import POLICY
from nacre.platforms.snp.products import PRODUCTS, Product, Tcb
from nacre.platforms.snp.report import HAS_PROCESSOR, LAYOUT, SIGNED_SIZE
from nacre.platforms.snp.simulated_faults import HEALTHY, Faults
from nacre.platforms.snp.simulated_keys import FAMILY, Certified, Issuer, create_root

__all__ = ["FAMILY", "Faults", "SnpMachine", "certificate_table", "create_root", "machine"]

# No row of the table of lowest TCBs is above; of the SNP firmware, one less would be too low.
_TCBS: Final[Mapping[str, Tcb]] = {
    "Milan": Tcb(None, 4, 0, 0x1B, 0xDE),
    "Genoa": Tcb(None, 10, 0, 0x1B, 0x56),
    "Turin": Tcb(1, 2, 3, 4, 0x51),
}
_OLD: Final[Mapping[str, Tcb]] = {
    "Milan": Tcb(None, 3, 0, 0x08, 0x73),
    "Genoa": Tcb(None, 7, 0, 0x0E, 0x48),
    "Turin": Tcb(0, 1, 1, 1, 0x30),
}
_STEPPINGS: Final[Mapping[str, int]] = {"Milan": 1, "Genoa": 1, "Turin": 1}
_FIRMWARE: Final = (1, 55, 29)
_REPORT_DATA: Final = 64
_COORDINATE: Final = 72
_ABI: Final = 0x31  # 0.49

_GUIDS: Final[Mapping[str, bytes]] = {
    "vcek": bytes.fromhex("63da758de6644564adc5f4b93be8accd"),
    "vlek": bytes.fromhex("a8074bc2a25a483eaae639c045a0b8a1"),
    "ask": bytes.fromhex("4ab7b379bbac4fe4a02f05aef327c782"),
    "ark": bytes.fromhex("c0b406a4a803495297433fb6014cd0ae"),
}


def machine(
    root: Root, *, at: int, faults: Faults = HEALTHY, product: str = "Genoa", version: int = 5
) -> "SnpMachine":
    """Make a machine that has been there since ``at``.

    Args:
        root: What ``create_root`` made.
        at: Unix seconds.
        faults: What is wrong with it.
        product: ``Milan``, ``Genoa`` or ``Turin``.
        version: Version of its reports, 2 to 5.
    """
    return SnpMachine(root, at=at, faults=faults, product=PRODUCTS[product], version=version)


class SnpMachine:
    """A machine of a cloud with one simulated guest."""

    platform: ClassVar[str] = "snp"
    #: None of a guest's registers is read or extended by what runs in it.
    registers: ClassVar[Mapping[str, bytes]] = {}

    def __init__(self, root: Root, *, at: int, faults: Faults, product: Product, version: int) -> None:
        """Make its chip, and have its key certified."""
        self._faults = faults
        self._product = product
        self._version = version
        self._hwid = hashlib.sha512(b"nacre chip\0" + root.certificates[0]).digest()[: product.hwid_size]
        self._tcb = product.version((_OLD if faults.old_tcb else _TCBS)[product.name])
        self._issuer = Issuer(root, product, faults)
        self._key: Certified = self._issuer.certify(self._hwid, product.tcb(self._tcb), at=at)

    def endorsements(self, *, at: int) -> Mapping[str, bytes]:
        """Return VCEK or VLEK, ASK or ASVK, ARK and the revocation list of ``at``."""
        documents = {"vek": self._key.vek, "ask": self._key.ask, "ark": self._key.ark}
        if not self._faults.no_crl:
            documents["crl"] = self._issuer.revocations(self._key, at=at)
        return documents

    def certificate_table(self) -> bytes:
        """Return what the host hands to the guest beside a report (``auxblob`` of configfs-tsm)."""
        vek = "vlek" if self._faults.vlek else "vcek"
        return certificate_table({vek: self._key.vek, "ask": self._key.ask, "ark": self._key.ark})

    def evidence(
        self,
        data: bytes,
        *,
        registers: Mapping[str, bytes],
        at: int,  # noqa: ARG002 (a report states no time)
        nonce: bytes | None = None,  # noqa: ARG002 (there is no such field)
        public_key: bytes | None = None,  # noqa: ARG002 (nor such)
    ) -> bytes:
        """Make a report over 64 bytes of report data.

        Raises:
            ConfigurationError: ``simulated-register`` or ``simulated-size``.
        """
        check_registers(registers, PLATFORM.registers, what=PLATFORM.title)
        check_size("report_data", data, _REPORT_DATA, what=PLATFORM.title)
        fields: dict[str, bytes | int] = {
            name: b"" if name.startswith(("reserved", "r", "s")) else 0 for name, _, _ in LAYOUT.fields
        }
        fields |= {"report_data": data, **self._guest(registers), **self._chip(), **self._firmware()}
        if self._faults.reserved:
            fields["reserved_end"] = b"\1"
        report = LAYOUT.packed.pack(*[fields[name] for name, _, _ in LAYOUT.fields])
        if self._faults.not_signed:
            return report
        key = ec.generate_private_key(ec.SECP384R1()) if self._faults.wrong_signature else self._key.key
        return _signed(report, key)

    def _guest(self, registers: Mapping[str, bytes]) -> Mapping[str, bytes | int]:
        faults = self._faults
        policy = _ABI | POLICY["SMT"] | POLICY["ALWAYS_ONE"]
        policy |= POLICY["DEBUG"] * faults.debug | POLICY["MIGRATE_MA"] * faults.migration
        stated: dict[str, bytes | int] = {
            "measurement": hashlib.sha384(b"nacre simulated measurement").digest(),
            **dict.fromkeys(
                ("host_data", "family_id", "image_id", "id_key_digest", "author_key_digest"), b""
            ),
            **registers,
            "guest_svn": int.from_bytes(registers.get("guest_svn", b""), "little"),
            "policy": policy,
            "vmpl": faults.vmpl,
            "report_id": hashlib.sha256(b"nacre simulated guest" + self._hwid).digest(),
            "report_id_ma": b"\xff" * 32,
        }
        authored = any(registers.get("author_key_digest", b"")) and not faults.author_unchecked
        kind = int(faults.vlek is not faults.other_kind)
        stated["signer_info"] = authored | faults.not_signed << 1 | (7 if faults.not_signed else kind) << 2
        return stated

    def _chip(self) -> Mapping[str, bytes | int]:
        faults = self._faults
        info = 0 if faults.alias_unchecked else MACHINE_BITS["ALIAS_CHECK_COMPLETE"]
        info |= MACHINE_BITS["ECC_EN"] | MACHINE_BITS["SMT_EN"] * faults.smt
        chip = self._hwid
        if faults.other_chip:
            chip = bytes(255 - byte for byte in chip)
        found: dict[str, bytes | int] = {
            "version": self._version,
            "signature_algo": 1,
            "platform_info": info,
            "chip_id": b"" if faults.masked_chip or faults.vlek else chip,
        }
        if self._version >= HAS_PROCESSOR:
            line = self._product
            if faults.other_product:
                line = PRODUCTS["Genoa" if line.name == "Milan" else "Milan"]
            family, model, _ = line.processors[0]
            found |= {
                "cpuid_family": family,
                "cpuid_model": model + 1,
                "cpuid_stepping": _STEPPINGS[line.name],
            }
        return found

    def _firmware(self) -> Mapping[str, bytes | int]:
        faults, product = self._faults, self._product
        tcbs: dict[str, bytes | int] = {
            f"{name}_tcb": self._tcb for name in ("current", "reported", "committed", "launch")
        }
        if faults.above_certificate:
            tcbs = dict.fromkeys(tcbs, _moved(product, self._tcb, 1))
        lower = _moved(product, self._tcb, -1)
        for name in ("current", "committed", "launch"):
            if name in faults.lower:
                tcbs[f"{name}_tcb"] = lower
        major, minor, build = _FIRMWARE
        return {
            **tcbs,
            **dict.fromkeys(("current_major", "committed_major"), major),
            "current_minor": minor + faults.provisional,
            "committed_minor": minor,
            **dict.fromkeys(("current_build", "committed_build"), build),
        }


def certificate_table(certificates: Mapping[str, bytes]) -> bytes:
    """Encode the host's certificate table: ``vcek`` or ``vlek``, ``ask``, ``ark`` to DER."""
    entry = struct.Struct("<16sII")
    offset = entry.size * (len(certificates) + 1)
    head = b""
    for name, der in certificates.items():
        head += entry.pack(_GUIDS[name], offset, len(der))
        offset += len(der)
    return head + bytes(entry.size) + b"".join(certificates.values())


def _moved(product: Product, tcb: bytes, by: int) -> bytes:
    """Move the level of the SNP firmware, which is the fourth component."""
    place = product.places[3]
    return tcb[:place] + bytes([tcb[place] + by]) + tcb[place + 1 :]


def _signed(report: bytes, key: ec.EllipticCurvePrivateKey) -> bytes:
    body = report[:SIGNED_SIZE]
    r, s = decode_dss_signature(key.sign(body, ec.ECDSA(hashes.SHA384())))
    signature = r.to_bytes(_COORDINATE, "little") + s.to_bytes(_COORDINATE, "little")
    return body + signature + report[SIGNED_SIZE + len(signature) :]
