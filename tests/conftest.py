# SPDX-License-Identifier: Apache-2.0
"""What all tests share: where the vectors are, and that nothing leaves this machine."""

import ipaddress
import os
import socket
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import settings

from nacre.trust import keys

_HERE = Path(__file__).parent
_OWN = _HERE / "vectors"
_SHARED = _HERE.parent.parent / "shared" / "vectors"

_Report = TypeVar("_Report", pytest.TestReport, pytest.CollectReport)

# Skips that no installation mends.
_EXCUSED = ("root reads everything", "not beside this checkout")

_LONGEST_ID = 48

# A gate must not change its mind between two runs; `make soak` looks further every time.
settings.register_profile("gate", deadline=None, derandomize=True)
settings.register_profile("soak", deadline=None, max_examples=100_000)
settings.load_profile("gate")


@pytest.fixture(autouse=True)
def _engine_is_undecided_again() -> Iterator[None]:
    """A command that ran in this process decided for it; the tests of others decide anew."""
    yield
    if keys._openssl_only:
        keys._openssl_only.clear()
        keys.engine.cache_clear()


def vector_roots() -> list[Path]:
    """The project's own copy first, then the shared collection beside the checkout, if it is there."""
    return [root for root in (_OWN, _SHARED) if root.is_dir()]


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name cases alike in every worker: what is long was signed as a rule, and differs each time."""
    return argname if isinstance(val, bytes | str) and len(val) > _LONGEST_ID else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn the skip of what is missing into a failure where everything has to be there: in CI."""
    return _strict((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Do the same for whole modules."""
    return _strict((yield))


def _strict(report: _Report) -> _Report:
    if os.environ.get("CI") and report.outcome == "skipped" and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2]
        if not any(excuse in reason for excuse in _EXCUSED):
            report.outcome = "failed"
            report.longrepr = f"nothing is skipped in CI: {reason}"
    return report


@pytest.fixture(scope="session")
def vectors() -> Path:
    """The most complete folder of vectors at hand."""
    return _SHARED if _SHARED.is_dir() else _OWN


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return _HERE.parent


@pytest.fixture(scope="session", autouse=True)
def _loopback_only() -> Iterator[None]:
    """Refuse every connection and every name that would leave this machine."""
    connect, lookup = socket.socket.connect, socket.getaddrinfo

    def guarded_connect(self: socket.socket, address: object) -> None:
        if self.family != socket.AF_UNIX:
            _insist_on_loopback(address[0] if isinstance(address, tuple) else address)
        connect(self, address)  # type: ignore[arg-type]

    def guarded_lookup(host: bytes | str | None, *rest: object, **options: object) -> object:
        _insist_on_loopback(host)
        return lookup(host, *rest, **options)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded_connect)
        patch.setattr(socket, "getaddrinfo", guarded_lookup)
        yield


def _insist_on_loopback(host: object) -> None:
    if host is None or host == "localhost":
        return
    try:
        local = ipaddress.ip_address(str(host)).is_loopback
    except ValueError:
        local = False
    if not local:
        pytest.fail(f"a test tried to reach {host}")
