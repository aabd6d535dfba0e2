# SPDX-License-Identifier: Apache-2.0
"""What a set of packages depends on, by the newest version of each. Recommendations are not followed.

Source: Debian Policy, 7, "Declaring relationships between packages".
"""

import re
from collections.abc import Iterable, Iterator

from nacre.build.debian.index import Package
from nacre.build.debian.version import satisfies, version_key
from nacre.errors import BuildError

__all__ = ["Pool"]

_CLAUSE = re.compile(
    r"(?P<name>[a-z0-9][a-z0-9+.-]*)(:\w+)?\s*(\(\s*(?P<relation>[<>=]{1,2})\s*(?P<version>[^\s)]+)\s*\))?"
)


class Pool:
    """All packages of some suites."""

    def __init__(self, packages: Iterable[Package]) -> None:
        """Keep the newest version of each."""
        self._packages: dict[str, Package] = {}
        for package in packages:
            known = self._packages.get(package.name)
            if known is None or version_key(known.version) < version_key(package.version):
                self._packages[package.name] = package
        self._providers: dict[str, list[tuple[Package, str]]] = {}
        for package in self._packages.values():
            for clause in package.provides:
                match = _CLAUSE.fullmatch(clause)
                if match:
                    provided = (package, match["version"] or "")
                    self._providers.setdefault(match["name"], []).append(provided)

    def get(self, name: str) -> Package:
        """Return a package.

        Raises:
            BuildError: ``package-unknown``.
        """
        try:
            return self._packages[name]
        except KeyError:
            raise BuildError("package-unknown", what=name) from None

    def has(self, name: str) -> bool:
        """Tell whether there is a package of this name."""
        return name in self._packages

    def closure(self, names: Iterable[str]) -> tuple[Package, ...]:
        """Return packages and all that they depend on, by name.

        Raises:
            BuildError: ``package-unknown``, ``package-depends``.
        """
        chosen = {name: self.get(name) for name in names}
        waiting = list(chosen.values())
        while waiting:
            package = waiting.pop()
            for clause in package.depends:
                found = self._one_of(clause, chosen, package.name)
                if found.name not in chosen:
                    chosen[found.name] = found
                    waiting.append(found)
        return tuple(chosen[name] for name in sorted(chosen))

    def _one_of(self, clause: str, chosen: dict[str, Package], who: str) -> Package:
        """Return what satisfies a clause: what is chosen already, else the first alternative."""
        candidates = list(self._candidates(clause))
        for package in candidates:
            if package.name in chosen:
                return package
        if not candidates:
            raise BuildError("package-depends", what=who, expected=clause)
        return candidates[0]

    def _candidates(self, clause: str) -> Iterator[Package]:
        for alternative in clause.split("|"):
            match = _CLAUSE.fullmatch(alternative.strip())
            if match is None:
                continue
            relation, wanted = match["relation"], match["version"]
            package = self._packages.get(match["name"])
            if package and (not relation or satisfies(package.version, relation, wanted)):
                yield package
            providers = self._providers.get(match["name"], ())
            yield from sorted(
                (
                    provider
                    for provider, version in providers
                    if not relation or (version and satisfies(version, relation, wanted))
                ),
                key=lambda provider: provider.name,
            )
