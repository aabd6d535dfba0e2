# SPDX-License-Identifier: Apache-2.0
"""Certificate paths, as an attacker would like them."""

import re
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tests.conftest import vector_roots
from tests.trust.forge import (
    AUTHORITY,
    ECDSA_SHA256,
    ECDSA_SHA384,
    LEAF,
    NOW,
    SIGNS_CERTIFICATES,
    SIGNS_DATA,
    SUBJECT_ALTERNATIVE_NAME,
    Draft,
    constraints,
    extension,
    key,
    name,
    sequence,
    usage,
    utc,
)

from nacre.errors import MalformedEvidence, NacreError, VerificationError
from nacre.trust import pem
from nacre.trust.anchors import vendor_anchor
from nacre.trust.keys import P256_SHA256, P384_SHA384, EcdsaScheme
from nacre.trust.path import Role, check_crl_issuer, check_path, check_validity
from nacre.trust.signatures import Signatures
from nacre.trust.x509 import Certificate, anchor_certificate, parse_certificate

_CHECK = "example.chain"
_ROOT = Draft(issuer=name("Root"), subject=name("Root"), key=key(11), extensions=AUTHORITY)
_MIDDLE = Draft(issuer=name("Root"), subject=name("Middle"), key=key(12), extensions=AUTHORITY)
_LOWER = Draft(issuer=name("Middle"), subject=name("Lower"), key=key(13), extensions=AUTHORITY)
_LEAF = Draft(issuer=name("Lower"), subject=name("Leaf"), key=key(14), extensions=LEAF)


def _chain(*drafts: Draft) -> list[Certificate]:
    """Sign each with the key of the next, the last with its own."""
    signers = [*drafts[1:], drafts[-1]]
    return [parse_certificate(draft.signed(by.key)) for draft, by in zip(drafts, signers, strict=True)]


def _check(
    *drafts: Draft, roles: list[Role | None] | None = None, scheme: EcdsaScheme = P256_SHA256
) -> list[Certificate]:
    chain = _chain(*drafts)
    _walk(chain, roles=roles, scheme=scheme)
    return chain


def _walk(
    chain: list[Certificate], *, roles: list[Role | None] | None = None, scheme: EcdsaScheme = P256_SHA256
) -> None:
    signatures = Signatures()
    check_path(
        chain[:-1],
        anchor=chain[-1],
        roles=[None] * (len(chain) - 1) if roles is None else roles,
        scheme=scheme,
        signatures=signatures,
        check=_CHECK,
    )
    signatures.settle()


def test_a_good_path() -> None:
    roles = [Role(common_names=("Leaf",)), None, Role(common_names=("Middle", "Other"))]
    _check(_LEAF, _LOWER, _MIDDLE, _ROOT, roles=roles)


def test_a_leaf_below_the_anchor() -> None:
    _check(replace(_LEAF, issuer=name("Root")), _ROOT)


def test_without_key_usage() -> None:
    leaf = replace(_LEAF, issuer=name("Root"), extensions=(constraints(ca=False),))
    _check(leaf, replace(_ROOT, extensions=(constraints(),)))


def test_p384() -> None:
    leaf = replace(_LEAF, issuer=name("Root"), algorithm=ECDSA_SHA384, key=key(5, ec.SECP384R1))
    root = replace(_ROOT, algorithm=ECDSA_SHA384, key=key(6, ec.SECP384R1))
    _check(leaf, root, scheme=P384_SHA384)


def test_path_lengths_that_just_suffice() -> None:
    _check(
        _LEAF,
        replace(_LOWER, extensions=(constraints(length=0), SIGNS_CERTIFICATES)),
        replace(_MIDDLE, extensions=(constraints(length=1), SIGNS_CERTIFICATES)),
        replace(_ROOT, extensions=(constraints(length=2), SIGNS_CERTIFICATES)),
    )


_NOT_CA = (constraints(ca=False), SIGNS_CERTIFICATES)
_NO_CONSTRAINTS = (SIGNS_CERTIFICATES,)
_MAY_NOT_SIGN = (constraints(), SIGNS_DATA)
_UNKNOWN = extension(SUBJECT_ALTERNATIVE_NAME, b"x", critical=True)
_HARMLESS = extension(SUBJECT_ALTERNATIVE_NAME, b"x")


@pytest.mark.parametrize(
    ("drafts", "code"),
    [
        pytest.param(
            (_LEAF, replace(_LOWER, extensions=_NOT_CA), _MIDDLE, _ROOT), "not-a-ca", id="leaf as CA"
        ),
        pytest.param(
            (_LEAF, replace(_LOWER, extensions=_NO_CONSTRAINTS), _MIDDLE, _ROOT),
            "not-a-ca",
            id="no constraints",
        ),
        pytest.param(
            (_LEAF, _LOWER, _MIDDLE, replace(_ROOT, extensions=_NOT_CA)), "not-a-ca", id="anchor no CA"
        ),
        pytest.param(
            (_LEAF, replace(_LOWER, extensions=_MAY_NOT_SIGN), _MIDDLE, _ROOT),
            "key-usage",
            id="no keyCertSign",
        ),
        pytest.param(
            (_LEAF, _LOWER, _MIDDLE, replace(_ROOT, extensions=_MAY_NOT_SIGN)),
            "key-usage",
            id="anchor may not sign",
        ),
        pytest.param(
            (replace(_LEAF, extensions=(constraints(ca=False), SIGNS_CERTIFICATES)), _LOWER, _MIDDLE, _ROOT),
            "key-usage",
            id="leaf may not sign data",
        ),
        pytest.param(
            (replace(_LEAF, extensions=(constraints(ca=False), usage(b"\0"))), _LOWER, _MIDDLE, _ROOT),
            "key-usage",
            id="leaf may do nothing",
        ),
        pytest.param(
            (replace(_LEAF, extensions=(constraints(), SIGNS_DATA)), _LOWER, _MIDDLE, _ROOT),
            "leaf-is-ca",
            id="CA as leaf",
        ),
        pytest.param(
            (_LEAF, _LOWER, replace(_MIDDLE, extensions=(constraints(length=0), SIGNS_CERTIFICATES)), _ROOT),
            "path-too-long",
            id="path length of an intermediate",
        ),
        pytest.param(
            (_LEAF, _LOWER, _MIDDLE, replace(_ROOT, extensions=(constraints(length=1), SIGNS_CERTIFICATES))),
            "path-too-long",
            id="path length of the anchor",
        ),
        pytest.param(
            (replace(_LEAF, extensions=(*LEAF, _UNKNOWN)), _LOWER, _MIDDLE, _ROOT),
            "critical-extension",
            id="in the leaf",
        ),
        pytest.param(
            (_LEAF, replace(_LOWER, extensions=(*AUTHORITY, _UNKNOWN)), _MIDDLE, _ROOT),
            "critical-extension",
            id="in an authority",
        ),
        pytest.param((_LEAF, _MIDDLE, _ROOT), "issuer-mismatch", id="a link is missing"),
        pytest.param((_LEAF, _MIDDLE, _LOWER, _ROOT), "issuer-mismatch", id="another order"),
        pytest.param(
            (_LEAF, replace(_LOWER, subject=name("Lower", tag=0x13)), _MIDDLE, _ROOT),
            "issuer-mismatch",
            id="the same name in another encoding",
        ),
        pytest.param(
            (replace(_LEAF, algorithm=ECDSA_SHA384), _LOWER, _MIDDLE, _ROOT),
            "algorithm-unexpected",
            id="another hash",
        ),
        pytest.param(
            (_LEAF, _LOWER, _MIDDLE, replace(_ROOT, key=key(5, ec.SECP384R1))),
            "key-unusable",
            id="another curve",
        ),
        pytest.param(
            (
                _LEAF,
                replace(_LOWER, extensions=(extension(bytes.fromhex("551d13"), b"\x30\x01"),)),
                _MIDDLE,
                _ROOT,
            ),
            "truncated",
            id="malformed constraints",
        ),
    ],
)
def test_bad_paths(drafts: tuple[Draft, ...], code: str) -> None:
    with pytest.raises(NacreError) as caught:
        _check(*drafts)
    assert caught.value.code == code
    assert "?" not in str(caught.value)
    if isinstance(caught.value, VerificationError):
        assert caught.value.check == _CHECK


def test_null_parameters_are_the_same_algorithm() -> None:
    _check(replace(_LEAF, issuer=name("Root"), algorithm=sequence(ECDSA_SHA256[2:], b"\x05\x00")), _ROOT)


def test_other_extensions_may_be_anything() -> None:
    _check(replace(_LEAF, extensions=(*LEAF, _HARMLESS)), _LOWER, _MIDDLE, _ROOT)


def test_a_self_issued_authority_counts() -> None:
    twin = replace(_MIDDLE, issuer=name("Middle"), key=key(15))
    limited = replace(_MIDDLE, extensions=(constraints(length=0), SIGNS_CERTIFICATES))
    leaf = replace(_LEAF, issuer=name("Middle"))
    _check(leaf, twin, _MIDDLE, _ROOT)
    with pytest.raises(VerificationError) as caught:
        _check(leaf, twin, limited, _ROOT)
    assert caught.value.code == "path-too-long"


@pytest.mark.parametrize("position", range(3))
def test_each_signature_is_expected(position: int) -> None:
    chain = _chain(_LEAF, _LOWER, _MIDDLE, _ROOT)
    drafts = (_LEAF, _LOWER, _MIDDLE)
    chain[position] = parse_certificate(drafts[position].signed(key(99)))
    with pytest.raises(VerificationError) as caught:
        _walk(chain)
    assert caught.value.code == "signature-invalid"
    assert f'certificate "{("Leaf", "Lower", "Middle")[position]}"' in str(caught.value)


def test_another_anchor_of_the_same_name() -> None:
    chain = _chain(_LEAF, _LOWER, _MIDDLE, _ROOT)
    chain[-1] = parse_certificate(replace(_ROOT, key=key(98)).signed(key(98)))
    with pytest.raises(VerificationError) as caught:
        _walk(chain)
    assert caught.value.code == "signature-invalid"


def test_the_anchor_is_never_taken_from_the_path() -> None:
    # The whole forged path, its own root included, below the genuine anchor.
    chain = _chain(_LEAF, _LOWER, _MIDDLE, _ROOT)
    with pytest.raises(VerificationError) as caught:
        _walk([*chain, anchor_certificate(vendor_anchor("intel-sgx-root-ca"))])
    assert caught.value.code == "path-too-long"
    with pytest.raises(VerificationError) as caught:
        _walk([*chain, parse_certificate(replace(_ROOT, key=key(98)).signed(key(98)))])
    assert caught.value.code == "signature-invalid"


@pytest.mark.parametrize(
    "subject", [name("leaf"), name("Leaf "), name("Leaf", "Leaf"), name(), name("Leaf", tag=0x1E)]
)
def test_roles_want_exactly_one_exact_name(subject: bytes) -> None:
    with pytest.raises(VerificationError) as caught:
        _check(
            replace(_LEAF, issuer=name("Root"), subject=subject), _ROOT, roles=[Role(common_names=("Leaf",))]
        )
    assert caught.value.code == "wrong-role"
    assert "Leaf belongs" in str(caught.value)


@pytest.mark.parametrize("roles", [[], [None], [None, None]])
def test_as_many_certificates_as_roles(roles: list[Role | None]) -> None:
    chain = _chain(_LEAF, _LOWER, _MIDDLE, _ROOT)
    for given in (chain[:3], []):
        if len(given) == len(roles) and given:
            continue
        with pytest.raises(VerificationError) as caught:
            check_path(
                given, anchor=chain[3], roles=roles, scheme=P256_SHA256, signatures=Signatures(), check=_CHECK
            )
        assert caught.value.code == "chain-length"


def test_validity_includes_both_ends() -> None:
    chain = _chain(_LEAF, _LOWER, _MIDDLE, _ROOT)
    begins, ends = chain[0].not_before, chain[0].not_after
    for at in (begins, NOW - 1, ends):
        check_validity(chain, at=at, check=_CHECK)
    for at, code in ((begins - 1, "certificate-not-yet-valid"), (ends + 1, "certificate-expired")):
        with pytest.raises(VerificationError) as caught:
            check_validity(chain, at=at, check=_CHECK)
        assert (caught.value.code, caught.value.check) == (code, _CHECK)
        assert 'certificate "Leaf"' in str(caught.value)
        assert "?" not in str(caught.value)


def test_validity_of_every_certificate() -> None:
    short = replace(_MIDDLE, validity=sequence(utc(b"250601120000Z"), utc(b"260601115959Z")))
    chain = _chain(_LEAF, _LOWER, short, _ROOT)
    check_validity(chain, at=NOW - 1, check=_CHECK)
    with pytest.raises(VerificationError) as caught:
        check_validity(chain, at=NOW, check=_CHECK)
    assert str(caught.value) == (
        'the certificate "Middle" expired at 2026-06-01T11:59:59Z; it was judged at 2026-06-01T12:00:00Z'
    )


def test_who_may_sign_revocation_lists() -> None:
    (root,) = _chain(_ROOT)
    check_crl_issuer(root, check=_CHECK)
    for extensions, code in ((_NOT_CA, "not-a-ca"), ((constraints(), usage(b"\x02\x04")), "key-usage")):
        (other,) = _chain(replace(_ROOT, extensions=extensions))
        with pytest.raises(VerificationError) as caught:
            check_crl_issuer(other, check=_CHECK)
        assert (caught.value.code, caught.value.check) == (code, _CHECK)


def test_every_flipped_bit_of_a_certificate_is_refused() -> None:
    leaf = replace(_LEAF, issuer=name("Root"))
    (data, anchor) = (item.der for item in _chain(leaf, _ROOT))
    root = parse_certificate(anchor)
    _walk([parse_certificate(data), root])
    for position in range(8 * len(data)):
        changed = bytearray(data)
        changed[position // 8] ^= 1 << position % 8
        with pytest.raises((MalformedEvidence, VerificationError)):
            _walk([parse_certificate(bytes(changed)), root])


_INTEL = (
    Role(common_names=("Intel SGX PCK Certificate",)),
    Role(common_names=("Intel SGX PCK Platform CA", "Intel SGX PCK Processor CA")),
)


def _genuine_chains() -> set[bytes]:
    """Find the PCK chains in all real quotes of the vectors."""
    found = re.compile(rb"-----BEGIN CERT.*-----END CERTIFICATE-----[\0\r\n]*", re.DOTALL)
    quotes = [
        path for root in vector_roots() for tee in ("sgx", "tdx") for path in root.glob(f"{tee}/*/quote.bin")
    ]
    real = [path.read_bytes() for path in quotes if not path.parent.name.startswith(("derived-", "syn-"))]
    return {match.group() for quote in real for match in [found.search(quote)] if match}


def test_genuine_paths_of_intel() -> None:
    root = anchor_certificate(vendor_anchor("intel-sgx-root-ca"))
    chains = _genuine_chains()
    assert len(chains) >= 20
    for data in chains:
        leaf, authority, last = (parse_certificate(item) for item in pem.certificates(data))
        assert last == root
        _walk([leaf, authority, root], roles=list(_INTEL))
        with pytest.raises(VerificationError) as caught:
            _walk([leaf, authority, root], roles=list(reversed(_INTEL)))
        assert caught.value.code == "wrong-role"


def test_malformed_is_not_forged() -> None:
    assert not issubclass(MalformedEvidence, VerificationError)
