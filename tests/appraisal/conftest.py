# SPDX-License-Identifier: Apache-2.0
"""A third-party platform, and results as an appraisal would make them."""

from collections.abc import Callable, Sequence
from typing import ClassVar

import pytest

from nacre import platforms
from nacre.appraisal.result import Result
from nacre.appraisal.verdict import conclude
from nacre.checks import Check, passed
from nacre.errors import NacreError
from nacre.platforms.base import Claims, Committed, PlatformPolicy, Register
from nacre.trust.anchors import Anchor, Origin

REQUIRED = ("acme.signature", "revocation", "executables", "binding", "freshness")
AT = 1_795_000_000

MakeResult = Callable[..., Result]


class AcmePolicy(PlatformPolicy, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A section with one key of each kind.

    Attributes:
        models: Models to accept.
        strict: Whether to be strict.
    """

    models: tuple[str, ...] = ()
    strict: bool = True


class Acme:
    """A platform with every kind of register."""

    name: ClassVar[str] = "acme"
    title: ClassVar[str] = "Acme Enclaves"
    roles: ClassVar[tuple[str, ...]] = ()
    required: ClassVar[tuple[str, ...]] = ("acme.signature", "revocation")
    physical: ClassVar[tuple[str, ...]] = ("acme.chip", "acme.room")
    not_proven: ClassVar[str] = "who feeds the coyote"
    policy: ClassVar[type[PlatformPolicy]] = AcmePolicy
    registers: ClassVar[tuple[Register, ...]] = (
        Register("code", 4, "value"),
        Register("boot", 4, "stated"),
        Register("extra", 2, "optional"),
        Register("product", 2, "optional", kind="number"),
        Register("svn", 2, "optional", kind="minimum"),
    )

    def anchors(self) -> tuple[Anchor, ...]:
        """Return the vendor's root."""
        return (Anchor("acme-root", b"acme", Origin.GENUINE, bytes(32)),)


class Either(Acme):
    """A platform whose code is told by one register, or by three others together."""

    name: ClassVar[str] = "either"
    registers: ClassVar[tuple[Register, ...]] = (
        Register("enclave", 4, "optional", alternative=1),
        Register("signer", 4, "optional", alternative=2),
        Register("product", 2, "optional", kind="number", alternative=2),
        Register("svn", 2, "optional", kind="minimum", alternative=2),
        Register("extra", 2, "optional"),
    )


class Lax(Acme):
    """A platform that requires no register."""

    name: ClassVar[str] = "lax"
    registers: ClassVar[tuple[Register, ...]] = (Register("code", 4, "optional"),)


@pytest.fixture(autouse=True)
def outsiders(monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """Install three third-party platforms."""
    installed = {platform.name: platform() for platform in (Acme, Either, Lax)}
    get = platforms.get
    monkeypatch.setattr(platforms, "get", lambda name: installed.get(name) or get(name))
    monkeypatch.setattr(platforms, "outsiders", lambda: tuple(sorted(installed)))
    return tuple(installed)


@pytest.fixture(scope="session")
def make_result() -> MakeResult:
    """Make results as an appraisal would: the verdict follows from the checks."""

    def make(
        *changed: Check,
        origin: Origin | None = Origin.GENUINE,
        verified: bool = True,
        debug: bool = False,
        error: NacreError | None = None,
        release: str | None = "worm-1",
        platform: str = "acme",
        valid_until: int | None = AT + 10_000,
        required: Sequence[str] = REQUIRED,
    ) -> Result:
        good = (
            passed("acme.signature"),
            passed("revocation"),
            passed("debug"),
            passed("executables", release="worm-1"),
            passed("binding", purpose="evidence"),
            passed("freshness", "fresh-nonce"),
        )
        replaced = {check.id for check in changed}
        checks = (*(check for check in good if check.id not in replaced), *changed)
        claims = Claims(
            platform="acme",
            origin=origin or Origin.GENUINE,
            checks=(),
            registers={"code": b"\xc0\xde\xc0\xde", "boot": bytes(4)},
            committed=Committed(bytes(64), nonce=b"n" * 32, fields=True),
            debug=debug,
            issued_at=AT - 5,
            valid_until=valid_until,
            identity={"chip": b"\x01\x02", "model": "A1", "shared": False},
        )
        return Result(
            verdict=conclude(checks, frozenset(required)),
            platform=platform,
            origin=origin if verified else None,
            checks=checks,
            claims=claims if verified else None,
            policy="policy-1",
            release=release,
            at=AT,
            raw=b"evidence",
            error=error,
        )

    return make
