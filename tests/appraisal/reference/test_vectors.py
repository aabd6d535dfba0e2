# SPDX-License-Identifier: Apache-2.0
"""Every file of other implementations is read, or refused for what its name or origin says is wrong."""

from base64 import urlsafe_b64decode
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.appraisal.reference import edn

from nacre.appraisal.reference import cmw, comid, corim, coserv, profiles, shapes, showing, signed, templates
from nacre.appraisal.reference.convert import Given, read
from nacre.appraisal.reference.corim import Corim
from nacre.errors import MalformedEvidence, NacreError, UnsupportedEvidence
from nacre.trust import cbor, json
from nacre.trust.cbor import Tag
from nacre.trust.jwk import read_keys

_RATS = Path(__file__).parents[2] / "vectors" / "rats"
_SCHEMES = "corim/veraison-services-schemes"

#: What is evidence or claims, keys or sources of other files, and no document of reference values.
_OTHERS = {".yaml", ".jwk", ".md", ".txt"}
#: Manifests that nobody refuses, and evidence beside them, in this order.
_NO_MANIFEST = {
    "corim/veraison-end-to-end/cca-evidence.cbor": "a token of Arm CCA",
    "corim/veraison-end-to-end/psa-evidence.cbor": "corim-meta or CWT claims expected, got neither",
    f"{_SCHEMES}/arm-cca/evidence/cca-good.cbor": "a token of Arm CCA",
    f"{_SCHEMES}/parsec-tpm/evidence/evidence.cbor": "no tag",
    f"{_SCHEMES}/sevsnp/evidence/sevsnp-tsm-report.cbor": "no tag",
    # Written to older drafts: no tag 501, tags as bytes, the profile in an array.
    "corim/veraison-provisioning/corim-psa-p2-refvalue.cbor": "no tag",
    "corim/veraison-provisioning/corim-psa-p2-trustanchor.cbor": "no tag",
    "corim/veraison-provisioning/corim-tpm-enacttrust-trustanchor.cbor": "no tag",
    "corim/veraison-services-endorsements/corim-enacttrust-badta.cbor": "no tag",
    **{
        f"corim/veraison-corim/{name}.cbor": "concise evidence"
        for name in (
            "coev/ce-coswid",
            "coev/ce-evidence",
            "coev/ce-identity",
            "coev-tdx/ce-pce-evidence",
            "coev-tdx/ce-qe-evidence",
        )
    },
}
#: Manifests that their profile refuses: the place that is wrong.
_PROFILE_REFUSES = {
    "corim/veraison-corim/profiles-cca/cca-realm-invalid-missing-rim.cbor": "a measurement cca.rim",
    "corim/veraison-corim/profiles-cca/cca-realm-invalid-rim-size.cbor": "32 or 48 or 64 bytes",
    "corim/veraison-corim/profiles-psa/psa-invalid-attest-key.cbor": "attest-key.0.1, an array of 1 to 1",
    "corim/veraison-corim/profiles-psa/psa-invalid-impl-id.cbor": "class-id.560(), 32 bytes",
    **{
        f"{_SCHEMES}/{name}.cbor": place
        for name, place in {
            "arm-cca/corim/corim-cca-platform-bad-no-class": "attest-key.0.0, class (0)",
            "arm-cca/corim/corim-cca-platform-bad-refval-no-digests": "digests (2)",
            "arm-cca/corim/corim-cca-platform-bad-refval-no-raw-value": "raw-value (4)",
            "arm-cca/corim/corim-cca-platform-bad-ta-cert": "attest-key.0.1.0, tag 554",
            "arm-cca/corim/corim-cca-platform-bad-ta-instance": "instance, tag 550",
            "arm-cca/corim/corim-cca-platform-bad-ta-no-instance": "instance (1)",
            "arm-cca/corim/corim-cca-realm-bad-instance": "class-id, tag 560",
            "arm-cca/corim/corim-cca-realm-bad-no-raw-value": "raw-value (4)",
            "parsec-tpm/corim/corim-parsec-tpm-bad-multiple-keys": "attest-key.0.1, an array of 1 to 1",
            "parsec-tpm/corim/corim-parsec-tpm-bad-no-class-id": "class-id (0)",
            "parsec-tpm/corim/corim-parsec-tpm-bad-no-class": "attest-key.0.0, class (0)",
            "parsec-tpm/corim/corim-parsec-tpm-bad-no-digests": "digests (2)",
            "parsec-tpm/corim/corim-parsec-tpm-bad-no-pcr": "mkey (0)",
            "psa-iot/corim/corim-psa-bad-class": "class-id, tag 560",
            "psa-iot/corim/corim-psa-bad-refval-mkey": "'psa.software-component'",
            "psa-iot/corim/corim-psa-bad-refval-mval": "digests (2)",
            "riot/corim/corim-riot-bad-no-vendor": "vendor (1)",
            "riot/corim/corim-riot-bad-refvals": "no key but 3",
            "riot/corim/corim-riot-bad-wrong-vendor": "'Veraison Project'",
            "sevsnp/corim/corim-sevsnp-bad-refval-no-key": "mkey (0)",
            "sevsnp/corim/corim-sevsnp-bad-ta-no-vendor": "vendor (1)",
            "tpm-enacttrust/corim/corim-enacttrust-bad-class": "no key but 1",
            "tpm-enacttrust/corim/corim-enacttrust-bad-instance": "instance, tag 37",
            "tpm-enacttrust/corim/corim-enacttrust-bad-multiple-digests": "digests, an array of 1 to 1",
            "tpm-enacttrust/corim/corim-enacttrust-bad-multiple-keys": "attest-key.0.1, an array of 1 to 1",
            "tpm-enacttrust/corim/corim-enacttrust-bad-multiple-measurements": "reference.0.1, an array",
            "tpm-enacttrust/corim/corim-enacttrust-bad-no-digest": "digests (2)",
        }.items()
    },
}
#: Manifests whose profile nobody here knows, or who have none: they can be shown, and nothing else.
_PROFILE_UNKNOWN = {
    "corim/trustee/unsigned-example-corim.cbor": "http://example.com/example-profile",
    "corim/veraison-corim/profiles-cca/no-profile.cbor": "none",
    "corim/veraison-end-to-end/cca-endorsements.cbor": "http://arm.com/cca/ssd/1",
    "corim/veraison-end-to-end/cca-realm-endorsements.cbor": "http://arm.com/cca/realm/1",
    "corim/veraison-end-to-end/psa-endorsements.cbor": "http://arm.com/psa/iot/1",
    f"{_SCHEMES}/arm-cca/corim/corim-cca-platform-bad-refval-instance.cbor": "http://arm.com/cca/ssd/1",
    **{
        f"corim/veraison-corim/corim/{name}.cbor": profile
        for name, profile in {
            "corim-1": "none",
            "corim-2": "none",
            "corim-design-cd": "2.16.840.1.113741.1.15.6",
            "corim-roles": "none",
            "signed-corim-with-extensions": "http://example.com/test-profile",
            "signed-example-corim": "http://example.com/example-profile",
            "signed-good-corim": "none",
            "unsigned-corim-with-extensions": "http://example.com/test-profile",
            "unsigned-example-corim": "http://example.com/example-profile",
            "unsigned-good-corim": "none",
        }.items()
    },
}
#: Digests of a byte that claim to be SHA-256; veraison's reader takes them.
_SHORT_DIGESTS = {
    "coserv/veraison-corim/rv-class-stateful.cbor",
    "coserv/veraison-corim/rv-class-stateful.diag",
    "coserv/veraison-corim/rv-class-simple-results.b64u",
}
_PROFILES = {
    "arm-cca/corim/src/comid-cca-platform": "tag:arm.com,2025:cca_platform#1.0.0",
    "arm-cca/corim/src/comid-cca-realm": "tag:arm.com,2025:cca_realm#1.0.0",
    "parsec-cca": "tag:github.com/parallaxsecond,2023-03-03:cca",
    "parsec-tpm": "tag:github.com/parallaxsecond,2023-03-03:tpm",
    "psa-iot": "tag:arm.com,2025:psa#1.0.0",
    "sevsnp": "tag:amd.com,2024:snp-corim-profile",
    "tpm-enacttrust": "https://enacttrust.com/veraison/1.0.0",
}


def _files(*patterns: str) -> list[str]:
    found = [path for pattern in patterns for path in _RATS.glob(pattern) if path.is_file()]
    return sorted(path.relative_to(_RATS).as_posix() for path in found)


_MANIFESTS = [name for name in _files("corim/**/*.cbor") if "/comid/" not in name]
_TEMPLATES = _files("corim/**/comid*.json", "corim/**/corim*.json")


def _manifest(octets: bytes) -> Corim:
    return signed.loads(octets).corim if octets[:1] == b"\xd2" else corim.loads(octets)


def test_no_file_is_forgotten() -> None:
    seen = {
        *_MANIFESTS,
        *_TEMPLATES,
        *_files("corim/**/comid/*.cbor", "coserv/**/*", "cmw/**/*", "**/*.diag", "evidence-claims/**/*"),
    }
    evidence = {
        "corim/amd-corim-rs/good-corim.json",
        "corim/amd-corim-rs/meta.json",
        "corim/trustee/nvidia-swid-test-rim.b64",
        "corim/veraison-end-to-end/cca-claims-without-realm-challenge.json",
        "corim/veraison-end-to-end/ec256.json",
        "corim/veraison-end-to-end/ec384.json",
        "corim/veraison-end-to-end/psa-claims-profile-2-without-nonce.json",
        "corim/veraison-end-to-end/src/cca-evidence.json",
        "corim/veraison-end-to-end/src/psa-evidence.json",
        f"{_SCHEMES}/arm-cca/evidence/src/cca-good.json",
        f"{_SCHEMES}/sevsnp/evidence/sevsnp-tsm-report.json",
    }
    left = {name for name in _files("**/*") if Path(name).suffix not in _OTHERS} - seen
    assert left == evidence


@pytest.mark.parametrize("name", _MANIFESTS)
def test_manifest(name: str) -> None:
    octets = (_RATS / name).read_bytes()
    if name in _NO_MANIFEST:
        with pytest.raises(MalformedEvidence) as refused:
            _manifest(octets)
        assert _NO_MANIFEST[name] in str(refused.value)
        return
    manifest = _manifest(octets)
    assert cbor.loads(corim.dumps(manifest.content), what="again", limit=1 << 20, tags=True)
    assert corim.loads(corim.dumps(manifest.content)) == manifest
    assert showing.show(octets, file=name).facts["profile"].startswith(manifest.profile or "none")
    if name in _PROFILE_UNKNOWN:
        with pytest.raises(UnsupportedEvidence) as unknown:
            profiles.check(manifest)
        assert unknown.value.code == "corim-profile-unknown"
        assert unknown.value.context["actual"] == _PROFILE_UNKNOWN[name]
    elif name in _PROFILE_REFUSES:
        with pytest.raises(MalformedEvidence) as wrong:
            profiles.check(manifest)
        assert wrong.value.code == "cbor-shape"
        assert _PROFILE_REFUSES[name] in str(wrong.value)
    else:
        assert "bad" not in name
        assert "invalid" not in name
        assert profiles.check(manifest).title


def test_what_is_called_bad_is_refused() -> None:
    refused = {*_NO_MANIFEST, *_PROFILE_REFUSES, *_PROFILE_UNKNOWN}
    assert {name for name in _MANIFESTS if "bad" in name or "invalid" in name} <= refused


@pytest.mark.parametrize("name", _files("corim/**/comid/*.cbor"))
def test_comid(name: str) -> None:
    octets = (_RATS / name).read_bytes()
    found = comid.comid(cbor.loads(octets, what=name, limit=1 << 20, tags=True), what=name)
    assert found.references or found.others
    assert cbor.dumps(found.content) == octets


@pytest.mark.parametrize(
    "name", ["signed-corim-with-extensions", "signed-example-corim", "signed-good-corim"]
)
def test_signature_of_others_holds(name: str) -> None:
    message = signed.loads((_RATS / f"corim/veraison-corim/corim/{name}.cbor").read_bytes())
    key = json.loads((_RATS / "corim/veraison-end-to-end/ec-p256.jwk").read_bytes(), what=name, limit=1 << 12)
    assert isinstance(key, dict)
    public = {member: key[member] for member in ("kty", "crv", "x", "y")}
    pinned = read_keys(encoded_json(public))
    assert signed.verify(message, pinned=pinned, at=1_700_000_000) == message.corim
    with pytest.raises(NacreError) as late:
        signed.verify(message, pinned=pinned, at=1_800_000_000)
    assert late.value.code == "reference-expired"


def encoded_json(value: object) -> bytes:
    """Encode JSON."""
    import msgspec

    return msgspec.json.encode(value)


def _templates() -> Iterator[tuple[str, str]]:
    for name in _TEMPLATES:
        scheme = next((key for key in _PROFILES if f"schemes/{key}" in name), "")
        yield name, _PROFILES.get(scheme, "")


@pytest.mark.parametrize(("name", "profile"), list(_templates()))
def test_template(name: str, profile: str) -> None:
    value = json.loads((_RATS / name).read_bytes(), what=name, limit=1 << 20)
    assert isinstance(value, dict)
    if "corim-id" in value:
        inner = {
            "tag-identity": {"id": "x"},
            "triples": {
                "reference-values": [
                    {"environment": {"class": {"vendor": "a"}}, "measurements": [{"value": {"name": "b"}}]}
                ]
            },
        }
        assert len(corim.loads(templates.manifest(value, inner)).comids) == 1
        return
    assert corim.loads(templates.manifest(value)).comids
    if not profile:
        return
    manifest = corim.loads(templates.manifest({"corim-id": "x", "profile": profile}, value))
    if "-bad-" in name:
        with pytest.raises(MalformedEvidence):
            profiles.check(manifest)
    else:
        profiles.check(manifest)


def test_template_says_what_its_cbor_says() -> None:
    name = f"{_SCHEMES}/arm-cca/corim/src/comid-cca-platform-ta.json"
    value = json.loads((_RATS / name).read_bytes(), what=name, limit=1 << 20)
    ours = corim.loads(templates.manifest(value)).comids[0]
    theirs = corim.loads((_RATS / f"{_SCHEMES}/arm-cca/corim/corim-cca-platform-valid.cbor").read_bytes())
    assert ours.triples == theirs.comids[1].triples


@pytest.mark.parametrize("name", _files("coserv/**/*"))
def test_coserv(name: str) -> None:
    raw = (_RATS / name).read_bytes()
    decoders = {
        ".cbor": lambda: raw,
        ".diag": lambda: edn.encode(raw.decode()),
        ".hex": lambda: bytes.fromhex(raw.decode()),
        ".b64u": lambda: urlsafe_b64decode(raw.strip() + b"=="),
    }
    octets = decoders[Path(name).suffix]()
    if name in _SHORT_DIGESTS:
        with pytest.raises(MalformedEvidence, match="32 bytes, as algorithm 1 makes them"):
            coserv.loads(octets)
        return
    found = coserv.loads(octets)
    assert found.asked == "reference values"
    assert found.answered == bool(found.expires) == ("results" in name)


@pytest.mark.parametrize("name", _files("cmw/**/*"))
def test_cmw(name: str) -> None:
    text = (_RATS / name).read_text()
    if name.endswith("eat-example-1.json"):  # a claims set with a collection inside
        with pytest.raises(MalformedEvidence, match="a record, a tag or a collection expected"):
            cmw.parse(text.encode())
        claims = json.loads(text.encode(), what=name, limit=1 << 12)
        assert isinstance(claims, dict)
        text = encoded_json(claims["cmw"]).decode()
    found = cmw.parse(text.encode()) if name.endswith(".json") else cmw.loads(edn.encode(text))
    if "collection" in name or "eat" in name:
        assert isinstance(found, cmw.Collection)
        assert len(found.members) in (2, 3)
    else:
        assert isinstance(found, cmw.Record)


_DRAFT = "corim/ietf-draft-corim/examples"


@pytest.mark.parametrize("name", _files(f"{_DRAFT}/comid*.diag", f"{_DRAFT}/intrep*.diag"))
def test_example_of_the_draft(name: str) -> None:
    octets = edn.encode((_RATS / name).read_text())
    value = cbor.loads(octets, what=name, limit=1 << 20, tags=True)
    if "intrep" in name:  # what a verifier has inside, no document
        with pytest.raises(MalformedEvidence):
            comid.comid(value, what=name)
    else:
        assert comid.comid(value, what=name).id


@pytest.mark.parametrize("name", _files(f"{_DRAFT}/corim*.diag", f"{_DRAFT}/payload*.diag"))
def test_manifest_of_the_draft(name: str) -> None:
    octets = edn.encode((_RATS / name).read_text())
    assert (corim.loads(octets) if octets[:1] == b"\xd9" else signed.loads(octets)).__class__


def test_list_of_tags_of_the_draft(rats: Path) -> None:
    tags = edn.encode((rats / f"{_DRAFT}/cotl-1.diag").read_text())
    assert corim.loads(corim.dumps({0: "x", 1: [Tag(508, tags)]})).others == ("a list of tags (CoTL)",)


def test_header_of_the_draft(rats: Path) -> None:
    protected = edn.encode((rats / f"{_DRAFT}/protected-header-map-corim-meta.diag").read_text())
    payload = (rats / "corim/veraison-corim/corim/unsigned-good-corim.cbor").read_bytes()
    message = signed.loads(cbor.dumps(Tag(18, [protected, {}, payload, bytes(96)])))
    assert (message.algorithm, message.signer) == ("ES384", "ACME Ltd.")


def test_collection_of_the_draft(rats: Path) -> None:
    text = (rats / f"{_DRAFT}/cmw-corim-collection.diag").read_text()
    with pytest.raises(edn.Unreadable):
        edn.parse(text)
    found = cmw.loads(edn.encode(text.replace("TBD1", "64999")))
    assert isinstance(found, cmw.Collection)
    first = found.members["adee8cd4-4e47-461f-b341-2aba3ae4cbda"]
    second = found.members["51a5f633-71c0-45f5-855e-43e8254c1806"]
    assert isinstance(first, cmw.Record)
    assert isinstance(second, cmw.Record)
    # The first has a measurement where its own CDDL has an array of some.
    with pytest.raises(MalformedEvidence, match=r"reference\.0"):
        corim.loads(first.value)
    assert corim.loads(second.value).others == ("a CoSWID tag",)


@pytest.mark.parametrize("name", _files("corim/veraison-corim/**/*.diag"))
def test_diagnostic_source(name: str) -> None:
    octets = edn.encode((_RATS / name).read_text())
    if "/coev" in name:
        with pytest.raises(MalformedEvidence, match="concise evidence"):
            corim.loads(octets)
    elif "/corim/" in name:
        corim.loads(octets)
    else:
        assert octets == (_RATS / name).with_suffix(".cbor").read_bytes()


@pytest.mark.parametrize(
    "name",
    [
        "corim/trustee/nvidia-swid-test-rim.b64",
        "corim/amd-corim-rs/good-corim.json",
        "corim/amd-corim-rs/meta.json",
        "corim/veraison-end-to-end/src/cca-evidence.json",
        f"{_SCHEMES}/sevsnp/evidence/sevsnp-tsm-report.json",
        *_files("evidence-claims/**/*.json"),
    ],
)
def test_what_is_something_else(name: str) -> None:
    with pytest.raises(NacreError):
        read([(_RATS / name).read_bytes()], Given(at=0, id="x"), file=name)


def test_short_digests_are_refused_wherever_they_stand() -> None:
    with pytest.raises(MalformedEvidence, match="32 bytes, as algorithm 1 makes them"):
        shapes.check(comid.MEASUREMENT, {1: {2: [[1, b"\xaa"]]}}, what="x")
