# SPDX-License-Identifier: Apache-2.0
"""The hermetic contract: one JSON question in, one JSON answer out, and nothing else looked at.

For suites that test verifiers, of anybody: a program reads one request from stdin, writes one answer to
stdout and ends with a status that says the same. It reaches no network, asks no clock and reads no file of
its caller; whatever it is given, it answers. ``nacre conformance case`` is this verifier behind that
contract, and :class:`nacre.testing.peer.Peer` asks any other.
"""

import base64
import binascii

import msgspec

from nacre import platforms, reasons
from nacre.errors import MalformedEvidence, NacreError, UnsupportedEvidence
from nacre.testing.judging import Answer, Judged, judge, refusal
from nacre.testing.questions import PINNED_ROOT, ROOTS, Json, Question, anchors_of, platform_of
from nacre.trust import json
from nacre.trust.times import parse_rfc3339

__all__ = ["LIMIT", "Request", "answer", "encode_answer", "encode_request", "read_answer", "read_request"]

#: The most bytes of a request and of an answer.
LIMIT = 16 << 20


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a verifier is asked. All bytes are base64 of RFC 4648, section 4, with padding.

    Attributes:
        platform: The platform, ``tdx``, or what case files call its TEE, ``intel-tdx``.
        evidence: The evidence.
        collateral: Role to document, the roles of case files; null is the same as left out. Roots in it are
            never trusted for being there; ``trusted_ark_sha256`` (32 bytes, or as many in hexadecimal) names
            the one root to trust by its digest.
        anchor: The one root to trust, a DER certificate; null for the vendor's roots that the verifier ships.
        time: The time to judge at, RFC 3339 with ``Z`` and whole seconds.
        policy: What is asked beside: members of the platform's profile; null for the profile ``default``.
    """

    platform: str
    evidence: str
    time: str
    collateral: dict[str, str | None] = {}
    anchor: str | None = None
    policy: dict[str, Json] | None = None


def answer(data: bytes) -> Judged:
    """Answer a request, whatever it is; an error of ours is an answer too."""
    try:
        return judge(read_request(data))
    except NacreError as error:
        return refusal(error)
    except Exception as error:  # noqa: BLE001 (whoever asks gets an answer, never a traceback)
        return msgspec.structs.replace(refusal(None), why=f"{type(error).__name__}: {error}")


def read_request(data: bytes) -> Question:
    """Decode a request.

    Raises:
        MalformedEvidence: It is not one JSON object of this form; a member that is there twice is refused.
        UnsupportedEvidence: Platform or role are unknown here.
    """
    request = json.decode(data, Request, what="the request", limit=LIMIT)
    platform = platform_of(request.platform)
    known = (*platforms.get(platform).roles, *ROOTS, PINNED_ROOT)
    collateral = {}
    for role, document in request.collateral.items():
        if role not in known:
            raise UnsupportedEvidence("case-role", actual=role, expected=known)
        if document is not None:
            collateral[role] = _bytes(document, f"collateral.{role}")
    root = None if request.anchor is None else _bytes(request.anchor, "anchor")
    return Question(
        platform=platform,
        evidence=_bytes(request.evidence, "evidence"),
        collateral=collateral,
        anchors=anchors_of(platform, collateral, root=root),
        at=parse_rfc3339(request.time, what="time"),
        policy=request.policy or {},
    )


def encode_request(question: Question) -> bytes:
    """Write a question as a request."""
    return msgspec.json.encode(
        Request(
            platform=question.platform,
            evidence=_text(question.evidence),
            collateral={role: _text(document) for role, document in question.collateral.items()},
            anchor=_text(question.anchors[0].der) if question.anchors else None,
            time=reasons.render("{at:time}", {"at": question.at}),
            policy=dict(question.policy),
        )
    )


def encode_answer(found: Answer) -> bytes:
    """Write an answer."""
    return msgspec.json.encode(found)


def read_answer(data: bytes) -> Answer:
    """Decode a verifier's answer.

    Raises:
        MalformedEvidence: It is not one JSON object of this form.
    """
    return json.decode(data, Answer, what="the answer", limit=LIMIT)


def _bytes(text: str, what: str) -> bytes:
    try:
        decoded = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        decoded = b""
    # One text, one meaning: no line breaks, no bits beyond the end.
    if _text(decoded) != text:
        raise MalformedEvidence("case-base64", what=what, actual=text[:16])
    return decoded


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
