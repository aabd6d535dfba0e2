# SPDX-License-Identifier: Apache-2.0
"""A worm on disk, for those who want it to survive a restart.

The disk is the host's. A file that was damaged is refused; one that was put back is *not* noticed: whoever
owns the disk can make the worm young again. Storage that notices is Nacre's business, not this file's.
"""

import json
import os
from pathlib import Path

from worm.connectome import CELLS
from worm.creature import LIMIT, Worm

__all__ = ["Damaged", "recall", "remember"]

_FORMAT = "nacre-worm-state/v1"


class Damaged(Exception):
    """The file is no state of this worm."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(f"{path} is not {what}")


def remember(path: Path, worm: Worm, birth: str) -> None:
    """Write a worm so that there is either the old file or the whole new one, whatever happens."""
    state = {
        "format": _FORMAT,
        "birth": birth,
        "seed": worm.seed.hex(),
        "tick": worm.tick,
        "trace": worm.trace.hex(),
        "potentials": worm.potentials,
    }
    fresh = path.with_name(path.name + ".new")
    with fresh.open("w") as file:
        json.dump(state, file)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def recall(path: Path, seed: bytes) -> tuple[Worm, str] | None:
    """Read a worm and the id of its birth; None where no worm ever was.

    Raises:
        Damaged: The file is something else, or another worm's. It never starts anew by itself.
    """
    try:
        state = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise Damaged(path, "JSON") from error
    try:
        worm = Worm(bytes.fromhex(state["seed"]))
        worm.tick, worm.potentials = state["tick"], state["potentials"]
        worm.trace, birth = bytes.fromhex(state["trace"]), bytes.fromhex(state["birth"])
        whole = (
            state["format"] == _FORMAT
            and type(worm.tick) is int
            and 0 <= worm.tick < 1 << 63
            and (len(worm.trace), len(birth), len(worm.potentials)) == (32, 16, len(CELLS))
            and all(type(value) is int and abs(value) <= LIMIT for value in worm.potentials)
        )
    except (KeyError, TypeError, ValueError) as error:
        raise Damaged(path, "the state of a worm") from error
    if not whole or worm.seed != seed:
        raise Damaged(path, "the state of this worm")
    return worm, birth.hex()
