# SPDX-License-Identifier: Apache-2.0
"""Every file of the RATS vectors with a result, a token or a key in it: decoded or refused, as labelled."""

import json
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import pytest
from tests.appraisal.diagnostic import encode

from nacre.appraisal import ear_read, opinions
from nacre.appraisal.ear_names import DRAFT_03, PROFILES
from nacre.appraisal.opinions import Expected, Opinion, Shown
from nacre.errors import ConfigurationError, MalformedEvidence, NacreError, UnsupportedEvidence
from nacre.trust.jwk import read_keys

ROOT = Path(__file__).parents[1] / "vectors" / "results"
VERAISON, TRUSTEE, DRAFT_02 = PROFILES[0], PROFILES[1], PROFILES[2]

_IETF = "ear/ietf-draft-ear/draft-ietf-rats-ear"
#: File: form, profile, worst status.
EARS: Mapping[str, tuple[str, str, str]] = {
    f"{_IETF}-00/examples/ear-cbor-1.diag": ("claims", VERAISON, "contraindicated"),
    f"{_IETF}-00/examples/ear-json-1.diag": ("claims", VERAISON, "contraindicated"),
    f"{_IETF}-00/examples/ext-teep-cbor-1.diag": ("claims", VERAISON, "none"),
    f"{_IETF}-00/examples/ext-teep-json-1.diag": ("claims", VERAISON, "contraindicated"),
    f"{_IETF}-00/examples/ext-veraison-cbor-1.diag": ("claims", VERAISON, "none"),
    f"{_IETF}-00/examples/ext-veraison-json-2.diag": ("claims", VERAISON, "affirming"),
    f"{_IETF}-02/examples/ear-cbor-1.diag": ("claims", DRAFT_02, "contraindicated"),
    f"{_IETF}-02/examples/ear-json-1.diag": ("claims", DRAFT_02, "contraindicated"),
    f"{_IETF}-02/examples/ext-teep-cbor-1.diag": ("claims", DRAFT_02, "none"),
    f"{_IETF}-02/examples/ext-veraison-cbor-1.diag": ("claims", DRAFT_02, "none"),
    f"{_IETF}-03/examples/ear-json-1.diag": ("claims", DRAFT_03, "contraindicated"),
    f"{_IETF}-03/examples/ear-json-2.diag": ("claims", DRAFT_03, "affirming"),
    f"{_IETF}-03/examples/ext-teep-json-1.diag": ("claims", DRAFT_03, "contraindicated"),
    f"{_IETF}-03/examples/ext-veraison-json-1.diag": ("claims", DRAFT_03, "contraindicated"),
    f"{_IETF}-03/examples/ext-veraison-json-2.diag": ("claims", DRAFT_03, "affirming"),
    "ear/trustee/example.token.json": ("claims", TRUSTEE, "contraindicated"),
    "ear/veraison-arc/ear-claims-extension-ok.json": ("claims", VERAISON, "affirming"),
    "ear/veraison-arc/ear-claims-key-attestation-ok.json": ("claims", VERAISON, "affirming"),
    "ear/veraison-arc/ear-claims-tv-ok.json": ("claims", VERAISON, "affirming"),
    "ear/veraison-arc/ear-claims.json": ("claims", VERAISON, "affirming"),
    "ear/veraison-arc-vars/testMiniClaimsSet.json": ("claims", VERAISON, "affirming"),
    "ear/veraison-arc-vars/testJWT.jwt": ("JWT", VERAISON, "affirming"),
    "ear/veraison-arc-vars/testJWT_JWK.jwt": ("JWT", VERAISON, "affirming"),
    "ear/veraison-arc-vars/testRealmJWT.jwt": ("JWT", TRUSTEE, "affirming"),
    "ear/veraison-ear_test/token1.jwt": ("JWT", VERAISON, "affirming"),
}
_RESULTS = "ear/veraison-services-results"
#: File: worst status. These hold the submodules only.
SUBMODULES: Mapping[str, str] = {
    f"{_RESULTS}/cca.freshness-fail.json": "contraindicated",
    f"{_RESULTS}/cca.verify-challenge.json": "affirming",
    f"{_RESULTS}/enacttrust.badnode.json": "contraindicated",
    f"{_RESULTS}/enacttrust.good.json": "affirming",
    f"{_RESULTS}/psa.badcrypto.json": "contraindicated",
    f"{_RESULTS}/psa.badswcomp.json": "warning",
    f"{_RESULTS}/psa.freshness-fail.json": "contraindicated",
    f"{_RESULTS}/psa.good.json": "affirming",
}
_CLAIMS = "tokens/nvidia-nvtrust-claims"
_EAT = "eat/ietf"
#: File: kind, form, a claim, its value. None of them is an EAR.
TOKENS: Mapping[str, tuple[str, str, str, object]] = {
    "ear/veraison-ear_test/token2.jwt": ("", "JWT", "status", "affirming"),
    "tokens/azure-maa/sev-snp.jwt": ("maa", "JWT", "x-ms-attestation-type", "sevsnpvm"),
    "tokens/nvidia-nras/hopperClaimsv3_detached_eat.json": ("nras", "bundle", "x-nvidia-ver", "3.0"),
    f"{_CLAIMS}/gpu_detached_granular_claims_remote.json": ("", "claims", "measres", "success"),
    f"{_CLAIMS}/gpu_overall_claims_remote.json": ("nras", "claims", "x-nvidia-ver", "2.0"),
    f"{_CLAIMS}/gpu_overall_granular_claims_local.json": ("nras", "claims", "iss", "LOCAL_GPU_VERIFIER"),
    f"{_CLAIMS}/gpu_overall_granular_claims_remote.json": ("nras", "claims", "x-nvidia-ver", "3.0"),
    f"{_CLAIMS}/switch_detached_granular_claims_remote.json": ("", "claims", "measres", "success"),
    f"{_CLAIMS}/switch_overall_claims_local.json": ("nras", "claims", "iss", "LOCAL_SWITCH_VERIFIER"),
    f"{_CLAIMS}/switch_overall_claims_remote.json": ("nras", "claims", "x-nvidia-ver", "2.0"),
    f"{_CLAIMS}/switch_overall_granular_claims_local.json": ("nras", "claims", "x-nvidia-ver", "3.0"),
    f"{_CLAIMS}/switch_overall_granular_claims_remote.json": ("nras", "claims", "x-nvidia-ver", "3.0"),
    f"{_EAT}/Example-Payloads/audio_ss.json": ("", "claims", "swname", "Audio Processor OS"),
    f"{_EAT}/Example-Payloads/graphics_ss.json": ("", "claims", "oemid", 75000),
    f"{_EAT}/Example-Payloads/main_token_claims.json": ("", "claims", "eat_nonce", "yu76NN8IuV6e"),
    f"{_EAT}/Example-Payloads/simple.diag": ("", "claims", "dbgstat", 3),
    f"{_EAT}/Example-Payloads/simple.json": ("", "claims", "swversion", "3.1.4"),
    f"{_EAT}/Example-Payloads/valid_hw_block2.diag": ("", "claims", "hwversion", ["3.1", 1]),
    f"{_EAT}/Example-Payloads/valid_iot.diag": ("", "claims", "eat_nonce", "Xhn7pEg8eJY"),
    f"{_EAT}/Example-Payloads/valid_results.json": ("", "claims", "swname", "Acme R-IoT-OS"),
    f"{_EAT}/Example-Payloads/valid_submods.diag": ("", "claims", "swname", "Acme OS"),
    f"{_EAT}/Example-Tokens/deb.json": ("", "bundle", "eat_nonce", "yu76NN8IuV6e"),
    f"{_EAT}/Example-Tokens/valid_cwt.diag": ("", "CWT", "oemid", 64242),
}
#: Files that are no token, and what is not there.
STRANGERS = {
    "ear/veraison-arc-vars/testEmptyClaimsSet.json": {},
    "ear/ietf-draft-ear/opa-example.json": {"ear_token", "trusted_verifiers"},
    "ear/trustee/e2e-evidence.json": {"attestation_report", "cert_chain"},
    "tokens/nvidia-nras/hopperClaimsv3_decoded.json": {"GPU-0"},
}
#: File: reason code.
REFUSED: Mapping[str, str] = {
    "ear/veraison-arc/ear-claims-key-attestation-ko.json": "ear-claim",
    "ear/veraison-ear_test/token6.jwt": "jws-form",  # something follows the token
    f"{_CLAIMS}/gpu_overall_claims_local.json": "json-duplicate-key",
    # A CoSWID is a tag of its own, no claims set.
    f"{_EAT}/Example-Payloads/coswid/hlos.diag": "cbor-item",
    f"{_EAT}/Example-Payloads/coswid/iot-sw.diag": "cbor-item",
    f"{_EAT}/Example-Payloads/coswid/key-store.diag": "cbor-item",
}
_KEYS = "keys/veraison-services"
#: File: keys, anchors; or the reason code.
KEYS: Mapping[str, tuple[int, int] | str] = {
    "ear/veraison-arc/pkey.json": (1, 0),
    "ear/veraison-arc/skey.json": "keys-private",
    "ear/veraison-arc-vars/testPKey.json": (1, 0),
    "ear/veraison-arc-vars/testSKey.json": "keys-private",
    f"{_KEYS}/certs_endEntity.der": (1, 0),
    f"{_KEYS}/certs_endEntity.jwk": "keys-private",
    f"{_KEYS}/certs_intermediateCA.der": (0, 1),
    f"{_KEYS}/ec.p256.alt.jwk": "keys-private",
    f"{_KEYS}/ec.p256.enacttrust.pem": "keys-private",
    f"{_KEYS}/ec.p256.jwk": "keys-private",
    f"{_KEYS}/ec.p384.jwk": "keys-private",
    f"{_KEYS}/verifier.jwk": (1, 0),
}


def _read(name: str) -> bytes:
    data = (ROOT / name).read_bytes()
    if name.endswith(".diag") and not name.startswith(("ear/ietf", "x")):
        return encode(data.decode())
    if name.endswith(".diag") and "cbor" in name:
        return encode(data.decode())
    return data.strip()


def _shown(name: str) -> Shown:
    return opinions.show(_read(name))


def test_the_tables_are_complete() -> None:
    there = {
        path.relative_to(ROOT).as_posix()
        for folder in ("ear", "tokens", "eat", "keys")
        for path in (ROOT / folder).rglob("*")
        if path.is_file()
    }
    tables = [EARS, SUBMODULES, TOKENS, STRANGERS, REFUSED, KEYS]
    assert there == set().union(*tables)
    assert sum(map(len, tables)) == len(there)


def test_the_copy_is_the_collection(vectors: Path) -> None:
    shared = vectors / "rats"
    if not (shared / "corim").is_dir():
        pytest.skip("the shared collection is not beside this checkout")
    for folder in ("ear", "tokens", "eat", "keys"):
        for path in (shared / folder).rglob("*"):
            if path.is_file():
                assert (ROOT / path.relative_to(shared)).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("name", EARS)
def test_attestation_results_are_read(name: str) -> None:
    form, profile, worst = EARS[name]
    shown = _shown(name)
    assert (shown.kind, shown.form) == ("ear", form)
    data = _read(name)
    if form == "JWT":
        reading = ear_read.read_json(urlsafe_b64decode(data.split(b".")[1] + b"=="))
    else:
        reading = ear_read.read_cbor(data) if "cbor" in name else ear_read.read_json(data)
    assert (reading.profile, reading.worst) == (profile, worst)
    assert ear_read.better_than_part(reading) is None
    assert reading.developer
    assert reading.issued_at > 1_600_000_000
    assert all(submod.policies for submod in reading.submods.values())
    if form == "claims":
        with pytest.raises(MalformedEvidence) as raised:
            opinions.kind_of(data)
        assert raised.value.code == "token-unsigned"


@pytest.mark.parametrize("name", SUBMODULES)
def test_services_results_are_read(name: str) -> None:
    reading = ear_read.read(
        {
            "eat_profile": VERAISON,
            "iat": 1,
            "ear.verifier-id": {"developer": "d", "build": "b"},
            "submods": json.loads(_read(name)),
        }
    )
    assert reading.worst == SUBMODULES[name]
    assert ear_read.better_than_part(reading) is None


@pytest.mark.parametrize("name", TOKENS)
def test_other_tokens_are_shown(name: str) -> None:
    kind, form, claim, value = TOKENS[name]
    shown = _shown(name)
    assert (shown.kind, shown.form, shown.claims[claim]) == (kind, form, value)
    if not kind and form != "claims":
        with pytest.raises(UnsupportedEvidence) as raised:
            opinions.kind_of(_read(name))
        assert raised.value.code == "token-kind"
    if form == "bundle":
        assert shown.parts.keys() == shown.claims["submods"].keys()  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", STRANGERS)
def test_what_is_no_token_is_recognised_as_nothing(name: str) -> None:
    shown = _shown(name)
    assert (shown.kind, shown.form) == ("", "claims")
    assert set(STRANGERS[name]) <= shown.claims.keys()


@pytest.mark.parametrize("name", REFUSED)
def test_the_rest_is_refused(name: str) -> None:
    with pytest.raises(MalformedEvidence) as raised:
        ear_read.read(_shown(name).claims)
    assert raised.value.code == REFUSED[name]


@pytest.mark.parametrize("name", KEYS)
def test_keys_are_read_or_refused(name: str) -> None:
    expected, data = KEYS[name], (ROOT / name).read_bytes()
    if isinstance(expected, str):
        with pytest.raises(ConfigurationError) as raised:
            read_keys(data)
        assert raised.value.code == expected
    else:
        found = read_keys(data)
        assert (len(found.keys), len(found.anchors)) == expected


def _verify(token: bytes, keys: bytes, at: int, **expected: str) -> Opinion:
    return opinions.verify(token, keys=read_keys(keys), expected=Expected(at=at, max_age=3600, **expected))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name", ["veraison-arc-vars/testJWT", "veraison-arc-vars/testJWT_JWK", "veraison-ear_test/token1"]
)
def test_veraisons_tokens_verify_under_the_pinned_key(name: str) -> None:
    token, keys = _read(f"ear/{name}.jwt"), _read("ear/veraison-arc/pkey.json")
    opinion = _verify(token, keys, 1666091400)
    assert (opinion.said, opinion.issuer, opinion.expires) == ("affirming", "Acme Inc. (rrtrap-v1.0.0)", None)
    other = json.dumps({"keys": [_header(_read("ear/veraison-arc-vars/testRealmJWT.jwt"))["jwk"]]}).encode()
    with pytest.raises(NacreError) as raised:
        _verify(token, other, 1666091400)
    assert raised.value.code == "signature-invalid"


def _header(token: bytes) -> dict[str, object]:
    header = json.loads(urlsafe_b64decode(token.partition(b".")[0] + b"=="))
    assert isinstance(header, dict)
    return header


def test_the_key_in_the_header_counts_only_if_somebody_pins_it() -> None:
    token = _read("ear/veraison-arc-vars/testRealmJWT.jwt")
    pinned = json.dumps(_header(token)["jwk"]).encode()
    opinion = _verify(token, pinned, 1752059200)
    assert [(part.name, part.said) for part in opinion.parts] == [("cpu0", "affirming")]
    with pytest.raises(NacreError) as raised:
        _verify(token, _read("ear/veraison-arc/pkey.json"), 1752059200)
    assert raised.value.code == "signature-invalid"


def test_the_drafts_token_has_a_time_with_a_point() -> None:
    example = json.loads(_read("ear/ietf-draft-ear/opa-example.json"))
    token = example["ear_token"].encode()
    opinion = opinions.verify(
        token,
        keys=read_keys(json.dumps(example["trusted_verifiers"]).encode()),
        expected=Expected(at=1677247879),
    )
    assert (opinion.issued_at, opinion.subject) == (1666529184, "PARSEC_TPM")
    assert b"1.666529184e+09" in urlsafe_b64decode(token.split(b".")[1] + b"==")


def _cases(root: Path, name: str) -> list[Path]:
    return sorted(
        path.parent
        for area in ("nvidia-nras", "gcp-confidential-space")
        for path in root.glob(f"{area}/*/{name}")
    )


@pytest.mark.parametrize("case", _cases(ROOT / "opinions", "expected.json"), ids=lambda case: case.name)
def test_cases_agree(case: Path) -> None:
    _agree(case, json.loads((case / "expected.json").read_bytes()))


def test_shared_cases_agree(vectors: Path) -> None:
    cases = _cases(vectors, "case.json")
    if not cases:
        pytest.skip("the shared collection is not beside this checkout")
    for case in cases:
        _agree(case, json.loads((case / "case.json").read_bytes()))


def _agree(folder: Path, case: dict[str, dict[str, object]]) -> None:
    collateral, policy, expected = case["collateral"], case["policy"], case["expected"]
    keys = read_keys((folder / str(collateral.get("jwks") or collateral["root"])).read_bytes())
    demanded = Expected(
        at=int(datetime.fromisoformat(str(case["time"])).timestamp()),
        issuers=(str(policy["issuer"]),),
        audience=policy.get("audience"),  # type: ignore[arg-type]
        nonce=bytes.fromhex(str(policy["nonce"])),
    )
    token = (folder / str(case["evidence"])).read_bytes()
    codes = {
        "digest": "nras-devices",
        "time": "token-expired",
        "issuer": "token-issuer",
        "chain": "chain-anchor",
    }
    if expected["verdict"] == "pass":
        opinion = opinions.verify(token, keys=keys, expected=demanded)
        overall = expected["claims"].get("overall", expected["claims"])  # type: ignore[attr-defined]
        assert opinion.claims == overall
        assert {part.name: part.claims for part in opinion.parts} == expected["claims"].get("devices", {})  # type: ignore[attr-defined]
        assert not [check for check in opinion.checks if check.status == "warn"]
        return
    with pytest.raises(NacreError) as raised:
        opinions.verify(token, keys=keys, expected=demanded)
    assert raised.value.code == codes[str(expected["stage"])]
