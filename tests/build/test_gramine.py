# SPDX-License-Identifier: Apache-2.0
"""An image for SGX: the same wherever it lies, every file with its digest, and signed without Gramine."""

import hashlib
import json
import tomllib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from tests.platforms.sgx.gramines import constants, library

from nacre.appraisal.release import Release
from nacre.build import cpio, gramine, image, releases
from nacre.build.app import App, Recipe, Resources
from nacre.build.cpio import Member
from nacre.build.gramine import Enclave, Gramine
from nacre.errors import BuildError
from nacre.platforms.sgx import sigstruct

if TYPE_CHECKING:
    from collections.abc import Callable

APP = App(name="worm", version="1", entry=("python3", "worm.py"), resources=Resources(memory=32, cpus=2))
MEMBERS = (
    cpio.file("usr/bin/python3.11", b"#!", program=True),
    cpio.link("usr/bin/python3", "python3.11"),
    cpio.file("usr/lib/ü]=.so", b"library"),
    cpio.link("lib", "usr/lib"),
    cpio.link("usr/share", "/lib"),
    cpio.link("up", "usr/bin/../bin/./python3"),
    cpio.file("app/worm.py", b"print(1)\n"),
    cpio.file("usr/lib/nacre/modules/00-nsm.ko", b"module"),
    cpio.folder("tmp"),
)
GRAMMAR = Path(__file__).parents[1] / "enclave" / "grammar" / "gramine-manifest.json"
SIMPLE = {"str": str, "bool": bool, "int": int}
RUNTIME = Gramine(libos=b"system calls", library=library(), constants=constants())


def made(members: tuple[Member, ...] = MEMBERS, app: App = APP, **options: Any) -> Enclave:  # noqa: ANN401
    return gramine.build(app, members, gramine=RUNTIME, **options)


@cache
def manifest() -> dict[str, Any]:
    return tomllib.loads(made().manifest.decode())


def known(kind: str, value: Any, grammar: dict[str, Any]) -> bool:  # noqa: ANN401
    """Tell whether Gramine's schema takes a value where this kind of one is due."""
    if kind in SIMPLE:
        return type(value) is SIMPLE[kind]
    mounts, features = grammar["mounts"], grammar["features"]
    kinds: dict[str, Callable[[], bool]] = {
        "strings": lambda: all(isinstance(one, str) for one in value),
        "environment": lambda: all(isinstance(one, str) for one in value.values()),
        "file": lambda: set(value) == set(grammar["file"]),
        "files": lambda: all(set(one) == set(grammar["file"]) for one in value),
        "root": lambda: {*value, "path"} == set(mounts[value["type"]]),
        "mounts": lambda: all(set(one) == set(mounts[one["type"]]) for one in value),
        "features": lambda: all(state in features[one].split("|") for one, state in value.items()),
    }
    return kinds.get(kind, lambda: value in kind.split("|"))()


def check(read: dict[str, dict[str, Any]]) -> None:
    """Refuse what Gramine's schema does not know."""
    grammar = json.loads(GRAMMAR.read_text())
    for section, keys in read.items():
        for key, value in keys.items():
            assert known(grammar["keys"][section][key], value, grammar), key
    assert {"fs", "libos", "loader"} <= set(read)


def test_gramine_knows_every_key() -> None:
    check(manifest())


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("sgx", "debugging", False),
        ("sgx", "debug", "false"),
        ("sgx", "max_threads", True),
        ("sgx", "remote_attestation", "ecdsa"),
        ("loader", "insecure__use_host_env", True),
        ("loader", "insecure__use_cmdline_argv", True),
        ("fs", "mounts", [{"type": "chroot", "path": "/a"}]),
    ],
)
def test_the_schema_refuses(section: str, key: str, value: object) -> None:
    read = tomllib.loads(made().manifest.decode())
    read[section][key] = value
    with pytest.raises((AssertionError, KeyError)):
        check(read)


def test_every_file_has_its_digest_and_its_place_below_the_folder() -> None:
    files = {one["uri"]: one["sha256"] for one in manifest()["sgx"]["trusted_files"]}
    assert files == {
        f"file:{path}": hashlib.sha256(content).hexdigest()
        for path, content in {
            "libsysdb.so": b"system calls",
            "rootfs/app/worm.py": b"print(1)\n",
            "rootfs/up": b"#!",
            "rootfs/usr/bin/python3": b"#!",
            "rootfs/usr/bin/python3.11": b"#!",
            "rootfs/usr/lib/ü]=.so": b"library",
        }.items()
    }
    assert manifest()["loader"]["entrypoint"] == manifest()["sgx"]["trusted_files"][0]


def test_links_to_folders_are_mounted() -> None:
    assert manifest()["fs"]["root"] == {"type": "chroot", "uri": "file:rootfs"}
    assert [(one["type"], one["path"], one["uri"]) for one in manifest()["fs"]["mounts"]] == [
        ("chroot", "/lib", "file:rootfs/usr/lib"),
        ("chroot", "/usr/share", "file:rootfs/usr/lib"),
        ("tmpfs", "/run/nacre", "file:tmp"),
        ("tmpfs", "/tmp", "file:tmp"),  # noqa: S108
    ]


def test_the_host_has_no_say() -> None:
    sgx = manifest()["sgx"]
    assert (sgx["debug"], sgx["remote_attestation"], sgx["file_check_policy"]) == (False, "dcap", "strict")
    assert manifest()["loader"]["argv"] == list(gramine.AGENT)
    assert manifest()["libos"]["entrypoint"] == "/usr/bin/python3"
    for section in manifest().values():
        assert not [key for key in section if "insecure" in key or "allowed" in key]


def test_everything_that_gramines_signer_would_add_is_stated() -> None:
    added = {"trusted_files", "max_threads", "isvprodid", "isvsvn", "remote_attestation", "debug"}
    added |= {"enable_stats", "edmm_enable", "enclave_size", "use_exinfo", "cpu_features"}
    assert added <= manifest()["sgx"].keys()
    assert manifest()["sgx"]["cpu_features"].keys() == {"avx", "avx512", "amx", "mpx", "pkru"}


def test_the_same_files_are_the_same_enclave_in_any_order() -> None:
    assert made(tuple(reversed(MEMBERS))).measurement == made().measurement


@pytest.mark.parametrize(
    "other",
    [
        made((*MEMBERS[:-1], cpio.file("tmp", b""))),
        made((*MEMBERS, cpio.file("more", b""))),
        made(app=msgspec.structs.replace(APP, resources=Resources(memory=300))),
        made(app=msgspec.structs.replace(APP, resources=Resources(cpus=3))),
        made(product=1),
        made(revision=1),
        made(agent=("/usr/bin/python3",)),
    ],
)
def test_what_changes_the_enclave(other: Enclave) -> None:
    assert other.measurement.registers["mrenclave"] != made().measurement.registers["mrenclave"]


def test_another_gramine_is_another_enclave() -> None:
    assert len(RUNTIME.digest) == 32
    for name in ("libos", "library", "constants"):
        other = msgspec.structs.replace(RUNTIME, **{name: getattr(RUNTIME, name) + b"\n"})
        assert other.digest != RUNTIME.digest
    other = msgspec.structs.replace(RUNTIME, libos=b"others")
    changed = gramine.build(APP, MEMBERS, gramine=other)
    assert changed.measurement.registers != made().measurement.registers


def test_what_is_placed_is_what_was_measured(tmp_path: Path) -> None:
    gramine.place(made(), tmp_path)
    assert (tmp_path / "worm.manifest.sgx").read_bytes() == made().manifest
    for one in manifest()["sgx"]["trusted_files"]:
        path = tmp_path / one["uri"].removeprefix("file:")
        assert hashlib.sha256(path.read_bytes()).hexdigest() == one["sha256"]
        assert not path.is_symlink()
    for one in manifest()["fs"]["mounts"][:2]:
        assert (tmp_path / one["uri"].removeprefix("file:")).is_dir()
    assert (tmp_path / "rootfs/usr/bin/python3").stat().st_mode & 0o777 == 0o755
    assert not (tmp_path / "rootfs/usr/lib/nacre").is_file()
    assert (tmp_path / "rootfs/tmp").is_dir()


def test_an_author_signs_it_without_gramine() -> None:
    enclave = made(product=5, revision=6)
    key = rsa.generate_private_key(public_exponent=3, key_size=3072)
    signed = gramine.signature(
        enclave.manifest,
        gramine=RUNTIME,
        modulus=key.public_key().public_numbers().n,
        sign=lambda message: key.sign(message, padding.PKCS1v15(), SHA256()),
        date="20261125",
    )
    found = sigstruct.read(signed)
    shown = found.registers
    for name, value in enclave.measurement.registers.items():
        assert shown[name] == value
    assert not found.debuggable


@pytest.mark.parametrize(
    ("link", "code"),
    [
        (cpio.link("l", "nothing"), "gramine-link"),
        (cpio.link("l", "l"), "gramine-link"),
        (cpio.link("l", "/"), "gramine-link"),
        (cpio.link("l", "app/worm.py/below"), "gramine-link"),
        (cpio.file("usr/bin/python3", b""), "image-twice"),
    ],
)
def test_links_that_lead_nowhere(link: Member, code: str) -> None:
    with pytest.raises(BuildError) as caught:
        made((*MEMBERS, link))
    assert caught.value.code == code


@pytest.mark.parametrize(
    "options",
    [
        {"product": -1},
        {"revision": 1 << 16},
        {"app": msgspec.structs.replace(APP, resources=Resources(cpus=256))},
        {"app": msgspec.structs.replace(APP, resources=Resources(memory=1 << 21))},
        {"agent": ("/usr/bin/python3", "a\nb")},
    ],
)
def test_values_that_no_enclave_has(options: dict[str, Any]) -> None:
    with pytest.raises(BuildError) as caught:
        made(**options)
    assert caught.value.code == "gramine-value"


def test_gramine_is_found_where_it_is_installed(tmp_path: Path) -> None:
    libraries = tmp_path / "lib" / "x86_64-linux-gnu" / "gramine"
    (libraries / "sgx").mkdir(parents=True)
    (libraries / "libsysdb.so").write_bytes(RUNTIME.libos)
    (libraries / "sgx" / "libpal.so").write_bytes(RUNTIME.library)
    python = tmp_path / "lib" / "python3" / "dist-packages"
    python.mkdir(parents=True)
    with pytest.raises(BuildError) as caught:
        Gramine.load(tmp_path)
    assert caught.value.code == "gramine-missing"
    (python / "_graminelibos_offsets.py").write_bytes(RUNTIME.constants)
    assert Gramine.load(tmp_path) == RUNTIME
    (tmp_path / "lib64" / "gramine").mkdir(parents=True)
    (tmp_path / "lib64" / "gramine" / "libsysdb.so").write_bytes(b"another")
    with pytest.raises(BuildError):
        Gramine.load(tmp_path)


def test_a_release_names_the_gramine_that_it_needs(tmp_path: Path) -> None:
    (tmp_path / "nacre.toml").write_text(
        'name = "worm"\nversion = "1"\nentry = ["python3"]\n[build]\ntargets = ["sgx"]\n'
    )
    recipe = Recipe.load(tmp_path)
    enclave, variants = image._enclave(recipe, MEMBERS, RUNTIME)
    text = releases.release_text(recipe.app, {"sgx": variants}, about="a test")
    assert RUNTIME.digest.hex() in text
    (stated,) = Release.parse(text).variants["sgx"]
    assert stated.equal == (("mrenclave", enclave.measurement.registers["mrenclave"]),)
    with pytest.raises(BuildError) as caught:
        image._enclave(recipe, MEMBERS, None)
    assert caught.value.code == "gramine-needed"
