# SPDX-License-Identifier: Apache-2.0
"""What is acceptable of a guest and of the machine under it."""

import re
from collections.abc import Mapping

import msgspec
import pytest
from tests.platforms.snp.judging import judged, outcome
from tests.platforms.snp.pki import CSP, HWID, LEVELS, World, hwid_of, version_of

from nacre.appraisal.policy import Policy
from nacre.checks import Status
from nacre.errors import ConfigurationError
from nacre.platforms.snp import PLATFORM
from nacre.platforms.snp.floors import FLOORS, TABLE_DATE, Floor, kind_of_chip, shortfalls
from nacre.platforms.snp.judge import PHYSICAL
from nacre.platforms.snp.policy import SnpPolicy, TcbMinimum
from nacre.platforms.snp.products import PRODUCTS, Product, Tcb
from nacre.reasons import explain, reason

_PASS, _WARN, _FAIL, _NOT = Status.PASS, Status.WARN, Status.FAIL, Status.NOT_APPLICABLE
_ALWAYS = (
    *("snp.product", "snp.tcb", "snp.launch-tcb", "snp.firmware", "debug", "snp.migration"),
    *("snp.guest-policy", "snp.vmpl", "snp.alias-check"),
)


def _guest(*bits: int, machine: int = 0x25, **report: int | bytes) -> World:
    return World(
        report={"policy": 0x20000 | sum(1 << bit for bit in bits), "platform_info": machine, **report}
    )


def test_by_default_what_is_good_passes() -> None:
    for product in ("Genoa", "Turin"):
        for kind in ("vcek", "vlek"):
            found = judged(World(product=product, kind=kind))
            assert tuple(found) == _ALWAYS
            assert {check.status for check in found.values()} == {_PASS}


def test_what_is_required_is_made() -> None:
    found = judged(World())
    assert set(PLATFORM.required) - set(found) == {
        *(
            "snp.report",
            "snp.chain",
            "snp.signature",
            "revocation",
            "snp.endorsed-tcb",
            "snp.chip",
            "currency",
        ),
    }
    assert {*found, "snp.chip-list", "snp.provider"} >= set(PHYSICAL)


# ── Guest policy ─────────────────────────────────────────────────────────────────────────────────────


def test_debug() -> None:
    world = _guest(19)
    assert outcome(world, "debug") == (_FAIL, "debug-on")
    assert outcome(world, "debug", SnpPolicy(unsafe_allow_debug=True)) == (_WARN, "debug-allowed")


def test_migration() -> None:
    world = _guest(18)
    assert outcome(world, "snp.migration") == (_FAIL, "snp-migration")
    assert outcome(world, "snp.migration", SnpPolicy(unsafe_allow_migration=True)) == (
        _WARN,
        "snp-migration-allowed",
    )


@pytest.mark.parametrize(
    ("line", "good", "bad"),
    [
        ({"allow_smt": False}, _guest(machine=0x24), _guest(16, machine=0x24)),
        ({"allow_smt": False}, _guest(machine=0x24), _guest(machine=0x25)),
        ({"require_single_socket": True}, _guest(20), _guest()),
        ({"require_aes_256_xts": True}, _guest(22), _guest()),
        ({"require_rapl_disabled": True}, _guest(23, machine=0x28), _guest(machine=0x28)),
        ({"require_rapl_disabled": True}, _guest(23, machine=0x28), _guest(23, machine=0x20)),
        ({"require_ciphertext_hiding": True}, _guest(24, machine=0x30), _guest(machine=0x30)),
        ({"require_ciphertext_hiding": True}, _guest(24, machine=0x30), _guest(24, machine=0x20)),
        ({"require_page_swap_disabled": True}, _guest(25), _guest()),
    ],
)
def test_bits_that_a_policy_asks_for(line: Mapping[str, bool], good: World, bad: World) -> None:
    policy = msgspec.convert(line, SnpPolicy)
    for world in (good, bad):
        assert outcome(world, "snp.guest-policy") == (_PASS, "")
    assert outcome(good, "snp.guest-policy", policy) == (_PASS, "")
    assert outcome(bad, "snp.guest-policy", policy) == (_FAIL, "snp-guest-policy")


def test_cxl_is_not_accepted_by_default() -> None:
    assert outcome(_guest(21), "snp.guest-policy") == (_FAIL, "snp-guest-policy")
    assert outcome(_guest(21), "snp.guest-policy", SnpPolicy(allow_cxl=True)) == (_PASS, "")


@pytest.mark.parametrize("bit", [26, 40, 63])
def test_bits_of_the_guest_policy_that_nobody_knows(bit: int) -> None:
    world = _guest(bit)
    assert outcome(world, "snp.guest-policy") == (_WARN, "snp-policy-unknown")
    assert f"bit {bit}" in explain(judged(world)["snp.guest-policy"])


@pytest.mark.parametrize("bit", [6, 7, 8, 63])
def test_bits_of_the_machine_that_nobody_knows(bit: int) -> None:
    """go-sev-guest refuses bit 6, which every Turin sets."""
    assert {check.status for check in judged(_guest(machine=0x25 | 1 << bit)).values()} == {_PASS}


@pytest.mark.parametrize(
    ("minimum", "abi", "status"),
    [
        ((), 0, _PASS),
        ((1, 55), 0x0137, _PASS),
        ((1, 55), 0x0136, _FAIL),
        ((1, 55), 0x0200, _PASS),
        ((1, 55), 0x0000, _FAIL),
        ((1,), 0x0100, _PASS),
    ],
)
def test_the_abi_that_the_guest_demands(minimum: tuple[int, ...], abi: int, status: Status) -> None:
    world = World(report={"policy": 0x30000 | abi})
    assert outcome(world, "snp.guest-policy", SnpPolicy(min_abi=minimum))[0] is status


# ── Who asked ────────────────────────────────────────────────────────────────────────────────────────


def test_privilege_levels() -> None:
    for level in (1, 2, 3, 4):
        world = _guest(vmpl=level)
        assert outcome(world, "snp.vmpl") == (_FAIL, "snp-vmpl")
        if level < 4:
            assert outcome(world, "snp.vmpl", SnpPolicy(vmpls=(0, level))) == (_PASS, "")
    assert outcome(_guest(vmpl=0), "snp.vmpl", SnpPolicy(vmpls=(1, 2, 3))) == (_FAIL, "snp-vmpl")


def test_reports_that_the_host_asked_for_are_never_accepted() -> None:
    world = _guest(vmpl=0xFFFF_FFFF)
    assert outcome(world, "snp.vmpl") == (_FAIL, "snp-host-requested")
    assert outcome(world, "snp.vmpl", SnpPolicy(vmpls=(0, 1, 2, 3))) == (_FAIL, "snp-host-requested")
    with pytest.raises(ConfigurationError):
        SnpPolicy(vmpls=(0xFFFF_FFFF,))


# ── TCB ──────────────────────────────────────────────────────────────────────────────────────────────


def _at(product: str = "Genoa", kind: str = "vcek", version: int = 5, **levels: int) -> World:
    """A machine at a TCB, with a key that is certified for it."""
    tcb = version_of(product, {**LEVELS[product], **levels})
    names = ("current_tcb", "reported_tcb", "committed_tcb", "launch_tcb")
    return World(product=product, kind=kind, version=version, levels=levels, report=dict.fromkeys(names, tcb))


def _highest(product: Product) -> Tcb:
    fmc = None if product.places[0] is None else 255
    return Tcb(fmc, 255, 255, 255, 255)


@pytest.mark.parametrize(
    "row", FLOORS, ids=lambda row: f"{row.advisory}-{row.product}-{row.chip}-{row.component}"
)
def test_every_row_of_the_table(row: Floor) -> None:
    product = PRODUCTS[row.product]
    highest = _highest(product)

    def rows(level: int) -> list[Floor]:
        tcb = product.version(msgspec.structs.replace(highest, **{row.component: level}))
        return [short.floor for short in shortfalls(row.product, row.chip or "classic", tcb)]

    assert rows(255) == []
    assert row not in rows(row.minimum)
    assert row in rows(row.minimum - 1)
    assert re.fullmatch(r"AMD-SB-\d{4}", row.advisory)
    assert re.fullmatch(r"CVE-\d{4}-\d{4,6}", row.cve)
    assert re.fullmatch(r"\d{4}(-\d\d){0,2}", row.published)
    assert row.published <= TABLE_DATE
    assert row.source


def test_kinds_of_chips() -> None:
    """Microcode of Bergamo is at 0x19 where that of Genoa is at 0x54: held against each other's, all fail."""
    milan, genoa, turin = (PRODUCTS[name] for name in ("Milan", "Genoa", "Turin"))
    assert kind_of_chip(milan, 1, 1) == kind_of_chip(genoa, 0x11, 1) == kind_of_chip(turin, 2, 1) == "classic"
    assert kind_of_chip(milan, 1, 0) == "classic"  # the strictest
    assert kind_of_chip(milan, 1, 2) == kind_of_chip(genoa, 0x11, 2) == "stacked"
    assert kind_of_chip(genoa, 0xA0, 2) == kind_of_chip(turin, 0x11, 0) == "dense"
    assert kind_of_chip(turin, 2, 2) == "classic"
    bergamo = _at(microcode=0x19)
    report = {**bergamo.report, "cpuid_model": 0xA0, "cpuid_stepping": 2}
    assert outcome(bergamo.but(report=report), "snp.tcb") == (_PASS, "")
    assert outcome(bergamo, "snp.tcb") == (_FAIL, "snp-tcb-low")


def test_a_report_that_does_not_say_its_chip_is_held_to_every_row() -> None:
    assert outcome(_at(version=2), "snp.tcb") == (_PASS, "")
    assert outcome(_at(version=2, microcode=0x50), "snp.tcb") == (_FAIL, "snp-tcb-low")


def test_a_low_tcb_is_refused_and_explained() -> None:
    found = judged(_at(snp=0x16, microcode=0x54))
    for name in ("snp.tcb", "snp.launch-tcb"):
        check = found[name]
        assert (check.status, check.reason) == (_FAIL, "snp-tcb-low")
        assert check.context["actual"] == ("AMD-SB-3019", "AMD-SB-3020", "AMD-SB-3027", "AMD-SB-3023")
        words = explain(check)
        assert "AMD-SB-3020 (CVE-2025-0033) needs snp 27, it is 22" in words
        assert TABLE_DATE in words


def test_advisories_that_a_policy_lives_with() -> None:
    world = _at(snp=0x18)
    some = SnpPolicy(accept_advisories=("AMD-SB-3020",))
    assert outcome(world, "snp.tcb", some) == (_FAIL, "snp-tcb-low")
    assert judged(world, some)["snp.tcb"].context["actual"] == ("AMD-SB-3023",)
    for accepted in (("AMD-SB-3020", "AMD-SB-3023"), ("any",)):
        policy = SnpPolicy(accept_advisories=accepted)
        for check in ("snp.tcb", "snp.launch-tcb"):
            assert outcome(world, check, policy) == (_PASS, "snp-tcb-accepted")
        assert "AMD-SB-3023" in explain(judged(world, policy)["snp.tcb"])


def test_a_minimum_of_ones_own_takes_the_place_of_the_table() -> None:
    own = TcbMinimum(product="Genoa", bootloader=9, snp=0x18, microcode=1)
    policy = SnpPolicy(minimum_tcb=(own,))
    for check in ("snp.tcb", "snp.launch-tcb"):
        assert outcome(_at(snp=0x18, microcode=1), check, policy) == (_PASS, "snp-tcb-own")
        assert outcome(_at(snp=0x18, microcode=0), check, policy) == (_FAIL, "snp-tcb-below")
        assert outcome(_at(snp=0x17), check, policy) == (_FAIL, "snp-tcb-below")
    assert "snp 23, not 24" in explain(judged(_at(snp=0x17), policy)["snp.tcb"])
    # Of its line alone.
    assert outcome(_at("Turin", snp=3), "snp.tcb", policy) == (_FAIL, "snp-tcb-low")
    # Component by component: a high boot loader is no substitute.
    assert outcome(_at(bootloader=255, snp=0x17), "snp.tcb", policy) == (_FAIL, "snp-tcb-below")


def test_what_a_minimum_leaves_unsaid_is_held_against_the_table() -> None:
    """Else a line about the SNP firmware would quietly accept any microcode, also that of launch."""
    some = SnpPolicy(minimum_tcb=(TcbMinimum(product="Genoa", snp=0x18),))
    none = SnpPolicy(minimum_tcb=(TcbMinimum(product="Genoa"),))
    for check in ("snp.tcb", "snp.launch-tcb"):
        assert outcome(_at(snp=0x18, microcode=0x10), check, some) == (_FAIL, "snp-tcb-low")
        assert outcome(_at(snp=0x17), check, none) == (_FAIL, "snp-tcb-low")


def test_no_guest_was_launched_under_more_than_what_runs() -> None:
    newer = version_of("Genoa", {**LEVELS["Genoa"], "snp": 0xF0})
    assert outcome(World(report={"launch_tcb": newer}), "snp.firmware") == (_FAIL, "snp-tcb-order")


def test_the_minimum_of_turin_has_an_fmc() -> None:
    policy = SnpPolicy(minimum_tcb=(TcbMinimum(product="Turin", fmc=2),))
    assert outcome(_at("Turin", fmc=2), "snp.tcb", policy) == (_PASS, "snp-tcb-own")
    assert outcome(_at("Turin", fmc=1), "snp.tcb", policy) == (_FAIL, "snp-tcb-below")


def test_the_tcb_at_launch() -> None:
    """Updated under a running guest: who was in before may still be."""
    older = version_of("Genoa", {**LEVELS["Genoa"], "snp": 0x18})
    world = World(report={"launch_tcb": older})
    assert outcome(world, "snp.tcb") == (_PASS, "")
    assert outcome(world, "snp.launch-tcb") == (_FAIL, "snp-tcb-low")
    assert outcome(world, "snp.launch-tcb", SnpPolicy(unsafe_ignore_launch_tcb=True)) == (
        _NOT,
        "snp-launch-tcb-ignored",
    )
    own = SnpPolicy(minimum_launch_tcb=(TcbMinimum(product="Genoa", snp=0x18),))
    assert outcome(world, "snp.launch-tcb", own) == (_PASS, "snp-tcb-own")
    assert outcome(world, "snp.tcb", own) == (_PASS, "")


@pytest.mark.parametrize("name", ["reported_tcb", "committed_tcb"])
@pytest.mark.parametrize("part", ["bootloader", "tee", "snp", "microcode"])
def test_no_tcb_is_above_what_runs(name: str, part: str) -> None:
    """Component by component, never as one number."""
    levels = {**LEVELS["Genoa"], "tee": 5, "bootloader": 200}
    current = version_of("Genoa", levels)
    higher = {**levels, part: levels[part] + 1}
    world = World(
        levels=higher if name == "reported_tcb" else levels,
        report={
            **dict.fromkeys(("current_tcb", "reported_tcb", "committed_tcb"), current),
            name: version_of("Genoa", higher),
        },
    )
    assert outcome(world, "snp.firmware", SnpPolicy(allow_provisional_firmware=True)) == (
        _FAIL,
        "snp-tcb-order",
    )


def test_a_reported_tcb_below_the_current_one_is_usual() -> None:
    current = version_of("Genoa", {**LEVELS["Genoa"], "microcode": 0xFF})
    world = World(report={"current_tcb": current, "committed_tcb": current})
    assert outcome(world, "snp.firmware") == (_PASS, "")


@pytest.mark.parametrize(
    "report",
    [
        {"committed_build": 28},
        {"committed_minor": 54},
        {"committed_major": 0},
        {"committed_build": 30},
        {"committed_tcb": version_of("Genoa", {**LEVELS["Genoa"], "snp": 0x1A})},
    ],
)
def test_provisional_firmware(report: Mapping[str, bytes | int]) -> None:
    world = World(report=report)
    assert outcome(world, "snp.firmware") == (_FAIL, "snp-provisional")
    allowed = SnpPolicy(allow_provisional_firmware=True)
    assert outcome(world, "snp.firmware", allowed) == (_PASS, "snp-provisional-allowed")


def test_the_oldest_firmware() -> None:
    for minimum, status in (((1, 55, 29), _PASS), ((1, 55, 30), _FAIL), ((1, 56), _FAIL), ((1,), _PASS)):
        assert outcome(World(), "snp.firmware", SnpPolicy(min_firmware=minimum))[0] is status
    # What is committed counts: the host can go back to that.
    world = World(report={"current_build": 40})
    policy = SnpPolicy(min_firmware=(1, 55, 30), allow_provisional_firmware=True)
    assert outcome(world, "snp.firmware", policy) == (_FAIL, "snp-firmware-old")


@pytest.mark.parametrize("version", [2, 3, 4])
def test_older_reports_say_nothing_of_mitigations(version: int) -> None:
    world = World(version=version)
    assert outcome(world, "snp.mitigations", SnpPolicy(current_mitigations=(1,))) == (
        _FAIL,
        "snp-mitigations-unknown",
    )


def test_mitigations() -> None:
    world = World(report={"launch_mit_vector": 0b0110, "current_mit_vector": 1 << 63 | 0b0110})
    for launch, current, status in (
        ((1,), (1, 2), _PASS),
        ((), (63,), _PASS),
        ((63,), (), _FAIL),
        ((1, 3), (), _FAIL),
        ((), (0,), _FAIL),
    ):
        policy = SnpPolicy(launch_mitigations=launch, current_mitigations=current)
        assert outcome(world, "snp.mitigations", policy)[0] is status
    policy = SnpPolicy(launch_mitigations=(1, 3))
    assert "LAUNCH_MIT_VECTOR bit 3" in explain(judged(world, policy)["snp.mitigations"])


# ── The machine itself ───────────────────────────────────────────────────────────────────────────────


def test_memory_that_is_addressed_twice() -> None:
    """BadRAM: the one physical attack that a report can speak about, and older ones do not."""
    for version in (3, 4, 5):
        world = World(version=version, report={"platform_info": 0x05})
        assert outcome(world, "snp.alias-check") == (_FAIL, "snp-alias-check")
    older = World(version=2, report={"platform_info": 0x03})
    assert outcome(older, "snp.alias-check") == (_FAIL, "snp-alias-check-unknown")
    off = SnpPolicy(require_alias_check=False)
    assert outcome(older, "snp.alias-check", off) == (_NOT, "snp-alias-check-off")
    assert outcome(World(), "snp.alias-check", off) == (_PASS, "")


def test_product_lines_can_be_refused() -> None:
    """BadFuse: of Milan, nothing but the product line says that its keys may be anybody's."""
    milan = World(product="Milan")
    assert outcome(milan, "snp.product") == (_WARN, "snp-product-extracted")
    assert "BadFuse" in explain(judged(milan)["snp.product"])
    assert outcome(milan, "snp.product", SnpPolicy(unsafe_accept_products=("Milan",))) == (_PASS, "")
    for product in ("Milan", "Genoa", "Turin"):
        both = SnpPolicy(refuse_products=(product,), unsafe_accept_products=(product,))
        assert outcome(World(product=product), "snp.product", both) == (_FAIL, "snp-product-refused")


@pytest.mark.parametrize("product", ["Milan", "Genoa", "Turin"])
def test_chips_can_be_listed(product: str) -> None:
    world = World(product=product)
    own, other = hwid_of(product).hex(), bytes(64).hex()
    assert outcome(world, "snp.chip-list", SnpPolicy(chips=(other, own))) == (_PASS, "")
    assert outcome(world, "snp.chip-list", SnpPolicy(chips=(other,))) == (_FAIL, "snp-chip-refused")
    # What AMD certified counts, also where the host hides the chip from its guests.
    masked = world.but(report={"chip_id": bytes(64)})
    assert outcome(masked, "snp.chip-list", SnpPolicy(chips=(own,))) == (_PASS, "")
    shown = SnpPolicy(chips=(own,), refuse_masked_chip=True)
    assert outcome(masked, "snp.chip-list", shown) == (_FAIL, "snp-chip-not-shown")
    assert outcome(world, "snp.chip-list", shown) == (_PASS, "")
    assert outcome(world, "snp.chip-list", SnpPolicy(refuse_masked_chip=True)) == (_PASS, "snp-chip-shown")


def test_a_vlek_is_of_no_listed_chip() -> None:
    """The host chooses what stands in CHIP_ID there: AMD certified none."""
    world = World(kind="vlek", report={"chip_id": HWID})
    assert outcome(world, "snp.chip-list", SnpPolicy(chips=(HWID.hex(),))) == (_FAIL, "snp-chip-unknown")


def test_providers_can_be_listed() -> None:
    policy = SnpPolicy(providers=("CN=other", CSP))
    assert outcome(World(kind="vlek"), "snp.provider", policy) == (_PASS, "")
    other = SnpPolicy(providers=("CN=other",))
    assert outcome(World(kind="vlek"), "snp.provider", other) == (_FAIL, "snp-provider-refused")
    assert outcome(World(), "snp.provider", policy) == (_FAIL, "snp-provider-unknown")


# ── ID block ─────────────────────────────────────────────────────────────────────────────────────────


def test_the_id_block() -> None:
    digest, other = b"K" * 48, b"L" * 48
    world = World(
        report={"guest_svn": 5, "id_key_digest": digest, "author_key_digest": other, "signer_info": 1}
    )
    good = SnpPolicy(min_guest_svn=5, id_keys=(digest.hex(),), author_keys=(digest.hex(), other.hex()))
    assert outcome(world, "snp.id-block", good) == (_PASS, "")
    assert outcome(world, "snp.id-block", SnpPolicy(min_guest_svn=6)) == (_FAIL, "snp-guest-svn")
    assert outcome(world, "snp.id-block", SnpPolicy(id_keys=(other.hex(),))) == (_FAIL, "snp-id-key")
    assert outcome(world, "snp.id-block", SnpPolicy(author_keys=(digest.hex(),))) == (_FAIL, "snp-id-key")
    # Without AUTHOR_KEY_EN the digest there was checked by nobody.
    unchecked = world.but(report={**world.report, "signer_info": 0})
    assert outcome(unchecked, "snp.id-block", SnpPolicy(author_keys=(other.hex(),))) == (_FAIL, "snp-id-key")
    assert outcome(World(), "snp.id-block", SnpPolicy(id_keys=(digest.hex(),))) == (_FAIL, "snp-id-key")


# ── The policy as a document ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "line",
    [
        'chips = ["00"]',
        f'chips = ["{"AB" * 64}"]',
        f'chips = ["{"ab" * 63}zz"]',
        f'id_keys = ["{"ab" * 32}"]',
        f'author_keys = ["{"ab" * 49}"]',
        f'id_keys = ["{"00" * 48}"]',  # what a report says if nobody signed its ID block
        f'author_keys = ["{"00" * 48}"]',
        "min_abi = [1, 55, 0]",
        'accept_advisories = ["AMD-SB-1"]',
        'refuse_products = ["milan"]',
        'refuse_products = ["Venice"]',
        'unsafe_accept_products = ["Rome"]',
        "vmpls = []",
        "vmpls = [4]",
        "vmpls = [-1]",
        "min_guest_svn = -1",
        "min_guest_svn = 4294967296",
        "launch_mitigations = [64]",
        "current_mitigations = [-1]",
        "min_abi = [256]",
        "min_firmware = [1, 55, 29, 0]",
        'minimum_tcb = [{product = "Rome"}]',
        'minimum_tcb = [{product = "Genoa", snp = 256}]',
        'minimum_tcb = [{product = "Genoa", ucode = 1}]',
        'minimum_tcb = [{product = "Genoa", fmc = 1}]',
        "minimum_tcb = [{snp = 1}]",
        'minimum_tcb = [{product = "Genoa"}, {product = "Genoa", snp = 1}]',
        'minimum_launch_tcb = [{product = "Turin"}, {product = "Turin"}]',
        "allow_debug = true",
        'min_abi = "1.55"',
    ],
)
def test_lines_that_can_not_mean_anything(line: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Policy.parse(f"[snp]\n{line}\n")
    assert "{" not in str(caught.value)


def test_lines_of_a_document() -> None:
    policy = Policy.parse(
        """
        [snp]
        min_abi = [1, 55]
        chips = ["0102030405060708"]
        [[snp.minimum_tcb]]
        product = "Milan"
        snp = 24
        """
    ).section("snp")
    assert policy == SnpPolicy(
        min_abi=(1, 55), chips=("0102030405060708",), minimum_tcb=(TcbMinimum(product="Milan", snp=24),)
    )


def test_every_line_is_explained_to_its_reader() -> None:
    words = SnpPolicy.__doc__ or ""
    for name in SnpPolicy.__struct_fields__:
        assert f"\n        {name}: " in words
    assert reason("snp-tcb-low").hint
