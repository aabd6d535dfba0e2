# SPDX-License-Identifier: Apache-2.0
"""Kernels that were built here, by what they were built from: minutes the first time, nothing afterwards."""

import contextlib
import hashlib
from collections.abc import Callable, Sequence

import msgspec

from nacre.build.inputs import Inputs
from nacre.build.kernel_build import fragments, make, tools
from nacre.build.kernels import Ready
from nacre.build.lock import Deb, Kernel
from nacre.build.recipe import Target
from nacre.errors import BuildError

__all__ = ["built", "locked"]


def built(
    package: Deb,
    source: Callable[[], bytes],
    *,
    targets: Sequence[Target],
    inputs: Inputs,
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[Kernel, Ready]:
    """Return the kernel that is built from a source for targets; build it, if nobody did here before.

    Args:
        package: The source.
        source: Returns its bytes.
        targets: What the kernel is for.
        inputs: Where kernels are kept.
        progress: Takes what is being done, in words.

    Raises:
        BuildError: As ``kernel_build.make`` raises.
    """
    whole = hashlib.sha256()
    for part in (package.sha256, fragments(targets), tools()):
        whole.update(hashlib.sha256(part.encode()).digest())
    note = inputs.note("kernels", whole.hexdigest())
    with contextlib.suppress(OSError, msgspec.MsgspecError, BuildError):
        known = msgspec.json.decode(note.read_bytes(), type=Kernel)
        return known, locked(known, inputs=inputs)
    made = make(source(), targets=targets, progress=progress)
    image = inputs.keep("kernel", made.ready.image)
    config = inputs.keep("configuration", made.ready.config.encode())
    kernel = Kernel(
        name="linux",
        version=made.ready.version,
        sha256=image.sha256,
        size=image.size,
        config=config.sha256,
        config_size=config.size,
        tools=made.tools,
    )
    inputs.write_note(note, msgspec.json.encode(kernel))
    return kernel, made.ready


def locked(kernel: Kernel, *, inputs: Inputs) -> Ready:
    """Return a kernel that a lock names, if it was built here or copied here.

    Raises:
        BuildError: ``kernel-unbuilt``; ``input-damaged``.
    """
    try:
        image, config = inputs.read(kernel.input), inputs.read(kernel.configuration)
    except BuildError as error:
        if error.code != "input-missing":
            raise
        raise BuildError(
            "kernel-unbuilt", what=kernel.version, expected=kernel.sha256, tools=kernel.tools
        ) from None
    # Whatever is no text has no options: what a target needs is missed by name.
    return Ready(version=kernel.version, image=image, config=config.decode(errors="replace"))
