# SPDX-License-Identifier: Apache-2.0
"""``openapi.json`` is the interface: its paths are the router's, its shapes the records'."""

import msgspec
import pytest

from nacre.enclave import envelope
from nacre.enclave.agent import api, enclave, routing

_FILE = routing.__file__.replace("agent/routing.py", "openapi.json")
_SHAPES = {
    "/v1/info": (None, enclave.Info),
    "/v1/evidence": (api.EvidenceRequest, envelope.Answer),
    "/v1/evidence/raw": (api.RawRequest, api.RawEvidence),
    "/v1/events": (api.EventRequest, api.Logged),
    "/v1/keys/derive": (api.DeriveRequest, api.Derived),
    "/v1/sign": (api.SignRequest, api.Signed),
    "/v1/seal": (api.SealRequest, api.Sealed),
    "/v1/unseal": (api.UnsealRequest, api.Unsealed),
}


class _Reference(msgspec.Struct):
    ref: str = msgspec.field(name="$ref")


class _Schema(msgspec.Struct):
    schema: _Reference


class _Body(msgspec.Struct):
    content: dict[str, _Schema]

    def shape(self) -> str:
        return self.content["application/json"].schema.ref.rpartition("/")[2]


class _Operation(msgspec.Struct):
    summary: str
    responses: dict[str, _Body]
    request: _Body | None = msgspec.field(name="requestBody", default=None)


class _Components(msgspec.Struct):
    schemas: dict[str, object]


class _Document(msgspec.Struct):
    openapi: str
    paths: dict[str, dict[str, _Operation]]
    components: _Components


@pytest.fixture(scope="module")
def document() -> _Document:
    with open(_FILE, "rb") as file:  # noqa: PTH123 (bytes of one file)
        return msgspec.json.decode(file.read(), type=_Document)


def test_shapes_are_those_of_the_records(document: _Document) -> None:
    kinds = [kind for pair in _SHAPES.values() for kind in pair if kind is not None]
    _, components = msgspec.json.schema_components(
        [*kinds, routing.Refusal], ref_template="#/components/schemas/{name}"
    )
    assert document.components.schemas == msgspec.to_builtins(components)


def test_each_operation_takes_and_gives_its_record(document: _Document) -> None:
    assert set(document.paths) == set(_SHAPES)
    for path, (asked, given) in _SHAPES.items():
        (operation,) = document.paths[path].values()
        assert operation.responses["200"].shape() == given.__name__
        assert operation.responses["default"].shape() == "Refusal"
        assert (operation.request.shape() if operation.request else None) == (
            asked.__name__ if asked else None
        )
