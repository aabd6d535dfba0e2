# SPDX-License-Identifier: Apache-2.0
"""Anchors: only what ships with the package is GENUINE, and only while nobody touched it."""

import hashlib
import re
import shutil
from pathlib import Path

import pytest
from tests.trust.forge import AUTHORITY, Draft, key, name

from nacre.errors import ConfigurationError
from nacre.trust import anchors
from nacre.trust.anchors import Origin, private_anchor, simulated_anchor, vendor_anchor
from nacre.trust.keys import P256_SHA256, P384_SHA384
from nacre.trust.path import check_validity
from nacre.trust.rsa import PSS_4096_SHA384
from nacre.trust.signatures import Scheme
from nacre.trust.x509 import anchor_certificate

_ROOTS = Path(anchors.__file__).with_name("roots")
_NAMES = sorted(path.stem for path in _ROOTS.glob("*.der"))

# From the reports of those who read the vendors' publications; not from the code under test.
_DIGESTS = {
    "amd-ark-genoa": "4c6598d19c18719c5dfd4a7d335f674e5bfe1d8f800cea2cf270c10d103db2f1",
    "amd-ark-milan": "69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd",
    "amd-ark-turin": "1f084161a44bb6d93778a904877d4819cafa5d05ef4193b2ded9dd9c73dd3f6a",
    "aws-nitro-root-g1": "641a0321a3e244efe456463195d606317ed7cdcc3c1756e09893f3c68f79bb5b",
    "intel-sgx-root-ca": "44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3",
}


@pytest.fixture(autouse=True)
def _afresh() -> None:
    vendor_anchor.cache_clear()


def test_every_root_is_pinned_and_documented() -> None:
    words = (_ROOTS / "README.md").read_text()
    assert sorted(_DIGESTS) == _NAMES
    assert sorted(re.findall(r"`([a-z0-9-]+)\.der`", words)) == _NAMES
    for root in _NAMES:
        assert _DIGESTS[root] in words


@pytest.mark.parametrize("root", _NAMES)
def test_vendor_roots_are_genuine(root: str) -> None:
    anchor = vendor_anchor(root)
    assert (anchor.name, anchor.origin) == (root, Origin.GENUINE)
    assert anchor.digest == hashlib.sha256(anchor.der).digest() == bytes.fromhex(_DIGESTS[root])


@pytest.mark.parametrize(
    ("root", "scheme"),
    [
        ("intel-sgx-root-ca", P256_SHA256),
        ("aws-nitro-root-g1", P384_SHA384),
        ("amd-ark-milan", PSS_4096_SHA384),
        ("amd-ark-genoa", PSS_4096_SHA384),
        ("amd-ark-turin", PSS_4096_SHA384),
    ],
)
def test_vendor_roots_signed_themselves(root: str, scheme: Scheme) -> None:
    certificate = anchor_certificate(vendor_anchor(root))
    assert certificate.is_ca
    assert certificate.issuer == certificate.subject
    assert scheme.spki(certificate.spki).holds(certificate.signature, certificate.tbs)
    check_validity([certificate], at=2_300_000_000, check="example")


def test_unknown_roots() -> None:
    with pytest.raises(ConfigurationError) as caught:
        vendor_anchor("../intel-sgx-root-ca")
    assert caught.value.code == "anchor-unknown"
    assert "intel-sgx-root-ca" in str(caught.value)


def test_an_altered_root_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shutil.copytree(_ROOTS, tmp_path / "roots")
    monkeypatch.setattr(anchors, "__file__", str(tmp_path / "anchors.py"))
    assert vendor_anchor("intel-sgx-root-ca").origin is Origin.GENUINE
    forged = Draft(issuer=name("Intel SGX Root CA"), subject=name("Intel SGX Root CA"), extensions=AUTHORITY)
    (tmp_path / "roots/intel-sgx-root-ca.der").write_bytes(forged.signed(key(2)))
    vendor_anchor.cache_clear()
    with pytest.raises(ConfigurationError) as caught:
        vendor_anchor("intel-sgx-root-ca")
    assert caught.value.code == "anchor-altered"
    assert caught.value.hint


def test_other_roots_are_never_genuine() -> None:
    der = Draft(
        issuer=name("Intel SGX Root CA"), subject=name("Intel SGX Root CA"), extensions=AUTHORITY
    ).signed(key(2))
    for make, origin in ((private_anchor, Origin.PRIVATE), (simulated_anchor, Origin.SIMULATED)):
        anchor = make(der, name="ours")
        assert (anchor.name, anchor.origin, anchor.der) == ("ours", origin, der)
        assert anchor.digest == hashlib.sha256(der).digest()


def test_a_vendor_root_that_a_policy_names_is_the_vendors() -> None:
    genuine = vendor_anchor("aws-nitro-root-g1")
    assert private_anchor(genuine.der, name="mine") is genuine
    assert simulated_anchor(genuine.der) is genuine
