# SPDX-License-Identifier: Apache-2.0
"""What is said of an image beside its registers: what it is made of, and what of it can be attacked."""

from collections.abc import Mapping

from nacre.build import outputs
from nacre.build.components import of_lock
from nacre.build.image import Image
from nacre.build.licences import stated, with_licences
from nacre.build.sbom import encode
from nacre.build.surface import items, surface

__all__ = ["accounts"]

#: What ``nacre.enclave.boot.confine`` refuses every application in a machine. In SGX nothing stands between.
_REFUSED = ("io_uring_setup", "socket, but for Unix, IPv4, IPv6 and netlink")


def accounts(image: Image, *, epoch: int | None = None) -> Mapping[str, bytes]:
    """Write the bill of materials and the attack surface report.

    Args:
        image: What was built.
        epoch: The time that the bill is said to be of, seconds since 1970; none if None.

    Returns:
        Name in the output folder to content.

    Raises:
        BuildError: A file of the image cannot be read any more.
    """
    app, members = image.recipe.app, [*image.layers.platform, *image.layers.application]
    components = with_licences(of_lock(image.lock), stated(members))
    bill = encode(
        name=app.name,
        version=app.version,
        digest=bytes.fromhex(image.layers.digest),
        components=components,
        nacre=image.lock.nacre,
        epoch=epoch,
    )
    report = surface(
        app,
        files=items(members),
        kernel=image.kernel,
        components=components,
        calls_refused=() if "sgx" in image.recipe.build.targets else _REFUSED,
    )
    return {outputs.SBOM: bill, outputs.REPORT: report.encode()}
