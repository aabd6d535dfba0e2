# SPDX-License-Identifier: Apache-2.0
"""One started enclave: its device, its keys, its log, and what the doors to it may ask.

The doors (the public one, the app's, dstack's, the egress) hold no power of their own. What any of them can
have done is a method here.
"""

import functools
import secrets
from collections.abc import Mapping

import msgspec

from nacre import reasons
from nacre.appraisal.identity import IdentityDocument
from nacre.appraisal.systems.eventlog import Event
from nacre.checks import Check
from nacre.enclave.agent import boot
from nacre.enclave.agent.asking import Asking
from nacre.enclave.agent.config import Config
from nacre.enclave.agent.evidence import Witness
from nacre.enclave.agent.keys import Algorithm, Keys, Lasting
from nacre.enclave.agent.log import EventLog
from nacre.errors import EnclaveError
from nacre.platforms.device import Device

__all__ = ["Enclave", "Info", "Look"]

_BOOT = 16


class Look(msgspec.Struct, frozen=True):
    """One check that was made before there were keys."""

    check: str
    status: str
    text: str


class Info(msgspec.Struct, frozen=True, kw_only=True):
    """What an app is told about the enclave it runs in.

    Attributes:
        platform: The platform's name.
        mode: ``simulated`` or ``genuine``.
        app: The app's name.
        version: The app's version.
        release: The release's digest, hex.
        boot: What tells this start from others, hex.
        keys: The identity keys by name, DER SubjectPublicKeyInfo, hex.
        keys_last: ``image``: derived keys return with the same image on this machine; ``boot``: they end
            with this start.
        log_register: The register that events extend, or null.
        log_mirrored: Whether every event also reached the configured file.
        purposes: The purposes that this app can have evidence made for.
        raw_report_data: Whether it may also choose all bytes.
        restarts: How often its process was started again.
        boot_checks: What was looked at before there were keys.
    """

    platform: str
    mode: str
    app: str
    version: str
    release: str
    boot: str
    keys: dict[str, str]
    keys_last: Lasting
    log_register: str | None
    log_mirrored: bool
    purposes: tuple[str, ...]
    raw_report_data: bool
    restarts: int
    boot_checks: tuple[Look, ...]


class Enclave:
    """One started enclave. Made by :meth:`start`.

    Attributes:
        config: What the agent was told.
        platform: The platform's name.
        checks: What was looked at before there were keys.
        keys: The keys.
        identity: The identity document.
        log: The event log.
        witness: What asks for evidence.
        restarts: How often the app's process was started again.
    """

    def __init__(
        self, config: Config, device: Device, asking: Asking, *, keys: Keys, checks: tuple[Check, ...]
    ) -> None:
        """Put it together; :meth:`start` has done the work."""
        self.config = config
        self.platform = device.platform
        self.checks = checks
        self.keys = keys
        self.identity = IdentityDocument(
            keys=tuple(sorted(keys.public().values())),
            release=bytes.fromhex(config.release),
            boot=secrets.token_bytes(_BOOT),
            mode=config.mode,
        )
        self.log = EventLog(device, mirror=config.events)
        self.witness = Witness(
            device, asking, identity=self.identity.encode(), log=self.log, folder=config.endorsements
        )
        self.restarts = 0
        self._asking = asking
        self._device = device

    @classmethod
    async def start(cls, config: Config, device: Device, *, sources: boot.Sources | None = None) -> "Enclave":
        """Look at entropy and clock, then make keys, then measure the first event.

        Raises:
            EnclaveError: A check failed, or the device refuses.
        """
        asking = Asking(seconds=config.limits.asking)
        checks = await asking.ask(functools.partial(boot.examine, device, sources or boot.Sources()))
        boot.insist(checks)
        sealing_key = await asking.ask(functools.partial(device.sealing_key, Keys.context))
        enclave = cls(config, device, asking, keys=Keys(sealing_key), checks=checks)
        await asking.ask(functools.partial(enclave.log.add, "nacre-boot", enclave.identity.digest()))
        # What follows is the app's: so says dstack's reader too.
        await asking.ask(functools.partial(enclave.log.add, "system-ready", b""))
        return enclave

    def close(self) -> None:
        """Ask the device nothing more."""
        self._asking.close(self._device.close)

    # Evidence

    async def evidence(self, nonce: bytes) -> bytes:
        """Return an encoded envelope of purpose ``evidence``; anybody may ask."""
        return await self.witness.public(nonce)

    async def app_evidence(self, data: bytes, *, purpose: str = "app-data") -> bytes:
        """Return an encoded envelope of purpose ``app-data``: the app's bytes, at most 4,096.

        Raises:
            EnclaveError: ``agent-purpose``: no other purpose is the app's to ask for.
            ConfigurationError: ``binding-part``.
        """
        if purpose != "app-data":
            raise EnclaveError("agent-purpose", actual=purpose[:32], expected="app-data")
        return await self.witness.app_data(data)

    async def raw_evidence(self, report_data: bytes) -> bytes:
        """Return bare evidence over the app's own 64 bytes.

        Raises:
            EnclaveError: ``agent-undeclared``: the application does not state ``raw_report_data = true``.
        """
        if not self.config.app.raw_report_data:
            raise EnclaveError("agent-undeclared", what="raw_report_data")
        return await self.witness.raw(report_data)

    async def raw_quote(self, report_data: bytes) -> tuple[bytes, tuple[Event, ...]]:
        """Like :meth:`raw_evidence`, with the events of the same moment."""
        if not self.config.app.raw_report_data:
            raise EnclaveError("agent-undeclared", what="raw_report_data")
        return await self.witness.quoted(report_data)

    async def dstack_data(self, data: bytes, *, algorithm: str) -> tuple[bytes, tuple[Event, ...]]:
        """Return bare evidence over the app's data as dstack tags it, and the events of that moment."""
        return await self.witness.dstack_data(data, algorithm=algorithm)

    async def dstack_key(self, spki: bytes) -> tuple[bytes, tuple[Event, ...]]:
        """Return bare evidence over a TLS key of the app as dstack tags it, and the events."""
        return await self.witness.dstack_key(spki)

    async def registers(self) -> Mapping[str, bytes]:
        """Return the registers that the device shows."""
        return await self._asking.ask(self._device.registers)

    # Events

    async def event(self, name: str, payload: bytes) -> Event:
        """Measure and log an event of the app."""
        return await self._asking.ask(functools.partial(self.log.add_of_app, name, payload))

    # Keys

    def derive(self, path: str, *, purpose: str = "") -> bytes:
        """Derive 32 bytes for the app."""
        return self.keys.derive(path, purpose=purpose)

    def sign(self, message: bytes, *, algorithm: Algorithm) -> bytes:
        """Sign a message of the app's with an identity key; see ``keys.statement`` for what is signed."""
        return self.keys.sign(message, algorithm=algorithm)

    def seal(self, plaintext: bytes, *, context: bytes) -> bytes:
        """Encrypt for later."""
        return self.keys.seal(plaintext, context=context)

    def unseal(self, sealed: bytes, *, context: bytes) -> bytes:
        """Decrypt what was sealed."""
        return self.keys.unseal(sealed, context=context)

    # About

    def info(self) -> Info:
        """Say what an app may know."""
        app = self.config.app
        return Info(
            platform=self.platform,
            mode=self.config.mode,
            app=app.name,
            version=app.version,
            release=self.config.release,
            boot=self.identity.boot.hex(),
            keys={name: key.hex() for name, key in self.keys.public().items()},
            keys_last=self.keys.lasting,
            log_register=self.log.register,
            log_mirrored=self.log.mirrored,
            purposes=("app-data",),
            raw_report_data=app.raw_report_data,
            restarts=self.restarts,
            boot_checks=tuple(Look(one.id, str(one.status), reasons.explain(one)) for one in self.checks),
        )
