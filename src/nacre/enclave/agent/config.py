# SPDX-License-Identifier: Apache-2.0
"""What an agent is told when it starts: one strict JSON document, written by whoever starts the enclave.

On hardware it lies in the measured image. Nothing in it is secret.
"""

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from nacre.appraisal.documents import read_bytes
from nacre.build.app import App
from nacre.errors import ConfigurationError, MalformedEvidence
from nacre.platforms.device import DevicePaths
from nacre.trust import json

__all__ = ["Config", "Limits"]

_WHAT = "agent configuration"
_MAX_SIZE = 1 << 18
_LISTENER = r"^(unix:[^\x00]{1,107}|tcp:[^\s/:]{1,253}:[0-9]{1,5}|vsock:[0-9]{1,10})(?![\s\S])"
_SOCKET = r"^/[^\x00]{0,106}(?![\s\S])"
_DIGEST = r"^[0-9a-f]{64}(?![\s\S])"

Seconds = Annotated[float, msgspec.Meta(gt=0, le=3600)]
Socket = Annotated[str, msgspec.Meta(pattern=_SOCKET)]


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much one caller may ask of the agent.

    Attributes:
        connections: Connections to one listener at a time; further ones are closed at once.
        header: Bytes of a request's line and headers.
        patience: Seconds that a request's headers may take, from the connection's or the last answer's end
            on; also the longest pause within a body, and while the caller takes no bytes of an answer.
        answer: Seconds that the app may take until its answer begins.
        asking: Seconds that the device may take.
        grace: Seconds between the request to end and the end of the app's process.
    """

    connections: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 512
    header: Annotated[int, msgspec.Meta(ge=1024, le=65536)] = 8192
    patience: Seconds = 15.0
    answer: Seconds = 300.0
    asking: Seconds = 30.0
    grace: Seconds = 10.0


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an agent is told.

    Attributes:
        app: The application, as in ``nacre.toml``.
        app_directory: Where its files are; its process runs there.
        app_root: The folder that its process has for its root; ``confine`` has to be able to.
        public: Where the world is answered: ``unix:PATH``, ``tcp:HOST:PORT`` or ``vsock:PORT``.
        socket: Path of the Unix socket where the app is answered. The app's own socket, ``NACRE_LISTEN``, is
            ``app.sock`` in the same folder.
        release: The digest of the release, 32 bytes in hex.
        mode: Whether a vendor's hardware or a development root stands behind the device.
        devices: Where the device is.
        dstack_socket: Path of the socket that speaks dstack's guest API, if there is to be one.
        egress_socket: Path of the socket through which the app reaches the hosts of ``app.egress``.
        uplink: What the egress goes out by: a Unix path, ``vsock:CID:PORT`` or ``direct``.
        endorsements: A folder with the vendor's documents; a file's name without its ending is the role.
        confine: A command line put before the app's own, which takes the device and the agent from its sight;
            it has to end with the agent.
        app_user: The user and group that the app runs as, if the agent may change it.
        events: A file that the event log is written to as well.
        limits: How much one caller may ask.
    """

    app: App
    app_directory: str
    app_root: str | None = None
    public: Annotated[str, msgspec.Meta(pattern=_LISTENER)]
    socket: Socket
    release: Annotated[str, msgspec.Meta(pattern=_DIGEST)]
    mode: Literal["simulated", "genuine"]
    devices: DevicePaths = DevicePaths()
    dstack_socket: Socket | None = None
    egress_socket: Socket | None = None
    uplink: str | None = None
    endorsements: str | None = None
    confine: tuple[str, ...] = ()
    app_user: Annotated[int, msgspec.Meta(ge=1, lt=1 << 32)] | None = None
    events: str | None = None
    limits: Limits = Limits()

    @property
    def app_socket(self) -> str:
        """The Unix socket that the app listens on where it has no port."""
        return str(Path(self.socket).with_name("app.sock"))

    @classmethod
    def load(cls, path: str | Path) -> "Config":
        """Read a configuration.

        Raises:
            ConfigurationError: ``config-unreadable``, ``config-too-large``, ``config-syntax``.
        """
        data = read_bytes(Path(path), what=_WHAT, limit=_MAX_SIZE)
        try:
            return json.decode(data, cls, what=_WHAT, limit=_MAX_SIZE)
        except MalformedEvidence as error:
            raise ConfigurationError("config-syntax", what=_WHAT, file=str(path), actual=str(error)) from None

    def encode(self) -> bytes:
        """Return the document that ``load`` reads."""
        return msgspec.json.encode(self)
