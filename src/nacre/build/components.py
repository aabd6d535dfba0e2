# SPDX-License-Identifier: Apache-2.0
"""What an image is made of, as others name it: one record for each thing that was taken from somewhere.

Source: package-url/purl-spec, ``purl-specification.rst``; its types ``deb``, ``generic``, ``npm``, ``oci``,
``pypi``.
"""

import re
from collections.abc import Iterable
from typing import Literal
from urllib.parse import quote

import msgspec

from nacre.build.lock import Deb, Lock

__all__ = ["Component", "Kind", "of_lock", "once"]

Kind = Literal["deb", "file", "firmware", "image", "kernel", "npm", "wheel"]

_SAFE = "-._~"
_ARCHITECTURE = re.compile(r"_([a-z0-9]+)\.deb")
_DEBIAN: dict[str, Kind] = {"firmware": "firmware", "kernel": "kernel"}


class Component(msgspec.Struct, frozen=True, kw_only=True):
    """One thing.

    Attributes:
        kind: Where it comes from, and what it is.
        name: As its source calls it.
        version: Of it; may be empty of a file.
        sha256: Of the file that was taken, hex.
        source: What it was made from, as far as that has another name: Debian's source package.
        licence: An SPDX expression, or a name; empty if nobody said.
        architecture: Of a package of Debian's.
        suite: The release of Debian's that it is of, by code name; empty if several could be.
        uses: What for.
    """

    kind: Kind
    name: str
    version: str
    sha256: str
    source: str = ""
    licence: str = ""
    architecture: str = ""
    suite: str = ""
    uses: tuple[str, ...] = ()

    @property
    def purl(self) -> str:
        """The name by which databases of known faults know it; empty for a file, which they do not."""
        if self.kind == "file":
            return ""
        name, version = self.name.lower(), quote(self.version, safe=_SAFE + ":")
        if self.kind == "wheel":
            return f"pkg:pypi/{quote(name.replace('_', '-'), safe=_SAFE)}@{version}"
        if self.kind == "npm":
            return f"pkg:npm/{quote(name, safe=_SAFE + '/')}@{version}"
        if self.kind == "image":
            return f"pkg:oci/{quote(name.rpartition('/')[2], safe=_SAFE)}@sha256%3A{self.sha256}"
        if self.architecture:
            suite = f"&distro={self.suite}" if self.suite else ""
            return f"pkg:deb/debian/{quote(name, safe=_SAFE)}@{version}?arch={self.architecture}{suite}"
        return f"pkg:generic/{quote(self.name, safe=_SAFE)}@{version}"


def of_lock(lock: Lock) -> tuple[Component, ...]:
    """List what a lock takes: the agent, and each file once, sorted."""
    agent = Component(kind="file", name="nacre agent", version=lock.nacre, sha256=lock.agent, uses=("agent",))
    suites = {one.suite.partition("-")[0] for one in lock.snapshots}
    suite = suites.pop() if len(suites) == 1 else ""
    found = [agent, *[_of_deb(one, suite) for one in lock.packages]]
    found += [
        Component(kind="wheel", name=one.name, version=one.version, sha256=one.sha256, uses=(one.use,))
        for one in lock.wheels
    ]
    found += [
        Component(kind="npm", name=one.name, version=one.version, sha256=one.sha256, uses=("app",))
        for one in lock.modules
    ]
    if lock.base is not None:
        name, _, version = (lock.base.name or "image").partition(":")
        found.append(
            Component(kind="image", name=name, version=version, sha256=lock.base.sha256, uses=("app",))
        )
    if lock.kernel is not None:
        kernel = lock.kernel
        found.append(
            Component(
                kind="kernel",
                name=kernel.name,
                version=kernel.version,
                sha256=kernel.sha256,
                uses=("kernel",),
            )
        )
    return once(found)


def once(components: Iterable[Component]) -> tuple[Component, ...]:
    """Put what is there several times together, and all into one order."""
    found: dict[tuple[str, str, str, str], Component] = {}
    for one in components:
        key = (one.kind, one.name, one.version, one.sha256)
        uses = {*one.uses, *(found[key].uses if key in found else ())}
        found[key] = msgspec.structs.replace(one, uses=tuple(sorted(uses)))
    return tuple(one for _, one in sorted(found.items()))


def _of_deb(package: Deb, suite: str) -> Component:
    architecture = _ARCHITECTURE.search(package.path)
    return Component(
        kind=_DEBIAN.get(package.use, "deb"),
        name=package.name,
        version=package.version,
        sha256=package.sha256,
        source=package.source,
        architecture=architecture[1] if architecture else "all",
        suite=suite,
        uses=(package.use,),
    )
