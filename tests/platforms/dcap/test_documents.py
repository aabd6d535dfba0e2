# SPDX-License-Identifier: Apache-2.0
"""TCB Info and enclave identities: read whole and strictly, or not at all."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.platforms.dcap.judging import assert_spoken, judge, status_of
from tests.platforms.dcap.pki import (
    FMSPC,
    NOW,
    PCESVN,
    SVNS,
    TDX_SVNS,
    Json,
    World,
    components,
    level,
    module,
    moment,
    svn_level,
)

from nacre.appraisal.verdict import Verdict
from nacre.errors import MalformedEvidence
from nacre.platforms.dcap.tcb_info import EnclaveIdentity, TcbInfo, parse_identity, parse_tcb_info

_SIGNATURE = b',"signature":"' + b"00" * 64 + b'"}'


def _wrapped(member: str, value: object) -> bytes:
    return b'{"' + member.encode() + b'":' + json.dumps(value).encode() + _SIGNATURE


def _info(tee: str = "tdx", /, **changes: object) -> TcbInfo:
    return parse_tcb_info(_wrapped("tcbInfo", World(tee=tee, info=changes).tcb_info()))


def _identity(**changes: object) -> EnclaveIdentity:
    return parse_identity(_wrapped("enclaveIdentity", World(identity=changes).qe_identity()))


def _refused(read: Callable[[], object]) -> str:
    with pytest.raises(MalformedEvidence) as caught:
        read()
    assert_spoken(caught.value)
    return caught.value.code


def test_tcb_info() -> None:
    info = _info()
    assert (info.id, info.fmspc, info.pceid, info.number) == ("TDX", FMSPC, bytes(2), 20)
    assert (info.issued, info.next_update) == (NOW - 86_400, NOW + 29 * 86_400)
    assert json.loads(info.signed) == World().tcb_info()
    assert info.signature == bytes(64)
    (only,) = info.levels
    assert [component.svn for component in only.tcb.sgx] == list(SVNS)
    assert only.tcb.tdx is not None
    assert [component.svn for component in only.tcb.tdx] == list(TDX_SVNS)
    assert (only.tcb.sgx[7].type, only.tcb.sgx[7].category) == ("SEAMLDR ACM", "OS/VMM")
    assert list(info.modules) == ["TDX_01"]
    assert info.module is not None
    assert info.module.mask == b"\xff" * 8


def test_identity() -> None:
    identity = _identity(miscselect="00000001", miscselectMask="0F000000")
    assert (identity.id, identity.number, identity.isvprodid) == ("TD_QE", 20, 2)
    # Written as a number, held in reports with the least byte first.
    assert (identity.miscselect, identity.miscselect_mask) == (b"\1\0\0\0", b"\0\0\0\x0f")
    assert identity.attributes == b"\x11" + bytes(15)
    assert [found.isvsvn for found in identity.levels] == [4]


_INFO_MEMBERS = [
    *("version", "issueDate", "nextUpdate", "fmspc", "pceId", "tcbType"),
    *("tcbEvaluationDataNumber", "tcbLevels", "id", "tdxModule"),
]
_IDENTITY_MEMBERS = [
    *("id", "version", "issueDate", "nextUpdate", "tcbEvaluationDataNumber", "miscselect", "miscselectMask"),
    *("attributes", "attributesMask", "mrsigner", "isvprodid", "tcbLevels"),
]
_WRONG: list[object] = [None, True, [], {}, -1, 1.5, "", "zz", [1], [{}], "0" * 1000]


@pytest.mark.parametrize("name", _INFO_MEMBERS)
def test_members_of_tcb_info(name: str) -> None:
    for value in _WRONG:
        if (name, value) in (("tcbLevels", []), ("fmspc", None)):
            continue
        made = World().tcb_info() | {name: value}
        code = _refused(lambda made=made: parse_tcb_info(_wrapped("tcbInfo", made)))  # type: ignore[misc]
        assert code in ("json-shape", "document-member", "time-invalid")
    made = World().tcb_info()
    del made[name]
    assert _refused(lambda: parse_tcb_info(_wrapped("tcbInfo", made))) in ("json-shape", "document-member")


@pytest.mark.parametrize("name", _IDENTITY_MEMBERS)
def test_members_of_identities(name: str) -> None:
    for value in _WRONG:
        if (name, value) == ("tcbLevels", []) or (name == "id" and isinstance(value, str)):
            continue  # an unknown name is of another enclave, which is not for the reader to say
        made = World().qe_identity() | {name: value}
        code = _refused(lambda made=made: parse_identity(_wrapped("enclaveIdentity", made)))  # type: ignore[misc]
        assert code in ("json-shape", "document-member", "time-invalid")
    made = World().qe_identity()
    del made[name]
    assert _refused(lambda: parse_identity(_wrapped("enclaveIdentity", made))) == "json-shape"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("fmspc", "00806f05000"),
        ("fmspc", "00806f05000000"),
        ("fmspc", "00 806f050000"),
        ("fmspc", "00806f0500 0"),
        ("fmspc", "0x806f050000"),
        ("fmspc", "\u0660\u0660806f050000"),
        ("pceId", "0"),
        ("tcbType", 1),
        ("tcbEvaluationDataNumber", 1 << 40),
        ("id", "tdx"),
        ("id", "QE"),
        ("issueDate", "2026-06-01"),
        ("issueDate", "2026-06-01T00:00:00+00:00"),
        ("issueDate", "2026-02-30T00:00:00Z"),
        ("nextUpdate", "yesterday"),
        ("tdxModule", {"mrsigner": "00" * 48, "attributes": "00" * 8}),
        ("tdxModule", {"mrsigner": "00" * 47, "attributes": "00" * 8, "attributesMask": "00" * 8}),
        ("tdxModule", {"mrsigner": "00" * 48, "attributes": "00" * 7, "attributesMask": "00" * 8}),
        ("tdxModule", {"mrsigner": "00" * 48, "attributes": "00" * 8, "attributesMask": ""}),
        ("tdxModuleIdentities", [module(1), module(1)]),
        ("tdxModuleIdentities", [module(1), module(1) | {"id": "tdx_01"}]),
        ("tdxModuleIdentities", [module(number) for number in range(65)]),
        ("tcbLevels", [level()] * 257),
    ],
)
def test_values_out_of_form(name: str, value: object) -> None:
    assert _refused(lambda: _info(**{name: value}))


@pytest.mark.parametrize("value", [-1, 256, 1.5, "5", None, True])
def test_svns_out_of_range(value: object) -> None:
    for changed in (
        level(sgx=(value, *SVNS[1:])),  # type: ignore[arg-type]
        level(tdx=(*TDX_SVNS[:15], value)),  # type: ignore[arg-type]
    ):
        assert _refused(lambda changed=changed: _info(tcbLevels=[changed])) == "json-shape"  # type: ignore[misc]
    if value != 256:
        assert _refused(lambda: _info(tcbLevels=[level(pcesvn=value)])) == "json-shape"  # type: ignore[arg-type]
        assert _refused(lambda: _identity(tcbLevels=[svn_level(value)])) == "json-shape"  # type: ignore[arg-type]


@pytest.mark.parametrize("date", ["", "now", "2026-06-01T00:00:00", "2026-13-01T00:00:00Z", 5, None])
def test_dates_of_levels(date: object) -> None:
    assert _refused(lambda: _info(tcbLevels=[level() | {"tcbDate": date}])) == "json-shape"
    assert _refused(lambda: _identity(tcbLevels=[svn_level(4) | {"tcbDate": date}])) == "json-shape"


@pytest.mark.parametrize(
    "date", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00"]
)
def test_dates_at_the_ends_of_the_calendar(date: str) -> None:
    """Intel would not write them; whatever is read can be evaluated and told."""
    try:
        info = _info(tcbLevels=[level() | {"tcbDate": date}])
    except MalformedEvidence:
        return
    assert info.levels[0].status == "UpToDate"
    world = World(info={"tcbLevels": [level() | {"tcbDate": date}]})
    assert judge(world).verdict is Verdict.VERIFIED


@pytest.mark.parametrize("advisories", ["INTEL-SA-1", [1], [None], ["INTEL-SA-1"] * 257, {"a": 1}])
def test_advisories_out_of_form(advisories: object) -> None:
    assert _refused(lambda: _info(tcbLevels=[level() | {"advisoryIDs": advisories}])) == "json-shape"


def test_tdx_and_sgx_are_told_apart_by_more_than_a_name() -> None:
    assert _refused(lambda: _info(tdxModule=None)) == "document-member"
    assert _refused(lambda: _info(id="SGX")) == "document-member"
    assert _refused(lambda: _info(tcbLevels=[level(tdx=None)])) == "tcb-components"
    assert _refused(lambda: _info(tcbLevels=[level(), level(tdx=None)])) == "tcb-components"
    assert _info("sgx").id == "SGX"
    assert _refused(lambda: _info("sgx", id="TDX")) == "document-member"
    assert _refused(lambda: _info("sgx", id=None)) == "document-member"


# ── Version 2 ────────────────────────────────────────────────────────────────────────────────────────


def _flat(status: str = "UpToDate", svns: tuple[int, ...] = SVNS, **tcb: object) -> Json:
    flat: Json = {f"sgxtcbcomp{number:02d}svn": svn for number, svn in enumerate(svns, 1)}
    made = {"tcb": flat | {"pcesvn": PCESVN} | tcb, "tcbDate": moment(NOW), "tcbStatus": status}
    return {**made, "advisoryIDs": ["INTEL-SA-1"]}


def _second(levels: object, tee: str = "sgx") -> World:
    return World(tee=tee, version=3, info={"version": 2, "id": None, "tcbLevels": levels})


def test_second_version() -> None:
    best, worst = _flat(svns=(255,) * 16), _flat("OutOfDate", (0,) * 16)
    world = _second([best, _flat("SWHardeningNeeded"), worst])
    assert status_of(world) == "SWHardeningNeeded"
    info = parse_tcb_info(_wrapped("tcbInfo", world.tcb_info()))
    assert (info.id, info.module, info.levels[0].tcb.tdx) == ("SGX", None, None)
    assert info.levels[1].advisories == ("INTEL-SA-1",)
    assert json.loads(info.signed)["version"] == 2
    assert judge(_second([_flat()])).verdict is Verdict.VERIFIED


@pytest.mark.parametrize(
    "levels",
    [
        None,
        5,
        "levels",
        {},
        {"a": 1},
        [5],
        ["level"],
        [None],
        [[]],
        [{}],
        [{"tcb": 5}],
        [{"tcb": []}],
        [{"tcb": {}}],
        [_flat() | {"tcb": {"pcesvn": 13}}],
        [{**_flat(), "tcb": {f"sgxtcbcomp{number:02d}svn": 1 for number in range(1, 17)}}],
        [_flat(sgxtcbcomp16svn=256)],
        [_flat(sgxtcbcomp01svn="5")],
        [_flat(), 5],
        [_flat("Fine")],
        [level(tdx=None)],
    ],
    ids=lambda value: str(value)[:40],
)
def test_second_version_out_of_form(levels: object) -> None:
    made = {"version": 2, "tcbLevels": levels}
    sgx = World(tee="sgx").tcb_info()
    if levels == {}:
        return
    assert _refused(lambda: parse_tcb_info(_wrapped("tcbInfo", sgx | made))) in (
        "tcb-components",
        "json-shape",
    )


def test_second_version_has_fifteen_components_for_nobody() -> None:
    for number in range(1, 17):
        flat = _flat()
        tcb = flat["tcb"]
        assert isinstance(tcb, dict)
        del tcb[f"sgxtcbcomp{number:02d}svn"]
        sgx = World(tee="sgx").tcb_info() | {"version": 2, "tcbLevels": [flat]}
        assert _refused(lambda sgx=sgx: parse_tcb_info(_wrapped("tcbInfo", sgx))) == "tcb-components"  # type: ignore[misc]


# ── Junk ─────────────────────────────────────────────────────────────────────────────────────────────

READERS = ((parse_tcb_info, "tcbInfo"), (parse_identity, "enclaveIdentity"))


def _read_all(data: bytes) -> None:
    for read, _ in READERS:
        try:
            read(data)
        except MalformedEvidence as error:
            assert_spoken(error)


@given(st.binary(max_size=200))
def test_junk(data: bytes) -> None:
    _read_all(data)
    for _, member in READERS:
        _read_all(b'{"' + member.encode() + b'":' + data + _SIGNATURE)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)


@given(_JSON, st.sampled_from(_INFO_MEMBERS + _IDENTITY_MEMBERS), st.sampled_from([2, 3]))
def test_documents_with_one_member_of_any_kind(value: object, name: str, version: int) -> None:
    info: Mapping[str, object] = World().tcb_info() | {"version": version, name: value}
    identity: Mapping[str, object] = World().qe_identity() | {name: value}
    _read_all(_wrapped("tcbInfo", info))
    _read_all(_wrapped("enclaveIdentity", identity))


@given(_JSON)
def test_documents_with_any_level(value: object) -> None:
    for changed in (
        level() | {"tcb": value},
        [value],
        level() | {"tcbDate": value},
        {"tcb": {"isvsvn": value}},
    ):
        _read_all(_wrapped("tcbInfo", World().tcb_info() | {"tcbLevels": [changed]}))
        _read_all(_wrapped("enclaveIdentity", World().qe_identity() | {"tcbLevels": [changed]}))


@given(st.data())
def test_real_documents_with_bytes_changed(vectors: Path, data: st.DataObject) -> None:
    names = ("tcb_info.json", "qe_identity.json")
    paths = sorted(path for name in names for path in vectors.glob(f"[st][gd]x/phala*/{name}"))
    document = bytearray(data.draw(st.sampled_from(paths)).read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        place = data.draw(st.integers(0, len(document) - 1))
        document[place : place + data.draw(st.integers(0, 3))] = data.draw(
            st.binary(max_size=3) | st.sampled_from([b'"', b"{", b"}", b"[", b"]", b",", b":", b"1", b"\\"])
        )
    _read_all(bytes(document))


def test_depth_and_size_are_bounded() -> None:
    for piece in (b"[", b'{"a":', b'"', b"1", b" ", b'{"tcbInfo":'):
        junk = (piece * (1 << 20))[: 1 << 20]
        assert _refused(lambda junk=junk: parse_tcb_info(junk)) == "too-large"  # type: ignore[misc]
        for data in (junk[: 200 << 10], b'{"tcbInfo":' + junk[: 200 << 10] + _SIGNATURE):
            assert _refused(lambda data=data: parse_tcb_info(data)).startswith("json-")  # type: ignore[misc]


def test_components_have_names_for_people_only() -> None:
    """Names change nothing about what is compared."""
    nameless = [{"svn": component["svn"]} for component in components("sgx", SVNS)]
    tcb = {"sgxtcbcomponents": nameless, "pcesvn": PCESVN, "tdxtcbcomponents": components("tdx", TDX_SVNS)}
    assert judge(World(info={"tcbLevels": [level() | {"tcb": tcb}]})).verdict is Verdict.VERIFIED
