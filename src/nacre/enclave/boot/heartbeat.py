# SPDX-License-Identifier: Apache-2.0
"""What the parent of a Nitro enclave waits for: whoever is inside says that it has started.

``nitro-cli`` listens for one byte and sends it back; an enclave that stays silent it ends.

Not proven here:
    A parent instance: the exchange is tried against a listener of the tests. To prove it: start an image with
    ``nacre run --launcher nitro``.

Source: aws/aws-nitro-enclaves-sdk-bootstrap, ``init/init.c``; aws/aws-nitro-enclaves-cli, ``enclave_proc``.
"""

import socket
from pathlib import Path

__all__ = ["beat"]

_DEVICE = Path("/dev/nsm")
_PARENT, _PORT = 3, 9000
_BYTE = b"\xb7"
_PATIENCE = 10.0


def beat(
    *,
    device: Path = _DEVICE,
    family: int = socket.AF_VSOCK,
    address: tuple[int | str, int] = (_PARENT, _PORT),
) -> bool:
    """Say to the parent that the enclave has started, if this is one of Nitro's.

    Args:
        device: What only enclaves of Nitro have.
        family: Of the address.
        address: Where the parent listens.

    Returns:
        Whether the parent answered; True as well where there is nobody to say it to.
    """
    if not device.exists():
        return True
    try:
        with socket.socket(family, socket.SOCK_STREAM) as parent:
            parent.settimeout(_PATIENCE)
            parent.connect(address)
            parent.sendall(_BYTE)
            return parent.recv(1) == _BYTE
    except OSError:
        return False
