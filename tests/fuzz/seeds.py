# SPDX-License-Identifier: Apache-2.0
"""Where a fuzzer starts: inputs of the vectors and the examples, for each target."""

import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
from tests.appraisal.systems import guests
from tests.fuzz import measured, results
from tests.fuzz.targets import COLLATERAL, SNP_DOCUMENTS, VECTORS, Target, genuine, leaf

from nacre import platforms
from nacre.appraisal.identity import IdentityDocument
from nacre.appraisal.reference.convert import write_as
from nacre.appraisal.release import Release
from nacre.endorsers import bundle
from nacre.errors import MalformedEvidence, NacreError
from nacre.platforms.base import Endorsements, Evidence
from nacre.platforms.dcap.pck import SGX_EXTENSION
from nacre.testing.cases import Case, find, load
from nacre.trust import cose, pem, x509

__all__ = ["seeds"]

_FROM_COLLATERAL = {
    "tcb-info": ("tcb_info",),
    "qe-identity": ("qe_identity",),
    "json": ("tcb_info", "qe_identity"),
    "signed-json": ("tcb_info",),
    "crl": ("pck_crl", "root_ca_crl"),
    "pem": ("pck_crl_issuer_chain", "tcb_info_issuer_chain"),
}
_FROM_CERTIFICATES = ("x509", "der", "key", "pck-extension")
_WRITTEN = ("policy", "release", "bundle", "identity-document", "time", "manifest", "reference", "wrapped")
_HASH = "ab" * 48
_EXAMPLES = Path(__file__).parent.parent.parent / "examples" / "verify"


def seeds(target: Target, *, most: int = 40) -> list[bytes]:
    """Return inputs of the vectors that a target can start from, distinct ones, in a fixed order."""
    name = target.name
    found = dict.fromkeys(measured.seeds(name) if name in measured.NAMES else _seeds(name))
    step = max(1, len(found) // most)
    return list(found)[::step]


def _seeds(name: str) -> Iterator[bytes]:
    quotes = [case for case in _cases() if case.platform in ("sgx", "tdx")]
    documents = [case.evidence for case in _cases() if case.platform == "nitro"]
    if name in _FROM_COLLATERAL:
        for role in _FROM_COLLATERAL[name]:
            yield from _roles(quotes, role)
    elif name in _FROM_CERTIFICATES:
        yield from _of_certificates(name, _certificates(quotes, documents))
    elif name in _WRITTEN:
        yield from _written(name)
    elif name == "envelope" or name.startswith("token"):
        yield from _envelopes() if name == "envelope" else results.seeds(name)
    elif name == "collateral":
        yield from _numbered(COLLATERAL, quotes)
    elif name.startswith("snp"):
        yield from _of_snp(name)
    elif name == "cbor":
        yield from (bytes((rules,)) + document for document in documents for rules in (0, 5, 7))
        yield from (b"\5" + payload for payload in _payloads(documents))
    elif name.startswith(("nitro", "cose")):
        yield from documents
    else:
        yield from (case.evidence for case in quotes if name.startswith(("quote", case.platform)))


def _of_snp(name: str) -> Iterator[bytes]:
    if name == "snp-endorsements":
        yield from _numbered(SNP_DOCUMENTS, [genuine("snp")])
    else:
        yield from (case.evidence for case in _cases() if case.platform == "snp")
        yield from (path.read_bytes() for path in sorted((VECTORS / "az-vtpm").rglob("hcl-report.bin")))


def _numbered(roles: tuple[str, ...], cases: list[Case]) -> Iterator[bytes]:
    """Documents behind the number of their role."""
    for place, role in enumerate(roles):
        yield from (bytes((place,)) + document for document in _roles(cases, role))


@functools.cache
def _cases() -> tuple[Case, ...]:
    found = []
    for folder in find(VECTORS):
        case = load(folder)
        if case.platform:
            found.append(case)
    return tuple(found)


def _roles(cases: list[Case], role: str) -> list[bytes]:
    return [case.collateral[role] for case in cases if role in case.collateral]


def _payloads(documents: list[bytes]) -> Iterator[bytes]:
    for document in documents:
        try:
            yield cose.loads(document, what="seed", limit=1 << 20).payload
        except MalformedEvidence:
            continue


def _certificates(quotes: list[Case], documents: list[bytes]) -> Iterator[bytes]:
    for chain in _roles(quotes, "tcb_info_issuer_chain"):
        yield from _tried(lambda chain=chain: pem.certificates(chain))  # type: ignore[misc]
    for case in quotes:
        yield from _tried(lambda case=case: _chain_of(platforms.detect(case.evidence).parse(case.evidence)))  # type: ignore[misc]
    for document in documents:
        yield from _tried(lambda document=document: platforms.get("nitro").parse(document).cabundle)  # type: ignore[misc, attr-defined]


def _chain_of(evidence: Evidence) -> tuple[bytes, ...]:
    return pem.certificates(getattr(evidence, "cert_data", b""))


def _tried(read: Callable[[], tuple[bytes, ...]]) -> tuple[bytes, ...]:
    try:
        return read()
    except NacreError:
        return ()


def _of_certificates(name: str, ders: Iterator[bytes]) -> Iterator[bytes]:
    for data in ders:
        if name in ("x509", "der"):
            yield data
            continue
        try:
            certificate = x509.parse_certificate(data)
        except MalformedEvidence:
            continue
        if name == "key":
            yield certificate.spki + bytes(64)
        elif SGX_EXTENSION in certificate.extensions:
            yield certificate.extensions[SGX_EXTENSION][1]


def _envelopes() -> Iterator[bytes]:
    yield from (
        path.read_bytes() for path in sorted((VECTORS / "systems").rglob("*.*")) if path.suffix != ".md"
    )
    log = guests.rows()
    world = guests.guest(log, bytes(64))
    container = guests.attestation(world.quote, log)
    extension = {"1.3.6.1.4.1.62397.1.8": b"\x04\x82" + len(container).to_bytes(2, "big") + container}
    yield from (guests.served(world.quote, log), container, guests.certificate(extension))


def _reference_values(name: str) -> Iterator[bytes]:
    rats = VECTORS / "rats"
    if name == "wrapped":
        yield from (b"\1" + path.read_bytes() for path in sorted((rats / "cmw").rglob("*.json")))
        yield from (b"\2" + path.read_bytes() for path in sorted((rats / "coserv").rglob("*.cbor")))
        return
    registers = "".join(f'{key} = "{_HASH}"\n' for key in ("mrtd", "rtmr0", "rtmr1", "rtmr2", "rtmr3"))
    release = Release.parse(f'id = "a"\n[[tdx]]\n{registers}')
    forms = ("corim",) if name == "manifest" else ("rvps", "in-toto")
    yield from (write_as(release, form)[0] for form in forms)
    pattern = "*.cbor" if name == "manifest" else "co*.json"
    yield from (path.read_bytes() for path in sorted((rats / "corim").rglob(pattern)))


def _written(name: str) -> Iterator[bytes]:
    match name:
        case "time":
            yield from (b"2025-03-10T11:04:00Z", b"0001-01-01T00:00:00Z", b"2000-02-29T23:59:59Z")
        case "policy" | "release":
            yield from (path.read_bytes() for path in sorted(_EXAMPLES.glob(f"*/{name}.toml")))
            registers = "".join(
                f'{key} = "{_HASH}"\n' for key in ("mrtd", "rtmr0", "rtmr1", "rtmr2", "rtmr3")
            )
            yield f'[[release]]\nid = "a"\n[[release.tdx]]\n{registers}'.encode()
            yield f'id = "a"\n[[tdx]]\n{registers}'.encode()
            yield b'accept = "WARNING"\nmax_age = "5m"\nplatforms = ["sgx"]\n[sgx]\nfmspcs = ["00906ed50000"]'
        case "manifest" | "reference" | "wrapped":
            yield from _reference_values(name)
        case "bundle":
            for platform in ("sgx", "tdx"):
                yield bundle.pack(Endorsements(genuine(platform).collateral), platform, 1_700_000_000)
        case "identity-document":
            key = leaf().spki
            document = IdentityDocument(keys=(key,), release=bytes(32), boot=bytes(16), mode="genuine")
            yield document.encode()
            yield msgspec.structs.replace(document, deployment=key, mode="simulated").encode()
