# SPDX-License-Identifier: Apache-2.0
"""What a report proved about guest and machine, held against the policy; the TCB has a module of its own."""

from collections.abc import Iterator

from nacre.checks import Check, Status, failed, passed, warned
from nacre.platforms.snp.bits import PLATFORM, POLICY, named
from nacre.platforms.snp.claims import SnpClaims
from nacre.platforms.snp.policy import HOST_REQUESTED, SnpPolicy
from nacre.platforms.snp.report import HAS_MITIGATIONS, HAS_PROCESSOR, Report
from nacre.platforms.snp.tcb import judge_tcb

__all__ = ["PHYSICAL", "judge_guest"]

#: The checks by which a policy asks something of the machine itself.
PHYSICAL = ("snp.product", "snp.alias-check", "snp.chip-list", "snp.provider")

_PRODUCT = passed("snp.product")
_DEBUG_OFF = passed("debug")
_DEBUG_ALLOWED = warned("debug", "debug-allowed")
_DEBUG_ON = failed("debug", "debug-on")
_STAYS = passed("snp.migration")
_MIGRATION_ALLOWED = warned("snp.migration", "snp-migration-allowed")
_MIGRATION = failed("snp.migration", "snp-migration")
_GUEST_POLICY = passed("snp.guest-policy")
_VMPL = passed("snp.vmpl")
_ALIAS_CHECK = passed("snp.alias-check")
_ALIAS_CHECK_OFF = Check("snp.alias-check", Status.NOT_APPLICABLE, "snp-alias-check-off")
_NO_ALIAS_CHECK = failed("snp.alias-check", "snp-alias-check")
_ALIAS_CHECK_UNKNOWN = failed("snp.alias-check", "snp-alias-check-unknown")
_PARAVISOR_ACCEPTED = passed("snp.paravisor", "snp-paravisor-accepted")
_PARAVISOR = warned("snp.paravisor", "snp-paravisor")
_UNUSED = bytes(48)


def judge_guest(claims: SnpClaims, policy: SnpPolicy) -> Iterator[Check]:
    """Hold a guest and its machine against the policy.

    1. ``snp.product``: the product line is not refused, nor known to give up its root keys.
    2. ``snp.tcb``, ``snp.launch-tcb``, ``snp.firmware``: see ``tcb.py``.
    3. ``debug``: the guest policy has DEBUG off.
    4. ``snp.migration``: it has no migration agent.
    5. ``snp.guest-policy``: its other bits, and the machine's, are what is asked for.
    6. ``snp.vmpl``: the report was asked for at an accepted privilege level.
    7. ``snp.alias-check``: the firmware found no memory that is addressed twice.
    8. Only where the policy asks: ``snp.mitigations``, ``snp.id-block``, ``snp.chip-list``, ``snp.provider``.
    9. ``snp.paravisor``, of Azure's wrapper only: whose registers these are.
    """
    report = claims.evidence.report
    # (1)
    yield _product(claims, policy)
    # (2)
    yield from judge_tcb(claims, policy)
    # (3)
    if not claims.debug:
        yield _DEBUG_OFF
    else:
        yield _DEBUG_ALLOWED if policy.unsafe_allow_debug else _DEBUG_ON
    # (4)
    if not report.policy & POLICY["MIGRATE_MA"]:
        yield _STAYS
    else:
        yield _MIGRATION_ALLOWED if policy.unsafe_allow_migration else _MIGRATION
    # (5)
    yield _guest_policy(report, policy)
    # (6)
    # Azure's paravisor asks at level 0; what asks at another could have wrapped the answer itself.
    levels = (0,) if claims.evidence.form == "hcl" else policy.vmpls
    yield _VMPL if report.vmpl in levels else _other_vmpl(report, levels)
    # (7)
    yield _alias_check(report, policy)
    # (8)
    yield from _asked(claims, policy)
    # (9)
    if claims.evidence.form == "hcl":
        yield _PARAVISOR_ACCEPTED if policy.accept_paravisor else _PARAVISOR


def _product(claims: SnpClaims, policy: SnpPolicy) -> Check:
    product = claims.product
    if product.name in policy.refuse_products:
        return failed("snp.product", "snp-product-refused", actual=product.name)
    if product.extracted and product.name not in policy.unsafe_accept_products:
        return warned("snp.product", "snp-product-extracted", actual=product.name, what=product.extracted)
    return _PRODUCT


def _guest_policy(report: Report, policy: SnpPolicy) -> Check:
    bad = tuple(_bad_bits(report, policy))
    if bad:
        return failed("snp.guest-policy", "snp-guest-policy", actual=bad)
    abi = (report.policy >> 8 & 0xFF, report.policy & 0xFF)
    if abi < policy.min_abi:
        return failed("snp.guest-policy", "snp-abi", actual=_dotted(abi), expected=_dotted(policy.min_abi))
    unknown = named(report.policy >> 16 << 16, POLICY, unknown=True)
    if unknown:
        return warned("snp.guest-policy", "snp-policy-unknown", actual=unknown)
    return _GUEST_POLICY


def _bad_bits(report: Report, policy: SnpPolicy) -> Iterator[str]:
    """Name the bits of guest policy and machine that are not as asked for."""
    guest, machine = report.policy, report.platform_info
    if not policy.allow_smt:
        if guest & POLICY["SMT"]:
            yield "the guest accepts SMT"
        if machine & PLATFORM["SMT_EN"]:
            yield "SMT is on"
    if not policy.allow_cxl and guest & POLICY["CXL_ALLOW"]:
        yield "the guest accepts CXL"
    for asked, bit in (
        (policy.require_single_socket, "SINGLE_SOCKET"),
        (policy.require_aes_256_xts, "MEM_AES_256_XTS"),
        (policy.require_rapl_disabled, "RAPL_DIS"),
        (policy.require_ciphertext_hiding, "CIPHERTEXT_HIDING_DRAM"),
        (policy.require_page_swap_disabled, "PAGE_SWAP_DISABLE"),
    ):
        if asked and not guest & POLICY[bit]:
            yield f"the guest does not demand {bit}"
    if policy.require_rapl_disabled and not machine & PLATFORM["RAPL_DIS"]:
        yield "power reporting is on"
    if policy.require_ciphertext_hiding and not machine & PLATFORM["CIPHERTEXT_HIDING_DRAM_EN"]:
        yield "ciphertext hiding is off"


def _other_vmpl(report: Report, levels: tuple[int, ...]) -> Check:
    if report.vmpl == HOST_REQUESTED:
        return failed("snp.vmpl", "snp-host-requested")
    return failed("snp.vmpl", "snp-vmpl", actual=report.vmpl, expected=tuple(map(str, levels)))


def _alias_check(report: Report, policy: SnpPolicy) -> Check:
    if report.platform_info & PLATFORM["ALIAS_CHECK_COMPLETE"]:
        return _ALIAS_CHECK
    if not policy.require_alias_check:
        return _ALIAS_CHECK_OFF
    return _NO_ALIAS_CHECK if report.version >= HAS_PROCESSOR else _ALIAS_CHECK_UNKNOWN


def _asked(claims: SnpClaims, policy: SnpPolicy) -> Iterator[Check]:
    report = claims.evidence.report
    if policy.launch_mitigations or policy.current_mitigations:
        yield _mitigations(report, policy)
    if policy.min_guest_svn or policy.id_keys or policy.author_keys:
        yield _id_block(report, policy)
    if policy.chips or policy.refuse_masked_chip:
        yield _chip(claims, policy)
    if policy.providers:
        yield _provider(claims, policy)


def _mitigations(report: Report, policy: SnpPolicy) -> Check:
    if report.version < HAS_MITIGATIONS:
        return failed(
            "snp.mitigations", "snp-mitigations-unknown", actual=report.version, expected=HAS_MITIGATIONS
        )
    missing = tuple(
        [
            f"{name} bit {bit}"
            for name, vector, asked in (
                ("LAUNCH_MIT_VECTOR", report.launch_mit_vector, policy.launch_mitigations),
                ("CURRENT_MIT_VECTOR", report.current_mit_vector, policy.current_mitigations),
            )
            for bit in asked
            if not vector >> bit & 1
        ]
    )
    if missing:
        return failed("snp.mitigations", "snp-mitigations", actual=missing)
    return passed("snp.mitigations")


def _id_block(report: Report, policy: SnpPolicy) -> Check:
    if report.guest_svn < policy.min_guest_svn:
        return failed("snp.id-block", "snp-guest-svn", actual=report.guest_svn, expected=policy.min_guest_svn)
    for name, digest, accepted in (
        ("ID_KEY_DIGEST", report.id_key_digest, policy.id_keys),
        # Without AUTHOR_KEY_EN nobody checked that field at launch.
        (
            "AUTHOR_KEY_DIGEST",
            report.author_key_digest if report.author_key_en else _UNUSED,
            policy.author_keys,
        ),
    ):
        if accepted and digest.hex() not in accepted:
            return failed("snp.id-block", "snp-id-key", name=name, actual=digest, expected=accepted)
    return passed("snp.id-block")


def _chip(claims: SnpClaims, policy: SnpPolicy) -> Check:
    chip = claims.chip
    if policy.refuse_masked_chip and not any(claims.evidence.report.chip_id):
        return failed("snp.chip-list", "snp-chip-not-shown")
    if not policy.chips:
        return passed("snp.chip-list", "snp-chip-shown")
    if chip is None:
        return failed("snp.chip-list", "snp-chip-unknown")
    if chip.hex() not in policy.chips:
        return failed("snp.chip-list", "snp-chip-refused", actual=chip, expected=policy.chips)
    return passed("snp.chip-list")


def _provider(claims: SnpClaims, policy: SnpPolicy) -> Check:
    if claims.csp is None:
        return failed("snp.provider", "snp-provider-unknown", expected=policy.providers)
    if claims.csp not in policy.providers:
        return failed("snp.provider", "snp-provider-refused", actual=claims.csp, expected=policy.providers)
    return passed("snp.provider")


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
