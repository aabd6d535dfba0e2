# SPDX-License-Identifier: Apache-2.0
"""What ``nacre measure`` measures: a file that tells what it is, a folder of a build, or parts by options."""

import mmap
import time
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from nacre import platforms
from nacre.build.parallel import threads
from nacre.cli.inputs import MAX_EVIDENCE
from nacre.cli.measured import Measured, read
from nacre.errors import ConfigurationError, MalformedEvidence, UnsupportedEvidence, VerificationError
from nacre.platforms.measuring import Measurement, Part

__all__ = ["TEES", "Given", "measured"]

_T = TypeVar("_T")

TEES: Final = ("nitro", "snp", "sev-es", "sev", "tdx", "sgx", "tpm")

_EIF, _JSON, _LIST, _PE, _SGXS = b".eif", b"{", b"[", b"MZ", b"ECREATE\0"
_LOG, _LOG_AT = b"Spec ID Event03\0", 32
_TAR, _TAR_AT = b"ustar", 257
_MIB = 1 << 20
#: Shorter registers of evidence are numbers, and shown as such.
_DIGEST = 32
#: How the name of a manifest ends that Gramine's signer has completed, or nacre build.
_MANIFEST = ".manifest.sgx"
_UNVERIFIED = "nothing of it was verified; nacre verify does that"


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """The options, as they were given.

    Attributes:
        tee: The TEE; empty where the file tells.
        firmware: The firmware's file.
        kernel: The kernel's file.
        initrd: Files of the first file system; Nitro has several.
        command_line: The kernel's command line.
        cpus: Virtual processors.
        cpu_type: Their model.
        memory: MiB.
        host: Who starts a machine under SEV.
        features: SEV_FEATURES.
        gramine: Where Gramine is installed.
        qemu: QEMU's version.
        acpi: A log with the digests of the ACPI tables.
        role: ARN of the parent instance's role.
        instance: Identifier of the parent instance.
        bank: The TPM's bank.
        phases: What systemd measures while it starts.
    """

    tee: str = ""
    firmware: str = ""
    kernel: str = ""
    initrd: tuple[str, ...] = ()
    command_line: str | None = None
    cpus: int | None = None
    cpu_type: str = ""
    memory: int | None = None
    host: str = "qemu"
    features: int = 1
    gramine: str = "/usr"
    qemu: str = ""
    acpi: str = ""
    role: str = ""
    instance: str = ""
    bank: str = "sha256"
    phases: tuple[str, ...] = ()

    @property
    def describes(self) -> bool:
        """Whether the options themselves name something to measure."""
        return bool(self.firmware or self.kernel)


def measured(path: str, given: Given) -> Measured:
    """Measure a file or a folder; without a path what the options name.

    Raises:
        ConfigurationError: An option is missing or does not fit; ``measure-unknown``; a file cannot be read.
        MalformedEvidence, UnsupportedEvidence, VerificationError, BuildError: An input is not sound.
    """
    if not path:
        return Measured(given.tee, "the parts", _parts(given))
    if Path(path).is_dir():
        return _folder(Path(path), given)
    data = _mapped(path)
    if path.endswith(_MANIFEST):
        return _fitting(Measured("sgx", path, _gramine(bytes(data), given)), given)
    if data[:1] == _JSON:
        return _fitting(read(bytes(data), source=path), given)
    if data[: len(_EIF)] == _EIF:
        return _eif(path, data, given)
    known = _file(path, data, given)
    found = _evidence(path, data) if known is None else Measured(known[0], path, known[1])
    return _fitting(found, given)


def _fitting(found: Measured, given: Given) -> Measured:
    if given.tee not in ("", found.tee):
        raise ConfigurationError("measure-other", path=found.source, expected=given.tee, actual=found.tee)
    return found


def _file(path: str, data: memoryview, given: Given) -> tuple[str, Measurement] | None:
    """Measure a file by what it begins with; None if that tells nothing."""
    if data[_LOG_AT : _LOG_AT + len(_LOG)] == _LOG:
        return _log(bytes(data), given)
    if data[_TAR_AT : _TAR_AT + len(_TAR)] == _TAR:
        return "container", _container(Path(path))
    if data[: len(_PE)] == _PE:
        from nacre.platforms.tpm import uki  # noqa: PLC0415 (each loads only what it uses)

        return "tpm", uki.measure(
            image=data, algorithm=given.bank, phases=given.phases, command_line=given.command_line
        )
    if data[:1] == _LIST:
        from nacre.appraisal.systems import dstack_replay  # noqa: PLC0415 (as above)
        from nacre.appraisal.systems.eventlog import parse  # noqa: PLC0415 (as above)

        return "tdx", dstack_replay.measurement(parse(bytes(data)))
    from nacre.platforms.sgx import sigstruct  # noqa: PLC0415 (as above)
    from nacre.platforms.sgx.measure import measure  # noqa: PLC0415 (as above)

    start = bytes(data[:64])
    if start.startswith(_SGXS) or sigstruct.recognises(start):
        return "sgx", measure(bytes(data))
    return None


def _evidence(path: str, data: memoryview) -> Measured:
    """Take the registers that evidence states, to be compared; it tells no steps."""
    whole = bytes(data[:MAX_EVIDENCE])
    try:
        platform = platforms.detect(whole)
    except UnsupportedEvidence:
        raise ConfigurationError("measure-unknown", path=path) from None
    names = {register.name.replace("_", ""): register for register in platform.registers}
    registers = {}
    for view in platform.views(platform.parse(whole)):
        register = names.get(view.name.removeprefix("report.").replace("pcrs.", "pcr").replace("_", ""))
        if register is not None and register.size >= _DIGEST and len(view.value) == 2 * register.size:
            registers[register.name] = bytes.fromhex(view.value)
    return Measured(platform.name, path, Measurement(registers, ()), _UNVERIFIED)


def _eif(path: str, data: memoryview, given: Given) -> Measured:
    """Measure an enclave image. One whose signature does not hold has registers as well."""
    from nacre.platforms.nitro import eif  # noqa: PLC0415 (as above)
    from nacre.platforms.nitro.eif_sign import check_signature, read_signature  # noqa: PLC0415 (as above)
    from nacre.platforms.nitro.measure import measure  # noqa: PLC0415 (as above)

    image = eif.parse(data)
    measurement = measure(image, together=threads)
    warning, signature = "", read_signature(image)
    try:
        if signature is not None:
            check_signature(signature, pcr0=measurement.registers["pcr0"], at=int(time.time()))
    except (MalformedEvidence, VerificationError) as error:
        warning = str(error)
    return _fitting(Measured("nitro", path, _with_parent(measurement, given), warning), given)


def _with_parent(measurement: Measurement, given: Given) -> Measurement:
    from nacre.platforms.nitro.measure import parent  # noqa: PLC0415 (as above)

    further = parent(role=given.role, instance=given.instance)
    return Measurement({**measurement.registers, **further.registers}, (*measurement.parts, *further.parts))


def _log(data: bytes, given: Given) -> tuple[str, Measurement]:
    """Replay a log. A TD's has SHA-384 alone, a TPM's has SHA-256 as well."""
    from nacre.platforms.tpm import eventlog  # noqa: PLC0415 (as above)

    log = eventlog.parse(data, padded=True)
    if given.tee == "tdx" or (not given.tee and given.bank not in log.algorithms):
        from nacre.platforms.tdx.ccel import explained  # noqa: PLC0415 (as above)

        return "tdx", explained(log)
    from nacre.platforms.tpm.replay import replay  # noqa: PLC0415 (as above)

    return "tpm", replay(log, algorithm=given.bank)


def _folder(path: Path, given: Given) -> Measured:
    """Take the parts from a folder that ``nacre build`` wrote, or a release of dstack's, or an image."""
    from nacre.build import dstack_image, oci_records, outputs  # noqa: PLC0415 (as above)

    if (path / oci_records.LAYOUT_FILE).is_file():
        return _fitting(Measured("container", str(path), _container(path)), given)
    if (path / dstack_image.METADATA).is_file():
        return _dstack(path, given)
    tee = _need(given.tee, "--tee")
    if tee == "nitro":
        return measured(str(path / outputs.EIF), given)
    if tee == "sgx":
        found = sorted((path / outputs.GRAMINE).glob(f"*{_MANIFEST}"))
        return measured(str(found[0] if found else path / outputs.GRAMINE / _MANIFEST), given)
    line = _mapped(str(path / outputs.COMMAND_LINE)) if given.command_line is None else None
    firmware = outputs.FIRMWARE.get("tdx" if tee == "tdx" else "snp", "")
    parts = msgspec.structs.replace(
        given,
        firmware=given.firmware or str(path / firmware),
        kernel=given.kernel or str(path / outputs.KERNEL),
        initrd=given.initrd or (str(path / outputs.INITRD),),
        command_line=given.command_line if line is None else bytes(line).decode(errors="replace"),
    )
    return Measured(tee, str(path), _parts(parts))


def _container(path: Path) -> Measurement:
    from nacre.build import measured_image  # noqa: PLC0415 (as above)

    return measured_image.measured(path)


def _dstack(path: Path, given: Given) -> Measured:
    from nacre.build import dstack_image  # noqa: PLC0415 (as above)

    image = dstack_image.read(path)
    parts = msgspec.structs.replace(
        given,
        firmware=str(image.firmware),
        kernel=str(image.kernel),
        initrd=(str(image.initrd),),
        command_line=image.command_line,
    )
    known, name = _tdx(parts), "os_image_hash"
    listed = Part(
        register=name, label="sha256sum.txt", input="list of files", size=image.size, digest=image.digest
    )
    found = Measurement({**known.registers, name: image.digest}, (*known.parts, listed))
    return _fitting(Measured("tdx", str(path), found), given)


def _gramine(manifest: bytes, given: Given) -> Measurement:
    from nacre.build.gramine import Gramine  # noqa: PLC0415 (as above)
    from nacre.platforms.sgx.gramine import measure  # noqa: PLC0415 (as above)

    runtime = Gramine.load(Path(given.gramine))
    return measure(manifest, library=runtime.library, constants=runtime.constants)


def _parts(given: Given) -> Measurement:
    tee = _need(given.tee, "--tee")
    if tee == "nitro":
        return _nitro(given)
    if tee == "tdx":
        return _tdx(given)
    if tee in ("snp", "sev", "sev-es"):
        return _sev(tee, given)
    raise ConfigurationError("measure-option", option="FILE")


def _nitro(given: Given) -> Measurement:
    from nacre.platforms.nitro.eif_write import Parts, assemble  # noqa: PLC0415 (as above)

    parts = Parts(
        kernel=_mapped(_need(given.kernel, "--kernel")),
        command_line=_need(given.command_line, "--cmdline").encode(),
        ramdisks=tuple([_mapped(path) for path in _need(given.initrd, "--initrd")]),
        metadata=None,
    )
    return _with_parent(assemble(parts, together=threads).measurement, given)


def _sev(tee: str, given: Given) -> Measurement:
    from nacre.platforms.snp.cpus import signature  # noqa: PLC0415 (as above)
    from nacre.platforms.snp.firmware import read_firmware  # noqa: PLC0415 (as above)
    from nacre.platforms.snp.hashes import Loaded  # noqa: PLC0415 (as above)
    from nacre.platforms.snp.measure import Launch, measure, measure_sev  # noqa: PLC0415 (as above)

    firmware = read_firmware(bytes(_mapped(_need(given.firmware, "--firmware"))))
    loaded = None
    if given.kernel:
        loaded = Loaded.of(
            kernel=_mapped(given.kernel),
            initrd=_initrd(given),
            command_line=given.command_line or "",
            together=threads,
        )
    if tee == "sev":
        return measure_sev(firmware, Launch(), es=False, loaded=loaded)
    model = signature(_need(given.cpu_type, "--cpu-type")) if given.host == "qemu" else 0
    launch = Launch(
        cpus=_need(given.cpus, "--cpus"), signature=model, features=given.features, host=given.host
    )
    if tee == "sev-es":
        return measure_sev(firmware, launch, es=True, loaded=loaded)
    return measure(firmware, launch, loaded=loaded)


def _tdx(given: Given) -> Measurement:
    from nacre.platforms.tdx import ccel  # noqa: PLC0415 (as above)
    from nacre.platforms.tdx.measure import measure, qemu  # noqa: PLC0415 (as above)
    from nacre.platforms.tdx.mrtd import mrtd  # noqa: PLC0415 (as above)

    firmware = bytes(_mapped(_need(given.firmware, "--firmware")))
    version = _need(given.qemu, "--qemu")
    if not given.kernel:
        return mrtd(firmware, order=qemu(version, memory=0).order)
    boot = qemu(version, memory=_need(given.memory, "--memory") * _MIB)
    if given.acpi:
        boot = ccel.learned(ccel.replay(_mapped(given.acpi)), boot)
    return measure(
        firmware=firmware,
        kernel=bytes(_mapped(given.kernel)),
        initrd=bytes(_initrd(given)),
        command_line=given.command_line or "",
        boot=boot,
    )


def _initrd(given: Given) -> memoryview:
    if len(given.initrd) > 1:
        raise ConfigurationError("measure-initrds", actual=len(given.initrd), tee=given.tee)
    return _mapped(given.initrd[0]) if given.initrd else memoryview(b"")


def _need(value: _T | None, option: str) -> _T:
    if value is None or value in ("", ()):
        raise ConfigurationError("measure-option", option=option)
    return value


def _mapped(path: str) -> memoryview:
    """Map a file: what is measured may be larger than memory."""
    try:
        with Path(path).open("rb") as stream:
            if not Path(path).stat().st_size:
                return memoryview(b"")
            return memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
    except IsADirectoryError:
        raise ConfigurationError("file-is-directory", path=path) from None
    except FileNotFoundError:
        raise ConfigurationError("file-missing", path=path) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigurationError("file-unreadable", path=path, actual=reason) from None
