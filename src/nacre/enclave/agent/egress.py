# SPDX-License-Identifier: Apache-2.0
"""The app's only way out: HTTP CONNECT to a host that the release names, byte for byte as it is there.

The list is part of the image, so whoever verified it knows whom the app can talk to. What it does not say is
who answers: beyond the agent lies the uplink, which the host runs, and the host resolves the name. It can
connect anywhere, read, change, cut off. So the app has to speak TLS through the tunnel, and check the
certificate for the name: the list then limits whom it asks, and TLS who can answer.
"""

from nacre.enclave.agent.config import Config
from nacre.enclave.agent.connection import Connection, Gone
from nacre.enclave.tunnel import Streams, dialled, insist, serve, through
from nacre.errors import EnclaveError

__all__ = ["Egress"]

#: Seconds until a tunnel through which nothing moves is ended.
_IDLE = 900.0
_DIRECT = "direct"


class Egress:
    """Opens tunnels to the hosts that the release names."""

    def __init__(self, config: Config, *, idle: float = _IDLE) -> None:
        """Say which hosts, and what they are reached by."""
        isolated = config.app.profile == "isolated"
        self._allowed = frozenset() if isolated else frozenset(config.app.egress)
        self._uplink = config.uplink
        self._limits = config.limits
        self._idle = idle

    async def serve(self, connection: Connection) -> None:
        """Serve one connection: one tunnel, or one refusal."""
        limits = self._limits
        await serve(
            connection.streams,
            self._reached,
            limit=limits.header,
            patience=limits.patience,
            idle=self._idle,
        )

    async def _reached(self, target: str) -> Streams:
        insist(target, self._allowed)
        limits = self._limits
        if self._uplink is None:
            raise EnclaveError("egress-unreachable", what=target, actual="no uplink")
        if self._uplink == _DIRECT:
            return await dialled(f"tcp:{target}", patience=limits.asking)
        far = await dialled(self._uplink, patience=limits.asking)
        try:
            await through(far, target, limit=limits.header, patience=limits.asking)
        except (EnclaveError, Gone):
            far[1].transport.abort()
            raise
        return far
