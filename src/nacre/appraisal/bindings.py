# SPDX-License-Identifier: Apache-2.0
"""Bindings: what a piece of evidence has to be bound to, and the check that it is."""

import hashlib
from collections.abc import Collection, Iterable, Mapping
from hmac import compare_digest

import msgspec

from nacre.appraisal.purposes import PURPOSES, Layout, digest
from nacre.checks import Check, Status, failed, passed, skipped
from nacre.errors import ConfigurationError
from nacre.platforms.base import Committed

__all__ = ["NONCE_SIZE", "Binding"]

#: Bytes of every nonce of ours.
NONCE_SIZE = 32
#: Bytes that a raw nonce, whose form another system chose, needs to count as one.
_LEAST_RAW_NONCE = 16
_REPORT_DATA = 64
_EXPORTER = 32
_ADDRESS = 20
_MAX_APP_DATA = 4096
_MAX_PART = 1 << 20
_ROLES = ("client", "server")
_RAW = "raw"

_PASSED = {name: passed("binding", purpose=name) for name in (*PURPOSES, _RAW)}


class Binding(msgspec.Struct, frozen=True, kw_only=True):
    """What evidence has to be bound to. Made by the methods named after the purposes.

    Attributes:
        purpose: One of our purposes, the name of a layout, or ``raw``.
        digest: What the field for digests has to hold, or None if that is not asked.
        nonce_field: What a separate nonce field has to hold (Nitro); None if nothing.
        key_field: What a separate key field has to hold (Nitro), DER SubjectPublicKeyInfo; None if nothing.
        fresh: Whether evidence bound so was made after the verifier's nonce.
        own: Whether it is one of our purposes, which nothing else can be mistaken for.
        loose: Whether fields that it does not name may hold anything.
        partial: Whether the field for digests only begins with ``digest``.
        contradiction: A reason code, if what it is made of contradicts itself; then nothing is bound so.
    """

    purpose: str
    digest: bytes | None
    nonce_field: bytes | None = None
    key_field: bytes | None = None
    fresh: bool = False
    own: bool = True
    loose: bool = False
    partial: bool = False
    contradiction: str = ""

    @classmethod
    def nonce(cls, nonce: bytes, *, identity: bytes = b"") -> "Binding":
        """Bind a plain "who are you" answer to the verifier's nonce.

        Args:
            nonce: 32 random bytes, used once.
            identity: The identity document that came with the evidence, if one did.

        Raises:
            ConfigurationError: ``nonce-size``.
        """
        _nonce(nonce)
        return cls(
            purpose="evidence",
            digest=digest("evidence", nonce, _hashed(identity)),
            nonce_field=nonce,
            fresh=True,
        )

    @classmethod
    def channel(
        cls,
        *,
        role: str,
        exporter: bytes,
        nonce: bytes,
        own_key: bytes,
        peer_key: bytes = b"",
        context: bytes = b"",
    ) -> "Binding":
        """Bind to one TLS session.

        Args:
            role: Of the attester: ``client`` or ``server``.
            exporter: The session's exporter, 32 bytes.
            nonce: The verifier's, 32 bytes.
            own_key: The attester's key, DER SubjectPublicKeyInfo.
            peer_key: The verifier's key likewise, empty if it has none.
            context: What both sides agree the session is about; in our own profiles never empty.

        Raises:
            ConfigurationError: ``nonce-size``, ``binding-part``.
        """
        if role not in _ROLES:
            raise _wrong("channel", "role", expected="client or server", actual=role)
        _nonce(nonce)
        _sized("channel", "exporter", exporter, _EXPORTER)
        _present("channel", "own_key", own_key)
        parts = (role.encode(), exporter, nonce, _hashed(own_key), _hashed(peer_key), _hashed(context))
        return cls(
            purpose="channel",
            digest=digest("channel", *parts),
            nonce_field=nonce,
            key_field=own_key,
            fresh=True,
        )

    @classmethod
    def custody(
        cls, *, nonces: Iterable[bytes], hpke_key: bytes, application: bytes, epoch: int, holder_key: bytes
    ) -> "Binding":
        """Bind a request for keys.

        Args:
            nonces: One of each node that answered, 32 bytes each; the order does not matter.
            hpke_key: The HPKE public key that shares are encrypted to.
            application: The application's identifier.
            epoch: The key network's epoch.
            holder_key: The key that holds the lease, DER SubjectPublicKeyInfo.

        Raises:
            ConfigurationError: ``nonce-size``, ``binding-part``.
        """
        ordered = sorted(nonces)
        for nonce in ordered:
            _nonce(nonce)
        _present("custody", "nonces", b"".join(ordered))
        for name, part in (("hpke_key", hpke_key), ("application", application), ("holder_key", holder_key)):
            _present("custody", name, part)
        fresh = hashlib.sha256(b"".join(ordered)).digest()
        parts = (fresh, hpke_key, application, _integer("custody", "epoch", epoch, 8), holder_key)
        return cls(
            purpose="custody",
            digest=digest("custody", *parts),
            nonce_field=fresh,
            key_field=hpke_key,
            fresh=True,
        )

    @classmethod
    def response_key(cls, *, key: bytes, not_after: int) -> "Binding":
        """Bind a key that signs responses and receipts.

        Args:
            key: DER SubjectPublicKeyInfo.
            not_after: When the key ends, Unix seconds.

        Raises:
            ConfigurationError: ``binding-part``.
        """
        _present("response-key", "key", key)
        end = _integer("response-key", "not_after", not_after, 8)
        return cls(purpose="response-key", digest=digest("response-key", key, end), key_field=key)

    @classmethod
    def body_key(cls, *, configuration: bytes, nonce: bytes = b"") -> "Binding":
        """Bind a key for encrypted HTTP bodies.

        Args:
            configuration: The HPKE key configuration as served.
            nonce: The verifier's, 32 bytes, or empty.

        Raises:
            ConfigurationError: ``nonce-size``, ``binding-part``.
        """
        _present("body-key", "configuration", configuration)
        parts = (_nonce(nonce, optional=True), configuration)
        return cls(
            purpose="body-key",
            digest=digest("body-key", *parts),
            nonce_field=nonce or None,
            fresh=bool(nonce),
        )

    @classmethod
    def chain_key(cls, *, chain: int, contract: bytes, address: bytes, nonce: bytes = b"") -> "Binding":
        """Bind a key that a contract registers.

        Args:
            chain: The chain's number.
            contract: The contract's address, 20 bytes.
            address: The key's address, 20 bytes.
            nonce: 32 bytes, or empty.

        Raises:
            ConfigurationError: ``nonce-size``, ``binding-part``.
        """
        _sized("chain-key", "contract", contract, _ADDRESS)
        _sized("chain-key", "address", address, _ADDRESS)
        number = _integer("chain-key", "chain", chain, 32)
        parts = (number, contract, address, _nonce(nonce, optional=True))
        return cls(
            purpose="chain-key",
            digest=digest("chain-key", *parts),
            nonce_field=nonce or None,
            fresh=bool(nonce),
        )

    @classmethod
    def node(cls, *, node: bytes, key: bytes, genesis: bytes, card: bytes) -> "Binding":
        """Bind a member of the key network.

        Args:
            node: The node's identifier.
            key: Its identity key, DER SubjectPublicKeyInfo.
            genesis: The network's genesis digest, 32 bytes.
            card: The node's card, as it is hashed.

        Raises:
            ConfigurationError: ``binding-part``.
        """
        _present("node", "node", node)
        _present("node", "key", key)
        _present("node", "card", card)
        _sized("node", "genesis", genesis, hashlib.sha256().digest_size)
        return cls(purpose="node", digest=digest("node", node, key, genesis, _hashed(card)), key_field=key)

    @classmethod
    def app_data(cls, data: bytes) -> "Binding":
        """Bind whatever the application asked for, at most 4,096 bytes.

        Raises:
            ConfigurationError: ``binding-part``.
        """
        if len(data) > _MAX_APP_DATA:
            raise _wrong("app-data", "data", expected=f"at most {_MAX_APP_DATA} bytes", actual=len(data))
        return cls(purpose="app-data", digest=digest("app-data", data))

    @classmethod
    def raw(
        cls,
        *,
        report_data: bytes | None = None,
        user_data: bytes | None = None,
        nonce: bytes | None = None,
        public_key: bytes | None = None,
        contains_nonce: bool = False,
    ) -> "Binding":
        """Compare fields as they are, for software that chose their bytes itself.

        Args:
            report_data: All 64 bytes, on platforms with one field.
            user_data: Nitro's field of that name.
            nonce: Nitro's field of that name; it counts as fresh from 16 bytes on.
            public_key: Nitro's field of that name.
            contains_nonce: Whether what is compared contains a nonce of the caller, made for this.

        Raises:
            ConfigurationError: ``binding-part``.
        """
        others = any(field is not None for field in (user_data, nonce, public_key))
        if report_data is not None:
            if others:
                raise _wrong("raw", "report_data", expected="no other field beside it", actual="others")
            _sized("raw", "report_data", report_data, _REPORT_DATA)
        elif not others:
            raise _wrong("raw", "report_data", expected="at least one field", actual="none")
        return cls(
            purpose=_RAW,
            digest=user_data if report_data is None else report_data,
            nonce_field=nonce,
            key_field=public_key,
            fresh=contains_nonce or (nonce is not None and len(nonce) >= _LEAST_RAW_NONCE),
            own=False,
            loose=True,
        )

    @classmethod
    def foreign(cls, layout: Layout, parts: Mapping[str, bytes], *, ours: Collection[str] = ()) -> "Binding":
        """Bind as another system does.

        Args:
            layout: The system's layout.
            parts: The parts that it names, by name.
            ours: Names of the parts that the verifier itself gave. Evidence is fresh only if the part that
                makes it so is among them: a nonce that came with the evidence shows nothing.

        Raises:
            ConfigurationError: ``binding-parts``, ``binding-part``.
        """
        if set(parts) != set(layout.parts):
            raise ConfigurationError(
                "binding-parts", what=layout.name, expected=layout.parts, actual=tuple(sorted(parts))
            )
        fields = layout.compute(parts)
        return cls(
            purpose=layout.name,
            digest=fields.data,
            nonce_field=fields.nonce,
            key_field=fields.public_key,
            fresh=layout.fresh in ours,
            own=False,
            loose=True,
            partial=fields.partial,
            contradiction=fields.contradiction,
        )

    def committed(self, *, fields: bool, hashed: bool = False) -> Committed:
        """Say what evidence with this binding commits to; the attester's side of :meth:`check`.

        Args:
            fields: Whether the platform has separate nonce and key fields.
            hashed: Whether its field holds the SHA-256 of the digest.
        """
        data = self.digest or b""
        return Committed(
            data=hashlib.sha256(data).digest() if hashed and self.own else data,
            nonce=self.nonce_field if fields else None,
            public_key=self.key_field if fields else None,
            fields=fields,
            hashed=hashed,
        )

    def check(self, committed: Committed, *, raw_declared: bool, layout: str | None = "") -> Check:
        """Hold what evidence commits to against this binding, in constant time.

        Args:
            committed: What the evidence commits to.
            raw_declared: Whether the matching release lets somebody else choose these bytes.
            layout: The one layout of another system that the matching release says its code uses, empty if
                it names none; None if no release matched, so that nobody says what this code uses.
        """
        declared = raw_declared or self.own or layout == self.purpose
        if not declared and self.purpose == _RAW:
            return failed("binding", "raw-report-data-undeclared", purpose=self.purpose)
        if not declared and layout is not None:
            return failed("binding", "layout-undeclared", expected=layout or "none", actual=self.purpose)
        mismatch = self._mismatch(committed)
        if mismatch is not None:
            return mismatch
        if not declared:
            return skipped("binding", "layout-without-release", actual=self.purpose)
        if self.own and raw_declared:
            return Check("binding", Status.WARN, "raw-oracle", {"purpose": self.purpose})
        return _PASSED.get(self.purpose) or passed("binding", purpose=self.purpose)

    def _mismatch(self, committed: Committed) -> Check | None:
        if self.contradiction:
            return failed("binding", self.contradiction, purpose=self.purpose)
        expected = self.committed(fields=committed.fields, hashed=committed.hashed)
        separate = self.nonce_field is not None or self.key_field is not None
        if self.loose and separate and not committed.fields:
            return failed("binding", "binding-field-absent")
        data = committed.data[: len(expected.data)] if self.partial else committed.data
        for reason, wanted, found in (
            ("binding-mismatch", None if self.digest is None else expected.data, data),
            ("binding-nonce-mismatch", expected.nonce, committed.nonce),
            ("binding-key-mismatch", expected.public_key, committed.public_key),
        ):
            if wanted is None and self.loose:
                continue
            if not compare_digest(wanted or b"", found or b""):
                return failed("binding", reason, purpose=self.purpose, expected=wanted, actual=found)
        return None


def _hashed(part: bytes) -> bytes:
    """Return SHA-256 of a part, and nothing for a part that is missing."""
    return hashlib.sha256(part).digest() if part else b""


def _wrong(purpose: str, part: str, *, expected: str | int, actual: str | int) -> ConfigurationError:
    return ConfigurationError("binding-part", what=purpose, part=part, expected=expected, actual=actual)


def _nonce(nonce: bytes, *, optional: bool = False) -> bytes:
    if len(nonce) != NONCE_SIZE and (nonce or not optional):
        raise ConfigurationError("nonce-size", expected=NONCE_SIZE, actual=len(nonce))
    return nonce


def _sized(purpose: str, name: str, part: bytes, size: int) -> None:
    if len(part) != size:
        raise _wrong(purpose, name, expected=f"{size} bytes", actual=len(part))


def _present(purpose: str, name: str, part: bytes) -> None:
    if not 0 < len(part) <= _MAX_PART:
        raise _wrong(purpose, name, expected=f"1 to {_MAX_PART} bytes", actual=len(part))


def _integer(purpose: str, name: str, value: int, size: int) -> bytes:
    if not 0 <= value < 1 << 8 * size:
        raise _wrong(purpose, name, expected=f"0 to 2^{8 * size} - 1", actual=value)
    return value.to_bytes(size, "big")
