# SPDX-License-Identifier: Apache-2.0
"""What can be wrong with a simulated machine of AMD's."""

from typing import Final, Literal

import msgspec

__all__ = ["HEALTHY", "Certificate", "Faults"]

#: The certificates below the root: VCEK or VLEK, ASK or ASVK.
Certificate = Literal["vek", "ask"]


class Faults(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is wrong with a machine; nothing, unless stated.

    Attributes:
        old_tcb: All its TCBs are old ones, and its key is certified for that.
        lower: TCBs whose SNP firmware is one below that of the others.
        above_certificate: The report's TCBs are one above that of the certificate.
        revoked: Certificates that are on the revocation list.
        no_crl: There is no revocation list.
        expired_crl: The revocation list ended a day ago.
        expired: Certificates that ended a day before the machine was made.
        future: Certificates that begin a day after the machine was made.
        debug: The guest's policy allows the host to read its memory.
        migration: The guest has a migration agent.
        vmpl: The privilege level that asked for the report.
        smt: SMT is on.
        provisional: Other firmware runs than what is committed.
        other_chip: The report is of another chip than the certificate.
        masked_chip: CHIP_ID is zero.
        vlek: The key is a cloud's VLEK, not the chip's VCEK. Not wrong as such.
        other_kind: The report states the other kind of key.
        other_product: The report is of a processor of another line. Reports of version 2 do not say.
        alias_unchecked: The firmware did not look for memory that is addressed twice.
        reserved: A reserved byte is set.
        author_unchecked: AUTHOR_KEY_DIGEST is there without AUTHOR_KEY_EN.
        not_signed: The host forbade the firmware to sign.
        wrong_signature: The report is signed by another key than the certificate's.
    """

    old_tcb: bool = False
    lower: tuple[Literal["current", "committed", "launch"], ...] = ()
    above_certificate: bool = False
    revoked: tuple[Certificate, ...] = ()
    no_crl: bool = False
    expired_crl: bool = False
    expired: tuple[Certificate, ...] = ()
    future: tuple[Certificate, ...] = ()
    debug: bool = False
    migration: bool = False
    vmpl: int = 0
    smt: bool = False
    provisional: bool = False
    other_chip: bool = False
    masked_chip: bool = False
    vlek: bool = False
    other_kind: bool = False
    other_product: bool = False
    alias_unchecked: bool = False
    reserved: bool = False
    author_unchecked: bool = False
    not_signed: bool = False
    wrong_signature: bool = False


HEALTHY: Final = Faults()
