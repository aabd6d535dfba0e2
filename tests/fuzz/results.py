# SPDX-License-Identifier: Apache-2.0
"""Readers of other verifiers' results, as a fuzzer calls them."""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from tests.trust.tokens import P256, P384, RSA, Private, b64url, jwk, jwks, raw_jws

from nacre.appraisal import opinions
from nacre.appraisal.ear_names import claims_from_cbor
from nacre.appraisal.opinions import Expected
from nacre.errors import NacreError
from nacre.trust import cbor, cwt, jose
from nacre.trust.jwk import KeySet, read_keys

__all__ = ["TOKEN_WORDS", "claims", "keys", "seeds", "token"]

_RESULTS = Path(__file__).parent.parent / "vectors" / "results"
_SIGNERS: Mapping[str, tuple[Private, str]] = {
    "ear": (P256, "ES256"),
    "maa": (RSA, "RS256"),
    "confidential-space": (RSA, "RS256"),
    "trust-authority": (RSA, "PS384"),
    "nras": (P384, "ES384"),
}
TOKEN_WORDS = (
    *(b'"eat_profile":', b'"submods":', b'"ear_status":', b'"affirming"', b'"ear_trustworthiness_vector":'),
    *(b'"iat":', b'"exp":', b'"x-ms-ver":', b'"hwmodel":"GCP_', b'"policy_ids_matched":', b'"DIGEST"'),
)


def _pinned(key: Private) -> KeySet:
    return read_keys(jwks(jwk(key)))


_KEYS = {kind: _pinned(key) for kind, (key, _) in _SIGNERS.items()}


def token(data: bytes) -> None:
    """Take anything apart as a token, and verify it as what it seems to be."""
    shown = opinions.show(data)
    assert shown.form in ("JWT", "CWT", "bundle", "claims")
    with suppress(NacreError):
        opinions.verify(data, keys=_KEYS["ear"], expected=Expected(at=0))


def claims(data: bytes) -> None:
    """Sign any payload as each kind of token: what lies behind the signature is reached, too."""
    for kind, (key, algorithm) in _SIGNERS.items():
        signed = raw_jws(json.dumps({"alg": algorithm}).encode(), data, key, algorithm)
        if kind == "nras":
            signed = json.dumps([["JWT", signed.decode()], {"GPU-0": signed.decode()}]).encode()
        with suppress(NacreError):
            expected = Expected(at=1_795_000_000, issuers=("i",), audience="a", nonce="nonce of mine")
            opinion = opinions.verify(signed, keys=_KEYS[kind], expected=expected, kind=kind)
            assert opinion.kind == kind
            assert opinion.claims == opinions.show(signed).claims or kind == "ear"
    with suppress(NacreError):
        decoded = cbor.loads(data, what="fuzzed", limit=1 << 16)
        if isinstance(decoded, dict):
            json.dumps(claims_from_cbor(decoded))
    for read in (jose.loads, cwt.loads):
        with suppress(NacreError):
            read(data, what="fuzzed")
    with suppress(NacreError):
        opinions.show(f"{b64url(b'{}')}.{b64url(data)}.".encode() if data[:1] != b"[" else data)


def keys(data: bytes) -> None:
    """Read anything as a file of keys."""
    found = read_keys(data)
    assert found.keys or found.anchors
    assert all(key.algorithms for key in found.keys)


def seeds(name: str) -> Iterator[bytes]:
    """Yield what is known to be read, and refused, from the vectors."""
    if name == "token-keys":
        for path in sorted((_RESULTS / "keys").rglob("*.*")):
            yield path.read_bytes()
        yield jwks(jwk(P256, kid="k1"), jwk(RSA), jwk(P384, use="enc"))
        return
    for path in sorted(_RESULTS.rglob("*")):
        if path.suffix in (".jwt", ".json") and "keys" not in path.name and path.name != "expected.json":
            data = path.read_bytes().strip()
            if name == "token":
                yield data
                continue
            with suppress(NacreError):
                yield json.dumps(dict(opinions.show(data).claims)).encode()
