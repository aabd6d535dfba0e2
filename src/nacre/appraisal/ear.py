# SPDX-License-Identifier: Apache-2.0
"""A Result as an EAT Attestation Result (EAR): a claims set, and a signed JWT or CWT.

Draft -03 is written unless an older profile is asked for: readers that are deployed know those only.

Source: draft-ietf-rats-ear-03; for older profiles draft-ietf-rats-ear-00 and -02.
"""

from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from nacre.appraisal.ar4si import Tier, TrustVector, status, trust_vector
from nacre.appraisal.result import Result
from nacre.appraisal.verdict import Verdict
from nacre.errors import ConfigurationError
from nacre.trust.anchors import Origin

if TYPE_CHECKING:
    from nacre.trust.signing import PrivateKey

__all__ = [
    "PROFILE",
    "Appraisal",
    "Ear",
    "EarSigner",
    "NacreResult",
    "Verifier",
    "ear",
    "signed_ear",
]

PROFILE: Final = "tag:ietf.org,2026:rats/ear#03"
#: How long after the time of judgement a result may still be signed, seconds.
MAX_DELAY = 300

_NONCE_SIZES = range(8, 65)
# COSE header parameters (RFC 9052, 3.1).
_COSE_ALGORITHM, _COSE_KEY_ID = 1, 4
_TAG_18 = b"\xd2"


class Verifier(msgspec.Struct, frozen=True):
    """Who appraised.

    Attributes:
        developer: Who made the verifier, a URI or text.
        build: Which build of it.
    """

    developer: str
    build: str


class NacreResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """Our extension of an appraisal: what EAR has no word for.

    Attributes:
        verdict: The verdict.
        origin: GENUINE, PRIVATE or SIMULATED; absent if no chain was followed to an anchor.
        release: The release that matched, absent if none did.
        evidence: SHA-256 of the evidence, base64url.
    """

    verdict: Verdict
    evidence: str
    origin: Origin | None = None
    release: str | None = None


class Appraisal(msgspec.Struct, frozen=True):
    """What was found about one attester.

    Attributes:
        ear_status: Never better than the worst claim of the vector.
        ear_trustworthiness_vector: The claims.
        ear_appraisal_policy_ids: The policies that were applied.
        ear_nacre_result: What EAR has no word for.
    """

    ear_status: Tier
    ear_trustworthiness_vector: TrustVector
    ear_appraisal_policy_ids: tuple[str, ...]
    ear_nacre_result: NacreResult


class Ear(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The claims set of an EAR.

    Attributes:
        eat_profile: The profile's tag.
        ear_status: Never better than the worst appraisal.
        iat: When it was issued, Unix seconds.
        exp: When it ends, Unix seconds.
        ear_verifier_id: Who appraised.
        eat_nonce: The nonce of whoever asked for this EAR, base64url.
        ear_raw_evidence: The evidence, base64url.
        submods: Attester to appraisal.
    """

    eat_profile: Literal["tag:ietf.org,2026:rats/ear#03"]
    ear_status: Tier
    iat: int
    exp: int | None = None
    ear_verifier_id: Verifier
    eat_nonce: str | None = None
    ear_raw_evidence: str | None = None
    submods: dict[str, Appraisal]


def ear(
    result: Result,
    *,
    issued_at: int,
    developer: str,
    build: str,
    lifetime: int | None = None,
    nonce: bytes | None = None,
    carry_evidence: bool = False,
) -> Ear:
    """Say a Result in the words of EAR.

    Args:
        result: The Result.
        issued_at: Now, Unix seconds: at or at most five minutes after the time of judgement, so that no
            old judgement is passed off as a new one.
        developer: Who made this verifier.
        build: Which build of it.
        lifetime: Seconds until it ends; it never outlives the endorsements that it rests on.
        nonce: The nonce of whoever asks for it, 8 to 64 bytes.
        carry_evidence: Whether the evidence goes along, so that the reader can appraise it again.

    Raises:
        ConfigurationError: ``ear-time``, ``ear-lifetime``, ``ear-nonce``.
    """
    if not 0 <= issued_at - result.at <= MAX_DELAY:
        raise ConfigurationError("ear-time", expected=result.at, actual=issued_at, delay=MAX_DELAY)
    if nonce is not None and len(nonce) not in _NONCE_SIZES:
        raise ConfigurationError("ear-nonce", actual=len(nonce))
    vector = trust_vector(result)
    worst = status(result, vector)
    appraisal = Appraisal(
        worst,
        vector,
        (result.policy,),
        NacreResult(result.verdict, _base64url(result.evidence), result.origin, result.release),
    )
    return Ear(
        eat_profile=PROFILE,
        ear_status=worst,
        iat=issued_at,
        exp=_end(result, issued_at, lifetime),
        ear_verifier_id=Verifier(developer, build),
        eat_nonce=None if nonce is None else _base64url(nonce),
        ear_raw_evidence=_base64url(result.raw) if carry_evidence else None,
        submods={result.platform or "evidence": appraisal},
    )


class EarSigner:
    """A key and whose it is: what stays the same from result to result, for servers that sign many.

    Signatures are deterministic.
    """

    __slots__ = ("_algorithm", "_build", "_developer", "_head", "_key_id", "_sign")

    def __init__(self, key: "PrivateKey", *, developer: str, build: str, key_id: str = "") -> None:
        """Bind a key.

        Args:
            key: ECDSA P-256 (ES256) or P-384 (ES384), or Ed25519 (EdDSA).
            developer: Who made this verifier.
            build: Which build of it.
            key_id: What headers call the key; verifiers pin keys, they never take one from the header.

        Raises:
            ConfigurationError: ``signing-key`` for any other key.
        """
        from nacre.trust.signing import signing_key  # noqa: PLC0415 (slow to import, needed to sign only)

        name, self._algorithm, self._sign = signing_key(key)
        self._developer, self._build, self._key_id = developer, build, key_id
        header = {"alg": name, "typ": "eat+jwt"} | ({"kid": key_id} if key_id else {})
        self._head = _base64url(msgspec.json.encode(header))

    def jwt(
        self,
        result: Result,
        *,
        issued_at: int,
        lifetime: int,
        nonce: bytes | None = None,
        carry_evidence: bool = False,
        profile: str = PROFILE,
    ) -> str:
        """Sign a Result: a JWT in compact form.

        Args:
            result: The Result.
            issued_at: As for :func:`ear`.
            lifetime: Seconds until it ends.
            nonce: The nonce of whoever asks for it, 8 to 64 bytes.
            carry_evidence: Whether the evidence goes along, so that the reader can appraise it again.
            profile: The profile to write, one of :data:`nacre.appraisal.ear_names.PROFILES`.

        Raises:
            ConfigurationError: As :func:`ear`; ``ear-profile-unknown``.
        """
        claims = self._claims(result, issued_at, lifetime, nonce, carry_evidence=carry_evidence)
        written = claims if profile == PROFILE else _older(claims, profile)
        message = f"{self._head}.{_base64url(msgspec.json.encode(written))}"
        return f"{message}.{_base64url(self._sign(message.encode()))}"

    def cwt(
        self,
        result: Result,
        *,
        issued_at: int,
        lifetime: int,
        nonce: bytes | None = None,
        carry_evidence: bool = False,
    ) -> bytes:
        """Sign a Result as an EAR of draft -03: a CWT, COSE_Sign1 with tag 18.

        Args:
            result: The Result.
            issued_at: As for :func:`ear`.
            lifetime: Seconds until it ends.
            nonce: The nonce of whoever asks for it, 8 to 64 bytes.
            carry_evidence: Whether the evidence goes along, so that the reader can appraise it again.

        Raises:
            ConfigurationError: As :func:`ear`.
        """
        from nacre.appraisal.ear_names import to_cbor  # noqa: PLC0415 (only for CWTs)
        from nacre.trust import cbor  # noqa: PLC0415

        header: dict[int, object] = {_COSE_ALGORITHM: self._algorithm}
        if self._key_id:
            header[_COSE_KEY_ID] = self._key_id.encode()
        claims = self._claims(result, issued_at, lifetime, nonce, carry_evidence=carry_evidence)
        protected, payload = cbor.dumps(header), cbor.dumps(to_cbor(msgspec.to_builtins(claims)))
        signature = self._sign(cbor.dumps(["Signature1", protected, b"", payload]))
        return _TAG_18 + cbor.dumps([protected, {}, payload, signature])

    def _claims(
        self, result: Result, issued_at: int, lifetime: int, nonce: bytes | None, *, carry_evidence: bool
    ) -> Ear:
        return ear(
            result,
            issued_at=issued_at,
            developer=self._developer,
            build=self._build,
            lifetime=lifetime,
            nonce=nonce,
            carry_evidence=carry_evidence,
        )


def signed_ear(
    result: Result,
    *,
    key: "PrivateKey",
    issued_at: int,
    developer: str,
    build: str,
    lifetime: int,
    key_id: str = "",
    nonce: bytes | None = None,
    carry_evidence: bool = False,
    profile: str = PROFILE,
) -> str:
    """Sign a Result as an EAR: a JWT in compact form. For many results use :class:`EarSigner`.

    Args:
        result: The Result.
        key: ECDSA P-256 (ES256) or P-384 (ES384), or Ed25519 (EdDSA). Signatures are deterministic.
        issued_at: As for :func:`ear`.
        developer: Who made this verifier.
        build: Which build of it.
        lifetime: Seconds until it ends.
        key_id: What the header calls the key; verifiers pin keys, they never take one from the header.
        nonce: The nonce of whoever asks for it, 8 to 64 bytes.
        carry_evidence: Whether the evidence goes along, so that the reader can appraise it again.
        profile: The profile to write, one of :data:`nacre.appraisal.ear_names.PROFILES`.

    Raises:
        ConfigurationError: As :func:`ear`; ``signing-key`` for any other key, ``ear-profile-unknown``.
    """
    return EarSigner(key, developer=developer, build=build, key_id=key_id).jwt(
        result,
        issued_at=issued_at,
        lifetime=lifetime,
        nonce=nonce,
        carry_evidence=carry_evidence,
        profile=profile,
    )


def _older(claims: Ear, profile: str) -> dict[str, object]:
    from nacre.appraisal.ear_names import PROFILES, to_dotted  # noqa: PLC0415 (only for older profiles)

    if profile not in PROFILES:
        raise ConfigurationError("ear-profile-unknown", actual=profile, expected=PROFILES)
    return to_dotted(msgspec.to_builtins(claims)) | {"eat_profile": profile}


def _end(result: Result, issued_at: int, lifetime: int | None) -> int | None:
    if lifetime is None:
        return None
    if lifetime <= 0:
        raise ConfigurationError("ear-lifetime", actual=lifetime)
    end = issued_at + lifetime
    valid_until = result.claims.valid_until if result.claims else None
    # Endorsements that ended already were waived by name; the status says so.
    return min(end, valid_until) if valid_until is not None and valid_until > issued_at else end


def _base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
