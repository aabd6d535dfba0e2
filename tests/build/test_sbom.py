# SPDX-License-Identifier: Apache-2.0
"""Bills of materials: by the format's own schema, the same for the same image, and complete."""

import importlib.resources
import json
import re
from collections.abc import Mapping
from typing import Any

import jsonschema
import msgspec
import pytest
import referencing
from packageurl import PackageURL

from nacre.build.components import Component, Kind, of_lock, once
from nacre.build.debian.index import Snapshot
from nacre.build.lock import Deb, Kernel, Lock, Module, Wheel
from nacre.build.sbom import encode

_A, _B = "0a" * 32, "0b" * 32
_LOCK = Lock(
    recipe=_A,
    agent=_A,
    nacre="0",
    python="3.11",
    snapshots=(),
    packages=(
        Deb(
            name="ovmf",
            version="2025.02-8",
            sha256=_B,
            size=1,
            source="edk2",
            path="ovmf_all.deb",
            use="firmware",
        ),
        Deb(
            name="libstdc++6",
            version="1:12.2.0-14+deb12u1",
            sha256=_A,
            size=1,
            source="gcc-12",
            path="pool/main/g/gcc-12/libstdc++6_12.2.0-14+deb12u1_amd64.deb",
            use="libraries",
        ),
    ),
    wheels=(
        Wheel(name="Typing_Extensions", version="4.1", sha256=_A, size=1, file="t.whl", use="agent"),
        Wheel(name="Typing_Extensions", version="4.1", sha256=_A, size=1, file="t.whl", use="app"),
    ),
    modules=(
        Module(name="@Scope/left", version="1.0.0", sha256=_A, size=1, place="n", integrity="i", path="p"),
        Module(name="@Scope/left", version="1.0.0", sha256=_A, size=1, place="m", integrity="i", path="p"),
    ),
    kernel=Kernel(name="linux", version="6.12.1", sha256=_A, size=1, config=_A, config_size=1, tools="gcc"),
)


def _bill(components: tuple[Component, ...], **more: int) -> Mapping[str, Any]:
    data = encode(name="worm", version="1.0", digest=bytes(32), components=components, nacre="0.1", **more)
    assert data.endswith(b"}\n")
    return json.loads(data)  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def schema() -> jsonschema.Draft7Validator:
    """CycloneDX's own, as its own library ships it."""
    folder = importlib.resources.files("cyclonedx.schema._res")
    documents = {
        name: json.loads((folder / f"{name}.SNAPSHOT.schema.json").read_text())
        for name in ("bom-1.6", "spdx", "jsf-0.82")
    }
    registry: referencing.Registry[Any] = referencing.Registry().with_resources(
        (document["$id"], referencing.Resource.from_contents(document)) for document in documents.values()
    )
    return jsonschema.Draft7Validator(documents["bom-1.6"], registry=registry)


@pytest.mark.parametrize(
    "licence", ["", "Apache-2.0", "(MIT OR Apache-2.0) AND BSD-3-Clause", "as in the file"]
)
@pytest.mark.parametrize("more", [{}, {"epoch": 1700000000}])
def test_the_formats_own_schema(
    schema: jsonschema.Draft7Validator, licence: str, more: dict[str, int]
) -> None:
    listed = tuple(msgspec.structs.replace(one, licence=licence) for one in of_lock(_LOCK))
    file = Component(kind="file", name="etc/motd", version="", sha256=_A)
    bill = _bill((*listed, file), **more)
    assert [error.message for error in schema.iter_errors(bill)] == []
    assert [error.message for error in schema.iter_errors({**bill, "specVersion": 2})]


def test_what_a_lock_takes() -> None:
    assert [(one.kind, one.name, one.uses) for one in of_lock(_LOCK)] == [
        ("deb", "libstdc++6", ("libraries",)),
        ("file", "nacre agent", ("agent",)),
        ("firmware", "ovmf", ("firmware",)),
        ("kernel", "linux", ("kernel",)),
        ("npm", "@Scope/left", ("app",)),
        ("wheel", "Typing_Extensions", ("agent", "app")),
    ]
    assert of_lock(msgspec.structs.replace(_LOCK, kernel=None))[3].kind == "npm"


def test_names_that_databases_know() -> None:
    assert [one.purl for one in of_lock(_LOCK)] == [
        "pkg:deb/debian/libstdc%2B%2B6@1:12.2.0-14%2Bdeb12u1?arch=amd64",
        "",
        "pkg:deb/debian/ovmf@2025.02-8?arch=all",
        "pkg:generic/linux@6.12.1",
        "pkg:npm/%40scope/left@1.0.0",
        "pkg:pypi/typing-extensions@4.1",
    ]
    for one in of_lock(_LOCK)[2:]:
        assert PackageURL.from_string(one.purl).to_string() == one.purl


def test_the_release_of_debian_is_named_where_there_is_one() -> None:
    suites = [
        Snapshot(suite=name, date="", sha256=_A) for name in ("bookworm", "bookworm-security", "trixie")
    ]
    one = of_lock(msgspec.structs.replace(_LOCK, snapshots=tuple(suites[:2])))
    assert one[0].purl.endswith("?arch=amd64&distro=bookworm")
    assert PackageURL.from_string(one[0].purl).to_string() == one[0].purl
    assert of_lock(msgspec.structs.replace(_LOCK, snapshots=tuple(suites)))[0].purl.endswith("?arch=amd64")


def test_a_bill_names_each_thing_once_with_its_digest() -> None:
    bill = _bill(of_lock(_LOCK))
    refs = [one["bom-ref"] for one in bill["components"]]
    assert len(set(refs)) == len(refs) == 6
    assert bill["dependencies"][0] == {"ref": "worm@1.0", "dependsOn": refs}
    assert {one["ref"] for one in bill["dependencies"]} == {"worm@1.0", *refs}
    assert bill["components"][2]["hashes"] == [{"alg": "SHA-256", "content": _B}]
    assert bill["components"][2]["properties"] == [
        {"name": "nacre:source", "value": "edk2"},
        {"name": "nacre:use", "value": "firmware"},
    ]
    assert bill["metadata"]["component"]["hashes"] == [{"alg": "SHA-256", "content": "00" * 32}]
    assert bill["metadata"]["tools"]["components"][0]["version"] == "0.1"


def test_one_name_with_two_contents_is_two_things() -> None:
    one = Component(kind="wheel", name="a", version="1", sha256=_A)
    other = msgspec.structs.replace(one, sha256=_B)
    refs = [found["bom-ref"] for found in _bill(once([other, one, one]))["components"]]
    assert refs == ["pkg:pypi/a@1#0a0a0a0a0a0a0a0a", "pkg:pypi/a@1#0b0b0b0b0b0b0b0b"]


def test_the_same_image_gives_the_same_bytes_and_another_another_number() -> None:
    components = of_lock(_LOCK)
    one, same = (
        encode(name="w", version="1", digest=bytes(32), components=components, nacre="0.1") for _ in range(2)
    )
    assert one == same
    serials = {
        _bill(components)["serialNumber"],
        _bill(components[1:])["serialNumber"],
        _bill(components, epoch=0)["serialNumber"],
    }
    assert len(serials) == 3
    assert all(
        re.fullmatch(r"urn:uuid:[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}", serial) for serial in serials
    )


def test_no_time_unless_asked_for() -> None:
    assert "timestamp" not in _bill(())["metadata"]
    assert _bill((), epoch=0)["metadata"]["timestamp"] == "1970-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        ("MIT", {"expression": "MIT"}),
        ("GPL-2.0-only WITH Linux-syscall-note", {"expression": "GPL-2.0-only WITH Linux-syscall-note"}),
        ("BSD License", {"license": {"name": "BSD License"}}),
        ("MIT\n", {"license": {"name": "MIT\n"}}),
    ],
)
def test_licences(licence: str, expected: object) -> None:
    bill = _bill((Component(kind="wheel", name="a", version="1", sha256=_A, licence=licence),))
    assert bill["components"][0]["licenses"] == [expected]


@pytest.mark.parametrize("kind", ["deb", "file", "firmware", "kernel", "npm", "wheel"])
def test_every_kind_has_a_type(kind: Kind) -> None:
    assert _bill((Component(kind=kind, name="a", version="1", sha256=_A),))["components"][0]["type"]
