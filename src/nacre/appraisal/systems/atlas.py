# SPDX-License-Identifier: Apache-2.0
"""Atlas (Concrete): attested TLS to applications on dstack.

After the handshake the client posts a nonce to ``/tdx_quote`` and gets dstack's answer inside an object: a
quote, over nonce and exporter of this very session, and the event log. What the log says of the application
is read as dstack's (``nacre explain dstack``), with the same limits.

The certificate of the session is not in the report data; the application writes its hash into the log, as
the last event ``New TLS Certificate``. Give the certificate (``--part certificate=@cert.der``) to have it
compared. That event comes from the application, so it is worth what the application is.

What its layout leaves open:

* **diversion**: any instance of the application may answer, run by anybody.
* **reflection**: the exporter is the same on both sides, and no role is bound.

Not proven here:
    No answer of a running Atlas service is public; the tests make theirs, around logs as dstack writes them.
"""

import hashlib
from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

from nacre.appraisal.purposes import Fields, Layout
from nacre.appraisal.systems import certificate, dstack, eventlog, parts
from nacre.appraisal.systems.base import Found, Opened, System
from nacre.checks import Check, Status, failed, passed, skipped
from nacre.platforms.base import Claims
from nacre.trust import json

__all__ = ["SYSTEM"]

_SIZE: Final = 32
_MAX_JSON: Final = 1 << 20
_WHAT: Final = "Atlas answer"
_RTMR3: Final = 3
_EVENT: Final = "New TLS Certificate"


def _quote(given: Mapping[str, bytes]) -> Fields:
    what = "atlas/tdx-quote"
    both = parts.sized(given, what, "nonce", _SIZE) + parts.sized(given, what, "exporter", _SIZE)
    return Fields(hashlib.sha512(both).digest())


#: ``exporter`` is TLS-Exporter("EXPORTER-Channel-Binding", no context, 32).
_TDX_QUOTE = Layout(
    "atlas/tdx-quote",
    ("nonce", "exporter"),
    _quote,
    ("diversion", "reflection"),
    "concrete-security/atlas, core/src/dstack/verifier.rs",
    "nonce",
)


class _Log(msgspec.Struct):
    event_log: str | list[object]


class _Answer(msgspec.Struct, forbid_unknown_fields=True):
    """dstack's answer to ``GetQuote``, inside."""

    quote: dict[str, object]


def _recognises(data: bytes) -> bool:
    start = b"".join(data[:64].split())
    return start.startswith(b'{"quote":{')


def _open(data: bytes, given: Mapping[str, bytes]) -> Opened:
    served = given.get("certificate")
    if data.lstrip()[:1] != b"{":
        return Opened(evidence=data)
    answer = json.decode(data, _Answer, what=_WHAT, limit=_MAX_JSON).quote
    inner = dstack.SYSTEM.open(msgspec.json.encode(answer), given)
    if served is None:
        return msgspec.structs.replace(inner, layout=_TDX_QUOTE)
    log = json.convert(answer, _Log, what=_WHAT).event_log
    events = eventlog.parse(log.encode() if isinstance(log, str) else msgspec.json.encode(log))
    held = certificate.read(served).certificate.digest
    return msgspec.structs.replace(
        inner,
        layout=_TDX_QUOTE,
        examine=_Examiner(inner, events, held),
        required=(*inner.required, "atlas.certificate"),
    )


class _Examiner(NamedTuple):
    """Reads what a verified quote says of the application, and of the certificate that it uses."""

    inner: Opened
    events: tuple[eventlog.Event, ...]
    certificate: bytes

    def __call__(self, claims: Claims, at: int) -> Found:
        found = Found() if self.inner.examine is None else self.inner.examine(claims, at)
        replayed = any(
            check.id == "dstack.event-log" and check.status is Status.PASS for check in found.checks
        )
        return Found((*found.checks, self._named(replayed=replayed)), found.facts)

    def _named(self, *, replayed: bool) -> Check:
        if not replayed:
            return skipped("atlas.certificate", "not-reached")
        named = [event for event in self.events if event.imr == _RTMR3 and event.event == _EVENT]
        expected = self.certificate.hex()
        if not named:
            return failed("atlas.certificate", "atlas-no-certificate", expected=expected)
        actual = named[-1].payload.decode("ascii", "replace")
        if actual != expected:
            return failed(
                "atlas.certificate", "atlas-other-certificate", expected=expected, actual=actual[:64]
            )
        return passed("atlas.certificate")


SYSTEM = System(
    name="atlas",
    title="Atlas",
    layouts=(_TDX_QUOTE,),
    facts=dstack.SYSTEM.facts,
    documents=("certificate", *dstack.SYSTEM.documents),
    recognises=_recognises,
    open=_open,
)
