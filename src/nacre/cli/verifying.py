# SPDX-License-Identifier: Apache-2.0
"""What ``nacre verify`` does, however its command line was read."""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from nacre import platforms
from nacre.appraisal.appraise import accept, refuse
from nacre.appraisal.bindings import Binding
from nacre.appraisal.policy import Policy
from nacre.appraisal.release import Release
from nacre.appraisal.result import Result
from nacre.appraisal.verdict import Verdict
from nacre.checks import Check, skipped
from nacre.cli import inputs, render, terminal
from nacre.cli.exits import Exit
from nacre.cli.failure import exit_of
from nacre.endorsers.verifier import UNAVAILABLE, Verifier, system_clock
from nacre.errors import AppraisalError, ConfigurationError, MalformedEvidence, UnsupportedEvidence
from nacre.platforms.base import Claims
from nacre.trust.keys import stay_with_openssl

if TYPE_CHECKING:
    from nacre.appraisal.systems.envelope import Envelope
    from nacre.cli.whynot import WhyNot
    from nacre.platforms.base import Endorsements

__all__ = ["Request", "run"]

_NEEDED = (
    *(("ear", "ear_key"), ("ear_key", "ear"), ("ear_profile", "ear"), ("ear_cwt", "ear")),
    ("identity", "nonce"),
)
_SCHEMES = ("https://", "http://")
_VERDICTS = {
    Verdict.VERIFIED: Exit.ACCEPTED,
    Verdict.WARNING: Exit.WARNING,
    Verdict.INCOMPLETE: Exit.INCOMPLETE,
    Verdict.REJECTED: Exit.REJECTED,
}


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A command line; the fields are those of :data:`nacre.cli.options.VERIFY`."""

    evidence: str
    policy: str | None = None
    root: tuple[str, ...] = ()
    nonce: str | None = None
    identity: str | None = None
    system: str | None = None
    part: tuple[str, ...] = ()
    at: str | None = None
    endorsements: str | None = None
    offline: bool = False
    json: bool = False
    ear: bool = False
    ear_key: str | None = None
    ear_profile: str | None = None
    ear_cwt: bool = False
    why_not: str | None = None
    quiet: int = 0
    verbose: int = 0

    @classmethod
    def of(cls, values: Mapping[str, object]) -> "Request":
        """Make a request of parsed options."""
        return msgspec.convert(values, cls)


class _Served:
    """Says of evidence that came from a URL what is missing: anybody could have served it."""

    required: tuple[str, ...] = ("channel",)

    def __init__(self, url: str) -> None:
        self._check = skipped("channel", "channel-not-attested", url=url)

    def checks(self, claims: Claims, release: Release | None, *, at: int) -> Iterable[Check]:
        """Skip the one check."""
        del claims, release, at
        return (self._check,)


def run(request: Request) -> int:
    """Verify, write what came of it, and return the exit status."""
    _refuse_contradictions(request)
    stay_with_openssl()
    policy = _policy(request)
    at = None if request.at is None else inputs.time(request.at)
    result = _appraised(request, policy, at)
    try:
        accept(result, policy)
        accepted = True
    except AppraisalError:
        accepted = False
    _write(request, result.raw, result, accepted=accepted)
    return _status(result, accepted=accepted)


def _policy(request: Request) -> Policy:
    if request.policy is not None:
        return Policy.load(request.policy)
    if not request.root:
        return Policy.default()
    # As if a policy named the files for every platform: each takes only what chains to its own.
    listed = msgspec.json.encode(request.root).decode()
    tables = (f"[anchors.{name}]\nsimulated = {listed}\n" for name in platforms.builtin_names())
    return Policy.parse("".join(tables), base=Path())


def _appraised(request: Request, policy: Policy, at: int | None) -> Result:
    served = request.evidence.startswith(_SCHEMES)
    if served:
        from nacre.cli import live  # noqa: PLC0415 (each start loads only what it uses)

        base = live.base_of(request.evidence)
        if base is not None:
            given = _endorsements(request)
            return live.appraise(request, base, policy=policy, endorsements=given, at=at)
    verifier = Verifier(
        policy,
        endorsements=_endorsements(request),
        offline=request.offline,
        sources=(_Served(request.evidence),) if served else (),
    )
    binding = _binding(request)
    evidence = _evidence(request.evidence, served=served)
    try:
        envelope = _envelope(request, evidence, policy)
    except (MalformedEvidence, UnsupportedEvidence) as error:
        return refuse(evidence, error, policy=policy, at=system_clock() if at is None else at)
    brought = None if envelope is None else _brought(request, envelope)
    return verifier.appraise(envelope or evidence, binding=binding, endorsements=brought, at=at)


def _refuse_contradictions(request: Request) -> None:
    for one, other in (("json", "ear"), ("policy", "root"), ("quiet", "verbose"), ("ear_cwt", "ear_profile")):
        if getattr(request, one) and getattr(request, other):
            raise ConfigurationError("options-contradict", one=_flag(one), other=_flag(other))
    for one, needed in _NEEDED:
        if getattr(request, one) and not getattr(request, needed):
            raise ConfigurationError("option-missing", one=_flag(one), other=_flag(needed))


def _flag(name: str) -> str:
    return f"--{name}".replace("_", "-")


def _endorsements(request: Request) -> "Endorsements | None":
    if request.endorsements is None:
        return None
    from nacre.endorsers import bundle  # noqa: PLC0415 (each start loads only what it uses)

    return bundle.load(request.endorsements)


def _binding(request: Request) -> Binding | None:
    if request.nonce is None:
        return None
    identity = b"" if request.identity is None else inputs.document(request.identity)
    return Binding.nonce(inputs.nonce(request.nonce), identity=identity)


def _envelope(request: Request, evidence: bytes, policy: Policy) -> "Envelope | None":
    """Open what another system packed the evidence in, if it is not a device's own."""
    if request.system is None:
        try:
            platforms.detect(evidence, allowed_outsiders=policy.outsiders)
        except UnsupportedEvidence:
            pass
        else:
            if request.part:
                raise ConfigurationError("option-missing", one="--part", other="--as")
            return None
    from nacre.appraisal.systems import envelope as envelopes  # noqa: PLC0415 (only for other systems)

    given = inputs.parts(request.part)
    declared = {release.layout for release in policy.releases}
    if request.system is None:
        envelope = envelopes.recognise(evidence, given=given, declared=declared)
    else:
        envelope = envelopes.unwrap(evidence, name=request.system, given=given, declared=declared)
    if envelope is not None and envelope.binding is not None and request.nonce is not None:
        raise ConfigurationError("nonce-beside-layout", actual=envelope.binding.purpose)
    return envelope


def _brought(request: Request, envelope: "Envelope") -> "Endorsements | None":
    """Take the vendor's documents that came along, if there are no others and none may be fetched.

    Whoever sent them chose them: the oldest that are still valid, perhaps.
    """
    documents = envelope.opened.endorsements
    if not documents or not request.offline or request.endorsements is not None:
        return None
    from nacre.platforms.base import Endorsements  # noqa: PLC0415 (only for other systems)

    return Endorsements(documents)


def _evidence(name: str, *, served: bool) -> bytes:
    if not served:
        return inputs.evidence(name)
    from nacre.endorsers.fetch import fetch_evidence  # noqa: PLC0415 (loads an HTTP client)

    return fetch_evidence(name)


def _status(result: Result, *, accepted: bool) -> int:
    if accepted:
        return Exit.ACCEPTED
    if result.error is not None:
        return exit_of(result.error)
    if result.verdict is Verdict.INCOMPLETE and result.check(UNAVAILABLE) is not None:
        return Exit.UNAVAILABLE
    # A verdict that the policy does not accept never ends in 0.
    return _VERDICTS[result.verdict] or Exit.REJECTED


def _write(request: Request, evidence: bytes, result: Result, *, accepted: bool) -> None:
    why = None
    if request.why_not is not None:
        from nacre.cli import whynot  # noqa: PLC0415

        why = whynot.examine(evidence, result, older=request.why_not, bundle=request.endorsements is not None)
    if request.json:
        _write_json(result, why)
        return
    if request.ear and request.ear_key is not None:
        from nacre.cli import signing  # noqa: PLC0415 (only to sign)

        signing.write_ear(result, request.ear_key, profile=request.ear_profile, as_cwt=request.ear_cwt)
        return
    style, columns = terminal.style(sys.stdout), terminal.width(sys.stdout)
    if request.quiet:
        terminal.out([render.headline(result, accepted=accepted, style=style)][request.quiet - 1 :])
        return
    lines = render.result_lines(
        result,
        accepted=accepted,
        as_of=request.at is not None,
        verbose=request.verbose > 0,
        style=style,
        columns=columns,
    )
    terminal.out(lines if why is None else (*lines, "", *why.lines(style, columns)))


def _write_json(result: Result, why: "WhyNot | None") -> None:
    from nacre.appraisal.report import report, to_json  # noqa: PLC0415 (each start loads only what it uses)

    if why is None:
        terminal.json(to_json(result))
        return
    whole = msgspec.to_builtins(report(result)) | {"why_not": msgspec.to_builtins(why)}
    terminal.json(msgspec.json.format(msgspec.json.encode(whole), indent=2))
