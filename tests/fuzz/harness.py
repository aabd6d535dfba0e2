# SPDX-License-Identifier: Apache-2.0
"""One target under a coverage-guided fuzzer: ``python -m tests.fuzz.harness TARGET [libFuzzer options]``.

Give it a file instead of options to run that one input, a crash for instance. ``make soak`` runs every
target for some minutes; see ``tests/soak``.
"""

import os
import sys
from pathlib import Path

__all__ = ["cache_folder", "prepare"]

_MAX_LENGTH = 1 << 16


def cache_folder() -> Path:
    """Return where corpora are kept from one run to the next: outside of the tree."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "nacre" / "fuzz"


def prepare(name: str, folder: Path) -> list[str]:
    """Write seeds and dictionary of a target; return the options that make libFuzzer use them.

    Args:
        name: The target.
        folder: Gets ``corpus`` (what was found, kept), ``seeds`` and ``crashes``.
    """
    from tests.fuzz.seeds import seeds
    from tests.fuzz.targets import TARGETS

    target = TARGETS[name]
    for part in ("corpus", "seeds", "crashes"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds(target)):
        (folder / "seeds" / f"{number:04}").write_bytes(seed)
    words = folder / "words"
    words.write_text(
        "".join(f'"{"".join(f"{chr(92)}x{byte:02x}" for byte in word)}"\n' for word in target.words)
    )
    return [
        str(folder / "corpus"),
        str(folder / "seeds"),
        f"-artifact_prefix={folder / 'crashes'}{os.sep}",
        f"-max_len={_MAX_LENGTH}",
        "-rss_limit_mb=2048",
        "-timeout=30",
        "-print_final_stats=1",
        *([f"-dict={words}"] if target.words else []),
    ]


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


def main() -> None:
    """Instrument Nacre, and hand the target to the fuzzer."""
    import atheris

    with atheris.instrument_imports(include=["nacre"]):
        from tests.fuzz.targets import TARGETS, attempt

        from nacre import platforms

        for name in platforms.builtin_names():
            platforms.get(name)
    target = TARGETS[sys.argv[1]]
    atheris.Setup([sys.argv[0], *sys.argv[2:]], lambda data: attempt(target, data) and None)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
