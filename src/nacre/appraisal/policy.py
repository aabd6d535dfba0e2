# SPDX-License-Identifier: Apache-2.0
"""Policies: what a relying party asks of evidence.

A policy is a TOML document. What it does not say is refused or left unproven, never assumed: without a
release no verdict is better than INCOMPLETE, and every check that is given up is given up by name.
"""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import msgspec

from nacre import platforms
from nacre.appraisal.documents import Document, read_bytes, read_text
from nacre.appraisal.release import NAME, Release
from nacre.appraisal.verdict import Verdict
from nacre.checks import Check, Status
from nacre.errors import MalformedEvidence
from nacre.platforms.base import PlatformPolicy
from nacre.trust.anchors import Anchor, Origin, private_anchor, simulated_anchor

__all__ = ["WAIVABLE", "AnchorFiles", "Policy", "PolicyHead"]

#: What a waiver can turn into ``waived``. Only what could not be checked, or what is true of every
#: recorded evidence (it is old); never evidence that contradicts what was asked of it.
WAIVABLE: Mapping[str, frozenset[Status]] = {
    "freshness": frozenset({Status.SKIPPED, Status.FAIL}),
    "currency": frozenset({Status.SKIPPED, Status.FAIL}),
    "binding": frozenset({Status.SKIPPED}),
    "executables": frozenset({Status.SKIPPED}),
    "revocation": frozenset({Status.SKIPPED}),
}

_MAX_ANCHOR = 1 << 16
#: How the names of releases end that are CoRIM manifests.
_MANIFESTS = frozenset({".cbor", ".corim"})
_AGE = re.compile(r"([1-9][0-9]{0,8})([smhd])", re.ASCII)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

_Paths = Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]


class AnchorFiles(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The roots of one platform that a policy adds or leaves out.

    Attributes:
        genuine: Whether the vendor's roots are trusted.
        private: DER or PEM files of roots of somebody's own; what they vouch for is PRIVATE.
        simulated: DER or PEM files of development roots; what they vouch for is SIMULATED.
    """

    genuine: bool = True
    private: _Paths = ()
    simulated: _Paths = ()


class PolicyHead(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a policy says beside its sections for single platforms, as written.

    Attributes:
        id: The policy's identifier; a digest of what it says if it has none.
        accept: The worst verdict that is accepted.
        unsafe_waive: Checks that may be missing, by name. ``binding``, ``executables`` and
            ``revocation`` give up only a check that could not be made: evidence that is bound to
            something else, runs something else or is revoked stays refused. ``freshness`` and
            ``currency`` also accept evidence and endorsements out of their dates.
        releases: Release files, relative to the policy's own: TOML, or unsigned CoRIM by a name that ends in
            ``.corim`` or ``.cbor``.
        release: Releases written in the policy itself.
        platforms: The platforms that are accepted; if left out, those that the releases name, and
            without releases those that ship with this package. A third-party platform is used only if
            it is named here.
        max_age: The age up to which evidence that states its own time counts as fresh: seconds, or a
            number with ``s``, ``m``, ``h`` or ``d``.
        require_isolated: Whether only releases with the profile ``isolated`` are accepted.
        anchors: Platform to further roots.
    """

    id: Annotated[str, msgspec.Meta(pattern=NAME)] | None = None
    accept: Literal["VERIFIED", "WARNING"] = "VERIFIED"
    unsafe_waive: tuple[Literal["binding", "currency", "executables", "freshness", "revocation"], ...] = ()
    releases: _Paths = ()
    release: Annotated[tuple[dict[str, object], ...], msgspec.Meta(min_length=1)] = ()
    platforms: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)] = ()
    max_age: Annotated[int, msgspec.Meta(gt=0)] | str | None = None
    require_isolated: bool = False
    anchors: dict[str, dict[str, object]] = {}


class _Roots(NamedTuple):
    """The roots of one platform that a policy names, read."""

    genuine: bool
    own: tuple[Anchor, ...]


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What a relying party asks of evidence. Made by :meth:`load`, :meth:`parse` and :meth:`default`.

    Attributes:
        id: As given, or ``sha256:`` and the digest of everything that it says, releases and roots
            included.
        accept: The worst verdict that is accepted, VERIFIED or WARNING.
        unsafe_waive: The checks that may be missing.
        releases: The releases of which evidence has to show one, as a whole.
        platforms: The platforms that are accepted.
        max_age: Seconds up to which evidence that states its own time counts as fresh, or None.
        require_isolated: Whether the release has to have the profile ``isolated``.
        roots: Platform to the roots that the policy adds or leaves out.
        sections: Platform to its part of the policy. Filled in with defaults as they are asked for.
        anchored: Platform to all its anchors, filled in as they are asked for.
    """

    id: str
    accept: Verdict = Verdict.VERIFIED
    unsafe_waive: tuple[str, ...] = ()
    releases: tuple[Release, ...] = ()
    platforms: tuple[str, ...] = ()
    max_age: int | None = None
    require_isolated: bool = False
    roots: Mapping[str, _Roots] = {}
    sections: dict[str, PlatformPolicy] = msgspec.field(default_factory=dict)
    anchored: dict[str, tuple[Anchor, ...]] = msgspec.field(default_factory=dict)

    @classmethod
    def load(cls, path: str | Path) -> "Policy":
        """Read a policy file and the releases and roots that it names.

        Raises:
            ConfigurationError: A file cannot be read, or what it says cannot be used.
        """
        file = Path(path)
        text = read_text(file, what="policy")
        return _Maker(Document.parse(text, what="policy", file=str(path)), file.parent).policy()

    @classmethod
    def parse(cls, text: str, *, base: str | Path | None = None) -> "Policy":
        """Read a policy from TOML text.

        Args:
            text: The document.
            base: The folder that its paths are relative to. Without one it may name no files at all, so
                that a stranger's policy cannot make this process read any.

        Raises:
            ConfigurationError: What it says cannot be used.
        """
        folder = None if base is None else Path(base)
        return _Maker(Document.parse(text, what="policy", file="(text)"), folder).policy()

    @classmethod
    def default(cls) -> "Policy":
        """Return the policy of somebody who has none.

        It names no release, so its verdict is INCOMPLETE at best.
        """
        return cls(id="default", platforms=platforms.builtin_names())

    @property
    def outsiders(self) -> tuple[str, ...]:
        """The accepted platforms that do not ship with this package."""
        builtin = platforms.builtin_names()
        return tuple(name for name in self.platforms if name not in builtin)

    def section(self, platform: str) -> PlatformPolicy:
        """Return the part of the policy that a platform understands, its defaults if there is none.

        Raises:
            ConfigurationError: ``platform-unknown``.
        """
        section = self.sections.get(platform)
        if section is None:
            section = self.sections[platform] = platforms.get(platform).policy()
        return section

    def anchors_for(self, platform: str) -> tuple[Anchor, ...]:
        """Return the roots to trust for a platform: the vendor's, and those that the policy names.

        Raises:
            ConfigurationError: ``platform-unknown``, ``anchor-altered``.
        """
        anchors = self.anchored.get(platform)
        if anchors is None:
            named = self.roots.get(platform, _Roots(genuine=True, own=()))
            vendor = platforms.get(platform).anchors() if named.genuine else ()
            anchors = self.anchored[platform] = (*vendor, *named.own)
        return anchors

    def waives(self, check: Check) -> bool:
        """Tell whether the policy gives this check up, with the outcome that it has."""
        return check.id in self.unsafe_waive and check.status in WAIVABLE[check.id]


class _Maker:
    """Makes one policy of one document."""

    def __init__(self, document: Document, base: Path | None) -> None:
        own = PolicyHead.__struct_fields__
        table = {key: value for key, value in document.table.items() if key in own}
        self._document = document
        self._base = base
        self._head = document._replace(table=table).convert(PolicyHead)
        self._names = tuple(dict.fromkeys((*platforms.builtin_names(), *self._head.platforms)))
        for key in document.table:
            if key not in own and key not in self._names:
                raise document.unknown(key, (*own, *self._names))

    def policy(self) -> Policy:
        head = self._head
        self._refuse_repeats("unsafe_waive", head.unsafe_waive)
        self._refuse_repeats("platforms", head.platforms)
        for name in head.platforms:
            platforms.get(name)
        releases = self._releases()
        self._refuse_repeats("releases", [release.id for release in releases])
        named = {name for release in releases for name in release.variants}
        roots = {name: self._roots(name, table) for name, table in head.anchors.items()}
        max_age = self._max_age()
        return Policy(
            id=head.id or self._digest(releases, roots, max_age),
            accept=Verdict(head.accept),
            unsafe_waive=head.unsafe_waive,
            releases=releases,
            platforms=head.platforms
            or tuple(name for name in self._names if name in named)
            or platforms.builtin_names(),
            max_age=max_age,
            require_isolated=head.require_isolated,
            roots=roots,
            sections={name: self._section(name) for name in self._names if name in self._document.table},
        )

    def _refuse_repeats(self, key: str, values: "tuple[str, ...] | list[str]") -> None:
        if len(set(values)) != len(values):
            repeated = next(value for value in values if values.count(value) > 1)
            raise self._document.wrong(key, f"{repeated} is there twice")

    def _path(self, key: str, path: str) -> Path:
        if self._base is None:
            raise self._document.wrong(key, "a policy that is not a file itself may name no files")
        return self._base / path

    def _releases(self) -> tuple[Release, ...]:
        outsiders = tuple(name for name in self._head.platforms if name not in platforms.builtin_names())
        files = [self._release(self._path("releases", path), outsiders) for path in self._head.releases]
        inline = [
            Release.decode(self._document.below(f"release[{position}]", table), outsiders=outsiders)
            for position, table in enumerate(self._head.release)
        ]
        return (*files, *inline)

    def _release(self, path: Path, outsiders: tuple[str, ...]) -> Release:
        if path.suffix in _MANIFESTS:
            from nacre.appraisal.reference.convert import load_manifest  # noqa: PLC0415 (most are TOML)

            return load_manifest(path, outsiders=outsiders)
        return Release.load(path, outsiders=outsiders)

    def _section(self, name: str) -> PlatformPolicy:
        table = self._document.table[name]
        if not isinstance(table, dict):
            raise self._document.wrong(name, f"a table [{name}] was expected")
        return self._document.below(name, table).convert(platforms.get(name).policy)

    def _roots(self, platform: str, table: dict[str, object]) -> _Roots:
        key = f"anchors.{platform}"
        if platform not in self._names:
            raise self._document.unknown(key, [f"anchors.{name}" for name in self._names])
        files = self._document.below(key, table).convert(AnchorFiles)
        private = [
            private_anchor(self._root(f"{key}.private", path), name=Path(path).name) for path in files.private
        ]
        simulated = [
            simulated_anchor(self._root(f"{key}.simulated", path), name=Path(path).name)
            for path in files.simulated
        ]
        own = (*private, *simulated)
        self._refuse_repeats(key, [anchor.digest.hex() for anchor in own])
        for anchor in own:
            if anchor.origin is Origin.GENUINE:
                raise self._document.wrong(key, f"{anchor.name} is a vendor's root, which needs no naming")
        if not own and not files.genuine:
            raise self._document.wrong(key, "no root is left to trust")
        return _Roots(files.genuine, own)

    def _root(self, key: str, path: str) -> bytes:
        from nacre.trust import pem, x509  # noqa: PLC0415 (slow to import; most policies name no roots)

        data = read_bytes(self._path(key, path), what="root", limit=_MAX_ANCHOR)
        try:
            ders = pem.certificates(data) if data.startswith(b"-----") else (data,)
            (certificate,) = [x509.parse_certificate(der) for der in ders]
        except (MalformedEvidence, ValueError) as error:
            raise self._document.wrong(key, f"{path} is not one certificate: {error}") from None
        return certificate.der

    def _max_age(self) -> int | None:
        age = self._head.max_age
        if not isinstance(age, str):
            return age
        parts = _AGE.fullmatch(age)
        if parts is None:
            raise self._document.wrong("max_age", f"seconds, or a text like 5m or 1h, expected; got {age}")
        return int(parts[1]) * _UNITS[parts[2]]

    def _digest(self, releases: tuple[Release, ...], roots: Mapping[str, _Roots], max_age: int | None) -> str:
        """Digest what the policy says, however it is laid out and wherever its files are."""
        head = self._head
        said = {
            "accept": head.accept,
            "unsafe_waive": sorted(head.unsafe_waive),
            "releases": [release.fingerprint.hex() for release in releases],
            "platforms": sorted(head.platforms),
            "max_age": max_age,
            **({"require_isolated": True} if head.require_isolated else {}),
            "anchors": {
                name: [named.genuine, [(anchor.origin, anchor.digest.hex()) for anchor in named.own]]
                for name, named in roots.items()
            },
            "sections": {name: self._document.table.get(name) for name in self._names},
        }
        return "sha256:" + hashlib.sha256(msgspec.json.encode(said, order="sorted")).hexdigest()
