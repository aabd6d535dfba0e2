# SPDX-License-Identifier: Apache-2.0
"""Envelopes are somebody else's bytes: whatever they are, they are read or refused."""

import base64
import gzip
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st
from tests.appraisal.systems.guests import attestation, certificate, rows, served
from tests.platforms.dcap.pki import World, der

from nacre.appraisal import systems
from nacre.appraisal.systems import envelope
from nacre.errors import ConfigurationError, MalformedEvidence, NacreError

_VECTORS = Path(__file__).parents[2] / "vectors"
_QUOTE = World().quote
_DOCUMENT = (_VECTORS / "systems" / "oyster" / "aws_pcr16.bin").read_bytes()
_B64 = base64.b64encode(_QUOTE).decode()


def _json(**members: object) -> bytes:
    return json.dumps(members).encode()


def _tinfoil() -> bytes:
    material = _json(format="https://tinfoil.sh/crypto-material/v1", items=[])
    return _json(
        format="https://tinfoil.sh/predicate/attestation/v3",
        challenge={
            "nonce": "00" * 32,
            "report_data": "",
            "report_data_algorithm": "https://tinfoil.sh/report-data/v1",
        },
        cpu_evidence={
            "format": "https://tinfoil.sh/format/tdx-quote/v1",
            "report_base64": _B64,
            "endorsed": {"crypto_material_hash": hashlib.sha256(material).hexdigest()},
        },
        crypto_material=base64.b64encode(material).decode(),
        device_evidence="",
        collateral=[],
    )


def _named() -> dict[str, bytes]:
    name = f"{_DOCUMENT.hex()}.worm.cages.evervault.com"
    return {"2.5.29.17": x509.SubjectAlternativeName([x509.DNSName(name)]).public_bytes()}


_TOLD = _json(attestation_evidence={"quote": _B64, "platform": {"attestation_type": "gcp-tdx"}})
_GZIP = base64.b64encode(gzip.compress(_QUOTE)).decode()
#: System to an envelope of it that is read.
_GOOD: Mapping[str, bytes] = {
    "flashbots": certificate({"1.3.6.1.4.1.62397.1.8": der(0x04, attestation(_TOLD))}),
    "atlas": b'{"quote": ' + served(_QUOTE, rows()) + b"}",
    "oyster": _DOCUMENT,
    "contrast": certificate({"1.3.9901.2.2": base64.b64encode(_QUOTE)}),
    "tinfoil": _tinfoil(),
    "secretvm": _QUOTE.hex().encode(),
    "nilcc": _json(raw_report="00" * 1184, environment={"nilcc_version": "1"}),
    "coco": (_VECTORS / "systems" / "coco" / "snp-genoa.json").read_bytes(),
    "evervault": certificate(_named()),
}
_MORE: Mapping[str, bytes] = {
    "tinfoil": _json(format="https://tinfoil.sh/predicate/tdx-guest/v2", body=_GZIP),
    "coco": _json(
        **{
            "runtime-data": {"nonce": "AAAA" * 10 + "AAA=", "tee-pubkey": {}},
            "tee-evidence": {"quote": _B64},
        },
    ),
}
_SAMPLES = [pytest.param(name, data, id=name) for name, data in (*_GOOD.items(), *_MORE.items())]


def _only_refuses(name: str, data: bytes) -> None:
    try:
        opened = envelope.unwrap(data, name=name, given={})
    except NacreError as error:
        assert str(error)  # noqa: PT017 (most of them are refused, and that is what is asked)
    else:
        assert isinstance(opened.evidence, bytes)
    system = systems.recognise(data)
    assert system is None or system.name in systems.names()


@pytest.mark.parametrize(("name", "data"), _SAMPLES)
def test_sample_is_read(name: str, data: bytes) -> None:
    envelope.unwrap(data, name=name, given={})
    _only_refuses(name, data)


@pytest.mark.parametrize(("name", "data"), _SAMPLES)
@given(place=st.integers(0, 1 << 16), size=st.integers(0, 64), put=st.binary(max_size=16))
def test_changed_envelopes_are_read_or_refused(
    name: str, data: bytes, place: int, size: int, put: bytes
) -> None:
    place %= len(data)
    _only_refuses(name, data[:place] + put + data[place + size :])


@given(name=st.sampled_from(systems.names()), data=st.binary(max_size=256))
def test_noise_is_read_or_refused(name: str, data: bytes) -> None:
    _only_refuses(name, data)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *(
                        "quote",
                        "event_log",
                        "raw_report",
                        "environment",
                        "attestation_report",
                        "runtime-data",
                    ),
                    *(
                        "tee-evidence",
                        "format",
                        "body",
                        "crypto_material",
                        "enclaveAttestationReport",
                        "nonce",
                    ),
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(name=st.sampled_from([*_GOOD, "dstack"]), value=_JSON)
def test_other_json_is_read_or_refused(name: str, value: object) -> None:
    _only_refuses(name, json.dumps(value).encode())


@given(document=st.binary(max_size=256) | _JSON.map(lambda value: json.dumps(value).encode()))
def test_documents_of_users_are_read_or_refused(document: bytes) -> None:
    for name, part in (("oyster", "init-params"), ("atlas", "certificate")):
        try:
            envelope.unwrap(_GOOD[name], name=name, given={part: document})
        except NacreError as error:
            assert str(error)  # noqa: PT017 (as above)


def test_part_that_came_in_the_envelope_is_evidence() -> None:
    """A nonce of another size is the guest's fault if it sent it, and the verifier's if he gave it."""
    data = _MORE["coco"].replace(b"AAAA" * 10 + b"AAA=", b"")
    with pytest.raises(MalformedEvidence) as malformed:
        envelope.unwrap(data, name="coco", given={})
    assert malformed.value.code == "binding-part"
    with pytest.raises(ConfigurationError) as configured:
        envelope.unwrap(data, name="coco", given={"nonce": b""})
    assert configured.value.code == "binding-part"


@given(parts=st.lists(st.binary(max_size=80), min_size=4, max_size=4))
def test_parts_of_any_form_are_computed_or_refused(parts: list[bytes]) -> None:
    for layout in systems.layouts():
        try:
            fields = layout.compute(dict(zip(layout.parts, parts, strict=False)))
        except NacreError as error:
            assert error.code  # noqa: PT017 (as above)
        else:
            assert fields.data is None or len(fields.data) in range(129)
