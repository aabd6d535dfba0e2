# SPDX-License-Identifier: Apache-2.0
"""All that an app and a caller can ask, on every platform: emulated device, real driver, agent, verifier."""

import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import load_der_public_key
from tests.enclave.agent.processes import Agent, ask

import nacre
from nacre.appraisal.appraise import appraise
from nacre.appraisal.systems.eventlog import digest_of
from nacre.checks import Check, Status
from nacre.enclave import Client, envelope
from nacre.enclave.agent.config import Config
from nacre.enclave.agent.keys import statement
from nacre.enclave.emulate.emulator import Emulator
from nacre.errors import EnclaveError
from nacre.platforms.base import Claims, Endorsements
from nacre.platforms.simulation import Root, simulator

Configure = Callable[..., Config]

_REGISTERS: Mapping[str, Mapping[str, bytes]] = {
    "nitro": {f"pcr{index}": bytes((index + 1,)) * 48 for index in range(3)},
    "sgx": {"mrenclave": b"e" * 32, "mrsigner": b"s" * 32},
    "snp": {"measurement": b"m" * 48, "host_data": bytes(32)},
    "tdx": {"mrtd": b"t" * 48, "rtmr0": b"0" * 48, "rtmr1": b"1" * 48, "rtmr2": b"2" * 48},
}
#: The register that the log extends, and what the verifier says of the log; and how long keys last.
_LOGS = {
    "nitro": ("pcr16", Status.SKIPPED),
    "sgx": (None, Status.SKIPPED),
    "snp": (None, Status.SKIPPED),
    "tdx": ("rtmr3", Status.PASS),
}
_LASTING = {"nitro": "boot", "sgx": "image", "snp": "boot", "tdx": "boot"}


class _World(msgspec.Struct, frozen=True):
    """One emulated machine, and agents on it."""

    name: str
    root: Root
    emulator: Emulator
    start: Callable[[], tuple[Agent, Client]]


@pytest.fixture(scope="module", params=sorted(_REGISTERS))
def root(request: pytest.FixtureRequest) -> tuple[str, Root]:
    return request.param, simulator(request.param).create_root(at=int(time.time()))


@pytest.fixture
def world(root: tuple[str, Root], configure: Configure, folder: Path) -> Iterator[_World]:
    name, own = root
    agents: list[Agent] = []

    def start() -> tuple[Agent, Client]:
        config = configure(
            "/bin/sleep", "600", devices=emulator.paths, endorsements=str(emulator.endorsements)
        )
        agents.append(Agent(config, folder))
        agents[-1].wait_until("listening at")
        return agents[-1], Client(config.socket)

    with Emulator(
        simulator(name).machine(own, at=int(time.time())),
        registers=_REGISTERS[name],
        directory=folder / "e",
        clock=lambda: int(time.time()),
    ) as emulator:
        yield _World(name, own, emulator, start)
        for agent in agents:
            agent.process.kill()
            agent.process.wait()


def _policy(world: _World) -> nacre.Policy:
    stated = "".join(f'{name} = "{value.hex()}"\n' for name, value in _REGISTERS[world.name].items())
    if world.name == "tdx":
        stated += 'rtmr3 = "any"\n'
    folder = world.emulator.endorsements.parent
    (folder / "roots").mkdir(exist_ok=True)
    names = []
    for number, der in enumerate(world.root.certificates):
        names.append(f"roots/{number}.der")
        (folder / names[-1]).write_bytes(der)
    text = (
        f"[anchors.{world.name}]\ngenuine = false\nsimulated = {msgspec.json.encode(names).decode()}\n"
        f'[[release]]\nid = "app@1"\n[[release.{world.name}]]\n{stated}'
    )
    return nacre.Policy.parse(text, base=folder)


class _Log:
    """What the agent says that it did, against the evidence."""

    required: tuple[str, ...] = ()

    def __init__(self, found: envelope.Envelope) -> None:
        self._found = found

    def checks(self, claims: Claims, release: object, *, at: int) -> tuple[Check, ...]:
        del release, at
        return (self._found.replay(claims.registers),)


def _appraised(world: _World, found: envelope.Envelope, binding: nacre.Binding) -> nacre.Result:
    return appraise(
        found.evidence,
        policy=_policy(world),
        endorsements=Endorsements(found.endorsements),
        at=int(time.time()),
        binding=binding,
        sources=(_Log(found),),
    )


def test_evidence_of_a_nonce_and_its_log_verify(world: _World) -> None:
    agent, client = world.start()
    public, nonce = agent.config.public.partition(":")[2], secrets.token_bytes(32)
    logged = client.emit("my-event", b"payload")
    register, status = _LOGS[world.name]
    assert (logged.register, client.info().log_register) == (register, register)
    answered, body = ask(public, f"{envelope.PATH}?nonce={nonce.hex()}")
    assert answered == 200
    found = envelope.decode(body)
    assert found.identified().release.hex() == agent.config.release
    assert [event.event for event in found.events] == ["nacre-boot", "system-ready", "my-event"]
    assert found.events[0].payload == found.identified().digest()
    assert digest_of(found.events[-1]).hex() == logged.digest
    result = _appraised(world, found, found.binding(nonce=nonce))
    assert result.verdict == nacre.Verdict.VERIFIED, [one for one in result.checks if one.status != "pass"]
    assert result.origin == nacre.Origin.SIMULATED
    (log,) = (check for check in result.checks if check.id == "agent.events")
    assert log.status == status
    # Another nonce, and a log that lacks an event.
    assert _appraised(world, found, found.binding(nonce=bytes(32))).verdict == nacre.Verdict.REJECTED
    shorter = msgspec.structs.replace(found, events=found.events[:-1])
    verdict = _appraised(world, shorter, found.binding(nonce=nonce)).verdict
    assert (verdict == nacre.Verdict.REJECTED) is (world.name == "tdx")


def test_an_app_s_statement_verifies_and_is_signed_by_the_key_that_evidence_names(world: _World) -> None:
    _, client = world.start()
    found = envelope.decode(client.evidence(b"my statement"))
    result = _appraised(world, found, nacre.Binding.app_data(b"my statement"))
    # Whether it is new is for the app's data to say.
    settled = (Status.PASS, Status.NOT_APPLICABLE)
    still_open = {check.id for check in result.checks if check.status not in settled}
    assert still_open - {"agent.events"} == {"freshness"}
    assert _appraised(world, found, nacre.Binding.app_data(b"another")).verdict == nacre.Verdict.REJECTED
    with pytest.raises(EnclaveError, match="raw_report_data"):
        client.raw_evidence(bytes(64))
    signed = client.sign(b"message")
    assert signed.key in found.identified().keys
    key = load_der_public_key(signed.key)
    assert isinstance(key, ed25519.Ed25519PublicKey)
    key.verify(signed.signature, statement(b"message"))


def test_keys_and_what_was_sealed_last_as_long_as_the_platform_allows(world: _World) -> None:
    agent, client = world.start()
    key = client.derive("database", purpose="encryption")
    assert client.derive("database", purpose="encryption") == key != client.derive("database")
    sealed = client.seal(b"secret", context="a")
    assert client.unseal(sealed, context="a") == b"secret"
    with pytest.raises(EnclaveError, match="context"):
        client.unseal(sealed, context="b")
    assert client.info().keys_last == _LASTING[world.name]
    assert agent.end() == 0
    _, again = world.start()
    lasts = _LASTING[world.name] == "image"
    assert (again.derive("database", purpose="encryption") == key) is lasts
    if lasts:
        assert again.unseal(sealed, context="a") == b"secret"
    else:
        with pytest.raises(EnclaveError):
            again.unseal(sealed, context="a")
