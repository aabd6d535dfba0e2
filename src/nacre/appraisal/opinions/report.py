# SPDX-License-Identifier: Apache-2.0
"""What a verified opinion looks like as JSON, ``nacre-opinion/v1``: the issuer's words, not ours."""

from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from nacre import reasons
from nacre.appraisal.opinions.base import Opinion, Part, Stance
from nacre.appraisal.report import CheckReport, check_report
from nacre.checks import Check

__all__ = ["Answer", "OpinionReport", "answer"]


class OpinionReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a valid token says.

    Attributes:
        kind: The kind of token.
        title: The same for people.
        issuer: Who issued it, as far as the token says.
        subject: What it is about; empty where it does not say.
        stance: Whether the issuer affirms, affirms with reservations, objects, or does not judge.
        said: What the issuer says, for people.
        issued_at: When it was issued, RFC 3339.
        expires: When it ends, RFC 3339; null if never.
        key: The key's name; empty where it has none.
        key_sha256: SHA-256 of the key, in hexadecimal.
        algorithm: The signature's algorithm.
        anchor: The root above the key; null where the key itself is pinned.
        parts: What is said of each of several attesters.
        claims: The claims, under the issuer's names.
    """

    kind: str
    title: str
    issuer: str
    subject: str
    stance: Stance
    said: str
    issued_at: str
    expires: str | None
    key: str
    key_sha256: str
    algorithm: str
    anchor: str | None
    parts: tuple[Part, ...]
    claims: Mapping[str, object]


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a token counts, and what its issuer says.

    Attributes:
        schema: The name of this form.
        valid: Whether the token is signed by a pinned key, current, and meant for the reader.
        checks: What was checked of the token, and what it warns of.
        opinion: What the issuer says; null unless the token is valid.
    """

    schema: Literal["nacre-opinion/v1"]
    valid: bool
    checks: tuple[CheckReport, ...]
    opinion: OpinionReport | None


def answer(opinion: Opinion | None, checks: Iterable[Check]) -> Answer:
    """Say what came of a token: its opinion, or None if it was refused, and the checks that led there."""
    return Answer(
        schema="nacre-opinion/v1",
        valid=opinion is not None,
        checks=tuple(map(check_report, checks)),
        opinion=None if opinion is None else _opinion(opinion),
    )


def _opinion(opinion: Opinion) -> OpinionReport:
    signer = opinion.signer
    return OpinionReport(
        kind=opinion.kind,
        title=opinion.title,
        issuer=opinion.issuer,
        subject=opinion.subject,
        stance=opinion.stance,
        said=opinion.said,
        issued_at=_time(opinion.issued_at),
        expires=None if opinion.expires is None else _time(opinion.expires),
        key=signer.key_id,
        key_sha256=signer.digest.hex(),
        algorithm=signer.algorithm,
        anchor=signer.anchor or None,
        parts=opinion.parts,
        claims=opinion.claims,
    )


def _time(seconds: int) -> str:
    return reasons.render("{at:time}", {"at": seconds})
