# SPDX-License-Identifier: Apache-2.0
"""What other systems ship, made around quotes of a PKI of our own: correctly signed, good and bad."""

import datetime as dt
import hashlib
import json
import struct
from collections.abc import Mapping, Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from tests.platforms.dcap.judging import assert_told, policy
from tests.platforms.dcap.pki import NOW, World, key

from nacre.appraisal.appraise import appraise
from nacre.appraisal.release import Release
from nacre.appraisal.result import Result
from nacre.appraisal.systems.envelope import Envelope, recognise, unwrap
from nacre.trust.signatures import Signatures

RUNTIME = 0x0800_0001
DAY = dt.timedelta(days=1)
TODAY = dt.datetime.fromtimestamp(NOW, dt.UTC)

COMPOSE = b'{"manifest_version":2,"name":"worm","docker_compose_file":"services: {}"}'
COMPOSE_HASH = hashlib.sha256(COMPOSE).digest()
APP_ID = COMPOSE_HASH[:20]
INSTANCE = b"\x11" * 20
IMAGE = b"\x22" * 32
PROVIDER = b'{"name":"kms","id":"3059"}'

Row = dict[str, object]

#: What dstack measures of a good application, then what the application itself does.
MEASURED: tuple[tuple[str, bytes], ...] = (
    ("system-preparing", b""),
    ("app-id", APP_ID),
    ("compose-hash", COMPOSE_HASH),
    ("instance-id", INSTANCE),
    ("boot-mr-done", b""),
    ("os-image-hash", IMAGE),
    ("key-provider", PROVIDER),
    ("storage-fs", b"zfs"),
    ("system-ready", b""),
)

RELEASE = f"""
id = "worm-1"
[[tdx]]
mrtd = "{"01" * 48}"
rtmr0 = "any"
rtmr1 = "{"03" * 48}"
rtmr2 = "{"04" * 48}"
rtmr3 = "any"
"""


def digest(name: str, payload: bytes, version: int = 1) -> bytes:
    """Compute an event's digest as dstack's own code does, in other words than ours."""
    if version == 2:
        made = {"name": name, "payload": payload.hex(), "type": RUNTIME}
        text = json.dumps(made, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
        return hashlib.sha384(text.encode()).digest()
    return hashlib.sha384(struct.pack("<I", RUNTIME) + b":%b:%b" % (name.encode(), payload)).digest()


def row(name: str, payload: bytes, version: int = 1, **changes: object) -> Row:
    """Write one of dstack's own events as the guest agent does."""
    made: Row = {
        "imr": 3,
        "event_type": RUNTIME,
        "digest": digest(name, payload, version).hex(),
        "event": name,
        "event_payload": payload.hex(),
    }
    return made | ({"version": version} if version != 1 else {}) | changes


def rows(measured: Sequence[tuple[str, bytes]] = MEASURED, version: int = 1) -> list[Row]:
    return [row(name, payload, version) for name, payload in measured]


def boot(imr: int, word: str, payload: bytes = b"") -> Row:
    """Write an event of firmware or kernel."""
    stated = hashlib.sha384(word.encode()).hexdigest()
    return {"imr": imr, "event_type": 4, "digest": stated, "event": "", "event_payload": payload.hex()}


def extended(log: Sequence[Row], imr: int = 3) -> bytes:
    """Extend a register as hardware would: with the digests that the log has."""
    value = bytes(48)
    for event in log:
        if event["imr"] == imr:
            stated = (
                str(event["digest"])
                or digest(str(event["event"]), bytes.fromhex(str(event["event_payload"]))).hex()
            )
            value = hashlib.sha384(value + bytes.fromhex(stated)).digest()
    return value


def guest(log: Sequence[Row], report_data: bytes, **report: bytes) -> World:
    """Return a TD whose registers are what the log measured."""
    kept = {event["imr"] for event in log}
    registers = {f"rtmr{imr}": extended(log, imr) for imr in range(4) if imr in kept}
    return World(report=registers | {"report_data": report_data} | report)


def served(quoted: bytes, log: Sequence[Row], **others: object) -> bytes:
    """Write what ``GetQuote`` answers."""
    made = {"quote": quoted.hex(), "event_log": json.dumps(log), "report_data": "", "vm_config": "{}"}
    return json.dumps(made | others).encode()


# ── SCALE ──


def compact(value: int) -> bytes:
    if value < 1 << 6:
        return bytes((value << 2,))
    if value < 1 << 14:
        return (value << 2 | 1).to_bytes(2, "little")
    return (value << 2 | 2).to_bytes(4, "little")


def string(value: bytes | str) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return compact(len(data)) + data


def attestation(
    quote: bytes,
    log: Sequence[Row] = (),
    *,
    variant: int = 0,
    config: str = "{}",
    document: str = "",
    twice: bool = True,
    certificates: Sequence[bytes] = (b"certificate",),
) -> bytes:
    """Write a container of version 0."""
    own = [event for event in log if event["imr"] == 3]
    parts = [b"\0", bytes((variant,)), string(quote)]
    if variant == 0:
        listed = log if twice else [event for event in log if event["imr"] != 3]
        parts.append(compact(len(listed)))
        parts += [
            struct.pack("<II", event["imr"], event["event_type"])
            + string(bytes.fromhex(str(event["digest"])))
            + string(str(event["event"]))
            + string(bytes.fromhex(str(event["event_payload"])))
            for event in listed
        ]
    if variant == 3:
        parts += [compact(len(certificates)), *map(string, certificates), string(document)]
    parts.append(compact(len(own)))
    parts += [
        string(str(event["event"])) + string(bytes.fromhex(str(event["event_payload"]))) for event in own
    ]
    return b"".join((*parts, bytes(64), string(config)))


# ── Certificates ──


def spki(name: str = "tls") -> bytes:
    """Return the DER SubjectPublicKeyInfo of the key of this name."""
    return key(name).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def certificate(
    extensions: Mapping[str, bytes],
    *,
    signer: ec.EllipticCurvePrivateKey | None = None,
    subject_key: ec.EllipticCurvePrivateKey | None = None,
    issuer: str = "ratls",
    ends: dt.datetime = TODAY + DAY,
    algorithm: hashes.SHA256 | hashes.SHA384 | hashes.SHA512 | None = None,
) -> bytes:
    """Issue a certificate with these extensions, DER; self-signed unless told otherwise."""
    own = subject_key or key("tls")
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ratls")])
    by = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(by)
        .serial_number(7)
        .not_valid_before(TODAY - DAY)
        .not_valid_after(ends)
        .public_key(own.public_key())
    )
    for oid, value in extensions.items():
        extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), value)
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(signer or own, algorithm or hashes.SHA256()).public_bytes(Encoding.DER)


# ── Verdicts ──


def release(layout: str = "", table: str = "", text: str = RELEASE) -> Release:
    """Make the release of these tests, with a layout and another system's table."""
    head = f'layout = "{layout}"\n' if layout else ""
    return Release.parse(head + text + table)


def appraised(
    data: bytes,
    world: World,
    *releases: Release,
    name: str = "",
    waive: tuple[str, ...] = ("freshness",),
    at: int = NOW,
    given: Mapping[str, bytes] | None = None,
) -> Result:
    """Open an envelope and appraise what is in it, by the strictest policy; freshness is given up."""
    known = given or {}
    declared = {one.layout for one in releases}
    envelope: Envelope | None = (
        unwrap(data, name=name, given=known, declared=declared)
        if name
        else recognise(data, given=known, declared=declared)
    )
    assert envelope is not None
    result = appraise(
        envelope.evidence,
        policy=policy(world.tee, world.anchor, waive=waive, releases=releases),
        endorsements=world.endorsements,
        at=at,
        signatures=Signatures(),
        envelope=envelope,
    )
    assert_told(result)
    return result
