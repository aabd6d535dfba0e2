# SPDX-License-Identifier: Apache-2.0
"""What the agent in an image is told: it lies in the image and is measured with it."""

from typing import Final

from nacre.build.app import App
from nacre.build.layout import APP, ROOT, USER
from nacre.build.recipe import Target
from nacre.enclave.agent.config import Config

__all__ = ["NSM", "PUBLIC", "UPLINK", "configuration"]

#: The guest's port of the public listener, and the host's of a simulated security module and of the way out.
PUBLIC, NSM, UPLINK = 8080, 9001, 9002

#: Who is outside, on AF_VSOCK: a parent instance with Nitro, the host anywhere else.
_PARENT, _HOST = 3, 2
_SOCKETS: Final = "/run/nacre"


def configuration(app: App, target: Target, release: str, inside: str | None) -> bytes:
    """Return the agent's configuration for a target.

    Args:
        app: The application.
        target: What the image is for.
        release: What the agent calls its release: the digest of all else in the image, hex.
        inside: For an application that is of a container image, the folder in which it starts there.
    """
    outside = _PARENT if target in ("nitro", "qemu") else _HOST
    sgx = target == "sgx"
    return Config(
        app=app,
        app_directory=inside or APP,
        app_root=ROOT if inside else None,
        public=f"tcp:127.0.0.1:{PUBLIC}" if sgx else f"vsock:{PUBLIC}",
        socket=f"{_SOCKETS}/agent.sock",
        egress_socket=f"{_SOCKETS}/egress.sock" if app.egress else None,
        uplink=("direct" if sgx else f"vsock:{outside}:{UPLINK}") if app.egress else None,
        release=release,
        mode="genuine",
        app_user=None if sgx else USER,
    ).encode()
