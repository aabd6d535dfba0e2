# SPDX-License-Identifier: Apache-2.0
"""dstack from end to end: emulated device, agent, the published client, and ``nacre verify``."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import dstack_sdk
import httpx
import msgspec
import pytest
from tests.enclave.agent.dstack_served import client_of, serving

from nacre import cli
from nacre.appraisal.systems.dstack_attestation import parse
from nacre.cli.exits import Exit
from nacre.enclave.agent.config import Config
from nacre.enclave.emulate.emulator import Emulator
from nacre.platforms import devices
from nacre.platforms.simulation import simulator

Configure = Callable[..., Config]

_NONCE = bytes(range(32))
_REGISTERS: Mapping[str, Mapping[str, bytes]] = {
    "tdx": {name: name.encode().ljust(48, b".") for name in ("mrtd", "rtmr0", "rtmr1", "rtmr2")},
    "nitro": {f"pcr{index}": bytes((index + 1,)) * 48 for index in range(3)},
    "snp": {},
}
_STATED = {"tdx": 'rtmr3 = "any"\n', "nitro": "", "snp": ""}


@contextlib.contextmanager
def _guest(
    platform: str, folder: Path, configure: Configure, *, layout: str = "dstack/nonce"
) -> Iterator[dstack_sdk.DstackClient]:
    """Start an agent on an emulated device, lay out what verifies it, and give dstack's client at it."""
    own = simulator(platform)
    now = int(time.time())
    root = own.create_root(at=now)
    machine, registers = own.machine(root, at=now), _REGISTERS[platform]
    (folder / "root.der").write_bytes(root.certificates[0])
    stated = "".join(f'{name} = "{value.hex()}"\n' for name, value in registers.items())
    (folder / "release.toml").write_text(
        f'id = "app@1"\nlayout = "{layout}"\n[[{platform}]]\n{stated}{_STATED[platform]}'
    )
    (folder / "policy.toml").write_text(
        f'releases = ["release.toml"]\n[anchors.{platform}]\ngenuine = false\nsimulated = ["root.der"]\n'
    )
    (folder / "documents").mkdir()
    for role, document in machine.endorsements(at=now).items():
        kind = "json" if document.startswith(b"{") else "pem" if document.startswith(b"-") else "der"
        (folder / "documents" / f"{role}.{kind}").write_bytes(document)
    config = configure(app={"raw_report_data": True}, dstack_socket=str(folder / "dstack.sock"))
    with Emulator(
        machine, registers=registers, directory=folder / "e", clock=lambda: int(time.time())
    ) as emulator:
        device = devices.find(emulator.paths)
        with serving(config, device) as path, client_of(path) as client:
            yield client


def _verify(
    folder: Path, data: bytes, capsys: pytest.CaptureFixture[str], *words: str, nonce: bytes = _NONCE
) -> tuple[int, Mapping[str, Mapping[str, str]], Mapping[str, object]]:
    (folder / "evidence").write_bytes(data)
    capsys.readouterr()
    line = ["verify", str(folder / "evidence"), "-p", str(folder / "policy.toml"), "--offline", "--json"]
    if any((folder / "documents").iterdir()):
        line += ["-e", str(folder / "documents")]
    line += ["--part", f"nonce={nonce.hex()}"] if nonce else []
    status = cli.main([*line, *words])
    said = capsys.readouterr()
    assert said.err == ""
    result = json.loads(said.out)
    return status, {check["id"]: check for check in result["checks"]}, result


def test_what_the_client_is_given_verifies_with_its_log(
    folder: Path, configure: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    with _guest("tdx", folder, configure) as client:
        client.emit_event("my-event", b"payload")
        answer = client.get_quote(_NONCE)
        client.emit_event("later", b"")
        late = client.get_quote(_NONCE)
    status, checks, result = _verify(folder, answer.model_dump_json().encode(), capsys)
    assert status == Exit.ACCEPTED, [one for one in checks.values() if one["status"] != "pass"]
    assert result["origin"] == "simulated"
    for name in ("dstack.event-log", "executables", "binding"):
        assert checks[name]["status"] == "pass", checks[name]
    assert _verify(folder, answer.model_dump_json().encode(), capsys, nonce=bytes(32))[0] == Exit.REJECTED
    # The log of another moment, or one event less, is not the register's.
    for log in (late.event_log, json.dumps(json.loads(answer.event_log)[:-1])):
        forged = answer.model_copy(update={"event_log": log}).model_dump_json().encode()
        status, checks, _ = _verify(folder, forged, capsys)
        assert (status, checks["dstack.event-log"]["status"]) == (Exit.REJECTED, "fail")


@pytest.mark.parametrize("platform", ["tdx", "nitro"])
def test_an_attestation_verifies(
    folder: Path, configure: Configure, capsys: pytest.CaptureFixture[str], platform: str
) -> None:
    with _guest(platform, folder, configure) as client:
        client.emit_event("my-event", b"payload")
        answer = client.attest(_NONCE)
    expected = {"tdx": "pass", "nitro": "not-applicable"}[platform]
    for data, words in (
        (answer.model_dump_json().encode(), ()),
        (answer.decode_attestation(), ()),
        (answer.decode_attestation(), ("--as", "dstack")),
    ):
        status, checks, _ = _verify(folder, data, capsys, *words)
        assert status == Exit.ACCEPTED, [one for one in checks.values() if one["status"] != "pass"]
        assert checks["dstack.event-log"]["status"] == expected
    assert [event.event for event in parse(answer.decode_attestation()).events] == [
        "nacre-boot",
        "system-ready",
        "my-event",
    ]


def test_an_attestation_that_dstack_has_no_form_for(folder: Path, configure: Configure) -> None:
    refused = pytest.raises(httpx.HTTPStatusError, match="dstack-attest")
    with _guest("snp", folder, configure) as client, refused:
        client.attest(_NONCE)


def test_a_certificate_of_its_tls_key_verifies_and_is_replayable(
    folder: Path, configure: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    with _guest("tdx", folder, configure, layout="dstack/ratls-cert") as client:
        client.emit_event("my-event", b"payload")
        (pem,) = client.get_tls_key("app.example", usage_ra_tls=True).certificate_chain
    status, checks, result = _verify(folder, pem.encode(), capsys, nonce=b"")
    unsettled = {name for name, check in checks.items() if check["status"] not in ("pass", "not-applicable")}
    assert (status, unsettled) == (Exit.INCOMPLETE, {"freshness"})
    assert checks["dstack.event-log"]["status"] == checks["binding"]["status"] == "pass"
    assert msgspec.convert(result["foreign"], dict[str, object])["layout"] == "dstack/ratls-cert"
