# SPDX-License-Identifier: Apache-2.0
"""The drivers of what a kernel shows as files, on a FUSE server that behaves as the kernel does."""

import contextlib
import hashlib
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import pytest

from nacre.enclave.emulate.chip import Chip
from nacre.enclave.emulate.fuse import Mount, Names
from nacre.enclave.emulate.gramine import Attestation
from nacre.enclave.emulate.tsm import Measurements, Reports
from nacre.errors import EnclaveError
from nacre.platforms import devices, tsm
from nacre.platforms.device import DevicePaths
from nacre.platforms.sgx.device import SgxDevice
from nacre.platforms.snp.device import SnpDevice
from nacre.platforms.tdx.device import TdxDevice

_DATA = bytes(range(64))


def _names(directory: Path) -> list[str]:
    return [node.name for node in directory.iterdir()]


def _can_mount() -> bool:
    suppressed = contextlib.suppress(EnclaveError)
    with tempfile.TemporaryDirectory() as name, suppressed, Mount(Path(name), _Readable({})):
        return True
    return False


class _Readable:
    """Files that are only read."""

    deferred: ClassVar[bool] = False

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = files

    def mode(self, names: Names) -> int | None:
        if not names:
            return 0o040755
        return 0o100444 if names[0] in self.files else None

    def names(self, _: Names) -> tuple[str, ...]:
        return tuple(self.files)

    def read(self, names: Names) -> bytes:
        return self.files[names[0]]

    def write(self, *_: object) -> None:
        raise AssertionError

    mkdir = rmdir = write


class _Echo:
    """A machine whose evidence holds what it was asked for, at the place where the driver looks for it."""

    def __init__(self, platform: str, place: int) -> None:
        self.platform = platform
        self.registers = {f"rtmr{index}": bytes(48) for index in range(4)} if platform == "tdx" else {}
        self._place = place

    def evidence(
        self,
        data: bytes,
        *,
        registers: Mapping[str, bytes],
        at: int,
        nonce: bytes | None = None,
        public_key: bytes | None = None,
    ) -> bytes:
        assert nonce is None
        assert public_key is None
        shown = hashlib.sha384(repr(sorted(registers.items())).encode()).digest()
        return (bytes(self._place) + data + shown + at.to_bytes(8, "big")).ljust(1184, b"\0")

    def endorsements(self, *, at: int) -> Mapping[str, bytes]:
        return {"at": str(at).encode()}


@pytest.fixture
def folder() -> Iterator[Path]:
    if not _can_mount():
        pytest.skip("needs /dev/fuse and the right to mount")
    with tempfile.TemporaryDirectory(prefix="n") as name:
        yield Path(name)


def test_a_mount_reads(folder: Path) -> None:
    with Mount(folder / "m", _Readable({"a": b"x" * 100_000})):
        assert (folder / "m" / "a").read_bytes() == b"x" * 100_000
        assert _names(folder / "m") == ["a"]


def test_a_mount_ends_though_a_file_is_open(folder: Path) -> None:
    with Mount(folder / "m", _Readable({"a": b"x"})):
        held = (folder / "m" / "a").open("rb")
    with contextlib.suppress(OSError):
        held.close()
    assert _names(folder / "m") == []


def test_what_is_not_there_is_not_there(folder: Path) -> None:
    with Mount(folder / "m", _Readable({"a": b"x"})):
        assert not (folder / "m" / "b").exists()
        with pytest.raises(OSError, match="rror"):
            (folder / "m" / "d").mkdir()


# ── Guests: configfs-tsm ─────────────────────────────────────────────────────────────────────────────

_SNP_PLACE, _TDX_PLACE, _SGX_PLACE = 0x50, 568, 368


class _Tdx(_Echo):
    """As an echo, in a quote of version 4."""

    def __init__(self) -> None:
        super().__init__("tdx", _TDX_PLACE - 2)

    def evidence(self, data: bytes, **rest: object) -> bytes:
        return b"\x04\x00" + super().evidence(data, **rest)  # type: ignore[arg-type]


@pytest.fixture
def snp() -> Chip:
    return Chip(_Echo("snp", _SNP_PLACE), registers={"measurement": b"m" * 48}, clock=lambda: 7)


@pytest.fixture
def tdx() -> Chip:
    return Chip(_Tdx(), registers={"mrtd": b"t" * 48}, clock=lambda: 7)


def _nowhere(folder: Path, **paths: str) -> DevicePaths:
    names = ("nsm", "tsm", "tsm_measurements", "sev_guest", "tdx_guest", "attestation")
    return DevicePaths(**({name: str(folder / "none") for name in names} | paths))


def test_a_report_of_snp_comes_through_the_kernels_files(folder: Path, snp: Chip) -> None:
    with Mount(folder / "tsm", Reports(snp)):
        device = devices.find(_nowhere(folder, tsm=str(folder / "tsm")))
        assert isinstance(device, SnpDevice)
        report = device.evidence(_DATA)
        assert report == snp.evidence(_DATA)
        (kept,) = _names(folder / "tsm")
        assert device.evidence(_DATA[::-1]) == snp.evidence(_DATA[::-1])
        assert _names(folder / "tsm") == [kept]
        device.close()
        assert _names(folder / "tsm") == []
        with pytest.raises(EnclaveError) as refused:
            device.extend("rtmr3", bytes(48))
        assert refused.value.code == "device-no-register"


def test_a_quote_and_its_registers_come_through_the_kernels_files(folder: Path, tdx: Chip) -> None:
    with Mount(folder / "tsm", Reports(tdx)), Mount(folder / "regs", Measurements(tdx)):
        paths = _nowhere(folder, tsm=str(folder / "tsm"), tsm_measurements=str(folder / "regs"))
        device = devices.find(paths)
        assert isinstance(device, TdxDevice)
        before = device.evidence(_DATA)
        device.extend("rtmr3", b"d" * 48)
        extended = hashlib.sha384(bytes(48) + b"d" * 48).digest()
        assert device.registers()["rtmr3"] == tdx.registers["rtmr3"] == extended
        assert device.registers()["mrtd"] == b"t" * 48
        assert device.evidence(_DATA) not in (before, b"")
        for register, digest, code in (
            ("rtmr0", bytes(48), "device-no-register"),
            ("pcr16", bytes(48), "device-no-register"),
            ("rtmr2", bytes(47), "device-size"),
        ):
            with pytest.raises(EnclaveError) as refused:
                device.extend(register, digest)
            assert refused.value.code == code
        with pytest.raises(OSError, match="ermission"):
            tsm.write(folder / "regs" / "rtmr0:sha384", bytes(48))


class _Disturbed(Reports):
    """Reports into whose directories somebody else writes as well."""

    def __init__(self, chip: Chip, *, times: int) -> None:
        super().__init__(chip)
        self._left = times

    def read(self, names: Names) -> bytes:
        found = super().read(names)
        if names[1:] == ("outblob",) and self._left:
            self._left -= 1
            self.write((names[0], "inblob"), b"another's")
        return found


@pytest.mark.parametrize(("times", "held"), [(0, True), (tsm.ATTEMPTS - 1, True), (tsm.ATTEMPTS, False)])
def test_a_report_that_somebody_else_wrote_into_is_asked_for_again(
    folder: Path, snp: Chip, times: int, *, held: bool
) -> None:
    with Mount(folder / "tsm", _Disturbed(snp, times=times)):
        with contextlib.closing(tsm.Reports(str(folder / "tsm"), by=tsm.SNP)) as reports:
            if held:
                assert reports.ask(_DATA).outblob == snp.evidence(_DATA)
            else:
                with pytest.raises(EnclaveError) as refused:
                    reports.ask(_DATA)
                assert refused.value.code == "device-contended"
        assert _names(folder / "tsm") == []


def test_what_somebody_wrote_since_the_last_report_or_removed_is_no_matter(folder: Path, snp: Chip) -> None:
    with (
        Mount(folder / "tsm", Reports(snp)),
        contextlib.closing(tsm.Reports(str(folder / "tsm"), by=tsm.SNP)) as reports,
    ):
        reports.ask(_DATA)
        (kept,) = _names(folder / "tsm")
        tsm.write(folder / "tsm" / kept / "inblob", b"another's")
        assert reports.ask(_DATA).outblob == snp.evidence(_DATA)
        (other,) = _names(folder / "tsm")
        assert other != kept
        (folder / "tsm" / other).rmdir()
        assert reports.ask(_DATA).outblob == snp.evidence(_DATA)
        assert reports.ask(_DATA, auxiliary=True).auxblob == b""


def test_threads_each_get_their_own_report(folder: Path, snp: Chip) -> None:
    wanted = [bytes((number,)) * 64 for number in range(40)]
    with (
        Mount(folder / "tsm", Reports(snp)),
        contextlib.closing(SnpDevice(reports=str(folder / "tsm"), node="/dev/null")) as device,
        ThreadPoolExecutor(8) as pool,
    ):
        assert list(pool.map(device.evidence, wanted)) == [snp.evidence(data) for data in wanted]
        assert len(_names(folder / "tsm")) == 1


class _Lying(Reports):
    """Reports one of whose files is not what it should be."""

    def __init__(self, chip: Chip, *, file: str, content: bytes) -> None:
        super().__init__(chip)
        self._lie = (file, content)

    def read(self, names: Names) -> bytes:
        file, content = self._lie
        return content if names[1:] == (file,) else super().read(names)


@pytest.mark.parametrize(
    ("file", "content", "code"),
    [
        ("provider", b"tdx_guest\n", "device-provider"),
        ("provider", b"", "device-provider"),
        ("provider", b"x" * 1000, "device-answer"),
        ("generation", b"-1", "device-answer"),
        ("generation", "²".encode(), "device-answer"),
        ("outblob", b"", "device-answer"),
        ("outblob", bytes(1184), "device-answer"),
        ("outblob", bytes((1 << 20) + 1), "device-answer"),
    ],
)
def test_a_lying_kernel_is_no_surprise(folder: Path, snp: Chip, file: str, content: bytes, code: str) -> None:
    with Mount(folder / "tsm", _Lying(snp, file=file, content=content)):
        device = SnpDevice(reports=str(folder / "tsm"), node="/dev/null")
        with contextlib.closing(device), pytest.raises(EnclaveError) as refused:
            device.evidence(_DATA)
        assert refused.value.code == code
        assert _names(folder / "tsm") == []


def test_a_host_that_says_nonsense_beside_a_report_says_nothing(folder: Path, snp: Chip) -> None:
    with Mount(folder / "tsm", Reports(snp, auxblob=b"nonsense")):
        assert SnpDevice(reports=str(folder / "tsm"), node="/dev/null").endorsements() == {}


@pytest.mark.parametrize("size", [0, 63, 65])
def test_report_data_are_64_bytes(folder: Path, snp: Chip, size: int) -> None:
    with Mount(folder / "tsm", Reports(snp)):
        with pytest.raises(EnclaveError) as refused:
            tsm.Reports(str(folder / "tsm"), by=tsm.SNP).ask(bytes(size))
        assert refused.value.code == "device-size"


def test_an_emulator_that_is_gone_is_said_to_be_gone(folder: Path, snp: Chip) -> None:
    with Mount(folder / "tsm", Reports(snp)):
        device = devices.find(_nowhere(folder, tsm=str(folder / "tsm")))
    with pytest.raises(EnclaveError) as refused:
        device.evidence(_DATA)
    assert refused.value.code == "device-unreachable"


# ── Enclaves: Gramine ────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def sgx() -> Chip:
    registers = {"mrenclave": b"e" * 32}
    return Chip(_Echo("sgx", _SGX_PLACE), registers=registers, clock=lambda: 7, secret=b"s" * 32)


def test_a_quote_comes_through_gramines_files(folder: Path, sgx: Chip) -> None:
    with Mount(folder / "att", Attestation(sgx)):
        device = devices.find(_nowhere(folder, attestation=str(folder / "att")))
        assert isinstance(device, SgxDevice)
        assert device.evidence(_DATA) == sgx.evidence(_DATA)
        key, other = device.sealing_key(b"a"), device.sealing_key(b"b")
        assert key == device.sealing_key(b"a")
        assert key is not None
        assert len(key) == len(other or b"") == 32
        assert key != other


@pytest.mark.parametrize("kind", ["none", "epid", "dcapx"])
def test_gramine_without_dcap_has_no_evidence(folder: Path, sgx: Chip, kind: str) -> None:
    with Mount(folder / "att", Attestation(sgx, kind=kind)):
        with pytest.raises(EnclaveError) as refused:
            SgxDevice(str(folder / "att")).evidence(_DATA)
        assert refused.value.code == "device-provider"


class _Raced(Attestation):
    """Another thread of the enclave writes its own report data, a number of times."""

    def __init__(self, chip: Chip, *, times: int) -> None:
        super().__init__(chip)
        self._left = times

    def read(self, names: Names) -> bytes:
        if names == ("quote",) and self._left:
            self._left -= 1
            self._data = b"o" * 64
        return super().read(names)


@pytest.mark.parametrize("times", [tsm.ATTEMPTS - 1, tsm.ATTEMPTS])
def test_anothers_quote_is_never_taken_for_ours(folder: Path, sgx: Chip, times: int) -> None:
    with Mount(folder / "att", _Raced(sgx, times=times)):
        device = SgxDevice(str(folder / "att"))
        if times < tsm.ATTEMPTS:
            assert device.evidence(_DATA) == sgx.evidence(_DATA)
        else:
            with pytest.raises(EnclaveError) as refused:
                device.evidence(_DATA)
            assert refused.value.code == "device-contended"


# ── Which TEE this is ────────────────────────────────────────────────────────────────────────────────


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(EnclaveError) as refused:
        devices.find(_nowhere(tmp_path))
    assert refused.value.code == "device-none"


def test_two_at_once_are_not_guessed_between(folder: Path, snp: Chip, sgx: Chip) -> None:
    with Mount(folder / "tsm", Reports(snp)), Mount(folder / "att", Attestation(sgx)):
        with pytest.raises(EnclaveError) as refused:
            devices.find(_nowhere(folder, tsm=str(folder / "tsm"), attestation=str(folder / "att")))
        assert refused.value.code == "device-several"


@pytest.mark.parametrize("path", ["sev_guest", "tdx_guest"])
def test_a_node_that_is_none_is_said_to_be_none(tmp_path: Path, path: str) -> None:
    (tmp_path / "node").write_bytes(b"")
    device = devices.find(_nowhere(tmp_path, **{path: str(tmp_path / "node")}))
    with pytest.raises(EnclaveError) as refused:
        device.evidence(_DATA)
    assert refused.value.code == {"sev_guest": "device-unreachable", "tdx_guest": "device-no-quote"}[path]


@pytest.mark.parametrize("given", ["nonce", "public_key"])
@pytest.mark.parametrize(
    "device",
    [
        SnpDevice(reports=None, node="/dev/null"),
        TdxDevice(reports="/none", measurements="/none", node="/dev/null"),
        SgxDevice("/none"),
    ],
    ids=lambda device: device.platform,
)
def test_only_nitro_has_fields_beside_the_data(device: SnpDevice | TdxDevice | SgxDevice, given: str) -> None:
    fields: Mapping[str, bytes] = {given: b"x"}
    ask: Callable[..., bytes] = device.evidence
    with pytest.raises(EnclaveError) as refused:
        ask(_DATA, **fields)
    assert refused.value.code == "device-no-field"
    assert refused.value.context
